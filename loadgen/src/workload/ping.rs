//! The asking half of `ping`: one engine-level round trip after the other, while a task of the same
//! core streams large messages, or alone.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::prelude::*;
use ringmesh::{Address, CoreId};

use super::message::{Begin, Finish, Record, SinkApi};
use super::{
    ARCHIVE_OVERHEAD_BYTES, DRAIN_TIME_MAX, NodeMeter, SYSTEM, Seen, WorkloadError, outcome, path,
    sink_on,
};
use crate::latency::Latencies;
use crate::pattern;
use crate::plan::{Outcome, Round};

/// Between two pings: far more than one takes, so they load nothing themselves.
const PAUSE: Duration = Duration::from_micros(500);

/// Between two looks for the last message.
const LOOK: Duration = Duration::from_millis(1);

/// Pings the node at `to`, beside a stream of messages of the round's size if that is not 0.
pub(super) async fn ping(
    node: &Node,
    to: SocketAddr,
    round: &Round,
) -> Result<Outcome, WorkloadError> {
    let sink: Ref<SinkApi> = node.resolve(&path(to, &sink_on(CoreId(0)))).await?;
    let address = Address::new(SYSTEM, &to.ip().to_string(), to.port());
    let address = address.map_err(|error| WorkloadError::Send(error.to_string()))?;
    sink.ask(Begin).timeout(DRAIN_TIME_MAX).await?;
    let bulk = Rc::new(Bulk::default());
    if round.payload_bytes > 0 {
        node.spawn_task(stream(sink, round.payload_bytes, Rc::clone(&bulk)))?;
    } else {
        bulk.is_over.set(true);
    }
    ping_for(node, &address, round.warm_up).await?;
    sink.ask(Begin).timeout(DRAIN_TIME_MAX).await?;
    let meter = NodeMeter::start(node);
    let (begun, sent_before) = (Instant::now(), node.counters().acknowledged);
    let latencies = ping_for(node, &address, round.measured).await?;
    let (elapsed, acknowledged) = (begun.elapsed(), node.counters().acknowledged);
    bulk.enough.set(true);
    settle(node, &bulk).await;
    if let Some(error) = bulk.failed.take() {
        return Err(error);
    }
    let counts = sink.ask(Finish).timeout(DRAIN_TIME_MAX).await?;
    let seen = Seen {
        elapsed,
        sent: 0,
        cost: meter.so_far(node),
        latency: Some(latencies.to_recorded()),
        latency_from_schedule: None,
        corrupt: 0,
    };
    let given_up = node.counters().dead_sent;
    Ok(Outcome {
        // Of the measured interval; what came before and behind it counts too where it was lost.
        messages: acknowledged - sent_before,
        lost: given_up + node.counters().in_flight,
        ..outcome(seen, &counts)
    })
}

async fn ping_for(
    node: &Node,
    address: &Address,
    duration: Duration,
) -> Result<Latencies, WorkloadError> {
    let mut latencies = Latencies::new();
    let until = Instant::now() + duration;
    while Instant::now() < until {
        let time = node.ping(address).await;
        latencies.record(time.map_err(|error| WorkloadError::Send(error.to_string()))?);
        node.sleep(PAUSE).await;
    }
    Ok(latencies)
}

/// A stream in a task of its own.
#[derive(Default)]
struct Bulk {
    enough: Cell<bool>,
    is_over: Cell<bool>,
    failed: RefCell<Option<WorkloadError>>,
}

async fn stream(sink: Ref<SinkApi>, payload_bytes: usize, bulk: Rc<Bulk>) {
    let bytes = pattern::first(pattern::PATTERN_BYTES)
        .iter()
        .copied()
        .cycle();
    let body: Bytes = bytes.take(payload_bytes - ARCHIVE_OVERHEAD_BYTES).collect();
    let mut number = 0;
    while !bulk.enough.get() {
        let body = body.clone();
        if let Err(error) = sink.tell(Record { number, body }).await {
            bulk.failed.replace(Some(error.into()));
            break;
        }
        number += 1;
    }
    bulk.is_over.set(true);
}

/// Waits until the stream has ended and everything it sent was taken.
async fn settle(node: &Node, bulk: &Bulk) {
    let until = Instant::now() + DRAIN_TIME_MAX;
    let under_way = || !bulk.is_over.get() || node.counters().in_flight > 0;
    while under_way() && Instant::now() < until {
        node.sleep(LOOK).await;
    }
}
