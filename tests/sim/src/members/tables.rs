//! Invariant 25: in the end each node's table of what an owner announces is the owner's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmesh_cluster::registry::{EntryId, Listing, Standing};
use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::Participant;
use crate::invariant::Invariant;
use crate::world::World;

/// A change may be on its way for so long.
const QUIET: Duration = Duration::from_secs(5);

/// In the end all nodes have all tables, each as its owner has it unless that has just changed, and
/// they count.
#[derive(Debug, Default)]
pub struct Tables {
    /// The version of each owner's table, and since when it is.
    since: BTreeMap<Uid, (u64, Instant)>,
}

pub(super) fn ids(listing: &Listing) -> BTreeSet<EntryId> {
    listing.entries().map(|it| it.id).collect()
}

impl Invariant<Participant> for Tables {
    fn name(&self) -> &'static str {
        "tables"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        for node in world.running() {
            let (machine, uid) = (world.machine(node), world.uid(node));
            if let (Some(machine), Some(uid)) = (machine, uid)
                && let Some(own) = machine.control().registry().snapshot().listing(uid)
            {
                let counter = own.version().counter;
                let now = (counter, world.now());
                let since = self.since.entry(uid).or_insert(now);
                if since.0 != counter {
                    *since = now;
                }
            }
        }
        Ok(0)
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
            let counter = truth.version().counter;
            let since = self.since.get(uid).filter(|it| it.0 == counter);
            let is_quiet = since.is_some_and(|it| world.now() - it.1 >= QUIET);
            if counter > 0 && !is_quiet {
                continue;
            }
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
