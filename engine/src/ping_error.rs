//! Why a ping has no answer.

use std::time::Duration;

use crate::error::parted;

/// Why a node was not [pinged](crate::Node::ping).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// No answer in time.
    #[error("no answer within {after:?}: {last}")]
    Timeout {
        /// How long it was tried.
        after: Duration,
        /// The last thing that went wrong on the way.
        last: String,
    },
    /// The node refuses this one, and trying again will not help; or one of the two is a client.
    #[error("refused: {reason}")]
    Refused {
        /// The reason the peer gave.
        reason: String,
    },
    /// The process start that runs there is [quarantined](crate::Node::quarantine), or has
    /// quarantined this node.
    #[error("the node {}", parted(*by_peer))]
    Quarantined {
        /// It is this node that is quarantined, by that one.
        by_peer: bool,
    },
    /// As many pings wait as the limit allows.
    #[error("{limit} pings wait already")]
    TooManyPings {
        /// The limit.
        limit: usize,
    },
    /// As many peers are known as the limit allows.
    #[error("already {limit} peers are known")]
    TooManyPeers {
        /// The limit.
        limit: usize,
    },
    /// This node is stopping.
    #[error("this node is stopping")]
    Stopping,
}
