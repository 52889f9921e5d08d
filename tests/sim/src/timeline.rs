//! Virtual time: what happens next, in one total order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use ringmesh_proto::time::Instant;

/// Timed events, in the order of their times, and of being added where those are equal.
#[derive(Debug)]
pub(crate) struct Timeline<E> {
    now: Instant,
    heap: BinaryHeap<Entry<E>>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Instant,
    sequence: u64,
    event: E,
}

impl<E> Timeline<E> {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::ZERO,
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }

    /// The virtual time.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Has an event happen at a time, or now if that is over.
    pub(crate) fn push(&mut self, at: Instant, event: E) {
        let (at, sequence) = (at.max(self.now), self.sequence);
        self.sequence += 1;
        self.heap.push(Entry {
            at,
            sequence,
            event,
        });
    }

    /// When the next event happens.
    pub(crate) fn peek(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Lets the time pass to the next event.
    pub(crate) fn pop(&mut self) -> Option<E> {
        let Entry { at, event, .. } = self.heap.pop()?;
        self.now = at;
        Some(event)
    }

    /// Lets the time pass to an instant at which nothing happens.
    pub(crate) fn pass(&mut self, to: Instant) {
        debug_assert!(self.peek().is_none_or(|next| next >= to), "events wait");
        self.now = self.now.max(to);
    }

    /// How many events wait.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

impl<E> Entry<E> {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.sequence)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The earliest is the greatest: a binary heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_then_of_being_added() {
        let mut timeline = Timeline::new();
        let at = |millis| Instant::ZERO + Duration::from_millis(millis);
        for (millis, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            timeline.push(at(millis), event);
        }
        let order: String = std::iter::from_fn(|| timeline.pop()).collect();
        assert_eq!((order.as_str(), timeline.now()), ("abcd", at(5)));
        timeline.push(at(2), 'e');
        assert_eq!(timeline.peek(), Some(at(5)), "what is over happens now");
        assert_eq!((timeline.pop(), timeline.len()), (Some('e'), 0));
    }
}
