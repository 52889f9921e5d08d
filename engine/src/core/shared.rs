//! What the cores of one node share: who the node is, the names of its actors, the nodes it knows,
//! and how it starts and stops.
//!
//! Everything here is behind locks, or written once. Names are looked up when an actor is spawned
//! or resolved, nodes when one is first met, and when a ref is archived or read.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use ringmesh_cluster::evidence::Ending;
use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::message::ProtocolId;
use ringmesh_transport::doorbell::Doorbell;

use super::clients::Registered;
use super::cluster::TopologySlot;
use super::door::SharedDoor;
use super::held::HeldCores;
use super::nodes::{Met, NodeIndex, Nodes};
use super::quarantine::Parted;
use super::registry::RegistrySlot;
use super::select::Page;
use super::shutdown::Progress;
use crate::cluster::{Numbered, StopReason};
use crate::dead_letter::DeadLetter;
use crate::deploy::Nursery;
use crate::event::NodeEvent;
use crate::metrics::Pages;
use crate::pattern::Pattern;
use crate::subscription::Office;

/// The last events that are kept for subscriptions. One takes some hundred bytes.
const EVENTS_KEPT: usize = 1024;

/// The same of the cluster.
const CLUSTER_EVENTS_KEPT: usize = 1024;

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
    /// Cores of a stopping node without links that wait for their first connection.
    formed: AtomicUsize,
    /// Cores of a stopping node that have nothing left to say.
    quiet: AtomicUsize,
    /// What its cores count.
    pub(crate) pages: Arc<Pages>,
    /// Which of them do not turn.
    pub(super) held: HeldCores,
    /// What reached nobody.
    pub(crate) letters: Arc<Office<DeadLetter>>,
    /// What happened to links.
    pub(crate) events: Arc<Office<NodeEvent>>,
    /// Where the listener really is bound.
    bound: OnceLock<SocketAddr>,
    /// Where the control port is.
    pub(crate) control: OnceLock<SocketAddr>,
    /// In order, so that they can be looked at a page at a time.
    names: Mutex<BTreeMap<Box<str>, Named>>,
    nodes: Mutex<Nodes>,
    /// The cluster, as the control core said last.
    pub(crate) topology: TopologySlot,
    /// What all nodes announce, as the control core said last.
    pub(super) registry: RegistrySlot,
    /// What happened in it.
    pub(crate) cluster_events: Arc<Office<Numbered>>,
    /// Why this node has no part in it any more.
    pub(super) cluster_end: OnceLock<StopReason>,
    /// Why the node shuts down, and how far it is.
    pub(super) shutdown: Progress,
    /// Who is quarantined.
    pub(super) parted: Arc<Parted>,
    /// What clients reach.
    pub(super) registered: Registered,
    /// Who may come in.
    pub(crate) door: SharedDoor,
    /// What is made here for other nodes.
    pub(crate) nursery: Nursery,
}

/// Where a named actor lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) core: CoreId,
    pub(crate) slot: u32,
    pub(crate) generation: u64,
    pub(crate) protocol: ProtocolId,
    /// It ends, and nobody finds it any more.
    pub(crate) ending: bool,
}

/// What all cores are told about the node's end. It only goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    /// Nobody wants it.
    No,
    /// Its phases run, on the control core.
    Asked,
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
            nursery: Nursery::default(),
            uid: crate::random::uid(),
            table: TableId::next(),
            cores,
            id: OnceLock::new(),
            doorbells: (0..cores).map(|_| OnceLock::new()).collect(),
            gate: Gate::default(),
            stop: AtomicU8::new(Stop::No as u8),
            formed: AtomicUsize::new(0),
            quiet: AtomicUsize::new(0),
            pages: Arc::new(Pages::new(cores)),
            held: HeldCores::new(cores),
            letters: Arc::new(Office::new(letters_kept)),
            events: Arc::new(Office::new(EVENTS_KEPT)),
            bound: OnceLock::new(),
            control: OnceLock::new(),
            names: Mutex::default(),
            topology: TopologySlot::default(),
            registry: RegistrySlot::new(cores),
            cluster_events: Arc::new(Office::new(CLUSTER_EVENTS_KEPT)),
            cluster_end: OnceLock::new(),
            shutdown: Progress::new(cores),
            parted: Arc::default(),
            registered: Registered::default(),
            // Each lane has peers of its own, and each core forgets a node only after it has met
            // the next.
            nodes: Mutex::new(Nodes::new(cores * (Lane::ALL.len() * peers_max + 1))),
        }
    }

    /// Says where the listener is bound, which may be another address than the node's.
    pub(crate) fn bound_at(&self, at: SocketAddr) {
        let _ = self.bound.set(at);
    }

    /// Where the node listens: its address, and the one it is bound to. `None` before it does.
    pub(crate) fn listening(&self) -> Option<(NodeId, SocketAddr)> {
        Some((self.id.get()?.clone(), *self.bound.get()?))
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
            self.ring_all();
        }
    }

    /// Has every core look at what changed.
    pub(super) fn ring_all(&self) {
        (0..self.cores).for_each(|core| self.ring(core_id(core)));
    }

    /// How far the node's end is.
    pub(crate) fn stopping(&self) -> Stop {
        match self.stop.load(Ordering::Acquire) {
            0 => Stop::No,
            1 => Stop::Asked,
            2 => Stop::Begun,
            3 => Stop::Over,
            _ => Stop::Failed,
        }
    }

    /// No link of a core of a stopping node waits for its first connection any more. Wakes all when
    /// it is the last.
    pub(crate) fn core_formed(&self) {
        self.count_core(&self.formed);
    }

    /// Whether that is so of all cores.
    pub(crate) fn all_formed(&self) -> bool {
        self.formed.load(Ordering::Acquire) >= self.cores
    }

    /// A core of a stopping node has nothing left to say, or no time left for it. Wakes all when it
    /// is the last.
    pub(crate) fn core_quiet(&self) {
        self.count_core(&self.quiet);
    }

    fn count_core(&self, count: &AtomicUsize) {
        if count.fetch_add(1, Ordering::AcqRel) + 1 == self.cores {
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

    /// An actor ends: its name is not found any more, and nobody else's yet.
    pub(crate) fn end_name(&self, name: &str, generation: u64) {
        if let Some(named) = lock(&self.names).get_mut(name) {
            named.ending |= named.generation == generation;
        }
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
        let named = lock(&self.names).get(name).copied();
        named.filter(|named| !named.ending)
    }

    /// The actors whose names match a pattern, as many as one page has, behind the name `after`.
    pub(super) fn page_of_names(&self, pattern: &Pattern<'_>, after: &str, protocol: u64) -> Page {
        let names = lock(&self.names);
        let range = names.range::<str, _>((pattern.begin(after), Bound::Unbounded));
        Page::of(range.map(|(name, it)| (&**name, it)), pattern, protocol)
    }

    /// The number of the node at `address`, which one more core knows from now on.
    pub(crate) fn meet(&self, address: &Address) -> Option<NodeIndex> {
        lock(&self.nodes).meet(address)
    }

    /// The address of a node that some core knows.
    pub(crate) fn address_of(&self, node: NodeIndex) -> Option<Address> {
        lock(&self.nodes).address(node).cloned()
    }

    /// The same, unless that process start of it is over.
    pub(crate) fn address_of_start(&self, node: NodeIndex, uid: Uid) -> Option<Address> {
        lock(&self.nodes).address_of_start(node, uid).cloned()
    }

    /// A process start of a node that some core knows is over. Says whether that is news.
    pub(crate) fn end_start(&self, node: NodeIndex, uid: Uid) -> bool {
        lock(&self.nodes).end_start(node, uid)
    }

    /// The number of the node at `address`, and what was told of it last.
    pub(crate) fn met(&self, address: &Address) -> Option<(NodeIndex, Option<Met>)> {
        lock(&self.nodes).met(address)
    }

    /// The process start of a node that was met last.
    pub(crate) fn met_start(&self, node: NodeIndex) -> Option<Uid> {
        lock(&self.nodes).met_start(node)
    }

    /// Whether a process start is one that this node knows, or may be.
    ///
    /// # Errors
    /// The one that was met at its address, if any was.
    pub(crate) fn check_start(&self, id: &NodeId) -> Result<(), Option<Uid>> {
        lock(&self.nodes).check_start(id)
    }

    /// Notes what a handshake told of a node. Gives back what holds: what its process start told
    /// first, so that all cores of this one agree.
    pub(crate) fn learn(&self, node: NodeIndex, met: Met) -> Met {
        lock(&self.nodes).learn(node, met)
    }

    /// Whether a process start is one that came as a client.
    pub(crate) fn is_client(&self, node: NodeIndex, uid: Uid) -> bool {
        lock(&self.nodes).is_client(node, uid)
    }

    /// Whether a process start may come in a role.
    pub(crate) fn may_be(&self, id: &NodeId, is_client: bool) -> bool {
        lock(&self.nodes).may_be(id, is_client)
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

    /// A link with that process start of a node has a connection.
    pub(crate) fn connected(&self, node: NodeIndex, uid: Uid) {
        lock(&self.nodes).connected(node, uid);
    }

    /// A link with that process start of a node has none any more. Says whether a dial would tell
    /// whether the process has crashed.
    pub(crate) fn disconnected(&self, node: NodeIndex, uid: Uid, ending: Ending) -> bool {
        lock(&self.nodes).disconnected(node, uid, ending)
    }

    /// Nobody listens at the address of a node: the process start that has crashed, if that is
    /// evidence of it.
    pub(crate) fn dial_refused(&self, node: NodeIndex) -> Option<Uid> {
        lock(&self.nodes).dial_refused(node)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> SharedDoor {
        SharedDoor::new(&crate::config::Settings::new("demo"))
    }

    #[test]
    fn a_name_is_freed_by_its_own_actor_alone() {
        let shared = Shared::new(2, 4, 1, door());
        let named = |generation| Named {
            core: CoreId(1),
            slot: 3,
            generation,
            protocol: ProtocolId::of("demo.names"),
            ending: false,
        };
        assert!(shared.take_name("a", named(1)));
        assert!(!shared.take_name("a", named(2)));
        shared.free_name("a", 2);
        assert_eq!(shared.named("a"), Some(named(1)));
        shared.end_name("a", 2);
        assert_eq!(shared.named("a"), Some(named(1)));
        shared.end_name("a", 1);
        assert_eq!(shared.named("a"), None, "nobody finds it while it ends");
        assert!(!shared.take_name("a", named(2)));
        shared.free_name("a", 1);
        assert_eq!(shared.named("a"), None);
        assert!(shared.take_name("a", named(2)));
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
