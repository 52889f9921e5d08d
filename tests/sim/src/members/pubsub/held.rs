//! The subscriptions of a core, and what waits for each of them.

use std::time::Duration;

use ringmesh_cluster::pubsub::{
    Announce, AnnouncementId, GroupName, Interests, Offered, OnFull, Pattern, Queue, QueueFull,
    QueueSettings, Recipient, Subscribe, SubscriberId, SubscriptionId, Taken, Topic,
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
    on_full: OnFull,
    /// How long it is waited for, if that is what its policy says.
    patience: Duration,
    /// How many copies came to an end here: in the queue, or lost.
    offered: u64,
    /// How much it took, and was told that it lost.
    taken: u64,
    lagged: u64,
    /// How much it was waited for in vain.
    given_up: u64,
    /// Whether its queue failed, and whether it was told so.
    is_failed: bool,
    was_told: bool,
}

/// What became of a copy that was offered to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// It is in the queue.
    Taken,
    /// It was lost, as the policy says, or there is no such subscription.
    Lost,
    /// It was lost, and the subscription is to end.
    Over,
    /// Nothing happened: whoever brings it is to wait for so long.
    Waits(Duration),
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
        self.all.push(Subscription {
            id: begun.id,
            number,
            subscriber,
            group: wish.group,
            topics,
            kind: wish.kind,
            queue: Queue::new(QueueSettings {
                items_max: QUEUE_ITEMS,
                on_full: wish.on_full,
                ..QueueSettings::default()
            }),
            on_full: wish.on_full,
            patience: wish.patience,
            offered: 0,
            taken: 0,
            lagged: 0,
            given_up: 0,
            is_failed: false,
            was_told: false,
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

    /// One takes some of what waits for it.
    pub(super) fn read(&mut self, id: SubscriptionId, count: usize, journal: &Shared) {
        let held = self.all.iter_mut().find(|it| it.id == id);
        let lagged = held.map_or(0, |it| it.drain(count));
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

    /// Which of those is to be waited for, so that a message is not lost, and for how long.
    pub(super) fn who_must_wait(&self, recipients: &[Recipient]) -> Option<Duration> {
        let must_wait = |it: &&Subscription| {
            let is_one = recipients.iter().any(|to| to.subscription == it.id);
            is_one && it.on_full == OnFull::Wait && !it.queue.has_room(BYTES)
        };
        self.all.iter().find(must_wait).map(|it| it.patience)
    }

    /// A copy comes to a subscription. As long as that is to be waited for it has not come.
    pub(super) fn offer(
        &mut self,
        id: SubscriptionId,
        (publish, by): (u64, u16),
        journal: &Shared,
    ) -> Offer {
        let held = self.all.iter_mut().find(|it| it.id == id);
        let subscription = held.as_ref().map(|it| it.number);
        let group = held.as_ref().and_then(|it| it.group);
        let offer = held.map_or(Offer::Lost, |it| it.offer(publish));
        if matches!(offer, Offer::Waits(_)) {
            return offer;
        }
        let mut journal = journal.borrow_mut();
        journal.count(Exercise::Delivered, 1);
        journal.count(Exercise::ToGroups, group.is_some().into());
        journal.count(Exercise::Failed, (offer == Offer::Over).into());
        journal.count(Exercise::DroppedNewest, (offer == Offer::Lost).into());
        journal.write(Entry::Delivered {
            publish,
            at: self.at,
            by,
            subscription,
            is_taken: offer == Offer::Taken,
        });
        offer
    }

    /// A subscription was waited for in vain: it loses a copy.
    pub(super) fn give_up(
        &mut self,
        id: SubscriptionId,
        (publish, by): (u64, u16),
        journal: &Shared,
    ) {
        let Some(held) = self.all.iter_mut().find(|it| it.id == id) else {
            return;
        };
        held.offered += 1;
        held.given_up += 1;
        journal.borrow_mut().write(Entry::Delivered {
            publish,
            at: self.at,
            by,
            subscription: Some(held.number),
            is_taken: false,
        });
    }

    /// Whether a subscription has not ended.
    pub(super) fn has(&self, id: SubscriptionId) -> bool {
        self.all.iter().any(|it| it.id == id)
    }
}

impl Subscription {
    fn offer(&mut self, publish: u64) -> Offer {
        let is_taken = self.queue.offer_with(BYTES, || publish);
        let offer = match is_taken {
            true => Offer::Taken,
            false => match self.queue.offer(publish, BYTES, None) {
                Ok(Offered::Queued { .. } | Offered::Replaced { .. }) => Offer::Taken,
                Ok(Offered::Dropped) => Offer::Lost,
                Ok(Offered::Failed) => Offer::Over,
                Err(QueueFull(_)) => return Offer::Waits(self.patience),
            },
        };
        self.is_failed |= offer == Offer::Over;
        self.offered += 1;
        offer
    }

    /// Takes so many. How many were lost, as it was told.
    fn drain(&mut self, count: usize) -> u64 {
        let before = self.lagged;
        for _ in 0..count {
            match self.queue.take() {
                Some(Taken::Item(_)) => self.taken += 1,
                Some(Taken::Lagged(count)) => self.lagged += count,
                Some(Taken::Failed) => {
                    self.was_told = true;
                    break;
                }
                None => break,
            }
        }
        self.lagged - before
    }

    /// What was offered was taken, or it was told that it was lost; and what was lost was lost as
    /// its policy says.
    fn judge(&self) -> Result<(), String> {
        let Self {
            offered,
            taken,
            lagged,
            given_up,
            on_full,
            ..
        } = *self;
        let counters = self.queue.counters();
        let has_failed = on_full == OnFull::Fail && lagged > 0;
        let is_sound = offered == taken + lagged + given_up
            && counters.offered == offered - given_up
            && (counters.taken, counters.dropped) == (taken, lagged)
            && (on_full == OnFull::Wait || given_up == 0)
            // Who is waited for loses nothing else, and who fails loses one alone.
            && (on_full != OnFull::Wait || lagged == 0)
            && (on_full != OnFull::Fail || lagged == u64::from(self.is_failed))
            && (self.is_failed, self.was_told) == (has_failed, has_failed);
        if is_sound {
            return Ok(());
        }
        let id = self.number;
        Err(format!(
            "subscription {id} was offered {offered}, took {taken}, lost {lagged} and was waited \
             for in vain {given_up} times: {on_full:?}, {counters:?}"
        ))
    }
}
