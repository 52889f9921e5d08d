//! The deadlines of a core, on one wheel.

use std::rc::Rc;

use ringmesh_proto::lane::Lane;
use ringmesh_proto::time::Instant;
use ringmesh_transport::contract::ConnectionId;
use ringmesh_transport::timer::TimerKey;

use super::alarm::{ALARMS_MAX, BellKey};
use super::asks::AskTable;
use super::life::PARKED_MAX;
use super::linger::STOPS_MAX;
use super::peers::PeerIndex;
use super::ticks::{TICKS_MAX, TickKey};
use super::watch::Place;
use super::{Core, Correlation};
use crate::config::PEERS_CEILING;

/// Timers one core may have.
pub(super) const TIMERS_MAX: u32 = 1 << 20;

/// Connections of one core, as the transport bounds them.
pub(super) const CONNECTIONS_MAX: u32 = 1 << 16;

/// Those of which a core has one at a time.
const SINGLES: [Token; 13] = [
    Token::Acceptor,
    Token::Inquiries,
    Token::Searches,
    Token::Memory,
    Token::Stalls,
    Token::HeldCores,
    Token::Idle,
    Token::Heartbeats,
    Token::Cluster,
    Token::Registry,
    Token::Notebook,
    Token::Goodbye,
    Token::Flush,
];

// Whatever has a bound finds a timer: futures cannot take those of actors, their restarts and
// ends, of questions (one each while it waits), connections and peers (one each, and on each lane).
// So no question waits without a deadline.
const _: () = assert!(
    ALARMS_MAX
        + TICKS_MAX
        + PARKED_MAX
        + STOPS_MAX
        + AskTable::ASKS_MAX
        + CONNECTIONS_MAX as usize
        + Lane::ALL.len() * PEERS_CEILING
        + 1
        + SINGLES.len()
        <= TIMERS_MAX as usize
);

/// What a timer is for.
#[derive(Debug)]
pub(crate) enum Token {
    /// A future waits for it.
    Alarm(BellKey),
    /// A question's time is up.
    Ask(Correlation),
    /// An actor has itself told something.
    Tick(TickKey),
    /// The pause of an actor that failed is over.
    Restart { slot: u32, generation: u64 },
    /// An actor that is being stopped must have ended by now.
    Stop { slot: u32, generation: u64 },
    /// A connection must have got further by now.
    Connection(ConnectionId),
    /// The association with a peer has something to do.
    Peer(PeerIndex),
    /// An incoming connection's time may be up.
    Acceptor,
    /// The time of an inquiry may be up.
    Inquiries,
    /// The time may be up in which an address is to say who is there.
    Searches,
    /// Memory may have come back.
    Memory,
    /// The progress of the links is to be looked at.
    Stalls,
    /// The other cores are to be looked at.
    HeldCores,
    /// The links are to be looked at for idle ones.
    Idle,
    /// Heartbeats are due.
    Heartbeats,
    /// The machine of the cluster has something to do.
    Cluster,
    /// The registry of a node that is in no cluster has something to do.
    Registry,
    /// What could not be written down is to be tried again.
    Notebook,
    /// The stopping node handles no more of what had come.
    Goodbye,
    /// The stopping node waits no longer for its last bytes.
    Flush,
}

impl Core {
    /// `None` when the wheel is full, which the bounds above rule out.
    pub(super) fn set_timer(&self, deadline: Instant, token: Token) -> Option<TimerKey> {
        let key = self.timers.borrow_mut().insert(deadline, token);
        if key.is_err() {
            self.no_timer_left();
        }
        key.ok()
    }

    /// Says in the log, now and then, that deadlines are cut short.
    #[cold]
    pub(super) fn no_timer_left(&self) {
        if self.log_budget.borrow_mut().take(self.clock.now()) {
            tracing::warn!("the core has no timer left; a wait ends at once");
        }
    }

    pub(super) fn cancel_timer(&self, key: TimerKey) {
        self.timers.borrow_mut().cancel(key);
    }

    /// When the next timer may be due, `None` when there is none.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.borrow().next_deadline()
    }

    /// Runs what is due. Says whether anything was.
    pub(super) fn run_timers(self: &Rc<Self>) -> bool {
        let mut due = self.kept.due_timers.take();
        self.timers
            .borrow_mut()
            .expire(self.clock.now(), |token| due.push(token));
        let any = !due.is_empty();
        for token in due.drain(..) {
            self.timer_fired(token);
        }
        self.kept.due_timers.set(due);
        any
    }

    fn timer_fired(self: &Rc<Self>, token: Token) {
        match token {
            Token::Alarm(bell) => self.ring(bell),
            Token::Ask(correlation) => self.ask_overdue(correlation),
            Token::Tick(key) => self.tick(key),
            Token::Restart { slot, generation } => self.restart(Place { slot, generation }),
            Token::Stop { slot, generation } => self.stop_overdue(Place { slot, generation }),
            Token::Connection(id) => self.connection_overdue(id),
            Token::Peer(node) => self.peer_timeout(node),
            Token::Acceptor => self.acceptor_timeout(),
            Token::Inquiries => self.inquiries_timeout(),
            Token::Searches => self.searches_timeout(),
            Token::Memory => self.look_for_memory(),
            Token::Stalls => self.look_for_stalls(),
            Token::HeldCores => self.look_at_cores(),
            Token::Idle => self.look_for_idle(),
            Token::Heartbeats => self.heartbeats_due(),
            Token::Cluster => self.cluster_timeout(),
            Token::Registry => self.registry_timeout(),
            Token::Notebook => self.notebook_timeout(),
            Token::Goodbye => self.depart(),
            Token::Flush => self.flush_overdue(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::discriminant;

    use super::*;

    /// Whether a core has one of it at a time: whoever adds one is led here.
    fn is_single(token: &Token) -> bool {
        match token {
            Token::Alarm(_)
            | Token::Ask(_)
            | Token::Tick(_)
            | Token::Restart { .. }
            | Token::Stop { .. }
            | Token::Connection(_)
            | Token::Peer(_) => false,
            Token::Acceptor
            | Token::Inquiries
            | Token::Searches
            | Token::Memory
            | Token::Stalls
            | Token::HeldCores
            | Token::Idle
            | Token::Heartbeats
            | Token::Cluster
            | Token::Registry
            | Token::Notebook
            | Token::Goodbye
            | Token::Flush => true,
        }
    }

    #[test]
    fn each_timer_that_a_core_has_once_is_counted_once() {
        assert!(SINGLES.iter().all(is_single));
        let kinds: HashSet<_> = SINGLES.iter().map(discriminant).collect();
        assert_eq!(kinds.len(), SINGLES.len());
    }
}
