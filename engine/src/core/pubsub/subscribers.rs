//! Those who have subscribed on a core, by number.

use std::any::{Any, TypeId};
use std::collections::BTreeSet;
use std::rc::Rc;

use ringmesh_cluster::pubsub::{Recipient, SubscriberId};
use rustc_hash::FxHashMap;

use super::Subscriber;

/// What subscriptions have in common of which one subscriber takes what all of them get.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FeedKey {
    pub(crate) pattern: Rc<str>,
    /// The message type.
    pub(crate) message: TypeId,
    pub(crate) items_max: usize,
    pub(crate) bytes_max: usize,
}

struct Seat {
    subscriber: Rc<dyn Subscriber>,
    /// For how many subscriptions it stands.
    subscriptions: usize,
    /// By what others find it who subscribe, if they may.
    key: Option<FeedKey>,
}

/// Those who have subscribed.
#[derive(Default)]
pub(super) struct Subscribers {
    seats: Vec<Option<Seat>>,
    free: Vec<usize>,
    feeds: FxHashMap<FeedKey, (SubscriberId, Rc<dyn Any>)>,
}

impl Subscribers {
    /// One with a subscription of its own.
    pub(super) fn add(&mut self, subscriber: Rc<dyn Subscriber>) -> SubscriberId {
        let at = self.free.pop().unwrap_or_else(|| {
            self.seats.push(None);
            self.seats.len() - 1
        });
        self.seats[at] = Some(Seat {
            subscriber,
            subscriptions: 1,
            key: None,
        });
        SubscriberId(at as u64)
    }

    /// One that others find by that key, for the first of them.
    pub(super) fn add_feed<S>(&mut self, key: FeedKey, feed: &Rc<S>) -> SubscriberId
    where
        S: Subscriber + 'static,
    {
        let id = self.add(Rc::clone(feed) as Rc<dyn Subscriber>);
        if let Some(seat) = self.seat_mut(id) {
            seat.key = Some(key.clone());
        }
        let any = Rc::clone(feed) as Rc<dyn Any>;
        self.feeds.insert(key, (id, any));
        id
    }

    /// Who stands for one subscription more from now on, if there is one with that key.
    pub(super) fn join_feed<S>(&mut self, key: &FeedKey) -> Option<(SubscriberId, Rc<S>)>
    where
        S: Subscriber + 'static,
    {
        let (id, any) = self.feeds.get(key)?;
        let (id, feed) = (*id, Rc::clone(any).downcast().ok()?);
        self.seat_mut(id)?.subscriptions += 1;
        Some((id, feed))
    }

    /// Nobody finds those by their keys any more. They are given back, each once.
    pub(super) fn close(&mut self, all: &[Recipient]) -> Vec<Rc<dyn Subscriber>> {
        let ids: BTreeSet<SubscriberId> = all.iter().map(|it| it.subscriber).collect();
        ids.iter().for_each(|id| self.forget_key(*id));
        ids.iter().filter_map(|id| self.get(*id).cloned()).collect()
    }

    fn forget_key(&mut self, id: SubscriberId) {
        let key = self.seat_mut(id).and_then(|it| it.key.take());
        key.and_then(|key| self.feeds.remove(&key));
    }

    pub(super) fn get(&self, id: SubscriberId) -> Option<&Rc<dyn Subscriber>> {
        let at = usize::try_from(id.0).ok()?;
        Some(&self.seats.get(at)?.as_ref()?.subscriber)
    }

    /// One of its subscriptions is over. It is given back, to be dropped elsewhere, if that was the
    /// last one.
    pub(super) fn remove(&mut self, id: SubscriberId) -> Option<Rc<dyn Subscriber>> {
        let seat = self.seat_mut(id)?;
        seat.subscriptions -= 1;
        if seat.subscriptions > 0 {
            return None;
        }
        self.forget_key(id);
        let at = usize::try_from(id.0).ok()?;
        let seat = self.seats.get_mut(at)?.take()?;
        self.free.push(at);
        Some(seat.subscriber)
    }

    fn seat_mut(&mut self, id: SubscriberId) -> Option<&mut Seat> {
        let at = usize::try_from(id.0).ok()?;
        self.seats.get_mut(at)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use ringmesh_cluster::pubsub::{InterestSettings, Interests, Pattern, Subscribe};
    use ringmesh_proto::address::CoreId;

    use super::super::{Arrived, Offer};
    use super::*;
    use crate::core::Core;

    /// Gets nothing.
    struct Deaf;

    impl Subscriber for Deaf {
        fn offer(&self, _: &Core, _: &mut Arrived) -> Offer {
            Offer::Lost
        }

        fn end(&self, _: &Core) {}
    }

    fn key(items_max: usize) -> FeedKey {
        FeedKey {
            pattern: Rc::from("a.b"),
            message: TypeId::of::<Deaf>(),
            items_max,
            bytes_max: 100,
        }
    }

    fn recipient(subscriber: SubscriberId) -> Recipient {
        let mut interests = Interests::new(CoreId(0), InterestSettings::default());
        let subscribe = Subscribe {
            pattern: Pattern::new("a.b").expect("a pattern"),
            group: None,
            protocol: 1,
            subscriber,
        };
        let subscription = interests.subscribe(&subscribe, &mut Vec::new());
        Recipient {
            subscription: subscription.expect("room").id,
            subscriber,
        }
    }

    #[test]
    fn who_stands_for_many_goes_with_the_last_of_them() {
        let mut subscribers = Subscribers::default();
        let feed = Rc::new(Deaf);
        let id = subscribers.add_feed(key(1), &feed);
        let joined = subscribers.join_feed::<Deaf>(&key(1));
        assert!(joined.is_some_and(|it| it.0 == id && Rc::ptr_eq(&it.1, &feed)));
        assert!(subscribers.join_feed::<Deaf>(&key(2)).is_none());
        assert!(subscribers.remove(id).is_none(), "one is left");
        assert!(subscribers.get(id).is_some());
        assert!(subscribers.remove(id).is_some());
        assert!(subscribers.get(id).is_none() && subscribers.remove(id).is_none());
        assert!(subscribers.join_feed::<Deaf>(&key(1)).is_none());
        assert_eq!(Rc::strong_count(&feed), 1, "nothing keeps it");
        assert_eq!(subscribers.add(Rc::new(Deaf)), id, "its number is free");
    }

    /// Those that join it go on until they leave; who comes later joins another.
    #[test]
    fn whom_nobody_finds_any_more_is_given_back_once() {
        let mut subscribers = Subscribers::default();
        let id = subscribers.add_feed(key(1), &Rc::new(Deaf));
        assert!(subscribers.join_feed::<Deaf>(&key(1)).is_some());
        let other = subscribers.add(Rc::new(Deaf));
        let ended = [id, other, id].map(recipient);
        assert_eq!(subscribers.close(&ended).len(), 2);
        assert!(subscribers.join_feed::<Deaf>(&key(1)).is_none());
        let anew = subscribers.add_feed(key(1), &Rc::new(Deaf));
        assert!(anew != id && subscribers.remove(id).is_none());
        assert!(subscribers.remove(id).is_some());
        let joined = subscribers.join_feed::<Deaf>(&key(1));
        assert!(
            joined.is_some_and(|it| it.0 == anew),
            "the former one leaves it alone"
        );
    }
}
