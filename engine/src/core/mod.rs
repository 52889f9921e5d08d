//! A core: one pinned thread with its ring, its links and its actors.
//!
//! Everything that handlers and tasks can reach through a handle is in [`Core`], behind cells that
//! one thread alone touches; no borrow of a cell is held while user code runs, except of the actor
//! that runs and of what only the driver touches. The loop itself is in [`driver`].
//!
//! ```text
//!  ring ─▶ event ─▶ connection ─▶ receive ─▶ actor          (driver, receive)
//!                       │                      │
//!                     peers ◀── service frames │ try_tell, tell, ask
//!                       │                      ▼
//!  ring ◀───────────── send ◀───────────── link.outbound    (send)
//! ```

mod actors;
mod alarm;
mod asks;
mod budget;
mod clock;
pub(crate) mod current;
pub(crate) mod driver;
mod events;
mod fault;
mod link;
mod main_task;
mod peers;
mod receive;
mod reply;
mod routes;
mod send;
mod service;
mod snapshot;
mod stop;
mod tasks;
mod timers;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use ringmesh_proto::address::{Address, NodeId};
use ringmesh_proto::slab_pool::SlabPool;
use ringmesh_transport::tcp::TcpTransport;
use ringmesh_transport::timer::TimerWheel;

pub(crate) use alarm::Alarm;
pub(crate) use asks::{Answer, Correlation};
pub(crate) use link::{Link, LinkId};
pub(crate) use main_task::Outcome;
pub(crate) use peers::{NodeIndex, PeerState};
pub(crate) use reply::Asker;
pub(crate) use routes::NoRoute;
pub(crate) use timers::Token;

use crate::actor::ActorTable;
use crate::config::Settings;
use crate::counters::Tally;
use crate::rt::Runtime;
use asks::AskTable;
use clock::Clock;
use link::Connection;
use peers::PeerTable;
use stop::Phase;
use tasks::Tasks;

/// Sends that a task's waiting sends may make before the core gets a turn in between.
const TURN_SHARE: u32 = 1024;

/// The state of one core. Only its own thread holds it.
pub(crate) struct Core {
    settings: Settings,
    identity: NodeId,
    clock: Clock,
    runtime: Runtime,
    io: RefCell<TcpTransport>,
    slabs: RefCell<SlabPool>,
    peers: RefCell<PeerTable>,
    /// By the slot of the connection's id.
    connections: RefCell<Vec<Option<Rc<Connection>>>>,
    half_open: Cell<usize>,
    /// The link of the core with itself; its bytes never leave the process.
    own_link: Rc<Link>,
    own_connection: Rc<Connection>,
    next_link: Cell<u64>,
    /// Connections with bytes to parse.
    readable: RefCell<Vec<Rc<Connection>>>,
    /// Links with something to send.
    sendable: RefCell<Vec<Rc<Link>>>,
    /// Links that owe their peer a grant.
    granting: RefCell<Vec<Rc<Link>>>,
    actors: RefCell<ActorTable>,
    /// The actor whose handler runs, and the question it was asked.
    running_actor: Cell<(u32, u64)>,
    running: Cell<Option<u64>>,
    asks: RefCell<AskTable>,
    tasks: Tasks,
    timers: RefCell<TimerWheel<Token>>,
    turn_share: Cell<u32>,
    phase: RefCell<Phase>,
    tally: Tally,
}

impl Core {
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn identity(&self) -> &NodeId {
        &self.identity
    }

    /// The address of a node this core knows.
    pub(crate) fn address_of(&self, node: NodeIndex) -> Option<Address> {
        self.peers.borrow().address(node).cloned()
    }

    /// Whether a waiting send may go ahead in this turn; the core counts them, so that a task which
    /// never has to wait still lets the core do its other work.
    pub(crate) fn take_turn_share(&self) -> bool {
        let left = self.turn_share.get();
        self.turn_share.set(left.saturating_sub(1));
        left > 0
    }

    fn begin_turn(&self) {
        self.turn_share.set(TURN_SHARE);
    }

    /// Whether something waits that needs no event from outside.
    fn has_work(&self) -> bool {
        self.tasks.any_ready()
            || !self.readable.borrow().is_empty()
            || !self.sendable.borrow().is_empty()
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("identity", &self.identity).finish_non_exhaustive()
    }
}
