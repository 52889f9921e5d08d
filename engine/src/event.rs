//! What happens to the links of a node, its cores, and the nodes it watches, as a user sees it.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::lane::Lane;

use crate::quarantine::Remedy;
use crate::subscription::Reader;

/// The two ends of a link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct LinkEnds {
    /// The core of this node.
    pub core: CoreId,
    /// The node at the other end.
    pub peer: NodeId,
    /// Its core.
    pub peer_core: CoreId,
    /// What it is for.
    pub lane: Lane,
}

/// Something that happened to a link of this node, on the way to one, to one of its cores, or to a
/// node that is watched.
/// A reason is the name under which [`Node::close_reasons`](crate::Node::close_reasons) counts it.
///
/// Events are about links and nodes and never about single messages, so their number does not grow
/// with the traffic. Those of one core come in the order in which they happened; between cores
/// there is none. Links between the cores of a node have no events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// The node listens. Each subscription begins with it.
    #[non_exhaustive]
    Listening {
        /// What peers dial.
        address: Address,
        /// What the listener is bound to.
        bound: SocketAddr,
    },
    /// Something is sent to a process start that there is no link with: it waits while the peer is
    /// dialled. Always comes, and [`Associated`](Self::Associated) or [`Lost`](Self::Lost) follows.
    #[non_exhaustive]
    Forming {
        /// The link that is to be.
        link: LinkEnds,
    },
    /// A link is up. Always comes, before anything is received on the link.
    #[non_exhaustive]
    Associated {
        /// The link.
        link: LinkEnds,
        /// Whether this node dialled.
        dialled: bool,
    },
    /// A link has no connection any more, or got none. Always comes: with `over` once for each link
    /// that was [`Associated`](Self::Associated) or [`Forming`](Self::Forming), unless the node
    /// itself ends before; without it, [`Resumed`](Self::Resumed) or the end follows.
    #[non_exhaustive]
    Lost {
        /// The link.
        link: LinkEnds,
        /// Why.
        reason: &'static str,
        /// Whether the link is over. Otherwise it waits for another connection, with all that is
        /// on its way.
        over: bool,
    },
    /// A link is idle and has given its connection up, with nothing on its way. Always comes;
    /// [`Resumed`](Self::Resumed) or, with `over`, [`Lost`](Self::Lost) follows, however late.
    #[non_exhaustive]
    Rested {
        /// The link.
        link: LinkEnds,
    },
    /// A link that waited, or rested, has another connection and goes on with the byte where it was
    /// left. Always comes, before anything more is received on the link.
    #[non_exhaustive]
    Resumed {
        /// The link.
        link: LinkEnds,
    },
    /// Another start of a peer's process answers at its address: nothing of the former comes back.
    /// Each core of this node that had a link to the former says it, when it meets the new one.
    #[non_exhaustive]
    Restarted {
        /// The core of this node.
        core: CoreId,
        /// The peer's address.
        address: Address,
        /// The start that was known.
        old: Uid,
        /// The start that answers.
        new: Uid,
    },
    /// A core of this node forgot one of a peer, which had no link, for another peer that needed
    /// its place: it knows as many as `node.peers_max` allows. Always comes.
    #[non_exhaustive]
    Forgotten {
        /// The core of this node.
        core: CoreId,
        /// The peer's address.
        address: Address,
        /// Its core.
        peer_core: CoreId,
    },
    /// Somebody was refused. When a peer refuses this node, it comes for each dial that fails for
    /// it. When this node refuses somebody it comes as often as that is logged: a few times a
    /// second at most, and not for what is no fault.
    #[non_exhaustive]
    Refused {
        /// The core of this node.
        core: CoreId,
        /// The peer that refuses; `None` when this node does.
        by: Option<Address>,
        /// Why.
        reason: &'static str,
    },
    /// A peer takes nothing over of what was sent to it, for half of `grant_timeout` so far. Comes
    /// once for each standstill; the link ends if it goes on.
    #[non_exhaustive]
    Stalled {
        /// The link.
        link: LinkEnds,
        /// Bytes that wait for it.
        in_flight_bytes: u64,
    },
    /// Something was longer than its lane takes. Always comes of a frame of the peer, and
    /// [`Lost`](Self::Lost) follows; of messages of this node, which their senders get back, at
    /// most once for a link.
    #[non_exhaustive]
    Oversize {
        /// The link.
        link: LinkEnds,
        /// Whether it came from the peer.
        received: bool,
    },
    /// Messages went with their link: dead letters of this node, or messages that had come and
    /// were not read. Always comes, once for each way a link lost any.
    #[non_exhaustive]
    Dropped {
        /// The link.
        link: LinkEnds,
        /// How many.
        messages: u64,
        /// Whether they had come from the peer.
        received: bool,
    },
    /// This node has [quarantined](crate::Node::quarantine) a process start. Always comes.
    #[non_exhaustive]
    Quarantined {
        /// The core of this node that was asked to.
        core: CoreId,
        /// The process start.
        node: NodeId,
        /// Why, in the words of whoever asked.
        cause: Box<str>,
        /// What ends it.
        remedy: Remedy,
    },
    /// A peer says that it has quarantined this node. Nothing is sent there any more, and the peer
    /// is not quarantined in return. Comes with the first word of it, and with the next one after
    /// there was a link again.
    #[non_exhaustive]
    QuarantinedByPeer {
        /// The core of this node that was told.
        core: CoreId,
        /// The process start that says so.
        node: NodeId,
        /// What ends it.
        remedy: Remedy,
    },
    /// A node counts as gone, of which something was [watched](crate::Cx::watch) from here: all
    /// those watches are over. Always comes, once for each time; not for a node that said goodbye,
    /// was restarted or quarantined, whose end its links tell.
    #[non_exhaustive]
    NodeLost {
        /// The core of this node that noticed.
        core: CoreId,
        /// The process start.
        node: NodeId,
        /// What was noticed.
        why: NodeLoss,
    },
    /// A node was not gone that was [lost](Self::NodeLost): there is a control link with that
    /// process start again. Its watches are over all the same. Comes of the last 256 that were
    /// lost.
    #[non_exhaustive]
    NodeFound {
        /// The core of this node that noticed.
        core: CoreId,
        /// The process start.
        node: NodeId,
    },
    /// A core of this node has not turned for a second or more: user code holds it, or another
    /// program its CPU. Nothing on it goes on meanwhile, no link, timer or answer. Comes once for
    /// each time, within about two seconds, and [`CoreTurns`](Self::CoreTurns) follows if it goes
    /// on. Of the control core, at which no other looks, it comes when it goes on.
    #[non_exhaustive]
    CoreStalled {
        /// The core.
        core: CoreId,
        /// For how long it was seen in one turn.
        span: Duration,
    },
    /// A core that [did not turn](Self::CoreStalled) goes on.
    #[non_exhaustive]
    CoreTurns {
        /// The core.
        core: CoreId,
        /// How long that turn was.
        span: Duration,
    },
}

/// Why a node counts as gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodeLoss {
    /// Its answers to heartbeats stay out for too long: it is gone, stands still, or cannot be
    /// reached.
    Silent,
    /// Its host refuses a dial after its connections broke: nobody is there any more.
    Crashed,
}

impl NodeLoss {
    /// A stable name for logs and streams.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Crashed => "crashed",
        }
    }
}

impl NodeEvent {
    /// A stable name for logs and streams.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Listening { .. } => "listening",
            Self::Forming { .. } => "forming",
            Self::Associated { .. } => "associated",
            Self::Lost { .. } => "lost",
            Self::Rested { .. } => "rested",
            Self::Resumed { .. } => "resumed",
            Self::Restarted { .. } => "restarted",
            Self::Forgotten { .. } => "forgotten",
            Self::Refused { .. } => "refused",
            Self::Stalled { .. } => "stalled",
            Self::Oversize { .. } => "oversize",
            Self::Dropped { .. } => "dropped",
            Self::Quarantined { .. } => "quarantined",
            Self::QuarantinedByPeer { .. } => "quarantined_by_peer",
            Self::NodeLost { .. } => "node_lost",
            Self::NodeFound { .. } => "node_found",
            Self::CoreStalled { .. } => "core_stalled",
            Self::CoreTurns { .. } => "core_turns",
        }
    }

    /// The link it is about, if it is about one.
    pub const fn link(&self) -> Option<&LinkEnds> {
        match self {
            Self::Forming { link }
            | Self::Associated { link, .. }
            | Self::Lost { link, .. }
            | Self::Rested { link }
            | Self::Resumed { link }
            | Self::Stalled { link, .. }
            | Self::Oversize { link, .. }
            | Self::Dropped { link, .. } => Some(link),
            Self::Listening { .. }
            | Self::Restarted { .. }
            | Self::Forgotten { .. }
            | Self::Refused { .. }
            | Self::Quarantined { .. }
            | Self::QuarantinedByPeer { .. }
            | Self::NodeLost { .. }
            | Self::NodeFound { .. }
            | Self::CoreStalled { .. }
            | Self::CoreTurns { .. } => None,
        }
    }
}

impl fmt::Display for NodeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())?;
        if let Some(LinkEnds { peer, .. }) = self.link() {
            write!(f, " {peer}")?;
        }
        Ok(())
    }
}

/// A subscription to the events of all cores of a node. See [`Node::events`](crate::Node::events).
///
/// It may be read on any thread. The node keeps the last 1024 events for all subscriptions
/// together; one that is slower misses the oldest, and [`missed`](Self::missed) counts them.
#[derive(Debug)]
pub struct Events {
    reader: Reader<NodeEvent>,
    /// What it begins with.
    first: Option<NodeEvent>,
}

impl Events {
    pub(crate) fn new(reader: Reader<NodeEvent>, first: Option<NodeEvent>) -> Self {
        Self { reader, first }
    }

    /// The next event; waits for it. `None` once the node has ended and all its events are read.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        match self.first.take() {
            Some(first) => Some(first),
            None => self.reader.next().await,
        }
    }

    /// The next event, if there is one now.
    pub fn try_next(&mut self) -> Option<NodeEvent> {
        self.first.take().or_else(|| self.reader.try_next())
    }

    /// How many events were dropped before this subscription read them.
    pub fn missed(&self) -> u64 {
        self.reader.missed()
    }
}
