//! Invariant 14: whoever was removed, and can hear so, stops.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::Participant;
use super::silence::concerns;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::world::World;

/// How long a member that was removed may go on, while it can hear one that knows.
const STOPPED: Duration = Duration::from_secs(5);

/// A member that another one has removed, and that takes that one for a member, ends its part in
/// the cluster within 5 s, unless something is wrong with either or the path between them.
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
            let knows = |it: &&_| -> bool {
                let it: &super::views::Viewer<'_> = it;
                it.view.tombstone(one.uid).is_some()
                    && it.view.cluster() == one.view.cluster()
                    && one.view.member(it.uid).is_some()
            };
            for other in viewers.iter().filter(knows) {
                let pair = (one.uid, other.uid);
                let begun = self.since.get(&pair).copied().unwrap_or(now);
                since.insert(pair, begun);
                let (node, by) = (one.node, other.node);
                let is_calm = || world.is_calm(STOPPED, |fault| concerns(fault, node, by));
                if now - begun > STOPPED && is_calm() {
                    return Err(format!("node {node} was removed by node {by}, and goes on"));
                }
            }
        }
        self.since = since;
        Ok(self.since.len() as u64)
    }
}
