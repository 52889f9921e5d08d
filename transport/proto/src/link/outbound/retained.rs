//! Written slabs, and the frames in them.

use super::shared::Payloads;
use super::{Outbound, Unacknowledged};
use crate::frame::{Checksums, Extension, Frame, Parsed, parse_with, seal};
use crate::kind::Kind;
use crate::limits::HEADER_BYTES;
use crate::link::Target;
use crate::piece::{Piece, SharedBytes};
use crate::slab::{Slab, SlabSlice};
use crate::slab_pool::SlabPool;

/// A slab, where it lies in the stream, and how many messages are in it.
#[derive(Debug)]
pub(super) struct Written<B> {
    slab: Slab,
    start: u64,
    /// Bytes of frames behind the slab's own tail, written and not yet sealed.
    unsealed: usize,
    messages: u32,
    /// What stands between its bytes in the stream.
    payloads: Payloads<B>,
}

const LINE_BYTES: usize = 64;

/// A short message and its header.
const LINES_WARMED: usize = 2;

impl<B> Written<B> {
    /// An empty slab at position `start`.
    pub(super) fn new(slab: Slab, start: u64) -> Self {
        Self {
            slab,
            start,
            unsealed: 0,
            messages: 0,
            payloads: Payloads::new(),
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
        self.start + (self.slab.len() + self.unsealed) as u64 + self.payloads.bytes()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end() == self.start
    }

    /// Whether a payload that lies elsewhere should go with the next slab.
    pub(super) fn is_full(&self) -> bool {
        self.payloads.is_full()
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
        let mut at = self.slab.len();
        let mut unsealed = &mut self.slab.tail_mut()[..self.unsealed];
        while let Some((header, body)) = unsealed.split_first_chunk_mut::<HEADER_BYTES>() {
            let kind = Kind::from_wire(header[8]);
            if let (Some(Kind::Ask), Some(bytes)) = (kind, body.first_chunk_mut()) {
                let mut extension = Extension::parse(bytes);
                extension.remaining_us = left(extension.correlation);
                *bytes = extension.encode();
            }
            let [b0, b1, b2, b3, ..] = *header;
            let whole = HEADER_BYTES + u32::from_le_bytes([b0, b1, b2, b3]) as usize;
            let here = self.payloads.front_bytes(at).unwrap_or(whole);
            at += here;
            unsealed = &mut unsealed[here..];
        }
    }

    /// Whether one of its frames begins or ends at `position`, which was handed out.
    pub(super) fn has_boundary(&self, position: u64) -> bool {
        if position < self.start {
            return false;
        }
        let (rest, begin, at) = self.payloads.from(position, self.start);
        let frozen = self.slab.frozen();
        let end = rest.first().map_or(frozen.len(), |placed| placed.front);
        // That frame may not be handed out yet.
        let end = end.min(frozen.len());
        let mut bytes = frozen.get(at..end).unwrap_or_default();
        let mut reached = begin;
        while reached < position
            && let Some(frame) = first_frame(bytes)
        {
            reached += frame.wire_bytes as u64;
            bytes = &bytes[frame.wire_bytes..];
        }
        reached == position
    }

    /// Gives its memory back.
    pub(super) fn give_back(self, slabs: &mut SlabPool) {
        let kept = self.payloads.kept_bytes();
        if kept > 0 {
            slabs.discharge(kept as usize);
        }
        slabs.give_back(self.slab);
    }
}

impl<B: SharedBytes> Written<B> {
    /// Counts the front of a frame, and its payload, which stays where it is.
    pub(super) fn advance_shared(&mut self, front_bytes: usize, payload: B, kind: Kind) {
        let front = self.slab.len() + self.unsealed;
        self.advance(front_bytes, u32::from(kind.is_message()));
        let end = self.end() + payload.len() as u64;
        self.payloads.push(front, front + front_bytes, end, payload);
    }

    /// Lets go of the payloads that lie elsewhere and are the peer's now.
    pub(super) fn let_go(&mut self, received_to: u64, slabs: &mut SlabPool) {
        if self.payloads.kept_bytes() > 0 {
            slabs.discharge(self.payloads.let_go(received_to) as usize);
        }
    }

    /// Hands out what was written since the last time, sealed if the link wants it; payloads that
    /// lie elsewhere aside.
    fn freeze(&mut self, checksums: Checksums) -> SlabSlice {
        let unsealed = std::mem::take(&mut self.unsealed);
        if checksums == Checksums::Verified {
            let at = self.slab.len();
            let frames = &mut self.slab.tail_mut()[..unsealed];
            if self.payloads.bytes() == 0 {
                seal(frames);
            } else {
                self.payloads.seal(frames, at);
            }
        }
        self.slab.advance(unsealed);
        self.slab.freeze()
    }

    /// Hands out the last `bytes` bytes: those written since the last time, and on another
    /// connection some before them.
    #[inline]
    pub(super) fn hand_out(&mut self, bytes: u64, checksums: Checksums, into: &mut Vec<Piece<B>>) {
        let slice = self.freeze(checksums);
        if slice.len() as u64 == bytes {
            into.push(Piece::Slab(slice));
        } else {
            drop(slice);
            self.hand_out_pieces(bytes, into);
        }
    }

    #[cold]
    fn hand_out_pieces(&mut self, bytes: u64, into: &mut Vec<Piece<B>>) {
        let position = self.end() - bytes;
        self.payloads
            .hand_out(&mut self.slab, self.start, position, into);
    }

    /// Shows the message frames from `received_to` on; `sent` tells which the peer may have. Those
    /// that were not handed out stay without checksums. Returns how many messages lie before.
    pub(super) fn walk(
        &mut self,
        bounds: (u64, u64),
        visit: &mut impl FnMut(Unacknowledged<'_>),
    ) -> u64 {
        drop(self.freeze(Checksums::Absent));
        let mut walk = Walk {
            position: self.start,
            bounds,
            acknowledged: 0,
            visit,
        };
        let bytes = self.slab.frozen();
        let mut at = 0;
        for placed in self.payloads.all() {
            walk.frames(&bytes[at..placed.front]);
            let payload = placed.payload.as_deref().unwrap_or_default();
            walk.split_frame(&bytes[placed.front..placed.at], payload, placed.end);
            at = placed.at;
        }
        walk.frames(&bytes[at..]);
        walk.acknowledged
    }
}

impl<B: SharedBytes> Outbound<B> {
    /// Messages in the slabs that are not the peer's as a whole.
    pub fn retained_messages(&self) -> u64 {
        let written = self.full.iter().chain(&self.current);
        written.map(Written::messages).sum()
    }

    /// Recipients that have no room, as far as the peer said.
    pub fn busy_recipients(&self) -> usize {
        self.targets.busy()
    }

    /// Whether a recipient has no room, as far as the peer said: a push to it would say so.
    pub fn is_busy(&self, target: Target) -> bool {
        self.targets.has_no_room(target)
    }
}

/// A last look at the frames of a slab.
struct Walk<'a, F> {
    /// Where it is in the stream.
    position: u64,
    /// Up to where the peer has the stream, and up to where it may.
    bounds: (u64, u64),
    acknowledged: u64,
    visit: &'a mut F,
}

impl<F: FnMut(Unacknowledged<'_>)> Walk<'_, F> {
    fn frames(&mut self, mut bytes: &[u8]) {
        while let Some(frame) = first_frame(bytes) {
            let end = self.position + frame.wire_bytes as u64;
            self.frame(frame.header.kind, frame.extension, frame.payload, end);
            bytes = &bytes[frame.wire_bytes..];
        }
        debug_assert!(bytes.is_empty(), "a slab holds whole frames");
    }

    /// A frame whose payload lies elsewhere.
    fn split_frame(&mut self, front: &[u8], payload: &[u8], end: u64) {
        let kind = front.get(KIND_AT).and_then(|kind| Kind::from_wire(*kind));
        let extension = front.get(HEADER_BYTES..);
        let extension = extension.and_then(|bytes| bytes.first_chunk());
        debug_assert!(kind.is_some(), "a front was written here");
        if let Some(kind) = kind {
            self.frame(kind, extension.map(Extension::parse), payload, end);
        }
    }

    fn frame(&mut self, kind: Kind, extension: Option<Extension>, payload: &[u8], end: u64) {
        let (received_to, sent) = self.bounds;
        if end <= received_to {
            self.acknowledged += u64::from(kind.is_message());
        } else if !kind.is_definition() {
            (self.visit)(Unacknowledged {
                kind,
                extension,
                payload,
                sent: self.position < sent,
            });
        }
        self.position = end;
    }
}

/// Where a header names its kind.
const KIND_AT: usize = 8;

/// The whole frame at the start of `bytes`. The cap was checked when the frame was written, and
/// nobody else writes here.
fn first_frame(bytes: &[u8]) -> Option<Frame<'_>> {
    match parse_with(bytes, u32::MAX, Checksums::Absent, |frame| frame) {
        Ok(Parsed::Complete(frame)) => Some(frame),
        _ => None,
    }
}
