//! Those who have subscribed on a core, by number.

use std::any::{Any, TypeId};
use std::rc::Rc;

use ringmesh_cluster::pubsub::SubscriberId;
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

    /// Nobody finds it by its key any more.
    pub(super) fn close(&mut self, id: SubscriberId) {
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
        self.close(id);
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
