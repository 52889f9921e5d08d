//! Quarantine: nothing passes between a node and a process start that it has quarantined, both know
//! of it, and the next start at the address is another node.

mod fates;
mod sides;

use bytes::Bytes;
use ringmesh::{Executed, NodeBuilder, NodeId, Ref, SendError};
use ringmesh_tests::live::messages::{Echo, EchoApi, Record, SinkApi};
use ringmesh_tests::live::node::LiveNode;

fn record(number: u64) -> Record {
    let body = Bytes::from(vec![3; number as usize % 900]);
    Record { number, body }
}

fn question() -> Echo {
    let body = Bytes::new();
    Echo { number: 1, body }
}

fn sink_at(from: &LiveNode, path: String) -> Ref<SinkApi> {
    from.run(move |node| async move { node.resolve(&path).await.expect("it is there") })
}

fn echo_at(from: &LiveNode, path: String) -> Ref<EchoApi> {
    from.run(move |node| async move { node.resolve(&path).await.expect("it is there") })
}

/// A serving node that asks about its diallers, as nodes do.
fn asking(change: impl FnOnce(NodeBuilder) -> NodeBuilder) -> LiveNode {
    LiveNode::start_serving_with(|builder| {
        change(builder.settings(|settings| settings.verify_peers = true))
    })
}

/// Has `node` quarantine another.
fn quarantine(node: &LiveNode, other: &NodeId) {
    let other = other.clone();
    node.run(move |node| async move {
        assert_eq!(node.quarantine(&other, "a test"), Ok(true));
        assert_eq!(node.quarantine(&other, "a test"), Ok(false), "no news");
    });
}

/// Waits until a node was told that it is quarantined, so often.
fn until_told(node: &LiveNode, times: u64) {
    node.until("word of a quarantine", move |now| {
        now.quarantines_told == times
    });
}

/// Waits until a send is refused for a quarantine, by the peer or not.
fn until_parted(node: &LiveNode, sink: Ref<SinkApi>, by: bool) {
    node.until_so("a refusal", move |_| match sink.try_tell(record(1)) {
        Err(SendError::Quarantined { message, by_peer }) => {
            assert_eq!((message, by_peer), (record(1), by));
            true
        }
        Ok(()) | Err(SendError::Full(_)) => false,
        Err(error) => panic!("{error:?}"),
    });
    node.run(move |_| async move {
        let waited = sink.tell(record(2)).await.expect_err("it is refused");
        assert_eq!(waited.executed(), Executed::No);
        assert!(matches!(waited, SendError::Quarantined { by_peer, .. } if by_peer == by));
    });
}
