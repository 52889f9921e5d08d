//! What users do to a node: handlers that sleep, ticks that are panicked at, floods, and a stop in
//! the middle of it all.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{
    Actor, AsyncHandler, CoreId, Cx, Handler, MetricsReader, Msg, Node, NodeBuilder, Ref,
    async_handler, message, protocol,
};
use ringmesh_proto::archive;
use ringmesh_proto::frame::body::{Ping, Pong};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::HEADER_BYTES;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{
    Account, ECHO, Echo, Echoer, Parcel, Recall, Record, Sink, SinkApi,
};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::frames::{definitions, target_of};
use ringmesh_tests::live::raw::{RawPeer, frames as make};

const SECOND: Duration = Duration::from_secs(1);

/// The number of the record that is slept at.
const SLEEPY: u64 = 0;

/// Blocks its core, as nobody should.
fn hold_up(span: Duration) {
    let (_nobody, never) = sync_channel::<()>(1);
    never.recv_timeout(span).expect_err("nobody says a word");
}

/// Sleeps for a second at one record, and for a while at others.
struct Sleeper {
    handled: u64,
    asleep: SyncSender<()>,
}

impl Actor for Sleeper {
    type Api = SinkApi;
}

impl Handler<Record> for Sleeper {
    fn handle(&mut self, record: Msg<Record>, _: &mut Cx<'_, Self>) {
        if record.number.to_native() == SLEEPY {
            self.asleep.send(()).expect("the test waits");
            hold_up(SECOND);
        } else {
            hold_up(Duration::from_millis(1));
        }
        self.handled += 1;
    }
}

impl Handler<Parcel> for Sleeper {
    fn handle(&mut self, _: Msg<Parcel>, _: &mut Cx<'_, Self>) {}
}

impl Handler<Recall> for Sleeper {
    fn handle(&mut self, _: Msg<Recall>, _: &mut Cx<'_, Self>) -> Account {
        Account {
            count: self.handled,
            ..Account::default()
        }
    }
}

fn record(number: u64) -> Record {
    let body = Bytes::new();
    Record { number, body }
}

#[test]
fn a_handler_that_sleeps_is_reported_and_control_is_served_right_behind_it() {
    const BEHIND: u64 = 500;
    let (asleep, sleeps) = sync_channel(1);
    let node = LiveNode::start();
    let target = node.run(move |node| async move {
        let sleeper = Sleeper { handled: 0, asleep };
        let sleeper = node.spawn_named("sleeper", sleeper);
        target_of(&sleeper.expect("a free name"))
    });
    let [mut busy, mut quiet] = [(); 2].map(|()| RawPeer::link(node.id()));
    quiet.send(&definitions::<Recall>(target));
    let mut stream = definitions::<Record>(target);
    for number in SLEEPY..=BEHIND {
        stream.extend(make::tell(&record(number)));
    }
    busy.send(&stream);
    sleeps.recv_timeout(WAIT).expect("the sleepy record comes");
    let mut ping = [0; 2 * HEADER_BYTES];
    let ping_bytes = Ping { nonce: 7 }.encode(&mut ping);
    quiet.send(&[&ping[..ping_bytes], &make::ask(&Recall, 1)].concat());
    assert_eq!(quiet.frame_of(Kind::Pong).body(Pong::parse).nonce, 7);
    let reply = quiet.frame_of(Kind::Reply);
    let seen = archive::access::<Account>(&reply.payload).expect("an account");
    let handled = seen.count.to_native();
    // A batch or two of those that wait behind it, and not all.
    assert!((1..BEHIND / 2).contains(&handled), "{handled}");
    assert!(node.counters().slow_handlers >= 1);
    let lines = node.log().with("held their core");
    let named = lines.iter().any(|line| line.contains("sleeper"));
    assert!(named, "{lines:#?}");
}

/// Ticks until it panics.
#[message(id = "tests.Tock", v = 1)]
#[derive(Clone, Debug)]
struct Tock;

protocol! { BombApi = "tests.bomb" { Tock } }

const TICK: Duration = Duration::from_millis(1);
const LAST: u32 = 3;

#[derive(Default)]
struct Bomb(u32);

impl Bomb {
    fn tock(&mut self) {
        self.0 += 1;
        assert!(self.0 < LAST, "told to by a test");
    }
}

impl Actor for Bomb {
    type Api = BombApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        cx.every(TICK, Tock).expect("room");
    }
}

impl Handler<Tock> for Bomb {
    fn handle(&mut self, _: Msg<Tock>, _: &mut Cx<'_, Self>) {
        self.tock();
    }
}

/// The same with a handler that waits.
#[derive(Default)]
struct SlowBomb(Bomb);

impl Actor for SlowBomb {
    type Api = BombApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        cx.every(TICK, Tock).expect("room");
    }
}

#[async_handler]
impl AsyncHandler<Tock> for SlowBomb {
    async fn handle(&mut self, _: Msg<Tock>, cx: &mut Cx<'_, Self>) {
        cx.node().sleep(TICK).await;
        self.0.tock();
    }
}

#[test]
fn a_handler_that_panics_at_a_tick_ends_its_actor_and_its_timer_alone() {
    let node = LiveNode::start_serving();
    node.run(|node| async move {
        node.spawn(Bomb::default()).expect("room");
        node.spawn(SlowBomb::default()).expect("room");
    });
    node.until("both to panic", |now| now.panics == 2);
    let path = node.path(ECHO);
    let dead = node.run(move |node| async move {
        let before = node.counters().dead_no_recipient;
        node.sleep(TICK * 20).await;
        crate::actors::flow::echo_often(&node, &path, 1, 10).await;
        node.counters().dead_no_recipient - before
    });
    // One may have been on its way to each; then none comes any more.
    assert!(dead <= 2, "{dead}");
    let books = node.counters();
    assert_eq!(books.panics, 2, "{books:#?}");
    assert_closed(&books);
}

/// Tells all of them until the node stops.
async fn flood(sinks: Vec<Ref<SinkApi>>) {
    for number in 1.. {
        for sink in &sinks {
            if sink.tell(record(number)).await.is_err() {
                return;
            }
        }
    }
}

#[test]
fn cores_that_flood_each_other_stop_together_and_lose_nothing() {
    for cores in [2, 3, 4] {
        let mut reader = None;
        let node = LiveNode::start_with(|builder| {
            reader = Some(builder.metrics_reader());
            let patient =
                |builder: NodeBuilder| builder.settings(|settings| settings.flush_timeout = WAIT);
            patient(builder.cores(cores))
        });
        let reader: MetricsReader = reader.expect("the builder was asked");
        node.run(move |node| async move {
            let sinks = node.spawn_each(|_| Sink::default()).await.expect("room");
            for core in node.cores() {
                let sinks = sinks.clone();
                let task = move |_: Node| flood(sinks);
                node.spawn_task_on(core, task).await.expect("room");
            }
        });
        let is_busy = move |node: &Node| {
            let busy = |core: &ringmesh::Counters| core.delivered > 2_000;
            node.metrics().cores.iter().all(busy)
        };
        node.until_so("traffic on all cores", is_busy);
        let begin = Instant::now();
        node.stop();
        // None of them waits in vain for what another took over.
        assert!(begin.elapsed() < WAIT / 2, "{:?}", begin.elapsed());
        let last = reader.metrics();
        last.cores.iter().for_each(assert_closed);
        let books = last.total;
        assert_eq!(books.sent, books.received, "{books:#?}");
        // What was handled is not given up.
        assert_eq!((books.dead_sent, books.in_flight), (0, 0), "{books:#?}");
        let gauges = (books.links, books.actors, books.tasks, books.waiting);
        assert_eq!(gauges, (0, 0, 0, 0), "{books:#?}");
    }
}

#[test]
fn no_handler_is_called_slow_for_the_start_of_an_actor() {
    const SLOW: Duration = Duration::from_millis(400);
    let node = LiveNode::start_with(|builder| {
        let builder = builder.cores(2);
        builder.settings(|settings| settings.slow_handler = SLOW)
    });
    let slow = node.run(|node| async move {
        let echo = node.spawn_named_on(CoreId(1), ECHO, Echoer::default).await;
        let echo = echo.expect("a free name");
        let starting = node.spawn_on(CoreId(1), || {
            hold_up(SECOND);
            Sink::default()
        });
        let mut starting = pin!(starting);
        let first = poll_fn(|context| Poll::Ready(starting.as_mut().poll(context).is_ready()));
        assert!(!first.await, "it takes a second");
        // It leaves with the same turn, and is handled behind the start.
        let body = Bytes::new();
        let asked = echo.ask(Echo { number: 1, body }).await;
        asked.expect("an answer");
        starting.await.expect("room");
        node.metrics().total.slow_handlers
    });
    assert_eq!(slow, 0);
}
