//! Time that passes when a test says so.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use ringmesh::testkit::VirtualTime;
use ringmesh::transport::MemoryNetwork;
use ringmesh::{
    Actor, AskError, CoreId, Cx, Handler, LaterHandler, Msg, NodeBuilder, Ref, ReplyTo,
    later_handler, message, protocol,
};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{Recall, Record, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;

const HOUR: Duration = Duration::from_secs(3600);

/// Timers fire within a tick of their wheel.
const TICK: Duration = Duration::from_micros(66);

#[message(id = "tests.Chime", v = 1)]
struct Chime;

/// Asks for something that nobody says.
#[message(id = "tests.Riddle", v = 1, reply = Chime)]
struct Riddle;

protocol! {
    ClockApi = "tests.clock" { Chime, Riddle }
}

/// At what time, and on which core.
type Chimes = Arc<Mutex<Vec<(Duration, CoreId)>>>;

/// Notes when it is told to chime, which it has itself told now and then.
struct Tower {
    period: Duration,
    time: VirtualTime,
    chimes: Chimes,
    unanswered: Vec<ReplyTo<Riddle>>,
}

impl Tower {
    fn new(period: Duration, time: &VirtualTime, chimes: &Chimes) -> Self {
        Self {
            period,
            time: time.clone(),
            chimes: Arc::clone(chimes),
            unanswered: Vec::new(),
        }
    }
}

impl Actor for Tower {
    type Api = ClockApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        cx.every(self.period, Chime).expect("room for a timer");
    }
}

impl Handler<Chime> for Tower {
    fn handle(&mut self, _: Msg<Chime>, cx: &mut Cx<'_, Self>) {
        let chime = (self.time.now(), cx.node().core());
        self.chimes.lock().expect("no panic").push(chime);
    }
}

#[later_handler]
impl LaterHandler<Riddle> for Tower {
    fn handle(&mut self, _: Msg<Riddle>, reply: ReplyTo<Riddle>, _: &mut Cx<'_, Self>) {
        self.unanswered.push(reply);
    }
}

fn within(time: &VirtualTime) -> impl Fn(NodeBuilder) -> NodeBuilder + use<> {
    let (time, network) = (time.clone(), MemoryNetwork::new());
    move |builder| builder.virtual_time(&time).network(network.clone())
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// How far apart two times are.
fn apart(one: Duration, other: Duration) -> Duration {
    one.max(other) - one.min(other)
}

#[test]
fn an_hour_passes_from_second_to_second_and_core_to_core() {
    let (time, chimes) = (VirtualTime::new(), Chimes::default());
    let node = LiveNode::start_with(|builder| within(&time)(builder).cores(2));
    let seen = Arc::clone(&chimes);
    node.run(move |node| async move {
        let second = Duration::from_secs(1);
        // Two cores that take turns: the second begins half a period later.
        for core in node.cores() {
            let (its, chimes) = (time.clone(), Arc::clone(&seen));
            let tower = move || Tower::new(second, &its, &chimes);
            node.spawn_on(core, tower).await.expect("room");
            time.pass(second / 2).await;
        }
        time.pass(HOUR + TICK).await;
        assert_eq!(time.now(), HOUR + second + TICK);
    });
    let chimes = chimes.lock().expect("no panic").clone();
    assert_eq!(chimes.len(), 3601 + 3600, "each at its time, none merged");
    for (place, (at, core)) in chimes.iter().enumerate() {
        let due = Duration::from_millis(1000 + 500 * place as u64);
        assert_eq!(usize::from(core.0), place % 2, "at {at:?}");
        assert!(apart(*at, due) <= TICK, "{at:?} for {due:?}");
    }
}

#[test]
fn a_question_over_a_network_in_memory_expires_when_its_time_has_passed() {
    let (time, chimes) = (VirtualTime::new(), Chimes::default());
    let inside = within(&time);
    let (here, there) = (LiveNode::start_with(&inside), LiveNode::start_with(&inside));
    let its = time.clone();
    there.run(move |node| async move {
        let tower = Tower::new(HOUR, &its, &chimes);
        node.spawn_named("tower", tower).expect("a free name");
    });
    let path = there.path("tower");
    here.run(move |node| async move {
        let tower: Ref<ClockApi> = node.resolve(&path).await.expect("it is there");
        let question = tower.ask(Riddle).timeout(Duration::from_secs(60));
        let mut riddle = pin!(question.into_future());
        assert!(poll_once(riddle.as_mut()).is_pending());
        time.pass(Duration::from_secs(59)).await;
        assert!(poll_once(riddle.as_mut()).is_pending());
        time.pass(Duration::from_secs(2)).await;
        let Poll::Ready(Err(error)) = poll_once(riddle.as_mut()) else {
            panic!("it is overdue");
        };
        assert!(matches!(error, AskError::Timeout { .. }), "{error:?}");
    });
}

#[test]
fn what_is_on_its_way_comes_to_rest_without_time() {
    const RECORDS: u64 = 10_000;
    let time = VirtualTime::new();
    let inside = within(&time);
    let (here, there) = (
        LiveNode::start_with(&inside),
        LiveNode::start_serving_with(&inside),
    );
    let (path, its) = (there.path(SINK), time.clone());
    let seen = here.run(move |node| async move {
        let sink: Ref<SinkApi> = node.resolve(&path).await.expect("it is there");
        for number in 1..=RECORDS {
            let body = Bytes::from_static(&[7; 100]);
            sink.tell(Record { number, body }).await.expect("it runs");
        }
        its.pass(Duration::ZERO).await;
        let in_flight = node.counters().in_flight;
        (
            in_flight,
            sink.ask(Recall).await.expect("an answer").deserialize(),
        )
    });
    assert_eq!((seen.0, seen.1.count, seen.1.out_of_order), (0, RECORDS, 0));
    assert_eq!(time.now(), Duration::ZERO);
    assert_closed(&here.counters());
}

#[test]
fn it_passes_on_any_thread_and_without_nodes() {
    let time = VirtualTime::new();
    let elsewhere = LiveNode::start();
    let pass = |span: Duration| {
        let time = time.clone();
        elsewhere.begin(move |_| async move { time.pass(span).await })
    };
    pass(HOUR).finish();
    assert_eq!(time.now(), HOUR);
    // A core that starts later begins with zero.
    let node = LiveNode::start_with(within(&time));
    let slept = node.begin(|node| async move { node.sleep(HOUR).await });
    let passing = pass(2 * HOUR);
    slept.finish();
    passing.finish();
    assert_eq!(time.now(), 3 * HOUR);
}

#[test]
fn who_stops_waiting_for_it_leaves_it_where_it_is() {
    let time = VirtualTime::new();
    let node = LiveNode::start_with(within(&time));
    node.run(move |node| async move {
        drop(time.pass(HOUR));
        {
            let mut passing = pin!(time.pass(HOUR));
            assert!(poll_once(passing.as_mut()).is_pending());
        }
        time.pass(Duration::ZERO).await;
        assert_eq!(time.now(), Duration::ZERO);
        drop(node);
    });
}
