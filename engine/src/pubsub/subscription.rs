//! Subscriptions: each with a queue of its own, on the core where it began.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringmesh_cluster::pubsub::{
    GroupName, Level, Offered, OnFull as Policy, Pattern, Queue, QueueSettings, Subscribe as Begin,
    Taken,
};
use ringmesh_cluster::registry::Acknowledgement;
use ringmesh_proto::archive::Archived;
use ringmesh_proto::message::Message;

use super::error::{RecvError, SubscribeError};
use super::topic::number_of;
use crate::actor::Accepts;
use crate::core::{Arrived, Core, Entered, Interest, Offer, Subscriber};
use crate::message::{Msg, Validated};
use crate::reference::Ref;

/// What happens to a message for which the queue of a subscription has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFull {
    /// The oldest that wait are lost, and the subscriber is told how many.
    #[default]
    DropOldest,
    /// The message is lost, and the subscriber is told so.
    DropNewest,
    /// The subscription ends; what waits can still be read.
    End,
    /// Whoever publishes waits for room, for so long at most; then the message is lost. This is the
    /// one policy by which a subscriber slows others: publishers, and what comes to its core from
    /// other nodes behind the message.
    Wait(Duration),
}

/// Says of a message which one that waits it takes the place of.
type KeyOf<M> = Box<dyn Fn(&Archived<M>) -> u64>;

/// How a subscription is to begin; from [`Node::subscribe`](crate::Node::subscribe).
#[must_use = "nothing is subscribed to before `begin`"]
pub struct Subscribe<M: Message> {
    core: Rc<Core>,
    pattern: Pattern,
    group: Option<GroupName>,
    queue: QueueSettings,
    on_full: OnFull,
    key_of: Option<KeyOf<M>>,
    message: std::marker::PhantomData<fn() -> M>,
}

impl<M: Message> Subscribe<M> {
    pub(crate) fn new(core: &Rc<Core>, pattern: Pattern) -> Self {
        Self {
            core: Rc::clone(core),
            pattern,
            group: None,
            queue: QueueSettings::default(),
            on_full: OnFull::default(),
            key_of: None,
            message: std::marker::PhantomData,
        }
    }

    /// As a member of a group: of all members of a group, on whatever nodes, one gets each message.
    pub fn group(mut self, group: GroupName) -> Self {
        self.group = Some(group);
        self
    }

    /// So many messages may wait: 1,024. One at least. Too few lose some of each burst; many make
    /// what is read old.
    pub fn queue(mut self, messages: usize) -> Self {
        self.queue.items_max = messages.max(1);
        self
    }

    /// So many bytes of them may wait: 4 MiB.
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue.bytes_max = bytes;
        self
    }

    /// What happens beyond that.
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// Of messages with one key the newest alone waits: it takes the place of the one before it,
    /// where that is in the queue, whatever was published in between. For readings of which the
    /// last counts, such as prices by their instrument: whoever is slow reads fewer of them, none
    /// of them old, and has no more of them waiting than there are keys.
    ///
    /// What is replaced is no loss, and counted as
    /// [`subscribers_replaced`](crate::Counters::subscribers_replaced). `key` looks at the message
    /// and does nothing else; where it panics the message has none. With [`OnFull::Wait`]
    /// publishers of this core wait for room also for what would take another's place.
    ///
    /// ```
    /// # use ringmesh::prelude::*;
    /// # use ringmesh::pubsub::Topic;
    /// #[message(id = "doc.Price", v = 1)]
    /// struct Price { instrument: u32, cents: i64 }
    /// const PRICES: Topic<Price> = Topic::new("market.prices");
    ///
    /// async fn show(node: Node) -> Result<(), Box<dyn std::error::Error>> {
    ///     let prices = node.subscribe(&PRICES)?;
    ///     let mut prices = prices.conflate(|it| it.instrument.to_native().into()).begin()?;
    ///     loop {
    ///         let price = prices.recv().await?;
    ///         println!("{} costs {}", price.instrument, price.cents);
    ///     }
    /// }
    /// ```
    pub fn conflate(mut self, key: impl Fn(&Archived<M>) -> u64 + 'static) -> Self {
        self.key_of = Some(Box::new(key));
        self
    }

    /// Begins it. What is published on this core reaches it from now on; what others publish, once
    /// they know of it.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn begin(self) -> Result<Subscription<M>, SubscribeError> {
        Subscription::new(self)
    }

    /// The same, and waits until others know of it, 5 s at most: who does by then says the answer.
    /// What they publish from then on reaches it.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn begin_known(
        self,
        level: Level,
    ) -> Result<(Subscription<M>, Option<Acknowledgement>), SubscribeError> {
        let subscription = self.begin()?;
        let core = Rc::clone(&subscription.core);
        let entered = subscription.inbox.entered.get();
        let entered = entered.ok_or(SubscribeError::Refused)?;
        let known = confirmed(&core, entered, level).await?;
        Ok((subscription, known))
    }

    /// Begins it for an actor of this core: each message is told to it, into its mailbox, in order.
    /// The bounds are those of the mailbox; what that has no room for is lost, and counted as
    /// [`subscribers_dropped`](crate::Counters::subscribers_dropped). The queue of this, and what
    /// happens when that is full, mean nothing here. What the actor subscribes to already stays as
    /// it is.
    ///
    /// A ref in the message is the one that the publisher put there, so the actor can send to that;
    /// its [`sender`](crate::Cx::sender) is this node. The subscription ends with the actor, and by
    /// [`unsubscribe`](crate::Node::unsubscribe).
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn begin_for<P>(self, actor: &Ref<P>) -> Result<(), SubscribeError>
    where
        P: Accepts<M>,
    {
        self.enter(actor).map(drop)
    }

    /// The same, and waits until others know of it, as [`begin_known`](Self::begin_known) does.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn begin_known_for<P>(
        self,
        actor: &Ref<P>,
        level: Level,
    ) -> Result<Option<Acknowledgement>, SubscribeError>
    where
        P: Accepts<M>,
    {
        let core = Rc::clone(&self.core);
        let entered = self.enter(actor)?;
        confirmed(&core, entered, level).await
    }

    fn enter<P>(self, actor: &Ref<P>) -> Result<Entered, SubscribeError> {
        let interest = Interest::Topics(self.pattern, self.group);
        let message = (M::TYPE, number_of(&M::TYPE));
        self.core.enter_actor(actor.recipient, message, interest)
    }
}

/// Who of those that a level says knows of a subscription.
async fn confirmed(
    core: &Rc<Core>,
    entered: Entered,
    level: Level,
) -> Result<Option<Acknowledgement>, SubscribeError> {
    match level.extent() {
        Some(extent) => core.confirm_subscription(entered, extent).await.map(Some),
        None => Ok(None),
    }
}

/// A message that was published.
pub struct Received<M: Message> {
    message: Msg<M>,
    topic: Rc<str>,
}

impl<M: Message> Received<M> {
    /// What it was published to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The message, to be kept.
    pub fn into_message(self) -> Msg<M> {
        self.message
    }
}

impl<M: Message> Deref for Received<M> {
    type Target = Msg<M>;

    fn deref(&self) -> &Msg<M> {
        &self.message
    }
}

impl<M: Message> fmt::Debug for Received<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = &self.topic;
        f.debug_struct("Received")
            .field("topic", topic)
            .finish_non_exhaustive()
    }
}

type Item<M> = (Msg<M>, Option<Rc<str>>);

/// What waits for a subscription, and who waits for that.
struct Inbox<M: Message> {
    queue: RefCell<Queue<Item<M>>>,
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

impl<M: Message> Subscriber for Inbox<M> {
    fn must_wait(&self, bytes: usize) -> bool {
        // For what is too long there will never be room.
        let waits = !self.patience.is_zero() && bytes <= self.bytes_max;
        waits && !self.queue.borrow().has_room(bytes)
    }

    #[inline]
    fn take_quietly(&self, arrived: &Arrived, readers: &mut Vec<Waker>) -> bool {
        if self.key_of.is_some() || self.is_over.get() {
            return false;
        }
        let known = arrived.validated.as_ref().and_then(Validated::lease::<M>);
        let Some(message) = known else {
            return false;
        };
        let item = || (message, arrived.topic.clone());
        let mut queue = self.queue.borrow_mut();
        let is_taken = queue.offer_with(arrived.bytes.len(), item);
        if is_taken && let Some(reader) = self.reader.take() {
            readers.push(reader);
        }
        is_taken
    }

    fn offer(&self, core: &Core, arrived: &mut Arrived) -> Offer {
        if self.is_over.get() {
            // It ended while it was waited for.
            return core.count_offered(Offered::Dropped);
        }
        let known = arrived.validated.as_ref().and_then(Validated::lease::<M>);
        let message = match known {
            Some(message) => message,
            None => match Validated::new::<M>(arrived.bytes.clone()) {
                Ok(validated) => {
                    let message = validated.lease::<M>();
                    arrived.validated = Some(validated);
                    let Some(message) = message else {
                        return Offer::Lost;
                    };
                    message
                }
                Err(_) => {
                    core.count_malformed();
                    return Offer::Lost;
                }
            },
        };
        let bytes = arrived.bytes.len();
        let key = self.key_of.as_ref().and_then(|key_of| {
            let mut key = None;
            core.contain("the key of a message panicked", || {
                key = Some(key_of(&message));
            });
            key
        });
        let item = (message, arrived.topic.clone());
        let Ok(offered) = self.queue.borrow_mut().offer(item, bytes, key) else {
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

impl<M: Message> Inbox<M> {
    fn wake_writers(&self, core: &Core) {
        let writers = self.writers.take();
        let wakers = writers.into_values().flatten();
        wakers.for_each(|it| core.wake(it));
    }
}

/// A subscription; it ends when it drops. It stays on its core.
pub struct Subscription<M: Message> {
    core: Rc<Core>,
    inbox: Rc<Inbox<M>>,
    pattern: Rc<str>,
}

impl<M: Message> Subscription<M> {
    fn new(subscribe: Subscribe<M>) -> Result<Self, SubscribeError> {
        let Subscribe {
            core,
            pattern,
            group,
            mut queue,
            on_full,
            key_of,
            ..
        } = subscribe;
        queue.on_full = match on_full {
            OnFull::DropOldest => Policy::DropOldest,
            OnFull::DropNewest => Policy::DropNewest,
            OnFull::End => Policy::Fail,
            OnFull::Wait(_) => Policy::Wait,
        };
        let patience = match on_full {
            OnFull::Wait(patience) => patience.max(Duration::from_nanos(1)),
            _ => Duration::ZERO,
        };
        let inbox = Rc::new(Inbox {
            queue: RefCell::new(Queue::new(queue)),
            key_of,
            bytes_max: queue.bytes_max,
            patience,
            is_over: Cell::new(false),
            entered: Cell::default(),
            reader: Cell::default(),
            writers: RefCell::default(),
            last_writer: Cell::default(),
        });
        let text: Rc<str> = Rc::from(pattern.as_str());
        let is_wild = !pattern.is_exact();
        let begin = |subscriber| Begin {
            pattern,
            group,
            protocol: number_of(&M::TYPE),
            subscriber,
        };
        let subscriber: Rc<dyn Subscriber> = Rc::clone(&inbox) as Rc<dyn Subscriber>;
        let entered = core.enter_subscription(subscriber, is_wild, begin)?;
        inbox.entered.set(Some(entered));
        Ok(Self {
            core,
            inbox,
            pattern: text,
        })
    }

    /// The next message; waits for it.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`RecvError::Lagged`]: some were lost here, and what follows comes next.
    /// [`RecvError::Closed`]: none will come any more.
    #[inline]
    pub async fn recv(&mut self) -> Result<Received<M>, RecvError> {
        poll_fn(|context| match self.take() {
            Some(taken) => Poll::Ready(taken),
            None => {
                let former = self.inbox.reader.replace(Some(context.waker().clone()));
                self.core.release(former);
                Poll::Pending
            }
        })
        .await
    }

    /// The next message, if there is one now.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<Received<M>>, RecvError> {
        self.take().transpose()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.inbox.queue.borrow().len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn take(&mut self) -> Option<Result<Received<M>, RecvError>> {
        let taken = self.inbox.queue.borrow_mut().take();
        let taken = match taken {
            Some(Taken::Item((message, topic))) => Ok(Received {
                message,
                topic: topic.unwrap_or_else(|| Rc::clone(&self.pattern)),
            }),
            Some(Taken::Lagged(count)) => Err(RecvError::Lagged(count)),
            Some(Taken::Failed) => Err(RecvError::Closed),
            None if self.inbox.is_over.get() => Err(RecvError::Closed),
            None => return None,
        };
        if !self.inbox.patience.is_zero() {
            self.inbox.wake_writers(&self.core);
        }
        Some(taken)
    }
}

impl<M: Message> Drop for Subscription<M> {
    fn drop(&mut self) {
        if let Some(entered) = self.inbox.entered.take() {
            self.core.leave_subscription(entered);
        }
        self.inbox.end(&self.core);
        self.inbox
            .queue
            .replace(Queue::new(QueueSettings::default()));
    }
}

impl<M: Message> fmt::Debug for Subscription<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("pattern", &self.pattern)
            .finish_non_exhaustive()
    }
}
