//! What the parent asks of a measuring process, and what that answers: one JSON text each way.

use std::net::SocketAddr;
use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::latency::Recorded;

/// How long hybrid polls before it sleeps.
pub(crate) const HYBRID_SPIN: Duration = Duration::from_micros(50);

/// What to do while there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Never sleep.
    #[default]
    Spin,
    /// Poll for 50 us, then sleep.
    Hybrid,
    /// Sleep at once.
    Park,
}

impl Mode {
    /// The word of the command line and of the reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spin => "spin",
            Self::Hybrid => "hybrid",
            Self::Park => "park",
        }
    }
}

/// What travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Traffic {
    /// One way, as fast as it goes.
    Stream,
    /// There and back.
    Echo,
    /// One way, from one core to another of the same process.
    Mesh,
    /// Pings of the engine there and back, beside a stream of large messages one way, if their size
    /// is not 0.
    Ping,
    /// From one publisher to all who subscribe, on several nodes.
    PubSub,
}

impl Traffic {
    /// The word of the command line and of the reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Echo => "echo",
            Self::Mesh => "mesh",
            Self::Ping => "ping",
            Self::PubSub => "pubsub",
        }
    }
}

/// What becomes of a message for which the queue of a subscriber has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Policy {
    /// The oldest that wait are lost.
    #[default]
    DropOldest,
    /// The message is lost.
    DropNewest,
    /// The publisher waits.
    Wait,
}

/// Who subscribes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Crowd {
    /// How many, on all nodes together.
    pub(crate) subscribers: u32,
    /// Over how many nodes they are spread; the publisher is on the first.
    pub(crate) nodes: u16,
    /// Cores of each node.
    pub(crate) cores: u16,
    /// So many groups, of each of which one member gets a message; 0: everyone gets all.
    pub(crate) groups: u16,
    /// The last so many stand still between reads.
    pub(crate) slow: u32,
    /// What their queues do when they are full.
    pub(crate) policy: Policy,
}

impl Crowd {
    /// How its nodes wait: those that share CPUs leave them to each other.
    pub(crate) fn mode(&self, cpus: usize) -> Mode {
        let cores = usize::from(self.nodes) * usize::from(self.cores);
        if cores > cpus { Mode::Park } else { Mode::Spin }
    }

    /// How many deliveries one publish is to have.
    pub(crate) fn deliveries(&self) -> u64 {
        match self.groups {
            0 => self.subscribers.into(),
            groups => groups.into(),
        }
    }
}

/// Who moves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mover {
    /// Ringmesh, through its public API.
    Engine,
    /// Plain system calls in a tight loop.
    Floor,
}

/// One round of one workload, the same for both sides of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Who moves the messages.
    pub(crate) mover: Mover,
    /// What travels.
    pub(crate) traffic: Traffic,
    /// Bytes of one message: an archive, or a record's payload.
    pub(crate) payload_bytes: usize,
    /// How both sides wait.
    pub(crate) mode: Mode,
    /// Fixed-layout messages in place of archives with a vector. Engine only.
    pub(crate) pod: bool,
    /// Links to stream over at once, each between cores of its own. Engine only.
    pub(crate) connections: u16,
    /// Asks per second on a schedule; closed loop with one in flight without it. Echo only.
    pub(crate) rate_per_second: Option<f64>,
    /// Record one-way times of a sample of the stream. Engine only.
    pub(crate) sample_one_way: bool,
    /// The connection is cut while the stream runs: it goes on when there is another. Engine only.
    pub(crate) is_cut: bool,
    /// Who subscribes. Pub-sub only.
    pub(crate) crowd: Option<Crowd>,
    /// Runs before the measured interval.
    pub(crate) warm_up: Duration,
    /// The measured interval.
    pub(crate) measured: Duration,
}

/// How long a mesh sends its messages one at a time, behind its measured interval: a quarter of
/// that, and a second at most.
pub(crate) fn one_by_one(measured: Duration) -> Duration {
    (measured / 4).min(Duration::from_secs(1))
}

/// What one process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The round both sides play.
    pub(crate) round: Round,
    /// The number of this node among those of a crowd.
    #[serde(default)]
    pub(crate) number: u16,
    /// The CPU to run on.
    pub(crate) cpu: usize,
    /// The CPU of the other side.
    pub(crate) other_cpu: usize,
    /// Both sides run on one CPU.
    pub(crate) cpu_is_shared: bool,
    /// Where the proxy before the receiver is entered, if the stream goes through one.
    pub(crate) front: Option<SocketAddr>,
    /// Where to send, or whom to join. Without it this process is the receiver, or both sides of a
    /// mesh, or the one that founds the cluster of a crowd.
    pub(crate) to: Option<SocketAddr>,
}

/// Frames that had to be copied out of a receive buffer, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FramesCopied {
    /// The frame straddled two receive buffers.
    pub(crate) straddled: u64,
    /// Too many receive buffers were pinned.
    pub(crate) pinned: u64,
    /// Anything else, such as waiting in a mailbox.
    pub(crate) other: u64,
}

impl Add for FramesCopied {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            straddled: self.straddled + other.straddled,
            pinned: self.pinned + other.pinned,
            other: self.other + other.other,
        }
    }
}

/// What the engine alone can tell about a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EngineFacts {
    /// Messages that came twice.
    pub(crate) duplicated: u64,
    /// Messages that came after a later one.
    pub(crate) reordered: u64,
    /// Frames copied by both processes.
    pub(crate) frames_copied: FramesCopied,
    /// `io_uring_enter` calls of both processes.
    pub(crate) enters: u64,
}

/// What pub-sub alone can tell about a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CrowdFacts {
    /// Messages that were published.
    pub(crate) publishes: u64,
    /// Frames that other nodes were sent for them.
    pub(crate) frames: u64,
    /// Deliveries that those were to have.
    pub(crate) expected: u64,
    /// Deliveries that queues lost, as their policy says.
    pub(crate) dropped: u64,
    /// How far apart the first and the last delivery of a message were, of a sample.
    pub(crate) skew: Recorded,
}

/// What came of a round: the sender's answer, which includes what the receiver told it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// From the receiver's word that it begins to its word that it has everything.
    pub(crate) elapsed: Duration,
    /// Messages that arrived, or round trips that came back.
    pub(crate) messages: u64,
    /// Messages that never arrived, or asks that failed.
    pub(crate) lost: u64,
    /// Messages whose bytes were wrong.
    pub(crate) corrupt: u64,
    /// CPU time and allocations of both processes.
    pub(crate) cost: Cost,
    /// Latencies: round trips from the actual send, or sampled one-way times.
    pub(crate) latency: Option<Recorded>,
    /// Latencies from the intended send time.
    pub(crate) latency_from_schedule: Option<Recorded>,
    /// What only the engine can tell.
    pub(crate) engine: Option<EngineFacts>,
    /// What only pub-sub can tell.
    pub(crate) crowd: Option<CrowdFacts>,
}
