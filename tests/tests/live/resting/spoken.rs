//! Rest frames spoken by hand, where they may come and where they may not.

use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ringmesh::{Address, Engine, Lane, NodeBuilder, NodeEvent, NodeId, PingError, Uid};
use ringmesh_proto::frame::body::{Bye, ByeReason, Grant, Ping, Pong, Refuse, RefuseReason, Rest};
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

/// A process start of the peer at `listener` dials on a lane.
fn dialler(node: &NodeId, listener: &RawListener, (uid, lane): (u64, Lane)) -> RawPeer {
    let mut peer = RawPeer::connect(node);
    peer.me.address = listener.address.clone();
    peer.me.uid = Uid::new(uid).expect("not zero");
    peer.lane = lane;
    let mut hello = peer.hello();
    hello.offer.features = RESTS;
    let mut bytes = peer.preface().encode().to_vec();
    hello.encode(&mut bytes);
    peer.send(&bytes);
    peer.accepted();
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
    let reader = node.run(|node| async move { node.metrics_reader() });
    let stopping = thread::spawn(|| node.stop());
    peer.frame_of(Kind::Bye);
    // Of all that it has taken over nothing. What is behind its word comes again, or never was.
    let (number, body) = (1, Bytes::new());
    peer.send(&[rest(), make::tell(&Record { number, body })].concat());
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
    assert_eq!(Engine::metrics(&reader).total.dropped_unread, 0);
}

/// A link of the ordinary lane whose peer's process start ends while it rests, or right before;
/// the control lane hears of it. The node dials to find out, and learns that nobody is there.
fn found_out(hear: impl FnOnce(&NodeId, &RawListener, RawPeer)) {
    let (node, listener) = (LiveNode::start_with(patient), RawListener::bind());
    let ordinary = dialler(node.id(), &listener, (1, Lane::Ordinary));
    let mut events = node.run(|node| async move { node.events() });
    hear(node.id(), &listener, ordinary);
    let (mut peer, preface) = listener.accept();
    assert_eq!(preface.lane, Lane::Ordinary);
    assert_eq!(preface.expected_uid, Uid::new(1));
    let (reason, text) = (RefuseReason::Incarnation, String::new());
    let mut bytes = Vec::new();
    Refuse { reason, text }.encode(&mut bytes);
    peer.send(&bytes);
    node.run(move |_| async move {
        loop {
            let event = events.next().await.expect("the node runs");
            if let NodeEvent::Lost {
                link, over: true, ..
            } = event
                && link.lane == Lane::Ordinary
            {
                return assert_eq!(Some(link.peer.uid), Uid::new(1));
            }
        }
    });
}

#[test]
fn a_goodbye_on_another_lane_has_a_link_at_rest_find_out() {
    found_out(|node, listener, mut ordinary| {
        ordinary.send(&rest());
        assert_eq!(last_kind(ordinary).0, Kind::Rest);
        let mut control = dialler(node, listener, (1, Lane::Control));
        let mut bye = vec![0; 18];
        let reason = ByeReason::Stopping;
        Bye { reason }.encode(&mut bye);
        control.send(&bye);
        control.ending();
    });
}

#[test]
fn a_rest_that_is_the_last_word_of_a_former_start_is_no_end_of_the_doubt() {
    found_out(|node, listener, mut ordinary| {
        let control = dialler(node, listener, (2, Lane::Control));
        ordinary.frame_of(Kind::Ping);
        ordinary.send(&rest());
        assert_eq!(last_kind(ordinary).0, Kind::Rest);
        drop(control);
    });
}

#[test]
fn a_ping_that_wakes_a_link_keeps_its_place_and_never_reaches_another_peer() {
    let node = LiveNode::start_with(|builder| {
        patient(builder).settings(|settings| settings.peers_max = 1)
    });
    let (listener, other) = (RawListener::bind(), RawListener::bind());
    let ping = |address: &Address| {
        let address = address.clone();
        node.begin(move |node| async move { node.ping(&address).await })
    };
    let pinged = ping(&listener.address);
    let (mut peer, preface) = listener.accept();
    let mut accept = peer.accept_of(&preface);
    accept.offer.features = RESTS;
    let mut bytes = Vec::new();
    accept.encode(&mut bytes);
    peer.send(&bytes);
    let asked = peer.frame_of(Kind::Ping).body(Ping::parse);
    let mut pong = vec![0; 24];
    let nonce = asked.nonce;
    Pong { nonce }.encode(&mut pong);
    peer.send(&pong);
    pinged.finish().expect("an answer");
    peer.send(&rest());
    peer.ending();
    // The next one wakes the link, and waits for an answer to its dial.
    let pinged = ping(&listener.address);
    let (waking, preface) = listener.accept();
    assert_eq!(preface.lane, Lane::Control);
    let refused = ping(&other.address).finish();
    assert!(
        matches!(refused, Err(PingError::TooManyPeers { limit: 1 })),
        "{refused:?}"
    );
    // Who is here takes the place of who is not.
    let stranger = dialler(node.id(), &other, (9, Lane::Control));
    let refused = pinged.finish();
    assert!(
        matches!(refused, Err(PingError::TooManyPeers { limit: 1 })),
        "{refused:?}"
    );
    drop((waking, stranger));
}
