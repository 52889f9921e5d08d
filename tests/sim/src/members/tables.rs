//! Invariant 25: in the end each node's table of what an owner announces is the owner's.

use std::collections::BTreeSet;

use ringmesh_cluster::registry::{EntryId, Listing, Standing};

use super::Participant;
use crate::invariant::Invariant;
use crate::world::World;

/// In the end all nodes have all tables, each as its owner has it, and they count.
#[derive(Debug)]
pub struct Tables;

pub(super) fn ids(listing: &Listing) -> BTreeSet<EntryId> {
    listing.entries().map(|it| it.id).collect()
}

impl Invariant<Participant> for Tables {
    fn name(&self) -> &'static str {
        "tables"
    }

    fn finish(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let nodes = world.running().filter_map(|node| {
            let registry = world.machine(node)?.control().registry();
            Some((node, world.uid(node)?, registry.snapshot()))
        });
        let nodes: Vec<_> = nodes.collect();
        let mut compared = 0;
        for (owner, uid, snapshot) in &nodes {
            let Some(truth) = snapshot.listing(*uid) else {
                return Err(format!("node {owner} does not have its own table"));
            };
            for (node, _, snapshot) in &nodes {
                let Some(copy) = snapshot.listing(*uid) else {
                    return Err(format!("node {node} has no table of node {owner}"));
                };
                let is_same = copy.version() == truth.version() && ids(copy) == ids(truth);
                if !is_same || copy.standing() != Standing::Reachable {
                    let (has, is) = (copy.version(), truth.version());
                    let standing = copy.standing();
                    return Err(format!(
                        "node {node} has {has:?} of node {owner}, {standing:?}, which has {is:?}"
                    ));
                }
                compared += 1;
            }
        }
        Ok(compared)
    }
}
