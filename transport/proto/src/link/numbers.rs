//! The numbers a sender gives to the message types and recipients of one link.
//!
//! Both tables answer from a small direct-mapped cache first: a link mostly carries a handful of
//! (recipient, type) pairs. Keys are this node's own choice, so a fast hash without a seed will do.

use rustc_hash::{FxHashMap, FxHashSet};

use super::Target;
use crate::limits::{TARGET_NUMBER_MAX, TYPE_NUMBER_MAX};
use crate::message::{MessageId, MessageType};

/// A number, and whether the peer has to be told what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered<N> {
    pub(super) number: N,
    pub(super) is_new: bool,
}

/// Numbers of message types: given once, in order.
#[derive(Debug)]
pub(super) struct TypeNumbers {
    cache: [(MessageType, u16); TYPES_CACHED],
    numbers: FxHashMap<MessageType, u16>,
}

const TYPES_CACHED: usize = 8;
const TARGETS_CACHED: usize = 32;

/// All numbers are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl TypeNumbers {
    pub(super) fn new() -> Self {
        // Number 0 is nobody's, so it marks an empty entry.
        let nothing = MessageType {
            id: MessageId::from_u64(0),
            version: 0,
            fingerprint: 0,
        };
        Self {
            cache: [(nothing, 0); TYPES_CACHED],
            numbers: FxHashMap::default(),
        }
    }

    /// The number of `message`. A new one is not given until [`give`](Self::give).
    #[inline(always)]
    pub(super) fn find(&mut self, message: &MessageType) -> Result<Numbered<u16>, Exhausted> {
        let (cached, number) = &self.cache[Self::place(message)];
        if *number != 0 && cached == message {
            return Ok(Numbered {
                number: *number,
                is_new: false,
            });
        }
        self.find_uncached(message)
    }

    /// The number of `message`, if it has one and was asked for lately.
    #[inline(always)]
    pub(super) fn cached(&self, message: &MessageType) -> Option<u16> {
        let (cached, number) = &self.cache[Self::place(message)];
        (*number != 0 && cached == message).then_some(*number)
    }

    /// Gives the number that [`find`](Self::find) proposed.
    pub(super) fn give(&mut self, message: &MessageType, number: u16) {
        self.numbers.insert(*message, number);
        self.cache[Self::place(message)] = (*message, number);
    }

    #[cold]
    fn find_uncached(&mut self, message: &MessageType) -> Result<Numbered<u16>, Exhausted> {
        if let Some(&number) = self.numbers.get(message) {
            self.cache[Self::place(message)] = (*message, number);
            return Ok(Numbered {
                number,
                is_new: false,
            });
        }
        match u16::try_from(self.numbers.len() + 1) {
            Ok(number) if number <= TYPE_NUMBER_MAX => Ok(Numbered {
                number,
                is_new: true,
            }),
            _ => Err(Exhausted),
        }
    }

    #[inline]
    fn place(message: &MessageType) -> usize {
        message.id.as_u64() as usize % TYPES_CACHED
    }
}

/// Numbers of recipients: given in order, and when all are given, anew in the same order.
#[derive(Debug)]
pub(super) struct TargetNumbers {
    cache: [(Target, u32); TARGETS_CACHED],
    numbers: FxHashMap<Target, u32>,
    /// Who has which number, from number 1 on.
    owners: Vec<Target>,
    /// The index in `owners` of the number to give anew next, once all are given.
    next_again: usize,
    /// Numbers whose owners have no room.
    busy: FxHashSet<u32>,
}

impl TargetNumbers {
    pub(super) fn new() -> Self {
        let nothing = Target {
            slot: 0,
            generation: 0,
        };
        Self {
            cache: [(nothing, 0); TARGETS_CACHED],
            numbers: FxHashMap::default(),
            owners: Vec::new(),
            next_again: 0,
            busy: FxHashSet::default(),
        }
    }

    /// The number of `target`. A new one is not given until [`give`](Self::give).
    #[inline(always)]
    pub(super) fn find(&mut self, target: Target) -> Numbered<u32> {
        let (cached, number) = self.cache[Self::place(target)];
        if number != 0 && cached == target {
            return Numbered {
                number,
                is_new: false,
            };
        }
        self.find_uncached(target)
    }

    /// The number of `target`, if it has one and was asked for lately, and has room.
    #[inline(always)]
    pub(super) fn with_room(&self, target: Target) -> Option<u32> {
        let (cached, number) = self.cache[Self::place(target)];
        let is_known = number != 0 && cached == target;
        (is_known && (self.busy.is_empty() || !self.is_noted_busy(number))).then_some(number)
    }

    #[cold]
    fn is_noted_busy(&self, number: u32) -> bool {
        self.busy.contains(&number)
    }

    /// Gives the number that [`find`](Self::find) proposed, and takes it from whoever had it.
    pub(super) fn give(&mut self, target: Target, number: u32) {
        let index = number as usize - 1;
        if index < self.owners.len() {
            let former = std::mem::replace(&mut self.owners[index], target);
            self.numbers.remove(&former);
            let cached = &mut self.cache[Self::place(former)];
            if cached.0 == former {
                cached.1 = 0;
            }
            self.next_again = (index + 1) % TARGET_NUMBER_MAX as usize;
            self.busy.remove(&number);
        } else {
            self.owners.push(target);
        }
        self.numbers.insert(target, number);
        self.cache[Self::place(target)] = (target, number);
    }

    /// Who has a number.
    pub(super) fn owner(&self, number: u32) -> Option<Target> {
        let index = (number as usize).checked_sub(1)?;
        self.owners.get(index).copied()
    }

    /// How many owners have no room.
    pub(super) fn busy(&self) -> usize {
        self.busy.len()
    }

    /// Whether the owner of a number that was [found](Self::find) has no room.
    #[inline(always)]
    pub(super) fn is_busy(&self, found: Numbered<u32>) -> bool {
        !self.busy.is_empty() && !found.is_new && self.busy.contains(&found.number)
    }

    /// Notes whether the owner of a number has room; `false` for a number that nobody has.
    pub(super) fn note(&mut self, number: u32, busy: bool) -> bool {
        let given = number > 0 && number as usize <= self.owners.len();
        if given && busy {
            self.busy.insert(number);
        } else {
            self.busy.remove(&number);
        }
        given
    }

    /// Takes back all that was noted of room.
    pub(super) fn forget_notes(&mut self) {
        self.busy.clear();
    }

    #[cold]
    fn find_uncached(&mut self, target: Target) -> Numbered<u32> {
        if let Some(&number) = self.numbers.get(&target) {
            self.cache[Self::place(target)] = (target, number);
            return Numbered {
                number,
                is_new: false,
            };
        }
        let given = self.owners.len();
        let index = if given < TARGET_NUMBER_MAX as usize {
            given
        } else {
            self.next_again
        };
        Numbered {
            number: index as u32 + 1,
            is_new: true,
        }
    }

    #[inline]
    fn place(target: Target) -> usize {
        (target.slot as usize).wrapping_add(target.generation as usize) % TARGETS_CACHED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: u64) -> MessageType {
        MessageType {
            id: MessageId::from_u64(id),
            version: 1,
            fingerprint: 9,
        }
    }

    fn target(slot: u32) -> Target {
        Target {
            slot,
            generation: 5,
        }
    }

    #[test]
    fn types_keep_their_numbers_and_one_over_the_limit_is_refused() {
        let mut types = TypeNumbers::new();
        for id in 0..u64::from(TYPE_NUMBER_MAX) {
            let found = types.find(&message(id)).unwrap();
            assert_eq!((u64::from(found.number), found.is_new), (id + 1, true));
            types.give(&message(id), found.number);
        }
        assert_eq!(
            types.find(&message(u64::from(TYPE_NUMBER_MAX))),
            Err(Exhausted)
        );
        let first = types.find(&message(0)).unwrap();
        assert_eq!((first.number, first.is_new), (1, false));
    }

    #[test]
    fn another_version_or_layout_is_another_type() {
        let mut types = TypeNumbers::new();
        types.give(&message(3), 1);
        for other in [
            MessageType {
                version: 2,
                ..message(3)
            },
            MessageType {
                fingerprint: 8,
                ..message(3)
            },
        ] {
            assert_eq!(
                types.find(&other),
                Ok(Numbered {
                    number: 2,
                    is_new: true
                })
            );
        }
    }

    #[test]
    fn targets_beyond_the_last_number_take_the_oldest() {
        let mut targets = TargetNumbers::new();
        for slot in 0..TARGET_NUMBER_MAX {
            let found = targets.find(target(slot));
            assert_eq!((found.number, found.is_new), (slot + 1, true));
            targets.give(target(slot), found.number);
        }
        for (slot, number) in [(TARGET_NUMBER_MAX, 1), (TARGET_NUMBER_MAX + 1, 2)] {
            let found = targets.find(target(slot));
            assert_eq!((found.number, found.is_new), (number, true));
            targets.give(target(slot), number);
        }
        // Whoever lost a number gets another; whoever kept it keeps it.
        assert_eq!(targets.find(target(0)).number, 3);
        assert!(targets.find(target(0)).is_new);
        assert!(!targets.find(target(5)).is_new);
        assert_eq!(targets.numbers.len(), TARGET_NUMBER_MAX as usize);
    }

    #[test]
    fn a_busy_number_is_free_for_its_next_owner() {
        let mut targets = TargetNumbers::new();
        assert!(!targets.note(1, true), "nobody has it");
        for slot in 0..TARGET_NUMBER_MAX {
            targets.give(target(slot), slot + 1);
        }
        assert!(targets.note(1, true) && targets.note(2, true) && !targets.note(0, true));
        let found = targets.find(target(0));
        assert!(targets.is_busy(found));
        let next = targets.find(target(TARGET_NUMBER_MAX));
        assert!(next.number == 1 && !targets.is_busy(next), "it is new");
        targets.give(target(TARGET_NUMBER_MAX), 1);
        let found = targets.find(target(TARGET_NUMBER_MAX));
        assert!(!targets.is_busy(found));
        let found = targets.find(target(1));
        assert!(targets.is_busy(found));
        assert!(targets.note(2, false) && !targets.is_busy(found));
    }

    #[test]
    fn a_proposed_number_that_is_not_given_is_proposed_again() {
        let mut targets = TargetNumbers::new();
        assert_eq!(targets.find(target(1)), targets.find(target(2)));
        assert_eq!(targets.owner(1), None);
        targets.give(target(2), 1);
        assert_eq!(targets.find(target(1)).number, 2);
        let owners = [0, 1, 2].map(|number| targets.owner(number));
        assert_eq!(owners, [None, Some(target(2)), None]);
    }
}
