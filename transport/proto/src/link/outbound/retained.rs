//! Written slabs, and the frames in them.

use super::{Outbound, Unacknowledged};
use crate::frame::{Checksums, Frame, Parsed, parse_with, seal};
use crate::kind::Kind;
use crate::limits::{EXTENSION_BYTES, HEADER_BYTES};
use crate::slab::{Slab, SlabSlice};

/// A slab, where it lies in the stream, and how many messages are in it.
#[derive(Debug)]
pub(super) struct Written {
    slab: Slab,
    start: u64,
    /// Bytes of frames behind the slab's own tail, written and not yet sealed.
    unsealed: usize,
    messages: u32,
}

const LINE_BYTES: usize = 64;

/// A short message and its header.
const LINES_WARMED: usize = 2;

impl Written {
    /// An empty slab at position `start`.
    pub(super) fn new(slab: Slab, start: u64) -> Self {
        Self {
            slab,
            start,
            unsealed: 0,
            messages: 0,
        }
    }

    /// Where the slab begins in the stream.
    #[inline]
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Where the slab ends in the stream.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.start + (self.slab.len() + self.unsealed) as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end() == self.start
    }

    /// The room behind the last frame, in bytes.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.slab.room() - self.unsealed
    }

    /// The room behind the last frame. What is written here counts after
    /// [`advance`](Self::advance).
    #[inline]
    pub(super) fn tail_mut(&mut self) -> &mut [u8] {
        &mut self.slab.tail_mut()[self.unsealed..]
    }

    /// Has the cache fetch the next lines for writing, while nobody waits for what will be written
    /// there; the line that the last frame ends in is with its reader.
    pub(super) fn warm(&mut self) {
        let room = self.tail_mut();
        let next_line = room.as_ptr().align_offset(LINE_BYTES);
        let lines = room.get_mut(next_line..).unwrap_or_default();
        for line in lines.chunks_mut(LINE_BYTES).take(LINES_WARMED) {
            line[0] = 0;
        }
    }

    /// Counts whole frames of `bytes`, with `messages` messages among them.
    #[inline]
    pub(super) fn advance(&mut self, bytes: usize, messages: u32) {
        self.unsealed += bytes;
        self.messages += messages;
    }

    /// The messages written.
    pub(super) fn messages(&self) -> u64 {
        u64::from(self.messages)
    }

    /// Says of the questions that were not handed out yet how much of their time is left.
    pub(super) fn retime(&mut self, left: &mut impl FnMut(u64) -> u32) {
        let mut unsealed = &mut self.slab.tail_mut()[..self.unsealed];
        let next = |bytes: &[u8]| {
            let frame = |frame: Frame<'_>| (frame.wire_bytes, frame.header.kind, frame.extension);
            parse_with(bytes, u32::MAX, Checksums::Absent, frame)
        };
        while let Ok(Parsed::Complete((wire_bytes, kind, extension))) = next(unsealed) {
            if let (Kind::Ask, Some(mut extension)) = (kind, extension) {
                extension.remaining_us = left(extension.correlation);
                let at = HEADER_BYTES..HEADER_BYTES + EXTENSION_BYTES;
                unsealed[at].copy_from_slice(&extension.encode());
            }
            unsealed = &mut unsealed[wire_bytes..];
        }
    }

    /// Hands out what was written since the last time, sealed if the link wants it.
    fn freeze(&mut self, checksums: Checksums) -> SlabSlice {
        let unsealed = std::mem::take(&mut self.unsealed);
        if checksums == Checksums::Verified {
            seal(&mut self.slab.tail_mut()[..unsealed]);
        }
        self.slab.advance(unsealed);
        self.slab.freeze()
    }

    /// Hands out the last `bytes` bytes: those written since the last time, and on another
    /// connection some before them.
    #[inline]
    pub(super) fn hand_out(&mut self, bytes: u64, checksums: Checksums) -> SlabSlice {
        let slice = self.freeze(checksums);
        if slice.len() as u64 == bytes {
            slice
        } else {
            self.again(bytes)
        }
    }

    #[cold]
    fn again(&mut self, bytes: u64) -> SlabSlice {
        let end = self.slab.len();
        self.slab.frozen_slice(end - bytes as usize, end)
    }

    /// Whether one of its frames begins or ends at `position`, which was handed out.
    pub(super) fn has_boundary(&self, position: u64) -> bool {
        let Some(offset) = position.checked_sub(self.start) else {
            return false;
        };
        let mut bytes = self.slab.frozen();
        let mut at = 0;
        let next = |bytes| parse_with(bytes, u32::MAX, Checksums::Absent, |frame: Frame<'_>| frame);
        while at < offset
            && let Ok(Parsed::Complete(frame)) = next(bytes)
        {
            at += frame.wire_bytes as u64;
            bytes = &bytes[frame.wire_bytes..];
        }
        at == offset
    }

    /// All frames, for a last look at them; those that were not handed out stay without checksums.
    pub(super) fn freeze_all(&mut self) -> SlabSlice {
        self.freeze(Checksums::Absent);
        self.slab.frozen_slice(0, self.slab.len())
    }

    pub(super) fn into_slab(self) -> Slab {
        self.slab
    }
}

impl Outbound {
    /// Messages in the slabs that are not the peer's as a whole.
    pub fn retained_messages(&self) -> u64 {
        let written = self.full.iter().chain(&self.current);
        written.map(Written::messages).sum()
    }

    /// Recipients that have no room, as far as the peer said.
    pub fn busy_recipients(&self) -> usize {
        self.targets.busy()
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
    // The cap was checked when the frame was written, and nobody else writes here.
    let next = |bytes| parse_with(bytes, u32::MAX, Checksums::Absent, |frame: Frame<'_>| frame);
    while let Ok(Parsed::Complete(frame)) = next(bytes) {
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
