//! Death watch over nodes, as the cores of one carry it out.
//!
//! The control core has the [machine](RemoteWatch) that decides, and the control links; what an
//! actor of another core watches is told to it, and it has the cores told that hold what others
//! watch ([`super::followed`]). Whatever happens is told to the machine at once, and what follows
//! is done once a turn, in [`Core::look_far`], when nothing is borrowed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ringmesh_cluster::detector::{Judge, Patience};
use ringmesh_cluster::membership::Member;
use ringmesh_cluster::membership::topology::Topology;
use ringmesh_cluster::watch::{Effect, NodeEnd, RemoteWatch, Rules, TooManyWatches, Watching};
use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::frame::body::{Watch, WatchEnd};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::time::Instant;
use ringmesh_transport::timer::TimerKey;

use super::far_links::{FarLink, Orders};
use super::fence::Fences;
use super::followed::{Followed, Order};
use super::lost::Lost;
use super::watch::Place;
use super::{CONTROL_CORE, Core, Errand, Token};
use crate::config::Settings;
use crate::reference::Recipient;
use crate::watch::{Ended, WatchError};

/// The watches over nodes. What decides and what is said is the control core's: of the others it is
/// empty.
#[derive(Debug)]
pub(super) struct Far {
    pub(super) machine: RefCell<RemoteWatch>,
    /// The control links, by process start.
    pub(super) links: RefCell<BTreeMap<Uid, FarLink>>,
    /// Nodes for whose words there was no room.
    pub(super) speechless: RefCell<BTreeSet<Uid>>,
    /// What the cores are to be told, by core.
    pub(super) orders: RefCell<Vec<Orders>>,
    /// Actors of this core that are watched from other nodes, whichever core it is.
    pub(super) followed: RefCell<Followed>,
    /// Word of their ends that waits, of this core too.
    pub(super) fences: RefCell<Fences>,
    timer: Cell<Option<(Instant, TimerKey)>>,
    /// Something may follow from what happened.
    stirred: Cell<bool>,
    pub(super) lost: Lost,
}

impl Far {
    pub(super) fn new(settings: &Settings) -> Self {
        let heartbeat_interval = settings.heartbeat_interval;
        let judge = Judge::Phi(Patience {
            pause: settings.heartbeat_pause,
            ..Patience::every(heartbeat_interval)
        });
        let rules = Rules {
            heartbeat_interval,
            judge,
            ..Rules::default()
        };
        let orders = (0..settings.cores).map(|_| Orders::default());
        Self {
            machine: RefCell::new(RemoteWatch::new(rules)),
            links: RefCell::default(),
            speechless: RefCell::default(),
            orders: RefCell::new(orders.collect()),
            followed: RefCell::default(),
            fences: RefCell::default(),
            timer: Cell::default(),
            stirred: Cell::default(),
            lost: Lost::default(),
        }
    }

    /// Has [`Core::look_far`] look in this turn, or in the next.
    pub(super) fn stir(&self) {
        self.stirred.set(true);
    }

    #[inline]
    pub(super) fn is_stirred(&self) -> bool {
        self.stirred.get()
    }

    /// Entries of watches over nodes, of both sorts.
    pub(super) fn watches(&self) -> usize {
        let machine = self.machine.borrow();
        machine.outgoing() + machine.incoming()
    }
}

/// An actor of this node whose watch is over.
type Told = (Place, Uid, u64, Ended);

impl Core {
    /// Has the node of an actor told that it is watched from here.
    pub(super) fn watch_remote(
        &self,
        watcher: Recipient,
        who: Recipient,
    ) -> Result<(), WatchError> {
        let by = Place {
            slot: watcher.slot,
            generation: watcher.generation,
        };
        let Some(address) = self.shared.address_of(who.node) else {
            // No core knows that node any more.
            self.remote_terminated(by, who.uid, who.generation, Ended::NodeLost);
            return Ok(());
        };
        let uid = who.uid;
        if self.is_client() || self.shared.is_client(who.node, uid) {
            return Err(WatchError::Client);
        }
        if self.shared.parted.of(uid).is_some() {
            self.remote_terminated(by, uid, who.generation, Ended::NodeLost);
            return Ok(());
        }
        let node = NodeId { address, uid };
        let watch = Watch {
            watched: who.generation,
            watcher: watcher.generation,
        };
        let watching = Watching {
            watcher_core: self.id,
            watcher_slot: watcher.slot,
            core: who.core,
            slot: who.slot,
        };
        if self.id == CONTROL_CORE {
            let watched = self.watch_far(&node, watch, watching);
            return watched.map_err(|TooManyWatches { limit }| WatchError::TooManyOfNode { limit });
        }
        let from = self.id;
        let errand: Errand = Box::new(move |control| {
            if control.watch_far(&node, watch, watching).is_err() {
                let why = Ended::Unwatched;
                let told = vec![(by, uid, watch.watched, why)];
                control.send_word(from, Box::new(move |core| core.all_terminated(told)));
            }
        });
        let core = CONTROL_CORE.0;
        self.send_errand(CONTROL_CORE, errand)
            .map_err(|_| WatchError::CoreOverloaded { core })
    }

    fn watch_far(
        &self,
        node: &NodeId,
        watch: Watch,
        watching: Watching,
    ) -> Result<(), TooManyWatches> {
        let mut machine = self.far.machine.borrow_mut();
        let watched = machine.watch(self.clock.now(), node, watch, watching);
        self.far.stir();
        watched
    }

    /// Has the node of an actor told that it is watched from here no more.
    pub(super) fn unwatch_remote(&self, watcher: u64, uid: Uid, watched: u64) {
        let watch = Watch { watched, watcher };
        if self.id == CONTROL_CORE {
            self.far.machine.borrow_mut().unwatch(uid, watch);
            return self.far.stir();
        }
        let word: Errand = Box::new(move |control| {
            control.far.machine.borrow_mut().unwatch(uid, watch);
            control.far.stir();
        });
        // No more of these wait than there are watches, and errands for them.
        self.send_word(CONTROL_CORE, word);
    }

    /// Watches of actors of this core are over.
    fn all_terminated(&self, told: Vec<Told>) {
        for (watcher, uid, generation, why) in told {
            self.remote_terminated(watcher, uid, generation, why);
        }
    }

    /// Actors of this node have ended that others watch, and all that they sent has arrived. On the
    /// control core.
    pub(super) fn far_ended(&self, uid: Uid, ended: Vec<(Watch, WatchEnd)>) {
        let mut machine = self.far.machine.borrow_mut();
        for (watch, reason) in ended {
            machine.handle_ended(uid, watch, reason);
        }
        self.far.stir();
    }

    /// A node is gone. On the control core.
    pub(super) fn far_node_ended(&self, uid: Uid, end: NodeEnd) {
        {
            let mut machine = self.far.machine.borrow_mut();
            let was_watched = machine.is_watched(uid);
            machine.handle_node_end(uid, end);
            if was_watched && !machine.is_watched(uid) {
                tracing::info!(%uid, ?end, "the watches of a node are over");
            }
        }
        self.far.stir();
        self.cluster_node_ended(uid, end);
    }

    /// The members of the cluster are these: the membership judges them. On the control core.
    pub(super) fn far_members(&self, topology: &Topology) {
        let members = topology.members().iter().map(Member::uid);
        let mut machine = self.far.machine.borrow_mut();
        machine.set_members(self.clock.now(), members);
        self.far.stir();
    }

    pub(super) fn heartbeats_due(&self) {
        self.far.timer.set(None);
        self.far
            .machine
            .borrow_mut()
            .handle_timeout(self.clock.now());
        self.far.stir();
    }

    /// Does what follows from what happened. Says whether there was anything.
    pub(super) fn look_far(self: &Rc<Self>) -> bool {
        if !self.far.stirred.replace(false) {
            return false;
        }
        self.look_at_fences();
        let mut told: BTreeMap<CoreId, Vec<Told>> = BTreeMap::new();
        loop {
            let effect = self.far.machine.borrow_mut().poll_effect();
            match effect {
                Some(effect) => self.carry_out_far(effect, &mut told),
                None => break,
            }
        }
        for (core, told) in told {
            if core == self.id {
                self.all_terminated(told);
            } else {
                self.send_word(core, Box::new(move |there| there.all_terminated(told)));
            }
        }
        self.send_orders();
        self.arm_heartbeats();
        true
    }

    fn carry_out_far(self: &Rc<Self>, effect: Effect, told: &mut BTreeMap<CoreId, Vec<Told>>) {
        let mut tell = |uid, watch: Watch, watching: Watching, why| {
            let watcher = Place {
                slot: watching.watcher_slot,
                generation: watch.watcher,
            };
            let of_core = told.entry(watching.watcher_core).or_default();
            of_core.push((watcher, uid, watch.watched, why));
        };
        match effect {
            Effect::Ended {
                uid,
                watch,
                watching,
                reason,
            } => tell(uid, watch, watching, ended(reason)),
            Effect::NodeEnded {
                uid,
                address,
                end,
                watches,
            } => {
                self.note_lost(NodeId { address, uid }, end);
                for (watch, watching) in watches {
                    tell(uid, watch, watching, Ended::NodeLost);
                }
            }
            Effect::Follow {
                uid,
                watch,
                core,
                slot,
                watcher_core,
            } => {
                let number = self.far.links.borrow().get(&uid).map(|link| link.number);
                if let Some(number) = number {
                    let order = Order::Follow {
                        node: (number, uid),
                        watch,
                        slot,
                        watcher_core,
                    };
                    self.order(core, order);
                }
            }
            Effect::Unfollow { uid, watch, core } => {
                self.order(core, Order::Unfollow { uid, watch });
            }
            Effect::UnfollowNode { uid } => self.order_all(uid),
            Effect::Say { uid } => self.say_far(uid),
            Effect::Dial { address } => self.dial_far(&address),
            Effect::Heartbeat { uid } => self.send_heartbeat(uid),
            Effect::EndLink { uid } => {
                let link = self.far.links.borrow().get(&uid).map(FarLink::link);
                if let Some(link) = link {
                    self.link_fault(&link, CloseReason::GivenUp);
                }
            }
        }
    }

    /// A control link is needed.
    fn dial_far(self: &Rc<Self>, address: &Address) {
        if self.is_closing() {
            return;
        }
        // Without room for another peer there is none, and the node counts as gone in the end.
        if let Ok(peer) = self.peer_on(address, (CONTROL_CORE, Lane::Control)) {
            self.want_link(peer);
        }
    }

    fn arm_heartbeats(&self) {
        let due = self.far.machine.borrow().poll_timeout();
        if self.far.timer.get().map(|(due, _)| due) == due {
            return;
        }
        if let Some((_, key)) = self.far.timer.take() {
            self.cancel_timer(key);
        }
        let timer = due.and_then(|due| Some((due, self.set_timer(due, Token::Heartbeats)?)));
        self.far.timer.set(timer);
    }
}

fn ended(reason: WatchEnd) -> Ended {
    match reason {
        WatchEnd::Stopped => Ended::Stopped,
        WatchEnd::Failed => Ended::Failed,
        WatchEnd::NoRoom => Ended::Unwatched,
        _ => Ended::Gone,
    }
}
