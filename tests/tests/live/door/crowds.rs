//! Crowds at the door: what is too much from one address is turned away, and nobody else notices.

use std::net::TcpStream;
use std::time::Instant;

use bytes::Bytes;
use ringmesh::{NodeId, Ref};
use ringmesh_proto::limits::SLAB_BYTES;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::bystander::Bystander;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::procfs::Holdings;
use ringmesh_tests::live::raw::{OFFER, RawPeer};
use ringmesh_tests::live::serving::Serving;
use ringmesh_tests::live::watched::Watched;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// A node at an address of its own, which asks the echo at `path`: another one than the crowd's.
fn asks_from_elsewhere(path: String) {
    let node = LiveNode::start_with(|builder| builder.bind(([127, 0, 0, 2], 0)));
    node.run(|node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("it is let in");
        let (number, body) = (7, Bytes::new());
        echo.ask(Echo { number, body }).await.expect("an answer");
    });
    let counters = node.until("quiet", |now| now.in_flight == 0);
    assert_closed(&counters);
    assert_eq!(counters.dialled, 1, "it was turned away first");
}

#[test]
fn one_over_the_connections_of_a_source_is_turned_away_and_others_come_in() {
    const MAX: usize = 12;
    let watched = Watched::start_with(|builder| {
        builder.settings(|settings| settings.connections_per_source_max = MAX)
    });
    // One is the bystander's.
    let mut links: Vec<RawPeer> = (1..MAX).map(|_| RawPeer::link(watched.id())).collect();
    for _ in 0..3 {
        watched.closes_one("source_full", || {
            assert!(RawPeer::connect(watched.id()).ending().is_silent());
        });
    }
    let told = watched.node.log().with("turning a connection away");
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told.iter().all(|line| line.contains("peer=127.0.0.1:")));
    asks_from_elsewhere(watched.node.path(ECHO));
    // Room that was given back is there for the next.
    let links_now = watched.node.counters().links;
    links.pop();
    watched
        .node
        .until("the end of a link", move |now| now.links < links_now);
    until_let_in(&watched);
    assert_closed(&watched.node.counters());
    watched.saw_nothing();
}

/// Links until that is allowed: a connection has its room until it is closed.
fn until_let_in(watched: &Watched) {
    let begin = Instant::now();
    loop {
        let mut peer = RawPeer::connect(watched.id());
        let opening = peer.opening();
        if peer.try_send(&opening).is_ok() && peer.frame().is_some() {
            return;
        }
        assert!(begin.elapsed() < WAIT, "nobody is let in any more");
    }
}

#[test]
fn one_over_the_half_open_of_a_source_is_turned_away_and_others_come_in() {
    // On all cores together, and of one source.
    const MAX: usize = 8;
    const SHARE: usize = MAX / 2;
    let node = LiveNode::start_serving_with(|builder| {
        let builder = builder.cores(2);
        builder.settings(|settings| settings.half_open_max = MAX)
    });
    let bystander = Bystander::of(&node.path(ECHO));
    // Half of them have shown a preface and wait on another core.
    let mut waiting: Vec<RawPeer> = (0..SHARE)
        .map(|index| {
            let mut peer = RawPeer::connect(node.id());
            let mut preface = peer.preface();
            preface.wanted_core = Some(ringmesh::CoreId(1));
            let bytes = preface.encode();
            peer.send(&bytes[..if index % 2 == 0 { bytes.len() } else { 1 }]);
            peer
        })
        .collect();
    node.until("all of them", |now| now.accepted > SHARE as u64);
    assert!(RawPeer::connect(node.id()).ending().is_silent());
    let reasons = node.run(|node| async move { node.close_reasons() });
    assert_eq!(reasons.get("overloaded"), Some(&1), "{reasons:?}");
    asks_from_elsewhere(node.path(ECHO));
    // One finishes its handshake, and is none of them any more.
    let mut peer = waiting.remove(1);
    let opening = peer.opening();
    peer.send(&opening[1..]);
    drop(peer);
    drop(waiting);
    let begin = Instant::now();
    // A connection has its room until it is closed.
    loop {
        let mut peer = RawPeer::connect(node.id());
        let opening = peer.opening();
        if peer.try_send(&opening).is_ok() && peer.frame().is_some() {
            break;
        }
        assert!(begin.elapsed() < WAIT, "nobody is let in any more");
    }
    bystander.saw_nothing();
}

#[test]
fn a_storm_of_connects_is_shed_and_leaves_nothing_behind() {
    const CONNECTS: u64 = 500;
    let rate = ["--set", "node.connects_per_second_max=20"];
    let serving = Serving::start(LIVE_NODE, &rate);
    let client = LiveNode::start();
    let bystander = Bystander::of(&serving.path(ECHO));
    let before = serving.inspect(&client, |seen| seen.links == 2);
    let holdings = Holdings::of(serving.process.pid());
    let begin = Instant::now();
    let place = (serving.id.address.host(), serving.id.address.port());
    let storm: Vec<_> = (0..CONNECTS)
        .map(|_| TcpStream::connect(place).expect("the node listens"))
        .collect();
    let all = before.accepted + CONNECTS;
    let during = serving.inspect(&client, move |seen| seen.accepted == all);
    let seconds = begin.elapsed().as_secs() + 1;
    let shed = during.closed_for("storm");
    println!("{shed} of {CONNECTS} were shed within {seconds} s");
    assert!(shed >= CONNECTS - (40 + 20 * seconds), "{shed} were shed");
    assert!(shed < CONNECTS, "nobody came in");
    // From elsewhere one comes in at once, in the middle of it.
    asks_from_elsewhere(serving.path(ECHO));
    drop(storm);
    let begin = Instant::now();
    while Holdings::of(serving.process.pid()).descriptors > holdings.descriptors {
        assert!(begin.elapsed() < WAIT, "descriptors stayed open");
        serving.inspect(&client, |seen| seen.links == 2);
    }
    let told = serving.process.log().with("storm").len();
    assert!((1..=80).contains(&told), "{told} lines about it");
    bystander.saw_nothing();
}

#[test]
fn a_core_that_no_link_is_due_with_is_refused() {
    let watched = Watched::start_with(|builder| {
        let builder = builder.cores(3);
        builder.settings(|settings| settings.links_per_association_max = 1)
    });
    let dial = |sending: u16, wanted: u16| {
        let mut peer = RawPeer::connect(watched.id());
        let mut preface = peer.preface();
        preface.sending_core = ringmesh::CoreId(sending);
        preface.wanted_core = Some(ringmesh::CoreId(wanted));
        let mut opening = preface.encode().to_vec();
        let mut hello = peer.hello();
        hello.offer.cores = 3;
        hello.offer.links_max = OFFER.links_max;
        hello.encode(&mut opening);
        peer.send(&opening);
        peer
    };
    // Every third pair, and whatever ends at a control core: so many links a node may have here.
    dial(1, 2).accepted();
    dial(2, 0).accepted();
    let refused = dial(1, 1).ending().refusal();
    assert_eq!(
        refused,
        ringmesh_proto::frame::body::RefuseReason::Overloaded
    );
    watched.saw_nothing();
}

/// A node that is restarted over and over, known by its address.
fn restarts(to: &NodeId, count: u64) {
    let me = RawPeer::link(to).me.address;
    for _ in 0..count {
        let mut peer = RawPeer::connect(to);
        peer.me.address = me.clone();
        peer.send(&peer.opening());
        peer.accepted();
    }
}

#[test]
fn a_thousand_reconnects_leave_nothing_behind() {
    reconnects_leave_nothing_behind(1000);
}

#[test]
#[ignore = "takes some seconds"]
fn ten_thousand_reconnects_leave_nothing_behind() {
    reconnects_leave_nothing_behind(10_000);
}

fn reconnects_leave_nothing_behind(count: u64) {
    let serving = Serving::start(LIVE_NODE, &[]);
    let client = LiveNode::start();
    let bystander = Bystander::of(&serving.path(ECHO));
    // What one peer needs at most is there after a few.
    restarts(&serving.id, 100);
    let before = serving.inspect(&client, |seen| seen.links == 2);
    let holdings = Holdings::of(serving.process.pid());
    restarts(&serving.id, count);
    let after = serving.inspect(&client, |seen| seen.links == 2);
    let begin = Instant::now();
    while Holdings::of(serving.process.pid()).descriptors > holdings.descriptors {
        assert!(begin.elapsed() < WAIT, "descriptors stayed open");
        serving.inspect(&client, |seen| seen.links == 2);
    }
    let stayed = after.live_bytes.saturating_sub(before.live_bytes);
    println!("{stayed} bytes more are allocated after {count} reconnects");
    // The pool may keep a slab more or less at the moment; a leak would be one per reconnect.
    let slack = 2 * u64::from(SLAB_BYTES);
    assert!(stayed <= slack, "{stayed} bytes more are allocated");
    let resident = Holdings::of(serving.process.pid()).resident_bytes;
    let stayed = resident.saturating_sub(holdings.resident_bytes);
    assert!(stayed <= 4 << 20, "{stayed} bytes more are resident");
    bystander.saw_nothing();
}
