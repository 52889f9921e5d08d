//! Deadlines of futures.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringmesh_proto::time::Instant;
use ringmesh_transport::timer::TimerKey;

use super::{Core, Token};

/// A deadline that a future waits for. Dropping it cancels it.
pub(crate) struct Alarm {
    core: Rc<Core>,
    deadline: Instant,
    key: Option<TimerKey>,
    bell: Rc<Bell>,
}

/// What the timer rings.
#[derive(Default)]
pub(crate) struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    pub(super) fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Alarm {
    /// An alarm `span` after the current turn began.
    pub(super) fn new(core: Rc<Core>, span: Duration) -> Self {
        let deadline = core.clock.now() + span;
        let bell = Rc::new(Bell::default());
        let key = core.set_timer(deadline, Token::Alarm(Rc::clone(&bell)));
        // Without a place on the wheel the deadline counts as passed: the wait ends early, with the
        // error of its deadline, instead of never.
        bell.rung.set(key.is_none());
        Self { core, deadline, key, bell }
    }

    /// Ready when the deadline has passed.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.bell.rung.get() {
            return Poll::Ready(());
        }
        let mut waker = self.bell.waker.borrow_mut();
        match &mut *waker {
            Some(known) => known.clone_from(context.waker()),
            None => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// The time left, zero when the deadline has passed.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_since(self.core.clock.now())
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.core.cancel_timer(key);
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").field("rung", &self.rung.get()).finish_non_exhaustive()
    }
}
