//! A node that has nothing to do sleeps, and an idle link costs next to nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{IdleMode, Node, NodeId, Ref};
use ringmesh_proto::link::Target;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Record};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::procfs::{thread_cpu_ns, voluntary_switches};
use ringmesh_tests::live::raw::{RawPeer, frames};
use ringmesh_tests::live::serving::Serving;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// The most that a core may wake up per second while nothing happens.
const WAKE_UPS_PER_SECOND_MAX: u64 = 20;

/// The most engine memory that an idle link may hold.
const IDLE_LINK_BYTES_MAX: u64 = 16 << 10;

#[test]
fn a_parked_echo_answers_and_sleeps_between() {
    const QUESTIONS: u64 = 1000;
    let server = LiveNode::start_serving();
    let client = LiveNode::start();
    let path = server.path(ECHO);
    let begin = server.counters().parks;
    let slept = client.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let parks = node.counters().parks;
        for number in 0..QUESTIONS {
            let body = Bytes::from_static(&[7; 64]);
            let answer = echo.ask(Echo { number, body }).await.expect("an answer");
            assert_eq!(answer.number, number);
            assert_eq!(answer.body.as_slice(), [7; 64]);
        }
        node.counters().parks - parks
    });
    // One question at a time leaves both sides nothing else to do than to wait for the other. Who
    // gets no processor for a while may find the answer there already.
    let answering = server.counters().parks - begin;
    assert!(
        slept >= QUESTIONS / 10,
        "the asking core slept only {slept} times"
    );
    assert!(
        answering >= QUESTIONS / 10,
        "the answering core slept only {answering} times"
    );
}

#[test]
fn an_idle_core_with_a_link_hardly_wakes_up() {
    for idle in [IdleMode::Park, IdleMode::default()] {
        let server = LiveNode::start_serving_with(|builder| builder.idle(idle));
        let client = LiveNode::start_with(|builder| builder.idle(idle));
        let path = server.path(ECHO);
        client.run(move |node| async move {
            let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
            let question = Echo {
                number: 1,
                body: Bytes::new(),
            };
            echo.ask(question).await.expect("an answer");
        });
        let both = [server.begin(idle_time), client.begin(idle_time)];
        for pending in both {
            let idle_time = pending.finish();
            let bound = 2 * WAKE_UPS_PER_SECOND_MAX;
            assert!(idle_time.parks <= bound, "{idle:?}: {idle_time:?}");
            assert!(idle_time.switches <= bound, "{idle:?}: {idle_time:?}");
            // Two seconds of polling would take a hundred times as much, on however noisy a core.
            assert!(
                idle_time.cpu < Duration::from_millis(20),
                "{idle:?}: {idle_time:?}"
            );
        }
    }
}

/// What a core did in two seconds without work.
#[derive(Debug)]
struct IdleTime {
    parks: u64,
    switches: u64,
    cpu: Duration,
}

async fn idle_time(node: Node) -> IdleTime {
    let (parks, switches, cpu) = (node.counters().parks, voluntary_switches(), thread_cpu_ns());
    let begin = Instant::now();
    node.sleep(Duration::from_secs(2)).await;
    assert!(begin.elapsed() >= Duration::from_secs(2), "woken early");
    IdleTime {
        parks: node.counters().parks - parks,
        switches: voluntary_switches() - switches,
        cpu: Duration::from_nanos(thread_cpu_ns() - cpu),
    }
}

#[test]
fn an_idle_link_holds_little_memory() {
    hold_idle_links(200);
}

#[test]
#[ignore = "takes ten thousand descriptors in each of two processes"]
fn ten_thousand_idle_links_hold_little_memory_each() {
    hold_idle_links(10_000);
}

/// Makes so many links to a node, and lets them be idle.
fn hold_idle_links(links: u64) {
    let serving = Serving::start(LIVE_NODE, &["--set", "node.peers_max=16384"]);
    let client = LiveNode::start();
    let sink = serving.sink(&client);
    // What the first of all links and questions grow is no cost of one more.
    drop(used_link(&serving.id, sink));
    let before = serving.inspect(&client, |seen| seen.links == 1);
    let held: Vec<RawPeer> = (0..links).map(|_| used_link(&serving.id, sink)).collect();
    let after = serving.inspect(&client, move |seen| seen.links == 1 + links);
    let bytes = after.live_bytes.saturating_sub(before.live_bytes) / links;
    println!("{links} idle links hold {bytes} bytes each");
    assert!(
        bytes <= IDLE_LINK_BYTES_MAX,
        "an idle link holds {bytes} bytes"
    );
    let begin = Instant::now();
    client.run(|node| async move { node.sleep(Duration::from_secs(2)).await });
    let later = serving.inspect(&client, |_| true);
    let per_second = (later.parks - after.parks) as f64 / begin.elapsed().as_secs_f64();
    println!("{links} idle links wake the core {per_second:.0} times a second");
    assert!(
        per_second <= WAKE_UPS_PER_SECOND_MAX as f64,
        "{per_second} wake-ups a second"
    );
    drop(held);
}

/// A link that carried a message, and is idle again.
fn used_link(to: &NodeId, sink: Target) -> RawPeer {
    let mut peer = RawPeer::link(to);
    let mut bytes = frames::definitions::<Record>(sink);
    let record = Record {
        number: 1,
        body: Bytes::from_static(&[7; 64]),
    };
    bytes.extend(frames::tell(&record));
    peer.send(&bytes);
    peer.granted(bytes.len() as u64);
    peer
}
