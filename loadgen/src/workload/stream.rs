//! The sending half of `stream`: a `try_tell` per message, a waiting `tell` when there is no room.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringmesh::prelude::*;
use ringmesh::{Accepts, CoreId};

use super::message::{
    Begin, Begun, Counts, Finish, Numbered, Pod32, Pod64, Pod128, Pod256, Pod1024, Pod4096, Probe,
    Record, SinkApi,
};
use super::{DRAIN_TIME_MAX, NodeMeter, Seen, WorkloadError, monotonic_ns, outcome, path, sink_on};
use crate::latency::Recorded;
use crate::plan::{Outcome, Round};

/// Messages between two looks at the clock.
const MESSAGES_PER_LOOK: u64 = 256;

/// With `--hgrm`, a probe follows every message whose number this divides.
const MESSAGES_PER_PROBE: u64 = 1024;

/// Streams to the sink on core `there` of the node at `to`, as `round` says.
pub(super) async fn send(
    node: &Node,
    to: SocketAddr,
    there: CoreId,
    round: &Round,
) -> Result<Outcome, WorkloadError> {
    let sink: Ref<SinkApi> = node.resolve(&path(to, &sink_on(there))).await?;
    match (round.pod, round.payload_bytes) {
        (true, 32) => stream::<Pod32>(node, sink, round).await,
        (true, 64) => stream::<Pod64>(node, sink, round).await,
        (true, 128) => stream::<Pod128>(node, sink, round).await,
        (true, 256) => stream::<Pod256>(node, sink, round).await,
        (true, 1024) => stream::<Pod1024>(node, sink, round).await,
        (true, 4096) => stream::<Pod4096>(node, sink, round).await,
        // The command line lets no other size pass with fixed layouts.
        _ => stream::<Record>(node, sink, round).await,
    }
}

/// Sends to `sink` as `round` says, and asks it what arrived.
pub(super) async fn stream<M: Numbered>(
    node: &Node,
    sink: Ref<SinkApi>,
    round: &Round,
) -> Result<Outcome, WorkloadError>
where
    SinkApi: Accepts<M>,
{
    send_for::<M>(sink, round, round.warm_up).await?;
    begin(sink).await?;
    let meter = NodeMeter::start(node);
    let begun = Instant::now();
    let sent = send_for::<M>(sink, round, round.measured).await?;
    let counts = finish(sink).await?;
    let elapsed = begun.elapsed();
    let cost = meter.so_far(node);
    let one_way = (!counts.one_way.is_empty()).then(|| Recorded::new(counts.one_way.to_vec()));
    let seen = Seen {
        elapsed,
        sent,
        cost,
        latency: one_way,
        latency_from_schedule: None,
        corrupt: 0,
    };
    Ok(outcome(seen, &counts))
}

// Apart from the generic code: there, `SinkApi: Accepts<M>` hides what else it accepts.

async fn begin(sink: Ref<SinkApi>) -> Result<Msg<Begun>, AskError> {
    sink.ask(Begin).timeout(DRAIN_TIME_MAX).await
}

async fn finish(sink: Ref<SinkApi>) -> Result<Msg<Counts>, AskError> {
    sink.ask(Finish).timeout(DRAIN_TIME_MAX).await
}

async fn push_probe(sink: Ref<SinkApi>) -> Result<(), WorkloadError> {
    let sent_ns = monotonic_ns();
    Ok(sink.tell(Probe { sent_ns }).await?)
}

/// Sends the messages 0, 1, 2 ... for `duration`, and says how many.
async fn send_for<M: Numbered>(
    sink: Ref<SinkApi>,
    round: &Round,
    duration: Duration,
) -> Result<u64, WorkloadError>
where
    SinkApi: Accepts<M>,
{
    let until = Instant::now() + duration;
    let mut number = 0;
    while !number_is_due(number, MESSAGES_PER_LOOK) || Instant::now() < until {
        if round.sample_one_way && number_is_due(number, MESSAGES_PER_PROBE) {
            push_probe(sink).await?;
        }
        match sink.try_tell(M::new(number, round.payload_bytes)) {
            Ok(()) => {}
            Err(SendError::Full(message)) => sink.tell(message).await?,
            Err(error) => return Err(error.into()),
        }
        number += 1;
    }
    Ok(number)
}

#[inline]
fn number_is_due(number: u64, every: u64) -> bool {
    number.is_multiple_of(every)
}
