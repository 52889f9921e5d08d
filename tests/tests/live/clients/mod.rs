//! Clients: what they reach, and what the node does about those that want more.

mod hostile;
mod reach;
mod replies;

use bytes::Bytes;
use ringmesh::{NodeBuilder, NodeId, NodeRole, Protocol, Ref};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::preface::{Preface, Role};
use ringmesh_tests::live::messages::{Echo, EchoApi, Echoer, Record, Sink};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::RawPeer;

/// Makes a client of a node.
fn as_client(builder: NodeBuilder) -> NodeBuilder {
    builder.settings(|settings| settings.role = NodeRole::Client)
}

fn client() -> LiveNode {
    LiveNode::start_with(as_client)
}

/// A peer made by hand that was let in as a client.
pub(crate) fn by_hand(to: &NodeId, lane: Lane) -> RawPeer {
    let mut peer = RawPeer::connect(to);
    peer.lane = lane;
    open(&mut peer, Role::Client);
    peer.accepted();
    peer
}

/// Says who the peer is, and what it dials as.
fn open(peer: &mut RawPeer, role: Role) {
    let preface = Preface {
        role,
        ..peer.preface()
    };
    let mut bytes = preface.encode().to_vec();
    peer.hello().encode(&mut bytes);
    peer.send(&bytes);
}

/// An echo and a sink on each core of a node, `echo0`, `sink0` and so on, of which the echoes are
/// registered for clients.
fn serving(cores: usize, change: impl FnOnce(NodeBuilder) -> NodeBuilder) -> LiveNode {
    let server = LiveNode::start_with(|builder| change(builder.cores(cores)));
    server.run(|node| async move {
        for core in node.cores() {
            let name = format!("echo{}", core.0);
            let echo = node.spawn_named_on(core, &name, Echoer::default).await;
            let echo = echo.expect("a free name");
            assert_eq!(node.register_for_clients(&echo), Ok(true));
            assert_eq!(node.register_for_clients(&echo), Ok(false), "it is there");
            let name = format!("sink{}", core.0);
            let sink = node.spawn_named_on(core, &name, Sink::default).await;
            sink.expect("a free name");
        }
    });
    server
}

/// A ref to the actor of a name, from its own node.
fn own<P: Protocol>(node: &LiveNode, name: &str) -> Ref<P> {
    let path = node.path(name);
    node.run(move |node| async move { node.resolve(&path).await.expect("it is there") })
}

/// A ref to the actor of a name, as another node finds it.
fn found<P: Protocol>(by: &LiveNode, at: &LiveNode, name: &str) -> Ref<P> {
    let path = at.path(name);
    by.run(move |node| async move { node.resolve(&path).await.expect("it is registered") })
}

fn echo(number: u64) -> Echo {
    let body = Bytes::from_static(b"from outside");
    Echo { number, body }
}

fn record(number: u64) -> Record {
    let body = Bytes::from_static(b"from inside");
    Record { number, body }
}

/// Asks once.
fn asks(client: &LiveNode, actor: Ref<EchoApi>) -> Result<u64, ringmesh::AskError> {
    client.run(move |_| async move {
        let answer = actor.ask(echo(7)).await?;
        Ok(answer.number.to_native())
    })
}
