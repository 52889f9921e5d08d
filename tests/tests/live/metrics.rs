//! What cores count, read by a thread that is none of theirs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{
    Actor, CoreId, Counters, Cx, Engine, Handler, IdleMode, Metrics, MetricsReader, Msg, Node,
    NodeBuilder, Ref, protocol,
};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Echoer, Record, Sink, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};
use ringmesh_tests::live::{SYSTEM, WAIT};

/// Counters that also go down.
const GAUGES: [&str; 7] = [
    "in_flight",
    "waiting",
    "local_waiting",
    "links",
    "actors",
    "watches",
    "tasks",
];

fn record(number: u64) -> Record {
    Record {
        number,
        body: Bytes::new(),
    }
}

/// Reads until it is as `wanted`. The reader's thread asks nothing of the cores.
fn until(reader: &MetricsReader, what: &str, wanted: impl Fn(&Metrics) -> bool) -> Metrics {
    let begin = Instant::now();
    loop {
        let metrics = reader.metrics();
        if wanted(&metrics) {
            return metrics;
        }
        assert!(begin.elapsed() < WAIT, "waited for {what}: {metrics:#?}");
        thread::yield_now();
    }
}

/// Tells the sink on the other core and asks the echo there, until it is enough.
async fn talk(sink: Ref<SinkApi>, echo: Ref<EchoApi>, enough: Arc<AtomicBool>) {
    let mut number = 0;
    while !enough.load(Ordering::Relaxed) {
        number += 1;
        sink.tell(record(number)).await.expect("room");
        if number % 64 == 0 {
            let body = Bytes::new();
            let answer = echo.ask(Echo { number, body }).await.expect("an answer");
            assert_eq!(answer.number, number);
        }
    }
}

#[test]
fn a_foreign_thread_reads_busy_cores_and_their_books_close_at_the_end() {
    let mut early = None;
    let node = LiveNode::start_with(|builder| {
        let reader = builder.metrics_reader();
        assert_eq!(Engine::metrics(&reader), Metrics::default());
        early = Some(reader);
        builder.cores(2)
    });
    let reader = early.expect("the builder was asked");
    let enough = Arc::new(AtomicBool::new(false));
    let enough_there = Arc::clone(&enough);
    node.run(move |node| async move {
        let sinks = node.spawn_each(|_| Sink::default()).await.expect("room");
        let echoes = node.spawn_each(|_| Echoer::default()).await.expect("room");
        for (from, to) in [(0, 1), (1, 0)] {
            let (sink, echo, enough) = (sinks[to], echoes[to], Arc::clone(&enough_there));
            let task = move |_: Node| talk(sink, echo, enough);
            node.spawn_task_on(CoreId(from), task).await.expect("room");
        }
    });
    let mut before = reader.metrics();
    let mut reads = 0;
    while reads < 1000 || before.cores.iter().any(|core| core.delivered < 20_000) {
        let now = reader.metrics();
        assert_eq!(now.cores.len(), 2);
        for (before, now) in before.cores.iter().zip(&now.cores) {
            assert_only_grows(before, now);
            assert_holds_while_running(now);
        }
        before = now;
        reads += 1;
    }
    enough.store(true, Ordering::Relaxed);
    let quiet = |it: &Metrics| it.total.in_flight == 0 && it.total.tasks < 4;
    let metrics = until(&reader, "quiet", quiet);
    metrics.cores.iter().for_each(assert_closed);
    assert_closed(&metrics.total);
    assert_eq!(metrics.total.sent, metrics.total.received);
    let seen_inside = node.run(|node| async move { (node.metrics(), node.counters()) });
    assert_eq!(seen_inside.0.cores[1].delivered, metrics.cores[1].delivered);
    assert_eq!(seen_inside.0.cores[0].delivered, seen_inside.1.delivered);
    node.stop();
    let last = reader.metrics();
    last.cores.iter().for_each(assert_closed);
    let gauges = |it: &Counters| (it.links, it.actors, it.tasks, it.waiting, it.in_flight);
    assert_eq!(gauges(&last.total), (0, 0, 0, 0, 0), "{last:#?}");
    assert_eq!(last.total.delivered, metrics.total.delivered);
}

fn assert_only_grows(before: &Counters, now: &Counters) {
    for ((name, before), (_, now)) in before.iter().zip(now.iter()) {
        assert!(GAUGES.contains(&name) || before <= now, "{name} went down");
    }
}

fn assert_holds_while_running(now: &Counters) {
    assert!(
        now.received >= now.delivered + now.dead_received + now.waiting,
        "{now:#?}"
    );
    // The sum for `in_flight` would have panicked.
    assert!(now.sent >= now.acknowledged + now.dead_sent, "{now:#?}");
}

protocol! { BlockerApi = "tests.blocker" { Record } }

/// Blocks its core until it is told to go on.
struct Blocker {
    blocked: SyncSender<()>,
    go_on: Receiver<()>,
}

impl Actor for Blocker {
    type Api = BlockerApi;
}

impl Handler<Record> for Blocker {
    fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {
        self.blocked.send(()).expect("the test waits");
        self.go_on.recv_timeout(WAIT).expect("the test goes on");
    }
}

#[test]
fn a_core_that_a_handler_blocks_is_read_all_the_same() {
    let node = LiveNode::start();
    let reader = node.run(|node| async move { node.metrics_reader() });
    let (blocked, is_blocked) = sync_channel(1);
    let (go_on, may_go_on) = sync_channel(1);
    node.run(move |node| async move {
        let go_on = may_go_on;
        let blocker = node.spawn(Blocker { blocked, go_on }).expect("room");
        blocker.tell(record(1)).await.expect("room");
    });
    is_blocked.recv_timeout(WAIT).expect("the handler runs");
    let now = reader.metrics().cores[0];
    assert_eq!(now.received, now.delivered + 1, "{now:#?}");
    assert_eq!((now.sent, now.in_flight), (now.received, now.in_flight));
    assert_eq!((now.actors, now.links, now.waiting), (2, 0, 0), "{now:#?}");
    go_on.send(()).expect("the handler waits");
    let delivered = now.delivered + 1;
    until(&reader, "the handler", |it| it.total.delivered == delivered);
}

protocol! { SlowApi = "tests.slow" { Record } }

/// Takes a millisecond for each message: nobody ever tells it to go on.
struct Slow(Receiver<()>);

impl Actor for Slow {
    type Api = SlowApi;
}

impl Handler<Record> for Slow {
    fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {
        let told = self.0.recv_timeout(Duration::from_millis(1));
        assert_eq!(told, Err(RecvTimeoutError::Timeout));
    }
}

#[test]
fn what_a_core_leaves_unread_at_its_end_is_counted() {
    const RECORDS: u64 = 400;
    let at_once = Duration::from_millis(1);
    let node = LiveNode::start_with(|it| it.settings(|it| it.flush_timeout = at_once));
    let (_quiet, go_on) = sync_channel(1);
    let (reader, slow) = node.run(|node| async move {
        let slow = node.spawn(Slow(go_on)).expect("room");
        (node.metrics_reader(), make::target_of(&slow))
    });
    let mut peer = RawPeer::link(node.id());
    let mut bytes = make::definitions::<Record>(slow);
    (0..RECORDS).for_each(|number| bytes.extend(make::tell(&record(number))));
    peer.send(&bytes);
    until(&reader, "the first", |it| it.total.received > 0);
    node.stop();
    let books = reader.metrics().total;
    assert_closed(&books);
    assert!(books.dropped_unread > 0, "{books:#?}");
    assert_eq!(books.received + books.dropped_unread, RECORDS);
}

#[test]
fn what_the_transport_counts_is_seen_without_asking_the_core() {
    let (server, client) = (LiveNode::start_serving(), LiveNode::start());
    let readers =
        [&server, &client].map(|node| node.run(|node| async move { node.metrics_reader() }));
    let path = server.path(ECHO);
    client.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let body = Bytes::from(vec![1; 10_000]);
        echo.ask(Echo { number: 1, body }).await.expect("an answer");
    });
    let [server_now, client_now] = readers.each_ref().map(|reader| {
        let came = |it: &Metrics| it.total.bytes_received > 10_000 && it.total.bytes_sent > 10_000;
        until(reader, "the bytes", came).total
    });
    assert_eq!((server_now.accepted, server_now.dialled), (1, 0));
    assert_eq!((client_now.accepted, client_now.dialled), (0, 1));
    assert_eq!((server_now.links, client_now.links), (1, 1));
    assert!(server_now.enters > 0 && client_now.sends > 0 && server_now.receives > 0);
    // One actor more, and the link less: seen from outside when the cores have gone to sleep.
    server
        .run(|node| async move { node.spawn(Echoer::default()).map(|_| ()) })
        .expect("room");
    until(&readers[0], "the actor", |it| {
        it.total.actors == server_now.actors + 1
    });
    let asleep = |it: &Metrics| it.total.links == 0 && it.total.parks > server_now.parks;
    client.stop();
    until(&readers[0], "the end of the link", asleep);
}

#[test]
fn reasons_of_closes_are_counted_for_each_core() {
    let node = LiveNode::of_cores(2);
    let reader = node.run(|node| async move { node.metrics_reader() });
    let mut garbage = RawPeer::connect(node.id());
    garbage.send(&[0x47; 64]);
    garbage.ending();
    let closed = |it: &Metrics| !it.close_reasons[0].is_empty();
    let reasons = until(&reader, "the close", closed).close_reasons;
    let inside = node.run(|node| async move { node.close_reasons() });
    assert_eq!(reasons, [inside, BTreeMap::new()]);
    assert_eq!(reasons[0].values().sum::<u64>(), 1);
}

#[test]
fn a_clone_of_a_builder_is_another_node_with_another_reader() {
    let builder = Engine::node(SYSTEM).idle(IdleMode::Park);
    let other = builder.clone();
    let readers = [&builder, &other].map(NodeBuilder::metrics_reader);
    let seen = readers[1].clone();
    let cores = other.run(move |_| async move { seen.metrics().cores.len() });
    assert_eq!(cores.expect("a node"), 1);
    assert!(readers[1].metrics().total.turns > 0);
    assert_eq!(readers[0].metrics(), Metrics::default());
    builder.run(|_| async {}).expect("a node");
    assert!(readers[0].metrics().total.turns > 0);
}
