//! A handler that may wait and does not costs no memory: no sort of actor allocates per message.

use std::alloc::System;

use bytes::Bytes;
use ringmesh::{
    Actor, AsyncHandler, Cx, Handler, Msg, Node, Protocol, Ref, async_handler, message, protocol,
};
use ringmesh_tests::live::node::LiveNode;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Messages of one measurement.
const MESSAGES: u64 = 100_000;

/// Slabs change hands, and their counts are allocated: one for some hundred messages.
const MESSAGES_PER_ALLOCATION: u64 = 100;

#[message(id = "tests.Drop", v = 1)]
struct Drop {
    number: u64,
    body: Bytes,
}

#[message(id = "tests.Drops", v = 1, reply = Dropped)]
struct Drops;

#[message(id = "tests.Dropped", v = 1)]
struct Dropped {
    count: u64,
}

protocol! {
    BucketApi = "tests.bucket" { Drop, Drops }
}

/// Counts in handlers that do not wait.
#[derive(Default)]
struct Plain(u64);

/// Counts in handlers that may wait, and do not.
#[derive(Default)]
struct Waiting(u64);

impl Actor for Plain {
    type Api = BucketApi;
}

impl Handler<Drop> for Plain {
    fn handle(&mut self, drop: Msg<Drop>, _: &mut Cx<'_, Self>) {
        assert_eq!(drop.number, self.0);
        self.0 += 1;
    }
}

impl Handler<Drops> for Plain {
    fn handle(&mut self, _: Msg<Drops>, _: &mut Cx<'_, Self>) -> Dropped {
        let count = self.0;
        Dropped { count }
    }
}

impl Actor for Waiting {
    type Api = BucketApi;
}

#[async_handler]
impl AsyncHandler<Drop> for Waiting {
    async fn handle(&mut self, drop: Msg<Drop>, _: &mut Cx<'_, Self>) {
        assert_eq!(drop.number, self.0);
        self.0 += 1;
    }
}

#[async_handler]
impl AsyncHandler<Drops> for Waiting {
    async fn handle(&mut self, _: Msg<Drops>, _: &mut Cx<'_, Self>) -> Dropped {
        let count = self.0;
        Dropped { count }
    }
}

#[test]
fn neither_sort_of_handler_allocates_per_message() {
    let node = LiveNode::start();
    let [plain, waiting] = node.run(|node| async move {
        let plain = node.spawn(Plain::default()).expect("room for an actor");
        let waiting = node.spawn(Waiting::default()).expect("room for an actor");
        [measure(&node, plain).await, measure(&node, waiting).await]
    });
    for (sort, allocations) in [("plain", plain), ("waiting", waiting)] {
        println!("{sort}: {allocations} allocations for {MESSAGES} messages");
        assert!(
            allocations * MESSAGES_PER_ALLOCATION <= MESSAGES,
            "{sort}: {allocations} allocations for {MESSAGES} messages"
        );
    }
}

/// The allocations of the process while `to` handles [`MESSAGES`], once it is warm.
async fn measure(node: &Node, to: Ref<BucketApi>) -> u64 {
    assert_eq!(BucketApi::MESSAGES.len(), 2);
    let warm_up = 10_000;
    send(to, 0..warm_up).await;
    let region = Region::new(ALLOCATOR);
    send(to, warm_up..warm_up + MESSAGES).await;
    let change = region.change();
    let panics = node.counters().panics;
    assert_eq!(panics, 0, "every number was in its place");
    (change.allocations + change.reallocations) as u64
}

/// Sends the messages of these numbers, and waits until all are handled.
async fn send(to: Ref<BucketApi>, numbers: std::ops::Range<u64>) {
    let end = numbers.end;
    for number in numbers {
        let body = Bytes::from_static(&[7; 48]);
        to.tell(Drop { number, body }).await.expect("room comes");
    }
    let dropped = to.ask(Drops).await.expect("an answer");
    assert_eq!(dropped.count, end);
}
