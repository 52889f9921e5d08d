//! Actors found by a pattern of their paths, here and on other nodes.

use std::time::Duration;

use bytes::Bytes;
use ringmesh::{CoreId, FanOut, Node, Ref, ResolveError, SelectError};
use ringmesh_proto::address::ParseAddressError;
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::frame::{Extension, Head};
use ringmesh_proto::kind::Kind;
use ringmesh_tests::live::cores::settled;
use ringmesh_tests::live::messages::{EchoApi, Echoer, Recall, Record, Sink, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawListener, frames as make};

use super::actors::gate::{Gate, Keeper, KeeperApi, pass};

fn record(number: u64) -> Record {
    let body = Bytes::new();
    Record { number, body }
}

async fn spawn_sink(node: &Node, core: u16, name: &str) -> Ref<SinkApi> {
    let spawned = node.spawn_named_on(CoreId(core), name, Sink::default);
    spawned.await.expect("a free name")
}

/// Records that a sink has seen.
async fn count(sink: Ref<SinkApi>) -> u64 {
    let account = sink.ask(Recall).await.expect("an answer");
    account.count.to_native()
}

#[test]
fn those_of_all_cores_are_found_here_and_from_elsewhere_in_order() {
    let node = LiveNode::of_cores(2);
    let other = LiveNode::start();
    let address = node.address().to_string();
    let here = node.run(|node| async move {
        let mut sinks = Vec::new();
        for (core, name) in [(1, "sink-1"), (0, "sink-2"), (1, "sink-3")] {
            sinks.push(spawn_sink(&node, core, name).await);
        }
        spawn_sink(&node, 0, "think").await;
        node.spawn_named("sink-4", Echoer::default()).expect("free");
        node.spawn(Sink::default()).expect("room");
        let select = |path: &str| node.select::<SinkApi>(path).expect("a pattern");
        assert_eq!(select("/user/sink-*").resolve().await.expect("here"), sinks);
        let two = select("/user/*k-2")
            .resolve_one()
            .await
            .expect("it is there");
        assert_eq!(two, sinks[1]);
        let none = select("/user/sink-*/**/*").resolve().await.expect("here");
        assert_eq!(none, []);
        let deep = select("/user/**").resolve().await.expect("here");
        assert_eq!(deep.len(), 4, "whoever speaks it and has a name");
        let echo = node.select::<EchoApi>("/user/sink-?").expect("a pattern");
        assert_eq!(echo.resolve().await.expect("here").len(), 1);
        assert!(node.stop(&sinks[1]));
        let left = select("/user/sink-*").resolve().await.expect("here");
        assert_eq!(left, [sinks[0], sinks[2]]);
        left.iter().map(Ref::id).collect::<Vec<_>>()
    });
    other.run(move |other| async move {
        let path = format!("{address}/user/sink-?");
        let sinks = other.select::<SinkApi>(&path).expect("a pattern");
        let found = sinks.resolve().await.expect("it answers");
        assert_eq!(found.iter().map(Ref::id).collect::<Vec<_>>(), here);
        for sink in &found {
            sink.tell(record(1)).await.expect("room");
            assert_eq!(count(*sink).await, 1);
        }
        let nobody = other.select::<SinkApi>(&format!("{address}/user/x/*"));
        let nobody = nobody.expect("a pattern").resolve_one().await;
        assert!(
            matches!(nobody, Err(SelectError::Nobody { .. })),
            "{nobody:?}"
        );
        let many = sinks.resolve_one().await;
        let limit = 1;
        assert!(matches!(many, Err(SelectError::TooMany { limit: it, .. }) if it == limit));
    });
    let books = settled(&[&node, &other]);
    assert_eq!(
        (books[0].selections, books[0].selected),
        (9, 3 + 1 + 4 + 1 + 2 + 2 + 2)
    );
}

#[test]
fn one_over_the_limit_is_an_error_and_nobody_is_told() {
    const COUNT: usize = 130;

    let (node, other) = (LiveNode::start(), LiveNode::start());
    node.run(|node| async move {
        for number in 0..COUNT {
            spawn_sink(&node, 0, &format!("sink-{number:03}")).await;
        }
    });
    let path = format!("{}/user/sink-*", node.address());
    other.run(move |other| async move {
        let sinks = || other.select::<SinkApi>(&path).expect("a pattern");
        let one_less = sinks().at_most(COUNT - 1);
        let refused = one_less.tell(|| record(1)).await;
        let limit = COUNT - 1;
        assert!(
            matches!(refused, Err(SelectError::TooMany { limit: it, .. }) if it == limit),
            "{refused:?}"
        );
        let told = sinks().at_most(COUNT).tell(|| record(1)).await;
        let told = told.expect("it answers");
        assert_eq!((told.matched, told.sent, told.refused), (COUNT, COUNT, 0));
        for sink in sinks().resolve().await.expect("it answers") {
            assert_eq!(count(sink).await, 1);
        }
    });
    settled(&[&node, &other]);
}

#[test]
fn what_finds_no_room_is_refused_and_holds_up_nobody_else() {
    let set = |settings: &mut ringmesh::Settings| settings.mailbox_messages_max = 8;
    let node = LiveNode::start_with(|builder| builder.settings(set));
    let (open, shut) = (Gate::default(), Gate::default());
    let (opened, its) = (open.clone(), shut.clone());
    node.run(move |node| async move {
        opened.open();
        let full = node.spawn_named("a", Keeper::new(its)).expect("free");
        node.spawn_named("b", Keeper::new(opened)).expect("free");
        while full.try_tell(pass(0)).is_ok() {
            node.sleep(Duration::from_micros(100)).await;
        }
        let keepers = node.select::<KeeperApi>("/user/?").expect("a pattern");
        let soon = keepers.timeout(Duration::from_millis(500));
        let told = soon.tell(|| pass(1)).await.expect("it answers");
        let FanOut {
            matched,
            sent,
            refused,
            ..
        } = told;
        assert_eq!((matched, sent, refused), (2, 1, 1));
        node.stop(&full);
    });
    settled(&[&node]);
    assert_eq!((open.passed(), shut.passed()), (1, 0));
}

#[test]
fn a_new_start_of_the_process_is_found_by_the_same_selection() {
    let other = LiveNode::start();
    let node = LiveNode::start_serving();
    let port = node.address().port();
    let path = format!("{}/user/s*", node.address());
    let (find, id) = (path.clone(), node.id().uid);
    let first = other.run(move |other| async move {
        let sink = other.select::<SinkApi>(&find).expect("a pattern");
        sink.resolve_one().await.expect("it is there").id()
    });
    assert_eq!(first.uid, id);
    node.stop();
    let again = LiveNode::start_serving_with(|builder| {
        builder.settings(move |settings| settings.bind.set_port(port))
    });
    let second = other.run(move |other| async move {
        let sink = other.select::<SinkApi>(&path).expect("a pattern");
        sink.resolve_one().await.expect("it is there").id()
    });
    assert_eq!(second.uid, again.id().uid);
}

#[test]
fn what_is_no_pattern_and_who_does_not_answer_are_told_apart() {
    let node = LiveNode::start();
    let listener = RawListener::bind();
    let at = listener.address;
    node.run(move |node| async move {
        let error = |path: &str| node.select::<SinkApi>(path).map(drop).unwrap_err();
        for (path, wanted) in [
            ("user/a", ParseAddressError::Path),
            ("/user/", ParseAddressError::ActorName),
            ("/user/a//b", ParseAddressError::ActorName),
            ("nowhere/user/*", ParseAddressError::Scheme),
        ] {
            let refused = error(path);
            assert!(
                matches!(refused, SelectError::Path(it) if it == wanted),
                "{path}"
            );
        }
        let silent = node
            .select::<SinkApi>(&format!("{at}/user/*"))
            .expect("one");
        let error = silent.timeout(Duration::from_millis(20)).resolve().await;
        let is_timeout = matches!(error, Err(SelectError::Node(ResolveError::Timeout { .. })));
        assert!(is_timeout, "{error:?}");
    });
}

#[test]
fn a_node_that_knows_no_selections_is_too_old() {
    let node = LiveNode::start();
    let listener = RawListener::bind();
    let path = format!("{}/user/*", listener.address);
    let asking = node.begin(move |node| async move {
        let selection = node.select::<SinkApi>(&path).expect("a pattern");
        selection.resolve().await.map(drop)
    });
    let (mut peer, preface) = listener.accept();
    let mut accept = Vec::new();
    peer.accept_of(&preface).encode(&mut accept);
    peer.send(&accept);
    let question = peer.frame_of(Kind::Ask);
    let extension = question.extension.map(|asked| Extension {
        code: ErrorCode::UnknownMessage.to_wire(),
        ..asked
    });
    let head = Head {
        kind: Kind::Error,
        type_number: 0,
        target_number: 0,
        extension,
    };
    peer.send(&make::frame(&head, &[]));
    let answer = asking.finish();
    assert!(
        matches!(answer, Err(SelectError::TooOld { .. })),
        "{answer:?}"
    );
}
