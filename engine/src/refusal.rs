//! Why a send was refused, before its caller is told.

use ringmesh_proto::quarantine::By;

use crate::error::{AskError, AskPhase, SendError};

/// Why a send was refused, before the message is put back into the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoRoom,
    /// The recipient has no room; others may.
    Busy,
    TooLarge {
        bytes: usize,
        limit: usize,
    },
    /// Too large for the ordinary lane, and not for the large one.
    ForLargeLane {
        bytes: usize,
        limit: usize,
    },
    Unreachable,
    /// The recipient's process start is quarantined, or has quarantined this node.
    Quarantined(By),
    NotRunning,
    OtherCore,
    /// A local message is for an actor of another node.
    NotLocal,
    TooManyTypes,
    Encode,
    Stopping,
}

impl<M> SendError<M> {
    pub(crate) fn new(refusal: Refusal, message: M) -> Self {
        match refusal {
            Refusal::NoRoom | Refusal::Busy => Self::Full(message),
            Refusal::TooLarge { bytes, limit } | Refusal::ForLargeLane { bytes, limit } => {
                Self::TooLarge {
                    message,
                    bytes,
                    limit,
                }
            }
            Refusal::Unreachable => Self::Unreachable(message),
            Refusal::Quarantined(by) => Self::Quarantined {
                message,
                by_peer: by == By::Peer,
            },
            Refusal::NotRunning => Self::NotRunning(message),
            Refusal::OtherCore => Self::OtherCore(message),
            Refusal::NotLocal => Self::NotLocal(message),
            Refusal::TooManyTypes => Self::TooManyTypes(message),
            Refusal::Encode => Self::Encode(message),
            Refusal::Stopping => Self::Stopping(message),
        }
    }
}

impl AskError {
    pub(crate) fn new(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoRoom | Refusal::Busy | Refusal::Unreachable => Self::Unreachable {
                phase: AskPhase::Queued,
            },
            Refusal::Quarantined(by) => Self::Quarantined {
                by_peer: by == By::Peer,
            },
            Refusal::TooLarge { bytes, limit } | Refusal::ForLargeLane { bytes, limit } => {
                Self::TooLarge { bytes, limit }
            }
            // No question is local.
            Refusal::NotRunning | Refusal::NotLocal => Self::NotRunning,
            Refusal::OtherCore => Self::OtherCore,
            Refusal::TooManyTypes | Refusal::Encode => Self::Encode,
            Refusal::Stopping => Self::Stopping,
        }
    }
}
