//! The bodies of the frames that the engine itself sends.
//!
//! Each type is one frame: `encode` writes it whole, `parse` reads the payload of a frame of its
//! kind. Reading is strict: a body is exactly what it should be, trailing bytes are an error.

use super::decoder::Frame;
use super::encoder::{Head, encode};
use crate::address::{Address, Uid};
use crate::kind::Kind;
use crate::limits::{HEADER_BYTES, REFUSE_TEXT_BYTES_MAX};
use crate::link::Target;
use crate::message::{MessageId, MessageType};
use crate::reader::{Reader, Truncated};

/// The longest frame of [`Grant`], [`Ping`], [`Pong`], [`Bye`] and [`Notice`], in bytes.
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
        let mut body = [0; 20];
        body[..8].copy_from_slice(&self.message.id.as_u64().to_le_bytes());
        body[8..12].copy_from_slice(&self.message.version.to_le_bytes());
        body[12..].copy_from_slice(&self.message.fingerprint.to_le_bytes());
        let head = Head {
            type_number: self.number,
            ..Head::plain(Kind::DefineType)
        };
        encode(into, &head, &body)
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
        let mut body = [0; 12];
        body[..4].copy_from_slice(&self.target.slot.to_le_bytes());
        body[4..].copy_from_slice(&self.target.generation.to_le_bytes());
        let head = Head {
            target_number: self.number,
            ..Head::plain(Kind::DefineTarget)
        };
        encode(into, &head, &body)
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
    /// For a reason this version does not know.
    Other = 0,
}

impl Bye {
    /// Writes the frame at the start of `into` and returns its length.
    ///
    /// # Panics
    /// If `into` is shorter than the frame, 18 bytes.
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
            _ => ByeReason::Other,
        };
        reader.finish()?;
        Ok(Self { reason })
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
            _ => Self::Other,
        }
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u32 {
        self as u32
    }
}

/// What each side of a handshake offers for the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The longest body it takes on this lane, in bytes.
    pub body_cap: u32,
    /// The peer may send up to this position.
    pub limit: u64,
    /// What it can do besides the base version, one bit each; unknown bits are ignored.
    pub features: u64,
    /// Up to where it has received the link's stream already; 0 on a new link.
    pub received_to: u64,
}

impl Offer {
    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.body_cap.to_le_bytes());
        into.extend_from_slice(&self.limit.to_le_bytes());
        into.extend_from_slice(&self.features.to_le_bytes());
        into.extend_from_slice(&self.received_to.to_le_bytes());
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, BodyError> {
        Ok(Self {
            body_cap: reader.u32()?,
            limit: reader.u64()?,
            features: reader.u64()?,
            received_to: reader.u64()?,
        })
    }
}

/// The dialler introduces itself; its uid is in the preface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The dialler's canonical address.
    pub from: Address,
    /// The address it dialled.
    pub to: Address,
    /// What it offers.
    pub offer: Offer,
}

impl Hello {
    /// Appends the frame to `into`.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let mut body = Vec::new();
        self.offer.encode(&mut body);
        encode_address(&self.from, &mut body);
        encode_address(&self.to, &mut body);
        append(Kind::Hello, &body, into);
    }

    /// Reads a frame of this kind.
    ///
    /// # Errors
    /// [`BodyError`] when the body is not one.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
        let mut reader = Reader::new(frame.payload);
        let offer = Offer::parse(&mut reader)?;
        let from = parse_address(&mut reader)?;
        let to = parse_address(&mut reader)?;
        reader.finish()?;
        Ok(Self { from, to, offer })
    }
}

/// The dialled side agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// Its canonical address.
    pub from: Address,
    /// The canonical address of the dialler.
    pub to: Address,
    /// What it offers.
    pub offer: Offer,
    /// Its uid.
    pub uid: Uid,
    /// The nonce of the dialler's preface.
    pub nonce: u64,
}

impl Accept {
    /// Appends the frame to `into`.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let mut body = Vec::new();
        self.offer.encode(&mut body);
        body.extend_from_slice(&self.uid.as_u64().to_le_bytes());
        body.extend_from_slice(&self.nonce.to_le_bytes());
        encode_address(&self.from, &mut body);
        encode_address(&self.to, &mut body);
        append(Kind::Accept, &body, into);
    }

    /// Reads a frame of this kind.
    ///
    /// # Errors
    /// [`BodyError`] when the body is not one.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
        let mut reader = Reader::new(frame.payload);
        let offer = Offer::parse(&mut reader)?;
        let uid = Uid::new(reader.u64()?).ok_or(BodyError::Uid)?;
        let nonce = reader.u64()?;
        let from = parse_address(&mut reader)?;
        let to = parse_address(&mut reader)?;
        reader.finish()?;
        Ok(Self {
            from,
            to,
            offer,
            uid,
            nonce,
        })
    }
}

/// The dialled side does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refuse {
    /// Why.
    pub reason: RefuseReason,
    /// The same in words, for the log of the refused side.
    pub text: String,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u16)]
pub enum RefuseReason {
    /// For a reason this version does not know.
    Other = 0,
    /// No protocol version in common.
    Version = 1,
    /// The preface has a role, lane, uid or reserved bit that is not known here.
    Preface = 2,
    /// The wanted core does not exist.
    Core = 3,
    /// Another cluster.
    Cluster = 4,
    /// The archives of the two programs differ.
    Format = 5,
    /// The dialled address is another node's.
    Destination = 6,
    /// The process that was wanted is not the one that runs here.
    Incarnation = 7,
    /// The dialler's process start is over: a later one was seen at its address.
    Former = 8,
    /// There is another link, or another dial goes first: all is well.
    Superseded = 9,
    /// The node stops.
    Stopping = 10,
    /// The node holds as many peers or connections as it may.
    Overloaded = 11,
    /// The hello is not one, or offers what cannot be used.
    Hello = 12,
    /// The dialled node is the dialling one.
    Itself = 13,
}

impl RefuseReason {
    /// The reason with this number on the wire; [`Other`](Self::Other) for one that a later version
    /// may have added.
    pub const fn from_wire(number: u16) -> Self {
        match number {
            1 => Self::Version,
            2 => Self::Preface,
            3 => Self::Core,
            4 => Self::Cluster,
            5 => Self::Format,
            6 => Self::Destination,
            7 => Self::Incarnation,
            8 => Self::Former,
            9 => Self::Superseded,
            10 => Self::Stopping,
            11 => Self::Overloaded,
            12 => Self::Hello,
            13 => Self::Itself,
            _ => Self::Other,
        }
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u16 {
        self as u16
    }

    /// Whether trying again cannot help before somebody changes one of the two nodes.
    pub const fn is_permanent(self) -> bool {
        match self {
            Self::Version
            | Self::Preface
            | Self::Core
            | Self::Cluster
            | Self::Format
            | Self::Destination
            | Self::Former
            | Self::Hello
            | Self::Itself => true,
            Self::Other
            | Self::Incarnation
            | Self::Superseded
            | Self::Stopping
            | Self::Overloaded => false,
        }
    }

    /// A stable name for counters.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Other => "refuse_other",
            Self::Version => "refuse_version",
            Self::Preface => "refuse_preface",
            Self::Core => "refuse_core",
            Self::Cluster => "refuse_cluster",
            Self::Format => "refuse_format",
            Self::Destination => "refuse_destination",
            Self::Incarnation => "refuse_incarnation",
            Self::Former => "refuse_former",
            Self::Superseded => "refuse_superseded",
            Self::Stopping => "refuse_stopping",
            Self::Overloaded => "refuse_overloaded",
            Self::Hello => "refuse_hello",
            Self::Itself => "refuse_itself",
        }
    }
}

impl Refuse {
    /// Appends the frame to `into`. A text beyond 255 bytes is cut.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let mut end = self.text.len().min(REFUSE_TEXT_BYTES_MAX);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let mut body = self.reason.to_wire().to_le_bytes().to_vec();
        body.extend_from_slice(&self.text.as_bytes()[..end]);
        append(Kind::Refuse, &body, into);
    }

    /// Reads a frame of this kind. Control characters in the text become spaces: it goes into a log.
    ///
    /// # Errors
    /// [`BodyError`] when the body is not one.
    pub fn parse(frame: &Frame<'_>) -> Result<Self, BodyError> {
        let mut reader = Reader::new(frame.payload);
        let reason = RefuseReason::from_wire(reader.u16()?);
        let text = std::str::from_utf8(reader.rest()).map_err(|_| BodyError::Text)?;
        let text = text.replace(char::is_control, " ");
        Ok(Self { reason, text })
    }
}

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
}

impl BodyError {
    /// A stable name for counters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Length => "body_length",
            Self::Text => "body_text",
            Self::Address => "body_address",
            Self::Uid => "body_uid",
        }
    }
}

impl From<Truncated> for BodyError {
    fn from(Truncated: Truncated) -> Self {
        Self::Length
    }
}

fn append(kind: Kind, body: &[u8], into: &mut Vec<u8>) {
    let start = into.len();
    into.resize(start + HEADER_BYTES + body.len(), 0);
    encode(&mut into[start..], &Head::plain(kind), body);
}

/// System and host with a length byte each, then the port.
fn encode_address(address: &Address, into: &mut Vec<u8>) {
    for text in [address.system(), address.host()] {
        // An address's parts are at most 255 bytes, see `limits`.
        into.push(text.len() as u8);
        into.extend_from_slice(text.as_bytes());
    }
    into.extend_from_slice(&address.port().to_le_bytes());
}

fn parse_address(reader: &mut Reader<'_>) -> Result<Address, BodyError> {
    let system = reader.text()?.ok_or(BodyError::Text)?;
    let host = reader.text()?.ok_or(BodyError::Text)?;
    let port = reader.u16()?;
    let address = Address::new(system, host, port).map_err(|_| BodyError::Address)?;
    // One place has one spelling on the wire too, else two peers could mean different places.
    if address.host() == host {
        Ok(address)
    } else {
        Err(BodyError::Address)
    }
}
