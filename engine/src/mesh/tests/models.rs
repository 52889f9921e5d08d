//! Models of the mesh: the same sources under loom, which runs every order of the threads' steps
//! up to a bound of preemptions, with every value that the memory model lets a load return.
//!
//! Loom sees a slot that two threads use at a time, a deadlock (which is what a lost wake-up is
//! when nobody else wakes the parker), and a ring that leaks. A load in a loop has to yield, or the
//! model has runs without end.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;

use loom::sync::Notify;
use loom::sync::atomic::AtomicBool;
use loom::thread as model;

use harness::check;
use ring::{Consumer, Producer, ring, ring_from};
use sleep::Sleep;
use sync::Ordering;

#[path = "../../../../transport/proto/src/slab/harness.rs"]
mod harness;
#[path = "../ring.rs"]
#[allow(
    dead_code,
    unsafe_code,
    unreachable_pub,
    clippy::duplicate_mod,
    reason = "the mesh's own source, with the atomics below"
)]
mod ring;
#[path = "../sleep.rs"]
#[allow(
    clippy::duplicate_mod,
    reason = "the mesh's own source, with the atomics below"
)]
mod sleep;

/// What the two sources above find in place of the mesh's `sync`.
mod sync {
    pub(super) use loom::cell::UnsafeCell;
    pub(super) use loom::sync::Arc;
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    pub(super) use super::harness::{FENCED, fence};
}

/// Takes the next value, however long it takes to come.
fn take<T>(consumer: &mut Consumer<T>) -> T {
    loop {
        if let Some(value) = consumer.pop() {
            return value;
        }
        model::yield_now();
    }
}

/// Pushes and publishes `value` as soon as there is room.
fn put<T>(producer: &mut Producer<T>, mut value: T) {
    while let Err(refused) = producer.push(value) {
        value = refused;
        model::yield_now();
    }
    assert!(producer.publish(), "one value was staged");
}

/// Counts how often it is dropped.
struct Tracked {
    number: usize,
    drops: Arc<AtomicUsize>,
}

impl Tracked {
    fn new(number: usize, drops: &Arc<AtomicUsize>) -> Self {
        let drops = Arc::clone(drops);
        Self { number, drops }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn values_keep_their_order_when_the_indices_wrap() {
    check(|| {
        let (mut producer, mut consumer) = ring_from(2, usize::MAX);
        let thread = model::spawn(move || {
            for number in 0..4 {
                put(&mut producer, Box::new(number));
            }
        });
        for number in 0..4 {
            assert_eq!(*take(&mut consumer), number);
        }
        assert!(consumer.is_empty());
        thread.join().unwrap();
    });
}

#[test]
fn a_full_ring_takes_the_next_value_when_its_room_came_back() {
    check(|| {
        let (mut producer, mut consumer) = ring(1);
        let thread = model::spawn(move || {
            for number in 0..3 {
                put(&mut producer, Box::new(number));
            }
        });
        for number in 0..3 {
            assert_eq!(*take(&mut consumer), number);
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_batch_appears_as_a_whole_and_not_before_it_is_published() {
    check(|| {
        let (mut producer, mut consumer) = ring(4);
        let publishing = loom::sync::Arc::new(AtomicBool::new(false));
        let seen = loom::sync::Arc::clone(&publishing);
        let thread = model::spawn(move || {
            producer.push(Box::new(1)).unwrap();
            producer.push(Box::new(2)).unwrap();
            publishing.store(true, Ordering::Relaxed);
            assert!(producer.publish());
            producer.push(Box::new(3)).unwrap();
            producer
        });
        assert_eq!(*take(&mut consumer), 1);
        assert!(seen.load(Ordering::Relaxed), "seen before it was published");
        assert_eq!(*consumer.pop().expect("the rest of the batch"), 2);
        assert!(consumer.pop().is_none(), "staged, and not published");
        drop(thread.join().unwrap());
        assert_eq!(*consumer.pop().expect("published by the drop"), 3);
    });
}

#[test]
fn room_comes_back_when_it_is_released_and_not_when_it_is_taken() {
    check(|| {
        let (mut producer, mut consumer) = ring(4);
        for number in 0..4 {
            producer.push(Box::new(number)).unwrap();
        }
        assert!(producer.publish());
        let releasing = loom::sync::Arc::new(AtomicBool::new(false));
        let seen = loom::sync::Arc::clone(&releasing);
        let thread = model::spawn(move || {
            assert_eq!(*consumer.pop().expect("published before"), 0);
            releasing.store(true, Ordering::Relaxed);
            assert!(consumer.release());
            consumer
        });
        if producer.has_room() {
            assert!(seen.load(Ordering::Relaxed), "room that was not released");
            producer.push(Box::new(4)).unwrap();
        }
        drop(thread.join().unwrap());
    });
}

#[test]
fn buffers_go_home_through_a_return_ring() {
    check(|| {
        let (mut there, mut inbox) = ring::<Box<usize>>(1);
        let (mut back, mut home) = ring::<Box<usize>>(1);
        let thread = model::spawn(move || {
            for round in 0..3 {
                let mut buffer = take(&mut inbox);
                assert_eq!(*buffer, 2 * round);
                *buffer += 1;
                put(&mut back, buffer);
            }
        });
        let mut buffer = Box::new(0);
        let address: *const usize = &raw const *buffer;
        for round in 0..3 {
            put(&mut there, buffer);
            buffer = take(&mut home);
            assert_eq!((*buffer, &raw const *buffer), (2 * round + 1, address));
            *buffer += 1;
        }
        thread.join().unwrap();
    });
}

#[test]
fn everything_that_was_pushed_outlives_the_producer() {
    check(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (mut producer, mut consumer) = ring(4);
        let values = [1, 2, 3].map(|number| Tracked::new(number, &drops));
        let thread = model::spawn(move || {
            let [first, second, staged] = values;
            put(&mut producer, first);
            put(&mut producer, second);
            assert!(producer.push(staged).is_ok());
        });
        let mut taken = Vec::new();
        loop {
            let last_look = consumer.is_abandoned();
            taken.extend(std::iter::from_fn(|| consumer.pop()));
            if last_look {
                break;
            }
            model::yield_now();
        }
        assert!(taken.iter().map(|it| it.number).eq([1, 2, 3]));
        assert_eq!(drops.load(Ordering::Relaxed), 0);
        drop(taken);
        thread.join().unwrap();
        drop(consumer);
        assert_eq!(drops.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn what_is_left_is_dropped_once_whichever_end_goes_last() {
    check(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let (mut producer, mut consumer) = ring(4);
        let values = [1, 2, 3].map(|number| Tracked::new(number, &drops));
        let thread = model::spawn(move || {
            let [first, second, staged] = values;
            assert!(producer.push(first).is_ok() && producer.push(second).is_ok());
            assert!(producer.publish());
            assert!(producer.push(staged).is_ok());
        });
        // One, or none when it comes first.
        drop(consumer.pop());
        drop(consumer);
        thread.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 3);
    });
}

/// Which side of a model has its fences.
#[derive(Clone, Copy)]
struct Fenced {
    parker: bool,
    waker: bool,
}

const BOTH: Fenced = Fenced {
    parker: true,
    waker: true,
};

/// A core that parks, as others see it. The doorbell keeps a ring that comes before the wait, as
/// an eventfd does, and may wake without one, as a timer does.
struct Core {
    sleep: Sleep,
    doorbell: Notify,
}

impl Core {
    fn new() -> loom::sync::Arc<Self> {
        loom::sync::Arc::new(Self {
            sleep: Sleep::new(),
            doorbell: Notify::new(),
        })
    }

    fn wake(&self) {
        if self.sleep.wake_needed() {
            self.doorbell.notify();
        }
    }

    /// Parks, unless `idle` says after the announcement that there is something to do.
    fn park(&self, idle: impl FnOnce() -> bool) {
        self.sleep.prepare();
        if idle() {
            self.doorbell.wait();
        }
        self.sleep.cancel();
    }
}

/// A producer publishes two batches, and the consumer parks whenever it finds nothing.
fn publish_against_park(fenced: Fenced) {
    let core = Core::new();
    let waker = loom::sync::Arc::clone(&core);
    let (mut producer, mut consumer) = ring(2);
    let thread = model::spawn(move || {
        sync::FENCED.with(|it| it.set(fenced.waker));
        for number in 0..2 {
            producer.push(number).unwrap();
            assert!(producer.publish());
            waker.wake();
        }
    });
    sync::FENCED.with(|it| it.set(fenced.parker));
    for number in 0..2 {
        let value = loop {
            if let Some(value) = consumer.pop() {
                break value;
            }
            core.park(|| consumer.is_empty());
        };
        assert_eq!(value, number);
    }
    thread.join().unwrap();
}

#[test]
fn nothing_is_published_past_a_core_that_parks() {
    check(|| publish_against_park(BOTH));
}

#[test]
fn of_two_producers_one_rings_and_neither_is_missed() {
    check(|| {
        let core = Core::new();
        let rings = loom::sync::Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let mut inboxes = Vec::new();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (mut producer, consumer) = ring(1);
                inboxes.push(consumer);
                let (core, rings) = (core.clone(), rings.clone());
                model::spawn(move || {
                    producer.push(()).unwrap();
                    assert!(producer.publish());
                    if core.sleep.wake_needed() {
                        rings.fetch_add(1, Ordering::Relaxed);
                        core.doorbell.notify();
                    }
                })
            })
            .collect();
        let mut parks = 0;
        let mut taken = 0;
        while taken < 2 {
            let before = taken;
            taken += inboxes.iter_mut().filter_map(Consumer::pop).count();
            if taken == before {
                parks += 1;
                core.park(|| inboxes.iter().all(Consumer::is_empty));
            }
        }
        threads.into_iter().for_each(|it| it.join().unwrap());
        assert!(rings.load(Ordering::Relaxed) <= parks, "one ring per park");
    });
}

#[test]
fn a_producer_that_parks_for_room_is_woken_by_the_release() {
    check(|| {
        let core = Core::new();
        let waker = loom::sync::Arc::clone(&core);
        let (mut producer, mut consumer) = ring(1);
        let thread = model::spawn(move || {
            for number in 0..2 {
                assert_eq!(take(&mut consumer), number);
                assert!(consumer.release());
                waker.wake();
            }
        });
        for number in 0..2 {
            while !producer.has_room() {
                core.park(|| !producer.has_room());
            }
            producer.push(number).unwrap();
            assert!(producer.publish());
        }
        thread.join().unwrap();
    });
}

/// What loom says of the first run that goes wrong.
fn fault_of(model: impl Fn() + Send + Sync + 'static) -> Option<String> {
    let found = thread::spawn(move || check(model)).join().err()?;
    let text = found.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| found.downcast_ref::<&str>().copied());
    Some(text.unwrap_or("a fault without a text").to_owned())
}

#[test]
fn without_either_fence_a_wake_up_is_lost() {
    for (parker, waker) in [(false, false), (false, true), (true, false)] {
        let fault = fault_of(move || publish_against_park(Fenced { parker, waker }));
        let fault = fault.expect("the model finds that nobody wakes the parker");
        assert!(fault.contains("deadlock"), "{fault}");
    }
}
