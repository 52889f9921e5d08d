//! Subscriptions of this core, and what the cluster is told of them.

use std::rc::Rc;

use futures_channel::oneshot;
use ringmesh_cluster::pubsub::{
    Announce, AnnouncementId, Interests, Subscribe, SubscribeError as Full, Subscribed,
    SubscriberId, SubscriptionId,
};
use ringmesh_cluster::registry::{Acknowledgement, Extent};
use ringmesh_proto::address::CoreId;

use super::super::{CONTROL_CORE, Core, Errand};
use super::{FeedKey, Subscriber};
use crate::pubsub::SubscribeError;

/// A subscription that has begun on this core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entered {
    subscriber: SubscriberId,
    subscription: SubscriptionId,
    announcement: AnnouncementId,
    is_wild: bool,
    is_patient: bool,
}

/// What the machine says of a subscription that is to begin.
type Begun = Result<Subscribed, Full>;

/// Who confirms an announcement, if that was asked for.
pub(super) type Confirming = Result<Option<oneshot::Receiver<Acknowledgement>>, SubscribeError>;

impl Core {
    /// Begins a subscription: what is published on this core reaches it at once.
    pub(crate) fn enter_subscription(
        &self,
        subscriber: Rc<dyn Subscriber>,
        is_wild: bool,
        subscribe: impl FnOnce(SubscriberId) -> Subscribe,
    ) -> Result<Entered, SubscribeError> {
        self.enter_subscriber(subscriber, is_wild, |interests, id, out| {
            interests.subscribe(&subscribe(id), out)
        })
    }

    /// The same of whatever kind: with its number, the machine is told what begins.
    pub(super) fn enter_subscriber(
        &self,
        subscriber: Rc<dyn Subscriber>,
        is_wild: bool,
        begin: impl FnOnce(&mut Interests, SubscriberId, &mut Vec<Announce>) -> Begun,
    ) -> Result<Entered, SubscribeError> {
        if self.is_closing() {
            return Err(SubscribeError::Stopping);
        }
        let is_patient = !subscriber.patience().is_zero();
        let id = { self.pubsub.subscribers.borrow_mut() }.add(subscriber);
        self.enter(id, (is_wild, is_patient), begin)
    }

    /// The same of one that takes what it gets for all subscriptions with that key: the one that
    /// there is, or a new one.
    pub(crate) fn enter_feed<S: Subscriber + 'static>(
        &self,
        key: FeedKey,
        make: impl FnOnce() -> S,
        is_wild: bool,
        subscribe: impl FnOnce(SubscriberId) -> Subscribe,
    ) -> Result<(Rc<S>, Entered), SubscribeError> {
        if self.is_closing() {
            return Err(SubscribeError::Stopping);
        }
        let known = { self.pubsub.subscribers.borrow_mut() }.join_feed(&key);
        let (id, feed) = known.unwrap_or_else(|| {
            let feed = Rc::new(make());
            let id = { self.pubsub.subscribers.borrow_mut() }.add_feed(key, &feed);
            (id, feed)
        });
        let entered = self.enter(id, (is_wild, false), |interests, id, out| {
            interests.share(&subscribe(id), out)
        })?;
        Ok((feed, entered))
    }

    fn enter(
        &self,
        id: SubscriberId,
        (is_wild, is_patient): (bool, bool),
        begin: impl FnOnce(&mut Interests, SubscriberId, &mut Vec<Announce>) -> Begun,
    ) -> Result<Entered, SubscribeError> {
        let mut announced = Vec::new();
        let begun = {
            let mut mediator = self.pubsub.mediator.borrow_mut();
            let interests = mediator.as_mut().map(|it| it.interests());
            interests.map(|it| begin(it, id, &mut announced))
        };
        match begun {
            Some(Ok(begun)) => {
                let (wild, patient) = (&self.pubsub.wild, &self.pubsub.patient);
                wild.set(wild.get() + usize::from(is_wild));
                patient.set(patient.get() + usize::from(is_patient));
                self.announce_interests(announced);
                Ok(Entered {
                    subscriber: id,
                    subscription: begun.id,
                    announcement: begun.announcement,
                    is_wild,
                    is_patient,
                })
            }
            refused => {
                let removed = { self.pubsub.subscribers.borrow_mut() }.remove(id);
                drop(removed);
                let full = refused.and_then(Result::err);
                Err(full.map_or(SubscribeError::Stopping, SubscribeError::from))
            }
        }
    }

    /// Ends a subscription.
    pub(crate) fn leave_subscription(&self, entered: Entered) {
        let mut announced = Vec::new();
        if let Some(mediator) = self.pubsub.mediator.borrow_mut().as_mut() {
            let interests = mediator.interests();
            interests.unsubscribe(entered.subscription, &mut announced);
        }
        self.announce_interests(announced);
        let (wild, patient) = (&self.pubsub.wild, &self.pubsub.patient);
        wild.set(wild.get() - usize::from(entered.is_wild));
        patient.set(patient.get() - usize::from(entered.is_patient));
        let removed = { self.pubsub.subscribers.borrow_mut() }.remove(entered.subscriber);
        drop(removed);
    }

    /// Waits until others know of a subscription.
    pub(crate) async fn confirm_subscription(
        self: &Rc<Self>,
        entered: Entered,
        extent: Extent,
    ) -> Result<Acknowledgement, SubscribeError> {
        let (say, heard) = oneshot::channel();
        self.ask_about_interest(entered, Some(extent), say);
        let asked = match heard.await {
            Ok(asked) => asked?,
            Err(_) if self.is_closing() => return Err(SubscribeError::Stopping),
            // It was dropped on its way: there is no room.
            Err(_) => return Err(SubscribeError::Overloaded),
        };
        let asked = asked.ok_or(SubscribeError::Stopping)?;
        asked.await.map_err(|_| SubscribeError::Stopping)
    }

    /// Has the control core say whether what this core announced is, and who of `extent` confirms
    /// it.
    pub(super) fn ask_about_interest(
        self: &Rc<Self>,
        entered: Entered,
        extent: Option<Extent>,
        say: oneshot::Sender<Confirming>,
    ) {
        let announced = (self.id, entered.announcement);
        let errand: Errand = Box::new(move |control| {
            // Whoever asked may wait no more.
            let _ = say.send(control.confirm_interest(announced, extent));
        });
        if self.run_errand(CONTROL_CORE, errand).is_err() {
            tracing::debug!("too many errands wait for the control core");
        }
    }

    /// Tells the control core what this core announces, behind what it said before.
    fn announce_interests(&self, announced: Vec<Announce>) {
        if announced.is_empty() {
            return;
        }
        let core = self.id;
        if core == CONTROL_CORE {
            return self.take_interests(core, announced);
        }
        let word: Errand = Box::new(move |control| control.take_interests(core, announced));
        self.send_word(CONTROL_CORE, word);
    }

    /// A core of this node announces something, on the control core.
    fn take_interests(&self, core: CoreId, announced: Vec<Announce>) {
        for announce in announced {
            let put = match &announce {
                Announce::Put { id, .. } => Some(*id),
                _ => None,
            };
            let taken = self.tell_registry(|registry, now, out| {
                let mut announcer = self.pubsub.announcer.borrow_mut();
                announcer.handle((now, registry), core, announce, out)
            });
            let is_refused = !matches!(taken, Some(Ok(())));
            if let Some(id) = put.filter(|_| is_refused) {
                self.refuse_interest(core, id);
            }
        }
    }

    /// Tells a core that something of it is not announced.
    fn refuse_interest(&self, core: CoreId, id: AnnouncementId) {
        if core == CONTROL_CORE {
            return self.end_refused(id);
        }
        self.send_word(core, Box::new(move |there| there.end_refused(id)));
    }

    fn end_refused(&self, id: AnnouncementId) {
        let mut ended = Vec::new();
        if let Some(mediator) = self.pubsub.mediator.borrow_mut().as_mut() {
            mediator.interests().handle_refused(id, &mut ended);
        }
        // All of them first: what ends runs code of users, which may subscribe anew.
        let ended = { self.pubsub.subscribers.borrow_mut() }.close(&ended);
        for subscriber in ended {
            // Its number is free when the subscription drops, and not before.
            subscriber.end(self);
        }
    }

    fn confirm_interest(
        &self,
        announced: (CoreId, AnnouncementId),
        extent: Option<Extent>,
    ) -> Confirming {
        let entry = self
            .pubsub
            .announcer
            .borrow()
            .entry(announced.0, announced.1);
        let entry = entry.ok_or(SubscribeError::Refused)?;
        let confirmed = extent.map(|extent| self.confirm_entry(entry, extent));
        let confirmed = confirmed.transpose();
        confirmed.map_err(|_| SubscribeError::Overloaded)
    }
}

impl From<Full> for SubscribeError {
    fn from(why: Full) -> Self {
        match why {
            Full::Subscriber => Self::Subscriber,
            Full::Shapes => Self::Shapes,
            _ => Self::Core,
        }
    }
}
