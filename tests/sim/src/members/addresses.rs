//! Invariant 10: at an address there is one member.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_cluster::membership::{Member, Status};

use super::Participant;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::world::World;

/// In a view that has converged, of the process starts at an address in its data centre at most one
/// has not begun to go. Where there are several, whoever is let in from another one and dies before
/// those at home hear of it may be there besides the next at its address, until it is given up: but
/// only as long as it is no member in full.
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
            let places = viewer.view.members().map(|it| it.roles().data_centre());
            let are_several = places.collect::<BTreeSet<&str>>().len() > 1;
            let counts = |it: &&Member| !(are_several && it.status().is_entering());
            for member in viewer
                .home()
                .filter(counts)
                .filter(|it| it.status() < Status::Leaving)
            {
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
