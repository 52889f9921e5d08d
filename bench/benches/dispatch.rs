//! A message through one node, from a task to an actor of the same core, by the public API alone.
//!
//! It takes the way of a message to another node as far as the core goes: encoded into a slab,
//! sealed, parsed, validated, dispatched, granted. What is missing is the kernel. `tell` counts
//! until the last message was handled, `ask` until each answer is back.
//!
//! Beside it: an actor spawned and stopped again. Each sample runs a node of its own; its start and
//! its first messages are not in the time.

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main,
};
use ringmesh::prelude::*;

/// Messages before the clock starts.
const WARM_UP_MESSAGES: u64 = 1000;

/// Messages of one iteration: starting a node takes so long that few iterations fit a sample.
const BATCH_MESSAGES: u32 = 1000;

/// Plain numbers, 64 bytes.
#[message(id = "bench.Quote", v = 1, pod)]
struct Quote {
    number: u64,
    rest: [u64; 7],
}

/// Plain numbers, 1 KiB.
#[message(id = "bench.Page", v = 1, pod)]
struct Page {
    number: u64,
    rest: [u64; 127],
}

/// Asks how many messages were handled; order is kept, so everything told before it was.
#[message(id = "bench.Count", v = 1, reply = Counted)]
struct Count;

#[message(id = "bench.Counted", v = 1, pod)]
struct Counted {
    messages: u64,
}

protocol! {
    /// Takes messages and counts them.
    SinkApi = "bench.sink" { Quote, Page, Count }
}

#[derive(Default)]
struct Sink {
    messages: u64,
    numbers: u64,
}

impl Actor for Sink {
    type Api = SinkApi;
}

impl Handler<Quote> for Sink {
    fn handle(&mut self, quote: Msg<Quote>, _: &mut Cx<'_, Self>) {
        self.messages += 1;
        self.numbers = self.numbers.wrapping_add(quote.number.to_native());
    }
}

impl Handler<Page> for Sink {
    fn handle(&mut self, page: Msg<Page>, _: &mut Cx<'_, Self>) {
        self.messages += 1;
        self.numbers = self.numbers.wrapping_add(page.number.to_native());
    }
}

impl Handler<Count> for Sink {
    fn handle(&mut self, _: Msg<Count>, _: &mut Cx<'_, Self>) -> Counted {
        Counted {
            messages: self.messages,
        }
    }
}

/// The same in handlers that may wait, and do not.
#[derive(Default)]
struct Waiting {
    messages: u64,
    numbers: u64,
}

impl Actor for Waiting {
    type Api = SinkApi;
}

#[async_handler]
impl AsyncHandler<Quote> for Waiting {
    async fn handle(&mut self, quote: Msg<Quote>, _: &mut Cx<'_, Self>) {
        self.messages += 1;
        self.numbers = self.numbers.wrapping_add(quote.number.to_native());
    }
}

#[async_handler]
impl AsyncHandler<Page> for Waiting {
    async fn handle(&mut self, page: Msg<Page>, _: &mut Cx<'_, Self>) {
        self.messages += 1;
        self.numbers = self.numbers.wrapping_add(page.number.to_native());
    }
}

#[async_handler]
impl AsyncHandler<Count> for Waiting {
    async fn handle(&mut self, _: Msg<Count>, _: &mut Cx<'_, Self>) -> Counted {
        let messages = self.messages;
        Counted { messages }
    }
}

/// What is sent: `messages` of them, all handled when it ends.
#[derive(Clone, Copy)]
enum Sending {
    Quotes,
    /// To the actor whose handlers may wait.
    QuotesAsync,
    Pages,
    Asks,
}

impl Sending {
    async fn send(self, sink: Ref<SinkApi>, messages: u64) {
        for number in 0..messages {
            match self {
                Self::Quotes | Self::QuotesAsync => {
                    let rest = [number; 7];
                    sink.tell(Quote { number, rest }).await.expect("room");
                }
                Self::Pages => {
                    let rest = [number; 127];
                    sink.tell(Page { number, rest }).await.expect("room");
                }
                Self::Asks => drop(sink.ask(Count).await.expect("an answer")),
            }
        }
    }

    /// The time that `messages` take on a node that is warm.
    fn measure(self, messages: u64) -> Duration {
        let node = Engine::node("bench").idle(IdleMode::Spin);
        let measured = node.run(move |node| async move {
            let sink = match self {
                Self::QuotesAsync => node.spawn(Waiting::default()),
                _ => node.spawn(Sink::default()),
            };
            let sink = sink.expect("the first actor");
            self.send(sink, WARM_UP_MESSAGES).await;
            let before = counted(sink).await;
            let begun = Instant::now();
            self.send(sink, messages).await;
            let after = counted(sink).await;
            let elapsed = begun.elapsed();
            let told = if let Self::Asks = self { 0 } else { messages };
            assert_eq!(after - before, told, "nothing is lost");
            elapsed
        });
        measured.expect("a node runs on this host")
    }
}

async fn counted(sink: Ref<SinkApi>) -> u64 {
    let counted = sink.ask(Count).await.expect("an answer");
    counted.messages.to_native()
}

/// A group whose samples are few and long: each starts nodes.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4))
        .throughput(Throughput::Elements(1));
    group
}

fn dispatch(criterion: &mut Criterion) {
    let mut group = group(criterion, "dispatch");
    for (id, sending) in [
        (BenchmarkId::new("tell", 64), Sending::Quotes),
        (BenchmarkId::new("tell_async", 64), Sending::QuotesAsync),
        (BenchmarkId::new("tell", 1024), Sending::Pages),
        (BenchmarkId::new("ask", 0), Sending::Asks),
    ] {
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|batches| {
                let messages = batches * u64::from(BATCH_MESSAGES);
                sending.measure(messages) / BATCH_MESSAGES
            });
        });
    }
    group.finish();
}

/// An actor spawned and stopped again, with nothing but itself.
fn spawn(criterion: &mut Criterion) {
    let mut group = group(criterion, "spawn");
    group.bench_function("spawn_and_stop", |bencher| {
        bencher.iter_custom(|batches| {
            let actors = batches * u64::from(BATCH_MESSAGES);
            let node = Engine::node("bench").idle(IdleMode::Spin);
            let measured = node.run(move |node| async move {
                let begun = Instant::now();
                for _ in 0..actors {
                    let sink = node.spawn(Sink::default()).expect("room for one");
                    assert!(node.stop(&sink));
                }
                begun.elapsed()
            });
            measured.expect("a node runs on this host") / BATCH_MESSAGES
        });
    });
    group.finish();
}

criterion_group!(benches, dispatch, spawn);
criterion_main!(benches);
