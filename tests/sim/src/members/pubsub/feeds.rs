//! What waits for all subscriptions of a core that are alike, as the engine keeps it.

use ringmesh_cluster::pubsub::{Cursor, Fed, Feed, FeedCounters, SubscriberId, Taken};

use super::held::{BYTES, QUEUE_ITEMS};

/// Feeds are other subscribers than users and actors: their numbers as such are from here on.
const FIRST_FEED: u64 = 1 << 32;

/// What subscriptions of one feed have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FeedKey {
    pub(super) pattern: &'static str,
    pub(super) kind: u64,
    pub(super) bytes_max: usize,
}

/// Who reads of a feed, and how far.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) feed: SubscriberId,
    cursor: Cursor,
}

#[derive(Debug)]
struct Seat {
    key: FeedKey,
    feed: Feed<u64>,
    /// What became of its copies, as its readers would have it if each were alone.
    account: FeedCounters,
}

/// All feeds of a core. The number of one that is over is given to another one.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    seats: Vec<Option<Seat>>,
}

fn place(id: SubscriberId) -> Option<usize> {
    let place = id.0.checked_sub(FIRST_FEED)?;
    usize::try_from(place).ok()
}

impl Feeds {
    /// Whether that subscriber is a feed.
    pub(super) fn is_one(id: SubscriberId) -> bool {
        place(id).is_some()
    }

    /// The one with that key, or a new one, which somebody is to join.
    pub(super) fn find(&mut self, key: FeedKey) -> SubscriberId {
        let is_it = |it: &Option<Seat>| it.as_ref().is_some_and(|it| it.key == key);
        let known = self.seats.iter().position(is_it);
        let at = known.unwrap_or_else(|| {
            let free = self.seats.iter().position(Option::is_none);
            let at = free.unwrap_or(self.seats.len());
            if free.is_none() {
                self.seats.push(None);
            }
            self.seats[at] = Some(Seat {
                key,
                feed: Feed::new(QUEUE_ITEMS, key.bytes_max),
                account: FeedCounters::default(),
            });
            at
        });
        SubscriberId(FIRST_FEED + at as u64)
    }

    /// Somebody reads of a feed from now on.
    pub(super) fn join(&mut self, id: SubscriberId) -> Reader {
        let seat = self.seat(id).expect("it was found");
        let cursor = seat.feed.join();
        Reader { feed: id, cursor }
    }

    /// For how many subscriptions a feed stands.
    pub(super) fn weight(&self, id: SubscriberId) -> u32 {
        let seat = place(id).and_then(|at| self.seats.get(at)?.as_ref());
        seat.map_or(0, |it| it.feed.readers())
    }

    /// Offers a copy to all who read of a feed. `None` if there is no such feed.
    pub(super) fn offer(&mut self, id: SubscriberId, publish: u64) -> Option<Fed> {
        Some(self.seat(id)?.feed.offer(publish, BYTES))
    }

    /// The same was offered to so many who were each alone, and these lost so many copies for it.
    pub(super) fn account(&mut self, id: SubscriberId, (offered, dropped): (u64, u64)) {
        if let Some(Seat { account, .. }) = self.seat(id) {
            account.offered += offered;
            account.dropped += dropped;
        }
    }

    /// What is next for a reader.
    pub(super) fn take(&mut self, reader: &mut Reader) -> Option<Taken<u64>> {
        let seat = self.seat(reader.feed)?;
        let taken = seat.feed.take(&mut reader.cursor);
        seat.account.taken += u64::from(matches!(taken, Some(Taken::Item(_))));
        taken
    }

    /// Somebody reads no more, for whom so much waited, if it were alone; and so much waits for
    /// the others in all. A feed without readers is over.
    pub(super) fn leave(
        &mut self,
        mut reader: Reader,
        (unread, others): (u64, u64),
    ) -> Result<(), String> {
        let id = reader.feed;
        let seat = self.seat(id).expect("somebody reads of it");
        let Seat { feed, account, .. } = seat;
        let waiting = feed.len(&reader.cursor) as u64;
        feed.leave(&mut reader.cursor);
        account.given_up += unread;
        let counters = feed.counters();
        let gone = counters.taken + counters.dropped + counters.given_up;
        let is_sound = waiting == unread
            && counters == *account
            && counters.offered == gone + others
            && (feed.readers() > 0 || feed.bytes() == 0);
        if !is_sound {
            let key = seat.key;
            return Err(format!(
                "a reader of {key:?} left {waiting} copies and not {unread}, {others} wait for \
                 others: {counters:?}, not {account:?}"
            ));
        }
        if feed.readers() == 0
            && let Some(seat) = place(id).and_then(|at| self.seats.get_mut(at))
        {
            *seat = None;
        }
        Ok(())
    }

    fn seat(&mut self, id: SubscriberId) -> Option<&mut Seat> {
        self.seats.get_mut(place(id)?)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: FeedKey = FeedKey {
        pattern: "a",
        kind: 1,
        bytes_max: 100,
    };

    #[test]
    fn a_feed_is_found_as_long_as_somebody_reads_of_it() {
        let mut feeds = Feeds::default();
        let first = feeds.find(KEY);
        let (one, other) = (feeds.join(first), feeds.join(first));
        assert_eq!((feeds.find(KEY), feeds.weight(first)), (first, 2));
        let narrow = FeedKey {
            bytes_max: 50,
            ..KEY
        };
        let second = feeds.find(narrow);
        assert_ne!(second, first);
        assert_eq!(feeds.leave(one, (0, 0)), Ok(()));
        assert_eq!((feeds.find(KEY), feeds.weight(first)), (first, 1));
        assert_eq!(feeds.leave(other, (0, 0)), Ok(()));
        assert_eq!((feeds.offer(first, 1), feeds.weight(first)), (None, 0));
        assert_eq!(feeds.find(FeedKey { kind: 2, ..KEY }), first);
    }

    #[test]
    fn who_leaves_more_or_less_than_waits_is_found() {
        let leave = |account, waits| {
            let mut feeds = Feeds::default();
            let id = feeds.find(KEY);
            let (mut one, _other) = (feeds.join(id), feeds.join(id));
            for publish in 0..3 {
                assert_eq!(feeds.offer(id, publish).map(|it| it.queued), Some(2));
            }
            feeds.account(id, account);
            assert_eq!(feeds.take(&mut one), Some(Taken::Item(0)));
            feeds.leave(one, waits).is_ok()
        };
        assert!(leave((6, 0), (2, 3)));
        assert!(!leave((6, 0), (1, 3)), "it left one more");
        assert!(!leave((6, 0), (2, 2)), "more waits for the other");
        assert!(!leave((3, 0), (2, 3)), "one of two was counted");
        assert!(!leave((6, 1), (2, 3)), "none was lost");
    }
}
