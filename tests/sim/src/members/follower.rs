//! Invariant 15: a state and the events behind it give the next state.

use std::collections::BTreeMap;

use ringmesh_cluster::membership::Topology;
use ringmesh_cluster::membership::event::Numbered;
use ringmesh_proto::address::Uid;

use super::Participant;
use crate::invariant::Invariant;
use crate::world::World;

/// Whoever follows the events of a node from its start knows what the node knows, and finds no
/// number left out.
#[derive(Debug, Default)]
pub struct Follower {
    followed: BTreeMap<Uid, (u64, Topology)>,
}

impl Invariant<Participant> for Follower {
    fn name(&self) -> &'static str {
        "follower"
    }

    fn observe_event(
        &mut self,
        world: &World<Participant>,
        node: usize,
        event: &Numbered,
    ) -> Result<u64, String> {
        let Some((uid, machine)) = world.uid(node).zip(world.machine(node)) else {
            return Ok(0);
        };
        let profile = machine.control().membership().profile();
        let (last, followed) = self.followed.entry(uid).or_insert_with(|| {
            let own = Topology::empty(profile.node.clone(), profile.roles.data_centre());
            (0, own)
        });
        followed.apply(&event.event);
        let expected = *last + 1;
        *last = event.number;
        match event.number == expected {
            true => Ok(1),
            false => Err(format!(
                "node {node}: event {} is not {expected}",
                event.number
            )),
        }
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut checked = 0;
        for node in world.running() {
            let Some((uid, machine)) = world.uid(node).zip(world.machine(node)) else {
                continue;
            };
            let Some((_, followed)) = self.followed.get(&uid) else {
                continue;
            };
            let topology = machine.control().topology();
            if !followed.is_same_state(topology) {
                return Err(format!(
                    "node {node} is at {topology:?}, who follows it at {followed:?}"
                ));
            }
            checked += 1;
        }
        Ok(checked)
    }
}
