//! What counts when a connection ends: everything that came before its end.

use bytes::Bytes;
use ringmesh::message::Message;
use ringmesh_proto::frame::Head;
use ringmesh_proto::frame::body::{Bye, ByeReason, Grant};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::WINDOW_BYTES_MAX;
use ringmesh_tests::live::messages::{ECHO, EchoApi, Inflate, Record};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};
use ringmesh_tests::live::watched::{Watched, account, place_of_sink};

fn record(number: u64) -> Record {
    Record {
        number,
        body: Bytes::from_static(b"before the end"),
    }
}

/// Records from 1 on, behind the definitions they need.
fn records(watched: &Watched, count: u64) -> Vec<u8> {
    let mut bytes = make::definitions::<Record>(watched.sink());
    for number in 1..=count {
        bytes.extend(make::tell(&record(number)));
    }
    bytes
}

fn goodbye() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let reason = ByeReason::Stopping;
    let length = Bye { reason }.encode(&mut bytes);
    bytes.truncate(length);
    bytes
}

#[test]
fn what_a_peer_sent_before_it_closed_is_handled() {
    // Many times what one turn takes, and less than a window.
    const RECORDS: u64 = 8000;
    for (says_bye, resets) in [(false, false), (true, false), (false, true)] {
        let watched = Watched::start();
        let mut peer = RawPeer::link(watched.id());
        let mut bytes = records(&watched, RECORDS);
        if says_bye {
            bytes.extend(goodbye());
        }
        let links = watched.node.counters().links;
        peer.send(&bytes);
        if resets {
            // Grants that nobody reads make the system of the peer reset the connection.
            watched.node.until("grants", |now| now.received > 2000);
            drop(peer);
        } else {
            peer.finish_sending();
        }
        let counters = watched.node.until("the end", move |now| now.links < links);
        let seen = watched.account();
        assert_eq!(seen.out_of_order, 0, "{seen:?}");
        if !resets {
            assert_eq!((seen.count, seen.highest), (RECORDS, RECORDS), "{seen:?}");
            assert_eq!(counters.dropped_unread, 0, "{counters:?}");
        }
        assert_eq!(
            counters.received,
            counters.delivered + counters.dead_received,
            "{counters:?}"
        );
        watched.saw_nothing();
    }
}

#[test]
fn what_is_dropped_behind_a_fault_is_counted() {
    const RECORDS: u64 = 20;
    let watched = Watched::start();
    watched.closes_one("archive", || {
        let mut peer = RawPeer::link(watched.id());
        let mut bytes = make::definitions::<Record>(watched.sink());
        // Too short for a record.
        bytes.extend(make::tell_bytes(&[0xee; 4]));
        for number in 1..=RECORDS {
            bytes.extend(make::tell(&record(number)));
        }
        // And one that is not whole.
        let last = make::tell(&record(RECORDS + 1));
        bytes.extend(&last[..last.len() - 1]);
        peer.send(&bytes);
        peer.ending()
    });
    let counters = watched.node.counters();
    assert_eq!(counters.dropped_unread, RECORDS, "{counters:?}");
    assert_eq!(counters.dead_invalid, 1, "{counters:?}");
    assert_eq!(
        counters.received,
        counters.delivered + counters.dead_received,
        "{counters:?}"
    );
    assert_eq!(watched.account().count, 0);
    watched.saw_nothing();
}

#[test]
fn a_goodbye_is_answered_by_the_last_grant() {
    const RECORDS: u64 = 100;
    let watched = Watched::start();
    let mut peer = RawPeer::link(watched.id());
    let stream = records(&watched, RECORDS);
    let end = stream.len() as u64;
    // All in one piece, so that nothing is granted before the goodbye is there.
    peer.send(&[stream, goodbye()].concat());
    assert_eq!(last_grant(&mut peer), end);
    assert_eq!(watched.account().count, RECORDS);
    watched.saw_nothing();
}

#[test]
fn the_last_grant_follows_a_send_that_is_under_way() {
    // More than the buffers of two sockets hold.
    const ANSWER_BYTES: u32 = 200_000;
    const QUESTIONS: u64 = 160;
    const RECORDS: u64 = 100;
    let node = LiveNode::start_serving_with(|builder| {
        builder.settings(|settings| settings.window_bytes = WINDOW_BYTES_MAX)
    });
    let path = node.path(ECHO);
    let echo = node.run(move |node| async move {
        let echo = node.resolve::<EchoApi>(&path).await;
        make::target_of(&echo.expect("the echo is there"))
    });
    let mut peer = RawPeer::connect(node.id());
    let mut opening = peer.preface().encode().to_vec();
    let mut hello = peer.hello();
    hello.offer.limit = u64::from(WINDOW_BYTES_MAX);
    hello.encode(&mut opening);
    peer.send(&opening);
    peer.accepted();

    let mut stream = make::definitions::<Inflate>(echo);
    stream.extend(make::define_type(2, Record::TYPE));
    stream.extend(make::define_target(2, place_of_sink(&node)));
    for number in 0..QUESTIONS {
        let body_bytes = ANSWER_BYTES;
        stream.extend(make::ask(&Inflate { body_bytes }, number));
    }
    peer.send(&stream);
    let before = node.counters().sent;
    node.until("answers", move |now| {
        now.sent >= QUESTIONS.min(before + QUESTIONS)
    });
    let mut more = Vec::new();
    for number in 1..=RECORDS {
        let head = Head {
            kind: Kind::Tell,
            type_number: 2,
            target_number: 2,
            extension: None,
        };
        more.extend(make::frame(&head, &make::archived(&record(number))));
    }
    let end = (stream.len() + more.len()) as u64;
    more.extend(goodbye());
    peer.send(&more);
    node.until_so("the goodbye", |node| {
        node.close_reasons().contains_key("bye")
    });
    assert_eq!(last_grant(&mut peer), end);
    assert_eq!(account(&node).count, RECORDS);
}

/// Up to where the node said it received, when it has closed the connection.
fn last_grant(peer: &mut RawPeer) -> u64 {
    let frames = peer.ending().frames;
    let mut grants = frames
        .iter()
        .filter(|frame| frame.header.kind == Kind::Grant)
        .map(|frame| frame.body(Grant::parse).received_to);
    grants.next_back().unwrap_or(0)
}
