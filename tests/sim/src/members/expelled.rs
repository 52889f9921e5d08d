//! Invariant 14: whoever was removed, and can hear so, stops.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::Participant;
use super::silence::concerns;
use super::views::{Viewer, viewers};
use crate::invariant::Invariant;
use crate::world::World;

/// How long a member that was removed may go on, while it can hear one that knows.
const STOPPED: Duration = Duration::from_secs(5);

/// How much longer where it asks the other one for a sign of life less often.
const STOPPED_FAR: Duration = Duration::from_secs(10);

/// A member that another one has removed, and that takes that one for a member, ends its part in
/// the cluster within 5 s, unless something is wrong with either or the path between them. Of those
/// in other data centres it hears from whom it watches, within 10 s.
#[derive(Debug, Default)]
pub struct Expelled {
    /// Since when each might hear it from whom.
    since: BTreeMap<(Uid, Uid), Instant>,
}

impl Invariant<Participant> for Expelled {
    fn name(&self) -> &'static str {
        "expelled"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let (viewers, now) = (viewers(world), world.now());
        let mut since = BTreeMap::new();
        for one in &viewers {
            let speaks_with = |it: &Viewer<'_>| {
                let is_home = one.data_centre() == it.data_centre();
                is_home || one.control.monitor().subjects().any(|uid| uid == it.uid)
            };
            let knows = |it: &&Viewer<'_>| {
                it.view.tombstone(one.uid).is_some()
                    && speaks_with(it)
                    && it.view.cluster() == one.view.cluster()
                    && one.view.member(it.uid).is_some()
            };
            for other in viewers.iter().filter(knows) {
                let pair = (one.uid, other.uid);
                let begun = self.since.get(&pair).copied().unwrap_or(now);
                since.insert(pair, begun);
                let (node, by) = (one.node, other.node);
                let is_far = one.data_centre() != other.data_centre();
                let limit = if is_far { STOPPED_FAR } else { STOPPED };
                let is_calm = || world.is_calm(limit, |fault| concerns(fault, node, by));
                if now - begun > limit && is_calm() {
                    return Err(format!("node {node} was removed by node {by}, and goes on"));
                }
            }
        }
        self.since = since;
        Ok(self.since.len() as u64)
    }
}
