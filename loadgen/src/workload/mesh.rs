//! Both halves of `mesh`: an actor on another core of the same node, and the stream's calls.
//!
//! After the measured interval questions go one at a time. A latency is half of a round trip: the
//! way there is the way back.

use std::time::{Duration, Instant};

use ringmesh::prelude::*;

use super::message::{EchoApi, Ping, Record, SinkApi};
use super::receiver::{Echo, Sink};
use super::{WorkloadError, stream};
use crate::cost::Cost;
use crate::latency::Latencies;
use crate::pattern;
use crate::plan::{Outcome, Round, one_by_one};

/// Streams from the core of `node` to its last one, as `round` says.
pub(super) async fn run(node: &Node, round: &Round) -> Result<Outcome, WorkloadError> {
    let Some(there) = node.cores().last() else {
        return Err(WorkloadError::Mesh);
    };
    let sink: Ref<SinkApi> = node.spawn_on(there, Sink::new).await?;
    let echo: Ref<EchoApi> = node.spawn_on(there, Echo::default).await?;
    let mut outcome = stream::stream::<Record>(node, sink, round).await?;
    // Both halves are one process, and each counted all of it.
    outcome.cost = Cost {
        cpu_ns: outcome.cost.cpu_ns / 2,
        allocations: outcome.cost.allocations / 2,
    };
    let mut latencies = Latencies::new();
    let alone = one_by_one(round.measured);
    time_for(alone, echo, &mut latencies).await?;
    outcome.latency = Some(latencies.to_recorded());
    Ok(outcome)
}

async fn time_for(
    duration: Duration,
    echo: Ref<EchoApi>,
    latencies: &mut Latencies,
) -> Result<(), WorkloadError> {
    let mut sent = Instant::now();
    let until = sent + duration;
    let mut number = 0;
    while sent < until {
        let body = bytes::Bytes::from_static(pattern::first(8));
        echo.ask(Ping { number, body }).await?;
        let back = Instant::now();
        latencies.record((back - sent) / 2);
        sent = back;
        number += 1;
    }
    Ok(())
}
