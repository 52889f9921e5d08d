//! Invariant 10: at an address there is one member.

use std::collections::BTreeMap;

use ringmesh_cluster::membership::Status;

use super::Participant;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::world::World;

/// In a view that has converged, of the process starts at an address at most one has not begun to
/// go.
#[derive(Debug)]
pub struct Addresses;

impl Invariant<Participant> for Addresses {
    fn name(&self) -> &'static str {
        "addresses"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut checked = 0;
        for viewer in viewers(world).iter().filter(|it| it.is_converged()) {
            let mut owners = BTreeMap::new();
            let members = viewer.view.members();
            for member in members.filter(|it| it.status() < Status::Leaving) {
                checked += 1;
                if let Some(other) = owners.insert(member.address(), member.uid()) {
                    let (node, uid) = (viewer.node, member.uid());
                    return Err(format!("node {node} sees {uid} and {other} at one address"));
                }
            }
        }
        Ok(checked)
    }
}
