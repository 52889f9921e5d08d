//! Invariant 21: whoever leaves in good order is removed as one that left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmesh_cluster::membership::Status;
use ringmesh_cluster::membership::event::{Event, Numbered};
use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::Participant;
use super::views::{Viewer, viewers};
use crate::invariant::Invariant;
use crate::world::World;

/// How long nothing may have been wrong anywhere before a member leaves, for its leaving to count.
const CALM: Duration = Duration::from_secs(10);

/// How long it takes until all have removed it: its users have ended their work at once, so what is
/// left are a few rounds of gossip, and the 3 s for which it waits to be told.
const GONE: Duration = Duration::from_secs(10);

/// How much longer those of another data centre may not have heard of it: few speak with it, and
/// not in each second.
const HEARD: Duration = Duration::from_secs(10);

/// A member that leaves a cluster in which all is well, and stays so, is removed by all others
/// within 10 s, as one that was exiting, and by those of other data centres within 20 s; and its
/// process ends.
#[derive(Debug, Default)]
pub struct Leaver {
    leaving: BTreeMap<Uid, Leaving>,
}

#[derive(Debug)]
struct Leaving {
    since: Instant,
    /// Who has not removed it: of its data centre, and of others.
    observers: BTreeSet<Uid>,
    far: BTreeSet<Uid>,
}

/// Whether nothing is wrong anywhere.
fn is_calm(world: &World<Participant>, span: Duration) -> bool {
    world.is_calm(span, |_| true)
}

impl Leaver {
    /// A member wants to leave.
    fn begin(&mut self, world: &World<Participant>, uid: Uid) -> u64 {
        let viewers = viewers(world);
        let is_well = |it: &Viewer<'_>| {
            let members = it.control.topology().members().len();
            it.uid == uid || it.is_converged() && members == world.nodes()
        };
        let are_well = viewers.len() == world.nodes() && viewers.iter().all(is_well);
        if !are_well || !is_calm(world, CALM) {
            return 0;
        }
        let leaver = viewers.iter().find(|it| it.uid == uid);
        let home = leaver.map(|it| it.data_centre());
        let others = viewers.iter().filter(|it| it.uid != uid);
        let (here, far): (Vec<_>, Vec<_>) = others.partition(|it| Some(it.data_centre()) == home);
        let uids = |some: Vec<&Viewer<'_>>| some.into_iter().map(|it| it.uid).collect();
        let leaving = Leaving {
            since: world.now(),
            observers: uids(here),
            far: uids(far),
        };
        self.leaving.insert(uid, leaving);
        1
    }
}

impl Invariant<Participant> for Leaver {
    fn name(&self) -> &'static str {
        "leaver"
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
            Event::Member(it) if it.uid() == observer && it.status() == Status::Leaving => {
                Ok(self.begin(world, observer))
            }
            Event::Removed {
                node: gone,
                previous,
            } => {
                let Some(leaving) = self.leaving.get_mut(&gone.uid) else {
                    return Ok(0);
                };
                leaving.observers.remove(&observer);
                leaving.far.remove(&observer);
                let left = *previous == Status::Exiting;
                match left || !is_calm(world, world.now() - leaving.since) {
                    true => Ok(1),
                    false => Err(format!("node {node} removed {gone}, which was {previous}")),
                }
            }
            _ => Ok(0),
        }
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        self.leaving
            .retain(|_, it| is_calm(world, world.now() - it.since));
        let runs = |uid: &Uid| world.running().any(|node| world.uid(node) == Some(*uid));
        let is_due = |it: &&Leaving| world.now() - it.since > GONE;
        let is_over = |it: &Leaving| world.now() - it.since > GONE + HEARD;
        let mut checked = 0;
        for (uid, leaving) in self.leaving.iter().filter(|(_, it)| is_due(it)) {
            checked += 1;
            let far = leaving.far.iter().filter(|_| is_over(leaving));
            let mut observers = leaving.observers.iter().chain(far);
            if let Some(observer) = observers.find(|it| runs(it)) {
                return Err(format!("{uid} left, and {observer} has not removed it"));
            }
            if runs(uid) {
                return Err(format!("{uid} left, and runs"));
            }
        }
        self.leaving.retain(|_, it| !is_over(it));
        Ok(checked)
    }
}
