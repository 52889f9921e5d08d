//! Links at rest: an idle link gives its connection back, and stays.
//!
//! A link rests when for the whole of `idle_timeout` nothing that has a position went over it,
//! either way, and neither side waits for the other. It keeps its peer's slot, its positions and
//! its numbers; its connection, receive state and slabs go back. The next send of either side, or
//! a ping, dials, and the link goes on as after any loss.
//!
//! A question whose answer takes longer than that has its asker dial again, as it would after any
//! loss; the answer dials by itself. A shared link rests like others; the tunnels behind it stay,
//! and an answer from there wakes it.
//!
//! Nothing is stored or timed per message: now and then the core looks at where the links stand, a
//! few hundred in one turn, and compares that with what it saw before.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::association::Status;
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::effect::ConnKey;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::time::Instant;

use super::link::{Link, Stage};
use super::peers::PeerIndex;
use super::{Core, Token};

/// Looks within the time that a link may be idle.
const LOOKS: u32 = 4;

/// The least time between two looks at a link.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// Peers whose links one turn looks at.
const PEERS_PER_TURN: usize = 256;

/// What was seen of a link on which nothing goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stillness {
    /// Where its halves stood.
    stood: Option<(u64, u64)>,
    /// Looks in a row that saw nothing move.
    looks: u32,
}

impl Stillness {
    /// Says whether nothing has moved for the whole time, with this look.
    fn look(&mut self, stands: (u64, u64)) -> bool {
        let stood = self.stood.replace(stands);
        self.looks = if stood == Some(stands) {
            self.looks + 1
        } else {
            0
        };
        self.looks >= LOOKS
    }
}

/// The looks of a core for idle links.
#[derive(Debug, Default)]
pub(super) struct Idleness {
    /// A timer runs for the next.
    looks: Cell<bool>,
    /// The peer that this round goes on with, and when the round began.
    next: Cell<usize>,
    began: Cell<Instant>,
    /// Some link has a connection, as far as this round saw.
    any: Cell<bool>,
}

impl Link {
    /// Whether somebody here waits for the peer: for an answer, or a pong.
    pub(super) fn awaits(&self) -> bool {
        self.asks.get() > 0 || self.pings.are_awaited()
    }

    /// Whether something is to be sent for which the link needs a connection. One that rests has
    /// said all that control frames say, and says it anew on its next connection.
    pub(super) fn wants_connection(&self) -> bool {
        let outbound = self.outbound.borrow();
        if self.rests_since.get().is_none() {
            return outbound.has_unsent();
        }
        let has_more = outbound.in_flight_bytes() > 0 || outbound.deferred() > 0;
        let wakes = has_more || self.stirred.take();
        if wakes {
            self.rests_since.set(None);
        }
        wakes
    }

    /// Whether nothing waits for anything on this side of it.
    fn is_quiet(&self) -> bool {
        let (outbound, inbound) = (self.outbound.borrow(), self.inbound.borrow());
        outbound.is_idle()
            && !outbound.has_said_bye()
            && outbound.busy_recipients() == 0
            && inbound.held_bytes() == 0
            && !self.ended.get()
            && !self.sending.get()
            && !self.queued.get()
            && !self.owes_grant.get()
            && self.owed.get() == 0
            && self.told_busy.borrow().is_empty()
            && self.ready_owed.borrow().is_empty()
            && !self.awaits()
    }

    /// Gives back what the link does not need to go on.
    fn shed(&self) {
        self.outbound.borrow_mut().rest();
        self.routes.borrow_mut().forget_recipients();
        self.abandoned.take();
        self.ready_owed.take();
    }
}

impl Core {
    /// A link has a connection: it is looked at from now on.
    pub(super) fn watch_for_idle(&self) {
        self.idleness.any.set(true);
        if !self.settings.idle_timeout.is_zero() && !self.idleness.looks.get() {
            self.idleness.began.set(self.clock.now());
            self.look_for_idle_at(self.clock.now() + self.look_period());
        }
    }

    fn look_period(&self) -> Duration {
        (self.settings.idle_timeout / LOOKS).max(LOOK_MIN)
    }

    fn look_for_idle_at(&self, at: Instant) {
        let timer = self.set_timer(at, Token::Idle);
        self.idleness.looks.set(timer.is_some());
    }

    /// Looks at the next links of this round, and has those rest on which nothing went for long
    /// enough.
    pub(super) fn look_for_idle(self: &Rc<Self>) {
        let now = self.clock.now();
        let Idleness {
            looks,
            next,
            began,
            any,
        } = &self.idleness;
        looks.set(false);
        if self.is_closing() {
            return;
        }
        if next.get() == 0 {
            began.set(now);
            any.set(false);
        }
        let (links, more) = self.peers.borrow().links_from(next.get(), PEERS_PER_TURN);
        for link in links.iter().filter(|link| !link.is_lost()) {
            any.set(true);
            if self.is_idle(link) {
                link.stillness.take();
                self.associate(link.peer, |association, cx| association.handle_idle(cx));
            }
        }
        next.set(more.unwrap_or(0));
        if more.is_some() {
            self.look_for_idle_at(now);
        } else if any.get() {
            self.look_for_idle_at(began.get() + self.look_period());
        }
    }

    /// Whether nothing went over a link for as long as links are to stay without.
    fn is_idle(&self, link: &Link) -> bool {
        let connection = link.connection.get().and_then(|id| self.connection(id));
        let reads = connection.is_none_or(|connection| {
            connection.readable.get()
                || connection.doubted.get()
                || connection.closing.get()
                || connection.intake.borrow().is_within_frame()
        });
        let in_line = !self.peers.borrow_mut().at(link.peer).line.is_empty();
        if reads || in_line || !link.is_quiet() || self.far_needs(link) {
            link.stillness.take();
            return false;
        }
        let sent_to = link.outbound.borrow().positions().tail;
        let stands = (sent_to, link.inbound.borrow().received_to());
        let mut stillness = link.stillness.get();
        let is_still = stillness.look(stands);
        link.stillness.set(stillness);
        is_still
    }

    /// The link with a peer has given its connection up and rests.
    pub(super) fn link_rested(self: &Rc<Self>, node: PeerIndex, conn: ConnKey) {
        if let Some(connection) = self.connection_of(conn) {
            *connection.stage.borrow_mut() = Stage::Parted;
        }
        let Some(link) = self.peers.borrow_mut().at(node).link.clone() else {
            return;
        };
        self.tally.links.take(1);
        self.tally.links_rested.add(1);
        self.tell_of_rest(&link);
        link.part();
        link.stirred.set(false);
        link.rests_since.set(Some(self.clock.now()));
        link.shed();
        self.pings_lost(&link);
        self.far_link_lost(&link, CloseReason::Rested);
        let number = self.number_of(node);
        let is_followed = self
            .shared
            .met_start(number)
            .is_some_and(|uid| uid != link.uid);
        let is_over = || self.shared.address_of_start(number, link.uid).is_none();
        // Another lane heard that its peer's process start is over, and this was its last word.
        if is_followed || is_over() {
            self.find_out(&link);
        }
    }

    /// Has a link that rests dial: what was heard elsewhere of its peer's process start proves
    /// nothing here.
    pub(super) fn find_out(self: &Rc<Self>, link: &Link) {
        self.associate(link.peer, |association, cx| {
            association.handle_resume_wanted(cx);
        });
    }

    /// A send found no room on a link: without a connection it will not come by itself.
    #[cold]
    pub(super) fn stir(&self, link: &Rc<Link>) {
        if link.rests_since.get().is_some() && !link.stirred.replace(true) {
            self.enqueue(link);
        }
    }

    /// Ends the link that rests for the longest time, to make room for another peer on its lane.
    /// Nothing is under way on it here; what its peer sends next it gives up, and counts.
    pub(super) fn end_a_resting_link(self: &Rc<Self>, lane: Lane) -> bool {
        let links = self.linked().filter(|link| link.lane == lane);
        let resting = links.filter(|link| self.may_make_room(link));
        let longest = resting.min_by_key(|link| link.rests_since.get());
        if let Some(link) = &longest {
            self.link_fault(link, CloseReason::Overloaded);
        }
        longest.is_some()
    }

    /// Whether a link rests, nobody is about to wake it, and its peer can be forgotten with it.
    fn may_make_room(&self, link: &Link) -> bool {
        let mut peers = self.peers.borrow_mut();
        let peer = peers.at(link.peer);
        let outbound = link.outbound.borrow();
        matches!(peer.association.status(), Status::Resting(_))
            && outbound.in_flight_bytes() == 0
            && outbound.deferred() == 0
            && !link.stirred.get()
            && peer.line.is_empty()
            && !peer.places.looking_up
    }
}

#[cfg(test)]
mod tests {
    use super::super::peers::Peer;
    use super::*;

    /// Most of what a link at rest takes: besides these, the names of its peer and the numbers that
    /// its two ends have given, and nothing that was sent or received.
    #[test]
    fn a_link_at_rest_takes_as_little_as_is_written() {
        let bytes = size_of::<Link>() + size_of::<Peer>();
        assert!(bytes <= 3 << 10, "{bytes} bytes");
    }

    #[test]
    fn a_link_is_idle_one_over_the_looks_that_fill_the_time_and_any_move_begins_anew() {
        for stands in [(0, 0), (1, 0), (1, 1)] {
            let mut stillness = Stillness::default();
            // It may have moved right before the first; the others lie the whole time apart.
            let looks = (0..=LOOKS).map(|_| stillness.look(stands));
            assert_eq!(looks.filter(|idle| *idle).count(), 1);
            assert!(stillness.look(stands));
            assert!(!stillness.look((2, 2)));
        }
    }
}
