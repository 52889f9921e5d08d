//! Assertions on dead letters.

use std::time::Duration;

use bytes::Bytes;
use ringmesh::DeadLetterReason;
use ringmesh::testkit::{DeadLetterProbe, VirtualTime};
use ringmesh_tests::live::messages::{Record, Sink};
use ringmesh_tests::live::node::LiveNode;

use super::panic_of;

const RECORD: Record = Record {
    number: 1,
    body: Bytes::new(),
};

/// Tells an actor that has ended.
fn tell_the_dead(node: &ringmesh::Node) {
    let sink = node.spawn(Sink::default()).expect("room");
    assert!(node.stop(&sink));
    sink.try_tell(RECORD).expect("it is only found out later");
}

#[test]
fn letters_are_expected_one_by_one_and_none_when_none_come() {
    let time = VirtualTime::new();
    let node = LiveNode::start_with(|builder| builder.virtual_time(&time));
    node.run(|node| async move {
        let mut probe = DeadLetterProbe::of(&node).patience(Duration::from_secs(60));
        probe.expect_none(Duration::from_secs(3600)).await;
        tell_the_dead(&node);
        let letter = probe.expect(DeadLetterReason::NoRecipient).await;
        assert_eq!((letter.count, letter.peer), (1, node.id().clone()));
        probe.expect_none(Duration::ZERO).await;
    });
    assert_eq!(time.now(), Duration::from_secs(3600));
}

#[test]
fn a_letter_that_does_not_come_or_is_another_fails_the_test() {
    let none = panic_of(|node| async move {
        let mut probe = DeadLetterProbe::of(&node);
        probe.expect(DeadLetterReason::Expired).await;
    });
    assert_eq!(none, "a letter for `expired` was expected; none came");
    let other = panic_of(|node| async move {
        let mut probe = DeadLetterProbe::of(&node);
        tell_the_dead(&node);
        probe.expect(DeadLetterReason::Expired).await;
    });
    assert!(
        other.starts_with("a letter for `expired` was expected; this came: 1 x"),
        "{other}"
    );
    let some = panic_of(|node| async move {
        let mut probe = DeadLetterProbe::of(&node);
        tell_the_dead(&node);
        probe.expect_none(Duration::from_secs(1)).await;
    });
    assert!(
        some.starts_with("no letter was expected; this came: 1 x"),
        "{some}"
    );
}
