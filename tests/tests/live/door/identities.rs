//! Who a peer is: a process start at an address, and nobody else.

use std::thread;
use std::time::{Duration, Instant};

use ringmesh::{CoreId, Lane, NodeEvent, Uid};
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::PROBE_TIMEOUT;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawListener, RawPeer};

use super::{claims, vouch, watched};

#[test]
fn a_restart_is_recognised_within_two_seconds_though_the_old_link_says_nothing() {
    let watched = watched();
    let listener = RawListener::bind();
    let mut old = claims(&watched.node, &listener.address);
    vouch(&listener, &old);
    old.accepted();
    // Its host is gone: nothing ends the old connection. The next start dials.
    let begin = Instant::now();
    let mut new = claims(&watched.node, &listener.address);
    vouch(&listener, &new);
    new.accepted();
    let after = begin.elapsed();
    println!("recognised after {after:?}");
    assert!(after >= PROBE_TIMEOUT, "the old one has its chance");
    // By the timers alone: a probe, and two round trips for the inquiry.
    assert!(after < Duration::from_secs(2), "after {after:?}");
    assert_eq!(watched.node.log().with("a peer was restarted").len(), 1);
    let frames = old.ending().frames;
    let pings = frames
        .iter()
        .filter(|frame| frame.header.kind == Kind::Ping);
    assert_eq!(pings.count(), 1, "{frames:?}");
    watched.saw_nothing();
}

/// A process start of the peer at `listener` dials a core of the node on a lane.
fn dial(node: &LiveNode, listener: &RawListener, uid: u64, (lane, core): (Lane, u16)) -> RawPeer {
    let mut dialler = RawPeer::connect(node.id());
    dialler.me.address = listener.address.clone();
    dialler.me.uid = Uid::new(uid).expect("not zero");
    dialler.lane = lane;
    let mut preface = dialler.preface();
    preface.wanted_core = Some(CoreId(core));
    let mut opening = preface.encode().to_vec();
    dialler.hello().encode(&mut opening);
    dialler.send(&opening);
    dialler
}

/// The links of a peer's former start, none of which this node ever sends on, and which nothing
/// ends: its host is gone. The next start dials for one of them. Says how long it took until all
/// of the former were over.
fn replaced_after(verify_peers: bool, first: usize) -> Duration {
    const LINKS: [(Lane, u16); 4] = [
        (Lane::Ordinary, 0),
        (Lane::Control, 0),
        (Lane::Large, 0),
        (Lane::Ordinary, 1),
    ];
    let node = LiveNode::start_with(|builder| {
        builder
            .cores(2)
            .settings(|settings| settings.verify_peers = verify_peers)
    });
    let listener = RawListener::bind();
    let former: Vec<RawPeer> = (0..)
        .zip(LINKS)
        .map(|(index, at)| {
            let mut peer = dial(&node, &listener, 1, at);
            if verify_peers && index == 0 {
                vouch(&listener, &peer);
            }
            peer.accepted();
            peer
        })
        .collect();
    let mut events = node.run(|node| async move { node.events() });
    let begin = Instant::now();
    let mut next = dial(&node, &listener, 2, LINKS[first]);
    if verify_peers {
        vouch(&listener, &next);
    }
    next.accepted();
    let after = node.run(move |_| async move {
        let mut over = Vec::new();
        let mut restarted = false;
        while over.len() < LINKS.len() || !restarted {
            match events.next().await.expect("the node runs") {
                NodeEvent::Lost {
                    link, over: true, ..
                } => {
                    assert_eq!(link.peer.uid.as_u64(), 1, "the next one stays");
                    over.push((link.lane, link.core.0));
                }
                NodeEvent::Restarted { old, new, .. } => {
                    assert_eq!((old.as_u64(), new.as_u64()), (1, 2));
                    restarted = true;
                }
                _ => {}
            }
        }
        let after = begin.elapsed();
        assert!(LINKS.iter().all(|at| over.contains(at)), "{over:?}");
        after
    });
    drop(former);
    after
}

#[test]
fn a_restart_is_recognised_on_all_lanes_and_cores_by_a_node_that_only_receives() {
    let runs: Vec<_> = [false, true]
        .into_iter()
        .flat_map(|verify_peers| (0..4).map(move |first| (verify_peers, first)))
        .map(|(verify_peers, first)| {
            let run = thread::spawn(move || replaced_after(verify_peers, first));
            ((verify_peers, first), run)
        })
        .collect();
    for (which, run) in runs {
        let after = run.join().expect("all of the former links end");
        println!("{which:?}: after {after:?}");
        assert!(after >= PROBE_TIMEOUT, "the old ones have their chance");
        assert!(after < Duration::from_secs(2), "{which:?}: after {after:?}");
    }
}

#[test]
fn two_processes_of_one_uid_at_two_addresses_are_not_taken_for_each_other() {
    let watched = watched();
    let (one, other) = (RawListener::bind(), RawListener::bind());
    let mut first = claims(&watched.node, &one.address);
    vouch(&one, &first);
    first.accepted();
    // It dials with the uid of the first.
    let mut copy = RawPeer::connect(watched.id());
    copy.me.address = other.address.clone();
    copy.me.uid = first.me.uid;
    copy.send(&copy.opening());
    assert_eq!(copy.ending().refusal(), RefuseReason::Collision);
    // It is dialled, and answers with the uid of the first.
    let looking = other.sought_by(&watched.node);
    let (mut copy, preface) = other.accept();
    copy.me.uid = first.me.uid;
    let mut accept = Vec::new();
    copy.accept_of(&preface).encode(&mut accept);
    copy.send(&accept);
    assert!(copy.ending().is_silent());
    drop((looking, other));
    let reasons = watched.close_reasons();
    assert!(reasons["refuse_collision"] >= 2, "{reasons:?}");
    // The first one noticed nothing.
    first.is_answered();
    watched.saw_nothing();
}

#[test]
fn the_own_uid_is_refused_wherever_it_comes_from() {
    let watched = watched();
    let listener = RawListener::bind();
    let mut mirror = RawPeer::connect(watched.id());
    mirror.me.address = listener.address.clone();
    mirror.me.uid = watched.id().uid;
    mirror.send(&mirror.opening());
    assert_eq!(mirror.ending().refusal(), RefuseReason::Itself);
    // And as the answer to a dial.
    let looking = listener.sought_by(&watched.node);
    let (mut mirror, preface) = listener.accept();
    mirror.me.uid = watched.id().uid;
    let mut accept = Vec::new();
    mirror.accept_of(&preface).encode(&mut accept);
    mirror.send(&accept);
    assert!(mirror.ending().is_silent());
    drop((looking, listener));
    assert!(watched.close_reasons()["answer"] >= 1);
    watched.saw_nothing();
}
