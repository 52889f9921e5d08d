//! Two nodes with a proxy between them: what the network does to their link.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{Node, Ref, ResolveError};
use ringmesh_fault_proxy::{Action, Direction, Ending, Faults, Proxy};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::between::Between;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Record, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::seed;
use ringmesh_tests::live::watched::account;

fn record(number: u64) -> Record {
    Record {
        number,
        body: Bytes::from_static(&[7; 100]),
    }
}

async fn sink_at(node: &Node, path: &str) -> Ref<SinkApi> {
    node.resolve(path).await.expect("the sink is there")
}

#[test]
fn a_node_behind_a_proxy_is_met_under_the_proxy_s_address() {
    let between = Between::start(Faults::default());
    let path = between.path(ECHO);
    let answer = between.near.run(|node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let body = Bytes::from_static(b"through");
        let answer = echo.ask(Echo { number: 1, body }).await.expect("an answer");
        answer.body.to_vec()
    });
    assert_eq!(answer, b"through");
    let counters = between.proxy.counters();
    assert_eq!(counters.connections, 1);
    assert!(counters.bytes_to_upstream > 0 && counters.bytes_to_client > 0);
    assert_eq!(between.far.address().port(), between.proxy.address().port());
}

#[test]
fn a_node_that_does_not_know_of_its_proxy_refuses_who_dials_that() {
    let far = LiveNode::start_serving();
    let upstream = format!("127.0.0.1:{}", far.address().port());
    let upstream: std::net::SocketAddr = upstream.parse().expect("an address");
    let proxy = Proxy::start(upstream, Faults::default()).expect("a free port");
    let near = LiveNode::start();
    let path = format!("ringmesh://tests@{}/user/{ECHO}", proxy.address());
    let refused = near.run(|node| async move {
        let resolved = node.resolve::<EchoApi>(&path).await;
        resolved.expect_err("it is not that node")
    });
    assert!(
        matches!(&refused, ResolveError::Refused { .. }),
        "{refused:?}"
    );
}

#[test]
fn a_stream_goes_on_behind_cuts_and_nothing_is_lost() {
    const CUTS: u64 = 5;
    let mut rng = seed::generator();
    let between = Between::start(Faults::default());
    let path = between.path(SINK);
    let enough = Arc::new(AtomicBool::new(false));
    let stream = {
        let enough = Arc::clone(&enough);
        between.near.begin(move |node| async move {
            let sink = sink_at(&node, &path).await;
            let mut number = 0;
            while !enough.load(Ordering::Relaxed) {
                number += 1;
                let told = sink.tell(record(number)).timeout(WAIT);
                told.await.expect("the link comes back");
            }
            number
        })
    };
    for cut in 1..=CUTS {
        let ending = if rng.bool() {
            Ending::Reset
        } else {
            Ending::Fin
        };
        let after = rng.u64(1_000..300_000);
        let armed = between
            .proxy
            .arm(Direction::ToUpstream, after, Action::Cut(ending));
        assert!(armed);
        between.until("a cut", |now| now.cuts == cut);
    }
    enough.store(true, Ordering::Relaxed);
    let sent = stream.finish();
    let books = between.near.until("quiet", |now| now.in_flight == 0);
    assert_closed(&books);
    assert_closed(&between.far.counters());
    assert_eq!(between.proxy.counters().cuts_with_loss, CUTS);
    let seen = account(&between.far);
    assert_eq!(seen.out_of_order, 0, "{seen:?}");
    assert_eq!((seen.count, books.dead_sent), (sent, 0), "{books:?}");
    assert_eq!(books.resumed, CUTS);
}

#[test]
fn a_damaged_byte_is_never_delivered() {
    let between = Between::start(Faults::default());
    let path = between.path(SINK);
    between.near.run(|node| async move {
        let sink = sink_at(&node, &path).await;
        sink.tell(record(1)).await.expect("it is up");
    });
    between.far.until("the first", |now| now.delivered >= 1);
    // In the body of a later record.
    assert!(
        between
            .proxy
            .arm(Direction::ToUpstream, 1_000, Action::Flip(4))
    );
    let path = between.path(SINK);
    between.near.run(|node| async move {
        let sink = sink_at(&node, &path).await;
        for number in 2..=50 {
            // Some are refused while the link is down.
            let _ = sink.tell(record(number)).await;
        }
    });
    between.far.until_so("a checksum that is wrong", |node| {
        let reasons = node.close_reasons();
        reasons.keys().any(|label| label.contains("checksum"))
    });
    assert_eq!(between.proxy.counters().flips, 1);
    let seen = account(&between.far);
    assert_eq!(seen.out_of_order, 0, "{seen:?}");
    assert_closed(&between.near.until("quiet", |now| now.in_flight == 0));
}

#[test]
fn a_slow_and_narrow_way_delivers_everything() {
    const RECORDS: u64 = 300;
    let mut faults = Faults::with_seed(seed::generator().u64(..));
    faults.to_upstream.delay = Duration::from_millis(20);
    faults.to_upstream.jitter = Duration::from_millis(20);
    faults.to_client.delay = Duration::from_millis(20);
    faults.to_upstream.bytes_per_second = NonZeroU64::new(200_000);
    let between = Between::start(faults);
    let path = between.path(SINK);
    let begin = Instant::now();
    between.near.run(|node| async move {
        let sink = sink_at(&node, &path).await;
        for number in 1..=RECORDS {
            sink.tell(record(number)).await.expect("there is room");
        }
    });
    let books = between.near.until("quiet", |now| now.in_flight == 0);
    assert!(begin.elapsed() >= Duration::from_millis(40));
    assert_eq!(books.dead_sent, 0, "{books:?}");
    assert_eq!(account(&between.far).count, RECORDS);
}
