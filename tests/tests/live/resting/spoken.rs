//! Rest frames spoken by hand, where they may come and where they may not.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ringmesh::{NodeBuilder, NodeId};
use ringmesh_proto::frame::body::{Grant, Rest};
use ringmesh_proto::handshake::RESTS;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::WINDOW_BYTES;
use ringmesh_tests::live::messages::{Echo, Record};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawListener, RawPeer, frames as make};
use ringmesh_tests::live::serving::Serving;
use ringmesh_tests::live::watched::Watched;

use super::{IDLE, restful};

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

fn rest() -> Vec<u8> {
    let mut bytes = vec![0; 16];
    Rest.encode(&mut bytes);
    bytes
}

/// A node that lets its links rest when it is asked, and hardly by itself.
fn patient(builder: NodeBuilder) -> NodeBuilder {
    builder.settings(|settings| settings.idle_timeout = Duration::from_secs(100))
}

/// A peer whose links may rest; on the link of a former connection if there is one.
fn opening(node: &NodeId, former: Option<(&RawPeer, u64)>) -> RawPeer {
    let mut peer = RawPeer::connect(node);
    let mut received_to = None;
    if let Some((former, position)) = former {
        peer.me = former.me.clone();
        peer.link = former.link;
        received_to = Some(position);
    }
    let mut hello = peer.hello();
    (hello.offer.features, hello.offer.received_to) = (RESTS, received_to);
    let mut bytes = peer.preface().encode().to_vec();
    hello.encode(&mut bytes);
    peer.send(&bytes);
    assert_eq!(peer.accepted().offer.features & RESTS, RESTS);
    peer
}

fn last_kind(mut peer: RawPeer) -> (Kind, RawPeer) {
    let frames = peer.ending().frames;
    let last = frames.last().expect("it says so");
    (last.header.kind, peer)
}

#[test]
fn a_node_rests_by_itself_behind_a_word_and_goes_on_where_it_stood() {
    let watched = Watched::start_with(restful);
    let mut peer = opening(watched.id(), None);
    let mut stream = make::definitions::<Record>(watched.sink());
    let body = Bytes::new();
    let told = |number| {
        make::tell(&Record {
            number,
            body: body.clone(),
        })
    };
    stream.extend(told(1));
    peer.send(&stream);
    peer.granted(stream.len() as u64);
    let (kind, peer) = last_kind(peer);
    assert_eq!(kind, Kind::Rest);
    // The numbers live with the link.
    let mut peer = opening(watched.id(), Some((&peer, 0)));
    peer.send(&told(2));
    peer.granted((stream.len() + told(2).len()) as u64);
    assert_eq!(watched.account().count, 2);
    watched.saw_nothing();
}

#[test]
fn a_node_that_is_asked_rests_and_a_second_word_does_not_count() {
    let watched = Watched::start_with(patient);
    let mut peer = opening(watched.id(), None);
    watched.closes_one_quietly("rested", || {
        peer.send(&[rest(), rest()].concat());
        let (kind, _) = last_kind(peer);
        assert_eq!(kind, Kind::Rest);
    });
    assert_eq!(watched.node.counters().links_rested, 1);
    watched.saw_nothing();
}

#[test]
fn a_node_with_something_for_its_peer_does_not_rest_for_it() {
    let watched = Watched::start_with(patient);
    let mut peer = opening(watched.id(), None);
    let mut stream = make::definitions::<Echo>(watched.echo());
    let body = Bytes::new();
    stream.extend(make::ask(&Echo { number: 1, body }, 1));
    peer.send(&stream);
    let mut received = 0;
    loop {
        let frame = peer.frame().expect("the link lives");
        if frame.header.kind.is_positioned() {
            received += frame.header.wire_bytes() as u64;
        }
        if frame.header.kind == Kind::Reply {
            break;
        }
    }
    // The answer is not acknowledged.
    peer.send(&rest());
    while peer.kind_within(IDLE) == Some(Kind::Grant) {}
    assert_eq!(watched.node.counters().links_rested, 0);
    let mut bytes = vec![0; 32];
    let limit = u64::from(WINDOW_BYTES);
    Grant {
        received_to: received,
        limit,
    }
    .encode(&mut bytes);
    bytes.extend(rest());
    peer.send(&bytes);
    assert_eq!(last_kind(peer).0, Kind::Rest);
    watched.saw_nothing();
}

#[test]
fn a_peer_that_cannot_rest_is_left_alone_and_may_not_say_so() {
    let watched = Watched::start_with(restful);
    let mut peer = RawPeer::link(watched.id());
    while peer.kind_within(IDLE * 5).is_some() {}
    watched.closes_one("unexpected_frame", || {
        peer.send(&rest());
        assert!(peer.ending().is_silent());
    });
    // A node that never rests is such a peer to others.
    let never = Watched::start_with(|builder| {
        builder.settings(|settings| settings.idle_timeout = Duration::ZERO)
    });
    let mut peer = RawPeer::connect(never.id());
    let mut hello = peer.hello();
    hello.offer.features = RESTS;
    let mut bytes = peer.preface().encode().to_vec();
    hello.encode(&mut bytes);
    peer.send(&bytes);
    assert_eq!(peer.accepted().offer.features & RESTS, 0);
    never.closes_one("unexpected_frame", || {
        peer.send(&rest());
        peer.ending();
    });
    watched.saw_nothing();
    never.saw_nothing();
}

#[test]
fn a_rest_before_the_hello_closes_its_connection_alone() {
    let watched = Watched::start_with(restful);
    let mut peer = RawPeer::connect(watched.id());
    watched.closes_one("unexpected_frame", || {
        let mut bytes = peer.preface().encode().to_vec();
        bytes.extend(rest());
        peer.send(&bytes);
        peer.ending();
    });
    watched.saw_nothing();
}

/// The most that a link may hold while it rests, with the tables that grow for it. It holds about
/// 4 KiB, as the document on tuning says.
const BYTES_PER_LINK_MAX: u64 = 6 << 10;

#[test]
fn links_at_rest_hold_little() {
    const LINKS: u64 = 256;
    let serving = Serving::start(LIVE_NODE, &[]);
    let client = LiveNode::start();
    let rested = |count: u64| {
        for _ in 0..count {
            let mut peer = opening(&serving.id, None);
            peer.send(&rest());
            assert_eq!(last_kind(peer).0, Kind::Rest);
        }
        // One is the client's.
        serving.inspect(&client, |seen| seen.links == 1).live_bytes
    };
    // What the first ones need, all need together.
    let before = rested(64);
    let each = rested(LINKS).saturating_sub(before) / LINKS;
    println!("{each} bytes for each link at rest");
    assert!(each <= BYTES_PER_LINK_MAX, "{each} bytes for each link");
}

#[test]
fn a_goodbye_that_crosses_a_rest_comes_again_behind_what_was_not_taken_over() {
    let listener = RawListener::bind();
    let node = LiveNode::start_with(|builder| {
        patient(builder).settings(|settings| settings.flush_timeout = Duration::from_secs(20))
    });
    let seeking = listener.sought_by(&node);
    let (mut peer, preface) = listener.accept();
    let mut accept = peer.accept_of(&preface);
    accept.offer.features = RESTS;
    let mut bytes = Vec::new();
    accept.encode(&mut bytes);
    peer.send(&bytes);
    let asked = peer.frame_of(Kind::Ask);
    drop(seeking);
    let stopping = thread::spawn(|| node.stop());
    peer.frame_of(Kind::Bye);
    // Of all that it has taken over nothing.
    peer.send(&rest());
    drop(peer);
    let (mut peer, preface) = listener.accept();
    assert_eq!(preface.expected_uid, Some(accept.uid));
    accept.nonce = preface.nonce;
    accept.offer.received_to = Some(0);
    bytes.clear();
    accept.encode(&mut bytes);
    peer.send(&bytes);
    assert_eq!(peer.frame_of(Kind::Ask), asked);
    peer.frame_of(Kind::Bye);
    drop(peer);
    stopping.join().expect("the node ends in order");
}
