use super::*;
use crate::context::Random;

fn queue(items_max: usize, bytes_max: usize, on_full: OnFull) -> Queue<u64> {
    Queue::new(QueueSettings {
        items_max,
        bytes_max,
        on_full,
    })
}

fn all(queue: &mut Queue<u64>) -> Vec<Taken<u64>> {
    std::iter::from_fn(|| queue.take())
        .take_while(|it| *it != Taken::Failed)
        .collect()
}

use Taken::{Item, Lagged};

#[test]
fn the_oldest_make_room_and_the_subscriber_is_told_where() {
    let mut queue = queue(3, 100, OnFull::DropOldest);
    for item in 0..5 {
        let dropped = usize::from(item > 2);
        assert_eq!(queue.offer(item, 1, None), Ok(Offered::Queued { dropped }));
    }
    assert_eq!(all(&mut queue), [Lagged(2), Item(2), Item(3), Item(4)]);
    assert_eq!(
        queue.offer(9, 101, None),
        Ok(Offered::Dropped),
        "it never fits"
    );
    assert_eq!(all(&mut queue), [Lagged(1)]);
}

#[test]
fn the_newest_are_lost_and_the_subscriber_is_told_where() {
    let mut queue = queue(2, 100, OnFull::DropNewest);
    for item in 0..4 {
        let _ = queue.offer(item, 1, None);
    }
    assert_eq!(queue.take(), Some(Item(0)));
    let _ = queue.offer(4, 1, None);
    assert_eq!(all(&mut queue), [Item(1), Lagged(2), Item(4)]);
}

#[test]
fn a_publisher_that_waits_keeps_its_item_and_what_never_fits_is_lost() {
    let mut queue = queue(2, 10, OnFull::Wait);
    assert_eq!(queue.offer(1, 8, None), Ok(Offered::Queued { dropped: 0 }));
    assert_eq!(queue.offer(2, 3, None), Err(QueueFull(2)));
    assert_eq!((queue.counters().offered, queue.take()), (1, Some(Item(1))));
    assert_eq!(queue.offer(2, 3, None), Ok(Offered::Queued { dropped: 0 }));
    assert_eq!(queue.offer(3, 11, None), Ok(Offered::Dropped));
    assert_eq!(all(&mut queue), [Item(2), Lagged(1)]);
}

#[test]
fn a_queue_that_fails_gives_what_waits_and_takes_nothing_more() {
    let mut queue = queue(2, 100, OnFull::Fail);
    for item in 0..2 {
        assert_eq!(
            queue.offer(item, 1, None),
            Ok(Offered::Queued { dropped: 0 })
        );
    }
    assert_eq!(queue.offer(2, 1, None), Ok(Offered::Failed));
    assert_eq!(queue.take(), Some(Item(0)));
    assert_eq!(queue.offer(3, 1, None), Ok(Offered::Failed));
    assert_eq!(queue.take(), Some(Item(1)));
    assert_eq!(queue.take(), Some(Lagged(2)));
    assert_eq!(
        (queue.take(), queue.take()),
        (Some(Taken::Failed), Some(Taken::Failed))
    );
}

#[test]
fn the_latest_of_a_key_takes_the_place_of_the_one_that_waits() {
    let mut queue = queue(3, 100, OnFull::DropOldest);
    let _ = queue.offer(1, 1, Some(7));
    let _ = queue.offer(2, 1, Some(8));
    assert_eq!(
        queue.offer(3, 50, Some(7)),
        Ok(Offered::Replaced { dropped: 0 })
    );
    assert_eq!(queue.bytes(), 51);
    assert_eq!(queue.take(), Some(Item(3)));
    assert_eq!(
        queue.offer(4, 1, Some(7)),
        Ok(Offered::Queued { dropped: 0 })
    );
    assert_eq!(all(&mut queue), [Item(2), Item(4)]);
    let counters = queue.counters();
    assert_eq!(
        (counters.offered, counters.replaced, counters.dropped),
        (4, 1, 0)
    );
}

#[test]
fn the_latest_of_a_key_alone_waits_also_when_it_is_longer_than_there_is_room() {
    let mut queue = queue(9, 10, OnFull::DropOldest);
    for (item, key) in [(1, Some(7)), (2, Some(8)), (3, None), (4, Some(9))] {
        let _ = queue.offer(item, 2, key);
    }
    assert_eq!(
        queue.offer(5, 5, Some(7)),
        Ok(Offered::Replaced { dropped: 1 })
    );
    assert_eq!(
        queue.offer(6, 6, Some(9)),
        Ok(Offered::Replaced { dropped: 1 })
    );
    assert_eq!(
        queue.offer(7, 1, Some(8)),
        Ok(Offered::Queued { dropped: 0 })
    );
    assert_eq!(all(&mut queue), [Lagged(2), Item(3), Item(6), Item(7)]);
    let counters = queue.counters();
    assert_eq!((counters.replaced, counters.dropped), (2, 2));
}

#[test]
fn one_over_the_items_or_the_bytes_of_the_settings_never_waits() {
    let mut items = queue(4, 100, OnFull::DropOldest);
    let mut bytes = queue(100, 4, OnFull::DropOldest);
    for item in 0..1000 {
        let _ = (items.offer(item, 1, None), bytes.offer(item, 1, None));
        assert!(items.len() <= 4 && bytes.bytes() <= 4);
    }
}

/// What a queue does, by a walk over a plain list.
struct Model {
    settings: QueueSettings,
    /// Items in order with bytes and keys; `None` is one that was lost.
    list: Vec<Option<(u64, usize, Option<u64>)>>,
    is_failed: bool,
    counters: QueueCounters,
}

impl Model {
    fn waiting(&self) -> (usize, usize) {
        let waiting = self.list.iter().flatten();
        waiting.fold((0, 0), |sum, it| (sum.0 + 1, sum.1 + it.1))
    }

    fn has_room(&self, bytes: usize) -> bool {
        let (items, held) = self.waiting();
        items < self.settings.items_max && held + bytes <= self.settings.bytes_max
    }

    /// Whether it was taken in at all.
    fn offer(&mut self, item: u64, bytes: usize, key: Option<u64>) -> bool {
        let is_fit = bytes <= self.settings.bytes_max && !self.is_failed;
        let is_same = |known: Option<u64>| is_fit && known.is_some() && known == key;
        let is_it = |it: &&mut Option<(_, _, Option<u64>)>| it.is_some_and(|it| is_same(it.2));
        // The last of a key is the one that counts.
        let at = self.list.iter_mut().rposition(|it| is_it(&it));
        let at = at.map(|at| match self.settings.on_full {
            OnFull::DropOldest => self.drop_beside(at, bytes),
            _ => at,
        });
        let (_, held) = self.waiting();
        if let Some(at) = at
            && let Some(known) = &mut self.list[at]
            && held - known.1 + bytes <= self.settings.bytes_max
        {
            *known = (item, bytes, key);
            self.counters.offered += 1;
            self.counters.replaced += 1;
            return true;
        }
        if !self.has_room(bytes) {
            match self.settings.on_full {
                OnFull::Wait if is_fit => return false,
                OnFull::DropOldest if is_fit => {
                    while !self.has_room(bytes) {
                        let oldest = self.list.iter_mut().find(|it| it.is_some());
                        *oldest.expect("one waits") = None;
                        self.counters.dropped += 1;
                    }
                }
                OnFull::Fail => self.is_failed = true,
                _ => {}
            }
        }
        self.counters.offered += 1;
        let is_lost = self.is_failed || !self.has_room(bytes);
        self.counters.dropped += u64::from(is_lost);
        self.list.push((!is_lost).then_some((item, bytes, key)));
        true
    }

    /// Loses the oldest but for one, until that may have so many bytes: where it is then.
    fn drop_beside(&mut self, mut at: usize, bytes: usize) -> usize {
        while self.waiting().1 - self.list[at].expect("it waits").1 + bytes
            > self.settings.bytes_max
        {
            let mut all = self.list.iter().enumerate();
            let other = all.find(|it| it.1.is_some() && it.0 != at);
            let other = other.expect("alone it has room").0;
            if other > at {
                // It goes behind what is lost.
                self.list.swap(at, other);
                self.list[at] = None;
                at = other;
            } else {
                self.list[other] = None;
            }
            self.counters.dropped += 1;
        }
        at
    }

    /// Whether two that wait have one key, though that is never so where the oldest make room.
    fn has_twice(&self) -> bool {
        let keys = self.list.iter().flatten().filter_map(|it| it.2);
        let mut keys: Vec<u64> = keys.collect();
        keys.sort_unstable();
        keys.windows(2).any(|it| it[0] == it[1])
    }

    fn take(&mut self) -> Option<Taken<u64>> {
        let lost = self.list.iter().take_while(|it| it.is_none()).count();
        if lost > 0 {
            self.list.drain(..lost);
            return Some(Lagged(lost as u64));
        }
        if self.list.is_empty() {
            return self.is_failed.then_some(Taken::Failed);
        }
        self.counters.taken += 1;
        self.list.remove(0).map(|it| Item(it.0))
    }
}

#[test]
fn whatever_is_offered_and_taken_is_accounted_for_as_in_a_plain_list() {
    let policies = [
        OnFull::DropOldest,
        OnFull::DropNewest,
        OnFull::Wait,
        OnFull::Fail,
    ];
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let settings = QueueSettings {
            items_max: 1 + random.below(6),
            bytes_max: 1 + random.below(30),
            on_full: policies[random.below(4)],
        };
        let mut queue = Queue::new(settings);
        let mut model = Model {
            settings,
            list: Vec::new(),
            is_failed: false,
            counters: QueueCounters::default(),
        };
        for item in 0..200 {
            if random.chance(60) {
                let bytes = random.below(12);
                let key = random.chance(40).then(|| random.below(4) as u64);
                let offered = match key {
                    // Made where it waits, it is offered like any other.
                    None if random.chance(50) && queue.offer_with(bytes, || item) => true,
                    _ => queue.offer(item, bytes, key).is_ok(),
                };
                assert_eq!(offered, model.offer(item, bytes, key), "seed {seed}");
            } else {
                assert_eq!(queue.take(), model.take(), "seed {seed}");
            }
            assert_eq!(queue.counters(), model.counters, "seed {seed}");
            assert!(!model.has_twice(), "seed {seed}");
            assert_eq!((queue.len(), queue.bytes()), model.waiting(), "seed {seed}");
            let it = queue.counters();
            let accounted = it.taken + it.dropped + it.replaced + queue.len() as u64;
            assert_eq!(it.offered, accounted, "seed {seed}");
            assert!(queue.len() <= settings.items_max && queue.bytes() <= settings.bytes_max);
        }
    }
}
