//! A node that is asked to stop stops in order: what it said last arrives, and nobody is surprised.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{AskError, Executed, Ref, ResolveError, SendError};
use ringmesh_proto::frame::body::{Bye, ByeReason};
use ringmesh_proto::kind::Kind;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::{assert_closed, assert_closed_at_the_end};
use ringmesh_tests::live::bystander::Bystander;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Record, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::process::Process;
use ringmesh_tests::live::raw::{RawPeer, frames as make};
use ringmesh_tests::live::serving::Serving;
use ringmesh_tests::live::watched::{Watched, account};

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// What an orderly stop may take: the flush timeout of the settings, and a busy machine.
const STOP_WITHIN: Duration = Duration::from_secs(3);

#[test]
fn sigterm_delivers_the_last_messages_and_exits_with_0() {
    const RECORDS: u64 = 5000;
    let watched = Watched::start();
    let to = watched.node.path(SINK);
    let mut leaving = Process::start(LIVE_NODE, &["farewell", &to, &RECORDS.to_string()]);
    assert_eq!(leaving.line(), "ready");
    let links = watched.node.counters().links;
    leaving.terminate();
    let status = leaving.wait(STOP_WITHIN);
    assert_eq!(status.code(), Some(0), "{status}: {:?}", leaving.log());
    // All of them had arrived before the process was gone.
    let seen = watched.account();
    assert_eq!(
        (seen.count, seen.out_of_order, seen.highest),
        (RECORDS, 0, RECORDS)
    );
    let counters = watched
        .node
        .until("the goodbye", move |now| now.links < links);
    assert_eq!(counters.closed_for_fault, 0, "{counters:?}");
    let reasons = watched.close_reasons();
    assert_eq!(reasons.keys().collect::<Vec<_>>(), [&"bye"], "{reasons:?}");
    assert_eq!(watched.node.log().warnings(), Vec::<String>::new());
    let lines = leaving.log().untimed();
    assert!(lines.iter().all(|line| line.contains("INFO")), "{lines:#?}");
    watched.saw_nothing();
}

#[test]
fn one_signal_stops_every_node_of_the_process() {
    let mut pair = Process::start(LIVE_NODE, &["pair"]);
    assert_eq!(pair.line(), "ready");
    pair.terminate();
    assert_eq!(pair.wait(STOP_WITHIN).code(), Some(0), "{:?}", pair.log());
}

#[test]
fn sigint_is_as_good_as_sigterm() {
    let serving = Serving::start(LIVE_NODE, &[]);
    let mut process = serving.process;
    process.interrupt();
    assert_eq!(process.wait(STOP_WITHIN).code(), Some(0));
}

#[test]
fn questions_to_a_stopped_peer_fail_at_once_and_its_port_is_free() {
    let serving = Serving::start(LIVE_NODE, &[]);
    let client = LiveNode::start_serving();
    let bystander = Bystander::of(&client.path(ECHO));
    let path = serving.path(ECHO);
    let asking = client.begin(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let mut answered = 0;
        loop {
            let begin = Instant::now();
            match echo.ask(question(answered)).timeout(WAIT / 2).await {
                Ok(answer) => assert_eq!(answer.number, answered),
                Err(error) => return (answered, error, begin.elapsed(), echo),
            }
            answered += 1;
        }
    });
    client.until("questions", |now| now.acknowledged > 100);
    let mut process = serving.process;
    process.terminate();
    let status = process.wait(STOP_WITHIN);
    assert_eq!(status.code(), Some(0), "{status}: {:?}", process.log());
    // Free for anyone as soon as the process is gone, though connections to it were open.
    let port = serving.id.address.port();
    let _taken = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");

    let (answered, error, after, echo) = asking.finish();
    assert!(answered > 0, "no question was answered before the stop");
    let is_fitting = matches!(
        error,
        AskError::Stopping | AskError::NotRunning | AskError::Unreachable { .. }
    );
    assert!(is_fitting, "{error}");
    assert_ne!(error.executed(), Executed::Yes, "{error}");
    assert!(after < STOP_WITHIN, "the question failed after {after:?}");
    client.run(move |_| async move {
        match echo.try_tell(ringmesh_tests::live::messages::Retire) {
            Err(SendError::Unreachable(_) | SendError::NotRunning(_)) => {}
            other => panic!("a peer that is gone: {other:?}"),
        }
    });
    let counters = client.until("quiet", |now| now.in_flight == 0);
    assert_eq!(counters.closed_for_fault, 0, "{counters:?}");
    assert_eq!(client.log().warnings(), Vec::<String>::new());
    bystander.saw_nothing();
}

#[test]
fn a_peer_hears_goodbye_behind_the_last_bytes() {
    let node = LiveNode::start_serving();
    let path = node.path(ECHO);
    let target = node.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        make::target_of(&echo)
    });
    let mut peer = RawPeer::link(node.id());
    let mut bytes = make::definitions::<Echo>(target);
    bytes.extend(make::ask(&question(7), 70));
    peer.send(&bytes);
    assert_eq!(
        peer.frame_of(Kind::Reply)
            .extension
            .expect("a reply has one")
            .correlation,
        70
    );
    let stopping = std::thread::spawn(move || node.stop());
    let goodbye = peer.frame_of(Kind::Bye).body(Bye::parse);
    assert_eq!(goodbye.reason, ByeReason::Stopping);
    // Nothing follows a goodbye, and a peer that does not close is not waited for any longer.
    let ending = peer.ending();
    assert!(ending.is_silent(), "{ending:?}");
    assert!(ending.after < STOP_WITHIN, "{ending:?}");
    stopping.join().expect("the node stops in order");
}

#[test]
fn what_a_stopping_node_handled_is_what_its_peer_knows_of() {
    const ROUNDS: u64 = 25;
    let client = LiveNode::start();
    for round in 0..ROUNDS {
        let mut reader = None;
        let server = LiveNode::start_serving_with(|builder| {
            reader = Some(builder.metrics_reader());
            builder
        });
        let before = client.counters();
        let (sink, echo) = (server.path(SINK), server.path(ECHO));
        let telling = client.begin(move |node| async move {
            let sink: Ref<SinkApi> = node.resolve(&sink).await.expect("the sink is there");
            let mut number = 0;
            while sink.tell(record(number)).await.is_ok() {
                number += 1;
            }
        });
        let asking = client.begin(move |node| async move {
            // The load may be there before it is found.
            let Ok(echo) = node.resolve::<EchoApi>(&echo).await else {
                return;
            };
            while echo.ask(question(1)).await.is_ok() {}
        });
        // Elsewhere in the load in each round.
        let load = before.acknowledged + 500 + 97 * round;
        client.until("a load", move |now| now.acknowledged > load);
        server.stop();
        telling.finish();
        asking.finish();
        let now = client.until("quiet", |now| (now.in_flight, now.links) == (0, 0));
        assert_closed(&now);
        let server = reader.expect("it was started").metrics();
        assert_closed_at_the_end(&server);
        let server = server.total;
        assert_eq!(
            now.acknowledged - before.acknowledged,
            server.delivered + server.dead_received,
            "round {round}: {now:#?} {server:#?}"
        );
        // Its answers were taken over, and it heard so.
        assert_eq!(
            server.acknowledged,
            now.received - before.received,
            "round {round}: {now:#?} {server:#?}"
        );
        // What it did not get to was given up, and nothing else.
        let given_up = now.dead_maybe - before.dead_maybe;
        assert!(server.dropped_unread <= given_up, "round {round}");
    }
}

#[test]
fn a_node_stops_in_time_although_a_peer_does_not_read() {
    let node = LiveNode::start();
    let listener = ringmesh_tests::live::raw::RawListener::bind();
    let path = format!("{}/user/{SINK}", listener.address);
    let looking = node.begin(move |node| async move { node.resolve::<SinkApi>(&path).await });
    let (mut deaf, preface) = listener.accept();
    let mut accept = Vec::new();
    deaf.accept_of(&preface).encode(&mut accept);
    deaf.send(&accept);
    // The look-up's question is on its way, and nobody will ever take it over.
    node.until("the question", |now| now.in_flight == 1);
    let begin = Instant::now();
    node.stop();
    assert!(
        begin.elapsed() < STOP_WITHIN,
        "it took {:?}",
        begin.elapsed()
    );
    drop(looking);
}

#[test]
fn a_stopping_node_refuses_new_work() {
    let node = LiveNode::start_serving();
    let other = LiveNode::start_serving();
    let path = other.path(SINK);
    node.run(move |node| async move {
        let sink: Ref<SinkApi> = node.resolve(&path).await.expect("the sink is there");
        node.shutdown();
        node.until_shutdown().await;
        // Until the main future ends everything goes on: it may say its last words.
        sink.tell(record(1)).await.expect("it runs still");
        let found = node.resolve::<SinkApi>(&path).await;
        assert!(
            found.is_ok() || matches!(found, Err(ResolveError::Stopping)),
            "{found:?}"
        );
    });
    node.stop();
    assert_eq!(account(&other).count, 1);
    assert_eq!(other.counters().closed_for_fault, 0);
}

fn record(number: u64) -> Record {
    Record {
        number,
        body: Bytes::from_static(b"last words"),
    }
}

fn question(number: u64) -> Echo {
    Echo {
        number,
        body: Bytes::from_static(b"last words"),
    }
}
