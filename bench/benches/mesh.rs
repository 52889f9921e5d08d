//! What a value costs on its way through a ring from one thread to another, beside another crate's
//! ring that does the same work.
//!
//! A second thread takes everything out and sums it, and sends the sum back at the end, so nothing
//! is optimised away and everything arrived. `one` publishes each value by itself, and gives the
//! room of each back by itself; `batch` publishes 64 values at a time, and gives room back when
//! nothing more is there. `rtrb` is the crate of that name: its single pushes, and its chunks.
//!
//! The threads are not pinned: on a machine with several caches pin the whole bench with `taskset`.

use std::hint;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use ringmesh::__private::{Consumer, Producer, ring};
use rtrb::RingBuffer;
use rtrb::chunks::ChunkError;

/// Values that a ring holds.
const CAPACITY: usize = 1024;

/// Values of a batch.
const BATCH: u64 = 64;

/// Values of one iteration: a thread per sample is to cost nothing.
const VALUES: u64 = 1000 * BATCH;

/// What travels: made of a number, and summed up by it.
trait Value: Copy + Default + Send + 'static {
    fn new(number: u64) -> Self;
    fn number(self) -> u64;
}

impl Value for u64 {
    fn new(number: u64) -> Self {
        number
    }

    fn number(self) -> u64 {
        self
    }
}

/// A record of one cache line.
#[derive(Clone, Copy, Default)]
struct Line([u64; 8]);

impl Value for Line {
    fn new(number: u64) -> Self {
        Self([number; 8])
    }

    fn number(self) -> u64 {
        self.0[0] ^ self.0[7] ^ self.0[3]
    }
}

/// Pushes through `send` and sums through `receive`, each on its thread; the time of the whole.
fn measure(
    values: u64,
    send: impl FnOnce(u64),
    receive: impl FnOnce(u64) -> u64 + Send,
) -> Duration {
    thread::scope(|scope| {
        let receiving = scope.spawn(move || receive(values));
        let begun = Instant::now();
        send(values);
        let sum = receiving.join().expect("the receiver counts to the end");
        let elapsed = begun.elapsed();
        assert_eq!(sum, (0..values).fold(0, u64::wrapping_add));
        elapsed
    })
}

fn push<T: Value>(producer: &mut Producer<T>, number: u64) {
    while producer.push(T::new(number)).is_err() {
        producer.publish();
        hint::spin_loop();
    }
}

fn ours<T: Value>(values: u64, batch: u64) -> Duration {
    let (mut producer, mut consumer) = ring::<T>(CAPACITY);
    let send = move |values| {
        for number in 0..values {
            push(&mut producer, number);
            if (number + 1) % batch == 0 {
                producer.publish();
            }
        }
    };
    let receive = move |values| {
        let take = if batch == 1 { take_one } else { take_all };
        let (mut taken, mut sum) = (0, 0_u64);
        while taken < values {
            let (count, more) = take(&mut consumer);
            (taken, sum) = (taken + count, sum.wrapping_add(more));
        }
        sum
    };
    measure(values, send, receive)
}

/// Takes a value and gives its room back; how many, and their sum.
fn take_one<T: Value>(consumer: &mut Consumer<T>) -> (u64, u64) {
    let Some(value) = consumer.pop() else {
        hint::spin_loop();
        return (0, 0);
    };
    consumer.release();
    (1, value.number())
}

/// As `take_one`, with everything that is there.
fn take_all<T: Value>(consumer: &mut Consumer<T>) -> (u64, u64) {
    let (mut count, mut sum) = (0, 0_u64);
    while let Some(value) = consumer.pop() {
        count += 1;
        sum = sum.wrapping_add(value.number());
    }
    consumer.release();
    (count, sum)
}

fn rtrb_one<T: Value>(values: u64) -> Duration {
    let (mut producer, mut consumer) = RingBuffer::<T>::new(CAPACITY);
    let send = move |values| {
        for number in 0..values {
            while producer.push(T::new(number)).is_err() {
                hint::spin_loop();
            }
        }
    };
    let receive = move |values| {
        let (mut taken, mut sum) = (0, 0_u64);
        while taken < values {
            match consumer.pop() {
                Ok(value) => {
                    taken += 1;
                    sum = sum.wrapping_add(value.number());
                }
                Err(_) => hint::spin_loop(),
            }
        }
        sum
    };
    measure(values, send, receive)
}

fn rtrb_batch<T: Value>(values: u64) -> Duration {
    let (mut producer, mut consumer) = RingBuffer::<T>::new(CAPACITY);
    let send = move |values| {
        for first in (0..values).step_by(BATCH as usize) {
            let chunk = loop {
                match producer.write_chunk_uninit(BATCH as usize) {
                    Ok(chunk) => break chunk,
                    Err(ChunkError::TooFewSlots(_)) => hint::spin_loop(),
                }
            };
            chunk.fill_from_iter((first..first + BATCH).map(T::new));
        }
    };
    let receive = move |values| {
        let (mut taken, mut sum) = (0, 0_u64);
        while taken < values {
            let there = consumer.slots();
            if there == 0 {
                hint::spin_loop();
            }
            if let Ok(chunk) = consumer.read_chunk(there) {
                taken += there as u64;
                let numbers = chunk.into_iter().map(T::number);
                sum = numbers.fold(sum, u64::wrapping_add);
            }
        }
        sum
    };
    measure(values, send, receive)
}

/// Carries so many values, and says how long it took.
type Step = fn(u64) -> Duration;

fn compare<T: Value>(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mesh");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(20)
        .throughput(Throughput::Elements(VALUES));
    let steps: [(&str, Step); 4] = [
        ("one", |values| ours::<T>(values, 1)),
        ("one/rtrb", rtrb_one::<T>),
        ("batch", |values| ours::<T>(values, BATCH)),
        ("batch/rtrb", rtrb_batch::<T>),
    ];
    for (name, step) in steps {
        let id = BenchmarkId::new(name, size_of::<T>());
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|iterations| step(iterations * VALUES));
        });
    }
    group.finish();
}

criterion_group!(benches, compare::<u64>, compare::<Line>);
criterion_main!(benches);
