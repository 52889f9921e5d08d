//! What is pushed on a link, and what becomes of it.

use super::Outbound;
use super::write::Draft;
use crate::address::Uid;
use crate::frame::Extension;
use crate::frame::body::{DefineTarget, DefineType, System};
use crate::kind::Kind;
use crate::limits::HEADER_BYTES;
use crate::link::Target;
use crate::message::MessageType;
#[cfg(doc)]
use crate::piece::Piece;
use crate::piece::SharedBytes;
use crate::slab_pool::SlabPool;

/// A message for a recipient.
#[derive(Clone, Copy, Debug)]
pub enum SendHead<'a> {
    /// It wants no answer.
    Tell {
        /// The message's type.
        message: &'a MessageType,
        /// Its recipient.
        target: Target,
    },
    /// It wants no answer, and is told for another node, which its recipient is to take for its
    /// sender. On a link within this process alone: what comes from another one says of nobody but
    /// its own sender.
    TellFor {
        /// The message's type.
        message: &'a MessageType,
        /// Its recipient.
        target: Target,
        /// The node.
        sender: Uid,
    },
    /// It wants an answer.
    Ask {
        /// The message's type.
        message: &'a MessageType,
        /// Its recipient.
        target: Target,
        /// The asker's correlation and what is left of its deadline.
        extension: Extension,
    },
}

impl<B: SharedBytes> Outbound<B> {
    /// Writes a message whose payload stays where it is: it is handed out as a [`Piece`] of its own
    /// and kept until the peer has it. Otherwise as [`push`](Self::push).
    ///
    /// A link within this process copies the payload: its frames go to other threads.
    ///
    /// # Errors
    /// [`PushError`]; nothing changed.
    pub fn push_shared(
        &mut self,
        slabs: &mut SlabPool,
        head: SendHead<'_>,
        payload: &B,
    ) -> Result<u64, PushError> {
        if !self.deferred.is_empty() && !self.drain_deferred(slabs) {
            return Err(PushError::NoCredit);
        }
        self.write_shared(slabs, Draft::of(head), payload)
    }

    /// Whether a tell with a payload of so many bytes would find room, memory aside: it may be
    /// refused though a few bytes are left, and is not if this says so.
    ///
    /// # Errors
    /// What a push would say.
    pub fn room_for(&mut self, target: Target, payload_bytes: usize) -> Result<(), PushError> {
        if !self.deferred.is_empty() {
            return Err(PushError::NoCredit);
        }
        let found = self.targets.find(target);
        if self.targets.is_busy(found) {
            return Err(PushError::TargetBusy);
        }
        let lead = DefineType::FRAME_BYTES + DefineTarget::FRAME_BYTES + HEADER_BYTES;
        self.admit(0, lead, payload_bytes)
    }

    /// Writes what this node tells its peer, behind everything pushed before, and returns the
    /// position of its frame. On the control lane.
    ///
    /// # Errors
    /// [`PushError`]; nothing changed.
    pub fn push_system(&mut self, slabs: &mut SlabPool, system: &System) -> Result<u64, PushError> {
        let mut body = [0; System::BODY_BYTES_MAX];
        let bytes = system.write(&mut body);
        self.write(slabs, Draft::of_node(Kind::System), &body[..bytes])
    }

    /// Writes what a member tells another of their cluster, as [`push_system`](Self::push_system).
    ///
    /// # Errors
    /// [`PushError`]; nothing changed.
    pub fn push_cluster(&mut self, slabs: &mut SlabPool, body: &[u8]) -> Result<u64, PushError> {
        self.write(slabs, Draft::of_node(Kind::Cluster), body)
    }

    /// Writes the answer to an ask as [`push_shared`](Self::push_shared) does a message. One that
    /// has to wait is copied; otherwise as [`push_reply`](Self::push_reply).
    ///
    /// # Errors
    /// As [`push_reply`](Self::push_reply).
    pub fn push_reply_shared(
        &mut self,
        slabs: &mut SlabPool,
        message: &MessageType,
        extension: Extension,
        payload: &B,
    ) -> Result<Answered, PushError> {
        if self.deferred.is_empty() || self.drain_deferred(slabs) {
            let draft = Draft::reply(message, extension);
            match self.write_shared(slabs, draft, payload) {
                Ok(_) => return Ok(Answered::Written),
                Err(PushError::NoCredit | PushError::NoMemory) => {}
                Err(error) => return Err(error),
            }
        }
        self.defer_reply(message, extension, &payload[..])
    }
}

/// Why a frame was not taken. Nothing changed: the same push may succeed later, where the variant
/// does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The peer has not granted enough. A grant will change that.
    #[error("the peer has not granted enough credit")]
    NoCredit,
    /// The recipient has no room. It will say when it has.
    #[error("the recipient has no room")]
    TargetBusy,
    /// The pool has no slab. It will, when other links' frames are acknowledged.
    #[error("no memory is left for outgoing messages")]
    NoMemory,
    /// The body is longer than the peer takes. It never will.
    #[error("a body of {bytes} bytes is longer than the {limit} the lane takes")]
    TooLarge {
        /// The length of the body: the payload, and the extension if there is one.
        bytes: usize,
        /// The longest body allowed.
        limit: usize,
    },
    /// The link has numbered as many types as it can. Those it has go on.
    #[error("the link cannot number another message type")]
    TypesExhausted,
    /// The payload could not be encoded. It never will.
    #[error("the message could not be encoded")]
    Encode,
    /// More answers wait than the peer may have asks outstanding: it broke the rules.
    #[error("more answers wait than asks may be outstanding")]
    TooManyAnswers,
    /// It is told for another node than this one, and leaves the process. It never will.
    #[error("a message is told for another node within a process alone")]
    ForAnother,
    /// The goodbye was said. Nothing follows it.
    #[error("the link is ending")]
    Ending,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an answer that was replaced is to be counted"]
pub enum Answered {
    /// It is in the stream.
    Written,
    /// It waits for credit or memory and leaves before anything pushed later.
    Deferred,
    /// Too many bytes wait already: the asker will get the error `Overloaded` in its place.
    Overloaded,
}
