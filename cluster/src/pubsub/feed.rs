//! What waits for all readers of one queue, each of whom reads everything at a pace of its own.
//!
//! To each reader it is as if it had a [`Queue`](super::Queue) alone, under
//! [`OnFull::DropOldest`](super::OnFull::DropOldest): the oldest are lost to those who have not
//! read them, and each of these is told how many where they are missing. But an item is kept once,
//! and to offer it costs the same however many read.
//!
//! What waits here waits for the slowest reader: what all have read is gone, so the bounds hold for
//! each of them. At any time, as many copies were offered as were taken, dropped and given up by
//! readers who left, and still wait.

use std::collections::VecDeque;

use super::queue::Taken;

/// How far a reader has read.
#[derive(Debug)]
#[must_use = "it is to be shown to `leave`, or what it has not read waits until others come"]
pub struct Cursor {
    /// The number of the slot that it reads next, if that still waits.
    slot: u64,
    /// How many of the items that were ever offered it has read, was told to be lost, or was not
    /// there for.
    offered: u64,
}

/// What became of an item that was offered, and of others for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Fed {
    /// Readers for whom it waits.
    pub queued: u32,
    /// Copies that were lost: of this item, or of others to make room.
    pub dropped: u64,
}

/// Counts of copies, one of each item for each reader. Each only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCounters {
    /// Copies that were offered.
    pub offered: u64,
    /// Copies that were taken.
    pub taken: u64,
    /// Copies that were lost.
    pub dropped: u64,
    /// Copies that waited for readers who left.
    pub given_up: u64,
}

#[derive(Debug)]
struct Slot<T> {
    item: T,
    bytes: usize,
    /// How many items were offered before it. Those between two slots were lost.
    offered: u64,
    /// How many readers have not read it: never more than of what comes behind it.
    unread: u32,
}

/// One queue for many readers.
#[derive(Debug)]
pub struct Feed<T> {
    items_max: usize,
    bytes_max: usize,
    waiting: VecDeque<Slot<T>>,
    bytes: usize,
    /// The number of the first slot that waits; they are numbered in the order in which they came.
    first: u64,
    /// How many items were ever offered.
    offered: u64,
    readers: u32,
    /// What was taken is what is left of the others, so that nobody who takes has to count.
    counters: FeedCounters,
}

impl<T: Clone> Feed<T> {
    /// One without readers. So many items may wait for each of them, and so many bytes.
    pub fn new(items_max: usize, bytes_max: usize) -> Self {
        Self {
            items_max,
            bytes_max,
            waiting: VecDeque::new(),
            bytes: 0,
            first: 0,
            offered: 0,
            readers: 0,
            counters: FeedCounters::default(),
        }
    }

    /// Somebody reads what is offered from now on.
    pub fn join(&mut self) -> Cursor {
        self.readers += 1;
        Cursor {
            slot: self.first + self.waiting.len() as u64,
            offered: self.offered,
        }
    }

    /// A reader of this feed reads no more; nothing waits for that cursor then.
    pub fn leave(&mut self, cursor: &mut Cursor) {
        let waits = self.len(cursor);
        let from = self.waiting.len() - waits;
        for slot in self.waiting.range_mut(from..) {
            slot.unread -= 1;
        }
        self.readers -= 1;
        cursor.slot = self.first + self.waiting.len() as u64;
        cursor.offered = self.offered;
        self.counters.given_up += waits as u64;
        while self.waiting.front().is_some_and(|it| it.unread == 0) {
            self.pop();
        }
    }

    /// Offers an item of that many bytes to all readers.
    pub fn offer(&mut self, item: T, bytes: usize) -> Fed {
        let mut fed = Fed::default();
        let readers = u64::from(self.readers);
        let is_fit = bytes <= self.bytes_max && self.items_max > 0;
        if is_fit && readers > 0 {
            fed.dropped = self.make_room(bytes);
            fed.queued = self.readers;
            self.bytes += bytes;
            self.waiting.push_back(Slot {
                item,
                bytes,
                offered: self.offered,
                unread: self.readers,
            });
        } else {
            fed.dropped = readers;
        }
        self.offered += 1;
        self.counters.offered += readers;
        self.counters.dropped += fed.dropped;
        fed
    }

    /// Takes what is next for a reader of this feed; `None` if nothing waits for it.
    #[inline(always)]
    pub fn take(&mut self, cursor: &mut Cursor) -> Option<Taken<T>> {
        let at = cursor.slot.saturating_sub(self.first);
        // What does not fit is behind all that wait.
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let Some(slot) = self.waiting.get_mut(at) else {
            return self.lost_before(cursor, self.offered);
        };
        if slot.offered != cursor.offered {
            let offered = slot.offered;
            return self.lost_before(cursor, offered);
        }
        cursor.slot = self.first + at as u64 + 1;
        cursor.offered += 1;
        if slot.unread > 1 {
            slot.unread -= 1;
            return Some(Taken::Item(slot.item.clone()));
        }
        // Nobody else needs it; so all before it have gone, and it is the first.
        self.take_last()
    }

    #[inline(never)]
    fn take_last(&mut self) -> Option<Taken<T>> {
        self.pop().map(|slot| Taken::Item(slot.item))
    }

    /// How many items wait for a reader of this feed.
    pub fn len(&self, cursor: &Cursor) -> usize {
        let read = cursor.slot.saturating_sub(self.first);
        let read = usize::try_from(read).unwrap_or(usize::MAX);
        self.waiting.len().saturating_sub(read)
    }

    /// The bytes of what waits for anybody.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many read.
    pub fn readers(&self) -> u32 {
        self.readers
    }

    /// How many copies were offered, and what became of them.
    pub fn counters(&self) -> FeedCounters {
        let FeedCounters {
            offered,
            dropped,
            given_up,
            ..
        } = self.counters;
        let wait: u64 = self.waiting.iter().map(|it| u64::from(it.unread)).sum();
        FeedCounters {
            taken: offered - dropped - given_up - wait,
            ..self.counters
        }
    }

    #[cold]
    fn lost_before(&self, cursor: &mut Cursor, offered: u64) -> Option<Taken<T>> {
        let lost = offered - cursor.offered;
        cursor.offered = offered;
        (lost > 0).then_some(Taken::Lagged(lost))
    }

    /// The oldest are lost to those who have not read them. How many copies that are.
    fn make_room(&mut self, bytes: usize) -> u64 {
        let mut dropped = 0;
        while self.bytes + bytes > self.bytes_max || self.waiting.len() >= self.items_max {
            let Some(oldest) = self.pop() else {
                break;
            };
            dropped += u64::from(oldest.unread);
        }
        dropped
    }

    #[inline]
    fn pop(&mut self) -> Option<Slot<T>> {
        let front = self.waiting.pop_front()?;
        self.bytes -= front.bytes;
        self.first += 1;
        Some(front)
    }
}

#[cfg(test)]
mod tests;
