//! What passed, what was done to it, and the strikes that wait for a byte of any connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::faults::{Action, Direction};

/// What a proxy counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Connections taken.
    pub connections: u64,
    /// Connections closed at once: there were too many, or no upstream.
    pub refused: u64,
    /// Bytes forwarded to the upstream.
    pub bytes_to_upstream: u64,
    /// Bytes forwarded to clients.
    pub bytes_to_client: u64,
    /// Bytes taken and not forwarded, by connections that have ended or directions that are dead.
    pub bytes_dropped: u64,
    /// Bytes taken and, at the moment, neither forwarded nor dropped.
    pub bytes_held: u64,
    /// Connections cut on purpose.
    pub cuts: u64,
    /// Of them those that dropped bytes which one side had sent and the other never got, so that
    /// nobody can have acknowledged them.
    pub cuts_with_loss: u64,
    /// Directions ended on purpose.
    pub half_closes: u64,
    /// Bytes damaged.
    pub flips: u64,
}

/// The counts behind [`Counters`], and the armed strikes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) connections: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) held: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) cuts_with_loss: AtomicU64,
    pub(crate) half_closes: AtomicU64,
    pub(crate) flips: AtomicU64,
    to_upstream: Mutex<Passed>,
    to_client: Mutex<Passed>,
}

/// One direction of all connections together.
#[derive(Debug, Default)]
struct Passed {
    bytes: u64,
    /// Strikes by the bytes that pass before them.
    armed: Vec<(u64, Action)>,
}

/// Strikes that may wait at one time, in each direction.
const ARMED_MAX: usize = 1024;

impl Ledger {
    /// Has `action` done when so many more bytes have passed. Says whether there was room.
    pub(crate) fn arm(&self, direction: Direction, after: u64, action: Action) -> bool {
        let mut passed = self.passed(direction);
        let has_room = passed.armed.len() < ARMED_MAX;
        if has_room {
            let at = passed.bytes.saturating_add(after);
            passed.armed.push((at, action));
        }
        has_room
    }

    /// Lets up to `wanted` bytes of a direction pass: as many as go before the next armed strike.
    /// When there are none before it, the strike is due.
    pub(crate) fn claim(&self, direction: Direction, wanted: u64) -> Result<u64, Action> {
        let mut passed = self.passed(direction);
        let next = passed.armed.iter().enumerate().min_by_key(|(_, at)| at.0);
        let left = match next {
            Some((place, (at, _))) => {
                let left = at.saturating_sub(passed.bytes);
                if left == 0 {
                    return Err(passed.armed.swap_remove(place).1);
                }
                left
            }
            None => u64::MAX,
        };
        let taken = wanted.min(left);
        passed.bytes += taken;
        Ok(taken)
    }

    pub(crate) fn counters(&self) -> Counters {
        let of = |count: &AtomicU64| count.load(Ordering::Acquire);
        // The part before the whole.
        let cuts_with_loss = of(&self.cuts_with_loss);
        Counters {
            connections: of(&self.connections),
            refused: of(&self.refused),
            bytes_to_upstream: self.passed(Direction::ToUpstream).bytes,
            bytes_to_client: self.passed(Direction::ToClient).bytes,
            bytes_dropped: of(&self.dropped),
            bytes_held: of(&self.held),
            cuts: of(&self.cuts),
            cuts_with_loss,
            half_closes: of(&self.half_closes),
            flips: of(&self.flips),
        }
    }

    fn passed(&self, direction: Direction) -> MutexGuard<'_, Passed> {
        let passed = match direction {
            Direction::ToUpstream => &self.to_upstream,
            Direction::ToClient => &self.to_client,
        };
        passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::AcqRel);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Ending;

    #[test]
    fn a_claim_ends_at_the_nearest_strike_and_each_strike_is_due_once() {
        let ledger = Ledger::default();
        let direction = Direction::ToUpstream;
        assert!(ledger.arm(direction, 10, Action::HalfClose));
        assert!(ledger.arm(direction, 4, Action::Cut(Ending::Fin)));
        assert_eq!(ledger.claim(Direction::ToClient, 100), Ok(100));
        assert_eq!(ledger.claim(direction, 3), Ok(3));
        assert_eq!(ledger.claim(direction, 100), Ok(1));
        assert_eq!(ledger.claim(direction, 1), Err(Action::Cut(Ending::Fin)));
        assert_eq!(ledger.claim(direction, 100), Ok(6));
        assert_eq!(ledger.claim(direction, 100), Err(Action::HalfClose));
        assert_eq!(ledger.claim(direction, 100), Ok(100));
        assert_eq!(ledger.counters().bytes_to_upstream, 110);
    }

    #[test]
    fn one_over_the_strikes_that_may_wait_is_refused() {
        let ledger = Ledger::default();
        for _ in 0..ARMED_MAX {
            assert!(ledger.arm(Direction::ToClient, 1, Action::HalfClose));
        }
        assert!(!ledger.arm(Direction::ToClient, 1, Action::HalfClose));
        assert!(ledger.arm(Direction::ToUpstream, 1, Action::HalfClose));
    }
}
