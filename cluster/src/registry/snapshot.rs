//! The tables of all owners as cores read them: immutable values.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmesh_proto::address::{NodeId, Uid};

use super::entry::{Entry, Key};
use super::table::Shelves;

/// Which table of an owner: of which start of its process, and how many changes led to it. Those of
/// one process start only rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The process start of the owner.
    pub incarnation: Uid,
    /// How many changes led to the table.
    pub counter: u64,
}

/// Whether the entries of an owner count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// They do.
    Reachable,
    /// They are there, and nobody should rely on them: their owner cannot be reached.
    Unreachable,
    /// They do not: their owner is still joining, or already leaving.
    Apart,
}

/// The entries of one owner.
#[derive(Clone, Debug)]
pub struct Listing {
    pub(super) owner: NodeId,
    pub(super) counter: u64,
    pub(super) standing: Standing,
    pub(super) shelves: Arc<Shelves>,
}

impl Listing {
    /// Whose they are.
    pub fn owner(&self) -> &NodeId {
        &self.owner
    }

    /// Which table it is.
    pub fn version(&self) -> Version {
        Version {
            incarnation: self.owner.uid,
            counter: self.counter,
        }
    }

    /// Whether they count.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// All of them, in no order that means anything.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.shelves.iter()
    }
}

/// The tables of all owners, as a node had them at some moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub(super) version: u64,
    pub(super) is_settled: bool,
    pub(super) listings: BTreeMap<Uid, Arc<Listing>>,
}

impl Snapshot {
    /// Raised with each change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether this node has heard of the tables of all members that it can reach, or has waited
    /// long enough for them. Before that, whoever finds nothing should wait for a later snapshot.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// The table of an owner.
    pub fn listing(&self, owner: Uid) -> Option<&Arc<Listing>> {
        self.listings.get(&owner)
    }

    /// The tables of all owners, also of those that do not count.
    pub fn listings(&self) -> impl ExactSizeIterator<Item = &Arc<Listing>> {
        self.listings.values()
    }

    /// The entries of that key whose owners can be reached, with their owners.
    pub fn find<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = (&'a NodeId, &'a Arc<Entry>)> {
        let all = self.find_all(key);
        all.filter_map(|(listing, entry)| {
            let counts = listing.standing == Standing::Reachable;
            counts.then_some((&listing.owner, entry))
        })
    }

    /// The same with those whose owners cannot be reached.
    pub fn find_all<'a>(
        &'a self,
        key: &'a Key,
    ) -> impl Iterator<Item = (&'a Listing, &'a Arc<Entry>)> {
        let all = self.listings.values().map(|it| &**it);
        let present = all.filter(|it| it.standing != Standing::Apart);
        present.flat_map(move |it| it.shelves.find(key).map(move |entry| (it, entry)))
    }
}

/// One step from a snapshot to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// An entry came, went or changed.
    Entry {
        /// Whose it is.
        owner: Uid,
        /// What it was, if it was there.
        before: Option<Arc<Entry>>,
        /// What it is, if it is there.
        after: Option<Arc<Entry>>,
    },
    /// Whether the entries of an owner count has changed.
    Standing {
        /// Which owner.
        owner: Uid,
        /// Whether they do; `None` if the owner was removed, and they with it.
        standing: Option<Standing>,
    },
}

/// A snapshot, and what led to it from the one before.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The tables from now on.
    pub snapshot: Arc<Snapshot>,
    /// What changed, in order.
    pub differences: Vec<Difference>,
}
