//! Rings and parking with values and threads; every order of their steps is run by the models.

mod models;

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::ring::{Consumer, ring, ring_from};
use super::sleep::Sleep;

/// Far more than any of these threads needs; one that hangs fails instead.
const DEADLINE: Duration = Duration::from_secs(60);

/// Values that threads hand to each other.
const VALUES: u64 = 100_000;

/// The most that a producer publishes at a time.
const BATCH: usize = 7;

fn drain<T>(consumer: &mut Consumer<T>) -> Vec<T> {
    iter::from_fn(|| consumer.pop()).collect()
}

#[test]
fn a_ring_takes_its_capacity_and_hands_the_next_value_back() {
    for capacity in [1, 2, 8] {
        let (mut producer, mut consumer) = ring(capacity);
        for number in 0..capacity {
            assert!(producer.has_room());
            assert_eq!(producer.push(number), Ok(()));
        }
        assert!(!producer.has_room());
        assert_eq!(producer.push(99), Err(99));
        assert!(producer.publish());
        assert_eq!(drain(&mut consumer), Vec::from_iter(0..capacity));
    }
}

#[test]
fn staged_values_are_seen_when_they_are_published() {
    let (mut producer, mut consumer) = ring(4);
    assert!(!producer.publish(), "nothing is staged");
    producer.push(1).unwrap();
    producer.push(2).unwrap();
    assert!(consumer.is_empty() && consumer.pop().is_none());
    assert!(producer.publish());
    assert!(!consumer.is_empty());
    assert!(!producer.publish(), "everything is published");
    assert_eq!(drain(&mut consumer), [1, 2]);
    assert!(consumer.is_empty());
}

#[test]
fn room_comes_back_by_release_and_by_itself_at_half_the_capacity() {
    let (mut producer, mut consumer) = ring(4);
    (0..4).for_each(|number| producer.push(number).unwrap());
    producer.publish();
    assert!(!consumer.release(), "nothing was taken");
    assert_eq!(consumer.pop(), Some(0));
    assert!(!producer.has_room(), "taken, but not released");
    assert!(consumer.release() && !consumer.release());
    assert!(producer.push(4).is_ok() && !producer.has_room());
    assert_eq!((consumer.pop(), consumer.pop()), (Some(1), Some(2)));
    assert!(producer.has_room(), "half the capacity");
    assert!(consumer.release(), "what `pop` gave back is told once");
    assert!(!consumer.release());
}

#[test]
fn the_indices_wrap_at_the_end_of_their_type() {
    let (mut producer, mut consumer) = ring_from(4, usize::MAX - 1);
    for round in 0..4 {
        for number in 0..3 {
            producer.push((round, number)).unwrap();
        }
        assert!(producer.publish());
        assert_eq!(drain(&mut consumer), [0, 1, 2].map(|it| (round, it)));
        consumer.release();
    }
}

#[test]
#[should_panic(expected = "power of two")]
fn a_capacity_that_is_no_power_of_two_is_refused() {
    let _ = ring::<u8>(3);
}

#[test]
fn each_end_sees_that_the_other_is_gone() {
    let (producer, consumer) = ring::<u8>(1);
    assert!(!producer.is_abandoned() && !consumer.is_abandoned());
    drop(producer);
    assert!(consumer.is_abandoned());
    let (producer, consumer) = ring::<u8>(1);
    drop(consumer);
    assert!(producer.is_abandoned());
}

#[test]
fn values_are_dropped_with_the_ring_and_not_before() {
    for producer_goes_first in [false, true] {
        // A pointer that several values share counts them; the threads' side is in the models.
        let counted = Arc::new(());
        let (mut producer, mut consumer) = ring(8);
        for _ in 0..5 {
            producer.push(Arc::clone(&counted)).unwrap();
        }
        producer.publish();
        producer.push(Arc::clone(&counted)).unwrap();
        drop((consumer.pop(), consumer.pop()));
        assert_eq!(Arc::strong_count(&counted), 1 + 4);
        if producer_goes_first {
            drop(producer);
            assert_eq!(Arc::strong_count(&counted), 1 + 4);
            assert!(consumer.pop().is_some());
            drop(consumer);
        } else {
            drop(consumer);
            assert_eq!(Arc::strong_count(&counted), 1 + 4);
            drop(producer);
        }
        assert_eq!(Arc::strong_count(&counted), 1);
    }
}

#[test]
fn batches_of_every_length_arrive_in_order() {
    let (mut producer, mut consumer) = ring(64);
    let deadline = Instant::now() + DEADLINE;
    let sending = thread::spawn(move || {
        let mut next = 0;
        let mut batch = 0;
        while next < VALUES {
            batch = batch % 100 + 1;
            for _ in 0..batch {
                if next < VALUES && producer.push(Box::new(next)).is_ok() {
                    next += 1;
                }
            }
            producer.publish();
            assert!(Instant::now() < deadline, "stuck at {next}");
            if !producer.has_room() {
                thread::yield_now();
            }
        }
    });
    let mut expected = 0;
    while expected < VALUES {
        for value in iter::from_fn(|| consumer.pop()) {
            assert_eq!(*value, expected);
            expected += 1;
        }
        consumer.release();
        assert!(Instant::now() < deadline, "stuck at {expected}");
        thread::yield_now();
    }
    sending.join().unwrap();
    assert!(consumer.is_abandoned() && consumer.is_empty());
}

#[test]
fn a_flag_is_told_to_one_waker_per_park() {
    let sleep = Sleep::new();
    assert!(!sleep.wake_needed(), "awake");
    sleep.prepare();
    assert!(!sleep.cancel(), "nobody was elected");
    assert!(!sleep.wake_needed(), "awake again");
    for _ in 0..2 {
        sleep.prepare();
        assert!(sleep.wake_needed());
        assert!(!sleep.wake_needed(), "somebody rings already");
        assert!(sleep.cancel(), "somebody was elected");
    }
}

/// Parks between batches, and counts how often it announced that.
fn consume(inboxes: &mut [Consumer<u64>], sleep: &Sleep, deadline: Instant) -> usize {
    let mut next = vec![0; inboxes.len()];
    let mut announced = 0;
    loop {
        let mut taken = 0;
        for (inbox, next) in inboxes.iter_mut().zip(&mut next) {
            for value in iter::from_fn(|| inbox.pop()) {
                assert_eq!(value, *next);
                *next += 1;
                taken += 1;
            }
            inbox.release();
        }
        if next.iter().all(|it| *it == VALUES) {
            return announced;
        }
        assert!(Instant::now() < deadline, "a wake-up was lost: {next:?}");
        if taken == 0 {
            announced += 1;
            sleep.prepare();
            if inboxes.iter().all(Consumer::is_empty) {
                thread::park_timeout(DEADLINE);
            }
            sleep.cancel();
        }
    }
}

fn produce(
    mut producer: super::Producer<u64>,
    (sleep, consumer): (&Sleep, &Thread),
    (rings, deadline): (&AtomicUsize, Instant),
) {
    let mut next = 0;
    while next < VALUES {
        for _ in 0..BATCH {
            if next < VALUES && producer.push(next).is_ok() {
                next += 1;
            }
        }
        if producer.publish() && sleep.wake_needed() {
            rings.fetch_add(1, Ordering::Relaxed);
            consumer.unpark();
        }
        assert!(Instant::now() < deadline, "stuck at {next}");
        if !producer.has_room() {
            thread::yield_now();
        }
    }
}

#[test]
fn a_core_that_parks_between_batches_misses_none_of_two_producers() {
    let (producers, mut inboxes): (Vec<_>, Vec<_>) = (0..2).map(|_| ring(16)).unzip();
    let (sleep, rings) = (Sleep::new(), AtomicUsize::new(0));
    let deadline = Instant::now() + DEADLINE;
    let consumer = thread::current();
    let announced = thread::scope(|scope| {
        for producer in producers {
            let (to, until) = ((&sleep, &consumer), (&rings, deadline));
            scope.spawn(move || produce(producer, to, until));
        }
        consume(&mut inboxes, &sleep, deadline)
    });
    assert!(
        rings.into_inner() <= announced,
        "more than one ring per park"
    );
}
