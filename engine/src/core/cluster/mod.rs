//! Membership of a cluster, as the control core of a node carries it out.
//!
//! The [machine](Control) decides. This room brings it what comes on control links, what becomes of
//! those, the time and the commands of users, and does what it wants done. Whatever happens is told
//! to the machine at once, and what follows is done once a turn, in [`Core::look_at_cluster`], when
//! nothing is borrowed. On the other cores the room is empty, but for the topology they read.

mod carry;
mod contacts;
mod leases;
mod memory;
mod posts;
mod search;
mod slot;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_cluster::context::Context;
use ringmesh_cluster::control::Control;
use ringmesh_cluster::effect::Outbox;
use ringmesh_cluster::membership::Status;
use ringmesh_cluster::membership::command::Command;
use ringmesh_cluster::membership::topology::Topology;
use ringmesh_cluster::registry::RegistryCounters;
use ringmesh_cluster::watch::NodeEnd;
use ringmesh_lease::Store;
use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::Frame;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::quarantine::By;
use ringmesh_proto::time::Instant;
use ringmesh_transport::timer::TimerKey;

use self::contacts::Contacts;
use self::leases::LeaseDesk;
pub(crate) use self::leases::LeaseUser;
use self::memory::Notebook;
use self::posts::Posts;
use self::search::Searches;
use self::slot::Waiting;
pub(crate) use self::slot::{TopologySlot, TopologyWait};
use super::far_links::FarLink;
use super::link::Link;
use super::{CONTROL_CORE, Core, Token};
use crate::cluster::{ClusterSettings, StopReason, StoreFactory, begin};
use crate::error::EngineError;

/// What a core has of the cluster.
#[derive(Debug, Default)]
pub(super) struct ClusterRoom {
    /// On the control core of a node that takes part.
    machine: RefCell<Option<Control>>,
    out: RefCell<Outbox>,
    posts: RefCell<Posts>,
    contacts: RefCell<Contacts>,
    searches: RefCell<Searches>,
    notebook: RefCell<Notebook>,
    leases: RefCell<LeaseDesk>,
    /// Leases of the program that this core made, and those of them that are being given back.
    leases_made: Cell<u64>,
    leases_ending: Cell<usize>,
    /// Makes the program's own lease store, if it has one.
    lease_store: Option<StoreFactory>,
    timer: Cell<Option<(Instant, TimerKey)>>,
    stirred: Cell<bool>,
    /// It was told that the work of this node is done.
    has_exited: Cell<bool>,
    /// Control links that came up in this turn, and those that have room again.
    ready: RefCell<Vec<Rc<Link>>>,
    /// The cluster as this core knows it, and the stamp of that.
    topology: RefCell<Option<Arc<Topology>>>,
    stamp: Cell<u64>,
    /// Who waits for another one.
    waiting: RefCell<Waiting>,
}

impl ClusterRoom {
    pub(super) fn new(lease_store: Option<StoreFactory>) -> Self {
        Self {
            lease_store,
            ..Self::default()
        }
    }

    /// What gives leases to the node, if anything does.
    fn open_lease_store(
        &self,
        settings: &ClusterSettings,
    ) -> Result<Option<Box<dyn Store>>, EngineError> {
        let named = settings.lease_store.open();
        let named = named.map_err(EngineError::LeaseStore)?;
        Ok(named.or_else(|| Some(self.lease_store.as_ref()?.make())))
    }

    /// Whether it has a machine.
    fn takes_part(&self) -> bool {
        self.machine.borrow().is_some()
    }

    /// Where this node is in its life as a member, as its machine knows.
    fn own_status(&self) -> Option<Status> {
        let machine = self.machine.borrow();
        machine.as_ref().and_then(|it| it.topology().own_status())
    }

    /// What went wrong with what members announce to each other. `None` without a machine, or while
    /// it runs: a strategy of the program's own may ask for the counters of its node.
    pub(super) fn registry_counters(&self) -> Option<RegistryCounters> {
        let machine = self.machine.try_borrow().ok()?;
        Some(machine.as_ref()?.registry().counters())
    }

    /// Whether something is to be done in this turn or the next.
    pub(super) fn is_stirred(&self) -> bool {
        self.stirred.get()
    }
}

impl Core {
    /// Has this node take part in a cluster, if it is to. Before the first turn.
    pub(super) fn begin_cluster(self: &Rc<Self>) -> Result<(), EngineError> {
        let settings = &self.settings.cluster;
        if !settings.take_part || self.id != CONTROL_CORE {
            return Ok(());
        }
        if self.is_client() {
            let text = "a client is no member: change node.role or cluster.take_part";
            return Err(EngineError::Cluster(text.to_owned()));
        }
        let mut begun = begin(&self.patient(settings), self.identity())?;
        let store = self.cluster.open_lease_store(settings)?;
        if store.is_none() && settings.needs_lease() {
            let text = "lease-majority needs a lease store: set cluster.lease_store, or give the \
                        node one by NodeBuilder::lease_store";
            return Err(EngineError::Cluster(format!("cluster.downing: {text}")));
        }
        if let (Some(store), Some(terms)) = (&store, begun.machine.lease_terms()) {
            let time = store.free_after(terms.time_to_live);
            begun.machine.set_lease_free_after(time);
        }
        let desk = store.map(LeaseDesk::of).transpose()?;
        self.cluster.leases.replace(desk.unwrap_or_default());
        let notebook = begun.state_dir.map(Notebook::in_directory);
        self.cluster.notebook.replace(notebook.unwrap_or_default());
        let topology = Arc::clone(begun.machine.topology());
        self.cluster.machine.replace(Some(begun.machine));
        self.put_topology(Some(topology), None);
        if let Some(seeds) = &settings.seeds {
            let seeds = seeds.clone();
            let joined = self
                .tell_cluster(|machine, cx| machine.handle_command(cx, Command::Join { seeds }));
            if let Some(Err(error)) = joined {
                return Err(EngineError::Cluster(error.to_string()));
            }
        }
        Ok(())
    }

    /// Settings by which the machine waits as long for the end of this node's work, once it is
    /// exiting, as the phases of the shutdown up to that may take.
    fn patient(&self, settings: &ClusterSettings) -> ClusterSettings {
        let mut settings = settings.clone();
        let patience = &mut settings.membership.exit_timeout;
        *patience = self.time_of_work().max(*patience);
        settings
    }

    /// Why this node has no part in the cluster any more, if that is so.
    pub(crate) fn cluster_end(&self) -> Option<StopReason> {
        self.shared.cluster_end.get().cloned()
    }

    /// Gives the machine something, if there is one, and has what follows done in this turn.
    pub(crate) fn tell_cluster<R>(
        &self,
        tell: impl FnOnce(&mut Control, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let mut machine = self.cluster.machine.borrow_mut();
        let machine = machine.as_mut()?;
        let mut out = self.cluster.out.borrow_mut();
        let seed = crate::random::number();
        let mut cx = Context::new(self.clock.now(), seed, &mut out);
        let told = tell(machine, &mut cx);
        self.cluster.stirred.set(true);
        Some(told)
    }

    /// A member, or whoever says it is one, tells something over its control link. A node that
    /// takes part in no cluster lets it pass: others may have it among their seeds, and their links
    /// carry more than that.
    pub(super) fn handle_cluster_frame(
        &self,
        link: &Rc<Link>,
        frame: &Frame<'_>,
    ) -> Result<(), CloseReason> {
        link.inbound.borrow_mut().accept(frame.wire_bytes)?;
        let told = self.tell_cluster(|machine, cx| {
            machine.handle_message(cx, &link.node, frame.payload);
        });
        if told.is_none() {
            self.tally.cluster_ignored.add(1);
        }
        Ok(())
    }

    /// A control link is up.
    pub(super) fn cluster_link_up(&self, link: &Rc<Link>) {
        if self.cluster.takes_part() {
            self.cluster.ready.borrow_mut().push(Rc::clone(link));
            self.cluster.stirred.set(true);
        }
    }

    /// A control link has more room, or another connection; or it has given memory back.
    pub(super) fn cluster_room_came(&self, link: &Link) {
        if link.lane != Lane::Control {
            return;
        }
        let mut posts = self.cluster.posts.borrow_mut();
        let mut uids = posts.take_starved();
        let contacts = self.cluster.contacts.borrow();
        if posts.has(link.uid) || contacts.are_sought(&link.node.address) {
            uids.insert(link.uid);
        }
        self.make_ready(&uids);
    }

    /// Memory has come back.
    pub(super) fn cluster_memory_came(&self) {
        let starved = self.cluster.posts.borrow_mut().take_starved();
        self.make_ready(&starved);
    }

    /// Looks at what waits for these in this turn.
    fn make_ready(&self, uids: &BTreeSet<Uid>) {
        let links = self.far.links.borrow();
        let ready = uids.iter().filter_map(|uid| links.get(uid));
        let mut all = self.cluster.ready.borrow_mut();
        all.extend(ready.map(FarLink::link));
        if !all.is_empty() {
            self.cluster.stirred.set(true);
        }
    }

    /// The process behind a member is over, as its connections tell.
    pub(super) fn cluster_node_ended(&self, uid: Uid, end: NodeEnd) {
        match end {
            NodeEnd::Crashed => self.tell_cluster(|machine, cx| machine.handle_crashed(cx, uid)),
            NodeEnd::Restarted => {
                self.tell_cluster(|machine, cx| machine.handle_restarted(cx, uid))
            }
            // A member that leaves says so before its goodbye; quarantine is told apart.
            _ => None,
        };
    }

    /// A quarantine parts this node from another.
    pub(super) fn cluster_parted(&self, node: &NodeId, by: By) {
        self.tell_cluster(|machine, cx| match by {
            By::Us => machine.handle_parted(cx, node.uid),
            By::Peer => machine.handle_quarantined(cx, node),
        });
    }

    /// Whether links with a process start are to be kept, and its crash to be found out.
    pub(super) fn cluster_needs(&self, uid: Uid) -> bool {
        let topology = self.cluster.topology.borrow();
        let is_member = topology.as_ref().is_some_and(|it| it.member(uid).is_some());
        self.id == CONTROL_CORE && is_member
    }

    pub(super) fn cluster_timeout(&self) {
        self.cluster.timer.set(None);
        self.tell_cluster(|machine, cx| machine.handle_timeout(cx));
    }

    /// Does what follows from what happened. Says whether there was anything.
    pub(super) fn look_at_cluster(self: &Rc<Self>) -> bool {
        let is_news = self.read_topology();
        if !self.cluster.stirred.replace(false) {
            return is_news;
        }
        for link in self.cluster.ready.take() {
            self.contact_found(&link);
            self.forget_strangers(&link.node.address, Some(link.uid));
            self.flush_post(link.uid);
        }
        self.carry_out_cluster();
        self.arm_cluster_timer();
        true
    }

    fn arm_cluster_timer(&self) {
        let due = self
            .cluster
            .machine
            .borrow()
            .as_ref()
            .and_then(Control::poll_timeout);
        let armed = self.cluster.timer.get();
        if armed.map(|(at, _)| at) == due {
            return;
        }
        if let Some((_, key)) = armed {
            self.cancel_timer(key);
        }
        let timer = due.and_then(|at| Some((at, self.set_timer(at, Token::Cluster)?)));
        self.cluster.timer.set(timer);
    }
}
