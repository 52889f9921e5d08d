//! Who waits on a core for its node to stop, or for word of the shutdown.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Waker};

use crate::core::Core;

/// Who waits, in the order they came. Each seat belongs to a future, which leaves it when it drops:
/// there are no more of them than futures that wait, and each of those is larger than its seat.
/// Were there fewer, those without one would ask again and again until the stop.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    seats: BTreeMap<u64, Waker>,
    next: u64,
}

impl Waiters {
    /// Has a waker woken, in its own place if it has one.
    fn enter(&mut self, number: Option<u64>, waker: Waker) -> Entered {
        if let Some(seat) = number.and_then(|it| self.seats.get_mut(&it)) {
            let former = std::mem::replace(seat, waker);
            return Entered::Again { former };
        }
        let number = self.next;
        self.next += 1;
        self.seats.insert(number, waker);
        Entered::Anew { number }
    }

    fn leave(&mut self, number: u64) -> Option<Waker> {
        self.seats.remove(&number)
    }

    /// All of them, who wait no more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.seats).into_values()
    }
}

/// What came of it. A waker that is not kept drops where nothing is borrowed, for it may be all
/// that holds a future which waits here as well.
enum Entered {
    Again { former: Waker },
    Anew { number: u64 },
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
            Entered::Again { former } => self.core.release(Some(former)),
            Entered::Anew { number } => self.number.set(Some(number)),
        }
    }
}

impl Drop for StopSeat {
    fn drop(&mut self) {
        if let Some(number) = self.number.get() {
            let former = self.core.shutdown.waiters.borrow_mut().leave(number);
            self.core.release(former);
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Sleeper(AtomicUsize);

    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waker() -> Waker {
        Waker::from(Arc::new(Sleeper::default()))
    }

    fn anew(waiters: &mut Waiters, number: Option<u64>, waker: &Waker) -> u64 {
        match waiters.enter(number, waker.clone()) {
            Entered::Anew { number } => number,
            Entered::Again { .. } => panic!("it has a place"),
        }
    }

    #[test]
    fn nobody_is_woken_before_the_stop_however_many_wait() {
        const MANY: usize = 200_000;
        let (mut waiters, sleeper) = (Waiters::default(), Arc::new(Sleeper::default()));
        let waker = Waker::from(Arc::clone(&sleeper));
        let numbers: Vec<u64> = (0..MANY)
            .map(|_| anew(&mut waiters, None, &waker))
            .collect();
        assert_eq!(sleeper.0.load(Ordering::Relaxed), 0);
        // Each leaves one place, wherever that is.
        for number in numbers.iter().step_by(2) {
            assert!(waiters.leave(*number).is_some());
        }
        waiters.take().for_each(Waker::wake);
        assert_eq!(sleeper.0.load(Ordering::Relaxed), MANY / 2);
        assert_eq!(waiters.take().count(), 0);
    }

    #[test]
    fn whoever_waits_has_one_place_and_leaves_none_behind() {
        let mut waiters = Waiters::default();
        let one = anew(&mut waiters, None, &waker());
        let two = anew(&mut waiters, None, &waker());
        let later = waker();
        let again = waiters.enter(Some(one), later.clone());
        assert!(matches!(again, Entered::Again { .. }));
        assert!(waiters.leave(two).is_some());
        assert!(waiters.leave(two).is_none());
        let wakers: Vec<Waker> = waiters.take().collect();
        assert!(matches!(&wakers[..], [it] if it.will_wake(&later)));
        // Woken, it asks again.
        let again = anew(&mut waiters, Some(one), &later);
        assert_ne!(again, one);
        assert_eq!(waiters.take().count(), 1);
    }
}
