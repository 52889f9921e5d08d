//! A peer that speaks the wire by hand, and sends what is not for the core it is linked to.

use std::time::Duration;

use bytes::Bytes;
use ringmesh::{CoreId, Ref};
use ringmesh_proto::frame::body::{ErrorCode, Grant};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::{ASKS_OUTSTANDING_MAX, WINDOW_BYTES};
use ringmesh_proto::link::Target;
use ringmesh_tests::live::bystander::Bystander;
use ringmesh_tests::live::cores::{settled, total};
use ringmesh_tests::live::messages::{
    ECHO, Echo, EchoApi, Echoer, Inflate, Recall, Record, Sink, SinkApi,
};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};

use super::block;

/// Two cores: an echo and a sink on the other one, and another echo.
struct Server {
    node: LiveNode,
    echo: Ref<EchoApi>,
    sink: Ref<SinkApi>,
}

fn server() -> Server {
    let node = LiveNode::start_with(|builder| builder.cores(2));
    let (echo, sink) = node.run(|node| async move {
        node.spawn_named(ECHO, Echoer::default())
            .expect("a free name");
        let there = CoreId(1);
        let echo = node.spawn_on(there, Echoer::default).await.expect("room");
        (
            echo,
            node.spawn_on(there, Sink::default).await.expect("room"),
        )
    });
    Server { node, echo, sink }
}

fn record(number: u64) -> Vec<u8> {
    make::tell(&Record {
        number,
        body: Bytes::from_static(b"by hand"),
    })
}

#[test]
fn what_a_peer_said_before_its_connection_ended_is_handled_on_the_other_core() {
    const RECORDS: u64 = 3000;
    let Server { node, sink, .. } = server();
    let mut peer = RawPeer::link(node.id());
    peer.send(&make::definitions::<Record>(make::target_of(&sink)));
    (1..=RECORDS).for_each(|number| peer.send(&record(number)));
    // Its last frame is behind it when the other side hears of the end.
    peer.finish_sending();
    peer.ending();
    let account = node.run(move |node| async move {
        loop {
            let account = sink.ask(Recall).await.expect("it runs").deserialize();
            if account.count == RECORDS {
                return account;
            }
            node.sleep(Duration::from_millis(1)).await;
        }
    });
    assert_eq!((account.highest, account.out_of_order), (RECORDS, 0));
    let books = settled(&[&node]);
    assert_eq!(total(&books, |book| book.hopped), RECORDS);
    assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
}

#[test]
fn an_archive_that_is_refused_on_the_other_core_ends_the_link_it_came_on() {
    let Server { node, sink, .. } = server();
    let bystander = Bystander::of(&node.path(ECHO));
    let mut peer = RawPeer::link(node.id());
    peer.send(&make::definitions::<Record>(make::target_of(&sink)));
    peer.send(&record(1));
    peer.send(&make::tell_bytes(&[0xFF; 24]));
    peer.send(&record(2));
    peer.ending();
    let reasons = node.run(|node| async move { node.close_reasons() });
    assert_eq!(reasons.get("archive"), Some(&1), "{reasons:?}");
    let account =
        node.run(move |_| async move { sink.ask(Recall).await.expect("it runs").deserialize() });
    assert_eq!((account.count, account.highest), (1, 1));
    let books = settled(&[&node]);
    assert_eq!(total(&books, |book| book.dead_invalid), 1, "{books:#?}");
    assert_eq!(total(&books, |book| book.closed_for_fault), 1, "{books:#?}");
    bystander.saw_nothing();
}

#[test]
fn recipients_on_cores_that_there_are_not_get_nothing() {
    let Server { node, echo, .. } = server();
    let Target { slot, generation } = make::target_of(&echo);
    let cores = [2_u64, 255, 256, 0xFFFF];
    let mut peer = RawPeer::link(node.id());
    let mut bytes = make::define_type(make::TYPE, <Echo as ringmesh::message::Message>::TYPE);
    for (number, core) in (1_u64..).zip(cores) {
        let generation = core << 48 | generation & 0xFFFF_FFFF;
        // The first is given anew each time.
        bytes.extend(make::define_target(
            make::TARGET,
            Target { slot, generation },
        ));
        let body = Bytes::new();
        bytes.extend(make::ask(&Echo { number, body }, number));
    }
    // One that was there on a core that is, and one that never was.
    for (number, generation) in (10_u64..).zip([generation + 1000, u64::MAX >> 16]) {
        bytes.extend(make::define_target(
            make::TARGET,
            Target { slot, generation },
        ));
        let body = Bytes::new();
        bytes.extend(make::ask(&Echo { number, body }, number));
    }
    peer.send(&bytes);
    for _ in 0..6 {
        let frame = peer.frame_of(Kind::Error);
        let code = frame.extension.expect("it has one").code;
        assert_eq!(code, ErrorCode::NotRunning.to_wire());
    }
    drop(peer);
    let books = settled(&[&node]);
    assert_eq!(
        total(&books, |book| book.dead_no_recipient),
        6,
        "{books:#?}"
    );
    // One of them made it to the other core.
    assert_eq!(total(&books, |book| book.hopped), 2, "{books:#?}");
}

#[test]
fn answers_keep_their_numbers_and_a_cancel_finds_one_that_waits_for_credit() {
    let Server { node, echo, .. } = server();
    let mut peer = RawPeer::link(node.id());
    peer.send(&make::definitions::<Inflate>(make::target_of(&echo)));
    // Four of them use up the peer's credit.
    let body_bytes = WINDOW_BYTES / 4 - 4096;
    for correlation in 1..=6 {
        peer.send(&make::ask(&Inflate { body_bytes }, correlation));
    }
    node.until("all answers to be back", |now| now.hopped == 12);
    // One that has its answer, one that waits, the same again, and one that nobody asked.
    let cancels = [1, 5, 5, 99].map(make::cancel);
    peer.send(&cancels.concat());
    peer.send(&make::ask(&Inflate { body_bytes: 1 }, 7));
    node.until("the cancel", |now| now.replies_withdrawn == 1);

    let answers = peer.answers(7);
    let cancelled = ErrorCode::Cancelled.to_wire();
    let expected = (1..=7).map(|correlation| match correlation {
        5 => (5, Kind::Error, cancelled),
        other => (other, Kind::Reply, 0),
    });
    assert!(answers.iter().copied().eq(expected), "{answers:?}");
    let books = settled(&[&node]);
    assert_eq!(total(&books, |book| book.hopped), 14, "{books:#?}");
    assert_eq!(total(&books, |book| book.dead_sent), 0, "{books:#?}");
}

#[test]
fn a_number_that_is_given_anew_means_its_new_recipient_on_the_other_core_too() {
    const TARGETS: u32 = 200;
    let Server { node, echo, .. } = server();
    let Target { slot, generation } = make::target_of(&echo);
    let mut peer = RawPeer::link(node.id());
    let mut bytes = make::define_type(make::TYPE, <Echo as ringmesh::message::Message>::TYPE);
    for number in 1..=TARGETS {
        // All on the other core, and but the last none that there is.
        let generation = generation + u64::from(TARGETS - number);
        let target = Target { slot, generation };
        bytes.extend(make::define_target(make::TARGET, target));
        let body = Bytes::new();
        bytes.extend(make::ask(
            &Echo {
                number: number.into(),
                body,
            },
            number.into(),
        ));
    }
    peer.send(&bytes);
    let mut errors = 0;
    let answered = loop {
        let frame = peer.frame().expect("it is open");
        match frame.header.kind {
            Kind::Error => errors += 1,
            Kind::Reply => break frame.extension.expect("it has one").correlation,
            _ => {}
        }
    };
    assert_eq!((errors, answered), (TARGETS - 1, u64::from(TARGETS)));
    drop(peer);
    settled(&[&node]);
}

#[test]
fn a_peer_that_asks_the_other_core_more_than_it_may_loses_its_link_alone() {
    let Server { node, echo, .. } = server();
    let bystander = Bystander::of(&node.path(ECHO));
    let mut peer = RawPeer::link(node.id());
    peer.send(&make::definitions::<Inflate>(make::target_of(&echo)));
    // It takes no answer over, so some use up its credit, and then one too many waits.
    let body_bytes = 4096;
    let with_credit = u64::from(WINDOW_BYTES / body_bytes);
    let questions = ASKS_OUTSTANDING_MAX as u64 + with_credit + 1;
    let asks: Vec<u8> = (0..questions)
        .flat_map(|number| make::ask(&Inflate { body_bytes }, number))
        .collect();
    peer.send(&asks);
    let ended = |node: &ringmesh::Node| node.close_reasons().contains_key("too_many_asks");
    node.until_so("the end of the link", ended);
    peer.ending();
    let books = settled(&[&node]);
    assert_eq!(total(&books, |book| book.closed_for_fault), 1, "{books:#?}");
    assert!(
        total(&books, |book| book.replies_overloaded) > 0,
        "{books:#?}"
    );
    bystander.saw_nothing();
}

#[test]
fn a_fault_on_the_other_core_takes_what_waits_before_its_tunnel_with_it() {
    let Server { node, sink, .. } = server();
    let mut peer = RawPeer::link(node.id());
    let mut bytes = make::definitions::<Record>(make::target_of(&sink));
    bytes.extend(make::tell_bytes(&[0xFF; 24]));
    let blocked = block(&node, CoreId(1));
    // As much as is granted while the other core takes nothing over.
    let body = Bytes::from(vec![1; 8000]);
    let record = make::tell(&Record { number: 1, body });
    let (mut sent, mut limit) = (0, u64::from(WINDOW_BYTES));
    loop {
        while sent + (bytes.len() + record.len()) as u64 <= limit {
            bytes.extend(&record);
        }
        if bytes.is_empty() {
            break;
        }
        peer.send(&bytes);
        sent += bytes.len() as u64;
        bytes.clear();
        while {
            let grant = peer.frame_of(Kind::Grant).body(Grant::parse);
            limit = grant.limit;
            grant.received_to < sent
        } {}
    }
    let books = node.until("no room", |now| now.waiting > 0);
    assert!(books.hopped > 0 && books.received == books.hopped + books.waiting);
    blocked.wait();
    peer.ending();
    let reasons = node.run(|node| async move { node.close_reasons() });
    assert_eq!(reasons.get("archive"), Some(&1), "{reasons:?}");
    let now = settled(&[&node]);
    assert_eq!(total(&now, |book| book.dead_invalid), 1, "{now:#?}");
    let given_up = total(&now, |book| book.dead_no_recipient);
    assert_eq!(given_up, books.waiting, "{now:#?}");
    assert_eq!(total(&now, |book| book.delivered), 0, "{now:#?}");
}
