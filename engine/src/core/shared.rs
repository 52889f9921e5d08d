//! What the cores of one node share: who the node is, the names of its actors, the nodes it knows,
//! and how it starts and stops.
//!
//! Everything here is behind locks, or written once. Names are looked up when an actor is spawned
//! or resolved, nodes when one is first met, and when a ref is archived or read.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::matrix::LinkMatrix;
use ringmesh_proto::message::ProtocolId;
use ringmesh_transport::doorbell::Doorbell;

use super::door::SharedDoor;
use crate::dead_letter::Office;
use crate::metrics::Pages;

/// The state that the cores of a node share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The number of this process start.
    pub(crate) uid: Uid,
    pub(crate) table: TableId,
    cores: usize,
    id: OnceLock<NodeId>,
    doorbells: Box<[OnceLock<Doorbell>]>,
    gate: Gate,
    /// How far the node is on its way to its end, as a [`Stop`].
    stop: AtomicU8,
    /// Cores of a stopping node that have nothing left to say.
    quiet: AtomicUsize,
    /// What its cores count.
    pub(crate) pages: Arc<Pages>,
    /// What reached nobody.
    pub(crate) letters: Arc<Office>,
    names: Mutex<HashMap<Box<str>, Named>>,
    nodes: Mutex<Nodes>,
    /// Who may come in.
    pub(crate) door: SharedDoor,
}

/// Where a named actor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) core: CoreId,
    pub(crate) slot: u32,
    pub(crate) generation: u64,
    pub(crate) protocol: ProtocolId,
}

/// What all cores are told about the node's end. It only goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Nobody wants it.
    No,
    /// `until_shutdown` is over.
    Begun,
    /// The main future is over: flush, say goodbye, and end.
    Over,
    /// A core failed: end at once.
    Failed,
}

/// Names the numbers of one node's cores, for the life of the process: refs may be carried to
/// another node in the same process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TableId(u32);

impl TableId {
    fn next() -> Self {
        // The first is nobody's.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A node, and where that number of it counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    pub(crate) table: TableId,
    pub(crate) node: NodeIndex,
}

/// A node as all cores name it: their refs carry the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeIndex(pub(crate) u32);

/// What a handshake told of a node: the process start, and the links that this node may have with
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) uid: Uid,
    pub(crate) matrix: LinkMatrix,
}

impl NodeIndex {
    /// This node.
    pub(crate) const SELF: Self = Self(0);

    /// No node.
    pub(crate) const NOWHERE: Self = Self(u32::MAX);
}

impl Shared {
    /// The state of a node of `cores` that is about to start, whose cores may each know `peers_max`
    /// others, which keeps so many dead letters.
    pub(crate) fn new(
        cores: usize,
        peers_max: usize,
        letters_kept: usize,
        door: SharedDoor,
    ) -> Self {
        Self {
            door,
            uid: crate::random::uid(),
            table: TableId::next(),
            cores,
            id: OnceLock::new(),
            doorbells: (0..cores).map(|_| OnceLock::new()).collect(),
            gate: Gate::default(),
            stop: AtomicU8::new(Stop::No as u8),
            quiet: AtomicUsize::new(0),
            pages: Arc::new(Pages::new(cores)),
            letters: Arc::new(Office::new(letters_kept)),
            names: Mutex::default(),
            // Each core forgets a node only after it has met the next.
            nodes: Mutex::new(Nodes::new(cores * (peers_max + 1))),
        }
    }

    /// Says who the node is: the control core knows once it listens.
    pub(crate) fn announce(&self, id: NodeId) {
        lock(&self.nodes).add_self(id.address.clone());
        // Set once: there is one control core, and it starts once.
        let _ = self.id.set(id);
        self.gate.changed();
    }

    /// Who the node is; waits for the control core. `None` when the start failed.
    pub(crate) fn wait_for_id(&self) -> Option<NodeId> {
        self.gate.wait_until(|| self.id.get().cloned())
    }

    /// A core is ready, and can be woken by `doorbell`.
    pub(crate) fn core_ready(&self, core: CoreId, doorbell: Doorbell) {
        let _ = self.doorbells[usize::from(core.0)].set(doorbell);
        self.gate.changed();
    }

    /// Waits until every core is ready. Says whether that is so; else the start failed.
    pub(crate) fn wait_for_all(&self) -> bool {
        let all_ready = || self.doorbells.iter().all(|bell| bell.get().is_some());
        self.gate.wait_until(|| all_ready().then_some(())).is_some()
    }

    /// A core could not start, or cannot go on: all end.
    pub(crate) fn fail(&self) {
        self.gate.fail();
        self.stop(Stop::Failed);
    }

    /// Wakes a core, wherever it sleeps.
    pub(crate) fn ring(&self, core: CoreId) {
        if let Some(doorbell) = self.doorbells[usize::from(core.0)].get() {
            doorbell.ring();
        }
    }

    /// Brings the node's end this far, and tells every core.
    pub(crate) fn stop(&self, stop: Stop) {
        if self.stop.fetch_max(stop as u8, Ordering::AcqRel) < stop as u8 {
            (0..self.cores).for_each(|core| self.ring(core_id(core)));
        }
    }

    /// How far the node's end is.
    pub(crate) fn stopping(&self) -> Stop {
        match self.stop.load(Ordering::Acquire) {
            0 => Stop::No,
            1 => Stop::Begun,
            2 => Stop::Over,
            _ => Stop::Failed,
        }
    }

    /// A core of a stopping node has nothing left to say, or no time left for it. Wakes all when it
    /// is the last.
    pub(crate) fn core_quiet(&self) {
        if self.quiet.fetch_add(1, Ordering::AcqRel) + 1 == self.cores {
            (0..self.cores).for_each(|core| self.ring(core_id(core)));
        }
    }

    /// Whether no core has anything left to say.
    pub(crate) fn all_quiet(&self) -> bool {
        self.quiet.load(Ordering::Acquire) >= self.cores
    }

    /// Gives a name to an actor. Says whether it was free.
    pub(crate) fn take_name(&self, name: &str, named: Named) -> bool {
        let mut names = lock(&self.names);
        let free = !names.contains_key(name);
        if free {
            names.insert(Box::from(name), named);
        }
        free
    }

    /// Takes the name of an actor back, unless it is another's by now.
    pub(crate) fn free_name(&self, name: &str, generation: u64) {
        let mut names = lock(&self.names);
        if names
            .get(name)
            .is_some_and(|named| named.generation == generation)
        {
            names.remove(name);
        }
    }

    /// The actor of that name, on whatever core.
    pub(crate) fn named(&self, name: &str) -> Option<Named> {
        lock(&self.names).get(name).copied()
    }

    /// The number of the node at `address`, which one more core knows from now on.
    pub(crate) fn meet(&self, address: &Address) -> Option<NodeIndex> {
        lock(&self.nodes).meet(address)
    }

    /// The address of a node that some core knows.
    pub(crate) fn address_of(&self, node: NodeIndex) -> Option<Address> {
        lock(&self.nodes).address(node).cloned()
    }

    /// The number of the node at `address`, and what was told of it last.
    pub(crate) fn met(&self, address: &Address) -> Option<(NodeIndex, Option<Met>)> {
        lock(&self.nodes).met(address)
    }

    /// Notes what a handshake told of a node. Gives back what holds: what its process start told
    /// first, so that all cores of this one agree.
    pub(crate) fn learn(&self, node: NodeIndex, met: Met) -> Met {
        lock(&self.nodes).learn(node, met)
    }

    /// A link is up with that process start of a node that some core knows, at `from` on the
    /// network.
    pub(crate) fn linked(&self, node: NodeIndex, uid: Uid, from: Option<IpAddr>) {
        lock(&self.nodes).linked(node, uid, from);
    }

    /// A link with a node is over.
    pub(crate) fn unlinked(&self, node: NodeIndex) {
        lock(&self.nodes).unlinked(node);
    }

    /// Whether that process start was found at `from` before.
    pub(crate) fn is_proven(&self, id: &NodeId, from: IpAddr) -> bool {
        lock(&self.nodes).is_proven(id, from)
    }

    /// Whether there is a link with a node of the uid of `id` at another address.
    pub(crate) fn is_elsewhere(&self, id: &NodeId) -> bool {
        lock(&self.nodes).is_elsewhere(id)
    }

    /// A core knows that node no more.
    pub(crate) fn forget(&self, node: NodeIndex) {
        lock(&self.nodes).forget(node);
    }
}

/// The number of a core; there are at most 256.
#[expect(clippy::cast_possible_truncation, reason = "checked in the settings")]
pub(crate) fn core_id(index: usize) -> CoreId {
    CoreId(index as u16)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the cores meet while they start.
#[derive(Debug, Default)]
struct Gate {
    failed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn changed(&self) {
        // Behind the lock: whoever looks and then waits does not miss it.
        let _failed = lock(&self.failed);
        self.changed.notify_all();
    }

    fn fail(&self) {
        *lock(&self.failed) = true;
        self.changed.notify_all();
    }

    /// Waits until `look` finds something; `None` when the start failed before.
    fn wait_until<T>(&self, look: impl Fn() -> Option<T>) -> Option<T> {
        let mut failed = lock(&self.failed);
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            if *failed {
                return None;
            }
            failed = self
                .changed
                .wait(failed)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The nodes that the cores know, numbered, so that a ref means the same on each.
///
/// A number is used again for another node when no core knows the first one any more. A ref of it
/// reaches nobody then: it carries the uid of its process start besides.
#[derive(Debug)]
struct Nodes {
    entries: Vec<Entry>,
    by_address: HashMap<Address, NodeIndex>,
    /// The process starts in `met`.
    by_uid: HashMap<Uid, NodeIndex>,
    free: Vec<NodeIndex>,
    nodes_max: usize,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    /// How many cores know it.
    cores: usize,
    met: Option<Met>,
    /// Links of all cores with it.
    links: usize,
    /// The process start that had a link last, and where it was on the network.
    proven: Option<(Uid, IpAddr)>,
}

impl Nodes {
    fn new(nodes_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            by_address: HashMap::new(),
            by_uid: HashMap::new(),
            free: Vec::new(),
            nodes_max,
        }
    }

    /// The node itself is number 0, known by all cores for ever.
    fn add_self(&mut self, address: Address) {
        debug_assert!(self.entries.is_empty(), "the node itself comes first");
        self.by_address.insert(address.clone(), NodeIndex::SELF);
        self.entries.push(Entry {
            address,
            cores: 1,
            met: None,
            links: 0,
            proven: None,
        });
    }

    fn meet(&mut self, address: &Address) -> Option<NodeIndex> {
        if let Some(&node) = self.by_address.get(address) {
            self.entries[node.0 as usize].cores += 1;
            return Some(node);
        }
        let entry = Entry {
            address: address.clone(),
            cores: 1,
            met: None,
            links: 0,
            proven: None,
        };
        let node = if let Some(node) = self.free.pop() {
            self.entries[node.0 as usize] = entry;
            node
        } else {
            if self.entries.len() > self.nodes_max {
                return None;
            }
            self.entries.push(entry);
            NodeIndex(u32::try_from(self.entries.len() - 1).ok()?)
        };
        self.by_address.insert(address.clone(), node);
        Some(node)
    }

    fn address(&self, node: NodeIndex) -> Option<&Address> {
        let entry = self.entries.get(node.0 as usize)?;
        (entry.cores > 0).then_some(&entry.address)
    }

    fn met(&self, address: &Address) -> Option<(NodeIndex, Option<Met>)> {
        let node = *self.by_address.get(address)?;
        Some((node, self.entries[node.0 as usize].met))
    }

    fn learn(&mut self, node: NodeIndex, met: Met) -> Met {
        let known = &mut self.entries[node.0 as usize].met;
        if let Some(known) = known.filter(|known| known.uid == met.uid) {
            return known;
        }
        let former = known.replace(met);
        self.forget_uid(former, node);
        self.by_uid.insert(met.uid, node);
        met
    }

    /// What was known of a node holds no more.
    fn forget_uid(&mut self, former: Option<Met>, node: NodeIndex) {
        if let Some(Met { uid, .. }) = former
            && self.by_uid.get(&uid) == Some(&node)
        {
            self.by_uid.remove(&uid);
        }
    }

    fn is_elsewhere(&self, id: &NodeId) -> bool {
        let found = self.by_uid.get(&id.uid);
        found.is_some_and(|node| {
            let entry = &self.entries[node.0 as usize];
            entry.links > 0 && entry.address != id.address
        })
    }

    fn linked(&mut self, node: NodeIndex, uid: Uid, from: Option<IpAddr>) {
        let entry = &mut self.entries[node.0 as usize];
        entry.links += 1;
        entry.proven = from.map(|from| (uid, from));
    }

    fn unlinked(&mut self, node: NodeIndex) {
        self.entries[node.0 as usize].links -= 1;
    }

    fn is_proven(&self, id: &NodeId, from: IpAddr) -> bool {
        let node = self.by_address.get(&id.address);
        let proven = node.and_then(|node| self.entries[node.0 as usize].proven);
        proven == Some((id.uid, from))
    }

    fn forget(&mut self, node: NodeIndex) {
        let entry = &mut self.entries[node.0 as usize];
        entry.cores -= 1;
        if entry.cores == 0 {
            self.by_address.remove(&entry.address);
            let former = entry.met.take();
            self.forget_uid(former, node);
            self.free.push(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> SharedDoor {
        SharedDoor::new(&crate::config::Settings::new("demo"))
    }

    fn address(port: u16) -> Address {
        Address::new("demo", "127.0.0.1", port).unwrap()
    }

    fn nodes(nodes_max: usize) -> Nodes {
        let mut nodes = Nodes::new(nodes_max);
        nodes.add_self(address(1));
        nodes
    }

    #[test]
    fn a_node_keeps_its_number_while_a_core_knows_it() {
        let mut nodes = nodes(2);
        let met = nodes.meet(&address(2)).unwrap();
        assert_eq!(nodes.meet(&address(2)), Some(met));
        nodes.forget(met);
        assert_eq!(nodes.address(met), Some(&address(2)));
        nodes.forget(met);
        assert_eq!(nodes.address(met), None);
        assert_eq!(nodes.meet(&address(3)), Some(met), "the number is free");
        assert_eq!(nodes.meet(&address(1)), Some(NodeIndex::SELF));
    }

    #[test]
    fn what_a_process_start_told_first_holds_until_another_is_met() {
        let mut nodes = nodes(2);
        let node = nodes.meet(&address(2)).unwrap();
        assert_eq!(nodes.met(&address(2)), Some((node, None)));
        let met = |uid, cores| Met {
            uid: Uid::new(uid).unwrap(),
            matrix: LinkMatrix::new(1, cores, 64),
        };
        assert_eq!(nodes.learn(node, met(1, 2)), met(1, 2));
        assert_eq!(nodes.learn(node, met(1, 3)), met(1, 2));
        assert_eq!(nodes.learn(node, met(2, 3)), met(2, 3));
        assert_eq!(nodes.met(&address(2)), Some((node, Some(met(2, 3)))));
        nodes.forget(node);
        assert_eq!(nodes.met(&address(2)), None);
        nodes.meet(&address(2)).unwrap();
        assert_eq!(nodes.met(&address(2)), Some((node, None)));
    }

    #[test]
    fn a_uid_is_elsewhere_as_long_as_another_address_has_it() {
        let mut nodes = nodes(3);
        let [one, other] = [2, 3].map(|port| nodes.meet(&address(port)).unwrap());
        let id = |port, uid| NodeId {
            address: address(port),
            uid: Uid::new(uid).unwrap(),
        };
        let met = |uid| Met {
            uid: Uid::new(uid).unwrap(),
            matrix: LinkMatrix::new(1, 1, 64),
        };
        nodes.learn(one, met(7));
        assert!(!nodes.is_elsewhere(&id(3, 7)), "it has no link");
        nodes.linked(one, id(2, 7).uid, None);
        nodes.linked(other, id(3, 9).uid, None);
        assert!(!nodes.is_elsewhere(&id(2, 7)) && nodes.is_elsewhere(&id(3, 7)));
        nodes.learn(one, met(8));
        assert!(!nodes.is_elsewhere(&id(3, 7)) && nodes.is_elsewhere(&id(3, 8)));
        nodes.unlinked(one);
        assert!(!nodes.is_elsewhere(&id(3, 8)), "its link is over");
        nodes.learn(other, met(9));
        nodes.forget(one);
        assert!(!nodes.is_elsewhere(&id(3, 8)) && nodes.is_elsewhere(&id(2, 9)));
    }

    #[test]
    fn a_process_start_is_proven_where_it_was_found_until_another_is() {
        let mut nodes = nodes(2);
        let node = nodes.meet(&address(2)).unwrap();
        let [here, there] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let [id, next] = [1, 2].map(|uid| NodeId {
            address: address(2),
            uid: Uid::new(uid).unwrap(),
        });
        assert!(!nodes.is_proven(&id, here));
        nodes.linked(node, id.uid, Some(here));
        assert!(nodes.is_proven(&id, here));
        assert!(!nodes.is_proven(&id, there) && !nodes.is_proven(&next, here));
        nodes.linked(node, next.uid, Some(here));
        assert!(nodes.is_proven(&next, here) && !nodes.is_proven(&id, here));
        nodes.forget(node);
        nodes.meet(&address(2)).unwrap();
        assert!(!nodes.is_proven(&next, here), "it was forgotten");
    }

    #[test]
    fn one_over_the_bound_is_not_met() {
        let mut nodes = nodes(1);
        assert!(nodes.meet(&address(2)).is_some());
        assert_eq!(nodes.meet(&address(3)), None);
    }

    #[test]
    fn a_name_is_freed_by_its_own_actor_alone() {
        let shared = Shared::new(2, 4, 1, door());
        let named = |generation| Named {
            core: CoreId(1),
            slot: 3,
            generation,
            protocol: ProtocolId::of("demo.names"),
        };
        assert!(shared.take_name("a", named(1)));
        assert!(!shared.take_name("a", named(2)));
        shared.free_name("a", 2);
        assert_eq!(shared.named("a"), Some(named(1)));
        shared.free_name("a", 1);
        assert_eq!(shared.named("a"), None);
    }

    #[test]
    fn a_failed_start_lets_nobody_wait() {
        let shared = Shared::new(2, 4, 1, door());
        std::thread::scope(|scope| {
            let waiting = [
                scope.spawn(|| shared.wait_for_id().is_some()),
                scope.spawn(|| shared.wait_for_all()),
            ];
            shared.fail();
            assert_eq!(waiting.map(|thread| thread.join().unwrap()), [false, false]);
        });
        assert_eq!(shared.stopping(), Stop::Failed);
    }
}
