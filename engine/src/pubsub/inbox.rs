//! What waits for one subscription alone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use ringmesh_cluster::pubsub::{Offered, Queue, QueueSettings, Taken};
use ringmesh_proto::message::Message;

use super::subscribe::KeyOf;
use crate::core::{Arrived, Core, Entered, Letter, Offer, Subscriber, Told};
use crate::message::Msg;

/// What waits for a subscription, and who waits for that.
pub(super) struct Inbox<M: Message> {
    /// What is subscribed to.
    pattern: Rc<str>,
    queue: RefCell<Queue<Rc<Letter<M>>>>,
    key_of: Option<KeyOf<M>>,
    bytes_max: usize,
    patience: Duration,
    is_over: Cell<bool>,
    entered: Cell<Option<Entered>>,
    reader: Cell<Option<Waker>>,
    /// Who waits for room, by number.
    writers: RefCell<BTreeMap<u64, Option<Waker>>>,
    last_writer: Cell<u64>,
}

impl<M: Message> Inbox<M> {
    pub(super) fn new(
        pattern: Rc<str>,
        settings: QueueSettings,
        patience: Duration,
        key_of: Option<KeyOf<M>>,
    ) -> Self {
        Self {
            pattern,
            queue: RefCell::new(Queue::new(settings)),
            key_of,
            bytes_max: settings.bytes_max,
            patience,
            is_over: Cell::new(false),
            entered: Cell::default(),
            reader: Cell::default(),
            writers: RefCell::default(),
            last_writer: Cell::default(),
        }
    }

    /// The subscription has begun.
    pub(super) fn enter(&self, entered: Entered) {
        self.entered.set(Some(entered));
    }

    pub(super) fn entered(&self) -> Option<Entered> {
        self.entered.get()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    #[inline(never)]
    pub(super) fn take(&self, core: &Core) -> Option<Taken<Rc<Letter<M>>>> {
        let taken = { self.queue.borrow_mut() }.take();
        if taken.is_none() {
            return self.is_over.get().then_some(Taken::Failed);
        }
        if !self.patience.is_zero() {
            self.wake_writers(core);
        }
        taken
    }

    /// Has the task woken when something comes, or nothing will any more.
    pub(super) fn wait(&self, core: &Core, context: &Context<'_>) {
        let former = self.reader.replace(Some(context.waker().clone()));
        core.release(former);
    }

    /// The subscription is over, and nobody reads any more.
    pub(super) fn leave(&self, core: &Core) {
        if let Some(entered) = self.entered.take() {
            core.leave_subscription(entered);
        }
        self.end(core);
        self.queue.replace(Queue::new(QueueSettings::default()));
    }

    fn wake_writers(&self, core: &Core) {
        let writers = self.writers.take();
        let wakers = writers.into_values().flatten();
        wakers.for_each(|it| core.wake(it));
    }

    /// What a message has as its key, if that does not panic.
    fn key(&self, core: &Core, message: &Msg<M>) -> Option<u64> {
        let key_of = self.key_of.as_ref()?;
        let mut key = None;
        core.contain("the key of a message panicked", || {
            key = Some(key_of(message));
        });
        key
    }
}

impl<M: Message> Subscriber for Inbox<M> {
    fn must_wait(&self, bytes: usize) -> bool {
        // For what is too long there will never be room.
        let waits = !self.patience.is_zero() && bytes <= self.bytes_max;
        waits && !self.queue.borrow().has_room(bytes)
    }

    fn offer_quietly(
        &self,
        core: &Core,
        arrived: &mut Arrived,
        readers: &mut Vec<Waker>,
    ) -> Option<Told> {
        if self.key_of.is_some() || self.is_over.get() {
            return None;
        }
        let Some(letter) = arrived.letter::<M>(core, &self.pattern) else {
            return Some(Told::one(false));
        };
        let bytes = arrived.bytes().len();
        if !{ self.queue.borrow_mut() }.offer_with(bytes, || letter) {
            return None;
        }
        let offer = core.count_offered(Offered::Queued { dropped: 0 });
        readers.extend(self.reader.take());
        Some(Told::one(offer == Offer::Taken))
    }

    fn offer(&self, core: &Core, arrived: &mut Arrived) -> Offer {
        if self.is_over.get() {
            // It ended while it was waited for.
            return core.count_offered(Offered::Dropped);
        }
        let Some(letter) = arrived.letter::<M>(core, &self.pattern) else {
            return Offer::Lost;
        };
        let key = self.key(core, &letter.message);
        let bytes = arrived.bytes().len();
        let Ok(offered) = { self.queue.borrow_mut() }.offer(letter, bytes, key) else {
            return Offer::Waits;
        };
        let offer = core.count_offered(offered);
        let reader = self.reader.take();
        reader.into_iter().for_each(|it| core.wake(it));
        offer
    }

    fn take_entered(&self) -> Option<Entered> {
        self.entered.take()
    }

    fn join(&self) -> u64 {
        let number = self.last_writer.get() + 1;
        self.last_writer.set(number);
        number
    }

    fn wait_for_room(&self, number: u64, waker: &Waker) {
        let former = { self.writers.borrow_mut() }.insert(number, Some(waker.clone()));
        drop(former);
    }

    fn part(&self, number: u64) {
        let former = { self.writers.borrow_mut() }.remove(&number);
        drop(former);
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn end(&self, core: &Core) {
        self.is_over.set(true);
        let reader = self.reader.take();
        reader.into_iter().for_each(|it| core.wake(it));
        self.wake_writers(core);
    }
}
