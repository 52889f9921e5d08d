//! Settings of a node, each with its unit, its range, and what too little and too much of it does.

use std::net::SocketAddr;
use std::time::Duration;

use ringmesh_proto::limits;

use crate::error::EngineError;
use crate::look_up::LookUp;

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

/// How long [`IdleMode::Hybrid`] polls by default: about what a wake-up costs.
const HYBRID_SPIN: Duration = Duration::from_micros(50);

/// The settings of a node. Made by [`Engine::node`](crate::Engine::node), changed through its
/// builder, checked when the node starts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The name of the cluster, part of every address: peers of another name are refused.
    pub system: String,
    /// Where the node listens. Port 0 picks a free one. Default `127.0.0.1:0`.
    pub bind: SocketAddr,
    /// The host and port peers dial, when it is not the bound one (NAT, containers).
    pub advertise: Option<(String, u16)>,
    /// How the host names of peers become addresses. Default: as the system is set up.
    pub look_up: LookUp,
    /// What an idle core does. Default: polls for 50 us, then sleeps.
    pub idle: IdleMode,
    /// The CPU of the node's core. `None`: wherever the scheduler puts it.
    pub cpu: Option<usize>,
    /// The largest frame body on the ordinary lane, in bytes; 32 KiB to 16 MiB, default 256 KiB.
    /// Larger messages are refused at the sender. A small value refuses more, a large one lets one
    /// message hold up those behind it for longer.
    pub frame_bytes_max: u32,
    /// How many bytes a peer may send ahead of what was handled here, per link; at least
    /// `frame_bytes_max` plus one slab of 64 KiB, at most 64 MiB, default 1 MiB. A small value
    /// makes senders wait for grants, a large one costs both sides this much memory per busy link.
    pub window_bytes: u32,
    /// Memory for messages on their way out, per core, in bytes; at least two windows, default
    /// 256 MiB. When it is used up, sends find no room.
    pub outgoing_bytes_max: usize,
    /// How long a waiting send waits for room by default. Default 5 s.
    pub send_timeout: Duration,
    /// How long a question waits for its answer by default. Default 5 s.
    pub ask_timeout: Duration,
    /// How long a stopping node waits for its last bytes to leave. Default 1 s.
    pub flush_timeout: Duration,
    /// How long a peer may take nothing over of what was sent to it before its link ends. Small
    /// values end links to peers whose handlers block for long, large ones let a peer that hangs
    /// hold a window of memory for longer. At least 100 ms, default 30 s.
    pub grant_timeout: Duration,
    /// A handler that runs longer than this is logged and counted. Default 10 ms.
    pub slow_handler: Duration,
    /// Actors the core may hold. Default 2^20.
    pub actors_max: usize,
    /// Tasks the core may run, besides the main one. Default 65,536.
    pub tasks_max: usize,
    /// Peers the node may know. Default 4,096.
    pub peers_max: usize,
    /// Connections that have not shown who they are, at one time. Default 256; more are closed at
    /// once.
    pub half_open_max: usize,
}

impl Settings {
    pub(crate) fn new(system: &str) -> Self {
        Self {
            system: system.to_owned(),
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            look_up: LookUp::default(),
            idle: IdleMode::default(),
            cpu: None,
            frame_bytes_max: limits::FRAME_BYTES_ORDINARY,
            window_bytes: limits::WINDOW_BYTES,
            outgoing_bytes_max: 256 << 20,
            send_timeout: Duration::from_secs(5),
            ask_timeout: Duration::from_secs(5),
            flush_timeout: limits::STOP_TIMEOUT,
            grant_timeout: limits::GRANT_STALL_TIMEOUT,
            slow_handler: Duration::from_millis(10),
            actors_max: 1 << 20,
            tasks_max: 1 << 16,
            peers_max: 4096,
            half_open_max: limits::HALF_OPEN_MAX,
        }
    }

    /// Checks each setting against its range and against the others.
    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let frame = self.frame_bytes_max;
        within(
            "frame_bytes_max",
            frame,
            limits::FRAME_BYTES_MIN,
            limits::FRAME_BYTES_CEILING,
        )?;
        let window_min = limits::window_bytes_min(frame);
        within(
            "window_bytes",
            self.window_bytes,
            window_min,
            limits::WINDOW_BYTES_MAX,
        )?;
        let outgoing_min = 2 * self.window_bytes as usize;
        within(
            "outgoing_bytes_max",
            self.outgoing_bytes_max,
            outgoing_min,
            usize::MAX,
        )?;
        let grant_timeout_ms = self.grant_timeout.as_millis();
        within("grant_timeout", grant_timeout_ms, 100, 3_600_000)?;
        within("actors_max", self.actors_max, 1, 1 << 24)?;
        within("tasks_max", self.tasks_max, 1, 1 << 24)?;
        within("peers_max", self.peers_max, 1, 1 << 16)?;
        within("half_open_max", self.half_open_max, 1, 1 << 16)
    }
}

fn within<N: PartialOrd + std::fmt::Display>(
    setting: &'static str,
    value: N,
    least: N,
    most: N,
) -> Result<(), EngineError> {
    if value < least || value > most {
        let problem = format!("{value} is not between {least} and {most}");
        return Err(EngineError::Configuration { setting, problem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        Settings::new("demo").check().unwrap();
    }

    #[test]
    fn one_over_each_bound_is_refused_by_name() {
        type Break = fn(&mut Settings);
        let broken: [(&str, Break); 5] = [
            ("frame_bytes_max", |s| {
                s.frame_bytes_max = limits::FRAME_BYTES_CEILING + 1
            }),
            ("frame_bytes_max", |s| {
                s.frame_bytes_max = limits::FRAME_BYTES_MIN - 1
            }),
            ("window_bytes", |s| {
                s.window_bytes = s.frame_bytes_max + limits::SLAB_BYTES - 1
            }),
            ("window_bytes", |s| {
                s.window_bytes = limits::WINDOW_BYTES_MAX + 1
            }),
            ("outgoing_bytes_max", |s| {
                s.outgoing_bytes_max = 2 * s.window_bytes as usize - 1
            }),
        ];
        for (name, break_it) in broken {
            let mut settings = Settings::new("demo");
            break_it(&mut settings);
            match settings.check() {
                Err(EngineError::Configuration { setting, .. }) => assert_eq!(setting, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
