//! Written slabs, and the frames in them.

use super::Unacknowledged;
use crate::frame::{Parse, parse};
use crate::slab::Slab;

/// A slab, where it lies in the stream, and how many messages are in it.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) slab: Slab,
    pub(super) start: u64,
    pub(super) messages: u32,
}

impl Written {
    /// Where the slab ends in the stream.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.start + self.slab.len() as u64
    }
}

/// Shows the message frames of a slab, which begins at `start`, from `received_to` on; `sent` tells
/// which the peer may have. Returns how many messages lie before.
pub(super) fn walk(
    mut bytes: &[u8],
    start: u64,
    (received_to, sent): (u64, u64),
    visit: &mut impl FnMut(Unacknowledged<'_>),
) -> u64 {
    let mut position = start;
    let mut acknowledged = 0;
    // The cap was checked when the frame was written.
    while let Ok(Parse::Complete(frame)) = parse(bytes, u32::MAX) {
        let end = position + frame.wire_bytes as u64;
        let kind = frame.header.kind;
        if end <= received_to {
            acknowledged += u64::from(kind.is_message());
        } else if !kind.is_definition() {
            visit(Unacknowledged {
                kind,
                extension: frame.extension,
                payload: frame.payload,
                sent: position < sent,
            });
        }
        position = end;
        bytes = &bytes[frame.wire_bytes..];
    }
    debug_assert!(bytes.is_empty(), "a slab holds whole frames");
    acknowledged
}
