//! What opens a connection behind the preface.

use super::BodyError;
use crate::address::{Address, Uid};
use crate::frame::{Frame, Head, encode};
use crate::kind::Kind;
use crate::limits::{HEADER_BYTES, REFUSE_TEXT_BYTES_MAX};
use crate::reader::Reader;

/// What each side of a handshake offers for the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The longest body it takes on this lane, in bytes.
    pub body_cap: u32,
    /// The peer may send up to this position.
    pub limit: u64,
    /// What it can do besides the base version, one bit each; unknown bits are ignored.
    pub features: u64,
    /// The number of the link: random, and of the dial that made it.
    pub link: u64,
    /// Up to where it has received the stream of that link; `None` when it does not have the link
    /// yet.
    pub received_to: Option<u64>,
    /// How many cores its node has.
    pub cores: u16,
    /// How many links it wants between the cores of two nodes at most; the smaller of both sides'
    /// counts, see [`LinkMatrix`](crate::matrix::LinkMatrix).
    pub links_max: u32,
}

impl Offer {
    fn encode(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.body_cap.to_le_bytes());
        into.extend_from_slice(&self.limit.to_le_bytes());
        into.extend_from_slice(&self.features.to_le_bytes());
        into.extend_from_slice(&self.link.to_le_bytes());
        let received_to = self.received_to.unwrap_or(NOWHERE);
        into.extend_from_slice(&received_to.to_le_bytes());
        into.extend_from_slice(&self.cores.to_le_bytes());
        into.extend_from_slice(&self.links_max.to_le_bytes());
    }

    fn parse(reader: &mut Reader<'_>) -> Result<Self, BodyError> {
        Ok(Self {
            body_cap: reader.u32()?,
            limit: reader.u64()?,
            features: reader.u64()?,
            link: reader.u64()?,
            received_to: Some(reader.u64()?).filter(|position| *position != NOWHERE),
            cores: reader.u16()?,
            links_max: reader.u32()?,
        })
    }
}

/// Where a stream stands whose link is new.
const NOWHERE: u64 = u64::MAX;

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
    /// The preface has a role, lane, uid or flag that is not known here.
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
    /// The lane is not served.
    Lane = 14,
    /// Nobody at the address that the hello claims vouches for it; or, to an inquiry: no such dial
    /// is under way here.
    Unproven = 15,
    /// The dialler's uid is that of another node that has a link.
    Collision = 16,
    /// The link cannot go on where the dialler says it stands.
    Position = 17,
    /// The node has quarantined this start of the dialler's process, for as long as both run.
    Quarantined = 18,
    /// The dialler came in another role before, and a role is for a whole process start; or the
    /// dialled node is a client, with which nobody makes links.
    Role = 19,
    /// Another process start answers at the address that the hello claims.
    AddressInUse = 20,
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
            14 => Self::Lane,
            15 => Self::Unproven,
            16 => Self::Collision,
            17 => Self::Position,
            18 => Self::Quarantined,
            19 => Self::Role,
            20 => Self::AddressInUse,
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
            | Self::Itself
            | Self::Lane
            | Self::Role => true,
            Self::Other
            | Self::Incarnation
            | Self::Superseded
            | Self::Stopping
            | Self::Overloaded
            | Self::Unproven
            | Self::AddressInUse
            | Self::Collision
            | Self::Position
            | Self::Quarantined => false,
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
            Self::Lane => "refuse_lane",
            Self::Unproven => "refuse_unproven",
            Self::Collision => "refuse_collision",
            Self::Position => "refuse_position",
            Self::Quarantined => "refuse_quarantined",
            Self::Role => "refuse_role",
            Self::AddressInUse => "refuse_address_in_use",
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

    /// Reads a frame of this kind. Control characters in the text become spaces: it goes into a
    /// log.
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
