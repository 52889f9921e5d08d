//! Why an actor was not spawned elsewhere.

use std::time::Duration;

use ringmesh_proto::address::{Address, CoreId};

use crate::error::{SpawnError, parted};
use crate::watch::WatchError;

/// Why `spawn_at` gave no ref. Nothing of the actor is left in the end, also where it may have been
/// made: it is stopped then, as soon as its node hears of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnAtError {
    /// This node refuses: the name is taken, the parent ends, or there is no room.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The actor's factory said that it cannot make it, or panicked, or its `started` did. Of what
    /// another node says there are 1024 bytes at most.
    #[error("the actor did not start: {0}")]
    Start(String),
    /// The node has no factory of that key: register it there with
    /// [`spawnable`](crate::NodeBuilder::spawnable).
    #[error("the node at {node} has no factory `{key}`")]
    UnknownFactory {
        /// The node.
        node: Address,
        /// The key.
        key: &'static str,
    },
    /// The settings of the node do not allow it: see `spawn.allow` of the
    /// [`Settings`](crate::Settings); or one of the two nodes is a client: see `node.role`.
    #[error("the node at {node} does not let others spawn `{key}`")]
    NotAllowed {
        /// The node.
        node: Address,
        /// The key.
        key: &'static str,
    },
    /// The factory there takes arguments of another type, or of another layout in that version.
    #[error("the factory `{key}` takes other arguments")]
    OtherArguments {
        /// The key.
        key: &'static str,
    },
    /// The program there is newer, and its factory [reads](crate::Upgrade) that version of its
    /// arguments no more: bring this program up to date.
    #[error(
        "the factory `{key}` of the node at {node} takes newer versions of its arguments alone"
    )]
    ArgumentsTooOld {
        /// The node.
        node: Address,
        /// The key.
        key: &'static str,
    },
    /// The program there is older, and its factory does not know that version of its arguments
    /// yet: those that read a version come one release before those that spawn by it.
    #[error(
        "the factory `{key}` of the node at {node} takes older versions of its arguments alone"
    )]
    ArgumentsTooNew {
        /// The node.
        node: Address,
        /// The key.
        key: &'static str,
    },
    /// The arguments are not a valid archive. They were refused and counted; the link lives.
    #[error("the arguments of `{key}` are not valid")]
    InvalidArguments {
        /// The key.
        key: &'static str,
    },
    /// The arguments could not be archived.
    #[error("the arguments of `{key}` could not be encoded")]
    Encode {
        /// The key.
        key: &'static str,
    },
    /// The arguments are larger than a frame may be, wherever the actor is to live.
    #[error("the arguments have {bytes} bytes, a frame takes {limit}")]
    TooLarge {
        /// The size of their archive.
        bytes: usize,
        /// `link.frame_bytes_max`.
        limit: usize,
    },
    /// The node there, or what is between, has no room for it: try later, or elsewhere.
    #[error("there is no room for it: {reason}")]
    NoRoom {
        /// What is full.
        reason: String,
    },
    /// The node has no core of that number.
    #[error("the node at {node} has no core {core}")]
    NoSuchCore {
        /// The node.
        node: Address,
        /// The core that the placement names.
        core: CoreId,
    },
    /// The node keeps that core for itself, by `core.reserve_control_core` of its settings: name
    /// another one, or none.
    #[error("the node at {node} has reserved its core {core}: name another one, or none")]
    CoreReserved {
        /// The node.
        node: Address,
        /// The core that the placement names.
        core: CoreId,
    },
    /// The program there is older, and knows nothing of this.
    #[error("the node at {node} cannot be asked to spawn: its program is older")]
    TooOld {
        /// The node.
        node: Address,
    },
    /// There was no link to the node in time, or it ended.
    #[error("the node at {node} cannot be reached: {reason}")]
    Unreachable {
        /// The node.
        node: Address,
        /// The last thing that went wrong on the way.
        reason: String,
    },
    /// The process start that runs there is [quarantined](crate::Node::quarantine), or has
    /// quarantined this node. It was dialled to find that out.
    #[error("the node at {node} {}", parted(*by_peer))]
    Quarantined {
        /// The node.
        node: Address,
        /// It is this node that is quarantined, by that one.
        by_peer: bool,
    },
    /// The deadline passed with the answer still owed.
    #[error("no answer within {after:?}")]
    TimedOut {
        /// The deadline.
        after: Duration,
    },
}

impl SpawnAtError {
    /// What cannot be watched cannot be spawned elsewhere.
    pub(super) fn of_watch(error: WatchError) -> Self {
        match error {
            WatchError::Stopping => SpawnError::ParentEnding.into(),
            error => Self::NoRoom {
                reason: error.to_string(),
            },
        }
    }
}
