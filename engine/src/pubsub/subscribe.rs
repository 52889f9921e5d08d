//! How subscriptions begin.

use std::rc::Rc;
use std::time::Duration;

use ringmesh_cluster::pubsub::{GroupName, Level, OnFull as Queueing, Pattern, QueueSettings};
use ringmesh_cluster::registry::Acknowledgement;
use ringmesh_proto::archive::Archived;
use ringmesh_proto::message::Message;

use super::error::SubscribeError;
use super::subscription::Subscription;
use super::topic::number_of;
use crate::actor::Accepts;
use crate::core::{Core, Entered, Interest};
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
pub(super) type KeyOf<M> = Box<dyn Fn(&Archived<M>) -> u64>;

/// How a subscription is to begin; from [`Node::subscribe`](crate::Node::subscribe).
#[must_use = "nothing is subscribed to before `begin`"]
pub struct Subscribe<M: Message> {
    pub(super) core: Rc<Core>,
    pub(super) pattern: Pattern,
    pub(super) group: Option<GroupName>,
    pub(super) queue: QueueSettings,
    /// How long whoever publishes waits for room; not at all, unless the queue is to be waited for.
    pub(super) patience: Duration,
    pub(super) key_of: Option<KeyOf<M>>,
}

impl<M: Message> Subscribe<M> {
    pub(crate) fn new(core: &Rc<Core>, pattern: Pattern) -> Self {
        Self {
            core: Rc::clone(core),
            pattern,
            group: None,
            queue: QueueSettings::default(),
            patience: Duration::ZERO,
            key_of: None,
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
        (self.queue.on_full, self.patience) = match on_full {
            OnFull::DropOldest => (Queueing::DropOldest, Duration::ZERO),
            OnFull::DropNewest => (Queueing::DropNewest, Duration::ZERO),
            OnFull::End => (Queueing::Fail, Duration::ZERO),
            OnFull::Wait(patience) => (Queueing::Wait, patience.max(Duration::from_nanos(1))),
        };
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
        let core = Rc::clone(&self.core);
        let subscription = self.begin()?;
        let entered = subscription.entered().ok_or(SubscribeError::Refused)?;
        let known = confirmed(&core, entered, level).await?;
        Ok((subscription, known))
    }

    /// Begins it for an actor of this core: each message is told to it, into its mailbox, in order.
    /// The bounds are those of the mailbox; what that has no room for is lost, and counted as
    /// [`subscribers_dropped`](crate::Counters::subscribers_dropped). The queue of this, and what
    /// happens when that is full, mean nothing here. What the actor subscribes to already stays as
    /// it is.
    ///
    /// Its [`sender`](crate::Cx::sender) is the node that published it. A ref in the message is the
    /// one that the publisher put there, so the actor can send to that. The subscription ends with
    /// the actor, and by [`unsubscribe`](crate::Node::unsubscribe).
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
