//! What a node makes for others, and how much of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ringmesh_proto::address::{CoreId, Uid};

use super::{AllowList, Factories, Factory, Placements};
use crate::core::CONTROL_CORE;

/// Actors that one process start may have here at one time, those included that are being made.
pub(super) const CHILDREN_OF_ORIGIN_MAX: usize = 1 << 14;

/// Those of all together.
pub(super) const CHILDREN_MAX: usize = 1 << 16;

/// Bytes of arguments that are kept for them, of all together.
pub(super) const ARGS_BYTES_MAX: usize = 256 << 20;

/// Those of one process start.
pub(super) const ARGS_BYTES_OF_ORIGIN_MAX: usize = 64 << 20;

// Nobody takes the room of all others.
const _: () = assert!(ARGS_BYTES_OF_ORIGIN_MAX < ARGS_BYTES_MAX);
const _: () = assert!(CHILDREN_OF_ORIGIN_MAX < CHILDREN_MAX);

/// Questions of other nodes that are served at one time.
pub(super) const UNDER_WAY_MAX: usize = 256;

/// What a node offers to make. It is told before its cores run.
#[derive(Debug, Default)]
pub(crate) struct Offer {
    pub(crate) factories: Factories,
    pub(crate) allow: AllowList,
    /// Where its own actors are to live.
    pub(crate) placements: Placements,
}

/// The same with what it has made. One for all cores of a node.
#[derive(Debug, Default)]
pub(crate) struct Nursery {
    offer: OnceLock<Offer>,
    roster: Arc<Mutex<Roster>>,
    /// The core whose turn it is.
    next: AtomicUsize,
}

/// Who was made for whom: by the process start and the generation of its stand-in there.
#[derive(Debug, Default)]
struct Roster {
    children: BTreeSet<(Uid, u64)>,
    /// What each has.
    of_origin: BTreeMap<Uid, Share>,
    under_way: usize,
    args_bytes: usize,
}

/// What one process start has here.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    children: usize,
    args_bytes: usize,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSeat {
    #[error("{limit} actors live here for that node already")]
    TooManyOfOrigin { limit: usize },
    #[error("{limit} actors live here for other nodes already")]
    TooMany { limit: usize },
    #[error("the arguments of others already take what they may of {limit} bytes")]
    TooManyBytes { limit: usize },
    #[error("the arguments of that node's actors already take what they may of {limit} bytes")]
    TooManyBytesOfOrigin { limit: usize },
    #[error("{limit} others are being made for other nodes")]
    TooManyUnderWay { limit: usize },
    #[error("that actor was asked for before")]
    Repeated,
}

impl Nursery {
    /// Says what the node offers, before it starts.
    pub(crate) fn open(&self, offer: Offer) {
        // Set once: a node starts once.
        let _ = self.offer.set(offer);
    }

    pub(super) fn factory(&self, key: &str) -> Option<Factory> {
        self.offer.get()?.factories.find(key)
    }

    pub(super) fn allows(&self, key: &str) -> bool {
        self.offer
            .get()
            .is_some_and(|offer| offer.allow.allows(key))
    }

    pub(crate) fn placements(&self) -> Option<&Placements> {
        self.offer.get().map(|offer| &offer.placements)
    }

    /// The core whose turn it is, of these.
    pub(crate) fn next_core(&self, mut cores: impl ExactSizeIterator<Item = CoreId>) -> CoreId {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % cores.len().max(1);
        cores.nth(turn).unwrap_or(CONTROL_CORE)
    }

    /// A seat for the child that `stand_in`, of that process start, stands for, with so many bytes
    /// of arguments.
    pub(super) fn admit(
        &self,
        origin: Uid,
        stand_in: u64,
        args_bytes: usize,
    ) -> Result<(Seat, UnderWay), NoSeat> {
        let mut roster = lock(&self.roster);
        if roster.children.contains(&(origin, stand_in)) {
            return Err(NoSeat::Repeated);
        }
        if roster.under_way >= UNDER_WAY_MAX {
            let limit = UNDER_WAY_MAX;
            return Err(NoSeat::TooManyUnderWay { limit });
        }
        roster.check(origin)?;
        roster.keep(origin, args_bytes)?;
        roster.of_origin.entry(origin).or_default().children += 1;
        roster.children.insert((origin, stand_in));
        roster.under_way += 1;
        drop(roster);
        let seat = Seat {
            roster: Arc::clone(&self.roster),
            origin,
            stand_in,
            args_bytes,
        };
        let under_way = UnderWay {
            roster: Arc::clone(&self.roster),
        };
        Ok((seat, under_way))
    }
}

impl Roster {
    /// Room for one more actor of a process start.
    fn check(&self, origin: Uid) -> Result<(), NoSeat> {
        if self.children.len() >= CHILDREN_MAX {
            let limit = CHILDREN_MAX;
            return Err(NoSeat::TooMany { limit });
        }
        let share = self.of_origin.get(&origin);
        if share.is_some_and(|share| share.children >= CHILDREN_OF_ORIGIN_MAX) {
            let limit = CHILDREN_OF_ORIGIN_MAX;
            return Err(NoSeat::TooManyOfOrigin { limit });
        }
        Ok(())
    }

    /// Keeps so many more bytes of arguments for a process start, if there is room.
    fn keep(&mut self, origin: Uid, args_bytes: usize) -> Result<(), NoSeat> {
        let share = self.of_origin.get(&origin).copied().unwrap_or_default();
        if ARGS_BYTES_OF_ORIGIN_MAX - share.args_bytes < args_bytes {
            let limit = ARGS_BYTES_OF_ORIGIN_MAX;
            return Err(NoSeat::TooManyBytesOfOrigin { limit });
        }
        if ARGS_BYTES_MAX - self.args_bytes < args_bytes {
            let limit = ARGS_BYTES_MAX;
            return Err(NoSeat::TooManyBytes { limit });
        }
        self.args_bytes += args_bytes;
        self.of_origin.entry(origin).or_default().args_bytes += args_bytes;
        Ok(())
    }

    /// So many bytes are kept no more.
    fn give_back(&mut self, origin: Uid, args_bytes: usize) {
        self.args_bytes -= args_bytes;
        if let Some(share) = self.of_origin.get_mut(&origin) {
            share.args_bytes -= args_bytes;
        }
    }

    /// A seat is free again.
    fn leave(&mut self, seat: &Seat) {
        self.children.remove(&(seat.origin, seat.stand_in));
        self.give_back(seat.origin, seat.args_bytes);
        if let Some(share) = self.of_origin.get_mut(&seat.origin) {
            share.children -= 1;
            if share.children == 0 {
                self.of_origin.remove(&seat.origin);
            }
        }
    }
}

/// The place of one actor that was made for another node, until it is gone with its guardian.
#[derive(Debug)]
pub(super) struct Seat {
    roster: Arc<Mutex<Roster>>,
    origin: Uid,
    stand_in: u64,
    args_bytes: usize,
}

impl Seat {
    /// Keeps so many bytes of arguments instead of those it was taken with, if there is room.
    pub(super) fn keep(&mut self, args_bytes: usize) -> Result<(), NoSeat> {
        let mut roster = lock(&self.roster);
        let more = args_bytes.saturating_sub(self.args_bytes);
        roster.keep(self.origin, more)?;
        roster.give_back(self.origin, self.args_bytes.saturating_sub(args_bytes));
        self.args_bytes = args_bytes;
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.roster).leave(self);
    }
}

/// A question that is being served.
#[derive(Debug)]
pub(super) struct UnderWay {
    roster: Arc<Mutex<Roster>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.roster).under_way -= 1;
    }
}

fn lock(roster: &Mutex<Roster>) -> MutexGuard<'_, Roster> {
    roster.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(value: u64) -> Uid {
        Uid::new(value).expect("not zero")
    }

    fn fill(nursery: &Nursery, origin: Uid, count: usize) -> Vec<Seat> {
        let admitted = (0..count as u64).map(|stand_in| nursery.admit(origin, stand_in, 1));
        admitted.map(|it| it.expect("room").0).collect()
    }

    #[test]
    fn one_over_the_children_of_an_origin_or_of_all_is_refused() {
        let nursery = Nursery::default();
        let limit = CHILDREN_OF_ORIGIN_MAX;
        let mut seats = fill(&nursery, uid(1), limit);
        let refused = nursery.admit(uid(1), u64::MAX, 1).expect_err("one over");
        assert_eq!(refused, NoSeat::TooManyOfOrigin { limit });
        let others = CHILDREN_MAX / limit;
        seats.extend((2..=others as u64).flat_map(|it| fill(&nursery, uid(it), limit)));
        let refused = nursery.admit(uid(1000), 1, 1).expect_err("one over");
        let limit = CHILDREN_MAX;
        assert_eq!(refused, NoSeat::TooMany { limit });
        drop(seats.pop());
        assert!(nursery.admit(uid(1000), 1, 1).is_ok());
        drop(seats);
        let roster = lock(&nursery.roster);
        assert!(roster.children.is_empty() && roster.of_origin.is_empty());
        assert_eq!((roster.under_way, roster.args_bytes), (0, 0));
    }

    #[test]
    fn one_over_the_bytes_of_arguments_of_an_origin_or_of_all_is_refused() {
        let nursery = Nursery::default();
        let share = ARGS_BYTES_OF_ORIGIN_MAX;
        let half = nursery.admit(uid(1), 1, share / 2).expect("room");
        let refused = nursery.admit(uid(1), 2, share / 2 + 1);
        let limit = share;
        let of_origin = NoSeat::TooManyBytesOfOrigin { limit };
        assert_eq!(refused.expect_err("one over"), of_origin);
        let (mut full, under_way) = nursery.admit(uid(1), 2, 1).expect("room");
        assert_eq!(full.keep(share / 2), Ok(()), "they grew");
        assert_eq!(full.keep(share / 2 + 1), Err(of_origin));
        assert_eq!(full.keep(1).and_then(|()| full.keep(share / 2)), Ok(()));
        let mut seats = vec![half, (full, under_way)];
        let others = (ARGS_BYTES_MAX / share) as u64;
        let all = (2..=others).map(|it| nursery.admit(uid(it), 1, share).expect("its own share"));
        seats.extend(all);
        let limit = ARGS_BYTES_MAX;
        let refused = nursery.admit(uid(1000), 1, 1).expect_err("one over");
        assert_eq!(refused, NoSeat::TooManyBytes { limit });
        assert_eq!(
            lock(&nursery.roster).of_origin.len() as u64,
            others,
            "who was refused has nothing here"
        );
        drop(seats.pop());
        seats.push(nursery.admit(uid(1000), 1, share).expect("it left"));
        drop(seats);
        let roster = lock(&nursery.roster);
        assert!(roster.of_origin.is_empty() && roster.args_bytes == 0);
    }

    #[test]
    fn one_over_the_questions_under_way_is_refused() {
        let nursery = Nursery::default();
        let admitted: Vec<_> = (0..UNDER_WAY_MAX as u64)
            .map(|stand_in| nursery.admit(uid(1), stand_in, 1).expect("room"))
            .collect();
        let limit = UNDER_WAY_MAX;
        let refused = nursery.admit(uid(1), u64::MAX, 1).expect_err("one over");
        assert_eq!(refused, NoSeat::TooManyUnderWay { limit });
        drop(admitted);
        assert!(nursery.admit(uid(1), u64::MAX, 1).is_ok());
    }

    #[test]
    fn a_question_that_is_repeated_is_refused_as_long_as_its_actor_lives() {
        let nursery = Nursery::default();
        let (seat, under_way) = nursery.admit(uid(1), 7, 1).expect("room");
        drop(under_way);
        let repeated = nursery.admit(uid(1), 7, 1).expect_err("it lives");
        assert_eq!(repeated, NoSeat::Repeated);
        assert!(nursery.admit(uid(2), 7, 1).is_ok(), "another's");
        drop(seat);
        assert!(nursery.admit(uid(1), 7, 1).is_ok());
    }

    #[test]
    fn the_cores_take_turns() {
        let nursery = Nursery::default();
        let turns = [0; 5].map(|_| nursery.next_core([4, 7].map(CoreId).into_iter()).0);
        assert_eq!(turns, [4, 7, 4, 7, 4]);
    }
}
