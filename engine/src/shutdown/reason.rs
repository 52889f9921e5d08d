//! Why a node shuts down.

use std::fmt;

use ringmesh_cluster::effect::StopReason;

/// Why a node shuts down. The first reason stays, whatever comes while it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShutdownReason {
    /// The program said so: [`Node::shutdown`](crate::Node::shutdown).
    Asked,
    /// SIGTERM or SIGINT.
    Signal,
    /// It leaves its cluster, by its own word or by that of another member.
    Leaving,
    /// It was given up by the other members, or by itself, or was removed and did not know.
    Downed,
    /// It could not join: another process answers at its address.
    JoinFailed,
    /// It could not join: its configuration differs from the cluster's where it must not.
    Incompatible,
}

impl ShutdownReason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Asked,
        Self::Signal,
        Self::Leaving,
        Self::Downed,
        Self::JoinFailed,
        Self::Incompatible,
    ];

    /// The word for it in settings, events and texts.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Signal => "signal",
            Self::Leaving => "leaving",
            Self::Downed => "downed",
            Self::JoinFailed => "join-failed",
            Self::Incompatible => "incompatible",
        }
    }

    /// The exit code of a program that is nothing but a node, unless
    /// [`ShutdownSettings::exit_codes`](super::ShutdownSettings::exit_codes) say another.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Asked | Self::Signal | Self::Leaving => 0,
            Self::Downed => 3,
            Self::JoinFailed | Self::Incompatible => 4,
        }
    }

    /// What the end of a membership is as a reason.
    pub(crate) fn of_end(end: &StopReason) -> Self {
        match end {
            StopReason::Left => Self::Leaving,
            StopReason::AddressInUse => Self::JoinFailed,
            StopReason::Incompatible { .. } => Self::Incompatible,
            // Whatever other end there is, the node is not wanted any more.
            _ => Self::Downed,
        }
    }
}

impl fmt::Display for ShutdownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
