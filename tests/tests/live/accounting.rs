//! The books balance: every message that was accepted for sending was delivered, is dead for a
//! reason that was counted, or is still on its way.

use bytes::Bytes;
use ringmesh::{AskError, Counters, Executed, Node, Ref, SendError};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{
    ECHO, Echo, EchoApi, Echoer, Ignite, Record, Retire, SINK, SinkApi, foreign,
};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::watched::account;

/// Tells of each sort that a node sends in [`mixed_traffic`].
const TELLS: u64 = 300;

/// Questions of each sort.
const ASKS: u64 = 20;

#[test]
fn the_books_of_two_nodes_balance() {
    let nodes = [LiveNode::start_serving(), LiveNode::start_serving()];
    nodes[0].begin(mixed_traffic_to(&nodes[1])).finish();
    nodes[1].begin(mixed_traffic_to(&nodes[0])).finish();
    for (node, counters) in nodes.iter().zip(balanced(&nodes)) {
        assert_is_as_sent(node, &counters, 1);
    }
}

#[test]
fn the_books_of_three_nodes_balance_while_all_talk_at_once() {
    let nodes = [
        LiveNode::start_serving(),
        LiveNode::start_serving(),
        LiveNode::start_serving(),
    ];
    let mut talking = Vec::new();
    for from in 0..3 {
        // To itself too: a node's own actors are reached over the same frames.
        for to in 0..3 {
            talking.push(nodes[from].begin(mixed_traffic_to(&nodes[to])));
        }
    }
    talking.into_iter().for_each(|talk| talk.finish());
    for (node, counters) in nodes.iter().zip(balanced(&nodes)) {
        assert_is_as_sent(node, &counters, 3);
    }
}

/// Waits until nothing is in flight between `nodes`, and checks that their accounts close, each by
/// itself and all together.
fn balanced<const N: usize>(nodes: &[LiveNode; N]) -> [Counters; N] {
    let books = nodes
        .each_ref()
        .map(|node| node.until("quiet", |now| now.in_flight == 0));
    books.iter().for_each(assert_closed);
    let total = |field: fn(&Counters) -> u64| books.iter().map(field).sum::<u64>();
    let accounted = total(|book| book.delivered)
        + total(|book| book.dead_received)
        + total(|book| book.dead_sent);
    assert_eq!(total(|book| book.sent), accounted, "{books:#?}");
    books
}

/// Checks what a node counted after `talkers` ran [`mixed_traffic`] with it.
fn assert_is_as_sent(node: &LiveNode, counters: &Counters, talkers: u64) {
    assert_eq!(counters.dead_sent, 0, "no link ended: {counters:#?}");
    assert_eq!(
        counters.dead_no_recipient,
        talkers * (TELLS + ASKS),
        "{counters:#?}"
    );
    assert_eq!(
        counters.dead_schema_mismatch,
        talkers * (TELLS + ASKS),
        "{counters:#?}"
    );
    assert_eq!(
        counters.dead_unknown_message,
        talkers * (TELLS + ASKS),
        "{counters:#?}"
    );
    assert_eq!(counters.dead_invalid, 0, "{counters:#?}");
    assert_eq!(counters.panics, talkers, "{counters:#?}");
    assert_eq!(counters.closed_for_fault, 0, "{counters:#?}");
    assert_eq!(account(node).count, talkers * TELLS);
}

/// A job that sends messages of every fate to `node`, and waits for the answers there are.
fn mixed_traffic_to(
    node: &LiveNode,
) -> impl FnOnce(Node) -> std::pin::Pin<Box<dyn Future<Output = ()>>> + Send + 'static {
    let path = node.address().to_string();
    // Actors of their own for each talker: one retires, one panics.
    let (retiring, igniting) = (fastrand::u64(..).to_string(), fastrand::u64(..).to_string());
    let names = (retiring.clone(), igniting.clone());
    node.run(move |node| async move {
        node.spawn_named(&names.0, Echoer::default())
            .expect("a free name");
        node.spawn_named(&names.1, Echoer::default())
            .expect("a free name");
    });
    move |node| Box::pin(mixed_traffic(node, path, retiring, igniting))
}

async fn mixed_traffic(node: Node, address: String, retiring: String, igniting: String) {
    let path = |name: &str| format!("{address}/user/{name}");
    let there = "the actor is there";
    let sink: Ref<SinkApi> = node.resolve(&path(SINK)).await.expect(there);
    let echo: Ref<EchoApi> = node.resolve(&path(ECHO)).await.expect(there);
    let strange_sink: Ref<foreign::SinkApi> = node.resolve(&path(SINK)).await.expect(there);
    let strange_echo: Ref<foreign::EchoApi> = node.resolve(&path(ECHO)).await.expect(there);
    let retiring: Ref<EchoApi> = node.resolve(&path(&retiring)).await.expect(there);
    let igniting: Ref<EchoApi> = node.resolve(&path(&igniting)).await.expect(there);
    accepted(retiring.tell(Retire).await);
    for number in 1..=TELLS {
        accepted(sink.tell(record(number)).await);
        accepted(retiring.tell(Retire).await);
        let strange = foreign::Record {
            number,
            body: Bytes::new(),
        };
        accepted(strange_sink.tell(strange).await);
        accepted(strange_sink.tell(foreign::Unheard).await);
    }
    for number in 1..=ASKS {
        assert_eq!(
            echo.ask(question(number)).await.expect("an answer").number,
            number
        );
        assert_eq!(
            fate(retiring.ask(question(number)).await),
            AskError::NotRunning
        );
        let strange = foreign::Echo {
            number: 1,
            body: Bytes::new(),
        };
        assert_eq!(
            fate(strange_echo.ask(strange).await),
            AskError::SchemaMismatch
        );
        assert_eq!(
            fate(strange_echo.ask(foreign::Unheard).await),
            AskError::UnknownMessage
        );
    }
    let failed = fate(igniting.ask(Ignite).await);
    assert_eq!(
        (failed.executed(), failed),
        (Executed::Maybe, AskError::Failed)
    );
}

fn accepted<M>(sent: Result<(), SendError<M>>) {
    sent.expect("a running peer takes it");
}

fn fate<T>(outcome: Result<T, AskError>) -> AskError {
    outcome.err().expect("no answer")
}

fn record(number: u64) -> Record {
    Record {
        number,
        body: Bytes::from_static(b"accounting"),
    }
}

fn question(number: u64) -> Echo {
    Echo {
        number,
        body: Bytes::from_static(b"accounting"),
    }
}
