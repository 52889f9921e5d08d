//! What the two halves of a link tell each other.

use super::BodyError;
use crate::frame::{Frame, Head, encode, seal, stage};
use crate::kind::Kind;
use crate::limits::HEADER_BYTES;
use crate::link::Target;
use crate::message::{MessageId, MessageType};
use crate::reader::Reader;

/// The longest frame of [`Grant`], [`Ping`], [`Pong`], [`Bye`], [`Rest`] and [`Notice`], in bytes.
pub(crate) const CONTROL_FRAME_BYTES_MAX: usize = HEADER_BYTES + 16;

/// Gives a number to a message type. The numbers of a link are used in order, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefineType {
    /// The number, in the header on the wire.
    pub number: u16,
    /// What it stands for.
    pub message: MessageType,
}

impl DefineType {
    /// The length of the frame, in bytes.
    pub const FRAME_BYTES: usize = HEADER_BYTES + 20;

    /// Writes the frame at the start of `into` and returns its length.
    ///
    /// # Panics
    /// If `into` is shorter than [`FRAME_BYTES`](Self::FRAME_BYTES).
    pub fn encode(&self, into: &mut [u8]) -> usize {
        let frame_bytes = self.stage(into);
        seal(&mut into[..frame_bytes]);
        frame_bytes
    }

    /// The same as [`encode`](Self::encode), with the checksum still missing.
    pub(crate) fn stage(&self, into: &mut [u8]) -> usize {
        let mut body = [0; 20];
        body[..8].copy_from_slice(&self.message.id.as_u64().to_le_bytes());
        body[8..12].copy_from_slice(&self.message.version.to_le_bytes());
        body[12..].copy_from_slice(&self.message.fingerprint.to_le_bytes());
        let head = Head {
            type_number: self.number,
            ..Head::plain(Kind::DefineType)
        };
        stage(into, &head, &body)
    }

    /// Reads a frame of this kind.
    ///
    /// # Errors
    /// [`BodyError`] when the body is not one.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
        let mut reader = Reader::new(frame.payload);
        let message = MessageType {
            id: MessageId::from_u64(reader.u64()?),
            version: reader.u32()?,
            fingerprint: reader.u64()?,
        };
        reader.finish()?;
        Ok(Self {
            number: frame.header.type_number,
            message,
        })
    }
}

/// Gives a number to a recipient. New numbers are used in order, from 1; one in use may be given
/// anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefineTarget {
    /// The number, in the header on the wire.
    pub number: u32,
    /// What it stands for.
    pub target: Target,
}

impl DefineTarget {
    /// The length of the frame, in bytes.
    pub const FRAME_BYTES: usize = HEADER_BYTES + 12;

    /// Writes the frame at the start of `into` and returns its length.
    ///
    /// # Panics
    /// If `into` is shorter than [`FRAME_BYTES`](Self::FRAME_BYTES).
    pub fn encode(&self, into: &mut [u8]) -> usize {
        let frame_bytes = self.stage(into);
        seal(&mut into[..frame_bytes]);
        frame_bytes
    }

    /// The same as [`encode`](Self::encode), with the checksum still missing.
    pub(crate) fn stage(&self, into: &mut [u8]) -> usize {
        let mut body = [0; 12];
        body[..4].copy_from_slice(&self.target.slot.to_le_bytes());
        body[4..].copy_from_slice(&self.target.generation.to_le_bytes());
        let head = Head {
            target_number: self.number,
            ..Head::plain(Kind::DefineTarget)
        };
        stage(into, &head, &body)
    }

    /// Reads a frame of this kind.
    ///
    /// # Errors
    /// [`BodyError`] when the body is not one.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
        let mut reader = Reader::new(frame.payload);
        let target = Target {
            slot: reader.u32()?,
            generation: reader.u64()?,
        };
        reader.finish()?;
        Ok(Self {
            number: frame.header.target_number,
            target,
        })
    }
}

/// How far a receiver is. Both values are absolute positions, so an old or repeated grant does no
/// harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Everything before this position was verified and taken over: the sender may free it.
    pub received_to: u64,
    /// The sender may send up to this position.
    pub limit: u64,
}

impl Grant {
    /// Writes the frame at the start of `into` and returns its length.
    ///
    /// # Panics
    /// If `into` is shorter than the frame, 32 bytes.
    pub fn encode(&self, into: &mut [u8]) -> usize {
        let mut body = [0; 16];
        body[..8].copy_from_slice(&self.received_to.to_le_bytes());
        body[8..].copy_from_slice(&self.limit.to_le_bytes());
        encode(into, &Head::plain(Kind::Grant), &body)
    }

    /// Reads a frame of this kind.
    ///
    /// # Errors
    /// [`BodyError`] when the body is not one.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
        let mut reader = Reader::new(frame.payload);
        let grant = Self {
            received_to: reader.u64()?,
            limit: reader.u64()?,
        };
        reader.finish()?;
        Ok(grant)
    }
}

/// Whether a recipient has room. Sent by its side; the number is the one that the messages to it
/// carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The recipient's number on the link, in the header on the wire.
    pub target_number: u32,
    /// Over its bound (a frame of kind busy), or with room again (ready).
    pub busy: bool,
}

impl Notice {
    /// Writes the frame at the start of `into` and returns its length.
    ///
    /// # Panics
    /// If `into` is shorter than the frame, 16 bytes.
    pub fn encode(&self, into: &mut [u8]) -> usize {
        let kind = if self.busy { Kind::Busy } else { Kind::Ready };
        let head = Head {
            target_number: self.target_number,
            ..Head::plain(kind)
        };
        encode(into, &head, &[])
    }

    /// Reads a frame of kind busy or ready.
    ///
    /// # Errors
    /// [`BodyError`] when the body is not empty.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
        Reader::new(frame.payload).finish()?;
        Ok(Self {
            target_number: frame.header.target_number,
            busy: frame.header.kind == Kind::Busy,
        })
    }
}

macro_rules! nonce_frame {
    ($(#[$docs:meta])* $name:ident) => {
        $(#[$docs])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            /// Chosen by whoever asks, repeated in the answer.
            pub nonce: u64,
        }

        impl $name {
            /// Writes the frame at the start of `into` and returns its length.
            ///
            /// # Panics
            /// If `into` is shorter than the frame, 24 bytes.
            pub fn encode(&self, into: &mut [u8]) -> usize {
                encode(into, &Head::plain(Kind::$name), &self.nonce.to_le_bytes())
            }

            /// Reads a frame of this kind.
            ///
            /// # Errors
            /// [`BodyError`] when the body is not one.
            pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
                let mut reader = Reader::new(frame.payload);
                let nonce = reader.u64()?;
                reader.finish()?;
                Ok(Self { nonce })
            }
        }
    };
}

nonce_frame! {
    /// Asks whether the peer still reads.
    Ping
}

nonce_frame! {
    /// The answer to a [`Ping`].
    Pong
}

/// The sender stops: nothing follows, and nothing it has not answered will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
}

/// Why a node says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u16)]
pub enum ByeReason {
    /// The node stops.
    Stopping = 1,
    /// The node has quarantined the start of the process that it says this to.
    Quarantined = 2,
    /// For a reason this version does not know.
    Other = 0,
}

impl Bye {
    /// The length of the frame, in bytes.
    pub const FRAME_BYTES: usize = HEADER_BYTES + 2;

    /// Writes the frame at the start of `into` and returns its length.
    ///
    /// # Panics
    /// If `into` is shorter than [`FRAME_BYTES`](Self::FRAME_BYTES).
    pub fn encode(&self, into: &mut [u8]) -> usize {
        let reason = self.reason as u16;
        encode(into, &Head::plain(Kind::Bye), &reason.to_le_bytes())
    }

    /// Reads a frame of this kind.
    ///
    /// # Errors
    /// [`BodyError`] when the body is not one.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
        let mut reader = Reader::new(frame.payload);
        let reason = match reader.u16()? {
            1 => ByeReason::Stopping,
            2 => ByeReason::Quarantined,
            _ => ByeReason::Other,
        };
        reader.finish()?;
        Ok(Self { reason })
    }
}

/// The sender has nothing to say: the link may rest without a connection, see [`Kind::Rest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest;

impl Rest {
    /// Writes the frame at the start of `into` and returns its length.
    ///
    /// # Panics
    /// If `into` is shorter than the frame, 16 bytes.
    pub fn encode(&self, into: &mut [u8]) -> usize {
        encode(into, &Head::plain(Kind::Rest), &[])
    }

    /// Reads a frame of this kind.
    ///
    /// # Errors
    /// [`BodyError`] when the body is not empty.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
        Reader::new(frame.payload).finish()?;
        Ok(Self)
    }
}

/// The code of an error frame: why an ask has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum ErrorCode {
    /// For a reason this version does not know.
    Other = 0,
    /// No actor runs at the target. Nothing was executed.
    NotRunning = 1,
    /// The actor's protocol does not have the message. Nothing was executed.
    UnknownMessage = 2,
    /// The actor knows the message in another version or layout. Nothing was executed.
    SchemaMismatch = 3,
    /// The handler failed.
    Failed = 4,
    /// The message was handled, and there was no room for its answer.
    Overloaded = 5,
    /// The message was handled, and its answer is longer than the lane takes.
    TooLarge = 6,
    /// The node stops. Nothing was executed.
    Stopping = 7,
    /// The asker cancelled, and the answer that waited for credit was dropped. It was handled.
    Cancelled = 8,
    /// The question's deadline had passed when its turn came. Nothing was executed.
    Expired = 9,
    /// The question was passed on, and its deadline passed there. Whether it was handled is not
    /// known.
    Late = 10,
}

impl ErrorCode {
    /// The code with this number on the wire; [`Other`](Self::Other) for one that a later version
    /// may have added.
    pub const fn from_wire(number: u32) -> Self {
        match number {
            1 => Self::NotRunning,
            2 => Self::UnknownMessage,
            3 => Self::SchemaMismatch,
            4 => Self::Failed,
            5 => Self::Overloaded,
            6 => Self::TooLarge,
            7 => Self::Stopping,
            8 => Self::Cancelled,
            9 => Self::Expired,
            10 => Self::Late,
            _ => Self::Other,
        }
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u32 {
        self as u32
    }
}
