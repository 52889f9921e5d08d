//! What becomes of messages that changed cores, when it is not what their senders hoped.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{AskError, CoreId, MetricsReader, Node, NodeBuilder, Ref};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed_at_the_end;
use ringmesh_tests::live::cores::{balanced, ended, run_on, settled, total};
use ringmesh_tests::live::messages::{
    Echo, EchoApi, Echoer, Ignite, Inflate, Record, Retire, Sink, SinkApi, foreign,
};
use ringmesh_tests::live::node::LiveNode;

use super::{CORES, sparse};

fn small_frames(builder: NodeBuilder) -> NodeBuilder {
    builder.cores(CORES).settings(|settings| {
        settings.links_per_association_max = 1;
        settings.frame_bytes_max = 32 << 10;
    })
}

fn spawn_echo(node: &LiveNode, name: &'static str) -> String {
    node.run(move |node| async move {
        let echo = node.spawn_named_on(CoreId(1), name, Echoer::default).await;
        echo.expect("a free name");
    });
    node.path(name)
}

fn echo(number: u64) -> Echo {
    Echo {
        number,
        body: Bytes::new(),
    }
}

fn fate<T>(outcome: Result<T, AskError>) -> AskError {
    outcome.err().expect("no answer")
}

#[test]
fn questions_fail_for_the_same_reasons_as_on_a_link_of_their_own() {
    let server = sparse(CORES);
    let client = LiveNode::start_with(small_frames);
    let paths = ["echo", "retiring", "igniting"].map(|name| spawn_echo(&server, name));
    run_on(&client, 1, move |node| async move {
        let there = "it is there";
        let living: Ref<EchoApi> = node.resolve(&paths[0]).await.expect(there);
        let strange: Ref<foreign::EchoApi> = node.resolve(&paths[0]).await.expect(there);
        let retiring: Ref<EchoApi> = node.resolve(&paths[1]).await.expect(there);
        let igniting: Ref<EchoApi> = node.resolve(&paths[2]).await.expect(there);
        retiring.tell(Retire).await.expect("it runs");
        assert_eq!(fate(retiring.ask(echo(1)).await), AskError::NotRunning);
        assert_eq!(fate(igniting.ask(Ignite).await), AskError::Failed);
        assert_eq!(fate(igniting.ask(echo(2)).await), AskError::NotRunning);
        let narrow = foreign::Echo {
            number: 1,
            body: Bytes::new(),
        };
        assert_eq!(fate(strange.ask(narrow).await), AskError::SchemaMismatch);
        let unheard = strange.ask(foreign::Unheard).await;
        assert_eq!(fate(unheard), AskError::UnknownMessage);
        // Longer than this node takes, though not than that one does.
        let body_bytes = 40 << 10;
        let too_long = fate(living.ask(Inflate { body_bytes }).await);
        assert_eq!(too_long, AskError::ReplyTooLarge);
        assert_eq!(living.ask(echo(3)).await.expect("an answer").number, 3);
    });
    let books = balanced(&[&client, &server]);
    assert_eq!(total(&books, |book| book.panics), 1);
    assert_eq!(total(&books, |book| book.dead_no_recipient), 2);
    assert_eq!(total(&books, |book| book.dead_schema_mismatch), 1);
    assert_eq!(total(&books, |book| book.dead_unknown_message), 1);
    assert_eq!(total(&books, |book| book.closed_for_fault), 0);
    // One tell, seven questions, and what they were answered.
    assert_eq!(total(&books, |book| book.hopped), 15, "{books:#?}");
}

/// Floods sinks on all cores from all cores, until that fails.
async fn flood(node: Node, address: String) {
    for to in (0..CORES).cycle() {
        let path = format!("{address}/user/sink{to}");
        let Ok(sink) = node.resolve::<SinkApi>(&path).await else {
            return;
        };
        for number in 1..1000 {
            let body = Bytes::from(vec![1; 500]);
            if sink.tell(Record { number, body }).await.is_err() {
                return;
            }
        }
    }
}

/// Two nodes under load, and what the first of them counts.
fn flooded() -> (LiveNode, LiveNode, MetricsReader) {
    // Nothing is cut short on a busy machine: then it would be counted here, and handled there.
    let patient = |builder: NodeBuilder| {
        builder.cores(CORES).settings(|settings| {
            settings.links_per_association_max = 1;
            settings.flush_timeout = WAIT;
        })
    };
    let (server, client) = (LiveNode::start_with(patient), LiveNode::start_with(patient));
    let reader = server.run(|node| async move { node.metrics_reader() });
    server.run(|node| async move {
        for core in node.cores() {
            let name = format!("sink{}", core.0);
            let sink = node.spawn_named_on(core, &name, Sink::default).await;
            sink.expect("a free name");
        }
    });
    let address = server.address().to_string();
    client.run(move |node| async move {
        for core in node.cores() {
            let address = address.clone();
            let task = move |there: Node| flood(there, address);
            node.spawn_task_on(core, task).await.expect("room");
        }
    });
    for node in [&server, &client] {
        node.until("traffic", |now| now.received > 100);
    }
    run_on(&server, 1, |node| async move {
        while node.counters().received < 5000 {
            node.sleep(Duration::from_millis(1)).await;
        }
    });
    (server, client, reader)
}

#[test]
fn a_sender_that_stops_under_load_leaves_accounts_that_close() {
    let (server, client, _) = flooded();
    client.stop();
    let books = settled(&[&server]);
    assert!(total(&books, |book| book.hopped) > 0, "{books:#?}");
    assert_eq!(total(&books, |book| book.dead_received), 0, "{books:#?}");
}

#[test]
fn a_receiver_that_stops_under_load_leaves_accounts_that_close() {
    for _ in 0..5 {
        let (server, client, reader) = flooded();
        let begin = Instant::now();
        server.stop();
        // No tunnel keeps it from its end.
        assert!(begin.elapsed() < WAIT / 2);
        let server = reader.metrics();
        assert_closed_at_the_end(&server);
        let mut books = settled(&[&client]);
        books.push(server.total);
        // Each message was handled, passed on or given up, and none of them both.
        let sent = total(&books, |book| book.sent);
        assert_eq!(sent, total(&books, ended), "{books:#?}");
    }
}
