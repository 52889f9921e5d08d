//! The bodies of the frames that the engine itself sends.
//!
//! Each type is one frame: `encode` writes it whole, `parse` reads the payload of a frame of its
//! kind. Reading is strict: a body is exactly what it should be, trailing bytes are an error.

mod handshake;
mod service;
mod system;

pub use handshake::{Accept, Hello, Offer, Refuse, RefuseReason};
pub(crate) use service::CONTROL_FRAME_BYTES_MAX;
pub use service::{
    Bye, ByeReason, DefineTarget, DefineType, ErrorCode, Grant, Notice, Ping, Pong, Rest,
};
pub use system::{System, Watch, WatchEnd};

use crate::reader::Truncated;

/// Why the body of a frame is not what its kind says. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It ends too early, or too late.
    #[error("the body of a frame is too short or too long")]
    Length,
    /// A text in it is not UTF-8, or longer than it may be.
    #[error("a text in the body of a frame is not valid")]
    Text,
    /// An address in it is not one, or not in its one spelling.
    #[error("an address in the body of a frame is not valid")]
    Address,
    /// A uid in it is zero.
    #[error("a uid in the body of a frame is zero")]
    Uid,
    /// It says what this version does not know.
    #[error("the body of a frame says what is not known here")]
    Unknown,
}

impl BodyError {
    /// A stable name for counters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Length => "body_length",
            Self::Text => "body_text",
            Self::Address => "body_address",
            Self::Uid => "body_uid",
            Self::Unknown => "body_unknown",
        }
    }
}

impl From<Truncated> for BodyError {
    fn from(Truncated: Truncated) -> Self {
        Self::Length
    }
}
