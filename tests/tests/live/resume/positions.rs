//! What a peer may say of where a link stands, spoken by hand.

use bytes::Bytes;
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::kind::Kind;
use ringmesh_tests::live::messages::Record;
use ringmesh_tests::live::raw::{RawPeer, frames as make};
use ringmesh_tests::live::watched::Watched;

fn record(number: u64) -> Vec<u8> {
    let body = Bytes::from_static(&[3; 500]);
    make::tell(&Record { number, body })
}

/// The same peer on another connection, which says how far it received of the node's stream.
fn back(watched: &Watched, former: &RawPeer, received_to: Option<u64>) -> RawPeer {
    let mut peer = RawPeer::connect(watched.id());
    peer.me = former.me.clone();
    peer.link = former.link;
    let mut hello = peer.hello();
    hello.offer.received_to = received_to;
    let mut bytes = peer.preface().encode().to_vec();
    hello.encode(&mut bytes);
    peer.send(&bytes);
    peer
}

#[test]
fn a_frame_that_was_cut_comes_again_whole_and_counts_once() {
    let watched = Watched::start();
    let mut peer = RawPeer::link(watched.id());
    let mut stream = make::definitions::<Record>(watched.sink());
    let mut whole = 0;
    for number in 1..=50 {
        stream.extend(record(number));
        if number == 20 {
            whole = stream.len();
        }
    }
    for cut_at in [whole + 1, whole + 15, whole + 16, whole + 300] {
        let from = match cut_at == whole + 1 {
            true => 0,
            false => whole,
        };
        peer.send(&stream[from..cut_at]);
        peer.finish_sending();
        peer.ending();
        peer = back(&watched, &peer, Some(0));
        let offer = peer.accepted().offer;
        assert_eq!(offer.link, peer.link);
        assert_eq!(offer.received_to, Some(whole as u64), "cut at {cut_at}");
    }
    peer.send(&stream[whole..]);
    peer.granted(stream.len() as u64);
    let seen = watched.account();
    assert_eq!((seen.count, seen.highest, seen.out_of_order), (50, 50, 0));
    assert_eq!(watched.node.counters().resumed, 4);
    watched.saw_nothing();
}

#[test]
fn a_position_that_cannot_be_is_refused_and_the_link_waits_on() {
    let watched = Watched::start();
    let peer = RawPeer::link(watched.id());
    let mut lives = back(&watched, &peer, Some(1));
    assert_eq!(lives.ending().refusal(), RefuseReason::Position);
    let links = watched.node.counters().links;
    peer.finish_sending();
    watched.node.until("the loss", move |now| now.links < links);
    for position in [1, u64::MAX / 2, u64::MAX - 1] {
        let mut liar = back(&watched, &peer, Some(position));
        assert_eq!(liar.ending().refusal(), RefuseReason::Position);
    }
    let mut honest = back(&watched, &peer, Some(0));
    assert_eq!(honest.accepted().offer.received_to, Some(0));
    honest.frame_of(Kind::Grant);
    honest.is_answered();
    watched.saw_nothing();
}

#[test]
fn bytes_that_were_damaged_come_again() {
    let watched = Watched::start();
    let mut peer = RawPeer::link(watched.id());
    let stream = [
        make::definitions::<Record>(watched.sink()),
        record(1),
        record(2),
    ]
    .concat();
    let mut damaged = stream.clone();
    let last = damaged.len() - 100;
    damaged[last] ^= 1;
    watched.closes_one("frame_checksum", || {
        peer.send(&damaged);
        peer.ending();
    });
    let mut peer = back(&watched, &peer, Some(0));
    let received_to = peer.accepted().offer.received_to.expect("it has the link");
    let from = usize::try_from(received_to).expect("it is small");
    assert_eq!(from, stream.len() - record(2).len());
    peer.send(&stream[from..]);
    peer.granted(stream.len() as u64);
    let seen = watched.account();
    assert_eq!((seen.count, seen.highest, seen.out_of_order), (2, 2, 0));
    watched.saw_nothing();
}

#[test]
fn only_the_number_of_a_link_or_the_next_one_ends_its_wait() {
    let watched = Watched::start();
    let mut peer = RawPeer::link(watched.id());
    let links = watched.node.counters().links;
    peer.finish_sending();
    peer.ending();
    watched.node.until("the loss", move |now| now.links < links);
    let number = peer.link;
    for (link, received_to) in [(number ^ 2, Some(0)), (number ^ 2, None)] {
        peer.link = link;
        let mut other = back(&watched, &peer, received_to);
        assert_eq!(other.ending().refusal(), RefuseReason::Superseded);
    }
    assert_eq!(watched.node.log().with("link ended"), Vec::<String>::new());
    peer.link = number.wrapping_add(1);
    let mut next = back(&watched, &peer, None);
    let offer = next.accepted().offer;
    assert_eq!((offer.link, offer.received_to), (peer.link, None));
    assert_eq!(watched.node.log().with("link ended").len(), 1);
    assert_eq!(watched.node.counters().resumed, 0);
    watched.saw_nothing();
}

#[test]
fn links_that_wait_make_room_for_peers_that_come() {
    const PEERS_MAX: usize = 4;
    let watched =
        Watched::start_with(|builder| builder.settings(|settings| settings.peers_max = PEERS_MAX));
    let links = watched.node.counters().links;
    for _ in 0..5 * PEERS_MAX {
        let peer = RawPeer::link(watched.id());
        drop(peer);
        watched
            .node
            .until("the loss", move |now| now.links == links);
    }
    let ended = watched.node.log().with("too many connections");
    // Those of the last few wait.
    assert!(ended.len() > 3 * PEERS_MAX, "{ended:#?}");
    watched.saw_nothing();
}
