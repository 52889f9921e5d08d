//! How much user work one turn may do before the ring, the control traffic and the timers get
//! theirs again.

use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::clock::Clock;

/// Messages a turn dispatches at most.
const MESSAGES_MAX: u32 = 256;

/// The time a turn gives to user work. One handler may exceed it; the turn then ends behind it.
const TIME_MAX: Duration = Duration::from_micros(100);

/// Messages between two readings of the clock.
const STRIDE: u32 = 32;

/// What is left of a turn.
#[derive(Debug)]
pub(crate) struct Budget {
    messages: u32,
    deadline: Instant,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            messages: MESSAGES_MAX,
            deadline: now + TIME_MAX,
        }
    }

    /// The number of messages to dispatch before the clock is read again; zero ends the turn.
    pub(crate) fn stride(&self) -> u32 {
        self.messages.min(STRIDE)
    }

    /// Whether the turn's time is up.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.deadline
    }

    /// Takes off what was dispatched, and reads the clock.
    pub(crate) fn spend(&mut self, messages: u32, clock: &Clock) {
        self.messages -= messages.min(self.messages);
        if clock.read() >= self.deadline {
            self.messages = 0;
        }
    }
}
