//! What waits for all subscriptions of a core that are alike: to one pattern and message type,
//! without a group or a key, which lose the oldest beyond the same bounds.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use ringmesh_cluster::pubsub::{Cursor, Feed, Taken};
use ringmesh_proto::message::Message;

use crate::core::{Arrived, Core, Entered, Letter, Offer, Subscriber};

/// What waits for them, and who waits for that.
pub(super) struct SharedInbox<M: Message> {
    /// What is subscribed to.
    pattern: Rc<str>,
    feed: RefCell<Feed<Rc<Letter<M>>>>,
    is_over: Cell<bool>,
    sleepers: RefCell<Sleepers>,
}

/// Readers who wait for the next message.
#[derive(Default)]
struct Sleepers {
    wakers: Vec<Option<Waker>>,
    /// How often all were woken: a place holds until then.
    round: u64,
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

    fn wake_all(&self, core: &Core) {
        let mut woken = {
            let mut sleepers = self.sleepers.borrow_mut();
            if sleepers.wakers.is_empty() {
                return;
            }
            sleepers.round += 1;
            std::mem::take(&mut sleepers.wakers)
        };
        // Wakers are code of users, which may do anything: now nothing is borrowed.
        woken.drain(..).flatten().for_each(|it| core.wake(it));
        let mut sleepers = self.sleepers.borrow_mut();
        if sleepers.wakers.is_empty() {
            // There will be as many again.
            sleepers.wakers = woken;
        }
    }
}

impl<M: Message> Subscriber for SharedInbox<M> {
    fn weight(&self) -> usize {
        self.feed.borrow().readers() as usize
    }

    fn must_wait(&self, _: usize) -> bool {
        false
    }

    fn offer(&self, core: &Core, arrived: &mut Arrived) -> Offer {
        let Some(letter) = arrived.letter::<M>(core, &self.pattern) else {
            return Offer::Lost;
        };
        let bytes = arrived.bytes().len();
        let fed = { self.feed.borrow_mut() }.offer(letter, bytes);
        let offer = core.count_fed(fed);
        self.wake_all(core);
        offer
    }

    fn take_entered(&self) -> Option<Entered> {
        None
    }

    fn join(&self) -> u64 {
        0
    }

    fn wait_for_room(&self, _: u64, _: &Waker) {}

    fn part(&self, _: u64) {}

    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    fn end(&self, core: &Core) {
        self.is_over.set(true);
        self.wake_all(core);
    }
}

/// A subscription that reads of it.
pub(super) struct Reader<M: Message> {
    inbox: Rc<SharedInbox<M>>,
    cursor: Cursor,
    entered: Entered,
    /// Its place among those who wait, and in which round.
    asleep: Option<(u64, usize)>,
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
        let waker = Some(context.waker().clone());
        let mut former = None;
        {
            let mut sleepers = self.inbox.sleepers.borrow_mut();
            let round = sleepers.round;
            let known = self.asleep.filter(|it| it.0 == round);
            match known.and_then(|it| sleepers.wakers.get_mut(it.1)) {
                Some(place) => former = std::mem::replace(place, waker),
                None => {
                    self.asleep = Some((round, sleepers.wakers.len()));
                    sleepers.wakers.push(waker);
                }
            }
        }
        core.release(former);
    }

    /// It reads no more: nothing is done with it behind this.
    pub(super) fn leave(&mut self, core: &Core) {
        { self.inbox.feed.borrow_mut() }.leave(&mut self.cursor);
        let waker = self.asleep.and_then(|(round, place)| {
            let mut sleepers = self.inbox.sleepers.borrow_mut();
            let is_there = sleepers.round == round;
            let place = sleepers.wakers.get_mut(place).filter(|_| is_there);
            place.and_then(Option::take)
        });
        core.release(waker);
        core.leave_subscription(self.entered);
    }
}
