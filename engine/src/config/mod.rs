//! The configuration of a node: its settings, and where their values come from.
//!
//! The table of the keys drives everything: what a file, the environment or a command line may say,
//! the checks, the reference in `configuration.md`, and the printed settings.

mod cluster;
mod effective;
mod environment;
mod file;
mod key;
mod kinds;
mod lanes;
mod layers;
mod memory;
mod peers;
mod placement;
mod problem;
mod reference;
mod rules;
mod shutdown;
mod table;
#[cfg(test)]
mod tests;
mod texts;

use std::net::SocketAddr;
use std::time::Duration;

use ringmesh_proto::limits;

use self::key::Value;
pub(crate) use self::layers::Layers;
pub(crate) use self::memory::MESH_SLOT_BYTES;
pub use self::memory::{CoreMemory, LinkMemory, MemoryBudget, SocketBuffers, memory_budget};
pub use self::problem::{ConfigurationError, SettingSource};
use self::table::KEYS;
use crate::cluster::ClusterSettings;
use crate::look_up::LookUp;
use crate::shutdown::ShutdownSettings;

/// What a core does when it has nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdleMode {
    /// Polls for ever: the lowest latency, for a CPU of its own.
    Spin,
    /// Polls for this long after the last piece of work, then sleeps.
    Hybrid(Duration),
    /// Sleeps at once: the least CPU time, at the price of a wake-up per burst.
    Park,
}

impl Default for IdleMode {
    fn default() -> Self {
        Self::Hybrid(HYBRID_SPIN)
    }
}

/// What a node is to those that it dials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeRole {
    /// A node like they are.
    #[default]
    Node,
    /// A client from outside: it reaches the actors that are
    /// [registered](crate::Node::register_for_clients) for clients, and nobody makes links with it.
    Client,
}

/// The most that [`Settings::peers_max`] may be.
pub(crate) const PEERS_CEILING: usize = 1 << 16;

/// How long [`IdleMode::Hybrid`] polls by default: about what a wake-up costs.
const HYBRID_SPIN: Duration = Duration::from_micros(50);

/// The settings of a node. Made by [`Engine::node`](crate::Engine::node), changed through its
/// builder, checked when the node starts.
///
#[doc = include_str!("../../configuration.md")]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// `node.system`.
    pub system: String,
    /// `node.bind`.
    pub bind: SocketAddr,
    /// `node.advertise`.
    pub advertise: Option<(String, u16)>,
    /// How the host names of peers become addresses. Default: as the system is set up. Code alone
    /// can say it.
    pub look_up: LookUp,
    /// How the node takes part in a cluster: `cluster.*`. Default: not at all.
    pub cluster: ClusterSettings,
    /// `core.idle` and `core.hybrid_us`.
    pub idle: IdleMode,
    /// `core.count`.
    pub cores: usize,
    /// `core.cpus`.
    pub cpus: Vec<usize>,
    /// `core.reserve_control_core`.
    pub reserve_control_core: bool,
    /// `core.mesh_slots`.
    pub mesh_slots: usize,
    /// `link.links_per_association_max`.
    pub links_per_association_max: usize,
    /// `actor.mailbox_messages_max`.
    pub mailbox_messages_max: usize,
    /// `actor.mailbox_bytes_max`.
    pub mailbox_bytes_max: usize,
    /// `actor.turn_messages_max`.
    pub turn_messages_max: u32,
    /// `actor.turn_us_max`.
    pub turn_time_max: Duration,
    /// `actor.dead_letters_kept`.
    pub dead_letters_kept: usize,
    /// `link.frame_bytes_max`.
    pub frame_bytes_max: u32,
    /// `link.window_bytes`.
    pub window_bytes: u32,
    /// `core.outgoing_bytes_max`.
    pub outgoing_bytes_max: usize,
    /// `large.frame_bytes_max`.
    pub large_frame_bytes_max: u32,
    /// `large.window_bytes`.
    pub large_window_bytes: u32,
    /// `large.outgoing_bytes_max`.
    pub large_outgoing_bytes_max: usize,
    /// `link.send_timeout_ms`.
    pub send_timeout: Duration,
    /// `link.grant_timeout_ms`.
    pub grant_timeout: Duration,
    /// `link.dial_timeout_ms`.
    pub dial_timeout: Duration,
    /// `link.resume_timeout_ms`.
    pub resume_timeout: Duration,
    /// `link.idle_timeout_ms`.
    pub idle_timeout: Duration,
    /// `ask.timeout_ms`.
    pub ask_timeout: Duration,
    /// `node.flush_timeout_ms`.
    pub flush_timeout: Duration,
    /// `actor.slow_handler_ms`.
    pub slow_handler: Duration,
    /// `actor.count_max`.
    pub actors_max: usize,
    /// `core.tasks_max`.
    pub tasks_max: usize,
    /// `node.peers_max`.
    pub peers_max: usize,
    /// `node.verify_peers`.
    pub verify_peers: bool,
    /// `node.role`.
    pub role: NodeRole,
    /// `node.connections_per_source_max`.
    pub connections_per_source_max: usize,
    /// `node.connects_per_second_max`.
    pub connects_per_second_max: u32,
    /// `core.half_open_max`.
    pub half_open_max: usize,
    /// `watch.heartbeat_interval_ms`.
    pub heartbeat_interval: Duration,
    /// `watch.heartbeat_pause_ms`.
    pub heartbeat_pause: Duration,
    /// `placement.rules`.
    pub placement: String,
    /// `spawn.allow`.
    pub spawn_allow: String,
    /// How the node shuts down: `shutdown.*`.
    pub shutdown: ShutdownSettings,
    /// `control.bind`.
    pub control: Option<SocketAddr>,
    /// What the layers above the code have set, and where.
    given: Vec<Given>,
}

/// The place of a value that did not come from code.
#[derive(Clone, Debug)]
struct Given {
    /// The number of its key in the table.
    key: usize,
    value: Value,
    place: SettingSource,
}

impl Settings {
    pub(crate) fn new(system: &str) -> Self {
        Self {
            system: system.to_owned(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            look_up: LookUp::default(),
            cluster: ClusterSettings::default(),
            shutdown: ShutdownSettings::default(),
            idle: IdleMode::default(),
            cores: 1,
            cpus: Vec::new(),
            reserve_control_core: false,
            mesh_slots: 1024,
            links_per_association_max: 64,
            mailbox_messages_max: 1024,
            mailbox_bytes_max: 1 << 20,
            turn_messages_max: 256,
            turn_time_max: Duration::from_micros(100),
            dead_letters_kept: 1024,
            frame_bytes_max: limits::FRAME_BYTES_ORDINARY,
            window_bytes: limits::WINDOW_BYTES,
            outgoing_bytes_max: 256 << 20,
            large_frame_bytes_max: limits::FRAME_BYTES_LARGE,
            large_window_bytes: limits::WINDOW_BYTES_LARGE,
            large_outgoing_bytes_max: 64 << 20,
            send_timeout: Duration::from_secs(5),
            grant_timeout: limits::GRANT_STALL_TIMEOUT,
            dial_timeout: limits::DIAL_TIMEOUT,
            resume_timeout: limits::RESUME_TIMEOUT,
            idle_timeout: Duration::from_secs(300),
            ask_timeout: Duration::from_secs(5),
            flush_timeout: limits::STOP_TIMEOUT,
            slow_handler: Duration::from_millis(10),
            actors_max: 1 << 20,
            tasks_max: 1 << 16,
            peers_max: 4096,
            verify_peers: true,
            role: NodeRole::Node,
            connections_per_source_max: 4096,
            connects_per_second_max: 256,
            half_open_max: limits::HALF_OPEN_MAX,
            heartbeat_interval: Duration::from_secs(1),
            heartbeat_pause: Duration::from_secs(10),
            placement: String::new(),
            spawn_allow: "*".to_owned(),
            control: None,
            given: Vec::new(),
        }
    }

    /// The settings as they are in force: a valid configuration file, with the place of each value
    /// in a comment behind it.
    ///
    /// A `Duration` from code is rounded up to the unit of its key.
    pub fn effective(&self) -> String {
        effective::print(self)
    }

    /// The reference of all keys, in Markdown.
    pub fn reference() -> String {
        reference::print()
    }

    /// Checks each setting against its range and against the others.
    pub(crate) fn check(&self) -> Result<(), ConfigurationError> {
        for (number, key) in KEYS.iter().enumerate() {
            let Some(value) = key.value(self) else {
                continue;
            };
            let problem =
                |problem| ConfigurationError::new(Some(key.path()), self.source(number), problem);
            key.check(&value).map_err(problem)?;
        }
        rules::check(self)?;
        let problem = |problem| ConfigurationError::new(None, SettingSource::Code, problem);
        self.shutdown.check().map_err(problem)?;
        self.cluster.check().map_err(problem)
    }

    /// Where the value of a key comes from.
    fn source(&self, number: usize) -> SettingSource {
        let value = KEYS[number].value(self);
        let given = self.given.iter().find(|given| given.key == number);
        match given {
            Some(given) if value.as_ref() == Some(&given.value) => given.place.clone(),
            _ if value == KEYS[number].value(&Self::new("")) => SettingSource::Default,
            _ => SettingSource::Code,
        }
    }
}
