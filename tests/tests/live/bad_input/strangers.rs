//! Messages that nobody can take: of unknown types, for unknown recipients.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::message::Message;
use ringmesh::{AskError, Executed, Ref, ResolveError};
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::frame::{Extension, Head};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::link::Target;
use ringmesh_proto::message::MessageType;
use ringmesh_tests::live::messages::{
    ECHO, Echo, EchoApi, Echoer, Record, Retire, SINK, SinkApi, foreign,
};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};
use ringmesh_tests::live::watched::Watched;

use super::record;

/// A deadline that no answer here waits for.
const DEADLINE: Duration = Duration::from_secs(20);

/// An answer that asks no handler is there within this time, on however busy a machine.
const AT_ONCE: Duration = Duration::from_secs(2);

#[test]
fn a_wrong_type_fingerprint_is_refused_and_the_link_lives() {
    let watched = Watched::start();
    let target = watched.sink();
    let strangers = [
        (
            ErrorCode::SchemaMismatch,
            MessageType {
                fingerprint: Record::TYPE.fingerprint ^ 1,
                ..Record::TYPE
            },
        ),
        (
            ErrorCode::SchemaMismatch,
            MessageType {
                version: Record::TYPE.version + 1,
                ..Record::TYPE
            },
        ),
        (ErrorCode::UnknownMessage, Echo::TYPE),
    ];
    let mut peer = RawPeer::link(watched.id());
    peer.send(&make::define_target(make::TARGET, target));
    for (number, (code, message)) in (1..).zip(strangers) {
        peer.send(&make::define_type(number, message));
        peer.send(&typed(Kind::Tell, number));
        peer.send(&typed(Kind::Ask, number));
        let answer = peer.frame_of(Kind::Error);
        let extension = answer.extension.expect("an error has one");
        assert_eq!(extension.correlation, u64::from(number));
        assert_eq!(ErrorCode::from_wire(extension.code), code, "{message:?}");
    }
    // The right type, on the same link.
    peer.send(&make::define_type(4, Record::TYPE));
    peer.send(&typed(Kind::Tell, 4));
    watched
        .node
        .until("the good record", |now| now.dead_received == 6);
    peer.finish_sending();
    peer.ending();
    let counters = watched.node.counters();
    assert_eq!(counters.dead_schema_mismatch, 4, "{counters:?}");
    assert_eq!(counters.dead_unknown_message, 2, "{counters:?}");
    assert_eq!(counters.closed_for_fault, 0, "{counters:?}");
    assert_eq!(watched.account().count, 1);
    watched.saw_nothing();
}

/// A record in a frame of this kind, with a type number.
fn typed(kind: Kind, number: u16) -> Vec<u8> {
    let extension = Extension {
        correlation: u64::from(number),
        remaining_us: 10_000_000,
        code: 0,
    };
    let head = Head {
        kind,
        type_number: number,
        target_number: make::TARGET,
        extension: kind.has_extension().then_some(extension),
    };
    make::frame(&head, &make::archived(&record(1)))
}

#[test]
fn a_program_of_another_version_gets_a_schema_mismatch_at_once() {
    let watched = Watched::start();
    let client = LiveNode::start();
    let (sink, echo) = (watched.node.path(SINK), watched.node.path(ECHO));
    client.run(|node| async move {
        let sink: Ref<foreign::SinkApi> = node.resolve(&sink).await.expect("it is there");
        let echo: Ref<foreign::EchoApi> = node.resolve(&echo).await.expect("it is there");
        let begin = Instant::now();
        let strange = foreign::Echo {
            number: 1,
            body: Bytes::new(),
        };
        let error = echo
            .ask(strange)
            .timeout(DEADLINE)
            .await
            .expect_err("another layout");
        assert_eq!(
            (error.executed(), error),
            (Executed::No, AskError::SchemaMismatch)
        );
        let error = echo
            .ask(foreign::Unheard)
            .timeout(DEADLINE)
            .await
            .expect_err("unknown");
        assert_eq!(
            (error.executed(), error),
            (Executed::No, AskError::UnknownMessage)
        );
        assert!(begin.elapsed() < AT_ONCE, "after {:?}", begin.elapsed());
        let strange = foreign::Record {
            number: 1,
            body: Bytes::new(),
        };
        sink.tell(strange).await.expect("it can be sent");
        sink.tell(foreign::Unheard).await.expect("it can be sent");
    });
    let dead = watched
        .node
        .until("four dead letters", |now| now.dead_received == 4);
    assert_eq!(
        (dead.dead_schema_mismatch, dead.dead_unknown_message),
        (2, 2),
        "{dead:?}"
    );
    watched.saw_nothing();
}

#[test]
fn an_unknown_recipient_is_a_dead_letter_and_a_question_to_it_fails_at_once() {
    let watched = Watched::start();
    let client = LiveNode::start();
    watched.node.run(|node| async move {
        node.spawn_named("brief", Echoer::default())
            .expect("a free name");
    });
    let path = watched.node.path("brief");
    client.run(|node| async move {
        let brief: Ref<EchoApi> = node.resolve(&path).await.expect("it is there");
        brief.tell(Retire).await.expect("it is there");
        let begin = Instant::now();
        let question = Echo {
            number: 1,
            body: Bytes::new(),
        };
        let error = brief
            .ask(question)
            .timeout(DEADLINE)
            .await
            .expect_err("it is gone");
        assert_eq!(
            (error.executed(), error),
            (Executed::No, AskError::NotRunning)
        );
        assert!(begin.elapsed() < AT_ONCE, "after {:?}", begin.elapsed());
        brief.tell(Retire).await.expect("it can be sent");
    });
    let dead = watched
        .node
        .until("two dead letters", |now| now.dead_received == 2);
    assert_eq!(dead.dead_no_recipient, 2, "{dead:?}");
    watched.saw_nothing();
}

#[test]
fn a_recipient_that_never_was_is_a_dead_letter() {
    let watched = Watched::start();
    let nobody = [
        Target {
            slot: 4_000_000_000,
            generation: 1,
        },
        Target {
            slot: 999,
            generation: 0,
        },
        Target {
            slot: watched.sink().slot,
            generation: u64::MAX,
        },
    ];
    for (count, target) in (1..).zip(nobody) {
        let mut peer = super::link_for::<Record>(&watched, target);
        peer.send(&[make::tell(&record(1)), make::ask(&record(2), 5)].concat());
        let extension = peer
            .frame_of(Kind::Error)
            .extension
            .expect("an error has one");
        assert_eq!(ErrorCode::from_wire(extension.code), ErrorCode::NotRunning);
        assert_eq!(
            watched.node.counters().dead_no_recipient,
            2 * count,
            "{target:?}"
        );
    }
    assert_eq!(watched.account().count, 0);
    watched.saw_nothing();
}

#[test]
fn a_name_or_protocol_that_is_not_there_is_said_at_once() {
    let watched = Watched::start();
    let client = LiveNode::start_with(|builder| builder.ask_timeout(DEADLINE));
    let (sink, nobody) = (watched.node.path(SINK), watched.node.path("nobody"));
    client.run(|node| async move {
        let begin = Instant::now();
        match node.resolve::<SinkApi>(&nobody).await {
            Err(ResolveError::NotFound { path }) => assert_eq!(path, nobody),
            other => panic!("nobody was found: {other:?}"),
        }
        match node.resolve::<EchoApi>(&sink).await {
            Err(ResolveError::WrongProtocol { wanted, .. }) => assert_eq!(wanted, "tests.echo"),
            other => panic!("a sink speaks echo: {other:?}"),
        }
        match node
            .resolve::<EchoApi>("ringmesh://tests@127.0.0.1/user/echo")
            .await
        {
            Err(ResolveError::Path(_)) => {}
            other => panic!("a path without a port: {other:?}"),
        }
        assert!(begin.elapsed() < AT_ONCE, "after {:?}", begin.elapsed());
    });
    watched.saw_nothing();
}
