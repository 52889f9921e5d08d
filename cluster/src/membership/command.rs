//! What the user of a node asks of its membership.

use ringmesh_proto::address::Address;

use super::settings::SettingsError;
use super::status::Status;
use super::version::AppVersion;

/// What the user of a node asks of its membership.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Join the cluster that one of these is in. If there is none, the first of them founds it:
    /// only a node that is that one itself, or is given none, ever does.
    Join {
        /// The seeds, the same on all nodes and in the same order.
        seeds: Vec<Address>,
    },
    /// Found a cluster now, whatever is remembered and whoever is waited for.
    Found,
    /// Have a member leave in good order: this node, unless another is named.
    Leave {
        /// Where it is.
        address: Option<Address>,
    },
    /// Give a member up.
    Down {
        /// Where it is.
        address: Address,
    },
    /// All work of this node has ended, so it may be removed. The answer to its being exiting.
    Exited,
    /// Have the whole cluster be ready to be shut down: nobody joins or becomes up any more.
    PrepareForFullShutdown,
    /// The version of the program on this node. Only before it joins, which it does now if that
    /// [was postponed](super::machine::Membership::postpone).
    SetAppVersion(AppVersion),
}

/// Why a command has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// This node joins, or is a member: a process start does that once.
    #[error("this node has joined already")]
    AlreadyJoined,
    /// This node is no member.
    #[error("this node is in no cluster")]
    NotMember,
    /// Nobody is there.
    #[error("no member is at {address}")]
    NoSuchMember {
        /// Where.
        address: Address,
    },
    /// The member is where that cannot be asked of it any more.
    #[error("the member is {status} already")]
    TooLate {
        /// Where it is in its life.
        status: Status,
    },
    /// This node has ended its part in the cluster. A new process start may join.
    #[error("this node has ended its part in the cluster")]
    Ended,
    /// The version of the program on this node is to be set first.
    #[error("the version of the program is not set yet")]
    NoVersion,
    /// The seeds cannot be.
    #[error(transparent)]
    Seeds(#[from] SettingsError),
}
