//! Several connections: one stream from each core of the sending node to the core of the same
//! number of the receiving one, all at once.

use std::net::SocketAddr;
use std::time::Duration;

use futures_channel::oneshot;
use ringmesh::prelude::*;

use super::{WorkloadError, stream};
use crate::cost::Cost;
use crate::plan::{EngineFacts, Outcome, Round};

/// Streams from every core of `node`, and adds up what came of it.
pub(super) async fn send(
    node: &Node,
    to: SocketAddr,
    round: &Round,
) -> Result<Outcome, WorkloadError> {
    let mut streams = Vec::new();
    for core in node.cores() {
        let (done, outcome) = oneshot::channel();
        let round = *round;
        node.spawn_task_on(core, move |node| async move {
            // Nobody waits any more when another stream failed.
            drop(done.send(stream::send(&node, to, core, &round).await));
        })
        .await?;
        streams.push(outcome);
    }
    let mut outcomes = Vec::new();
    for stream in streams {
        outcomes.push(stream.await.map_err(|_| WorkloadError::Ended)??);
    }
    Ok(sum(&outcomes))
}

/// The streams ran side by side, and each counted the cost of both whole processes.
fn sum(outcomes: &[Outcome]) -> Outcome {
    let total = |count: fn(&Outcome) -> u64| outcomes.iter().map(count).sum::<u64>();
    let streams = outcomes.len().max(1) as u64;
    let facts = outcomes.iter().filter_map(|outcome| outcome.engine);
    Outcome {
        elapsed: outcomes
            .iter()
            .map(|outcome| outcome.elapsed)
            .max()
            .unwrap_or(Duration::ZERO),
        messages: total(|outcome| outcome.messages),
        lost: total(|outcome| outcome.lost),
        corrupt: total(|outcome| outcome.corrupt),
        cost: Cost {
            cpu_ns: total(|outcome| outcome.cost.cpu_ns) / streams,
            allocations: total(|outcome| outcome.cost.allocations) / streams,
        },
        latency: outcomes.iter().find_map(|outcome| outcome.latency.clone()),
        latency_from_schedule: None,
        engine: facts.reduce(|all, one| EngineFacts {
            duplicated: all.duplicated + one.duplicated,
            reordered: all.reordered + one.reordered,
            frames_copied: all.frames_copied + one.frames_copied,
            enters: all.enters + one.enters,
        }),
        crowd: None,
    }
}
