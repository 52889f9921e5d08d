//! The deadline of the question that is being handled: questions that its handler asks inherit it.

use std::cell::Cell;
use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::Core;

/// A question, as the side knows it that is to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// Its number on its link.
    pub(crate) correlation: u64,
    /// When its asker gives it up, on this core's clock.
    pub(crate) deadline: Instant,
}

impl Question {
    /// The question of that number, with so much of its time left, which arrived just now: the time
    /// is that of the turn, so that what was handled in front of it is counted as waiting.
    pub(super) fn arrived(core: &Core, correlation: u64, remaining_us: u32) -> Self {
        let remaining = Duration::from_micros(u64::from(remaining_us));
        let deadline = core.clock.now() + remaining;
        Self {
            correlation,
            deadline,
        }
    }
}

/// Puts the former deadline back when it drops, also when user code panics.
#[derive(Debug)]
pub(crate) struct DeadlineScope<'a> {
    current: &'a Cell<Option<Instant>>,
    former: Option<Instant>,
}

impl Drop for DeadlineScope<'_> {
    fn drop(&mut self) {
        self.current.set(self.former);
    }
}

impl Core {
    /// The deadline that questions inherit which are made now; `None` outside of the handlers of
    /// questions.
    #[inline]
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    /// Has questions inherit `deadline` from now on. Gives back what they inherited before.
    #[inline]
    pub(crate) fn replace_deadline(&self, deadline: Option<Instant>) -> Option<Instant> {
        self.deadline.replace(deadline)
    }

    /// Has questions inherit `deadline` until the scope drops.
    #[inline]
    pub(crate) fn with_deadline(&self, deadline: Option<Instant>) -> DeadlineScope<'_> {
        let current = &self.deadline;
        let former = current.replace(deadline);
        DeadlineScope { current, former }
    }

    /// The time left to `deadline`, zero when it has passed.
    pub(crate) fn time_to(&self, deadline: Instant) -> Duration {
        deadline.saturating_since(self.clock.peek())
    }
}
