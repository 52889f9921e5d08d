//! Payloads that lie elsewhere, between the bytes of a slab.

use crate::frame::{seal, seal_front};
use crate::limits::SLAB_BYTES;
use crate::piece::{Piece, SharedBytes};
use crate::slab::Slab;

/// Bytes of others that go with one slab, before the next is begun: as many as a send takes, so
/// that control frames get in front of the next. One payload may be longer.
const SHARED_BYTES_PER_SLAB: u64 = 4 * SLAB_BYTES as u64;

/// The payloads of a slab that do not lie in it, in the order of the stream. Without one it holds
/// no memory.
#[derive(Debug)]
pub(super) struct Payloads<B> {
    all: Vec<Placed<B>>,
    /// The length of all.
    bytes: u64,
    /// The length of those that are the peer's.
    gone_bytes: u64,
    /// How many of them are the peer's.
    gone: usize,
}

/// A payload, and the frame around it.
#[derive(Debug)]
pub(super) struct Placed<B> {
    /// Where the frame begins in the slab.
    pub(super) front: usize,
    /// Where its payload stands in the slab, without taking a byte there.
    pub(super) at: usize,
    /// Where the frame ends in the stream.
    pub(super) end: u64,
    /// Kept until it is the peer's.
    pub(super) payload: Option<B>,
}

impl<B> Payloads<B> {
    pub(super) const fn new() -> Self {
        Self {
            all: Vec::new(),
            bytes: 0,
            gone_bytes: 0,
            gone: 0,
        }
    }

    /// Their length, whoever has them.
    #[inline]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The length of those that are kept.
    pub(super) fn kept_bytes(&self) -> u64 {
        self.bytes - self.gone_bytes
    }

    /// Whether no more should go with this slab.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= SHARED_BYTES_PER_SLAB
    }

    /// The bytes in the slab of the frame that begins at `front` there, if its payload lies
    /// elsewhere.
    pub(super) fn front_bytes(&self, front: usize) -> Option<usize> {
        let found = self.all.binary_search_by_key(&front, |placed| placed.front);
        found.ok().map(|place| self.all[place].at - front)
    }

    pub(super) fn all(&self) -> &[Placed<B>] {
        &self.all
    }

    /// Those whose frames end behind `position`, and where the bytes before the first of them
    /// begin: in the stream, of which the slab has `start`, and in the slab.
    pub(super) fn from(&self, position: u64, start: u64) -> (&[Placed<B>], u64, usize) {
        let first = self.all.partition_point(|placed| placed.end <= position);
        let (before, rest) = self.all.split_at(first);
        let (begin, at) = before
            .last()
            .map_or((start, 0), |placed| (placed.end, placed.at));
        (rest, begin, at)
    }
}

impl<B: SharedBytes> Payloads<B> {
    /// Adds the payload of the last frame of a slab.
    pub(super) fn push(&mut self, front: usize, at: usize, end: u64, payload: B) {
        self.bytes += payload.len() as u64;
        self.all.push(Placed {
            front,
            at,
            end,
            payload: Some(payload),
        });
    }

    /// Lets go of the payloads that are the peer's now; returns their length.
    pub(super) fn let_go(&mut self, received_to: u64) -> u64 {
        let before = self.gone_bytes;
        while let Some(placed) = self.all.get_mut(self.gone)
            && placed.end <= received_to
        {
            let payload = placed.payload.take();
            self.gone_bytes += payload.map_or(0, |payload| payload.len() as u64);
            self.gone += 1;
        }
        self.gone_bytes - before
    }

    /// Seals `frames`, which begin at `at` in the slab; the payloads among them are read where they
    /// lie.
    pub(super) fn seal(&self, mut frames: &mut [u8], mut at: usize) {
        let first = self.all.partition_point(|placed| placed.at <= at);
        for placed in &self.all[first..] {
            let (whole, rest) = frames.split_at_mut(placed.front - at);
            seal(whole);
            let (front, rest) = rest.split_at_mut(placed.at - placed.front);
            seal_front(front, placed.payload.as_deref().unwrap_or_default());
            frames = rest;
            at = placed.at;
        }
        seal(frames);
    }

    /// Appends everything from `position` on to `into`, of a slab that is frozen to its end.
    pub(super) fn hand_out(
        &self,
        slab: &mut Slab,
        start: u64,
        position: u64,
        into: &mut Vec<Piece<B>>,
    ) {
        let (rest, mut begin, mut at) = self.from(position, start);
        for placed in rest {
            let payload_at = begin + (placed.at - at) as u64;
            push_slice(slab, at..placed.at, position.saturating_sub(begin), into);
            if let Some(payload) = &placed.payload {
                let mut payload = payload.clone();
                payload.advance(skipped(position.saturating_sub(payload_at), payload.len()));
                into.push(Piece::Shared(payload));
            }
            begin = placed.end;
            at = placed.at;
        }
        push_slice(slab, at..slab.len(), position.saturating_sub(begin), into);
    }
}

/// Appends the bytes of a slab that lie in `range`, without the first `skip` of them.
fn push_slice<B>(
    slab: &mut Slab,
    range: std::ops::Range<usize>,
    skip: u64,
    into: &mut Vec<Piece<B>>,
) {
    let first = range.start + skipped(skip, range.len());
    if first < range.end {
        into.push(Piece::Slab(slab.frozen_slice(first, range.end)));
    }
}

/// How many of `bytes` bytes are skipped.
fn skipped(skip: u64, bytes: usize) -> usize {
    usize::try_from(skip).map_or(bytes, |skip| skip.min(bytes))
}
