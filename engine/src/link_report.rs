//! What a user sees of a link.

use std::time::Duration;

use ringmesh_proto::address::{Address, CoreId, Uid};
use ringmesh_proto::lane::Lane;

/// How a link is, or the dial that is to become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkState {
    /// A dial or its handshake is under way.
    Dialling,
    /// The next dial waits.
    BackOff,
    /// It carries messages.
    Up,
    /// A hello of its peer came in another connection, and it is probed.
    Doubted,
    /// Its peer takes nothing over of what was sent, for half of `grant_timeout` or longer.
    Stalled,
    /// It has no connection, and waits for another one to go on.
    Lost,
    /// It is idle, and has no connection until either side sends.
    Resting,
    /// This node, or its peer, is stopping.
    Ending,
}

impl LinkState {
    /// A stable name.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Dialling => "dialling",
            Self::BackOff => "back_off",
            Self::Up => "up",
            Self::Doubted => "doubted",
            Self::Stalled => "stalled",
            Self::Lost => "lost",
            Self::Resting => "resting",
            Self::Ending => "ending",
        }
    }
}

/// One link as it was when [`Node::links`](crate::Node::links) asked its core.
///
/// Counts are of this link alone, from its beginning; those of a core outlive it in its
/// [`Counters`](crate::Counters).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkReport {
    /// The core of this node.
    pub core: CoreId,
    /// The node at the other end.
    pub peer: Address,
    /// Its process start. `None` without a link.
    pub peer_uid: Option<Uid>,
    /// Its core.
    pub peer_core: CoreId,
    /// What it is for.
    pub lane: Lane,
    /// Whether it is of a client, which reaches what is registered for those and nothing else.
    pub client: bool,
    /// What carries it: `tcp`, `memory`, or what a transport of the user's calls itself. `None`
    /// without a connection.
    pub transport: Option<&'static str>,
    /// How it is.
    pub state: LinkState,
    /// How long it has been up. `None` without a link.
    pub age: Option<Duration>,
    /// How often the two cores found each other again, by a link resumed or a new one, as long as
    /// this one has known the other.
    pub reconnects: u64,
    /// Bytes of its stream given to the system.
    pub bytes_sent: u64,
    /// Bytes of the peer's stream received.
    pub bytes_received: u64,
    /// Messages accepted for sending.
    pub messages_sent: u64,
    /// Messages received. They are counted in batches: one whose handler runs may not be.
    pub messages_received: u64,
    /// Bytes accepted for sending that the peer has not taken over.
    pub in_flight_bytes: u64,
    /// The most that may be in flight.
    pub window_bytes: u32,
    /// Bytes that may be sent now.
    pub credit_bytes: u64,
    /// The smoothed time of a round trip (RFC 6298), from core to core and back. Measured by the
    /// looks before this one, each of which sends a ping: `None` at the first.
    pub round_trip: Option<Duration>,
    /// How much that varies.
    pub round_trip_variation: Option<Duration>,
    /// Recipients at the other end that have no room at the moment.
    pub busy_recipients: usize,
}
