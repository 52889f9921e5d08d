//! Pub-sub on a core: its subscribers, and what they and publishers have done.
//!
//! The [machine](Mediator) says who gets what. This room tells it who subscribes here, brings it
//! what all cores of all members announce, and takes what is published to where it says: to
//! subscribers on this core by way of their queues, and to other cores and nodes as messages for
//! the mediators there, over the links that actors use.

mod actors;
mod answering;
mod arrived;
mod arriving;
mod counting;
mod offering;
mod paths;
mod publishers;
mod publishing;
mod subscribers;
mod subscribing;
mod track;
mod ways;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use ringmesh_cluster::context::Random;
use ringmesh_cluster::pubsub::{
    Announcer, InterestSettings, Interests, Mediator, Recipient, Topics,
};
use ringmesh_proto::address::Uid;

use self::actors::ActorInterests;
pub(crate) use self::actors::Interest;
pub(crate) use self::answering::AnswerWait;
use self::answering::Answers;
pub(crate) use self::arrived::{Arrived, Letter};
use self::offering::Offering;
pub(crate) use self::offering::Told;
pub(crate) use self::paths::{PathOrder, Put, Undelivered};
pub(crate) use self::publishers::Publisher;
use self::publishers::Publishers;
pub(crate) use self::publishing::{Order, Reach, Refused};
pub(crate) use self::subscribers::FeedKey;
use self::subscribers::Subscribers;
pub(crate) use self::subscribing::Entered;
use self::track::LastFrame;
pub(crate) use self::track::Track;
use self::ways::Ways;
pub(crate) use self::ways::{InLine, Standing};
use super::Core;

/// What a core has of pub-sub.
#[derive(Default)]
pub(super) struct PubsubRoom {
    /// Made before the first turn.
    mediator: RefCell<Option<Mediator>>,
    subscribers: RefCell<Subscribers>,
    ways: RefCell<Ways>,
    /// Publishes that are to say whom they have reached.
    answers: Answers,
    random: RefCell<Option<Random>>,
    /// Of one publish or arrival, used again for the next.
    recipients: RefCell<Vec<Recipient>>,
    head: RefCell<Vec<u8>>,
    last_frame: RefCell<LastFrame>,
    archive: RefCell<Vec<u8>>,
    /// Actors among the subscribers.
    actors: ActorInterests,
    offering: RefCell<Offering>,
    publishers: Publishers,
    /// Subscriptions to patterns with wildcards.
    wild: Cell<usize>,
    /// Subscriptions that may have to be waited for.
    patient: Cell<usize>,
    /// On the control core: what the cores announce.
    announcer: RefCell<Announcer>,
}

/// One who has subscribed on this core. Nobody waits for it, unless it says for how long, and then
/// all of what is said here of waiting.
pub(crate) trait Subscriber {
    /// Takes a message, or loses it, if no code of users runs for that; whoever waits for it is to
    /// be woken. `None` if some would: nothing changed.
    fn offer_quietly(
        &self,
        core: &Core,
        arrived: &mut Arrived,
        readers: &mut Vec<Waker>,
    ) -> Option<Told> {
        let _ = (core, arrived, readers);
        None
    }

    /// Takes a message, or loses it as its policy says.
    fn offer(&self, core: &Core, arrived: &mut Arrived) -> Offer;

    /// The subscription, once, of one whose offers may end it: whoever takes it ends it.
    fn take_entered(&self) -> Option<Entered> {
        None
    }

    /// The node does not announce it: nobody would ever find it.
    fn end(&self, core: &Core);

    /// How long whoever waits for room waits.
    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether a message of so many bytes has to wait for room.
    fn must_wait(&self, bytes: usize) -> bool {
        let _ = bytes;
        false
    }

    /// A number for one who waits for room.
    fn join(&self) -> u64 {
        0
    }

    /// Wakes it when there is some.
    fn wait_for_room(&self, number: u64, waker: &Waker) {
        let _ = (number, waker);
    }

    /// It waits no more.
    fn part(&self, number: u64) {
        let _ = number;
    }
}

/// What became of a message that was offered to a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is in the queue.
    Taken,
    /// It was lost, and that was counted.
    Lost,
    /// It has not been counted: whoever publishes is to wait for room.
    Waits,
    /// It was lost, and the subscription has ended with it.
    Over,
}

/// A place among those that wait for room at a subscriber. It is given up when it drops.
pub(crate) struct RoomWait {
    subscriber: Rc<dyn Subscriber>,
    number: u64,
}

impl RoomWait {
    pub(crate) fn at(subscriber: &Rc<dyn Subscriber>) -> Self {
        let (subscriber, number) = (Rc::clone(subscriber), subscriber.join());
        Self { subscriber, number }
    }

    pub(crate) fn is_at(&self, subscriber: &Rc<dyn Subscriber>) -> bool {
        Rc::ptr_eq(&self.subscriber, subscriber)
    }

    pub(crate) fn wake(&mut self, waker: &Waker) {
        self.subscriber.wait_for_room(self.number, waker);
    }
}

impl Drop for RoomWait {
    fn drop(&mut self) {
        self.subscriber.part(self.number);
    }
}

impl std::fmt::Debug for PubsubRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PubsubRoom").finish_non_exhaustive()
    }
}

impl Core {
    /// Makes the machine of this core. Before the first turn.
    pub(super) fn begin_pubsub(&self) {
        let interests = Interests::new(self.id, InterestSettings::default());
        let mediator = Mediator::new(self.identity().uid, self.local().cores, interests);
        self.pubsub.mediator.replace(Some(mediator));
        let random = Random::new(crate::random::number());
        self.pubsub.random.replace(Some(random));
    }

    /// Shows the machine what all members announce, as this core has just read it.
    /// Whom to wake then.
    pub(super) fn follow_topics(&self, topics: Option<Arc<Topics>>, woken: &mut Vec<Waker>) {
        if let (Some(mediator), Some(topics)) = (&mut *self.pubsub.mediator.borrow_mut(), topics) {
            mediator.handle_topics(topics);
        }
        self.pubsub.ways.borrow_mut().forget();
        let answers = &self.pubsub.answers;
        answers.retain_nodes(|node| self.may_answer(node), woken);
    }

    /// Who subscribes in the cluster, as this core knows.
    pub(crate) fn topics(&self) -> Option<Arc<Topics>> {
        let mediator = self.pubsub.mediator.borrow();
        mediator.as_ref().map(|it| Arc::clone(it.topics()))
    }

    fn is_own_start(&self, uid: Uid) -> bool {
        uid == self.identity().uid
    }
}
