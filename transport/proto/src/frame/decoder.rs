//! Bytes to frames, in place.

use super::header::{Extension, Header};
use crate::checksum;
use crate::kind::{Kind, Shape};
use crate::limits::{EXTENSION_BYTES, HEADER_BYTES};

/// A whole frame, in the bytes it was received in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its header.
    pub header: Header,
    /// Its extension; there exactly for ask, reply, error and cancel, and for a tell within the
    /// process that is told for another node.
    pub extension: Option<Extension>,
    /// The rest of its body.
    pub payload: &'a [u8],
    /// Where the payload begins in the bytes that were parsed.
    pub payload_offset: usize,
    /// The length of the whole frame: where the next one begins.
    pub wire_bytes: usize,
}

/// What the bytes hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse<'a> {
    /// A frame; its bytes may be followed by others.
    Complete(Frame<'a>),
    /// The beginning of a frame, nothing of which is verified except that its length is allowed.
    Incomplete {
        /// How many bytes there must be, from the frame's start, for more to be said: a header's
        /// length until the header is there, then the whole frame's. Always more than there are,
        /// and never more than the cap and a header.
        needed: usize,
    },
}

/// Why bytes are not a frame. The stream has no way back: its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The declared length is above the cap. Seen as soon as the length itself has arrived.
    #[error("a frame declares a body of {declared} bytes, the cap is {cap}")]
    TooLong {
        /// The length declared.
        declared: u32,
        /// The longest body allowed.
        cap: u32,
    },
    /// The checksum is wrong: the bytes were damaged, or are not of a frame.
    #[error("the checksum of a frame is wrong")]
    Checksum,
    /// No kind has the number.
    #[error("no frame is of kind {0}")]
    UnknownKind(u8),
    /// A flag is set that has no meaning, or the one that announces the extension does not fit the
    /// kind.
    #[error("flags {flags:#04x} do not fit a frame of kind {kind:?}")]
    Flags {
        /// The frame's kind.
        kind: Kind,
        /// All its flags.
        flags: u8,
    },
    /// No frame of the kind has a body of this length.
    #[error("a frame of kind {kind:?} has a body of {bytes} bytes")]
    BodyLength {
        /// The frame's kind.
        kind: Kind,
        /// The length of its body.
        bytes: u32,
    },
    /// The type number is out of the range of the kind.
    #[error("a frame of kind {kind:?} has type number {number}")]
    TypeNumber {
        /// The frame's kind.
        kind: Kind,
        /// The number.
        number: u16,
    },
    /// The target number is out of the range of the kind.
    #[error("a frame of kind {kind:?} has target number {number}")]
    TargetNumber {
        /// The frame's kind.
        kind: Kind,
        /// The number.
        number: u32,
    },
}

impl FrameError {
    /// A stable name for counters.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "frame_too_long",
            Self::Checksum => "frame_checksum",
            Self::UnknownKind(_) => "frame_unknown_kind",
            Self::Flags { .. } => "frame_flags",
            Self::BodyLength { .. } => "frame_body_length",
            Self::TypeNumber { .. } => "frame_type_number",
            Self::TargetNumber { .. } => "frame_target_number",
        }
    }
}

/// Whether the frames of a link are sealed with checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    /// They are, and each is verified: the bytes crossed a network.
    Verified,
    /// There are none: the bytes never leave this process.
    Absent,
}

/// What [`parse_with`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<R> {
    /// A frame; what was made of it.
    Complete(R),
    /// The beginning of a frame, see [`Parse::Incomplete`].
    Incomplete {
        /// How many bytes there must be for more to be said.
        needed: usize,
    },
}

/// Reads the frame at the start of `bytes`, in place.
///
/// `body_cap` is the longest body the sender may declare now. Everything that can be checked
/// without knowing the link is: whoever gets a [`Frame`] can rely on the ranges of its numbers, and
/// on the length of its body as far as its kind fixes it.
///
/// # Errors
/// [`FrameError`]: the connection cannot go on.
#[inline]
pub fn parse(bytes: &[u8], body_cap: u32) -> Result<Parse<'_>, FrameError> {
    parse_with(bytes, body_cap, Checksums::Verified, |frame| frame).map(|parsed| match parsed {
        Parsed::Complete(frame) => Parse::Complete(frame),
        Parsed::Incomplete { needed } => Parse::Incomplete { needed },
    })
}

/// The same as [`parse`], for a loop over many frames: the frame goes to `read` instead of into the
/// result.
///
/// A frame in a result is written to memory in pieces and read back in other widths, and the
/// processor makes such reads wait until the writes have left its store buffer: three such moves
/// took a quarter of a receiving core's time. In a closure the frame stays in registers.
///
/// # Errors
/// As [`parse`].
#[inline(always)]
pub fn parse_with<'a, R>(
    bytes: &'a [u8],
    body_cap: u32,
    checksums: Checksums,
    read: impl FnOnce(Frame<'a>) -> R,
) -> Result<Parsed<R>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return parse_start(bytes, body_cap);
    };
    // Two words, so that no field is loaded from the middle of a store.
    let (first, second) = words(header);
    let body_bytes = first as u32;
    if body_bytes > body_cap {
        return Err(too_long(body_bytes, body_cap));
    }
    let Some(body) = rest.get(..body_bytes as usize) else {
        let needed = HEADER_BYTES + body_bytes as usize;
        return Ok(Parsed::Incomplete { needed });
    };
    let verify = checksums == Checksums::Verified;
    if verify && checksum::of_frame(header, body) != (first >> 32) as u32 {
        return Err(FrameError::Checksum);
    }
    let Some(kind) = Kind::from_wire(second as u8) else {
        return Err(FrameError::UnknownKind(second as u8));
    };
    let header = Header {
        body_bytes,
        kind,
        type_number: (second >> 16) as u16,
        target_number: (second >> 32) as u32,
    };
    let flags = (second >> 8) as u8;
    let is_told_for = !verify && is_told_for_another(&header, flags);
    if !is_told_for && !fits(&header, flags) {
        return Err(misfit(&header, flags));
    }
    let has_extension = is_told_for || kind.has_extension();
    Ok(Parsed::Complete(read(dissect(header, has_extension, body))))
}

/// A whole [`Kind::Tell`], by what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tell {
    /// The sender's number for the type of the message.
    pub type_number: u16,
    /// The number of the recipient.
    pub target_number: u32,
    /// The length of the whole frame; all of it behind the header is the payload.
    pub wire_bytes: usize,
}

/// Reads the frame at the start of `bytes` if it is a tell, which most are, and all of it is there.
/// `None` says nothing of the bytes: [`parse_with`] does, which reads tells as well.
#[inline(always)]
pub fn parse_tell(bytes: &[u8], body_cap: u32, checksums: Checksums) -> Option<Tell> {
    const SHAPE: Shape = *Kind::Tell.shape();
    const KIND_AND_FLAGS: u16 = u16::from_le_bytes([Kind::Tell.to_wire(), flags_of(Kind::Tell)]);
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let (first, second) = words(header);
    let body_bytes = first as u32;
    if second as u16 != KIND_AND_FLAGS || body_bytes > body_cap {
        return None;
    }
    let body = rest.get(..body_bytes as usize)?;
    let (type_number, target_number) = ((second >> 16) as u16, (second >> 32) as u32);
    let is_fit = (SHAPE.body_min..=SHAPE.body_max).contains(&body_bytes)
        && (SHAPE.type_number.0..=SHAPE.type_number.1).contains(&type_number)
        && (SHAPE.target_number.0..=SHAPE.target_number.1).contains(&target_number);
    let verify = checksums == Checksums::Verified;
    if !is_fit || verify && checksum::of_frame(header, body) != (first >> 32) as u32 {
        return None;
    }
    Some(Tell {
        type_number,
        target_number,
        wire_bytes: HEADER_BYTES + body.len(),
    })
}

/// Splits a body whose length was verified against the kind.
#[inline(always)]
fn dissect(header: Header, has_extension: bool, body: &[u8]) -> Frame<'_> {
    let wire_bytes = HEADER_BYTES + body.len();
    if has_extension && let Some((extension, payload)) = body.split_first_chunk::<EXTENSION_BYTES>()
    {
        return Frame {
            header,
            extension: Some(Extension::parse(extension)),
            payload,
            payload_offset: HEADER_BYTES + EXTENSION_BYTES,
            wire_bytes,
        };
    }
    Frame {
        header,
        extension: None,
        payload: body,
        payload_offset: HEADER_BYTES,
        wire_bytes,
    }
}

/// Whether an undamaged header keeps to the shape of its kind.
#[inline(always)]
fn fits(header: &Header, flags: u8) -> bool {
    flags == flags_of(header.kind) && keeps_to(header.kind.shape(), header)
}

/// Whether a header is that of a tell with the extension of an ask. Only this process itself writes
/// those, to itself: so nobody else can say for whom a message is told.
#[inline(always)]
fn is_told_for_another(header: &Header, flags: u8) -> bool {
    let is_tell = header.kind == Kind::Tell && flags == flags_of(Kind::Ask);
    is_tell && keeps_to(Kind::Ask.shape(), header)
}

/// Whether the numbers of a header are of that shape.
#[inline(always)]
fn keeps_to(shape: &Shape, header: &Header) -> bool {
    (shape.body_min..=shape.body_max).contains(&header.body_bytes)
        && (shape.type_number.0..=shape.type_number.1).contains(&header.type_number)
        && (shape.target_number.0..=shape.target_number.1).contains(&header.target_number)
}

/// The header as two little-endian words.
#[inline]
fn words(header: &[u8; HEADER_BYTES]) -> (u64, u64) {
    let whole = u128::from_le_bytes(*header);
    (whole as u64, (whole >> 64) as u64)
}

/// The flags a frame of this kind has: bit 0 announces the extension.
#[inline]
const fn flags_of(kind: Kind) -> u8 {
    kind.has_extension() as u8
}

/// Which of the checks of [`fits`] failed.
#[cold]
fn misfit(header: &Header, flags: u8) -> FrameError {
    let Header {
        body_bytes,
        kind,
        type_number,
        target_number,
    } = *header;
    let shape = kind.shape();
    if flags != flags_of(kind) {
        FrameError::Flags { kind, flags }
    } else if !(shape.body_min..=shape.body_max).contains(&body_bytes) {
        FrameError::BodyLength {
            kind,
            bytes: body_bytes,
        }
    } else if !(shape.type_number.0..=shape.type_number.1).contains(&type_number) {
        FrameError::TypeNumber {
            kind,
            number: type_number,
        }
    } else {
        FrameError::TargetNumber {
            kind,
            number: target_number,
        }
    }
}

/// Fewer bytes than a header: only the length can be judged.
#[cold]
fn parse_start<R>(bytes: &[u8], body_cap: u32) -> Result<Parsed<R>, FrameError> {
    if let Some(length) = bytes.first_chunk() {
        let declared = u32::from_le_bytes(*length);
        if declared > body_cap {
            return Err(too_long(declared, body_cap));
        }
    }
    Ok(Parsed::Incomplete {
        needed: HEADER_BYTES,
    })
}

#[cold]
fn too_long(declared: u32, cap: u32) -> FrameError {
    FrameError::TooLong { declared, cap }
}
