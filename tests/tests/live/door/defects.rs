//! What is known to have gone wrong at the doors of other systems, and does not here. Those about a
//! length without a bound are in `bad_input`, those about a uid that two processes have in
//! [`hellos`](super::hellos).

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use ringmesh::{Ref, ResolveError, SendError};
use ringmesh_proto::frame::body::{Grant, Refuse, RefuseReason};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::FRAME_BYTES_CEILING;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Record, Retire};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawListener, RawPeer, frames as make};
use ringmesh_tests::live::watched::{Watched, account};
use ringmesh_tests::live::{SYSTEM, WAIT};

/// Elsewhere a process ends when a stream fails more than five times in five seconds.
#[test]
fn a_peer_that_fails_over_and_over_never_ends_the_node() {
    const FAILURES: usize = 40;
    let watched = Watched::start();
    let mut address = None;
    for _ in 0..FAILURES {
        let mut peer = RawPeer::connect(watched.id());
        let me = address.get_or_insert_with(|| peer.me.address.clone());
        peer.me.address = me.clone();
        peer.send(&peer.opening());
        peer.accepted();
        // Not a frame.
        peer.send(&[0xff; 64]);
        peer.ending();
    }
    let counters = watched.node.counters();
    assert_eq!(counters.closed_for_fault, FAILURES as u64);
    assert_closed(&counters);
    watched.saw_nothing();
}

/// Elsewhere one connection with a bad length ends the stage that all connections share.
#[test]
fn a_length_without_bound_costs_its_connection_and_no_other() {
    let watched = Watched::start();
    let mut other = RawPeer::link(watched.id());
    for length in [FRAME_BYTES_CEILING + 1, i32::MAX as u32, u32::MAX] {
        let mut peer = RawPeer::link(watched.id());
        peer.send(&make::header(length, Kind::Tell as u8, 0));
        assert!(peer.ending().is_silent(), "{length}");
    }
    other.send(&make::definitions::<Record>(watched.sink()));
    let body = Bytes::new();
    other.send(&make::tell(&Record { number: 1, body }));
    watched.node.until("the record", |now| now.received >= 1);
    assert_eq!(account(&watched.node).count, 1);
    watched.saw_nothing();
}

/// Elsewhere an acknowledgement counted by its sender's address, whichever start of it spoke.
#[test]
fn an_acknowledgement_of_a_former_process_start_counts_for_nothing() {
    const SENT: u64 = 5;
    let node = LiveNode::start();
    let listener = RawListener::bind();
    let path = format!("{}/user/{ECHO}", listener.address);
    let looking = node.begin(move |node| async move {
        let found: Result<Ref<EchoApi>, _> = node.resolve(&path).await;
        found.is_err()
    });
    let (mut old, preface) = listener.accept();
    let mut accept = Vec::new();
    old.accept_of(&preface).encode(&mut accept);
    old.send(&accept);
    node.until("the question", |now| now.in_flight == 1);
    // Its next start takes its place: the old one, which says nothing, is over.
    let mut new = RawPeer::connect(node.id());
    new.me.address = listener.address.clone();
    new.send(&new.opening());
    new.accepted();
    let before = node.until("the end of the old link", |now| now.dead_maybe == 1);
    let mut grant = vec![0; 32];
    let (received_to, limit) = (1 << 10, 1 << 20);
    let length = Grant { received_to, limit }.encode(&mut grant);
    // The old connection is closed, or takes it without effect.
    for _ in 0..SENT {
        let _ = old.try_send(&grant[..length]);
    }
    let after = node.counters();
    assert_eq!(after.acknowledged, before.acknowledged);
    assert_closed(&after);
    drop((looking, old, new, listener));
}

/// Elsewhere a process that was restarted is taken for the old one by refs of before.
#[test]
fn a_ref_to_a_former_process_start_reaches_nobody() {
    let node = LiveNode::start();
    let mut serving = Some(LiveNode::start_serving());
    let at = serving
        .as_ref()
        .map(|it| it.address().clone())
        .expect("it runs");
    let path = format!("{at}/user/{ECHO}");
    let find = |path: String| {
        node.run(move |node| async move {
            let found: Ref<EchoApi> = node.resolve(&path).await.expect("it is there");
            found
        })
    };
    let old = find(path.clone());
    drop(serving.take());
    let _again = LiveNode::start_serving_with(|builder| builder.bind(([127, 0, 0, 1], at.port())));
    find(path);
    node.run(move |_| async move {
        match old.try_tell(Retire) {
            Err(SendError::NotRunning(_)) => {}
            other => panic!("another process start: {other:?}"),
        }
    });
}

/// Elsewhere this has long been known to fail: nodes that come and go over and over.
#[test]
fn nodes_that_come_and_go_leave_a_node_as_it_was() {
    const ROUNDS: u64 = 5;
    const NODES: u64 = 4;
    let stays = LiveNode::start_serving_with(|builder| {
        builder.settings(|settings| settings.peers_max = NODES as usize)
    });
    let path = stays.path(ECHO);
    for round in 0..ROUNDS {
        let nodes: Vec<LiveNode> = (0..NODES).map(|_| LiveNode::start_serving()).collect();
        for node in &nodes {
            let path = path.clone();
            node.run(move |node| async move {
                let echo: Ref<EchoApi> = node.resolve(&path).await.expect("it is let in");
                let (number, body) = (round, Bytes::new());
                echo.ask(Echo { number, body }).await.expect("an answer");
            });
            let there = node.path(ECHO);
            stays.run(move |node| async move {
                let echo: Ref<EchoApi> = node.resolve(&there).await.expect("it is there");
                let (number, body) = (round, Bytes::new());
                echo.ask(Echo { number, body }).await.expect("an answer");
            });
        }
        nodes.into_iter().for_each(LiveNode::stop);
        let books = stays.until("the goodbyes", |now| (now.links, now.in_flight) == (0, 0));
        assert_closed(&books);
        assert_eq!((books.dead_sent, books.dead_received), (0, 0), "{books:#?}");
    }
    assert_eq!(stays.log().warnings(), Vec::<String>::new());
}

/// Elsewhere each handshake that fails leaves something behind.
#[test]
fn dials_that_fail_over_and_over_leave_nothing_behind() {
    const DIALS: u8 = 100;
    const PEERS_MAX: usize = 8;
    let listener = TcpListener::bind(("0.0.0.0", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let refusing = thread::spawn(move || {
        let mut refusal = Vec::new();
        let (reason, text) = (RefuseReason::Cluster, String::new());
        Refuse { reason, text }.encode(&mut refusal);
        // The test connects last, and says nothing. Until then some are dialled again.
        while let Ok((mut stream, _)) = listener.accept()
            && stream.read_exact(&mut [0; 64]).is_ok()
        {
            // It may have given the dial up by then.
            let _ = stream.write_all(&refusal);
        }
    });
    let node =
        LiveNode::start_with(|builder| builder.settings(|settings| settings.peers_max = PEERS_MAX));
    let mut events = node.run(|node| async move { node.events() });
    node.run(move |node| async move {
        for host in 1..=DIALS {
            let path = format!("ringmesh://{SYSTEM}@127.0.1.{host}:{port}/user/{ECHO}");
            let found = node.resolve::<EchoApi>(&path).await;
            let error = found.expect_err("it is refused");
            assert!(matches!(error, ResolveError::Refused { .. }), "{error:?}");
        }
    });
    let books = node.counters();
    assert_eq!((books.links, books.in_flight), (0, 0), "{books:#?}");
    assert!(books.dialled >= DIALS.into(), "{books:#?}");
    assert_closed(&books);
    let forgotten = std::iter::from_fn(|| events.try_next())
        .filter(|event| event.label() == "forgotten")
        .count();
    assert_eq!(forgotten, usize::from(DIALS) - PEERS_MAX);
    // In hexadecimal: where the other end is, and that it is open or was closed there alone.
    let is_open = |line: &str| {
        let mut fields = line.split_whitespace().skip(2);
        let there = fields
            .next()
            .is_some_and(|it| it.ends_with(&format!(":{port:04X}")));
        there && matches!(fields.next(), Some("01" | "08"))
    };
    let begin = Instant::now();
    while fs::read_to_string("/proc/net/tcp")
        .expect("procfs")
        .lines()
        .any(is_open)
    {
        assert!(begin.elapsed() < WAIT, "connections stayed open");
        thread::yield_now();
    }
    drop(TcpStream::connect(("127.0.0.1", port)));
    refusing.join().expect("nobody else is silent");
}

/// Elsewhere the peer of a node that was stopped in order is not let in again for a while.
#[test]
fn a_node_that_stopped_in_order_is_met_again_at_once() {
    let node = LiveNode::start();
    let first = LiveNode::start_serving();
    let at = first.address().clone();
    let path = format!("{at}/user/{ECHO}");
    for serving in [Some(first), None] {
        let serving = serving.unwrap_or_else(|| {
            LiveNode::start_serving_with(|builder| builder.bind(([127, 0, 0, 1], at.port())))
        });
        let path = path.clone();
        node.run(move |node| async move {
            let echo: Ref<EchoApi> = node.resolve(&path).await.expect("it is there");
            echo.try_tell(Retire).expect("it runs");
        });
        serving.stop();
    }
    assert_eq!(node.log().warnings(), Vec::<String>::new());
    let mut former = RawPeer::connect(node.id());
    former.me.address = at;
    former.send(&former.opening());
    former.accepted();
    let mut again = RawPeer::connect(node.id());
    again.me = former.me.clone();
    // It has ended its link too, and begins the next.
    again.link = former.link.wrapping_add(1);
    drop(former);
    node.until("the end of its link", |now| now.links == 0);
    again.send(&again.opening());
    assert_ne!(
        again.frame().map(|frame| frame.header.kind),
        Some(Kind::Refuse),
        "{:?}: a link that broke bans nobody",
        RefuseReason::Former
    );
}
