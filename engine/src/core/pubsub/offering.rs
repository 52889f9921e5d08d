//! How a message comes to the subscribers of a core: to most by a push into what waits for them.

use std::rc::Rc;
use std::task::Waker;

use ringmesh_cluster::pubsub::{Fed, Offered, Recipient};

use super::super::Core;
use super::{Arrived, Offer, Subscriber};

/// To how many subscriptions of this core a message was offered, and how many took it at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    pub(crate) offered: usize,
    pub(crate) taken: usize,
}

impl Told {
    /// One to whom it was offered.
    pub(crate) fn one(is_taken: bool) -> Self {
        Self {
            offered: 1,
            taken: usize::from(is_taken),
        }
    }

    fn add(&mut self, other: Self) {
        self.offered += other.offered;
        self.taken += other.taken;
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
        let mut offering = self.pubsub.offering.take();
        // All of them are found and counted before any code of users runs, which may begin and end
        // subscriptions, and publish what is to come behind this.
        let mut told = self.offer_quietly(recipients, arrived, &mut offering);
        for subscriber in offering.aside.drain(..) {
            told.add(self.offer_one(subscriber, arrived, &mut wait));
        }
        for reader in offering.readers.drain(..) {
            self.wake(reader);
        }
        self.pubsub.offering.replace(offering);
        told
    }

    /// Offers it to those for whom no code of users runs then.
    fn offer_quietly(
        &self,
        recipients: &[Recipient],
        arrived: &mut Arrived,
        offering: &mut Offering,
    ) -> Told {
        let subscribers = self.pubsub.subscribers.borrow();
        let mut told = Told::default();
        for recipient in recipients {
            let Some(subscriber) = subscribers.get(recipient.subscriber) else {
                continue;
            };
            match subscriber.offer_quietly(self, arrived, &mut offering.readers) {
                Some(quiet) => told.add(quiet),
                None => offering.aside.push(Rc::clone(subscriber)),
            }
        }
        told
    }

    fn offer_one(
        self: &Rc<Self>,
        subscriber: Rc<dyn Subscriber>,
        arrived: &mut Arrived,
        wait: &mut impl FnMut(Rc<dyn Subscriber>),
    ) -> Told {
        let offer = subscriber.offer(self, arrived);
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
        Told::one(offer == Offer::Taken)
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

    /// A feed was, that so many read.
    pub(crate) fn count_fed(&self, readers: u32, fed: Fed) -> Told {
        self.tally.subscribers_queued.add(fed.queued.into());
        self.tally.subscribers_dropped.add(fed.dropped);
        Told {
            offered: readers as usize,
            taken: fed.queued as usize,
        }
    }
}
