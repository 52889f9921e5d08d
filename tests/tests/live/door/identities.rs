//! Who a peer is: a process start at an address, and nobody else.

use std::time::{Duration, Instant};

use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::PROBE_TIMEOUT;
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
    assert!(first.is_open_for(Duration::from_millis(50)));
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
