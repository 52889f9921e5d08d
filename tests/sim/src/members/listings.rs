//! Invariant 27: nobody finds what an owner announces whom it cannot reach, or who was removed.

use ringmesh_cluster::registry::Standing;

use super::Participant;
use crate::invariant::Invariant;
use crate::world::World;

/// Whose table counts at a node is a member in the node's topology, and can be reached; and of
/// whoever is none there is no table.
#[derive(Debug)]
pub struct Listings;

impl Invariant<Participant> for Listings {
    fn name(&self) -> &'static str {
        "listings"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut checked = 0;
        for node in world.running() {
            let Some(control) = world.machine(node).map(Participant::control) else {
                continue;
            };
            let topology = control.topology();
            // Of a node that has stopped being a member nobody asks anything.
            if control.membership().gossip().is_none() {
                continue;
            }
            let own = topology.own().uid;
            for listing in control.registry().snapshot().listings() {
                let owner = listing.owner().uid;
                if owner == own {
                    continue;
                }
                let counts = listing.standing() == Standing::Reachable;
                if topology.member(owner).is_none() {
                    return Err(format!("node {node} has a table of {owner}, no member"));
                }
                if counts && topology.is_unreachable(owner) {
                    return Err(format!("node {node} finds {owner}, whom it cannot reach"));
                }
                checked += 1;
            }
        }
        Ok(checked)
    }
}
