//! How a message comes to the subscribers of a core: to most by a push into their queues.

use std::rc::Rc;
use std::task::Waker;

use ringmesh_cluster::pubsub::{Fed, Offered, Recipient, SubscriberId};

use super::super::Core;
use super::{Arrived, Offer, Subscriber};

/// To how many subscriptions of this core a message was offered, and how many took it at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) offered: usize,
    pub(super) taken: usize,
}

impl Told {
    fn add(&mut self, weight: usize, is_taken: bool) {
        self.offered += weight;
        self.taken += if is_taken { weight } else { 0 };
    }
}

/// What of one message is used again for the next.
#[derive(Default)]
pub(super) struct Offering {
    /// Those for which more has to be done than a push.
    aside: Vec<Rc<dyn Subscriber>>,
    /// Those that wait for a message and now have one.
    readers: Vec<Waker>,
}

impl Core {
    /// Offers a message to subscribers of this core; `wait` is told of each that is to be waited
    /// for.
    pub(super) fn offer_all(
        self: &Rc<Self>,
        recipients: &[Recipient],
        arrived: &mut Arrived,
        mut wait: impl FnMut(Rc<dyn Subscriber>),
    ) -> Told {
        let mut told = Told::default();
        let Some((first, others)) = recipients.split_first() else {
            return told;
        };
        // It finds out whether the message is what it should be, for all of its type.
        let subscriber = self.subscriber(first.subscriber);
        self.offer_one(subscriber, arrived, &mut told, &mut wait);
        if others.is_empty() {
            return told;
        }
        let mut offering = self.pubsub.offering.take();
        let quiet = self.offer_quietly(others, arrived, &mut offering);
        self.tally.subscribers_queued.add(quiet as u64);
        told.add(quiet, true);
        for subscriber in offering.aside.drain(..) {
            self.offer_one(Some(subscriber), arrived, &mut told, &mut wait);
        }
        // Wakers are code of users, which may do anything: now nothing is borrowed.
        for reader in offering.readers.drain(..) {
            self.wake(reader);
        }
        self.pubsub.offering.replace(offering);
        told
    }

    /// Pushes it where that is all there is to do. To how many.
    fn offer_quietly(
        &self,
        recipients: &[Recipient],
        arrived: &Arrived,
        offering: &mut Offering,
    ) -> usize {
        let subscribers = self.pubsub.subscribers.borrow();
        let mut taken = 0;
        for recipient in recipients {
            let Some(subscriber) = subscribers.get(recipient.subscriber) else {
                continue;
            };
            if subscriber.take_quietly(arrived, &mut offering.readers) {
                taken += 1;
            } else {
                offering.aside.push(Rc::clone(subscriber));
            }
        }
        taken
    }

    fn offer_one(
        self: &Rc<Self>,
        subscriber: Option<Rc<dyn Subscriber>>,
        arrived: &mut Arrived,
        told: &mut Told,
        wait: &mut impl FnMut(Rc<dyn Subscriber>),
    ) {
        let Some(subscriber) = subscriber else {
            return;
        };
        let weight = subscriber.weight();
        let offer = subscriber.offer(self, arrived);
        told.add(weight, offer == Offer::Taken);
        match offer {
            Offer::Taken | Offer::Lost => {}
            Offer::Waits => wait(subscriber),
            Offer::Over => {
                let entered = subscriber.take_entered();
                entered
                    .into_iter()
                    .for_each(|it| self.leave_subscription(it));
            }
        }
    }

    /// Who of those has to be waited for, if a message of so many bytes is not to be lost.
    pub(super) fn who_must_wait(
        &self,
        recipients: &[Recipient],
        bytes: usize,
    ) -> Option<Rc<dyn Subscriber>> {
        if self.pubsub.patient.get() == 0 {
            return None;
        }
        let subscribers = self.pubsub.subscribers.borrow();
        let mut all = recipients
            .iter()
            .filter_map(|it| subscribers.get(it.subscriber));
        all.find(|it| it.must_wait(bytes)).cloned()
    }

    pub(super) fn subscriber(&self, id: SubscriberId) -> Option<Rc<dyn Subscriber>> {
        self.pubsub.subscribers.borrow().get(id).cloned()
    }

    /// A subscriber's queue was offered a message: what came of that.
    pub(crate) fn count_offered(&self, offered: Offered) -> Offer {
        let (queued, dropped) = match offered {
            Offered::Queued { dropped } | Offered::Replaced { dropped } => (1, dropped as u64),
            _ => (0, 1),
        };
        self.tally.subscribers_queued.add(queued);
        self.tally.subscribers_dropped.add(dropped);
        match offered {
            Offered::Queued { .. } => Offer::Taken,
            Offered::Replaced { .. } => {
                self.tally.subscribers_replaced.add(1);
                Offer::Taken
            }
            Offered::Dropped => Offer::Lost,
            Offered::Failed => Offer::Over,
        }
    }

    /// The same of a feed.
    #[inline]
    pub(crate) fn count_fed(&self, fed: Fed) -> Offer {
        self.tally.subscribers_queued.add(fed.queued.into());
        self.tally.subscribers_dropped.add(fed.dropped);
        match fed.queued {
            0 => Offer::Lost,
            _ => Offer::Taken,
        }
    }
}
