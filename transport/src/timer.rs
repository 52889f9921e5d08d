//! Timers of one core: a hierarchical wheel of tokens, without a clock of its own.
//!
//! Eight levels of 64 slots, after Varghese and Lauck, "Hashed and hierarchical timing wheels"
//! (1987). A tick is 2^16 ns (65.5 us), and 16 + 8 x 6 bits make 64: the wheel covers the whole
//! line of time, so no deadline is ever out of range. A timer sits at the level of the highest
//! 6-bit digit in which its tick differs from the wheel's, and moves down when the wheel reaches
//! its slot. Inserting and cancelling cost O(1); expiring costs O(1) per timer and level it moves
//! through.

use std::fmt;
use std::time::Duration;

use ringmesh_proto::time::Instant;

/// Bits of an instant below one tick.
const TICK_BITS: u32 = 16;
const LEVEL_BITS: u32 = 6;
const LEVELS: usize = 8;
const SLOTS: usize = 1 << LEVEL_BITS;

/// The last tick of the line of time.
const LAST_TICK: u64 = u64::MAX >> TICK_BITS;

/// Timers fire at most this much after their deadline, and never before it, when
/// [`TimerWheel::expire`] is called in time.
pub const RESOLUTION: Duration = Duration::from_nanos(1 << TICK_BITS);

/// The end of a list, and no node at all.
const NONE: u32 = u32::MAX;

/// Names a timer of one wheel until it fires or is cancelled; never names another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    index: u32,
    generation: u32,
}

/// A wheel holds as many timers as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("all {capacity} timers of the core are in use; cancel some or raise the limit")]
pub struct TimersExhausted {
    /// The limit the wheel was made with.
    pub capacity: u32,
}

/// The wheel. `T` says what to do when a timer fires.
pub struct TimerWheel<T> {
    nodes: Vec<Node<T>>,
    free: u32,
    len: u32,
    capacity: u32,
    /// Everything due at or before this tick has fired.
    tick: u64,
    /// The first node of each slot's list.
    heads: [[u32; SLOTS]; LEVELS],
    /// A bit for each slot that is not empty.
    occupied: [u64; LEVELS],
    /// No timer is due before this tick; there may be none at it.
    earliest: Option<u64>,
}

struct Node<T> {
    /// `None` while the node is free.
    token: Option<T>,
    generation: u32,
    tick: u64,
    level: u8,
    slot: u8,
    previous: u32,
    next: u32,
}

impl<T> TimerWheel<T> {
    /// A wheel that stands at `now` and holds at most `capacity` timers. Memory grows with the most
    /// that were ever held at once.
    pub const fn new(now: Instant, capacity: u32) -> Self {
        Self {
            nodes: Vec::new(),
            free: NONE,
            len: 0,
            capacity,
            tick: now.as_nanos() >> TICK_BITS,
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            earliest: None,
        }
    }

    /// Timers that have not fired.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no timer waits.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Has `token` fire at `deadline`; one that has passed fires at the next
    /// [`expire`](Self::expire) that moves the wheel by a tick.
    ///
    /// # Errors
    /// When the wheel is full.
    pub fn insert(&mut self, deadline: Instant, token: T) -> Result<TimerKey, TimersExhausted> {
        if self.len == self.capacity {
            return Err(TimersExhausted {
                capacity: self.capacity,
            });
        }
        // Rounded up, so that no timer fires early; the last tick of the line stands for itself.
        let due = deadline.as_nanos().div_ceil(1 << TICK_BITS);
        let tick = due.max(self.tick + 1).min(LAST_TICK);
        let index = self.allocate(tick, token);
        self.link(index);
        self.len += 1;
        self.earliest = Some(self.earliest.map_or(tick, |earliest| earliest.min(tick)));
        Ok(TimerKey {
            index,
            generation: self.nodes[index as usize].generation,
        })
    }

    /// Takes a timer out; `None` when it has fired or was cancelled.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        let node = self.nodes.get(key.index as usize)?;
        if node.generation != key.generation || node.token.is_none() {
            return None;
        }
        self.unlink(key.index);
        let token = self.release(key.index);
        if self.len == 0 {
            self.earliest = None;
        }
        token
    }

    /// When to call [`expire`](Self::expire) next: no timer is due before. Cancelling does not move
    /// it later, so there may be none at that time.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.earliest
            .map(|tick| Instant::from_nanos(tick.saturating_mul(1 << TICK_BITS)))
    }

    /// Fires every timer whose deadline is `now` or earlier, in order of their ticks; in no order
    /// within a tick.
    pub fn expire(&mut self, now: Instant, mut fire: impl FnMut(T)) {
        let target = now.as_nanos() >> TICK_BITS;
        if self.earliest.is_none_or(|earliest| earliest > target) {
            // Standing still is right: every timer is placed relative to `tick`.
            return;
        }
        while let Some((level, slot, start)) = self.next_slot() {
            if start > target {
                break;
            }
            self.tick = start;
            self.empty(level, slot, &mut fire);
        }
        // What is left sits in slots that start later, so its levels hold for this tick too.
        self.tick = self.tick.max(target);
        self.earliest = self.find_earliest();
    }

    /// The first slot, in time, that is not empty, and the tick at which it starts.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        (0..LEVELS)
            .find(|level| self.occupied[*level] != 0)
            .map(|level| {
                let slot = self.occupied[level].trailing_zeros() as usize;
                let shift = LEVEL_BITS * level as u32;
                // The digits above this level are those of the wheel, the ones below are zero.
                let above = self.tick >> shift >> LEVEL_BITS << LEVEL_BITS;
                (level, slot, (above | slot as u64) << shift)
            })
    }

    /// Fires what is due in a slot that the wheel has reached, and moves the rest down.
    fn empty(&mut self, level: usize, slot: usize, fire: &mut impl FnMut(T)) {
        let mut index = self.take_list(level, slot);
        while index != NONE {
            let next = self.nodes[index as usize].next;
            if self.nodes[index as usize].tick <= self.tick {
                if let Some(token) = self.release(index) {
                    fire(token);
                }
            } else {
                self.link(index);
            }
            index = next;
        }
    }

    fn find_earliest(&self) -> Option<u64> {
        let (level, slot, _) = self.next_slot()?;
        let mut index = self.heads[level][slot];
        let mut earliest = u64::MAX;
        while index != NONE {
            let node = &self.nodes[index as usize];
            earliest = earliest.min(node.tick);
            index = node.next;
        }
        Some(earliest)
    }

    fn take_list(&mut self, level: usize, slot: usize) -> u32 {
        self.occupied[level] &= !(1 << slot);
        std::mem::replace(&mut self.heads[level][slot], NONE)
    }

    fn link(&mut self, index: u32) {
        let tick = self.nodes[index as usize].tick;
        let level = level_of(self.tick, tick);
        let slot = digit(tick, level);
        let head = std::mem::replace(&mut self.heads[level][slot], index);
        self.occupied[level] |= 1 << slot;
        if let Some(after) = self.nodes.get_mut(head as usize) {
            after.previous = index;
        }
        let node = &mut self.nodes[index as usize];
        (node.previous, node.next) = (NONE, head);
        (node.level, node.slot) = (level as u8, slot as u8);
    }

    fn unlink(&mut self, index: u32) {
        let Node {
            previous,
            next,
            level,
            slot,
            ..
        } = self.nodes[index as usize];
        let (level, slot) = (usize::from(level), usize::from(slot));
        if let Some(after) = self.nodes.get_mut(next as usize) {
            after.previous = previous;
        }
        if let Some(before) = self.nodes.get_mut(previous as usize) {
            before.next = next;
            return;
        }
        self.heads[level][slot] = next;
        if next == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }

    fn allocate(&mut self, tick: u64, token: T) -> u32 {
        if let Some(node) = self.nodes.get_mut(self.free as usize) {
            let index = std::mem::replace(&mut self.free, node.next);
            (node.tick, node.token) = (tick, Some(token));
            return index;
        }
        let (level, slot) = (0, 0);
        let token = Some(token);
        self.nodes.push(Node {
            token,
            generation: 0,
            tick,
            level,
            slot,
            previous: NONE,
            next: NONE,
        });
        self.nodes.len() as u32 - 1
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let node = &mut self.nodes[index as usize];
        node.generation = node.generation.wrapping_add(1);
        node.next = std::mem::replace(&mut self.free, index);
        self.len -= 1;
        node.token.take()
    }
}

impl<T> fmt::Debug for TimerWheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerWheel")
            .field("len", &self.len)
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}

/// The level of a timer due at `tick` when the wheel stands at `now`.
const fn level_of(now: u64, tick: u64) -> usize {
    let differing = now ^ tick;
    if differing == 0 {
        0
    } else {
        (differing.ilog2() / LEVEL_BITS) as usize
    }
}

const fn digit(tick: u64, level: usize) -> usize {
    (tick >> (LEVEL_BITS * level as u32)) as usize & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Insert { after: u64 },
        Cancel { which: usize },
        Advance { by: u64 },
    }

    fn span() -> impl Strategy<Value = u64> {
        (0_u32..63, any::<u64>()).prop_map(|(bits, noise)| noise & ((1 << bits) - 1))
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            5 => span().prop_map(|after| Operation::Insert { after }),
            2 => any::<usize>().prop_map(|which| Operation::Cancel { which }),
            3 => span().prop_map(|by| Operation::Advance { by }),
        ]
    }

    /// Fires everything due at `now` in the wheel and in a sorted map, and compares.
    fn expire(wheel: &mut TimerWheel<u32>, oracle: &mut BTreeMap<u32, (u64, TimerKey)>, now: u64) {
        let bound = wheel.next_deadline().map(Instant::as_nanos);
        let mut fired = Vec::new();
        wheel.expire(Instant::from_nanos(now), |token| fired.push(token));
        for token in &fired {
            let (deadline, _) = oracle.remove(token).expect("fired once");
            assert!(deadline <= now, "fired early");
            assert!(
                bound.unwrap() <= now,
                "fired before the deadline the wheel named"
            );
        }
        let resolution = RESOLUTION.as_nanos() as u64;
        let late = oracle
            .values()
            .find(|(deadline, _)| deadline.saturating_add(resolution) <= now);
        assert!(late.is_none(), "did not fire: {late:?} at {now}");
        assert_eq!(wheel.len(), oracle.len());
        assert_eq!(wheel.is_empty(), wheel.next_deadline().is_none());
    }

    proptest! {
        #[test]
        fn fires_what_a_sorted_map_says(
            start in span(),
            operations in prop::collection::vec(operation(), 1..200),
        ) {
            let mut now = start;
            let mut wheel = TimerWheel::new(Instant::from_nanos(now), 64);
            let mut oracle = BTreeMap::new();
            for (token, operation) in (0_u32..).zip(operations) {
                match operation {
                    Operation::Insert { after } => {
                        let deadline = now.saturating_add(after);
                        match wheel.insert(Instant::from_nanos(deadline), token) {
                            Ok(key) => { oracle.insert(token, (deadline, key)); }
                            Err(TimersExhausted { capacity }) => {
                                prop_assert_eq!((capacity, oracle.len()), (64, 64));
                            }
                        }
                    }
                    Operation::Cancel { which } => {
                        let Some(token) = oracle.keys().nth(which % (oracle.len() + 1)).copied()
                        else { continue };
                        let (_, key) = oracle.remove(&token).unwrap();
                        prop_assert_eq!(wheel.cancel(key), Some(token));
                        prop_assert_eq!(wheel.cancel(key), None);
                    }
                    Operation::Advance { by } => {
                        now = now.saturating_add(by);
                        expire(&mut wheel, &mut oracle, now);
                    }
                }
            }
            expire(&mut wheel, &mut oracle, u64::MAX);
        }
    }

    #[test]
    fn a_key_of_a_fired_timer_names_nothing() {
        let mut wheel = TimerWheel::new(Instant::ZERO, 1);
        let old = wheel.insert(Instant::ZERO, 'a').unwrap();
        wheel.expire(Instant::ZERO + RESOLUTION, |token| assert_eq!(token, 'a'));
        let new = wheel.insert(Instant::ZERO, 'b').unwrap();
        assert_eq!((wheel.cancel(old), wheel.cancel(new)), (None, Some('b')));
    }
}
