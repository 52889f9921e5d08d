//! Actors of this core that have subscribed, or were put under a path.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringmesh_cluster::pubsub::{Announce, GroupName, Path, Pattern, Subscribe};
use ringmesh_cluster::pubsub::{Interests, SubscribeError as Full, Subscribed, SubscriberId};
use ringmesh_proto::message::MessageType;
use rustc_hash::FxHashMap;

use super::super::{Core, NodeIndex};
use super::{Arrived, Entered, Offer, Subscriber};
use crate::pubsub::SubscribeError;
use crate::reference::Recipient;

/// The most subscriptions of one actor, paths included. With too many one alone can take all there
/// are of a core.
const OF_ACTOR_MAX: usize = 4096;

/// What an actor gets messages by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// What is published to topics that match, as a member of that group if it names one.
    Topics(Pattern, Option<GroupName>),
    /// What is sent to a path.
    Path(Path),
}

/// The subscriptions of actors, by the generations of those.
#[derive(Default)]
pub(super) struct ActorInterests {
    by_actor: RefCell<FxHashMap<u64, Vec<Rc<ActorSubscriber>>>>,
    /// Those that did not begin because their actor has as many as it may.
    pub(super) refused: Cell<u64>,
}

/// A subscription of an actor. Its messages go to the mailbox, which has bounds of its own.
struct ActorSubscriber {
    actor: Recipient,
    message: MessageType,
    /// The number of that, which tells message types apart in what is announced.
    protocol: u64,
    interest: Interest,
    entered: Cell<Option<Entered>>,
    /// The node does not announce it.
    is_over: Cell<bool>,
}

impl ActorSubscriber {
    fn begin(
        &self,
        interests: &mut Interests,
        id: SubscriberId,
        out: &mut Vec<Announce>,
    ) -> Result<Subscribed, Full> {
        match &self.interest {
            Interest::Topics(pattern, group) => {
                let subscribe = Subscribe {
                    pattern: pattern.clone(),
                    group: group.clone(),
                    protocol: self.protocol,
                    subscriber: id,
                };
                interests.subscribe(&subscribe, out)
            }
            Interest::Path(path) => {
                interests.put(path, self.protocol, (id, self.actor.target()), out)
            }
        }
    }

    fn is_wild(&self) -> bool {
        matches!(&self.interest, Interest::Topics(pattern, _) if !pattern.is_exact())
    }
}

impl Subscriber for ActorSubscriber {
    fn offer(&self, core: &Core, arrived: &mut Arrived) -> Offer {
        let published = (arrived.bytes(), arrived.publisher().node.uid);
        let told = core.tell_published(&self.actor, &self.message, published);
        match told {
            Ok(()) => {
                core.tally.subscribers_queued.add(1);
                Offer::Taken
            }
            Err(_) => {
                core.tally.subscribers_dropped.add(1);
                Offer::Lost
            }
        }
    }

    fn take_entered(&self) -> Option<Entered> {
        self.entered.take()
    }

    fn end(&self, core: &Core) {
        self.is_over.set(true);
        core.leave_interests(self.actor.generation, |it| std::ptr::eq(it, self));
        tracing::warn!(actor = ?self.actor.id(), interest = ?self.interest, "it is not announced");
    }
}

impl Core {
    /// Has an actor of this core get messages of a type. What it has already stays as it is.
    pub(crate) fn enter_actor(
        &self,
        actor: Recipient,
        (message, protocol): (MessageType, u64),
        interest: Interest,
    ) -> Result<Entered, SubscribeError> {
        let is_own = actor.node == NodeIndex::SELF && actor.uid == self.identity().uid;
        if !is_own || actor.core != self.id {
            return Err(SubscribeError::NotHere);
        }
        if self.living(actor).is_none() {
            return Err(SubscribeError::NotRunning);
        }
        {
            let all = self.pubsub.actors.by_actor.borrow();
            let of_actor = all.get(&actor.generation);
            let mut known = of_actor.into_iter().flatten();
            let known = known.find(|it| it.protocol == protocol && it.interest == interest);
            if let Some(entered) = known.and_then(|it| it.entered.get()) {
                return Ok(entered);
            }
            if of_actor.is_some_and(|it| it.len() >= OF_ACTOR_MAX) {
                let refused = &self.pubsub.actors.refused;
                refused.set(refused.get() + 1);
                return Err(SubscribeError::Subscriber);
            }
        }
        let subscriber = Rc::new(ActorSubscriber {
            actor,
            message,
            protocol,
            interest,
            entered: Cell::default(),
            is_over: Cell::default(),
        });
        let dynamic = Rc::clone(&subscriber) as Rc<dyn Subscriber>;
        let begin = |interests: &mut Interests, id: SubscriberId, out: &mut Vec<Announce>| {
            subscriber.begin(interests, id, out)
        };
        let entered = self.enter_subscriber(dynamic, subscriber.is_wild(), begin)?;
        if subscriber.is_over.get() {
            // The control core says so before it is noted here.
            self.leave_subscription(entered);
            return Err(SubscribeError::Refused);
        }
        subscriber.entered.set(Some(entered));
        let mut all = self.pubsub.actors.by_actor.borrow_mut();
        all.entry(actor.generation).or_default().push(subscriber);
        Ok(entered)
    }

    /// An actor of this core gets messages of a type no more by what is said. Says whether it did.
    pub(crate) fn leave_actor(
        &self,
        actor: Recipient,
        protocol: u64,
        is_it: impl Fn(&Interest) -> bool,
    ) -> bool {
        let is_it = |it: &ActorSubscriber| it.protocol == protocol && is_it(&it.interest);
        self.leave_interests(actor.generation, is_it)
    }

    /// An actor of this core takes nothing more.
    pub(in super::super) fn close_to_publishers(&self, generation: u64) {
        self.leave_interests(generation, |_| true);
    }

    fn leave_interests(&self, generation: u64, is_it: impl Fn(&ActorSubscriber) -> bool) -> bool {
        let mut left = Vec::new();
        {
            let mut all = self.pubsub.actors.by_actor.borrow_mut();
            let Some(of_actor) = all.get_mut(&generation) else {
                return false;
            };
            of_actor.retain(|it| {
                let stays = !is_it(it);
                left.extend((!stays).then(|| Rc::clone(it)));
                stays
            });
            if of_actor.is_empty() {
                all.remove(&generation);
            }
        }
        let entered = left.iter().filter_map(|it| it.entered.take());
        entered.for_each(|it| self.leave_subscription(it));
        !left.is_empty()
    }
}
