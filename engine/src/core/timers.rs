//! The deadlines of a core, on one wheel.

use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::time::Instant;
use ringmesh_transport::contract::ConnectionId;
use ringmesh_transport::timer::TimerKey;

use super::alarm::BellKey;
use super::peers::NodeIndex;
use super::{Core, Correlation};
use crate::error::{AskError, AskPhase};

/// What a timer is for.
#[derive(Debug)]
pub(crate) enum Token {
    /// A future waits for it.
    Alarm(BellKey),
    /// A question's time is up.
    Ask(Correlation),
    /// A connection must have got further by now.
    Connection(ConnectionId),
    /// The association with a peer has something to do.
    Peer(NodeIndex),
    /// An incoming connection's time may be up.
    Acceptor,
    /// The progress of the links is to be looked at.
    Stalls,
    /// The stopping node waits no longer for its last bytes.
    Flush,
}

impl Core {
    /// `None` when the wheel is full.
    pub(super) fn set_timer(&self, deadline: Instant, token: Token) -> Option<TimerKey> {
        let key = self.timers.borrow_mut().insert(deadline, token);
        if key.is_err() {
            tracing::warn!("the core's timer wheel is full");
        }
        key.ok()
    }

    pub(super) fn cancel_timer(&self, key: TimerKey) {
        self.timers.borrow_mut().cancel(key);
    }

    /// Time until the next timer, `None` when there is none.
    pub(super) fn time_to_next_timer(&self) -> Option<Duration> {
        let next = self.timers.borrow().next_deadline()?;
        Some(next.saturating_since(self.clock.now()))
    }

    /// Runs what is due. Says whether anything was.
    pub(super) fn run_timers(self: &Rc<Self>) -> bool {
        let mut due = self.due_timers.take();
        self.timers
            .borrow_mut()
            .expire(self.clock.now(), |token| due.push(token));
        let any = !due.is_empty();
        for token in due.drain(..) {
            self.timer_fired(token);
        }
        self.due_timers.set(due);
        any
    }

    fn timer_fired(self: &Rc<Self>, token: Token) {
        match token {
            Token::Alarm(bell) => self.ring(bell),
            Token::Ask(correlation) => {
                let after = Duration::ZERO;
                let timeout = AskError::Timeout {
                    after,
                    phase: AskPhase::Sent,
                };
                self.resolve_ask(correlation, None, Err(timeout));
            }
            Token::Connection(id) => self.connection_overdue(id),
            Token::Peer(node) => self.peer_timeout(node),
            Token::Acceptor => self.acceptor_timeout(),
            Token::Stalls => self.look_for_stalls(),
            Token::Flush => self.flush_overdue(),
        }
    }
}
