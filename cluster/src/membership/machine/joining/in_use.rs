//! When a node gives up because another process has its address.
//!
//! Whoever it asks to let it in dials the address that it claims, and turns it away when another
//! process start answers there. A process that has just died may still answer for a moment, and one
//! of those asked may have dialled by a wrong route. So the node gives up when each that answers at
//! all says so, and has said nothing else for [`IN_USE`]; until then it asks on and founds nothing.
//! Where it asks so seldom that no word would be heard twice in that time, each counts for longer.

use std::time::Duration;

use ringmesh_proto::address::Address;
use ringmesh_proto::time::Instant;

use super::{Contact, Membership, Phase};
use crate::context::Context;
use crate::effect::StopReason;
use crate::membership::event::Event;

/// How long all that answer have to say that the address is in use, and how long the word of one
/// counts; it counts until the next question but one at least.
pub(crate) const IN_USE: Duration = Duration::from_secs(3);

/// The word of one that another process answers at this node's address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    since: Instant,
    last: Instant,
    /// How long the last one counts, as was known when those before it were judged.
    counts: Duration,
}

impl Contact {
    /// It answered as whoever can reach this node does.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = Some(now);
        self.taken = None;
    }

    pub(super) fn note_in_use(&mut self, now: Instant) {
        let fresh = Taken {
            since: now,
            last: now,
            counts: IN_USE,
        };
        let known = self.taken.filter(|it| it.counts_at(now));
        let last = now;
        self.taken = Some(known.map_or(fresh, |it| Taken { last, ..it }));
    }

    pub(super) fn says_in_use(&self, now: Instant) -> bool {
        self.taken.is_some_and(|it| it.counts_at(now))
    }

    fn insists(&self) -> bool {
        self.taken.is_some_and(|it| it.last - it.since >= IN_USE)
    }

    fn is_heard(&self, now: Instant, counts: Duration) -> bool {
        self.heard.is_some_and(|heard| now - heard < counts)
    }
}

impl Taken {
    fn counts_at(&self, now: Instant) -> bool {
        now - self.last < self.counts
    }
}

impl Membership {
    /// Ends the search if this node's address is another's. Says whether it did.
    pub(super) fn give_way(&mut self, cx: &mut Context<'_>) -> bool {
        let counts = self.word_counts(cx.now);
        let by = self.turned_away_by(cx.now, counts);
        let is_over = !by.is_empty();
        if is_over {
            self.end_in_use(cx, by);
        }
        is_over
    }

    pub(super) fn end_in_use(&mut self, cx: &mut Context<'_>, by: Vec<Address>) {
        self.publish_event(cx, Event::AddressInUse { by });
        self.end(cx, StopReason::AddressInUse);
    }

    /// For how long a word counts, as seldom as is asked now.
    fn word_counts(&self, now: Instant) -> Duration {
        let Phase::Seeking(seeking) = &self.phase else {
            return IN_USE;
        };
        IN_USE.max(2 * seeking.interval(&self.settings, now))
    }

    /// Who says that this node's address is another's, if that is to be believed.
    fn turned_away_by(&mut self, now: Instant, counts: Duration) -> Vec<Address> {
        let Phase::Seeking(seeking) = &mut self.phase else {
            return Vec::new();
        };
        let taken = seeking.contacts.values_mut();
        for taken in taken.filter_map(|it| it.taken.as_mut()) {
            taken.counts = counts;
        }
        let says = |(_, it): &(&Address, &Contact)| it.says_in_use(now);
        let saying = || seeking.contacts.iter().filter(says);
        let is_heard = seeking.contacts.values().any(|it| it.is_heard(now, counts));
        let is_let_in = seeking.target.is_some() || is_heard;
        if is_let_in || !saying().all(|(_, it)| it.insists()) {
            return Vec::new();
        }
        saying().map(|(address, _)| address.clone()).collect()
    }
}
