//! What happened in a step, for the invariants to judge.

use ringmesh_proto::address::Uid;
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::time::Instant;

/// One half of a link, numbered through all of a world. A link that goes on over another connection
/// keeps its number; the next link has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HalfId(pub u64);

/// Where a message lies in the stream of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The half that sends it, or that receives it.
    pub half: HalfId,
    /// Where its frame begins.
    pub start: u64,
    /// Where its frame ends.
    pub end: u64,
    /// What it says, as a number.
    pub digest: u64,
}

/// Something that happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// A process began.
    Started {
        /// Its node.
        node: usize,
        /// Its uid.
        uid: Uid,
    },
    /// A process ended.
    Ended {
        /// Its node.
        node: usize,
        /// Its uid.
        uid: Uid,
    },
    /// A new link: its half at a node.
    LinkUp {
        /// The node.
        node: usize,
        /// Its uid.
        uid: Uid,
        /// The half.
        half: HalfId,
        /// The process start that it leads to.
        peer: Uid,
    },
    /// A link goes over a connection from now on, new or not.
    Carried {
        /// The half.
        half: HalfId,
        /// The end of the connection.
        conn: ConnKey,
    },
    /// The half of a link is over.
    LinkDown {
        /// The half.
        half: HalfId,
        /// The position up to which its peer had acknowledged.
        acknowledged: u64,
        /// How many messages were given up with it.
        given_up: u64,
    },
    /// A link took a message.
    Sent(Place),
    /// A link had not taken a message.
    NotSent {
        /// The node that wanted it sent.
        node: usize,
    },
    /// A message was brought to the machine of a node.
    Delivered {
        /// The node.
        node: usize,
        /// Its uid.
        uid: Uid,
        /// The process start that sent it, as the link says.
        from: Uid,
        /// Where it lies.
        place: Place,
        /// The end of the connection that brought it.
        conn: ConnKey,
    },
    /// The time of a machine was up, and it was told.
    TimedOut {
        /// The node.
        node: usize,
        /// What the machine was told.
        now: Instant,
        /// What it says is due next.
        next: Option<Instant>,
    },
    /// A machine wanted so much done in one call.
    Acted {
        /// The node.
        node: usize,
        /// How much.
        acts: usize,
    },
    /// The store gave a lease out anew.
    Granted {
        /// Which of its [`grants`](crate::Store::grants) that was.
        number: usize,
    },
    /// A core learned of a version of the topology.
    Topology {
        /// The node.
        node: usize,
        /// The core.
        core: usize,
        /// The version.
        version: u64,
    },
}
