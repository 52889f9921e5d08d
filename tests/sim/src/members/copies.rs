//! Invariant 26: the version of a table never falls, and what its owner took back is in none later.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_cluster::registry::EntryId;
use ringmesh_proto::address::Uid;

use super::Participant;
use super::tables::ids;
use crate::invariant::Invariant;
use crate::world::World;

/// The version of each table that a node holds never falls while the owner's process and its own
/// go on, and at each version it holds just what the owner's did.
#[derive(Debug, Default)]
pub struct Copies {
    /// What an owner's table held, by version.
    truth: BTreeMap<(Uid, u64), BTreeSet<EntryId>>,
    /// The version that each node has of each owner's.
    held: BTreeMap<(Uid, Uid), u64>,
    /// The snapshot of each node that was looked at last.
    looked: BTreeMap<Uid, u64>,
}

impl Invariant<Participant> for Copies {
    fn name(&self) -> &'static str {
        "copies"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut checked = 0;
        let nodes = world.running().filter_map(|node| {
            let snapshot = world.machine(node)?.control().registry().snapshot();
            Some((node, world.uid(node)?, snapshot))
        });
        let looked = &self.looked;
        let nodes = nodes.filter(|(_, uid, it)| looked.get(uid) != Some(&it.version()));
        let nodes: Vec<_> = nodes.collect();
        for (_, uid, snapshot) in &nodes {
            self.looked.insert(*uid, snapshot.version());
            if let Some(own) = snapshot.listing(*uid) {
                let counter = own.version().counter;
                self.truth
                    .entry((*uid, counter))
                    .or_insert_with(|| ids(own));
            }
        }
        for (node, uid, snapshot) in nodes {
            for listing in snapshot.listings() {
                let owner = listing.owner().uid;
                let counter = listing.version().counter;
                let before = self.held.insert((uid, owner), counter).unwrap_or(0);
                if before > counter {
                    return Err(format!(
                        "node {node} had {before} of {owner}, has {counter}"
                    ));
                }
                let truth = self.truth.get(&(owner, counter));
                if truth.is_some_and(|it| *it != ids(listing)) {
                    return Err(format!("node {node} has another {counter} of {owner}"));
                }
                checked += u64::from(truth.is_some() && owner != uid);
            }
        }
        Ok(checked)
    }
}
