//! Links: a two-way logical byte stream between one core of each of two nodes.
//!
//! Each frame that occupies positions lies at an implicit one: the bytes of such frames before it.
//! The receiver answers with absolute positions, up to where it took over and up to where the
//! sender may go on, so the same numbers are credit, acknowledgement and the bounds of what is
//! retained.
//!
//! [`Outbound`] is the sending half, [`Inbound`] the receiving half. Neither knows the other: their
//! driver hands the grants of one node's [`Inbound`] to the [`Outbound`] at the other end.

mod control;
mod deferred;
mod inbound;
mod numbers;
mod outbound;
mod payload;

pub use inbound::{Defined, Inbound};
pub use outbound::{
    Answered, Freed, NotHere, Outbound, Positions, PushError, SendHead, Unacknowledged,
};
pub use payload::{Measured, Payload};

/// A recipient as it is known on the wire: its slot, and which of the slot's successive owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The slot in the core's table of actors.
    pub slot: u32,
    /// Which owner of the slot; compared whole, so an old ref never reaches a new actor.
    pub generation: u64,
}

/// How a peer broke the rules of a link. Its connection is closed and the link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A frame reaches past the limit that was granted.
    #[error("a frame ends at position {end}, granted was {limit}")]
    BeyondLimit {
        /// Where the frame ends.
        end: u64,
        /// The limit.
        limit: u64,
    },
    /// A grant claims bytes that were not sent.
    #[error("a grant claims position {received_to}, sent was up to {sent}")]
    AckBeyondSent {
        /// The position claimed.
        received_to: u64,
        /// The position sent.
        sent: u64,
    },
    /// A peer that comes back claims to have received what it cannot have, or less than before.
    #[error("the stream cannot go on at {received_to}: {first} to {last} was sent")]
    Position {
        /// The position claimed.
        received_to: u64,
        /// The position that the peer acknowledged.
        first: u64,
        /// The position sent.
        last: u64,
    },
    /// A type number was defined out of turn.
    #[error("type number {0} was defined out of turn")]
    TypeOutOfTurn(u16),
    /// A target number was defined out of turn.
    #[error("target number {0} was defined out of turn")]
    TargetOutOfTurn(u32),
    /// A message has a type number that was not defined.
    #[error("type number {0} is not defined")]
    UndefinedType(u16),
    /// A message has a target number that was not defined.
    #[error("target number {0} is not defined")]
    UndefinedTarget(u32),
}

impl Violation {
    /// A stable name for counters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::BeyondLimit { .. } => "link_beyond_limit",
            Self::AckBeyondSent { .. } => "link_ack_beyond_sent",
            Self::Position { .. } => "link_position",
            Self::TypeOutOfTurn(_) => "link_type_out_of_turn",
            Self::TargetOutOfTurn(_) => "link_target_out_of_turn",
            Self::UndefinedType(_) => "link_undefined_type",
            Self::UndefinedTarget(_) => "link_undefined_target",
        }
    }
}

#[cfg(test)]
mod tests;
