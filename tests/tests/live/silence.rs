//! Peers and networks that say nothing for a while, without an end of the connection: one direction
//! is dead, a process is stopped, or has no descriptors left.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{Node, NodeBuilder, Ref};
use ringmesh_fault_proxy::{Direction, Ending, Faults};
use ringmesh_proto::frame::body::Ping;
use ringmesh_proto::kind::Kind;
use ringmesh_tests::live::between::Between;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{Account, ECHO, Echo, EchoApi, Recall, Record, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::process::Process;
use ringmesh_tests::live::procfs::starve_of_descriptors;
use ringmesh_tests::live::raw::RawPeer;
use ringmesh_tests::live::serving::Serving;
use ringmesh_tests::live::watched::account;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

const WAYS: [Direction; 2] = [Direction::ToUpstream, Direction::ToClient];

/// Longer than anything here is silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one sees that nothing comes.
const SILENCE: Duration = Duration::from_millis(600);

fn record(number: u64) -> Record {
    Record {
        number,
        body: Bytes::from(vec![number as u8; 100]),
    }
}

async fn sink_at(node: &Node, path: &str) -> Ref<SinkApi> {
    node.resolve(path).await.expect("the sink is there")
}

/// Tells these numbers, and notes them.
async fn tell(sink: &Ref<SinkApi>, said: &mut Account, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let record = record(number);
        said.note_record(number, &record.body);
        let told = sink.tell(record).timeout(PATIENCE);
        told.await.expect("the link lives");
    }
}

#[test]
fn what_a_dead_direction_swallowed_comes_again() {
    for way in WAYS {
        let between = Between::start_with(Faults::default(), |builder| {
            builder.ask_timeout(PATIENCE).settings(|settings| {
                settings.resume_timeout = PATIENCE;
            })
        });
        let path = between.path(SINK);
        let mut said = between.near.run(move |node| async move {
            let mut said = Account::default();
            tell(&sink_at(&node, &path).await, &mut said, 0..50).await;
            said
        });
        between.near.until("quiet", |now| now.in_flight == 0);
        let before = between.proxy.counters().bytes_dropped;
        between
            .proxy
            .change(|faults| faults.way_mut(way).dead = true);
        let path = between.path(SINK);
        let talking = between.near.begin(move |node| async move {
            let sink = sink_at(&node, &path).await;
            tell(&sink, &mut said, 50..200).await;
            let seen = sink.ask(Recall).await.expect("it runs").deserialize();
            assert_eq!(seen, said);
        });
        between.until("bytes that vanish", |now| now.bytes_dropped > before);
        between.proxy.cut_all(Ending::Reset);
        between
            .proxy
            .change(|faults| faults.way_mut(way).dead = false);
        talking.finish();
        let books = between.near.until("quiet", |now| now.in_flight == 0);
        assert_closed(&books);
        assert_eq!(
            (books.dead_sent, books.resumed),
            (0, 1),
            "{way:?}: {books:#?}"
        );
    }
}

#[test]
fn a_direction_that_stays_dead_ends_the_link_with_an_account() {
    let impatient = |builder: NodeBuilder| {
        builder.settings(|settings| {
            settings.grant_timeout = Duration::from_secs(1);
            settings.resume_timeout = Duration::from_secs(1);
        })
    };
    for way in WAYS {
        let between = Between::start_with(Faults::default(), impatient);
        let path = between.path(SINK);
        let sink = between.near.run(move |node| async move {
            let sink = sink_at(&node, &path).await;
            sink.tell(record(1)).await.expect("it is up");
            sink
        });
        between.near.until("quiet", |now| now.in_flight == 0);
        between
            .proxy
            .change(|faults| faults.way_mut(way).dead = true);
        between.near.run(move |_| async move {
            for number in 2..=20 {
                sink.tell(record(number)).await.expect("there is room");
            }
        });
        let books = between.near.until("the end", |now| now.dead_sent == 19);
        assert_closed(&books);
        let reasons = between.near.run(|node| async move { node.close_reasons() });
        assert_eq!(reasons.get("grant_stall"), Some(&1), "{way:?}: {reasons:?}");
        // Whatever had arrived is there, in order, and nothing of it twice.
        let seen = account(&between.far);
        assert_eq!(seen.out_of_order, 0, "{seen:?}");
        assert_eq!(
            seen.count,
            if way == Direction::ToUpstream { 1 } else { 20 }
        );
    }
}

/// Lets some time pass in which nothing is to happen.
fn rest(node: &LiveNode, span: Duration) {
    node.run(move |node| async move { node.sleep(span).await });
}

/// Tells and asks while `serving` is stopped for `span`, and says what the survivor counted.
fn freeze(serving: &Serving, span: Duration) -> ringmesh::Counters {
    let survivor = LiveNode::start_with(|builder| builder.ask_timeout(2 * span + PATIENCE));
    let (sink, echo) = (serving.path(SINK), serving.path(ECHO));
    let (sink, echo) = survivor.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&echo).await.expect("it is there");
        (sink_at(&node, &sink).await, echo)
    });
    serving.process.freeze();
    let asking = survivor.begin(move |_| async move {
        for number in 1..=500 {
            sink.tell(record(number)).await.expect("it fits the window");
        }
        let body = Bytes::from_static(b"when you wake up");
        echo.ask(Echo { number: 1, body }).await.map(|_| ())
    });
    // No job may take longer than a test waits.
    for _ in 0..span.as_secs() {
        rest(&survivor, Duration::from_secs(1));
    }
    serving.process.thaw();
    let answered = asking.finish();
    let books = survivor.until("quiet", |now| now.in_flight == 0);
    assert_closed(&books);
    assert_eq!(
        answered.is_ok(),
        books.dead_sent == 0,
        "{answered:?} {books:#?}"
    );
    books
}

#[test]
fn a_process_that_is_stopped_for_a_second_goes_on_where_it_was() {
    let serving = Serving::start(LIVE_NODE, &[]);
    let books = freeze(&serving, Duration::from_secs(1));
    let untouched = (books.links, books.dialled, books.resumed, books.dead_sent);
    assert_eq!(untouched, (1, 1, 0, 0), "{books:#?}");
    let client = LiveNode::start();
    let path = serving.path(SINK);
    let seen = client.run(move |node| async move {
        let sink = sink_at(&node, &path).await;
        sink.ask(Recall).await.expect("it runs").deserialize()
    });
    assert_eq!((seen.count, seen.out_of_order), (500, 0));
}

/// Longer than `grant_timeout`: the link is given up, and what it held is accounted for.
#[test]
#[ignore = "takes a minute"]
fn a_process_that_is_stopped_for_a_minute_is_accounted_for() {
    let serving = Serving::start(LIVE_NODE, &[]);
    let books = freeze(&serving, Duration::from_secs(60));
    println!("{books:#?}");
}

#[test]
fn a_process_without_descriptors_accepts_when_it_has_some() {
    const DESCRIPTORS: usize = 64;
    let script = format!("ulimit -n {DESCRIPTORS}; exec \"$0\" serve");
    let process = Process::start("sh", &["-c", &script, LIVE_NODE]);
    let serving = Serving::of(process);
    let crowd: Vec<RawPeer> = (0..2 * DESCRIPTORS)
        .map(|_| RawPeer::connect(&serving.id))
        .collect();
    until_logged(&serving.process, "accepting connections paused");
    drop(crowd);
    let mut peer = RawPeer::link(&serving.id);
    peer.send(&made(|into| Ping { nonce: 1 }.encode(into)));
    peer.frame_of(Kind::Pong);
}

#[test]
fn a_process_without_descriptors_dials_when_it_has_some() {
    let later = LiveNode::start_serving();
    let at = later.address().port();
    let path = later.path(SINK);
    later.stop();
    // It dials a place where nobody listens, until it may not even do that any more.
    let patience = ["--set", "ask.timeout_ms=20000"];
    let arguments = [&["stream", &path, "100"], &patience[..]].concat();
    let dialler = Process::start(LIVE_NODE, &arguments);
    // It has all that it needs itself.
    until_logged(&dialler, "listening");
    starve_of_descriptors(dialler.pid(), true);
    let later = LiveNode::start_serving_with(|builder| builder.bind(([127, 0, 0, 1], at)));
    rest(&later, SILENCE);
    assert_eq!(
        later.counters().accepted,
        0,
        "it has no socket to dial with"
    );
    starve_of_descriptors(dialler.pid(), false);
    assert_eq!(dialler.value("sent"), "100");
    assert_eq!(account(&later).count, 100);
}

fn until_logged(process: &Process, text: &str) {
    let begun = Instant::now();
    while process.log().with(text).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "no line with {text:?}");
        thread::yield_now();
    }
}

fn made(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let length = encode(&mut bytes);
    bytes.truncate(length);
    bytes
}
