//! Invariant 1: nobody goes back in its life, and who was removed stays so. Invariant 9, in part:
//! a process start is in one cluster at most.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_cluster::membership::event::{Event, Numbered};
use ringmesh_cluster::membership::gossip::ClusterId;
use ringmesh_cluster::membership::{Status, UpNumber};
use ringmesh_proto::address::Uid;

use super::Participant;
use crate::invariant::Invariant;
use crate::world::World;

/// What each process start sees of each other: the status never falls, whoever was removed never
/// comes back, the number by which a member is up never changes, and there is one cluster.
#[derive(Debug, Default)]
pub struct Courses {
    seen: BTreeMap<(Uid, Uid), (Status, UpNumber)>,
    removed: BTreeSet<(Uid, Uid)>,
    clusters: BTreeMap<Uid, ClusterId>,
}

impl Courses {
    fn enter(&mut self, observer: Uid, cluster: ClusterId) -> Result<u64, String> {
        match self.clusters.insert(observer, cluster) {
            Some(other) if other != cluster => Err(format!(
                "{observer} was in {other:?}, and is in {cluster:?}"
            )),
            _ => Ok(1),
        }
    }
}

impl Invariant<Participant> for Courses {
    fn name(&self) -> &'static str {
        "courses"
    }

    fn observe_event(
        &mut self,
        world: &World<Participant>,
        node: usize,
        event: &Numbered,
    ) -> Result<u64, String> {
        let Some(observer) = world.uid(node) else {
            return Ok(0);
        };
        match &event.event {
            Event::Founded { cluster } | Event::Welcomed { cluster, .. } => {
                self.enter(observer, *cluster)
            }
            Event::Member(member) => {
                let pair = (observer, member.uid());
                if self.removed.contains(&pair) {
                    return Err(format!("node {node}: {} came back", member.node()));
                }
                let now = (member.status(), member.up_number());
                match self.seen.insert(pair, now) {
                    Some((status, _)) if status > now.0 => Err(format!(
                        "node {node}: {} was {status:?}, and is {:?}",
                        member.node(),
                        now.0
                    )),
                    Some((_, number)) if number.is_given() && number < now.1 => Err(format!(
                        "node {node}: {} was up as {number:?}, and is as {:?}",
                        member.node(),
                        now.1
                    )),
                    _ => Ok(1),
                }
            }
            Event::Removed { node: gone, .. } => {
                self.removed.insert((observer, gone.uid));
                Ok(1)
            }
            _ => Ok(0),
        }
    }
}
