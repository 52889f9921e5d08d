//! Quarantine: a process start that a node has nothing to do with any more.

use std::fmt;

use ringmesh_proto::address::Uid;

/// Why a process start was not [quarantined](crate::Node::quarantine). Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuarantineError {
    /// It is this node.
    #[error("a node does not quarantine itself")]
    Itself,
    /// This node knows no node at that address.
    #[error("no node at that address is known here")]
    Unknown,
    /// Another start of the process was met at that address.
    #[error("the process start that was met at that address is {known}")]
    OtherStart {
        /// The one that was met.
        known: Uid,
    },
}

/// What ends a quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remedy {
    /// Restart the process of the node that is quarantined: its next start is let in at once.
    RestartPeer,
    /// Restart the process of this node, which is the one that is quarantined.
    RestartThisNode,
}

impl Remedy {
    /// The same in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::RestartPeer => {
                "restart the process of the node: its next start is let in at once"
            }
            Self::RestartThisNode => "restart the process of this node: its next start is let in",
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
