//! Putting a core together on its thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_proto::address::{Address, CoreId, NodeId};
use ringmesh_proto::fingerprint::FORMAT_FINGERPRINT;
use ringmesh_proto::handshake::{Acceptor, LocalNode, RESTS};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::SLAB_BYTES;
use ringmesh_proto::link::{Inbound, Outbound};
use ringmesh_proto::preface::Role;
use ringmesh_proto::slab_pool::{Reader, SlabPool};
use ringmesh_proto::time::Instant;
use ringmesh_proto::token_bucket::TokenBucket;
use ringmesh_transport::buffer::Copies;
use ringmesh_transport::contract::{Network, Transport};
use ringmesh_transport::tcp::{self, TcpTransport};
use ringmesh_transport::timer::TimerWheel;
use ringmesh_transport::transports::Transports;

use super::asks::AskTable;
use super::clients::ForClients;
use super::clock::Clock;
use super::cluster::ClusterRoom;
use super::far::Far;
use super::held::Lookout;
use super::letters::LetterLog;
use super::life::Lives;
use super::link::End;
use super::local::Locals;
use super::peers::PeerTable;
use super::pubsub::PubsubRoom;
use super::registry::RegistryRoom;
use super::rest::Idleness;
use super::shared::core_id;
use super::shutdown::ShutdownRoom;
use super::slow::LatestBatch;
use super::stop::Phase;
use super::tasks::Tasks;
use super::timers::{CONNECTIONS_MAX, TIMERS_MAX};
use super::verify::Inquiries;
use super::{CONTROL_CORE, Core, Handled, Kept, Mesh, Shared};
use crate::actor::ActorTable;
use crate::cluster::StoreFactory;
use crate::config::{NodeRole, Settings};
use crate::deploy::Factories;
use crate::error::EngineError;
use crate::testkit::VirtualTime;

/// Lines about closed connections that are logged at once, and in the long run.
const LOGS_BURST: u32 = 64;
const LOGS_PER_SECOND: u32 = 4;

/// The same for lines about slow handlers.
const SLOW_LOGS_BURST: u32 = 8;
const SLOW_LOGS_PER_SECOND: u32 = 1;

impl Core {
    /// Makes the ring, binds the listener if this is the control core, and puts the core together.
    /// On the core's own thread.
    pub(super) fn start(seat: Seat) -> Result<Rc<Self>, EngineError> {
        let (id, settings, shared, mesh) = (seat.core, seat.settings, seat.shared, seat.mesh);
        let (io, node) = open(id, &settings, &shared, &seat.surroundings.networks)?;
        let ends = ends(&settings, &node, id);
        shared.core_ready(id, io.doorbell());
        Ok(Rc::new(Self {
            acceptor: RefCell::new(Acceptor::new(settings.half_open_max)),
            acceptor_timer: Cell::default(),
            inquiries: Inquiries::default(),
            log_budget: RefCell::new(TokenBucket::new(LOGS_BURST, LOGS_PER_SECOND)),
            slow_log_budget: RefCell::new(TokenBucket::new(SLOW_LOGS_BURST, SLOW_LOGS_PER_SECOND)),
            latest_batch: LatestBatch::default(),
            letter_log: LetterLog::default(),
            locals_of: Lane::ALL.map(|lane| local_node(&node, (id, lane), &settings)),
            look_ups: RefCell::default(),
            tasks: Tasks::new(io.doorbell()),
            clock: Clock::new(seat.surroundings.time.as_ref(), io.doorbell()),
            io: RefCell::new(io),
            copies: Copies::new(),
            slabs: Lane::ALL.map(|lane| RefCell::new(slabs(&settings, lane))),
            peers: RefCell::new(peers(&settings, (&shared, id), &node, &ends)),
            connections: RefCell::default(),
            draining: RefCell::default(),
            ends,
            mesh: RefCell::new(mesh),
            locals: Locals::default(),
            tunnels: RefCell::default(),
            next_link: Cell::new(settings.cores as u64),
            readable: RefCell::default(),
            sendable: RefCell::default(),
            urgent: RefCell::default(),
            pressing: RefCell::default(),
            granting: RefCell::default(),
            granting_since: Cell::default(),
            doomed: RefCell::default(),
            actors: RefCell::new(ActorTable::new(id, settings.actors_max)),
            running_actor: Cell::default(),
            running: Handled::default(),
            deadline: Cell::default(),
            asks: RefCell::new(AskTable::default()),
            ticks: RefCell::default(),
            lives: Lives::default(),
            far: Far::new(&settings),
            cluster: ClusterRoom::new(seat.surroundings.lease_store),
            registry: RegistryRoom::default(),
            pubsub: PubsubRoom::default(),
            for_clients: ForClients::default(),
            timers: RefCell::new(TimerWheel::new(Instant::ZERO, TIMERS_MAX)),
            events: RefCell::default(),
            bells: RefCell::default(),
            kept: Kept::default(),
            parsed: Cell::default(),
            turn_share: Cell::new(0),
            watches_memory: Cell::default(),
            looks_for_stalls: Cell::default(),
            idleness: Idleness::default(),
            lookout: Lookout::default(),
            phase: RefCell::new(Phase::default()),
            shutdown: ShutdownRoom::new(&settings)?,
            event_readers: RefCell::default(),
            parting: RefCell::default(),
            tally: shared.pages.of_core(usize::from(id.0)),
            settings,
            id,
            shared,
        }))
    }
}

/// A table of peers that knows the cores of this node alone.
fn peers(
    settings: &Settings,
    (shared, id): (&Shared, CoreId),
    node: &NodeId,
    ends: &[End],
) -> PeerTable {
    let links = ends.iter().map(|end| Rc::clone(&end.link));
    PeerTable::new(&node.address, (shared, id), links, settings.peers_max)
}

/// The slabs of a lane. Those of the ordinary one serve the links within the node too, which have
/// no lanes.
fn slabs(settings: &Settings, lane: Lane) -> SlabPool {
    let of_lane = settings.of_lane(lane);
    let (bytes, cap) = (of_lane.outgoing_bytes_max, of_lane.body_cap);
    match lane {
        Lane::Ordinary => SlabPool::with_caps(bytes, &[cap, settings.local_body_cap()]),
        Lane::Control | Lane::Large => SlabPool::new(bytes, cap),
    }
}

/// What a core says of itself in handshakes.
fn local_node(id: &NodeId, (core, lane): (CoreId, Lane), settings: &Settings) -> LocalNode {
    let of_lane = settings.of_lane(lane);
    LocalNode {
        id: id.clone(),
        core,
        lane,
        role: match settings.role {
            NodeRole::Node => Role::Node,
            NodeRole::Client => Role::Client,
        },
        cores: core_id(settings.cores).0,
        format_fingerprint: FORMAT_FINGERPRINT,
        body_cap: of_lane.body_cap,
        window_bytes: of_lane.window_bytes,
        links_max: u32::try_from(settings.links_per_association_max).unwrap_or(u32::MAX),
        features: if settings.idle_timeout.is_zero() {
            0
        } else {
            RESTS
        },
        stop_timeout: settings.flush_timeout,
        dial_timeout: settings.dial_timeout,
        resume_timeout: settings.resume_timeout,
    }
}

/// What a node lives in, besides its settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// Networks beside TCP.
    pub(crate) networks: Vec<Arc<dyn Network>>,
    /// In place of the system's clock.
    pub(crate) time: Option<VirtualTime>,
    /// What it can make on request.
    pub(crate) factories: Factories,
    /// What gives leases to it.
    pub(crate) lease_store: Option<StoreFactory>,
}

/// What a core needs to be put together.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) core: CoreId,
    pub(crate) settings: Settings,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mesh: Mesh,
    pub(crate) surroundings: Surroundings,
    pub(crate) failure: Option<Failure>,
}

/// Tells the other cores when one cannot start, or cannot go on: a node is whole or not at all.
/// Made before the core's thread, so that it also drops when that never runs its body.
#[derive(Debug)]
pub(crate) struct Failure(Option<Arc<Shared>>);

impl Failure {
    pub(crate) fn armed(shared: &Arc<Shared>) -> Self {
        Self(Some(Arc::clone(shared)))
    }

    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.fail();
        }
    }
}

/// Watches for signals, binds the listener, and tells all cores who the node is and where it is
/// bound.
fn listen(io: &mut Transports, settings: &Settings, shared: &Shared) -> Result<(), EngineError> {
    let core = CONTROL_CORE.0;
    io.watch_signals()
        .map_err(|error| EngineError::Core { core, error })?;
    let uid = shared.uid;
    let at = settings.bind;
    let bound = io
        .listen(at)
        .map_err(|error| EngineError::Bind { at, error })?;
    let address = canonical_address(settings, bound)?;
    tracing::info!(%address, %uid, "listening");
    shared.bound_at(bound);
    shared.announce(NodeId { address, uid });
    Ok(())
}

/// The transports of a core, which listen if it is the control core, and who the node is.
fn open(
    core: CoreId,
    settings: &Settings,
    shared: &Shared,
    networks: &[Arc<dyn Network>],
) -> Result<(Transports, NodeId), EngineError> {
    let failed = |error| EngineError::Core {
        core: core.0,
        error,
    };
    let mut io = transports(settings, networks).map_err(failed)?;
    if core == CONTROL_CORE {
        listen(&mut io, settings, shared)?;
    }
    let node = shared.wait_for_id().ok_or(EngineError::Aborted)?;
    Ok((io, node))
}

/// TCP, and a transport of each network that the node is in.
fn transports(settings: &Settings, networks: &[Arc<dyn Network>]) -> io::Result<Transports> {
    let tcp = TcpTransport::new(transport_settings(settings))?;
    let from = match settings.bind.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        bound => bound,
    };
    Transports::new(tcp, networks, from)
}

fn transport_settings(settings: &Settings) -> tcp::Settings {
    let from = settings.bind.ip();
    let mut transport = tcp::Settings::default();
    transport.connections_max = CONNECTIONS_MAX;
    // Peers and firewalls know the node by the address it is bound to, on hosts with several.
    transport.dial_from = (!from.is_unspecified()).then_some(from);
    transport
}

/// The address peers dial: the advertised one, else the one that was bound.
fn canonical_address(settings: &Settings, bound: SocketAddr) -> Result<Address, EngineError> {
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

/// The links to the cores of the node, itself included: they carry the same frames as others,
/// without a connection.
fn ends(settings: &Settings, node: &NodeId, me: CoreId) -> Vec<End> {
    let window = settings.window_bytes;
    let end = |core| {
        let caps = (settings.local_body_cap(), settings.frame_bytes_max);
        let reader = if core_id(core) == me {
            Reader::SameCore
        } else {
            Reader::OtherCore
        };
        let outbound = Outbound::within_process(caps, u64::from(window), window, reader);
        let inbound = Inbound::within_process(window, caps.0 + SLAB_BYTES);
        End::new(core_id(core), node.clone(), outbound, inbound)
    };
    (0..settings.cores).map(end).collect()
}
