//! Invariant 23: a cluster in which nothing happens says little.

use std::collections::BTreeSet;
use std::time::Duration;

use ringmesh_cluster::membership::clock::VersionVector;
use ringmesh_cluster::membership::convergence::Part;
use ringmesh_cluster::membership::data_centres::speakers;
use ringmesh_cluster::monitor::SUBJECTS;
use ringmesh_proto::time::Instant;

use super::Participant;
use super::views::{Viewer, viewers};
use crate::invariant::Invariant;
use crate::world::World;

/// How long nothing may have happened, and how long is then looked at.
const QUIET: Duration = Duration::from_secs(10);

/// What a node writes per second for each that it watches, and each that watches it: a heartbeat or
/// the answer to one, 30 bytes, and a grant for what came, 32; with room for one that comes in two.
const BYTES_PER_WATCH: u64 = 100;

/// What it writes for each in another data centre with every heartbeat that crosses: that and the
/// answer to the other's, and the handshake of a link that rested since the last one.
const BYTES_PER_CROSSING: u64 = 2 * BYTES_PER_WATCH + 400;

/// How many heartbeats cross in that time: one in three seconds.
const CROSSINGS: u64 = 4;

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

/// How many a member watches at home, and elsewhere.
fn watched(viewer: &Viewer<'_>) -> (u64, u64) {
    let home = viewer.home().count().saturating_sub(1).min(SUBJECTS);
    let speaks = speakers(viewer.home())
        .iter()
        .any(|it| it.uid() == viewer.uid);
    let places = viewer.view.members().map(|it| it.roles().data_centre());
    let others: BTreeSet<&str> = places.filter(|it| *it != viewer.data_centre()).collect();
    let there = |name| speakers(Part::new(viewer.view, name).members()).len();
    let there: usize = others.into_iter().map(there).sum();
    (home as u64, if speaks { there as u64 } else { 0 })
}

/// What a member may write in such a time that watches so many at home, and elsewhere, and knows of
/// so many.
fn budget((home, elsewhere): (u64, u64), members: u64) -> u64 {
    let summary = SUMMARY_BYTES + SUMMARY_BYTES_PER_MEMBER * members;
    let at_home = QUIET.as_secs() * (2 * home * BYTES_PER_WATCH + SUMMARIES * summary);
    at_home + CROSSINGS * elsewhere * BYTES_PER_CROSSING
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
        for viewer in viewers(world) {
            let node = viewer.node;
            let bytes = written[node] - before[node];
            let budget = budget(watched(&viewer), world.nodes() as u64);
            if bytes > budget {
                return Err(format!("node {node} wrote {bytes} bytes, of {budget}"));
            }
        }
        self.begun = Some((now, version, written));
        Ok(world.nodes() as u64)
    }
}
