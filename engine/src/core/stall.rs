//! Links whose peer takes nothing over: how long it may hold this node's memory.
//!
//! What is sent is retained until the peer has taken it over, so a peer that never says so holds a
//! window of memory. While something is retained anywhere the core looks at its links now and then;
//! one on which nothing moved for `grant_timeout` of the settings ends. No clock is read for it per
//! message or per grant.

use std::rc::Rc;

use ringmesh_proto::close_reason::CloseReason;

use super::link::Link;
use super::{Core, Token};

/// Looks within the time that a link may stand still.
const LOOKS: u32 = 6;

/// So many of them in a row that saw nothing move are a standstill, and told.
const LOOKS_STILL: u32 = LOOKS / 2;

/// Whether a link gets on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does, as far as was seen.
    Moves,
    /// Nothing moved for a while.
    Still,
}

/// What was seen of a link's progress.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    received_to: u64,
    /// Looks in a row that saw nothing move.
    looks: u32,
}

impl Progress {
    /// Says for how many looks nothing moved, with this one.
    fn look(&mut self, received_to: u64) -> u32 {
        self.looks = if received_to == self.received_to {
            self.looks + 1
        } else {
            0
        };
        self.received_to = received_to;
        self.looks
    }

    pub(super) fn standing(self) -> Standing {
        if self.looks >= LOOKS_STILL {
            Standing::Still
        } else {
            Standing::Moves
        }
    }
}

impl Core {
    /// Something was sent that the peer has to take over.
    #[inline]
    pub(super) fn expect_progress(&self) {
        if !self.looks_for_stalls.get() {
            self.look_for_stalls_later();
        }
    }

    #[cold]
    fn look_for_stalls_later(&self) {
        let at = self.clock.now() + self.settings.grant_timeout / LOOKS;
        let timer = self.set_timer(at, Token::Stalls);
        self.looks_for_stalls.set(timer.is_some());
    }

    /// Ends the links that stand still, and looks again later while anything is retained.
    pub(super) fn look_for_stalls(self: &Rc<Self>) {
        self.looks_for_stalls.set(false);
        let mut any_in_flight = false;
        for link in self.linked() {
            if link.outbound.borrow().in_flight_bytes() == 0 {
                link.progress.set(Progress::default());
                continue;
            }
            any_in_flight = true;
            // One without a connection has a time limit of its own.
            if !link.is_lost() && self.stands_still(&link) {
                self.link_fault(&link, CloseReason::GrantStall);
            }
        }
        if any_in_flight {
            self.look_for_stalls_later();
        }
    }

    fn stands_still(&self, link: &Link) -> bool {
        let mut progress = link.progress.get();
        let looks = progress.look(link.outbound.borrow().positions().received_to);
        link.progress.set(progress);
        if looks == LOOKS_STILL {
            self.tell_of_stall(link);
        }
        looks > LOOKS
    }
}

#[cfg(test)]
mod tests {
    use ringmesh_proto::limits::GRANT_STALL_TIMEOUT;

    use super::*;

    #[test]
    fn one_over_the_looks_without_progress_is_a_stall_and_any_progress_starts_anew() {
        let mut progress = Progress::default();
        assert_eq!(progress.look(1), 0);
        let looks: Vec<u32> = (0..=LOOKS).map(|_| progress.look(1)).collect();
        assert_eq!(looks.last(), Some(&(LOOKS + 1)));
        // So a link ends no sooner than the settings say.
        assert!((LOOKS + 1) * (GRANT_STALL_TIMEOUT / LOOKS) > GRANT_STALL_TIMEOUT);
        assert_eq!(progress.look(2), 0);
        // One look over them all is later than the time that a peer has.
        let looked_at = GRANT_STALL_TIMEOUT / LOOKS * (LOOKS + 1);
        assert!(looked_at > GRANT_STALL_TIMEOUT);
    }
}
