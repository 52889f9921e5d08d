//! A message is as long as the lane allows, or refused where it is sent.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::message::Message;
use ringmesh::{AskError, Executed, Node, NodeBuilder, Ref, SendError};
use ringmesh_proto::archive::measure;
use ringmesh_proto::limits::{EXTENSION_BYTES, FRAME_BYTES_MIN, FRAME_BYTES_ORDINARY};
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Echoed, Inflate, Record, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::watched::{Watched, account};

/// What a typed error may take to come back: it asks nobody.
const AT_ONCE: Duration = Duration::from_millis(500);

#[test]
fn one_over_the_limit_is_refused_at_the_sender_and_the_limit_itself_passes() {
    let watched = Watched::start();
    let client = LiveNode::start_with(|it| without_large(it, FRAME_BYTES_ORDINARY));
    let (sink, echo) = (watched.node.path(SINK), watched.node.path(ECHO));
    client.run(move |node| pass_and_refuse(node, sink, echo, FRAME_BYTES_ORDINARY as usize));
    assert_eq!(
        watched.account().count,
        4,
        "two at the limit and two after a refusal"
    );
    assert_eq!(client.counters().dead_sent, 0);
    watched.saw_nothing();
}

#[test]
fn the_smaller_limit_of_the_two_nodes_holds() {
    let small = LiveNode::start_serving_with(|builder| {
        builder.settings(|settings| settings.frame_bytes_max = FRAME_BYTES_MIN)
    });
    let client = LiveNode::start_with(|it| without_large(it, FRAME_BYTES_MIN));
    let (sink, echo) = (small.path(SINK), small.path(ECHO));
    client.run(move |node| pass_and_refuse(node, sink, echo, FRAME_BYTES_MIN as usize));
    assert_eq!(account(&small).count, 4);
}

#[test]
fn the_limit_holds_between_actors_of_one_core_too() {
    let node = LiveNode::start_serving_with(|it| without_large(it, FRAME_BYTES_ORDINARY));
    let (sink, echo) = (node.path(SINK), node.path(ECHO));
    node.run(move |node| pass_and_refuse(node, sink, echo, FRAME_BYTES_ORDINARY as usize));
    assert_eq!(account(&node).count, 4);
}

/// The large lane takes nothing that the ordinary one does not: what is above its cap is refused.
fn without_large(builder: NodeBuilder, cap: u32) -> NodeBuilder {
    builder.settings(|settings| settings.large_frame_bytes_max = cap)
}

async fn pass_and_refuse(node: Node, sink: String, echo: String, cap: usize) {
    let sink: Ref<SinkApi> = node.resolve(&sink).await.expect("the sink is there");
    let echo: Ref<EchoApi> = node.resolve(&echo).await.expect("the echo is there");
    tells_pass_and_are_refused(sink, cap).await;
    questions_pass_and_are_refused(echo, cap).await;
    answers_pass_and_are_refused(echo, cap).await;
}

async fn tells_pass_and_are_refused(sink: Ref<SinkApi>, cap: usize) {
    sink.try_tell(record_of(1, cap))
        .expect("the limit itself passes");
    let begin = Instant::now();
    match sink.try_tell(record_of(2, cap + 1)) {
        Err(SendError::TooLarge {
            message,
            bytes,
            limit,
        }) => {
            assert_eq!((bytes, limit), (cap + 1, cap));
            assert_eq!(message, record_of(2, cap + 1), "another message came back");
        }
        other => panic!("one over the limit: {other:?}"),
    }
    sink.tell(record_of(3, 100))
        .await
        .expect("the next message passes");
    match sink.tell(record_of(4, cap + 1)).await {
        Err(error @ SendError::TooLarge { .. }) => assert_eq!(error.executed(), Executed::No),
        other => panic!("one over the limit: {other:?}"),
    }
    assert!(
        begin.elapsed() < AT_ONCE,
        "refused after {:?}",
        begin.elapsed()
    );
    sink.tell(record_of(5, cap))
        .await
        .expect("the limit itself passes");
    sink.tell(record_of(6, 100))
        .await
        .expect("the next message passes");
}

/// The extension counts towards the limit.
async fn questions_pass_and_are_refused(echo: Ref<EchoApi>, cap: usize) {
    let question_cap = cap - EXTENSION_BYTES;
    let answer = echo
        .ask(question_of(7, question_cap))
        .await
        .expect("the limit itself passes");
    assert_eq!(answer.number, 7);
    let begin = Instant::now();
    let refused = echo
        .ask(question_of(8, question_cap + 1))
        .await
        .expect_err("one over");
    assert_eq!(
        refused,
        AskError::TooLarge {
            bytes: cap + 1,
            limit: cap
        }
    );
    assert_eq!(refused.executed(), Executed::No);
    assert!(
        begin.elapsed() < AT_ONCE,
        "refused after {:?}",
        begin.elapsed()
    );
}

async fn answers_pass_and_are_refused(echo: Ref<EchoApi>, cap: usize) {
    let answer_cap = cap - EXTENSION_BYTES;
    let empty = measured(&Echoed {
        number: 0,
        body: Bytes::new(),
    });
    let inflate = |bytes: usize| Inflate {
        body_bytes: u32::try_from(bytes - empty).expect("a small body"),
    };
    let answer = echo
        .ask(inflate(answer_cap))
        .await
        .expect("an answer at the limit passes");
    assert_eq!(answer.body.len(), answer_cap - empty);
    let failed = echo
        .ask(inflate(answer_cap + 1))
        .await
        .expect_err("one over");
    assert_eq!(failed, AskError::ReplyTooLarge);
    assert_eq!(failed.executed(), Executed::Yes, "the handler ran");
    assert_eq!(
        echo.ask(question_of(9, 100))
            .await
            .expect("an answer")
            .number,
        9
    );
}

/// A record whose archive has so many bytes.
fn record_of(number: u64, archive_bytes: usize) -> Record {
    let record = |length| Record {
        number,
        body: vec![0x33; length].into(),
    };
    sized(record, archive_bytes)
}

/// A question whose archive has so many bytes.
fn question_of(number: u64, archive_bytes: usize) -> Echo {
    let question = |length| Echo {
        number,
        body: vec![0x33; length].into(),
    };
    sized(question, archive_bytes)
}

fn sized<M: Message>(make: impl Fn(usize) -> M, archive_bytes: usize) -> M {
    let message = make(archive_bytes - measured(&make(0)));
    assert_eq!(
        measured(&message),
        archive_bytes,
        "the body is one to one in the archive"
    );
    message
}

fn measured<M: Message>(message: &M) -> usize {
    measure(message).expect("the message can be archived")
}
