//! Who waits on a core for its node to stop, or for word of the shutdown.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::core::Core;

/// So many wait at a time, as many as there are tasks on a core unless that is set otherwise. One
/// more takes the place of whoever waits longest, who is woken, and asks again.
const WAITERS_MAX: usize = 1 << 16;

/// Who waits, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    seats: VecDeque<(u64, Waker)>,
    next: u64,
}

impl Waiters {
    /// Has a waker woken, in its own place if it has one.
    fn enter(&mut self, number: Option<u64>, waker: Waker) -> Entered {
        let place = number.and_then(|it| self.place(it));
        if let Some(seat) = place.and_then(|it| self.seats.get_mut(it)) {
            let former = std::mem::replace(&mut seat.1, waker);
            return Entered::Again { former };
        }
        let is_full = self.seats.len() >= WAITERS_MAX;
        let displaced = is_full.then(|| self.seats.pop_front()).flatten();
        let number = self.next;
        self.next += 1;
        self.seats.push_back((number, waker));
        let displaced = displaced.map(|it| it.1);
        Entered::Anew { number, displaced }
    }

    fn leave(&mut self, number: u64) -> Option<Waker> {
        let place = self.place(number)?;
        self.seats.remove(place).map(|it| it.1)
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.seats.binary_search_by_key(&number, |it| it.0).ok()
    }

    /// All of them, who wait no more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        let seats = std::mem::take(&mut self.seats);
        seats.into_iter().map(|it| it.1)
    }
}

/// What came of it. A waker that is not kept drops where nothing is borrowed, for it may be all
/// that holds a future which waits here as well.
enum Entered {
    Again {
        former: Waker,
    },
    Anew {
        number: u64,
        /// Who is to be woken now, for want of room.
        displaced: Option<Waker>,
    },
}

/// The place of one future among those that wait, which it leaves when it drops.
pub(crate) struct StopSeat {
    core: Rc<Core>,
    number: Cell<Option<u64>>,
}

impl StopSeat {
    /// Has a task woken by the stop, and by what comes before.
    pub(in crate::core) fn wait(&self, context: &Context<'_>) {
        let (number, waker) = (self.number.get(), context.waker().clone());
        let entered = self.core.shutdown.waiters.borrow_mut().enter(number, waker);
        match entered {
            Entered::Again { former } => drop(former),
            Entered::Anew { number, displaced } => {
                self.number.set(Some(number));
                if let Some(first) = displaced {
                    self.core.tally.stop_waiters_displaced.add(1);
                    self.core.wake(first);
                }
            }
        }
    }
}

impl Drop for StopSeat {
    fn drop(&mut self) {
        if let Some(number) = self.number.get() {
            let former = self.core.shutdown.waiters.borrow_mut().leave(number);
            drop(former);
        }
    }
}

impl Core {
    /// A place for a future that waits for the stop, which it takes when it has to.
    pub(crate) fn stop_seat(self: &Rc<Self>) -> StopSeat {
        StopSeat {
            core: Rc::clone(self),
            number: Cell::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    struct Sleeper;

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {}
    }

    fn waker() -> Waker {
        Waker::from(Arc::new(Sleeper))
    }

    fn anew(waiters: &mut Waiters, number: Option<u64>, waker: &Waker) -> (u64, Option<Waker>) {
        match waiters.enter(number, waker.clone()) {
            Entered::Anew { number, displaced } => (number, displaced),
            Entered::Again { .. } => panic!("it has a place"),
        }
    }

    #[test]
    fn one_over_the_waiters_max_has_the_first_woken() {
        let (mut waiters, first) = (Waiters::default(), waker());
        assert!(anew(&mut waiters, None, &first).1.is_none());
        for _ in 1..WAITERS_MAX {
            assert!(anew(&mut waiters, None, &waker()).1.is_none());
        }
        let (_, displaced) = anew(&mut waiters, None, &waker());
        assert!(displaced.is_some_and(|it| it.will_wake(&first)));
        assert_eq!(waiters.take().count(), WAITERS_MAX);
        assert_eq!(waiters.take().count(), 0);
    }

    #[test]
    fn whoever_waits_has_one_place_and_leaves_none_behind() {
        let mut waiters = Waiters::default();
        let (one, _) = anew(&mut waiters, None, &waker());
        let (two, _) = anew(&mut waiters, None, &waker());
        let later = waker();
        let again = waiters.enter(Some(one), later.clone());
        assert!(matches!(again, Entered::Again { .. }));
        assert!(waiters.leave(two).is_some());
        assert!(waiters.leave(two).is_none());
        let wakers: Vec<Waker> = waiters.take().collect();
        assert!(matches!(&wakers[..], [it] if it.will_wake(&later)));
        // Woken, it asks again.
        let (again, _) = anew(&mut waiters, Some(one), &later);
        assert_ne!(again, one);
        assert_eq!(waiters.take().count(), 1);
    }
}
