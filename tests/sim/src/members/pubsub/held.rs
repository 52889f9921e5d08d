//! The subscriptions of a core, and what waits for each of them.

use std::time::Duration;

use ringmesh_cluster::pubsub::{
    Announce, AnnouncementId, GroupName, Interests, Offered, OnFull, Pattern, Queue, QueueFull,
    QueueSettings, Recipient, Subscribe, SubscriberId, SubscriptionId, Taken, Topic,
};

use super::feeds::{FeedKey, Feeds, Reader};
use super::journal::{At, Entry, Exercise, GROUPS, Journal, Shared, TOPICS, Wanted};
use super::users::{HELD_MAX, PATTERNS, Wish};

/// What waits for a subscription, at most.
pub(super) const QUEUE_ITEMS: usize = 8;

/// The bytes of that: those of half of all subscribers have room for fewer items.
const QUEUE_BYTES: [usize; 2] = [100, 55];

/// The bytes of a message, as queues count them.
pub(super) const BYTES: usize = 10;

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
    /// What waits for it, or would if it were alone and not one of those who share a feed.
    queue: Queue<u64>,
    /// What it reads of instead, and has to read the same there.
    reader: Option<Reader>,
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
    feeds: Feeds,
}

impl Held {
    pub(super) fn new(at: At) -> Self {
        Self {
            at,
            all: Vec::new(),
            feeds: Feeds::default(),
        }
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
        let is_wild = !pattern.is_exact();
        let feed = self.feed_of(wish);
        let subscribe = Subscribe {
            pattern,
            group,
            protocol: wish.kind,
            subscriber: feed.unwrap_or(SubscriberId(wish.subscriber)),
        };
        let begun = match feed {
            Some(_) => interests.share(&subscribe, out),
            None => interests.subscribe(&subscribe, out),
        };
        let begun = begun.expect("few are held");
        let mut journal = journal.borrow_mut();
        journal.count(Exercise::ByWildcards, is_wild.into());
        let number = journal.subscribe(Wanted {
            at: self.at,
            topics,
            kind: wish.kind,
            group: wish.group,
        });
        let reader = feed.map(|it| self.feeds.join(it));
        let subscription = Subscription::new((begun.id, number), wish, topics, reader);
        self.all.push(subscription);
        Some((begun.announcement, number))
    }

    /// The feed of all who subscribe like that, if they share one.
    fn feed_of(&mut self, wish: &Wish) -> Option<SubscriberId> {
        let key = FeedKey {
            pattern: PATTERNS[wish.pattern],
            kind: wish.kind,
            bytes_max: bytes_max(wish),
        };
        wish.shares_feed().then(|| self.feeds.find(key))
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
        let (shared, own): (Vec<&Subscription>, Vec<_>) = its.partition(|it| it.reader.is_some());
        assert_eq!(own.len(), ended as usize, "all of them ended");
        for it in &shared {
            assert!(interests.unsubscribe(it.id, out), "it has not ended");
        }
        let its: Vec<SubscriptionId> = own.iter().chain(&shared).map(|it| it.id).collect();
        let ended = its.len() as u64;
        journal.borrow_mut().count(Exercise::Ended, ended);
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
        let is_alone = ended.reader.is_none();
        let left = self.leave(&mut ended, &mut journal);
        // For who has left a feed that is only how its own account is closed.
        let read = ended.drain(usize::MAX, &mut self.feeds);
        let judged = left.and_then(|()| ended.judge()).and(read);
        journal.note_lagged(judged.map(|it| if is_alone { it } else { 0 }));
    }

    /// Who reads of a feed leaves that: half of them have read all before, the others have not.
    fn leave(&mut self, ended: &mut Subscription, journal: &mut Journal) -> Result<(), String> {
        if ended.reader.is_some() && ended.number.is_multiple_of(2) {
            let lagged = ended.drain(usize::MAX, &mut self.feeds)?;
            journal.count(Exercise::Lagged, lagged);
        }
        let Some(reader) = ended.reader.take() else {
            return Ok(());
        };
        let feed = reader.feed;
        let others = self.all.iter().filter(|it| it.reads_of(feed));
        let others = others.map(|it| it.queue.len() as u64).sum();
        let unread = ended.queue.len() as u64;
        journal.count(Exercise::LeftUnread, unread);
        self.feeds.leave(reader, (unread, others))
    }

    /// All take some of what waits for them, each at a pace of its own.
    pub(super) fn take(&mut self, count: usize, journal: &Shared) {
        let mut journal = journal.borrow_mut();
        for it in &mut self.all {
            let lagged = it.drain(count >> (it.number % 3), &mut self.feeds);
            journal.note_lagged(lagged);
        }
    }

    /// One takes some of what waits for it.
    pub(super) fn read(&mut self, id: SubscriptionId, count: usize, journal: &Shared) {
        let held = self.all.iter_mut().find(|it| it.id == id);
        let lagged = held.map_or(Ok(0), |it| it.drain(count, &mut self.feeds));
        journal.borrow_mut().note_lagged(lagged);
    }

    /// What is next for those who read of feeds is lost, and nobody is told: a canary does that.
    pub(super) fn skip(&mut self) {
        let readers = self.all.iter_mut().filter_map(|it| it.reader.as_mut());
        for it in readers {
            self.feeds.take(it);
        }
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

    /// For how many subscriptions a feed stands.
    pub(super) fn weight(&self, feed: SubscriberId) -> u32 {
        self.feeds.weight(feed)
    }

    /// A copy comes to all who read of a feed. How many have it.
    pub(super) fn feed(
        &mut self,
        feed: SubscriberId,
        (publish, by): (u64, u16),
        journal: &Shared,
    ) -> u32 {
        let mut journal = journal.borrow_mut();
        let fed = self.feeds.offer(feed, publish);
        let mut account = (0, 0);
        let mut delivered = |subscription, is_taken| {
            journal.write(Entry::Delivered {
                publish,
                at: self.at,
                by,
                subscription,
                is_taken,
            });
        };
        let Some(fed) = fed else {
            delivered(None, false);
            return 0;
        };
        for it in self.all.iter_mut().filter(|it| it.reads_of(feed)) {
            let before = it.queue.counters().dropped;
            let is_taken = it.offer(publish) == Offer::Taken;
            account.0 += 1;
            account.1 += it.queue.counters().dropped - before;
            delivered(Some(it.number), is_taken);
        }
        if (u64::from(fed.queued), fed.dropped) != account {
            let why = format!("{fed:?} of publish {publish}, but {account:?} if each is alone");
            journal.write(Entry::Miscounted(why));
        }
        self.feeds.account(feed, account);
        journal.count(Exercise::Delivered, account.0);
        journal.count(Exercise::Fed, account.0.saturating_sub(1));
        fed.queued
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

/// The bytes of what waits for a subscription that is wanted, at most.
fn bytes_max(wish: &Wish) -> usize {
    QUEUE_BYTES[usize::from(!wish.subscriber.is_multiple_of(2))]
}

impl Subscription {
    /// One that begins with those numbers, to those of the topics, and reads of a feed or not.
    fn new(
        (id, number): (SubscriptionId, usize),
        wish: &Wish,
        topics: u8,
        reader: Option<Reader>,
    ) -> Self {
        Self {
            id,
            number,
            subscriber: SubscriberId(wish.subscriber),
            group: wish.group,
            topics,
            kind: wish.kind,
            queue: Queue::new(QueueSettings {
                items_max: QUEUE_ITEMS,
                bytes_max: bytes_max(wish),
                on_full: wish.on_full,
            }),
            reader,
            on_full: wish.on_full,
            patience: wish.patience,
            offered: 0,
            taken: 0,
            lagged: 0,
            given_up: 0,
            is_failed: false,
            was_told: false,
        }
    }

    fn reads_of(&self, feed: SubscriberId) -> bool {
        self.reader.as_ref().is_some_and(|it| it.feed == feed)
    }

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
    fn drain(&mut self, count: usize, feeds: &mut Feeds) -> Result<u64, String> {
        let before = self.lagged;
        for _ in 0..count {
            let taken = self.queue.take();
            if let Some(reader) = &mut self.reader {
                let read = feeds.take(reader);
                if read != taken {
                    let number = self.number;
                    return Err(format!(
                        "subscription {number} reads {read:?}, and {taken:?} if it is alone"
                    ));
                }
            }
            match taken {
                Some(Taken::Item(_)) => self.taken += 1,
                Some(Taken::Lagged(count)) => self.lagged += count,
                Some(Taken::Failed) => {
                    self.was_told = true;
                    break;
                }
                None => break,
            }
        }
        Ok(self.lagged - before)
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
