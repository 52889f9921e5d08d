//! One connection of a transport in memory, step by step.

use std::collections::VecDeque;
use std::io;

use ringmesh_proto::slab::SlabSlice;

use super::nobody_there;
use super::stream::{End, PIPE_BYTES_MAX, Pipes};
use crate::buffer::Chunk;
use crate::contract::{CloseReason, ConnectionId, Counters, Event, PREFACE_BYTES};

/// Chunks are at most two to this power long.
const CHUNK_BYTES_POWER_MAX: u64 = 14;

/// Chunks that one step receives.
const CHUNKS_PER_STEP: usize = 4;

pub(super) enum Stage {
    Dialling,
    Preface,
    Accepted,
    Dialled,
}

pub(super) struct Connection {
    /// Gone when the dial found nobody, or once it is closed.
    pub(super) end: Option<End>,
    pub(super) stage: Stage,
    pub(super) receiving: bool,
    pub(super) sending: bool,
    pub(super) unsent: VecDeque<SlabSlice>,
    pub(super) send_failed: bool,
    pub(super) closing: bool,
    /// On the list of connections to look at.
    pub(super) queued: bool,
}

/// What a connection needs to make one step.
pub(super) struct Step<'a> {
    pub(super) id: ConnectionId,
    pub(super) cuts: &'a mut Cuts,
    pub(super) counters: &'a mut Counters,
    pub(super) events: &'a mut VecDeque<Event>,
}

/// What a step led to.
pub(super) enum Moved {
    /// Nothing more happens before the other side does something, or this one is asked to.
    Waits,
    /// There is more to do.
    GoesOn,
    Ended(CloseReason),
}

impl Connection {
    pub(super) const fn new(end: Option<End>, stage: Stage) -> Self {
        Self {
            end,
            stage,
            receiving: false,
            sending: false,
            unsent: VecDeque::new(),
            send_failed: false,
            closing: false,
            queued: false,
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        !self.closing && matches!(self.stage, Stage::Accepted | Stage::Dialled)
    }

    /// Moves bytes both ways.
    pub(super) fn advance(&mut self, step: &mut Step<'_>) -> Moved {
        if self.closing {
            return Moved::Ended(CloseReason::Local);
        }
        let Some(end) = self.end.take() else {
            return Moved::Ended(nobody_there());
        };
        let (mut pipes, side) = end.look();
        let moved = self.advance_in(&mut pipes, side, step);
        drop(pipes);
        self.end = Some(end);
        moved
    }

    fn advance_in(&mut self, pipes: &mut Pipes, side: usize, step: &mut Step<'_>) -> Moved {
        if pipes.is_reset && (self.receiving || self.sending || !self.is_open()) {
            let reset = io::ErrorKind::ConnectionReset;
            return Moved::Ended(CloseReason::Broken(reset.into()));
        }
        if matches!(self.stage, Stage::Dialling) {
            self.stage = Stage::Dialled;
            step.events.push_back(Event::Connected {
                connection: step.id,
            });
        }
        if self.sending && !self.send(pipes, side, step) {
            let broken = io::ErrorKind::BrokenPipe;
            return Moved::Ended(CloseReason::Broken(broken.into()));
        }
        if let Some(reason) = self.receive(pipes, side, step) {
            return Moved::Ended(reason);
        }
        let goes_on = (self.sending && pipes.outward(side).room() > 0)
            || (self.receiving && !pipes.inward(side).bytes.is_empty());
        if goes_on || self.is_over(pipes, side) {
            Moved::GoesOn
        } else {
            Moved::Waits
        }
    }

    /// Whether the next step finds the end of the peer's stream.
    fn is_over(&self, pipes: &mut Pipes, side: usize) -> bool {
        let inward = pipes.inward(side);
        self.receiving && inward.finished && inward.bytes.is_empty()
    }

    /// Writes what there is room for; false when the peer is gone and nothing can come from it.
    fn send(&mut self, pipes: &mut Pipes, side: usize, step: &mut Step<'_>) -> bool {
        let pipe = pipes.outward(side);
        if pipe.abandoned {
            self.sending = false;
            self.send_failed = true;
            self.unsent.clear();
            return self.receiving;
        }
        let mut quota = step.cuts.next(pipe.room());
        let mut any = false;
        while let Some(slice) = self.unsent.front_mut() {
            let taken = slice.len().min(quota);
            pipe.bytes.extend(&slice[..taken]);
            any |= taken > 0;
            step.counters.bytes_sent += taken as u64;
            quota -= taken;
            slice.advance(taken);
            if !slice.is_empty() {
                break;
            }
            self.unsent.pop_front();
        }
        if any {
            pipes.tell(1 - side);
        }
        if self.unsent.is_empty() {
            self.sending = false;
            step.events.push_back(Event::Sent {
                connection: step.id,
            });
        }
        true
    }

    fn receive(
        &mut self,
        pipes: &mut Pipes,
        side: usize,
        step: &mut Step<'_>,
    ) -> Option<CloseReason> {
        let was_full = pipes.inward(side).room() == 0;
        let ended = if matches!(self.stage, Stage::Preface) {
            self.receive_preface(pipes, side, step)
        } else {
            self.receive_chunks(pipes, side, step)
        };
        if was_full && pipes.inward(side).room() > 0 {
            pipes.tell(1 - side);
        }
        ended
    }

    fn receive_preface(
        &mut self,
        pipes: &mut Pipes,
        side: usize,
        step: &mut Step<'_>,
    ) -> Option<CloseReason> {
        let pipe = pipes.inward(side);
        if pipe.bytes.len() < PREFACE_BYTES {
            return pipe.finished.then_some(CloseReason::PeerClosed);
        }
        let mut bytes = [0; PREFACE_BYTES];
        pipe.bytes
            .drain(..PREFACE_BYTES)
            .zip(&mut bytes)
            .for_each(|(from, to)| *to = from);
        self.stage = Stage::Accepted;
        let connection = step.id;
        step.events.push_back(Event::Preface { connection, bytes });
        None
    }

    fn receive_chunks(
        &self,
        pipes: &mut Pipes,
        side: usize,
        step: &mut Step<'_>,
    ) -> Option<CloseReason> {
        if !self.receiving {
            return None;
        }
        if self.is_over(pipes, side) {
            return Some(CloseReason::PeerClosed);
        }
        let pipe = pipes.inward(side);
        for _ in 0..step.cuts.next(CHUNKS_PER_STEP) {
            let (front, _) = pipe.bytes.as_slices();
            let count = step.cuts.next(front.len());
            if count == 0 {
                break;
            }
            let chunk = Chunk::copied_from(&front[..count]);
            pipe.bytes.drain(..count);
            step.counters.receives += 1;
            step.counters.bytes_received += count as u64;
            let connection = step.id;
            step.events.push_back(Event::Received { connection, chunk });
        }
        None
    }
}

/// Where streams are cut: the generator of Steele, Lea and Flood, "Fast splittable pseudorandom
/// number generators" (2014), known as SplitMix64.
pub(super) struct Cuts(u64);

impl Cuts {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number up to `most`, small and large ones equally likely; 0 only when `most` is 0.
    fn next(&mut self, most: usize) -> usize {
        let power = self.draw() % (CHUNK_BYTES_POWER_MAX + 1);
        let cut = 1 + self.draw() % (1 << power);
        most.min(cut as usize)
    }

    const fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
const _: () = assert!(1 << CHUNK_BYTES_POWER_MAX <= PIPE_BYTES_MAX);
