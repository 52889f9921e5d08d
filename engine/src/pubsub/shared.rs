//! What waits for all subscriptions of a core that are alike: to one pattern and message type,
//! without a group or a key, which lose the oldest beyond the same bounds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use ringmesh_cluster::pubsub::{Cursor, Fed, Feed, Taken};
use ringmesh_proto::message::Message;

use crate::core::{Arrived, Core, Entered, Letter, Offer, Subscriber, Told};

/// What waits for them, and who waits for that.
pub(super) struct SharedInbox<M: Message> {
    /// What is subscribed to.
    pattern: Rc<str>,
    feed: RefCell<Feed<Rc<Letter<M>>>>,
    is_over: Cell<bool>,
    sleepers: RefCell<Sleepers>,
}

/// Readers who wait for the next message: no more places than ever waited at once.
#[derive(Default)]
struct Sleepers {
    wakers: Vec<Option<Waker>>,
    /// Places of those who left.
    vacant: Vec<usize>,
    /// How often all were woken: a place holds until then.
    round: u64,
}

impl Sleepers {
    /// All of them, to be woken.
    fn wake_into(&mut self, woken: &mut Vec<Waker>) {
        if !self.wakers.is_empty() {
            self.round += 1;
            self.vacant.clear();
            woken.extend(self.wakers.drain(..).flatten());
        }
    }

    /// One who has that place, if it still holds, waits. Its place, and the waker that was there.
    fn put(&mut self, place: Option<Place>, waker: Waker) -> (Place, Option<Waker>) {
        let known = place.filter(|it| it.round == self.round);
        let at = known.map(|it| it.at).or_else(|| self.vacant.pop());
        let at = at.unwrap_or_else(|| {
            self.wakers.push(None);
            self.wakers.len() - 1
        });
        let round = self.round;
        (Place { round, at }, self.wakers[at].replace(waker))
    }

    /// One who has that place waits no more. The waker that was there.
    fn take(&mut self, place: Place) -> Option<Waker> {
        if place.round != self.round {
            return None;
        }
        self.vacant.push(place.at);
        self.wakers.get_mut(place.at)?.take()
    }
}

/// A place among the sleepers of a round.
#[derive(Clone, Copy)]
struct Place {
    round: u64,
    at: usize,
}

impl<M: Message> SharedInbox<M> {
    pub(super) fn new(pattern: Rc<str>, (items_max, bytes_max): (usize, usize)) -> Self {
        Self {
            pattern,
            feed: RefCell::new(Feed::new(items_max, bytes_max)),
            is_over: Cell::new(false),
            sleepers: RefCell::default(),
        }
    }
}

impl<M: Message> Subscriber for SharedInbox<M> {
    fn offer_quietly(
        &self,
        core: &Core,
        arrived: &mut Arrived,
        readers: &mut Vec<Waker>,
    ) -> Option<Told> {
        let mut feed = self.feed.borrow_mut();
        let offered = feed.readers();
        let Some(letter) = arrived.letter::<M>(core, &self.pattern) else {
            return Some(core.count_fed(offered, Fed::default()));
        };
        let fed = feed.offer(letter, arrived.bytes().len());
        self.sleepers.borrow_mut().wake_into(readers);
        Some(core.count_fed(offered, fed))
    }

    fn offer(&self, core: &Core, arrived: &mut Arrived) -> Offer {
        let mut woken = Vec::new();
        let told = self.offer_quietly(core, arrived, &mut woken);
        woken.into_iter().for_each(|it| core.wake(it));
        match told {
            Some(Told { taken: 1.., .. }) => Offer::Taken,
            _ => Offer::Lost,
        }
    }

    fn end(&self, core: &Core) {
        self.is_over.set(true);
        let mut woken = Vec::new();
        { self.sleepers.borrow_mut() }.wake_into(&mut woken);
        woken.into_iter().for_each(|it| core.wake(it));
    }
}

/// A subscription that reads of it.
pub(super) struct Reader<M: Message> {
    inbox: Rc<SharedInbox<M>>,
    cursor: Cursor,
    entered: Entered,
    /// Where it waits, or did.
    asleep: Option<Place>,
}

impl<M: Message> Reader<M> {
    pub(super) fn new(inbox: Rc<SharedInbox<M>>, entered: Entered) -> Self {
        let cursor = { inbox.feed.borrow_mut() }.join();
        Self {
            inbox,
            cursor,
            entered,
            asleep: None,
        }
    }

    pub(super) fn entered(&self) -> Entered {
        self.entered
    }

    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<Taken<Rc<Letter<M>>>> {
        let taken = { self.inbox.feed.borrow_mut() }.take(&mut self.cursor);
        if taken.is_none() && self.inbox.is_over.get() {
            return Some(Taken::Failed);
        }
        taken
    }

    pub(super) fn len(&self) -> usize {
        self.inbox.feed.borrow().len(&self.cursor)
    }

    /// Has the task woken when something comes, or nothing will any more.
    pub(super) fn wait(&mut self, core: &Core, context: &Context<'_>) {
        // Clones and drops are code of users.
        let waker = context.waker().clone();
        let (place, former) = { self.inbox.sleepers.borrow_mut() }.put(self.asleep, waker);
        self.asleep = Some(place);
        core.release(former);
    }

    /// It reads no more: nothing is done with it behind this.
    pub(super) fn leave(&mut self, core: &Core) {
        { self.inbox.feed.borrow_mut() }.leave(&mut self.cursor);
        let place = self.asleep.take();
        let waker = place.and_then(|it| self.inbox.sleepers.borrow_mut().take(it));
        core.release(waker);
        core.leave_subscription(self.entered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_again_and_holds_until_all_are_woken() {
        let waker = || Waker::noop().clone();
        let mut sleepers = Sleepers::default();
        let (first, _) = sleepers.put(None, waker());
        let (second, _) = sleepers.put(None, waker());
        let (again, former) = sleepers.put(Some(first), waker());
        assert!(again.at == first.at && former.is_some());
        for _ in 0..1000 {
            let (place, former) = sleepers.put(None, waker());
            assert!(former.is_none() && sleepers.take(place).is_some());
        }
        assert_eq!(sleepers.wakers.len(), 3);
        assert!(sleepers.take(second).is_some());
        let mut woken = Vec::new();
        sleepers.wake_into(&mut woken);
        assert_eq!(woken.len(), 1);
        assert!(sleepers.take(first).is_none(), "it was woken");
        let (anew, former) = sleepers.put(Some(first), waker());
        assert!(anew.round != first.round && former.is_none());
        assert_eq!((sleepers.wakers.len(), sleepers.vacant.len()), (1, 0));
    }
}
