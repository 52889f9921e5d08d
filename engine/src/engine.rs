//! Starting a node and waiting for its end.

use std::env;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringmesh_transport::{Network, probe, signal};

use crate::cluster::{ClusterSettings, StoreFactory};
use crate::config::{IdleMode, Layers, Settings, SocketBuffers, memory_budget};
use crate::control::{ControlPort, Desk, Requests};
use crate::core::driver;
use crate::core::shared::core_id;
use crate::core::{Failure, Mesh, Seat, Shared, SharedDoor, Surroundings, contain};
use crate::deploy::{AllowList, Factory, Offer, Placements, Spawnable};
use crate::error::EngineError;
use crate::lease::Store;
use crate::metrics::{Metrics, MetricsReader};
use crate::node::Node;
use crate::rt;
use crate::testkit::VirtualTime;

/// Where nodes start.
#[derive(Debug)]
#[non_exhaustive]
pub struct Engine;

impl Engine {
    /// Prepares a node of the cluster `system`; nothing happens before [`NodeBuilder::run`].
    pub fn node(system: &str) -> NodeBuilder {
        NodeBuilder {
            settings: Settings::new(system),
            layers: Layers::default(),
            surroundings: Surroundings::default(),
            metrics: MetricsReader::default(),
        }
    }

    /// What the cores of a node have counted so far, from any thread. The reader comes from the
    /// [builder](NodeBuilder::metrics_reader) or from the [node](Node::metrics_reader).
    pub fn metrics(reader: &MetricsReader) -> Metrics {
        reader.metrics()
    }
}

/// The settings of a node that is about to start.
///
/// A setting has the value of the last of these that names it, whatever the order of the calls:
/// the default, the code (the methods named after settings, and [`settings`](Self::settings)), the
/// file ([`config_file`](Self::config_file)), the environment
/// ([`environment`](Self::environment)), the command line ([`set`](Self::set)). File and
/// environment are read when the node starts, and only if asked for. The keys stand at
/// [`Settings`].
#[derive(Debug)]
#[must_use = "a node starts when `run` is called"]
pub struct NodeBuilder {
    settings: Settings,
    layers: Layers,
    surroundings: Surroundings,
    metrics: MetricsReader,
}

/// The same settings, networks and time, for another node: it has a metrics reader of its own.
impl Clone for NodeBuilder {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            layers: self.layers.clone(),
            surroundings: self.surroundings.clone(),
            metrics: MetricsReader::default(),
        }
    }
}

impl NodeBuilder {
    /// Listens at `address`; see [`Settings::bind`].
    pub fn bind(mut self, address: impl Into<SocketAddr>) -> Self {
        self.settings.bind = address.into();
        self
    }

    /// Tells peers to dial `host` and `port`; see [`Settings::advertise`].
    pub fn advertise(mut self, host: &str, port: u16) -> Self {
        self.settings.advertise = Some((host.to_owned(), port));
        self
    }

    /// What the core does when it has nothing to do.
    pub fn idle(mut self, idle: IdleMode) -> Self {
        self.settings.idle = idle;
        self
    }

    /// Pins the one core of the node to a CPU. With more cores name a CPU for each in
    /// [`Settings::cpus`].
    pub fn pin_to(mut self, cpu: usize) -> Self {
        self.settings.cpus = vec![cpu];
        self
    }

    /// Runs the node on that many cores; see [`Settings::cores`].
    pub fn cores(mut self, count: usize) -> Self {
        self.settings.cores = count;
        self
    }

    /// Default deadline of questions; see [`Settings::ask_timeout`].
    pub fn ask_timeout(mut self, timeout: Duration) -> Self {
        self.settings.ask_timeout = timeout;
        self
    }

    /// Has the node take part in a cluster; see [`ClusterSettings`].
    pub fn cluster(mut self, settings: ClusterSettings) -> Self {
        self.settings.cluster = settings;
        self.settings.cluster.take_part = true;
        self
    }

    /// Puts the node in a network beside TCP, such as a [`MemoryNetwork`]: nodes that share it
    /// reach each other through it, and all others by TCP. Of several the first that reaches an
    /// address is taken.
    ///
    /// [`MemoryNetwork`]: crate::transport::MemoryNetwork
    pub fn network(mut self, network: impl Network + 'static) -> Self {
        self.surroundings.networks.push(Arc::new(network));
        self
    }

    /// Has leases given to the node by a store of the program's own, which is made anew for each
    /// start. A store that the [settings](ClusterSettings::lease_store) name is taken in its place.
    ///
    /// It lives on a thread of its own, and may block there; a node that stops leaves it behind if
    /// it does for longer than `flush_timeout`. Its drop must not block.
    pub fn lease_store<S: Store + 'static>(
        mut self,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Self {
        self.surroundings.lease_store = Some(StoreFactory::new(make));
        self
    }

    /// Has the node live in a time that passes when a test says so.
    pub fn virtual_time(mut self, time: &VirtualTime) -> Self {
        self.surroundings.time = Some(time.clone());
        self
    }

    /// Has the node make actors of the type `W` for others, and for its own `spawn_at`. Without it
    /// no other node has any made here.
    pub fn spawnable<W: Spawnable>(mut self) -> Self {
        self.surroundings.factories.add(Factory::of::<W>());
        self
    }

    /// Changes any of the settings.
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Reads settings from a TOML file, whose values win over those of the code. The last call
    /// counts.
    pub fn config_file(mut self, path: impl AsRef<Path>) -> Self {
        self.layers.file = Some(path.as_ref().to_owned());
        self
    }

    /// Reads settings from variables `RINGMESH__SECTION__NAME` of the environment, which win over
    /// the file. A text stands there without quotes, a list with commas between. Every variable
    /// that begins with `RINGMESH__` must be a setting.
    ///
    /// Not done unasked: a program that embeds a node decides what steers it.
    pub fn environment(mut self) -> Self {
        self.layers.environment = true;
        self
    }

    /// Sets `section.name` as it would stand in a variable of the environment. Wins over
    /// everything else: the words of a command line. Each key at most once.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.layers.set(key, value);
        self
    }

    /// The same for a whole `KEY=VALUE`, as `--set` has it.
    pub fn set_pair(mut self, pair: &str) -> Self {
        self.layers.set_pair(pair);
        self
    }

    /// The settings as they would be in force: everything read, and checked. `run` does this by
    /// itself.
    ///
    /// # Errors
    /// [`EngineError::Configuration`], which names the place, the key and the remedy in one line.
    pub fn configuration(&self) -> Result<Settings, EngineError> {
        Ok(self.layers.resolve(self.settings.clone(), env::vars_os)?)
    }

    /// Reads what the cores of the node count, from any thread: nothing before it starts, and the
    /// last counts after its end. For an exporter that is there before the node.
    pub fn metrics_reader(&self) -> MetricsReader {
        self.metrics.clone()
    }

    /// Starts the node, runs `main` on its core, and stops the node when that future ends.
    ///
    /// SIGTERM and SIGINT are blocked in the calling thread and in those it starts from now on, and
    /// begin the [phases](crate::shutdown) behind which [`Node::until_shutdown`] ends. When this
    /// returns they are blocked in the calling thread if they were before, and else end the process
    /// again; while a node shuts down a second one does. Stopping means: no new connections, what
    /// has come is handled, the last bytes flushed and a goodbye to each peer, all of it within
    /// `flush_timeout`, then actors stopped. What comes behind the goodbye is dropped: its sender
    /// knows how far it was taken over, and gives up the rest.
    ///
    /// # Errors
    /// [`EngineError`]: the host lacks io_uring, the address is taken, a setting is wrong, two
    /// spawnable types have the same key, or `main` panicked.
    pub fn run<F, Fut, T>(self, main: F) -> Result<T, EngineError>
    where
        F: FnOnce(Node) -> Fut + Send + 'static,
        Fut: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        if cfg!(panic = "abort") {
            return Err(EngineError::PanicAbort);
        }
        let settings = self.configuration()?;
        self.surroundings.factories.check()?;
        probe::probe()?;
        let core_failed = |error| EngineError::Core { core: 0, error };
        let _blocked = signal::block_termination_signals().map_err(core_failed)?;
        for line in memory_budget(&settings, SocketBuffers::of_host())
            .to_string()
            .lines()
        {
            tracing::info!("{line}");
        }
        start(&settings, &self.surroundings, &self.metrics, main)
    }
}

/// Starts the cores, and waits for all of them to end.
fn start<F, Fut, T>(
    settings: &Settings,
    surroundings: &Surroundings,
    metrics: &MetricsReader,
    main: F,
) -> Result<T, EngineError>
where
    F: FnOnce(Node) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let (cores, letters_kept) = (settings.cores, settings.dead_letters_kept);
    let shared = Arc::new(Shared::new(
        cores,
        settings.peers_max,
        letters_kept,
        SharedDoor::new(settings),
    ));
    metrics.begin(&shared.pages);
    shared.nursery.open(offer(settings, surroundings));
    let requests = Arc::new(Requests::default());
    let control = open_control(settings, &shared, &requests)?;
    let is_shown = control.is_some();
    let main = move |node: Node| {
        if is_shown && let Err(error) = node.spawn_task(answer(requests, node.clone())) {
            tracing::warn!(%error, "the control port does not know of links");
        }
        main(node)
    };
    let mut seats = seats(settings, &shared, surroundings);
    let first = seats.remove(0);
    let first = start_core(first, |seat| driver::run(seat, main));
    let others: Vec<_> = seats
        .into_iter()
        .map(|seat| start_core(seat, driver::serve))
        .collect();
    if first.is_err() || others.iter().any(Result::is_err) {
        shared.fail();
    }
    let ended = join(first);
    let others = others.into_iter().map(join).collect::<Vec<_>>();
    let readers = shared.letters.close().into_iter();
    let readers = readers.chain(shared.events.close());
    for (_, waker) in readers.chain(shared.cluster_events.close()) {
        // A subscription that outlives the node. There is no core any more to count a panic.
        if let Err(panic) = contain(|| waker.wake()) {
            tracing::error!(panic, "a waker panicked");
        }
    }
    drop(control);
    for other in others {
        match other {
            Ok(()) | Err(EngineError::Aborted) => {}
            // The cause; the others, and the control core, only followed.
            Err(error) => return Err(error),
        }
    }
    ended
}

/// What the node makes for others, and where its own actors are to live. The texts were checked.
fn offer(settings: &Settings, surroundings: &Surroundings) -> Offer {
    Offer {
        factories: surroundings.factories.clone(),
        allow: AllowList::parse(&settings.spawn_allow).expect("settings are checked"),
        placements: Placements::parse(&settings.placement).unwrap_or_default(),
    }
}

/// Opens the control port, if there is to be one.
fn open_control(
    settings: &Settings,
    shared: &Arc<Shared>,
    requests: &Arc<Requests>,
) -> Result<Option<ControlPort>, EngineError> {
    let Some(at) = settings.control else {
        return Ok(None);
    };
    let desk = Desk {
        shared: Arc::clone(shared),
        metrics: MetricsReader::of(&shared.pages),
        requests: Arc::clone(requests),
        configuration: settings.effective(),
    };
    let port = ControlPort::open(at, desk).map_err(|error| EngineError::Bind { at, error })?;
    // Nobody else sets it.
    let _ = shared.control.set(port.address());
    Ok(Some(port))
}

async fn answer(requests: Arc<Requests>, node: Node) {
    requests.answer(&node).await;
}

/// What each core needs to be put together, the control core first.
fn seats(settings: &Settings, shared: &Arc<Shared>, surroundings: &Surroundings) -> Vec<Seat> {
    let meshes = Mesh::between(settings.cores, settings.mesh_slots);
    let seat = |(core, mesh)| Seat {
        core: core_id(core),
        settings: settings.clone(),
        shared: Arc::clone(shared),
        mesh,
        surroundings: surroundings.clone(),
        failure: Some(Failure::armed(shared)),
    };
    meshes.into_iter().enumerate().map(seat).collect()
}

/// A core's thread, with the core's number for what may go wrong.
type Started<T> = Result<(u16, rt::CoreThread<Result<T, EngineError>>), EngineError>;

fn start_core<F, T>(seat: Seat, body: F) -> Started<T>
where
    F: FnOnce(Seat) -> Result<T, EngineError> + Send + 'static,
    T: Send + 'static,
{
    let core = seat.core.0;
    let cpu = seat.settings.cpus.get(usize::from(core)).copied();
    rt::start(&format!("ringmesh-core-{core}"), cpu, || body(seat))
        .map(|thread| (core, thread))
        .map_err(|error| EngineError::Core { core, error })
}

fn join<T: Send>(started: Started<T>) -> Result<T, EngineError> {
    let (core, thread) = started?;
    thread
        .join()
        .map_err(|error| EngineError::Core { core, error })?
}
