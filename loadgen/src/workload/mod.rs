//! The engine's side of a round, written as a user would: refs, sends and handlers of the public
//! API, one call per message.
//!
//! The receiver is a node with two actors of fixed names. The sender is another node that resolves
//! one of them, warms up, asks it to [`Begin`](message::Begin), sends for the measured interval,
//! and asks it to [`Finish`](message::Finish).

mod connections;
mod crowd;
mod echo;
mod mesh;
mod message;
mod moments;
mod ping;
mod pubsub;
mod rally;
mod receiver;
mod sequence;
mod soak;
mod stream;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use ringmesh::cluster::ClusterSettings;
use ringmesh::prelude::*;
use ringmesh::pubsub::{NameError, SubscribeError, WaitError};
use ringmesh::registry::RegisterError;
use ringmesh::{Address, CoreId, Counters, NodeBuilder};
use rustix::time::{ClockId, clock_gettime};

pub(crate) use self::message::ARCHIVE_OVERHEAD_BYTES;
use self::message::ArchivedCounts;
use self::receiver::{Echo, Sink};
pub(crate) use self::sequence::Sequence;
pub(crate) use self::soak::play as soak;
use crate::cost::{Cost, Meter};
use crate::latency::Recorded;
use crate::placement;
use crate::plan::{Crowd, EngineFacts, FramesCopied, HYBRID_SPIN, Mode, Outcome, Plan, Traffic};

/// The cluster that every node of a load generator is of.
const SYSTEM: &str = "loadgen";

/// The actor that takes streams, one on each core of a serving node.
const SINK: &str = "sink";

/// The actor that answers pings, on the last core.
const ECHO: &str = "echo";

/// The name of the sink on `core`.
fn sink_on(core: CoreId) -> String {
    format!("{SINK}-{}", core.0)
}

/// Where a node listens that nobody dials.
const LOCALHOST: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));

/// How long messages may take to arrive after the last was sent, and any answer to come.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Why the engine's side of a round gave up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkloadError {
    /// The node could not start, or its core failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An actor could not be spawned.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The receiver was not found.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A send failed; most often because the peer died.
    #[error("a send failed: {0}")]
    Send(String),
    /// An ask failed; most often because the peer died.
    #[error("an ask failed: {0}")]
    Ask(#[from] AskError),
    /// A mesh is asked for between two processes, or on a node of one core.
    #[error("a mesh is between two cores of one process")]
    Mesh,
    /// A subscription did not begin.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// Not all subscriptions were known in time.
    #[error("not all subscribers were found: {0}")]
    Gather(#[from] WaitError),
    /// The topic or a group has no name that can be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An actor could not be announced.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The node to join has no address that can be one, or nobody subscribes.
    #[error("the plan names no cluster that can be joined, or nobody who subscribes")]
    Crowd,
    /// The node that was to receive ended before it listened.
    #[error("the receiving node did not start")]
    NoReceiver,
    /// A core of the sending node ended before its stream.
    #[error("a core ended before its stream")]
    Ended,
    /// The address could not be printed.
    #[error("cannot print the address: {0}")]
    Stdout(io::Error),
    /// The system does not say what it was asked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<M> From<SendError<M>> for WorkloadError {
    #[cold]
    fn from(error: SendError<M>) -> Self {
        Self::Send(error.to_string())
    }
}

/// Where a serving node is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Where it listens.
    pub(crate) bind: SocketAddr,
    /// What peers are told to dial, if that is another address.
    pub(crate) front: Option<SocketAddr>,
    /// Where its control port listens, if it has one.
    pub(crate) control: Option<SocketAddr>,
}

impl Place {
    /// An address, and nothing else.
    pub(crate) fn at(bind: SocketAddr) -> Self {
        Self {
            bind,
            front: None,
            control: None,
        }
    }
}

/// Hosts the receiving actors at a place until SIGTERM or SIGINT, and says where on stdout first;
/// where its control port is, if it has one, in the second line. A sink lives on each of `cores`
/// cores, and the echo on the last: beside the core that listens, if there are several.
///
/// # Errors
/// When the node cannot start.
pub(crate) fn serve(
    place: Place,
    mode: Mode,
    cores: u16,
    cpu: Option<usize>,
) -> Result<(), WorkloadError> {
    let builder = builder(place.bind, mode, cpu).settings(|settings| {
        let front = place.front;
        settings.cores = cores.into();
        settings.advertise = front.map(|front| (front.ip().to_string(), front.port()));
        settings.control = place.control;
    });
    builder.run(|node| async move {
        let mut last = node.core();
        for core in node.cores() {
            let name = sink_on(core);
            node.spawn_named_on(core, &name, Sink::new).await?;
            last = core;
        }
        node.spawn_named_on(last, ECHO, Echo::default).await?;
        say_where(&node).map_err(WorkloadError::Stdout)?;
        node.until_shutdown().await;
        Ok(())
    })?
}

fn say_where(node: &Node) -> io::Result<()> {
    // `ringmesh://system@host:port`, with brackets around the host where they belong.
    let address = node.address().to_string();
    let address = address.rsplit('@').next().unwrap_or_default();
    let mut stdout = io::stdout();
    writeln!(stdout, "listening {address}")?;
    if let Some(control) = node.control_address() {
        writeln!(stdout, "control {control}")?;
    }
    stdout.flush()
}

/// Plays the sending half of `plan` against the node at `to`.
///
/// # Errors
/// When the peer is gone, is no load generator, or does not take what is sent.
pub(crate) fn send(plan: &Plan, to: SocketAddr) -> Result<Outcome, WorkloadError> {
    let Plan { round, cpu, .. } = *plan;
    let any_port = SocketAddr::new(to.ip(), 0);
    let cores = usize::from(round.connections);
    // One connection has the CPU of the plan for itself; several go where there is room.
    let cpu = (cores == 1).then_some(cpu);
    let builder = builder(any_port, round.mode, cpu).settings(|settings| settings.cores = cores);
    builder.run(move |node| async move {
        match round.traffic {
            Traffic::Stream if cores > 1 => connections::send(&node, to, &round).await,
            Traffic::Stream => stream::send(&node, to, node.core(), &round).await,
            Traffic::Echo => echo::ask(&node, to, &round).await,
            Traffic::Ping => ping::ping(&node, to, &round).await,
            Traffic::Mesh | Traffic::PubSub => Err(WorkloadError::Mesh),
        }
    })?
}

/// Plays both halves of `plan`, a mesh, in this process.
///
/// # Errors
/// When the node cannot start.
pub(crate) fn cross(plan: &Plan) -> Result<Outcome, WorkloadError> {
    let Plan {
        round,
        cpu,
        other_cpu,
        ..
    } = *plan;
    let builder = builder(LOCALHOST, round.mode, None).settings(|settings| {
        settings.cores = 2;
        settings.cpus = vec![cpu, other_cpu];
    });
    builder.run(move |node| async move { mesh::run(&node, &round).await })?
}

/// Plays the publisher of `plan`, with the subscribers of its node.
///
/// # Errors
/// When the node cannot start, the cluster cannot be joined, or another node is gone.
pub(crate) fn publish(plan: &Plan) -> Result<Outcome, WorkloadError> {
    let round = plan.round;
    let (builder, crowd) = member(plan)?;
    builder.run(move |node| async move { pubsub::run(&node, &round, crowd).await })?
}

/// Plays the subscribers of one of the other nodes of `plan`, and says where it is on stdout first.
///
/// # Errors
/// When the node cannot start, or a subscription does not begin.
pub(crate) fn subscribe(plan: &Plan) -> Result<(), WorkloadError> {
    let number = plan.number;
    let (builder, crowd) = member(plan)?;
    builder.run(move |node| async move {
        crowd::gather(&node, number, crowd).await?;
        say_where(&node).map_err(WorkloadError::Stdout)?;
        node.until_shutdown().await;
        Ok(())
    })?
}

/// A node of the cluster that has the crowd of `plan`. The nodes take the CPUs by turns.
fn member(plan: &Plan) -> Result<(NodeBuilder, Crowd), WorkloadError> {
    let crowd = plan.round.crowd.ok_or(WorkloadError::Crowd)?;
    let seed = |to: SocketAddr| {
        let address = Address::new(SYSTEM, &to.ip().to_string(), to.port());
        address.map_err(|_| WorkloadError::Crowd)
    };
    // Nobody to ask: it founds the cluster.
    let seeds = plan.to.map(seed).transpose()?.into_iter().collect();
    let mut cluster = ClusterSettings::default();
    cluster.seeds = Some(seeds);
    let cpus = placement::allowed_cpus()?;
    let cores = usize::from(crowd.cores);
    let own = (0..cores).map(|core| cpus[(usize::from(plan.number) * cores + core) % cpus.len()]);
    let own: Vec<usize> = own.collect();
    let builder = builder(LOCALHOST, plan.round.mode, None).cluster(cluster);
    let builder = builder.settings(|settings| {
        settings.cores = cores;
        settings.cpus = own;
    });
    Ok((builder, crowd))
}

fn builder(bind: SocketAddr, mode: Mode, cpu: Option<usize>) -> NodeBuilder {
    let idle = match mode {
        Mode::Spin => IdleMode::Spin,
        Mode::Hybrid => IdleMode::Hybrid(HYBRID_SPIN),
        Mode::Park => IdleMode::Park,
    };
    let builder = Engine::node(SYSTEM)
        .bind(bind)
        .idle(idle)
        .ask_timeout(DRAIN_TIME_MAX);
    match cpu {
        Some(cpu) => builder.pin_to(cpu),
        None => builder,
    }
}

/// What one process meter on an interval.
#[derive(Clone, Copy, Debug, Default)]
struct NodeCost {
    cost: Cost,
    enters: u64,
    frames_copied: FramesCopied,
}

/// The start of an interval, with the counters of the node.
#[derive(Debug)]
struct NodeMeter {
    meter: Meter,
    counters: Counters,
}

impl NodeMeter {
    fn start(node: &Node) -> Self {
        Self {
            meter: Meter::start(),
            counters: node.counters(),
        }
    }

    fn so_far(&self, node: &Node) -> NodeCost {
        let (then, now) = (&self.counters, node.counters());
        NodeCost {
            cost: self.meter.cost(),
            enters: now.enters - then.enters,
            frames_copied: FramesCopied {
                straddled: now.frames_copied_straddled - then.frames_copied_straddled,
                pinned: now.frames_copied_pinned - then.frames_copied_pinned,
                other: now.frames_copied_other - then.frames_copied_other,
            },
        }
    }
}

/// What the sender saw of the interval.
struct Seen {
    elapsed: Duration,
    sent: u64,
    cost: NodeCost,
    latency: Option<Recorded>,
    latency_from_schedule: Option<Recorded>,
    /// Answers that were not the bytes asked with.
    corrupt: u64,
}

/// What the sender answers, from its own counts and the receiver's.
fn outcome(seen: Seen, counts: &ArchivedCounts) -> Outcome {
    let theirs = Cost {
        cpu_ns: counts.cpu_ns.to_native(),
        allocations: counts.allocations.to_native(),
    };
    let copied_there = FramesCopied {
        straddled: counts.straddled.to_native(),
        pinned: counts.pinned.to_native(),
        other: counts.other.to_native(),
    };
    let arrived = counts.arrived.to_native();
    Outcome {
        elapsed: seen.elapsed,
        messages: arrived,
        lost: seen.sent.saturating_sub(arrived),
        corrupt: seen.corrupt + counts.corrupt.to_native(),
        cost: seen.cost.cost + theirs,
        latency: seen.latency,
        latency_from_schedule: seen.latency_from_schedule,
        engine: Some(EngineFacts {
            duplicated: counts.duplicated.to_native(),
            reordered: counts.reordered.to_native(),
            frames_copied: seen.cost.frames_copied + copied_there,
            enters: seen.cost.enters + counts.enters.to_native(),
        }),
        crowd: None,
    }
}

/// The path of an actor of the serving node.
fn path(to: SocketAddr, name: &str) -> String {
    format!("ringmesh://{SYSTEM}@{to}/user/{name}")
}

/// The clock that all processes of a machine share.
fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
