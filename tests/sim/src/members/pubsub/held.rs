//! The subscriptions of a core, and what waits for each of them.

use ringmesh_cluster::pubsub::{
    Announce, AnnouncementId, GroupName, Interests, OnFull, Pattern, Queue, QueueSettings,
    Subscribe, SubscriberId, SubscriptionId, Taken, Topic,
};

use super::journal::{At, Entry, Exercise, GROUPS, Shared, TOPICS, Wanted};
use super::users::{HELD_MAX, PATTERNS, Wish};

/// What waits for a subscriber, at most.
const QUEUE_ITEMS: usize = 8;

/// The bytes of a message, as queues count them.
const BYTES: usize = 10;

/// A subscription that has not ended.
#[derive(Debug)]
struct Subscription {
    id: SubscriptionId,
    /// Its number in the journal.
    number: usize,
    subscriber: SubscriberId,
    group: Option<usize>,
    topics: u8,
    kind: u64,
    queue: Queue<u64>,
    /// How much it was offered, took, and was told that it lost.
    offered: u64,
    taken: u64,
    lagged: u64,
}

/// All subscriptions of a core.
#[derive(Debug)]
pub(super) struct Held {
    at: At,
    all: Vec<Subscription>,
}

impl Held {
    pub(super) fn new(at: At) -> Self {
        let all = Vec::new();
        Self { at, all }
    }

    /// Begins a subscription, if there is room. By what it is announced, and its number.
    pub(super) fn subscribe(
        &mut self,
        wish: &Wish,
        interests: &mut Interests,
        journal: &Shared,
        out: &mut Vec<Announce>,
    ) -> Option<(AnnouncementId, usize)> {
        if self.all.len() >= HELD_MAX {
            return None;
        }
        let pattern = Pattern::new(PATTERNS[wish.pattern]).expect("a pattern");
        let matches = |topic: &str| pattern.matches(Topic::new(topic).expect("a topic"));
        let matching = TOPICS.iter().enumerate().filter(|it| matches(it.1));
        let topics = matching.fold(0, |all, (at, _)| all | 1 << at);
        let group = wish
            .group
            .map(|it| GroupName::new(GROUPS[it]).expect("a group"));
        let subscriber = SubscriberId(wish.subscriber);
        let is_wild = !pattern.is_exact();
        let subscribe = Subscribe {
            pattern,
            group,
            protocol: wish.kind,
            subscriber,
        };
        let begun = interests.subscribe(&subscribe, out).expect("few are held");
        let mut journal = journal.borrow_mut();
        journal.count(Exercise::ByWildcards, is_wild.into());
        let number = journal.subscribe(Wanted {
            at: self.at,
            topics,
            kind: wish.kind,
            group: wish.group,
        });
        let on_full = match wish.subscriber {
            0 => OnFull::DropNewest,
            _ => OnFull::DropOldest,
        };
        self.all.push(Subscription {
            id: begun.id,
            number,
            subscriber,
            group: wish.group,
            topics,
            kind: wish.kind,
            queue: Queue::new(QueueSettings {
                items_max: QUEUE_ITEMS,
                on_full,
                ..QueueSettings::default()
            }),
            offered: 0,
            taken: 0,
            lagged: 0,
        });
        Some((begun.announcement, number))
    }

    /// Ends one of them, the last one if the number is the highest there is.
    pub(super) fn unsubscribe(
        &mut self,
        which: u64,
        interests: &mut Interests,
        journal: &Shared,
        out: &mut Vec<Announce>,
    ) {
        let Some(last) = self.all.len().checked_sub(1) else {
            return;
        };
        let place = match which {
            u64::MAX => last,
            which => (which % self.all.len() as u64) as usize,
        };
        let id = self.all[place].id;
        assert!(interests.unsubscribe(id, out), "it has not ended");
        self.end(id, journal);
    }

    /// A subscriber ends.
    pub(super) fn end_subscriber(
        &mut self,
        which: u64,
        interests: &mut Interests,
        journal: &Shared,
        out: &mut Vec<Announce>,
    ) {
        let subscriber = SubscriberId(which);
        let ended = interests.subscriber_ended(subscriber, out);
        let its = self.all.iter().filter(|it| it.subscriber == subscriber);
        let its: Vec<SubscriptionId> = its.map(|it| it.id).collect();
        assert_eq!(its.len(), ended as usize, "all of them ended");
        journal.borrow_mut().count(Exercise::Ended, ended.into());
        its.into_iter().for_each(|it| self.end(it, journal));
    }

    /// A subscription has ended: its account is closed.
    pub(super) fn end(&mut self, id: SubscriptionId, journal: &Shared) {
        let Some(place) = self.all.iter().position(|it| it.id == id) else {
            return;
        };
        let mut ended = self.all.swap_remove(place);
        let mut journal = journal.borrow_mut();
        let subscription = ended.number;
        journal.write(Entry::Ended { subscription });
        journal.count(Exercise::Lagged, ended.drain(usize::MAX));
        if let Err(why) = ended.judge() {
            journal.write(Entry::Miscounted(why));
        }
    }

    /// All take some of what waits for them.
    pub(super) fn take(&mut self, count: usize, journal: &Shared) {
        let lagged = self.all.iter_mut().map(|it| it.drain(count)).sum();
        journal.borrow_mut().count(Exercise::Lagged, lagged);
    }

    /// As a member of which group somebody subscribes, if of one.
    pub(super) fn group(&self, id: SubscriptionId) -> Option<usize> {
        self.all.iter().find(|it| it.id == id)?.group
    }

    /// Another member of the same group that gets the same.
    pub(super) fn fellow(&self, id: SubscriptionId) -> Option<SubscriptionId> {
        let own = self.all.iter().find(|it| it.id == id)?;
        let is_fellow = |it: &&Subscription| {
            let is_same = it.group == own.group && it.kind == own.kind;
            is_same && it.topics == own.topics && it.id != own.id
        };
        own.group?;
        self.all.iter().find(is_fellow).map(|it| it.id)
    }

    /// A copy comes to a subscription.
    pub(super) fn offer(&mut self, id: SubscriptionId, message: (u64, u16), journal: &Shared) {
        let (publish, by) = message;
        let held = self.all.iter_mut().find(|it| it.id == id);
        let subscription = held.as_ref().map(|it| it.number);
        let mut journal = journal.borrow_mut();
        journal.count(Exercise::Delivered, 1);
        if let Some(held) = held {
            journal.count(Exercise::ToGroups, held.group.is_some().into());
            held.offered += 1;
            // Neither policy has a publisher wait.
            if !held.queue.offer_with(BYTES, || publish) {
                let _ = held.queue.offer(publish, BYTES, None);
            }
        }
        journal.write(Entry::Delivered {
            publish,
            at: self.at,
            by,
            subscription,
        });
    }
}

impl Subscription {
    /// Takes so many. How many were lost, as it was told.
    fn drain(&mut self, count: usize) -> u64 {
        let before = self.lagged;
        for _ in 0..count {
            match self.queue.take() {
                Some(Taken::Item(_)) => self.taken += 1,
                Some(Taken::Lagged(count)) => self.lagged += count,
                Some(Taken::Failed) | None => break,
            }
        }
        self.lagged - before
    }

    /// What was offered was taken, or it was told that it was lost.
    fn judge(&self) -> Result<(), String> {
        let Self {
            offered,
            taken,
            lagged,
            ..
        } = *self;
        if offered == taken + lagged && self.queue.counters().dropped == lagged {
            return Ok(());
        }
        let id = self.number;
        Err(format!(
            "subscription {id} was offered {offered}, took {taken} and lost {lagged}"
        ))
    }
}
