//! Links at rest: idle ones give their connections up, the next send brings them back, and nothing
//! is lost by it, whatever crosses.

mod ends;
mod spoken;
mod traffic;

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{LinkState, NodeBuilder, Ref};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::{books_of, total};
use ringmesh_tests::live::messages::{Account, Recall, Record, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;

/// How long the links of these tests may be idle.
const IDLE: Duration = Duration::from_millis(60);

/// A node whose links rest soon.
fn restful(builder: NodeBuilder) -> NodeBuilder {
    builder.settings(|settings| settings.idle_timeout = IDLE)
}

fn record(number: u64) -> Record {
    let body = Bytes::from(vec![9; number as usize % 700]);
    Record { number, body }
}

fn sink_of(from: &LiveNode, to: &LiveNode) -> Ref<SinkApi> {
    let path = to.path(SINK);
    from.run(move |node| async move { node.resolve(&path).await.expect("it is there") })
}

/// Waits until no core of the nodes has a connection, and each of their links rests.
fn at_rest(nodes: &[&LiveNode]) {
    let begin = Instant::now();
    for node in nodes {
        while total(&books_of(node), |book| book.links) > 0 {
            assert!(begin.elapsed() < WAIT, "{:#?}", books_of(node));
            node.run(|node| async move { node.sleep(Duration::from_millis(1)).await });
        }
        let links = node.run(|node| async move { node.links().await });
        for link in &links {
            assert_eq!((link.state, link.transport), (LinkState::Resting, None));
            assert_eq!(link.in_flight_bytes, 0, "{link:?}");
        }
        assert!(!links.is_empty(), "the links stay");
    }
}

async fn recall(sink: &Ref<SinkApi>) -> Account {
    sink.ask(Recall).await.expect("it runs").deserialize()
}
