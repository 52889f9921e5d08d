use proptest::prelude::*;

use super::*;
use crate::pubsub::queue::{Offered, OnFull, Queue, QueueSettings};

/// A reader of a feed, beside a queue that is its own.
struct Reader {
    cursor: Cursor,
    own: Queue<u64>,
}

/// A feed beside what it stands for.
struct World {
    feed: Feed<u64>,
    settings: QueueSettings,
    readers: Vec<Reader>,
    next: u64,
    dropped: u64,
}

impl World {
    fn new(items_max: usize, bytes_max: usize) -> Self {
        Self {
            feed: Feed::new(items_max, bytes_max),
            settings: QueueSettings {
                items_max,
                bytes_max,
                on_full: OnFull::DropOldest,
            },
            readers: Vec::new(),
            next: 0,
            dropped: 0,
        }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Join => self.readers.push(Reader {
                cursor: self.feed.join(),
                own: Queue::new(self.settings),
            }),
            Step::Leave(which) => {
                if !self.readers.is_empty() {
                    let mut reader = self.readers.swap_remove(which % self.readers.len());
                    self.feed.leave(&mut reader.cursor);
                }
            }
            Step::Offer(bytes) => self.offer(bytes),
            Step::Take(which) => {
                let count = self.readers.len();
                if let Some(reader) = self.readers.get_mut(which % count.max(1)) {
                    let taken = self.feed.take(&mut reader.cursor);
                    assert_eq!(taken, reader.own.take());
                }
            }
        }
        self.check();
    }

    fn offer(&mut self, bytes: usize) {
        let item = self.next;
        self.next += 1;
        let fed = self.feed.offer(item, bytes);
        let mut expected = Fed::default();
        for reader in &mut self.readers {
            match reader.own.offer(item, bytes, None) {
                Ok(Offered::Queued { dropped }) => {
                    expected.queued += 1;
                    expected.dropped += dropped as u64;
                }
                Ok(Offered::Dropped) => expected.dropped += 1,
                other => panic!("not by that policy: {other:?}"),
            }
        }
        assert_eq!(fed, expected);
        self.dropped += fed.dropped;
    }

    fn check(&self) {
        let lengths = self.readers.iter().map(|it| self.feed.len(&it.cursor));
        assert!(lengths.eq(self.readers.iter().map(|it| it.own.len())));
        let slowest = self.readers.iter().map(|it| it.own.bytes()).max();
        assert_eq!(self.feed.bytes(), slowest.unwrap_or(0), "no more is kept");
        assert_eq!(self.feed.readers() as usize, self.readers.len());
        let FeedCounters {
            offered,
            taken,
            dropped,
            given_up,
        } = self.feed.counters();
        let wait: usize = self.readers.iter().map(|it| it.own.len()).sum();
        assert_eq!(offered, taken + dropped + given_up + wait as u64);
        assert_eq!(dropped, self.dropped);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Join,
    Leave(usize),
    Offer(usize),
    Take(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => Just(Step::Join),
        1 => any::<usize>().prop_map(Step::Leave),
        8 => (0_usize..12).prop_map(Step::Offer),
        12 => any::<usize>().prop_map(Step::Take),
    ]
}

proptest! {
    /// Whatever is offered and read, and whoever comes and goes.
    #[test]
    fn each_reader_reads_what_it_would_of_a_queue_of_its_own(
        items_max in 0_usize..6,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut world = World::new(items_max, 10);
        world.play(Step::Join);
        world.play(Step::Join);
        for step in steps {
            world.play(step);
        }
    }
}

#[test]
fn what_the_slowest_loses_the_others_have() {
    let mut feed = Feed::new(2, 100);
    let (mut slow, mut fast) = (feed.join(), feed.join());
    for item in 0..4 {
        let dropped = u64::from(item > 1);
        assert_eq!(feed.offer(item, 1), Fed { queued: 2, dropped });
        assert_eq!(feed.take(&mut fast), Some(Taken::Item(item)));
    }
    assert_eq!((feed.len(&slow), feed.len(&fast)), (2, 0));
    assert_eq!(feed.take(&mut slow), Some(Taken::Lagged(2)));
    assert_eq!(feed.take(&mut slow), Some(Taken::Item(2)));
    feed.leave(&mut slow);
    assert_eq!((feed.bytes(), feed.take(&mut fast)), (0, None));
}

#[test]
fn the_last_to_read_an_item_takes_it_itself() {
    let item = std::rc::Rc::new(());
    let mut feed = Feed::new(2, 100);
    let (mut one, mut other) = (feed.join(), feed.join());
    let fed = feed.offer(std::rc::Rc::clone(&item), 1);
    assert_eq!(fed.queued, 2);
    drop(feed.take(&mut one));
    assert_eq!(std::rc::Rc::strong_count(&item), 2);
    drop(feed.take(&mut other));
    assert_eq!(std::rc::Rc::strong_count(&item), 1, "nothing keeps it");
}
