//! Deadlines of futures.

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringmesh_proto::time::Instant;
use ringmesh_transport::timer::TimerKey;

use super::{Core, Token};

/// Alarms that one core may have at one time; more end at once. The rest of the wheel is kept for
/// actors, questions, connections and peers, which must not go without a deadline; see
/// [`super::timers`].
pub(super) const ALARMS_MAX: usize = 1 << 19;

/// A deadline that a future waits for. Dropping it cancels it.
pub(crate) struct Alarm {
    core: Rc<Core>,
    deadline: Instant,
    /// `None` when there was no place on the wheel: the deadline counts as passed then, and the
    /// wait ends early with the error of its deadline, instead of never.
    timer: Option<TimerKey>,
    bell: BellKey,
}

/// Names a bell until its alarm drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BellKey(u32);

/// What timers ring for futures: places that are used again, so that waiting allocates nothing.
#[derive(Debug, Default)]
pub(super) struct Bells {
    bells: Vec<Bell>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Bell {
    rung: bool,
    waker: Option<Waker>,
}

impl Bells {
    fn add(&mut self) -> BellKey {
        let place = self.free.pop().unwrap_or_else(|| {
            self.bells.push(Bell::default());
            u32::try_from(self.bells.len() - 1).expect("fewer bells than timers")
        });
        BellKey(place)
    }

    fn at(&mut self, key: BellKey) -> &mut Bell {
        &mut self.bells[key.0 as usize]
    }

    /// Gives back whom it would have woken.
    fn remove(&mut self, key: BellKey) -> Option<Waker> {
        let bell = std::mem::take(self.at(key));
        self.free.push(key.0);
        bell.waker
    }

    /// Bells that were added and not removed.
    fn len(&self) -> usize {
        self.bells.len() - self.free.len()
    }
}

impl Core {
    /// An alarm `span` from now.
    pub(crate) fn alarm(self: &Rc<Self>, span: Duration) -> Alarm {
        // Looked at afresh: counted from the start of the turn, it would end too early.
        let deadline = self.clock.peek() + span;
        let mut bells = self.bells.borrow_mut();
        let bell = bells.add();
        let has_room = bells.len() <= ALARMS_MAX;
        drop(bells);
        let timer = if has_room {
            self.set_timer(deadline, Token::Alarm(bell))
        } else {
            self.no_timer_left();
            None
        };
        Alarm {
            core: Rc::clone(self),
            deadline,
            timer,
            bell,
        }
    }

    /// The timer of an alarm fired; its key is spent.
    pub(super) fn ring(&self, key: BellKey) {
        let waker = {
            let mut bells = self.bells.borrow_mut();
            let bell = bells.at(key);
            bell.rung = true;
            bell.waker.take()
        };
        if let Some(waker) = waker {
            self.wake(waker);
        }
    }
}

impl Alarm {
    /// Ready when the deadline has passed.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut bells = self.core.bells.borrow_mut();
        let bell = bells.at(self.bell);
        if bell.rung || self.timer.is_none() {
            return Poll::Ready(());
        }
        let known = bell.waker.as_ref();
        if !known.is_some_and(|known| known.will_wake(context.waker())) {
            drop(bells);
            let waker = context.waker().clone();
            let former = self
                .core
                .bells
                .borrow_mut()
                .at(self.bell)
                .waker
                .replace(waker);
            drop(former);
        }
        Poll::Pending
    }

    /// The time left, zero when the deadline has passed.
    pub(crate) fn remaining(&self) -> Duration {
        self.core.time_to(self.deadline)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // First the timer: a bell that is free must not be rung for its next owner.
        if let Some(timer) = self.timer.take() {
            self.core.cancel_timer(timer);
        }
        let waker = self.core.bells.borrow_mut().remove(self.bell);
        self.core.release(waker);
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alarm")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
