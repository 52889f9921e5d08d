//! Subscriptions to what the cores of a node say: one ring for all cores, which keeps the last
//! pieces.
//!
//! Subscriptions read it, each at its own place; one that is slow misses the oldest and knows how
//! many. Without a subscription nothing is kept, and a piece costs the look at a flag.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A subscription, from its making on.
#[derive(Debug)]
pub(crate) struct Reader<T> {
    office: Arc<Office<T>>,
    id: u64,
    /// The number of the piece to read next.
    next: u64,
    missed: u64,
}

impl<T: Clone> Reader<T> {
    /// The next piece; waits for it. `None` once the node has ended and all of them are read.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> Option<T> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next piece, if there is one now.
    pub(crate) fn try_next(&mut self) -> Option<T> {
        let office = Arc::clone(&self.office);
        let kept = office.lock();
        self.read(&kept)
    }

    /// How many were dropped before this subscription read them.
    pub(crate) fn missed(&self) -> u64 {
        self.missed + self.office.lock().first.saturating_sub(self.next)
    }

    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        // The clone and the drop of a waker are somebody's code: neither runs behind the lock.
        let mut waker = Some(context.waker().clone());
        let office = Arc::clone(&self.office);
        let mut kept = office.lock();
        let read = self.read(&kept);
        if read.is_some() || kept.is_closed {
            return Poll::Ready(read);
        }
        let known = kept.waiting.iter_mut().find(|(id, _)| *id == self.id);
        match (known, waker.take()) {
            (Some((_, known)), Some(new)) => waker = Some(std::mem::replace(known, new)),
            (None, Some(new)) => kept.waiting.push((self.id, new)),
            (_, None) => {}
        }
        drop(kept);
        drop(waker);
        Poll::Pending
    }

    fn read(&mut self, kept: &Kept<T>) -> Option<T> {
        let behind = kept.first.saturating_sub(self.next);
        self.missed += behind;
        self.next += behind;
        let place = usize::try_from(self.next - kept.first).ok()?;
        let piece = kept.pieces.get(place)?.clone();
        self.next += 1;
        Some(piece)
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        // Its waker is somebody's code, and the pieces may be many: they drop here.
        drop(self.office.leave(self.id));
    }
}

/// Where the cores of a node put what others subscribe to.
#[derive(Debug)]
pub(crate) struct Office<T> {
    /// Somebody has subscribed.
    is_read: AtomicBool,
    kept_max: usize,
    kept: Mutex<Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    pieces: VecDeque<T>,
    /// The number of the oldest that is kept; they count up.
    first: u64,
    subscribers: usize,
    next_id: u64,
    /// Subscriptions that wait for the next piece, by id.
    waiting: Vec<(u64, Waker)>,
    /// The node has ended.
    is_closed: bool,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            pieces: VecDeque::new(),
            first: 0,
            subscribers: 0,
            next_id: 0,
            waiting: Vec::new(),
            is_closed: false,
        }
    }
}

impl<T> Office<T> {
    /// Keeps the last `kept_max` pieces, while somebody reads them.
    pub(crate) fn new(kept_max: usize) -> Self {
        Self {
            is_read: AtomicBool::new(false),
            kept_max,
            kept: Mutex::default(),
        }
    }

    /// Whether anybody wants a piece. A subscription that another thread has just made may begin
    /// one piece later.
    #[inline]
    pub(crate) fn is_read(&self) -> bool {
        self.is_read.load(Ordering::Relaxed)
    }

    /// Puts a piece behind the others, in the place of the oldest if there is no room. Gives back
    /// whom to wake; nothing of the core may be borrowed then.
    #[must_use = "who waits is to be woken"]
    pub(crate) fn post(&self, piece: T) -> Vec<(u64, Waker)> {
        let mut kept = self.lock();
        if kept.subscribers == 0 {
            return Vec::new();
        }
        if kept.pieces.len() >= self.kept_max {
            kept.pieces.pop_front();
            kept.first += 1;
        }
        kept.pieces.push_back(piece);
        std::mem::take(&mut kept.waiting)
    }

    /// Subscribes to the pieces that are posted from now on.
    pub(crate) fn subscribe(self: &Arc<Self>) -> Reader<T> {
        let mut kept = self.lock();
        kept.subscribers += 1;
        kept.next_id += 1;
        self.is_read.store(true, Ordering::Relaxed);
        Reader {
            office: Arc::clone(self),
            id: kept.next_id,
            next: kept.first + kept.pieces.len() as u64,
            missed: 0,
        }
    }

    /// Ends a subscription; gives back what it leaves behind.
    fn leave(&self, id: u64) -> (Option<Waker>, VecDeque<T>) {
        let mut kept = self.lock();
        let mut unread = VecDeque::new();
        kept.subscribers -= 1;
        if kept.subscribers == 0 {
            self.is_read.store(false, Ordering::Relaxed);
            kept.first += kept.pieces.len() as u64;
            unread = std::mem::take(&mut kept.pieces);
        }
        let place = kept.waiting.iter().position(|(known, _)| *known == id);
        let waker = place.map(|place| kept.waiting.swap_remove(place).1);
        (waker, unread)
    }

    /// The node has ended: nothing is posted any more.
    #[must_use = "who waits is to be woken"]
    pub(crate) fn close(&self) -> Vec<(u64, Waker)> {
        let mut kept = self.lock();
        kept.is_closed = true;
        std::mem::take(&mut kept.waiting)
    }

    /// Nothing of anybody else runs behind the lock.
    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    fn post(office: &Office<u64>, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            let woken = office.post(number);
            woken.into_iter().for_each(|(_, waker)| waker.wake());
        }
    }

    fn read(pieces: &mut Reader<u64>) -> Vec<u64> {
        std::iter::from_fn(|| pieces.try_next()).collect()
    }

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_subscription_reads_by_itself_and_misses_the_oldest() {
        let office = Arc::new(Office::new(3));
        let (mut quick, mut slow) = (office.subscribe(), office.subscribe());
        post(&office, [1, 2]);
        assert_eq!(read(&mut quick), [1, 2]);
        post(&office, [3, 4, 5]);
        let mut late = office.subscribe();
        assert_eq!((quick.missed(), slow.missed(), late.missed()), (0, 2, 0));
        assert_eq!(read(&mut quick), [3, 4, 5]);
        assert_eq!(read(&mut slow), [3, 4, 5]);
        assert_eq!(read(&mut late), [0; 0]);
        post(&office, 6..106);
        assert_eq!(read(&mut slow), [103, 104, 105]);
        assert_eq!((slow.missed(), quick.missed()), (2 + 97, 97));
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let office = Arc::new(Office::new(3));
        post(&office, [1]);
        assert!(!office.is_read());
        let (first, second) = (office.subscribe(), office.subscribe());
        post(&office, [2]);
        drop(first);
        assert!(office.is_read());
        drop(second);
        assert!(!office.is_read());
        assert_eq!(office.lock().pieces.capacity(), 0);
        let mut third = office.subscribe();
        post(&office, [3]);
        assert_eq!(read(&mut third), [3]);
        assert_eq!(third.missed(), 0);
    }

    #[test]
    fn a_piece_wakes_who_waits_once_and_the_end_wakes_too() {
        let office = Arc::new(Office::new(3));
        let mut pieces = office.subscribe();
        let calls = Arc::new(Calls::default());
        let waker = Waker::from(Arc::clone(&calls));
        let mut context = Context::from_waker(&waker);
        assert!(pieces.poll_next(&mut context).is_pending());
        assert!(pin!(pieces.next()).poll(&mut context).is_pending());
        assert_eq!(office.lock().waiting.len(), 1, "one entry for each");
        post(&office, [1, 2]);
        assert_eq!(calls.0.load(Ordering::Relaxed), 1);
        let next = |pieces: &mut Reader<u64>, context: &mut Context<'_>| pieces.poll_next(context);
        assert_eq!(next(&mut pieces, &mut context), Poll::Ready(Some(1)));
        assert_eq!(next(&mut pieces, &mut context), Poll::Ready(Some(2)));
        assert_eq!(next(&mut pieces, &mut context), Poll::Pending);
        let woken = office.close();
        woken.into_iter().for_each(|(_, waker)| waker.wake());
        assert_eq!(calls.0.load(Ordering::Relaxed), 2);
        assert_eq!(next(&mut pieces, &mut context), Poll::Ready(None));
        drop(pieces);
        assert_eq!(Arc::strong_count(&calls), 2, "no waker is left behind");
    }
}
