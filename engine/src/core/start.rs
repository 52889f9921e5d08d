//! Putting a core together on its thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::fingerprint::FORMAT_FINGERPRINT;
use ringmesh_proto::handshake::{Acceptor, LocalNode};
use ringmesh_proto::link::{Inbound, Outbound};
use ringmesh_proto::slab_pool::SlabPool;
use ringmesh_proto::time::Instant;
use ringmesh_proto::token_bucket::TokenBucket;
use ringmesh_transport::contract::{ConnectionId, Transport};
use ringmesh_transport::tcp::{self, TcpTransport};
use ringmesh_transport::timer::TimerWheel;

use super::Core;
use super::asks::AskTable;
use super::clock::Clock;
use super::link::{Connection, Link, LinkId, Stage};
use super::peers::{NodeIndex, PeerTable};
use super::stop::Phase;
use super::tasks::Tasks;
use super::timers::{CONNECTIONS_MAX, TIMERS_MAX};
use crate::actor::ActorTable;
use crate::config::Settings;
use crate::counters::Tally;
use crate::error::EngineError;
use crate::rt::Runtime;

/// Lines about closed connections that are logged at once, and in the long run.
const LOGS_BURST: u32 = 64;
const LOGS_PER_SECOND: u32 = 4;

/// The same for lines about slow handlers.
const SLOW_LOGS_BURST: u32 = 8;
const SLOW_LOGS_PER_SECOND: u32 = 1;

impl Core {
    /// Makes the ring, binds the listener, and puts the core together. On the core's own thread.
    pub(super) fn start(settings: Settings, runtime: Runtime) -> Result<Rc<Self>, EngineError> {
        let core_failed = |error| EngineError::Core { core: 0, error };
        let mut io = TcpTransport::new(transport_settings()).map_err(core_failed)?;
        io.watch_signals().map_err(core_failed)?;
        let at = settings.bind;
        let bound = io
            .listen(at)
            .map_err(|error| EngineError::Bind { at, error })?;
        let address = canonical_address(&settings, bound)?;
        let uid = crate::random::uid();
        let clock = Clock::new();
        let (own_link, own_connection) = own_link(&settings, uid);
        let peers = PeerTable::new(address.clone(), Rc::clone(&own_link), settings.peers_max);
        let tasks = Tasks::new(io.doorbell());
        tracing::info!(%address, %uid, "listening");
        Ok(Rc::new(Self {
            acceptor: RefCell::new(Acceptor::new(settings.half_open_max)),
            acceptor_timer: Cell::default(),
            closes: RefCell::default(),
            log_budget: RefCell::new(TokenBucket::new(LOGS_BURST, LOGS_PER_SECOND)),
            slow_log_budget: RefCell::new(TokenBucket::new(SLOW_LOGS_BURST, SLOW_LOGS_PER_SECOND)),
            local: LocalNode {
                id: NodeId { address, uid },
                core: CoreId(0),
                cores: 1,
                format_fingerprint: FORMAT_FINGERPRINT,
                body_cap: settings.frame_bytes_max,
                window_bytes: settings.window_bytes,
                features: 0,
                stop_timeout: settings.flush_timeout,
            },
            runtime,
            io: RefCell::new(io),
            slabs: RefCell::new(SlabPool::new(
                settings.outgoing_bytes_max,
                settings.frame_bytes_max,
            )),
            peers: RefCell::new(peers),
            connections: RefCell::default(),
            draining: RefCell::default(),
            own_link,
            own_connection,
            next_link: Cell::new(1),
            readable: RefCell::default(),
            sendable: RefCell::default(),
            granting: RefCell::default(),
            doomed: RefCell::default(),
            actors: RefCell::new(ActorTable::new(settings.actors_max)),
            running_actor: Cell::default(),
            running: Cell::default(),
            asks: RefCell::new(AskTable::default()),
            tasks,
            timers: RefCell::new(TimerWheel::new(Instant::ZERO, TIMERS_MAX)),
            events: RefCell::default(),
            bells: RefCell::default(),
            due_timers: Cell::default(),
            slices: Cell::default(),
            reading: Cell::default(),
            turn_share: Cell::new(0),
            looks_for_stalls: Cell::default(),
            phase: RefCell::new(Phase::default()),
            stop_waiters: RefCell::default(),
            tally: Tally::default(),
            settings,
            clock,
        }))
    }
}

fn transport_settings() -> tcp::Settings {
    let mut settings = tcp::Settings::default();
    settings.connections_max = CONNECTIONS_MAX;
    settings
}

/// The address peers dial: the advertised one, else the one that was bound.
fn canonical_address(
    settings: &Settings,
    bound: std::net::SocketAddr,
) -> Result<Address, EngineError> {
    let (host, port) = match &settings.advertise {
        Some((host, port)) => (host.clone(), *port),
        None => (bound.ip().to_string(), bound.port()),
    };
    Address::new(&settings.system, &host, port).map_err(|error| {
        // The settings were checked, so it is the bound address that makes no name.
        EngineError::Bind {
            at: settings.bind,
            error: io::Error::new(io::ErrorKind::AddrNotAvailable, error),
        }
    })
}

/// The link of a core with itself: it carries the same frames, without a connection.
fn own_link(settings: &Settings, uid: Uid) -> (Rc<Link>, Rc<Connection>) {
    let window = settings.window_bytes;
    let outbound = Outbound::new(settings.frame_bytes_max, u64::from(window), window);
    let inbound = Inbound::new(window);
    let link = Rc::new(Link::new(
        LinkId(0),
        NodeIndex::SELF,
        uid,
        None,
        outbound,
        inbound,
    ));
    let nowhere = ConnectionId {
        slot: u32::MAX,
        generation: 0,
    };
    let connection = Rc::new(Connection::new(
        nowhere,
        None,
        Stage::Linked(Rc::clone(&link)),
    ));
    (link, connection)
}
