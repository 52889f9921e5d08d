//! A core: one pinned thread with its ring, its links and its actors.
//!
//! Everything that handlers and tasks can reach through a handle is in [`Core`], behind cells that
//! one thread alone touches. No borrow of a cell is held while user code runs, be it a handler, a
//! task, a waker or a drop ([`user_code`]), except of the actor that runs, and of what only the
//! driver touches: the bytes and routes of the link that is being read. The loop itself is in
//! [`driver`].
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
mod asked;
mod asks;
mod away;
mod budget;
mod clients;
mod clock;
mod close;
mod cluster;
mod connect;
pub(crate) mod current;
mod deadline;
mod dial;
mod door;
pub(crate) mod driver;
mod end;
mod events;
mod extra;
mod far;
mod far_links;
mod fence;
mod followed;
mod forming;
mod forward;
mod held;
mod hop;
mod letters;
mod life;
mod line;
mod linger;
mod link;
mod linked;
mod local;
mod local_line;
mod lookups;
mod loops;
mod lost;
mod main_task;
mod mesh;
mod news;
mod nodes;
mod notices;
mod overhear;
mod payload;
mod peer_state;
mod peers;
mod ping;
mod pipes;
mod pressure;
mod probes;
mod pubsub;
mod quarantine;
mod questions;
mod receive;
mod registry;
mod reply;
mod report;
mod rest;
mod resume;
mod routes;
mod rows;
mod select;
mod send;
mod service;
pub(crate) mod shared;
mod shutdown;
mod slow;
mod snapshot;
mod stall;
mod stand_in;
mod start;
mod stash;
mod stop;
mod tasks;
mod ticks;
mod timers;
mod tunnel;
mod upgrade;
mod urgent;
mod user_code;
mod verify;
mod vitals;
mod watch;
mod ways;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use ringmesh_proto::address::{Address, CoreId, NodeId};
use ringmesh_proto::handshake::{Acceptor, LocalNode};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::quarantine::By;
use ringmesh_proto::slab_pool::SlabPool;
use ringmesh_proto::time::Instant;
use ringmesh_proto::token_bucket::TokenBucket;
use ringmesh_transport::buffer::{BufferUse, Chunk, Copies};
use ringmesh_transport::contract::{Event, Piece, Transport};
use ringmesh_transport::timer::{TimerKey, TimerWheel};
use ringmesh_transport::transports::Transports;

pub(crate) use alarm::Alarm;
pub(crate) use asked::Asked;
pub(crate) use asks::{Answer, Correlation};
pub(crate) use cluster::{LeaseUser, TopologyWait};
pub(crate) use deadline::Question;
pub(crate) use door::SharedDoor;
pub(crate) use extra::{Extra, Handled};
pub(crate) use line::Place;
pub(crate) use linger::{Rest, UnderStop};
pub(crate) use link::{Link, LinkId};
pub(crate) use local_line::LocalPlace;
pub(crate) use mesh::{Errand, Mesh};
pub(crate) use nodes::{Met, NodeIndex};
pub(crate) use payload::Payload;
pub(crate) use peer_state::PeerState;
pub(crate) use peers::PeerIndex;
pub(crate) use probes::{Catch, Probe};
pub(crate) use pubsub::{
    AnswerWait, Arrived, Entered, FeedKey, InLine, Interest, Letter, Offer, Order, PathOrder, Put,
    Reach, Refused, RoomWait, Standing, Subscriber, Told, Track, Undelivered,
};
pub(crate) use registry::{Listening, Service};
pub(crate) use reply::Asker;
pub(crate) use routes::NoRoute;
pub(crate) use shared::{Home, Shared, TableId};
pub(crate) use shutdown::PhaseTask;
pub(crate) use start::{Failure, Seat, Surroundings};
pub(crate) use tasks::PanicPayload;
pub(crate) use ticks::Pace;
pub use ticks::TimerId;
pub(crate) use timers::Token;
pub(crate) use upgrade::NotUpgraded;
pub(crate) use user_code::{contain, dispose, panic_message};
pub(crate) use watch::{Notice, Place as ActorPlace};

use crate::actor::ActorTable;
use crate::config::Settings;
use crate::error::SpawnError;
use crate::metrics::Page;
use crate::testkit::VirtualTime;
use alarm::Bells;
use asks::AskTable;
use budget::Budget;
use clients::ForClients;
use clock::Clock;
use cluster::ClusterRoom;
use dial::LookUps;
use far::Far;
use held::Lookout;
use letters::LetterLog;
use life::Lives;
use link::{Connection, End, Stage};
use local::Locals;
use peers::PeerTable;
use pubsub::PubsubRoom;
use registry::RegistryRoom;
use rest::Idleness;
use shutdown::ShutdownRoom;
use slow::LatestBatch;
use stop::Phase;
use tasks::Tasks;
use ticks::Ticks;
use tunnel::Tunnels;
use verify::Inquiries;

/// The core that listens, and answers for the names of its node.
pub(crate) const CONTROL_CORE: CoreId = CoreId(0);

/// Looks at the ring and the mesh between two turns of an idle core that polls.
const LOOKS: u32 = 32;

/// Sends that a task's waiting sends may make before the core gets a turn in between.
const TURN_SHARE: u32 = 1024;

/// The state of one core. Only its own thread holds it.
pub(crate) struct Core {
    id: CoreId,
    shared: Arc<Shared>,
    settings: Settings,
    /// What this node says of itself in handshakes, by lane.
    locals_of: [LocalNode; Lane::ALL.len()],
    clock: Clock,
    io: RefCell<Transports>,
    /// Where messages that wait are copied to.
    copies: Copies,
    /// By lane.
    slabs: [RefCell<SlabPool>; Lane::ALL.len()],
    peers: RefCell<PeerTable>,
    /// By the slot of the connection's id.
    connections: RefCell<Vec<Option<Rc<Connection>>>>,
    /// Connections that the transport has forgotten, until that is known here and what they brought
    /// is parsed. Each belongs to a peer or to the acceptor, which have bounds.
    draining: RefCell<Vec<Rc<Connection>>>,
    look_ups: RefCell<LookUps>,
    acceptor: RefCell<Acceptor>,
    acceptor_timer: Cell<Option<(Instant, TimerKey)>>,
    inquiries: Inquiries,
    log_budget: RefCell<TokenBucket>,
    slow_log_budget: RefCell<TokenBucket>,
    latest_batch: LatestBatch,
    letter_log: LetterLog,
    /// The links to the cores of this node, by core; the bytes of the one with itself never leave
    /// it.
    ends: Vec<End>,
    mesh: RefCell<Mesh>,
    /// Local messages whose turn has not come.
    locals: Locals,
    tunnels: RefCell<Tunnels>,
    next_link: Cell<u64>,
    /// Connections with bytes to parse.
    readable: RefCell<Vec<Rc<Connection>>>,
    /// Links with something to send, those of the control lane aside.
    sendable: RefCell<Vec<Rc<Link>>>,
    /// Connections and links of the control lane: the same, and they go first.
    urgent: RefCell<Vec<Rc<Connection>>>,
    pressing: RefCell<Vec<Rc<Link>>>,
    /// Links that owe their peer a grant.
    granting: RefCell<Vec<Rc<Link>>>,
    /// No link on the list has owed a grant for longer than since then.
    granting_since: Cell<Instant>,
    /// Links whose peer broke the rules while a handler ran; they end with the turn.
    doomed: RefCell<Vec<Rc<Link>>>,
    actors: RefCell<ActorTable>,
    /// The slot and generation of the actor whose handler runs, and the question it was asked.
    running_actor: Cell<Option<(u32, u64)>>,
    running: Handled,
    /// The deadline of the question that is being handled.
    deadline: Cell<Option<Instant>>,
    asks: RefCell<AskTable>,
    tasks: Tasks,
    timers: RefCell<TimerWheel<Token>>,
    ticks: RefCell<Ticks>,
    lives: Lives,
    /// Watches over nodes.
    far: Far,
    /// The cluster that the node takes part in.
    cluster: ClusterRoom,
    /// What all nodes announce.
    registry: RegistryRoom,
    /// Who subscribes here.
    pubsub: PubsubRoom,
    /// What clients reach, as this core knows.
    for_clients: ForClients,
    /// What the transport reported and nobody has handled.
    events: RefCell<VecDeque<Event>>,
    bells: RefCell<Bells>,
    kept: Kept,
    /// The chunk that was parsed last, until what was answered to it has left.
    parsed: Cell<Option<Chunk>>,
    turn_share: Cell<u32>,
    /// A timer runs that looks for memory.
    watches_memory: Cell<bool>,
    /// A timer runs that looks at the progress of links.
    looks_for_stalls: Cell<bool>,
    idleness: Idleness,
    /// What it sees of the other cores.
    lookout: Lookout,
    phase: RefCell<Phase>,
    shutdown: ShutdownRoom,
    /// Who waited for an event that was told in this turn.
    event_readers: RefCell<Vec<Waker>>,
    /// Process starts that were quarantined in this turn.
    parting: RefCell<Vec<(NodeId, By)>>,
    /// What it counts, where other threads read it.
    tally: Arc<Page>,
}

impl Core {
    pub(crate) fn id(&self) -> CoreId {
        self.id
    }

    /// The question that the running handler was asked, until it is answered.
    #[inline]
    pub(crate) fn running_question(&self) -> &Cell<Option<u64>> {
        &self.running.question
    }

    /// What the message brought that is handled where it arrived.
    #[inline]
    pub(crate) fn running(&self) -> &Handled {
        &self.running
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn shared_handle(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// The link of the core with itself, and what it arrives on.
    fn own_end(&self) -> &End {
        &self.ends[usize::from(self.id.0)]
    }

    /// The link of the core with itself.
    pub(crate) fn own_link(&self) -> &Rc<Link> {
        &self.own_end().link
    }

    /// The id of the next link.
    fn take_link_id(&self) -> LinkId {
        let id = LinkId(self.next_link.get());
        self.next_link.set(id.0 + 1);
        id
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn identity(&self) -> &NodeId {
        &self.local().id
    }

    /// What this node says of itself in handshakes; the lane aside it is the same on all.
    fn local(&self) -> &LocalNode {
        self.local_of(Lane::Ordinary)
    }

    fn local_of(&self, lane: Lane) -> &LocalNode {
        &self.locals_of[lane.index()]
    }

    /// The slabs that a link writes into.
    #[inline]
    fn slabs_of(&self, link: &Link) -> &RefCell<SlabPool> {
        &self.slabs[link.lane.index()]
    }

    /// The address of the node that a peer is a core of.
    pub(crate) fn address_of_peer(&self, node: PeerIndex) -> Option<Address> {
        self.peers.borrow().address(node).cloned()
    }

    /// A node, for use outside this core.
    pub(crate) fn home(&self, node: NodeIndex) -> Home {
        let table = self.shared.table;
        Home { table, node }
    }

    /// Wakes `waker` when the link to that node is up, or gone.
    pub(crate) fn watch(&self, node: PeerIndex, waker: &Waker) {
        let is_known = self.peers.borrow_mut().is_watched_by(node, waker);
        if !is_known {
            let waker = waker.clone();
            self.peers.borrow_mut().watch(node, waker);
        }
    }

    /// The address of a node that some core of this one knows.
    pub(crate) fn address_of(&self, home: Home) -> Option<Address> {
        let known_here = home.table == self.shared.table;
        known_here.then(|| self.shared.address_of(home.node))?
    }

    /// Whether a waiting send may go ahead in this turn; the core counts them, so that a task which
    /// never has to wait still lets the core do its other work.
    pub(crate) fn take_turn_share(&self) -> bool {
        let left = self.turn_share.get();
        self.turn_share.set(left.saturating_sub(1));
        left > 0
    }

    /// No other waiting send goes ahead in this turn.
    fn end_turn_share(&self) {
        self.turn_share.set(0);
    }

    /// Keeps a chunk whose messages were handled until the end of the turn: to take a slab home
    /// costs as much as a message, and need not be in front of the answers to it.
    #[inline]
    fn lay_aside(&self, parsed: Option<Chunk>) {
        if parsed.is_some() {
            self.parsed.set(parsed);
        }
    }

    fn begin_turn(&self) {
        self.turn_share.set(TURN_SHARE);
    }

    /// Runs `future` on this core; a panic in it is logged and ends it alone.
    pub(crate) fn spawn_task(
        &self,
        future: impl Future<Output = ()> + 'static,
    ) -> Result<(), SpawnError> {
        if self.is_closing() {
            return Err(SpawnError::Stopping);
        }
        let limit = self.settings.tasks_max;
        if self.tasks.live() >= limit {
            return Err(SpawnError::TooManyTasks { limit });
        }
        self.tasks.spawn(future);
        Ok(())
    }

    /// Polls the tasks that are ready, as many as the turn's time allows and a few at least.
    /// Says whether any was.
    fn poll_tasks(&self, budget: &Budget) -> bool {
        if self.tasks.any_ready() {
            // A batch that ended within a frame has no other behind it, and tasks are not its time.
            self.measure_batch();
        }
        let has_time = || !budget.is_over(self.look_at_clock());
        self.tasks.poll_ready(has_time, |payload| {
            self.tally.panics.add(1);
            tracing::error!(panic = panic_message(payload), "a task panicked; it ends");
        })
    }

    /// Whether so many receive buffers are held by messages that the next ones are copied: more
    /// than a quarter, those aside that wait to be parsed.
    fn is_pool_short(&self) -> bool {
        let BufferUse { pinned, total } = self.io.borrow().buffer_use();
        if pinned <= total / 4 {
            return false;
        }
        let (connections, draining) = (self.connections.borrow(), self.draining.borrow());
        let unparsed = |connection: &Rc<Connection>| connection.unparsed_buffers();
        let all = connections.iter().flatten().chain(&*draining);
        let waiting: usize = all.map(unparsed).sum();
        pinned.saturating_sub(waiting) > total / 4
    }

    /// Looks for news without a whole turn, for about a microsecond: a core that polls notices them
    /// sooner, and leaves more of a shared physical core to its neighbour.
    fn look_out(&self) {
        for _ in 0..LOOKS {
            if self.mesh_has_work() || self.io.borrow_mut().has_news() {
                return;
            }
            std::hint::spin_loop();
        }
    }

    /// The time that passes when a test says so, if there is one.
    pub(crate) fn virtual_time(&self) -> Option<VirtualTime> {
        self.clock.virtual_time().cloned()
    }

    /// Whether something waits that needs no event from outside.
    fn has_work(&self) -> bool {
        self.tasks.any_ready()
            || !self.readable.borrow().is_empty()
            || !self.sendable.borrow().is_empty()
            || !self.urgent.borrow().is_empty()
            || !self.pressing.borrow().is_empty()
            || !self.locals.is_empty()
            || self.has_notices()
            || self.far.is_stirred()
            || self.cluster.is_stirred()
            || self.is_registry_stirred()
            || !self.parting.borrow().is_empty()
    }
}

/// Lists that are emptied and kept, so that their memory is allocated once.
#[derive(Default)]
struct Kept {
    due_timers: Cell<Vec<Token>>,
    pieces: Cell<Vec<Piece>>,
    reading: Cell<Vec<Rc<Connection>>>,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("id", self.identity())
            .finish_non_exhaustive()
    }
}
