//! How much user work one turn may do before the ring, the control traffic and the timers get
//! theirs again.

use std::time::Duration;

use ringmesh_proto::time::Instant;

use crate::config::Settings;

/// Messages between two readings of the clock.
const STRIDE: u32 = 32;

/// What is left of a turn: messages, and time for user work. One handler may exceed it; the turn
/// then ends behind it.
#[derive(Debug)]
pub(crate) struct Budget {
    messages: u32,
    /// Messages are dispatched until then; what waits for the turn behind them has the rest.
    dispatched_by: Instant,
    deadline: Instant,
}

impl Budget {
    /// The whole budget of a turn that begins `now`. Half of its time is for tasks if the turn
    /// before has left some: a few are polled in each turn, but that is little where messages take
    /// all the time and wake many.
    pub(crate) fn new(now: Instant, settings: &Settings, do_tasks_wait: bool) -> Self {
        let time = settings.turn_time_max;
        let for_tasks = if do_tasks_wait {
            time / 2
        } else {
            Duration::ZERO
        };
        Self {
            messages: settings.turn_messages_max,
            dispatched_by: now + (time - for_tasks),
            deadline: now + time,
        }
    }

    /// What errands of other cores may take of it: half, so that messages get their turn too, and
    /// one errand at least.
    pub(crate) fn for_errands(now: Instant, settings: &Settings) -> Self {
        let deadline = now + settings.turn_time_max / 2;
        Self {
            messages: (settings.turn_messages_max / 2).max(1),
            dispatched_by: deadline,
            deadline,
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

    /// Takes off what was dispatched.
    pub(crate) fn spend(&mut self, messages: u32) {
        self.messages -= messages.min(self.messages);
    }

    /// Takes note of the time.
    pub(crate) fn look(&mut self, now: Instant) {
        if now >= self.dispatched_by {
            self.messages = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_wait_have_half_of_the_time_and_others_what_is_left() {
        let settings = Settings::new("tests");
        let (now, time) = (Instant::ZERO, settings.turn_time_max);
        for (do_tasks_wait, until) in [(true, time / 2), (false, time)] {
            let mut budget = Budget::new(now, &settings, do_tasks_wait);
            budget.look(now + (until - Duration::from_nanos(1)));
            assert_eq!(budget.stride(), STRIDE);
            budget.look(now + until);
            assert_eq!(budget.stride(), 0);
            assert_eq!(budget.is_over(now + until), !do_tasks_wait);
            assert!(budget.is_over(now + time));
        }
    }
}
