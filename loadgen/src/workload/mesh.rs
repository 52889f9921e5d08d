//! Both halves of `mesh`: an actor on another core of the same node, and the stream's calls.
//!
//! After the measured interval a rally follows: messages that go one at a time.

use ringmesh::prelude::*;

use super::message::{ARCHIVE_OVERHEAD_BYTES, Record, SinkApi};
use super::rally::rally;
use super::receiver::Sink;
use super::{WorkloadError, stream};
use crate::cost::Cost;
use crate::latency::Recorded;
use crate::plan::{Outcome, Round, one_by_one};

/// Streams from the core of `node` to its last one, as `round` says.
pub(super) async fn run(node: &Node, round: &Round) -> Result<Outcome, WorkloadError> {
    let Some(there) = node.cores().last() else {
        return Err(WorkloadError::Mesh);
    };
    let sink: Ref<SinkApi> = node.spawn_on(there, Sink::new).await?;
    let mut outcome = stream::stream::<Record>(node, sink, round).await?;
    // Both halves are one process, and each counted all of it.
    outcome.cost = Cost {
        cpu_ns: outcome.cost.cpu_ns / 2,
        allocations: outcome.cost.allocations / 2,
    };
    let body_bytes = round.payload_bytes - ARCHIVE_OVERHEAD_BYTES;
    let alone = one_by_one(round.measured);
    let flights = rally(node, there, body_bytes as u32, alone).await?;
    outcome.latency = Some(Recorded::new(flights.into()));
    Ok(outcome)
}
