//! Lanes: large messages and control travel apart from the others, and hold nobody up.

mod control;
mod ends;
mod large;

use bytes::Bytes;
use ringmesh::message::Message;
use ringmesh::{Actor, Cx, Handler, Lane, LinkReport, Msg, Node, Ref, protocol};
use ringmesh_proto::archive::measure;
use ringmesh_tests::live::messages::{Account, Recall, Record};
use ringmesh_tests::live::node::LiveNode;

/// Above the ordinary cap, and below the large one.
const LARGE_BYTES: usize = 1 << 20;

protocol! {
    /// A sink for messages of all sizes, in order.
    pub(crate) WideApi = "tests.wide" { Record, Recall }
}

/// The same with the other sinks' account.
#[derive(Debug, Default)]
pub(crate) struct WideSink(Account);

impl Actor for WideSink {
    type Api = WideApi;

    const LARGE: bool = true;
}

impl Handler<Record> for WideSink {
    fn handle(&mut self, message: Msg<Record>, _: &mut Cx<'_, Self>) {
        self.0
            .note_record(message.number.to_native(), &message.body);
    }
}

impl Handler<Recall> for WideSink {
    fn handle(&mut self, _: Msg<Recall>, _: &mut Cx<'_, Self>) -> Account {
        self.0.clone()
    }
}

/// A record with a body of so many bytes, whose content follows from its number.
fn record(number: u64, body_bytes: usize) -> Record {
    let byte = u8::try_from(number % 251).expect("a remainder");
    Record {
        number,
        body: vec![byte; body_bytes].into(),
    }
}

/// The record whose archive has so many bytes.
fn record_of(number: u64, archive_bytes: usize) -> Record {
    let empty = Record {
        number,
        body: Bytes::new(),
    };
    let sized = record(number, archive_bytes - measured(&empty));
    assert_eq!(measured(&sized), archive_bytes, "the body is one to one");
    sized
}

fn measured<M: Message>(message: &M) -> usize {
    measure(message).expect("the message can be archived")
}

async fn at<P: ringmesh::Protocol>(node: &Node, path: &str) -> Ref<P> {
    node.resolve(path).await.expect("the actor is there")
}

/// The links of a node on one lane.
fn links_on(node: &LiveNode, lane: Lane) -> Vec<LinkReport> {
    let mut links = node.run(|node| async move { node.links().await });
    links.retain(|link| link.lane == lane);
    links
}
