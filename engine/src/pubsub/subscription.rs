//! Subscriptions: each reads at its own pace, on the core where it began.

use std::any::TypeId;
use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringmesh_cluster::pubsub::{OnFull as Queueing, Subscribe as Begin, SubscriberId, Taken};
use ringmesh_proto::address::NodeId;
use ringmesh_proto::message::Message;

use super::error::{RecvError, SubscribeError};
use super::inbox::Inbox;
use super::shared::{Reader, SharedInbox};
use super::subscribe::Subscribe;
use super::topic::number_of;
use crate::core::{Core, Entered, FeedKey, Letter, Subscriber};
use crate::message::Msg;

/// A message that was published: one pointer, which all subscribers of the core that have the
/// message share.
pub struct Received<M: Message>(Rc<Letter<M>>);

impl<M: Message> Received<M> {
    /// What it was published to.
    pub fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The node that published it, this one or another, as the link to that knows it: no message
    /// can claim another. It is known also when that node has left since.
    ///
    /// Members of a group may all have gone from the node that a message for one of them was sent
    /// to. Then that node sends it on to where there is one, and its word counts, since it is a
    /// member, if this node knows whom it names; else it counts as the sender itself.
    pub fn sender(&self) -> &NodeId {
        &self.0.publisher.node
    }

    /// The message, to be kept.
    pub fn into_message(self) -> Msg<M> {
        self.0.message.clone()
    }
}

impl<M: Message> Deref for Received<M> {
    type Target = Msg<M>;

    #[inline]
    fn deref(&self) -> &Msg<M> {
        &self.0.message
    }
}

impl<M: Message> fmt::Debug for Received<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.topic();
        f.debug_struct("Received")
            .field("topic", &topic)
            .finish_non_exhaustive()
    }
}

/// Where what a subscription gets waits for it.
enum Source<M: Message> {
    /// In a queue of its own.
    Own(Rc<Inbox<M>>),
    /// In one for all that are alike.
    Shared(Reader<M>),
}

/// A subscription; it ends when it drops. It stays on its core.
pub struct Subscription<M: Message> {
    core: Rc<Core>,
    source: Source<M>,
    pattern: Rc<str>,
}

impl<M: Message> Subscription<M> {
    pub(super) fn new(subscribe: Subscribe<M>) -> Result<Self, SubscribeError> {
        let core = Rc::clone(&subscribe.core);
        let pattern: Rc<str> = Rc::from(subscribe.pattern.as_str());
        // Of what is lost alike nothing need be kept for each.
        let is_alike = subscribe.queue.on_full == Queueing::DropOldest
            && subscribe.group.is_none()
            && subscribe.key_of.is_none();
        let source = match is_alike {
            true => Source::Shared(share(subscribe, &pattern)?),
            false => Source::Own(enter(subscribe, &pattern)?),
        };
        Ok(Self {
            core,
            source,
            pattern,
        })
    }

    /// What it is announced with, as long as it is.
    pub(super) fn entered(&self) -> Option<Entered> {
        match &self.source {
            Source::Own(inbox) => inbox.entered(),
            Source::Shared(reader) => Some(reader.entered()),
        }
    }

    /// The next message; waits for it.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`RecvError::Lagged`]: some were lost here, and what follows comes next.
    /// [`RecvError::Closed`]: none will come any more.
    #[inline]
    pub fn recv(&mut self) -> Recv<'_, M> {
        Recv { subscription: self }
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
        match &self.source {
            Source::Own(inbox) => inbox.len(),
            Source::Shared(reader) => reader.len(),
        }
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline(always)]
    fn take(&mut self) -> Option<Result<Received<M>, RecvError>> {
        let taken = match &mut self.source {
            Source::Own(inbox) => inbox.take(&self.core),
            Source::Shared(reader) => reader.take(),
        };
        Some(match taken? {
            Taken::Item(letter) => Ok(Received(letter)),
            Taken::Lagged(count) => Err(RecvError::Lagged(count)),
            Taken::Failed => Err(RecvError::Closed),
        })
    }

    #[inline(never)]
    fn wait(&mut self, context: &Context<'_>) {
        match &mut self.source {
            Source::Own(inbox) => inbox.wait(&self.core, context),
            Source::Shared(reader) => reader.wait(&self.core, context),
        }
    }
}

/// The next message of a [`Subscription`], from [`recv`](Subscription::recv).
#[must_use = "nothing is read before it is awaited"]
pub struct Recv<'a, M: Message> {
    subscription: &'a mut Subscription<M>,
}

impl<M: Message> Future for Recv<'_, M> {
    type Output = Result<Received<M>, RecvError>;

    // A loop that reads takes what waits without a call: most of what a delivery costs.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let subscription = &mut *self.get_mut().subscription;
        match subscription.take() {
            Some(taken) => Poll::Ready(taken),
            None => {
                subscription.wait(context);
                Poll::Pending
            }
        }
    }
}

impl<M: Message> fmt::Debug for Recv<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").finish_non_exhaustive()
    }
}

/// Begins what has a queue of its own.
fn enter<M: Message>(
    subscribe: Subscribe<M>,
    pattern: &Rc<str>,
) -> Result<Rc<Inbox<M>>, SubscribeError> {
    let (core, is_wild) = (subscribe.core, !subscribe.pattern.is_exact());
    let inbox = Rc::new(Inbox::new(
        Rc::clone(pattern),
        subscribe.queue,
        subscribe.patience,
        subscribe.key_of,
    ));
    let subscriber = Rc::clone(&inbox) as Rc<dyn Subscriber>;
    let entered = core.enter_subscription(subscriber, is_wild, |subscriber| Begin {
        pattern: subscribe.pattern,
        group: subscribe.group,
        protocol: number_of(&M::TYPE),
        subscriber,
    })?;
    inbox.enter(entered);
    Ok(inbox)
}

/// Begins what waits beside others.
fn share<M: Message>(
    subscribe: Subscribe<M>,
    pattern: &Rc<str>,
) -> Result<Reader<M>, SubscribeError> {
    let (core, is_wild) = (subscribe.core, !subscribe.pattern.is_exact());
    let (items_max, bytes_max) = (subscribe.queue.items_max, subscribe.queue.bytes_max);
    let key = FeedKey {
        pattern: Rc::clone(pattern),
        message: TypeId::of::<M>(),
        items_max,
        bytes_max,
    };
    let make = || SharedInbox::new(Rc::clone(pattern), (items_max, bytes_max));
    let begin = |subscriber: SubscriberId| Begin {
        pattern: subscribe.pattern,
        group: None,
        protocol: number_of(&M::TYPE),
        subscriber,
    };
    let (inbox, entered) = core.enter_feed(key, make, is_wild, begin)?;
    Ok(Reader::new(inbox, entered))
}

impl<M: Message> Drop for Subscription<M> {
    fn drop(&mut self) {
        match &mut self.source {
            Source::Own(inbox) => inbox.leave(&self.core),
            Source::Shared(reader) => reader.leave(&self.core),
        }
    }
}

impl<M: Message> fmt::Debug for Subscription<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("pattern", &self.pattern)
            .finish_non_exhaustive()
    }
}
