//! What costs memory, and how much: no sort of actor allocates per message, and a watch over nodes
//! takes little.

use std::alloc::System;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use ringmesh::{
    Actor, AsyncHandler, Cx, Handler, Msg, Node, Protocol, Ref, async_handler, message, protocol,
};
use ringmesh_cluster::watch::{RemoteWatch, Rules, Watching};
use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::frame::body::{System as Word, Watch};
use ringmesh_proto::time::Instant;
use ringmesh_tests::live::node::LiveNode;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for all threads: one test measures at a time.
static MEASURING: Mutex<()> = Mutex::new(());

/// Messages of one measurement.
const MESSAGES: u64 = 100_000;

/// Slabs change hands, and their counts are allocated: one for some hundred messages, and more
/// where the machine has others to serve and slabs go out with less in them.
const MESSAGES_PER_ALLOCATION: u64 = 20;

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
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Watches of one measurement.
const WATCHES: u64 = 100_000;

/// What a watch may take on either side, in bytes.
const BYTES_PER_WATCH: usize = 128;

/// Bytes that `machine` took for the watches it was given by `fill`, words to be said aside.
fn bytes_of(machine: &mut RemoteWatch, peer: Uid, fill: impl FnOnce(&mut RemoteWatch)) -> usize {
    let region = Region::new(ALLOCATOR);
    fill(machine);
    while machine.poll_effect().is_some() {}
    machine.say(peer, |_| true);
    let change = region.change();
    change.bytes_allocated - change.bytes_deallocated
}

#[test]
fn a_watch_of_another_node_takes_little_on_either_side() {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let address = Address::new("demo", "127.0.0.1", 1).expect("an address");
    let uid = Uid::new(7).expect("not zero");
    let peer = NodeId { address, uid };
    let watch = |number| Watch {
        watched: number,
        watcher: 1,
    };
    let mut machine = RemoteWatch::new(Rules::default());
    machine.handle_link_up(&peer);
    let outgoing = bytes_of(&mut machine, uid, |machine| {
        for number in 0..WATCHES {
            let watching = Watching {
                watcher_core: CoreId(0),
                watcher_slot: 1,
                core: CoreId(0),
                slot: 1,
            };
            let watched = machine.watch(Instant::ZERO, &peer, watch(number), watching);
            watched.expect("there is room");
            machine.poll_effect();
            machine.say(uid, |_| true);
        }
    });
    let mut machine = RemoteWatch::new(Rules::default());
    machine.handle_link_up(&peer);
    let incoming = bytes_of(&mut machine, uid, |machine| {
        for number in 0..WATCHES {
            let word = Word::Watch {
                watch: watch(number),
                watcher_core: CoreId(0),
                core: CoreId(0),
                slot: 1,
            };
            machine.handle_system(uid, &word);
            machine.poll_effect();
        }
    });
    for (side, bytes) in [("watching", outgoing), ("watched", incoming)] {
        let each = bytes / WATCHES as usize;
        println!("{side}: {each} bytes");
        assert!(each > 0 && each <= BYTES_PER_WATCH, "{side}: {each} bytes");
    }
}
