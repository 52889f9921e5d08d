//! Frames to bytes, in place.

use super::decoder::flags_of;
use super::header::Extension;
use crate::checksum;
use crate::kind::Kind;
use crate::limits::HEADER_BYTES;

/// What is said of a frame besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What the frame is.
    pub kind: Kind,
    /// The number of the message's type, 0 where the kind has none.
    pub type_number: u16,
    /// The number of the recipient, 0 where the kind has none.
    pub target_number: u32,
    /// There exactly where the kind has one.
    pub extension: Option<Extension>,
}

impl Head {
    /// The head of a kind without numbers and extension.
    pub const fn plain(kind: Kind) -> Self {
        Self {
            kind,
            type_number: 0,
            target_number: 0,
            extension: None,
        }
    }
}

/// Makes a frame of a payload of `payload_bytes` that is already in `into`, at
/// [`Kind::payload_offset`]: writes the header, the extension, and last the checksum. Returns the
/// length of the frame.
///
/// # Panics
/// If `into` is shorter than the frame, if the extension is not there exactly when the kind has one,
/// or if the payload is longer than a length field can say.
#[inline]
pub fn seal(into: &mut [u8], head: &Head, payload_bytes: usize) -> usize {
    assert!(
        head.extension.is_some() == head.kind.has_extension(),
        "an extension goes with the kind"
    );
    let payload_offset = head.kind.payload_offset();
    let frame_bytes = payload_offset + payload_bytes;
    let body_bytes = u32::try_from(frame_bytes - HEADER_BYTES).expect("a body's length fits");
    let frame = &mut into[..frame_bytes];
    let (header, body) = frame
        .split_first_chunk_mut::<HEADER_BYTES>()
        .expect("a frame is longer than its header");
    if let Some(extension) = head.extension
        && let Some(place) = body.first_chunk_mut()
    {
        *place = extension.encode();
    }
    *header = encode_header(head, body_bytes);
    let crc = checksum::of_frame(header, body);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
    frame_bytes
}

/// Writes a whole frame with a copy of `payload` at the start of `into`, and returns its length.
///
/// # Panics
/// As [`seal`].
pub fn encode(into: &mut [u8], head: &Head, payload: &[u8]) -> usize {
    let payload_offset = head.kind.payload_offset();
    into[payload_offset..payload_offset + payload.len()].copy_from_slice(payload);
    seal(into, head, payload.len())
}

/// The header with the checksum still zero.
#[inline]
fn encode_header(head: &Head, body_bytes: u32) -> [u8; HEADER_BYTES] {
    let whole = u128::from(body_bytes)
        | u128::from(head.kind.to_wire()) << 64
        | u128::from(flags_of(head.kind)) << 72
        | u128::from(head.type_number) << 80
        | u128::from(head.target_number) << 96;
    whole.to_le_bytes()
}
