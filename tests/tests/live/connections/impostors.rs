//! Hellos that name the address of a peer whose link is up: what lives stays, what is gone makes
//! way.

use std::time::{Duration, Instant};

use ringmesh::{Address, Ref};
use ringmesh_proto::frame::body::{Ping, Pong, RefuseReason};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::PROBE_TIMEOUT;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::RawPeer;
use ringmesh_tests::live::watched::Watched;

/// What a busy machine may add to a bound.
const LATENESS: Duration = Duration::from_millis(900);

/// A dialler that says it is a new start of the node at `address`.
fn claims(watched: &LiveNode, address: &Address) -> RawPeer {
    let mut dialler = RawPeer::connect(watched.id());
    dialler.me.address = address.clone();
    dialler.send(&dialler.opening());
    dialler
}

#[test]
fn a_forged_hello_cannot_replace_a_live_incarnation() {
    let watched = Watched::start();
    let victim = LiveNode::start();
    let path = watched.node.path(ECHO);
    let echo: Ref<EchoApi> = victim.run(move |node| async move {
        let echo = node.resolve(&path).await.expect("the echo is there");
        ask(&echo, 1).await;
        echo
    });
    let dialled = victim.counters().dialled;
    for number in 2..5 {
        let begin = Instant::now();
        let mut forged = claims(&watched.node, victim.address());
        assert_eq!(forged.ending().refusal(), RefuseReason::Superseded);
        let after = begin.elapsed();
        assert!(
            after < PROBE_TIMEOUT,
            "a link that lives was left in doubt for {after:?}"
        );
        victim.run(move |_| async move { ask(&echo, number).await });
    }
    let counters = victim.counters();
    assert_eq!(counters.dialled, dialled, "it had to dial again");
    assert_eq!(counters.dead_sent, 0, "{counters:?}");
    assert_eq!(
        watched.node.log().with("restarted"),
        Vec::<String>::new(),
        "nobody is over"
    );
    watched.saw_nothing();
}

async fn ask(echo: &Ref<EchoApi>, number: u64) {
    let body = bytes::Bytes::new();
    let answer = echo.ask(Echo { number, body }).await;
    assert_eq!(answer.expect("the link lives").number, number);
}

#[test]
fn any_pong_in_time_keeps_the_link_and_one_newcomer_waits() {
    let watched = Watched::start();
    let mut live = RawPeer::link(watched.id());
    let mut forged = claims(&watched.node, &live.me.address);
    let ping = live.frame_of(Kind::Ping).body(Ping::parse);
    let mut second = claims(&watched.node, &live.me.address);
    assert_eq!(second.ending().refusal(), RefuseReason::Superseded);
    let mut copy = RawPeer::connect(watched.id());
    copy.me = live.me.clone();
    copy.send(&copy.opening());
    assert_eq!(copy.ending().refusal(), RefuseReason::Superseded);
    assert!(
        forged.is_open_for(Duration::from_millis(20)),
        "it waits for the verdict"
    );
    let mut pong = vec![0; 64];
    let length = Pong { nonce: ping.nonce }.encode(&mut pong);
    live.send(&pong[..length]);
    assert_eq!(forged.ending().refusal(), RefuseReason::Superseded);
    assert!(
        live.is_open_for(PROBE_TIMEOUT + LATENESS),
        "the link was closed"
    );
    watched.saw_nothing();
}

#[test]
fn a_link_that_is_silent_makes_way_for_the_next_start() {
    let watched = Watched::start();
    let mut old = RawPeer::link(watched.id());
    let begin = Instant::now();
    let mut new = claims(&watched.node, &old.me.address);
    new.accepted();
    let after = begin.elapsed();
    assert!(after >= PROBE_TIMEOUT, "it was let in after {after:?}");
    assert!(
        after < PROBE_TIMEOUT + LATENESS,
        "it was let in after {after:?}"
    );
    // The old one is closed, and over.
    let frames = old.ending().frames;
    assert!(
        frames.iter().all(|frame| frame.header.kind == Kind::Ping),
        "{frames:?}"
    );
    let mut late = RawPeer::connect(watched.id());
    late.me = old.me.clone();
    late.send(&late.opening());
    assert_eq!(late.ending().refusal(), RefuseReason::Former);
    watched.saw_nothing();
}

#[test]
fn a_link_that_ends_makes_way_at_once() {
    let watched = Watched::start();
    let address = Address::new(ringmesh_tests::live::SYSTEM, "127.0.0.1", 1).expect("an address");
    let mut before = None;
    for _ in 0..5 {
        let begin = Instant::now();
        // The new start may be faster than the news of the old one's end.
        let mut new = claims(&watched.node, &address);
        drop(before.take());
        new.accepted();
        let after = begin.elapsed();
        assert!(after < PROBE_TIMEOUT, "it was let in after {after:?}");
        before = Some(new);
    }
    watched.saw_nothing();
}
