//! Invariant 23: a cluster in which nothing happens says little.

use std::time::Duration;

use ringmesh_cluster::membership::clock::VersionVector;
use ringmesh_cluster::monitor::SUBJECTS;
use ringmesh_proto::time::Instant;

use super::Participant;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::world::World;

/// How long nothing may have happened, and how long is then looked at.
const QUIET: Duration = Duration::from_secs(10);

/// What a node writes per second for each that it watches, and each that watches it: a heartbeat or
/// the answer to one, 30 bytes, and a grant for what came, 32; with room for one that comes in two.
const BYTES_PER_WATCH: u64 = 100;

/// What it writes per second of who is in the cluster: its summary to one other member, and the
/// answers to those of others, of whom now and then several choose it.
const SUMMARIES: u64 = 4;
const SUMMARY_BYTES: u64 = 96;
const SUMMARY_BYTES_PER_MEMBER: u64 = 4;

/// While all know the same, and nothing has been wrong for 10 s, no node writes more in another
/// 10 s than the heartbeats and summaries of so many members come to.
#[derive(Debug, Default)]
pub struct Quiet {
    /// Since when it is quiet, the version that all know, and what each node had written by then.
    begun: Option<(Instant, Known, Vec<u64>)>,
}

/// What a node of a cluster of so many members may write in such a time.
fn budget(members: usize) -> u64 {
    let others = members.saturating_sub(1).min(SUBJECTS) as u64;
    let summary = SUMMARY_BYTES + SUMMARY_BYTES_PER_MEMBER * members as u64;
    QUIET.as_secs() * (2 * others * BYTES_PER_WATCH + SUMMARIES * summary)
}

/// A version of the view, and of what each node knows of what all announce.
type Known = (VersionVector, Vec<u64>);

/// The version that all nodes know, if they do, and nothing is wrong.
fn known_to_all(world: &World<Participant>) -> Option<Known> {
    let viewers = viewers(world);
    let first = viewers.first()?.view;
    let are_one = viewers.iter().all(|it| {
        let is_same = it.view.cluster() == first.cluster() && it.view.version() == first.version();
        is_same && it.is_converged()
    });
    let is_quiet = viewers.len() == world.nodes() && world.is_calm(QUIET, |_| true);
    let tables = viewers
        .iter()
        .map(|it| it.control.registry().snapshot().version());
    (is_quiet && are_one).then(|| (first.version().clone(), tables.collect()))
}

impl Invariant<Participant> for Quiet {
    fn name(&self) -> &'static str {
        "quiet"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let Some(version) = known_to_all(world) else {
            self.begun = None;
            return Ok(0);
        };
        let written: Vec<u64> = (0..world.nodes()).map(|it| world.written(it)).collect();
        let now = world.now();
        let Some((_, _, before)) = self
            .begun
            .take_if(|(since, known, _)| *known != version || now - *since >= QUIET)
            .filter(|(_, known, _)| *known == version)
        else {
            self.begun.get_or_insert((now, version, written));
            return Ok(0);
        };
        let budget = budget(world.nodes());
        for (node, (before, after)) in before.iter().zip(&written).enumerate() {
            let bytes = after - before;
            if bytes > budget {
                return Err(format!("node {node} wrote {bytes} bytes, of {budget}"));
            }
        }
        self.begun = Some((now, version, written));
        Ok(world.nodes() as u64)
    }
}
