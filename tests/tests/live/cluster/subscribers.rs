//! Subscribers that read the newest alone, and actors that subscribe.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ringmesh::pubsub::{
    GroupName, Level, NameError, OnFull, Pattern, Publisher, RecvError, SubscribeError, Topic,
    WaitError,
};
use ringmesh::{Actor, AsyncHandler, CoreId, Cx, Handler, Msg, Node, async_handler, protocol};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::{books_of, on_core, run_on, total};
use ringmesh_tests::live::messages::Record;
use ringmesh_tests::live::node::LiveNode;

use super::{cluster_of, watchful};
use crate::actors::gate::Gate;

const RECORDS: Topic<Record> = Topic::new("tests.subscribers");

fn record(number: u64) -> Record {
    Record {
        number,
        body: vec![7; 32].into(),
    }
}

fn publisher(node: &Node) -> Publisher<Record> {
    node.publisher(&RECORDS).expect("a topic")
}

protocol! { KeeperApi = "tests.keeper" { Record } }

/// Says the number of each record that it is told.
struct Keeper {
    said: Sender<u64>,
    /// Subscribes by itself.
    subscribes: bool,
}

impl Actor for Keeper {
    type Api = KeeperApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        if self.subscribes {
            cx.subscribe(&RECORDS).expect("room");
            // The second one changes nothing.
            cx.subscribe(&RECORDS).expect("room");
        }
    }
}

impl Handler<Record> for Keeper {
    fn handle(&mut self, record: Msg<Record>, cx: &mut Cx<'_, Self>) {
        let number = record.number.to_native();
        let _ = self.said.send(number);
        match number {
            900 => assert!(cx.unsubscribe(&RECORDS)),
            901 => cx.stop(),
            _ => {}
        }
    }
}

fn keeper(subscribes: bool) -> (Keeper, Receiver<u64>) {
    let (said, heard) = channel();
    (Keeper { said, subscribes }, heard)
}

fn next(heard: &Receiver<u64>) -> u64 {
    heard.recv_timeout(WAIT).expect("it comes")
}

#[test]
fn who_reads_the_newest_of_each_key_has_no_more_waiting_than_there_are_keys() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    let (said, subscribed) = channel();
    let gate = Gate::default();
    let waited = gate.clone();
    let reading = nodes[1].begin(move |node| async move {
        let subscribe = node.subscribe(&RECORDS).expect("a topic").queue(8);
        let subscribe = subscribe.conflate(|it| it.number.to_native() % 4);
        let begun = subscribe.begin_known(Level::AllReachable).await;
        let (mut newest, _) = begun.expect("room");
        said.send(()).expect("the test waits");
        waited.pass().await;
        assert_eq!(newest.len(), 4);
        let mut numbers = Vec::new();
        for _ in 0..4 {
            numbers.push(newest.recv().await.expect("no loss").number.to_native());
        }
        assert!(newest.try_recv().expect("it goes on").is_none());
        numbers
    });
    subscribed.recv().expect("it subscribes");
    nodes[0].run(|node| async move {
        for number in 0..1_000 {
            publisher(&node)
                .publish(record(number))
                .await
                .expect("room");
        }
    });
    nodes[1].until("all there", |it| it.subscribers_queued == 1_000);
    gate.open();
    assert_eq!(reading.finish(), [996, 997, 998, 999]);
    let books = books_of(&nodes[1]);
    assert_eq!(total(&books, |it| it.subscribers_replaced), 996);
    assert_eq!(total(&books, |it| it.subscribers_dropped), 0);
}

#[test]
fn a_key_that_panics_is_none_and_more_keys_than_room_lose_the_oldest() {
    let node = LiveNode::start_with(|builder| builder.cores(1));
    node.run(|node| async move {
        let subscribe = node.subscribe(&RECORDS).expect("a topic").queue(4);
        let keyed = subscribe.conflate(|it| {
            assert!(it.number.to_native() < 100, "the key of {}", it.number);
            it.number.to_native()
        });
        let mut keyed = keyed.begin().expect("room");
        let publisher = publisher(&node);
        for number in [1, 100, 100, 1, 2, 3] {
            let reached = publisher.try_publish(record(number)).expect("room");
            assert_eq!(reached.here, 1);
        }
        assert_eq!(node.counters().panics, 2);
        // What has no key replaces nothing; the first made room.
        assert_eq!(keyed.recv().await.err(), Some(RecvError::Lagged(1)));
        for number in [100, 100, 2, 3] {
            let received = keyed.recv().await.expect("no loss");
            assert_eq!(received.number, number);
        }
    });
}

#[test]
fn an_actor_that_subscribes_is_told_what_is_published_until_it_does_not_or_ends() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let (first, heard) = keeper(true);
    let (second, heard_too) = keeper(true);
    nodes[1].run(|node| async move {
        node.spawn_on(CoreId(0), move || first).await.expect("room");
        node.spawn_on(CoreId(1), move || second)
            .await
            .expect("room");
    });
    run_on(&nodes[0], 1, |node| async move {
        let publisher = publisher(&node);
        assert_eq!(publisher.wait_for_subscribers(2, WAIT).await, Ok(2));
        for number in 0..100 {
            let outcome = publisher.publish_acknowledged(record(number)).await;
            let outcome = outcome.expect("room");
            assert_eq!((outcome.nodes, outcome.subscribers), (1, 2));
        }
        // Both take it back.
        publisher.publish(record(900)).await.expect("room");
    });
    for heard in [&heard, &heard_too] {
        let all: Vec<u64> = (0..101).map(|_| next(heard)).collect();
        assert_eq!(all[..100], (0..100).collect::<Vec<u64>>());
    }
    until_nobody(&nodes[0]);
    // The end of an actor ends what it subscribes to.
    let (third, heard) = keeper(true);
    nodes[1].run(|node| async move { node.spawn(third).map(drop).expect("room") });
    nodes[0].run(|node| async move {
        let publisher = publisher(&node);
        publisher
            .wait_for_subscribers(1, WAIT)
            .await
            .expect("it comes");
        publisher.publish(record(901)).await.expect("room");
    });
    assert_eq!(next(&heard), 901);
    until_nobody(&nodes[0]);
    let books: Vec<_> = nodes.iter().flat_map(books_of).collect();
    assert_eq!(total(&books, |it| it.subscribers_dropped), 0);
}

/// Waits until nobody subscribes any more, as that node knows.
fn until_nobody(node: &LiveNode) {
    node.until_so("no subscribers", |node| publisher(node).subscribers() == 0);
}

#[test]
fn an_actor_subscribes_to_patterns_and_in_groups_on_its_own_core_alone() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let (first, heard) = keeper(false);
    let second = Keeper {
        said: first.said.clone(),
        subscribes: false,
    };
    run_on(&nodes[1], 1, |node| async move {
        let elsewhere = node.spawn_on(CoreId(0), move || first).await.expect("room");
        let here = node.spawn(second).expect("room");
        let refused = node
            .subscribe(&RECORDS)
            .expect("a topic")
            .begin_for(&elsewhere);
        assert_eq!(refused, Err(SubscribeError::NotHere));
        for (actor, core) in [(elsewhere, 0), (here, 1)] {
            let begin = move |node: Node| async move {
                let group = GroupName::new("keepers").expect("a name");
                let subscribe = node.subscribe(&RECORDS).expect("a topic").group(group);
                let known = subscribe.begin_known_for(&actor, Level::AllReachable).await;
                assert!(known.expect("room").is_some_and(|it| it.is_enough));
            };
            on_core(&node, CoreId(core), begin).await;
        }
        let pattern = Pattern::new("other.*").expect("a pattern");
        let subscribe = node.subscribe_to::<Record>(pattern.clone());
        let known = subscribe.begin_known_for(&here, Level::Quorum).await;
        assert!(known.expect("room").is_some());
        assert!(!node.unsubscribe_from::<Record, _>(&pattern, &elsewhere));
        let ended = node.spawn(keeper(false).0).expect("room");
        node.stop(&ended);
        let refused = node.subscribe(&RECORDS).expect("a topic").begin_for(&ended);
        assert_eq!(refused, Err(SubscribeError::NotRunning));
        let name = Topic::<Record>::new("no..topic");
        assert_eq!(node.subscribe(&name).err(), Some(NameError::Malformed));
    });
    nodes[0].run(|node| async move {
        let publisher = publisher(&node).policy(ringmesh::pubsub::Policy::RoundRobin);
        for number in 0..100 {
            let outcome = publisher.publish_acknowledged(record(number)).await;
            assert_eq!(outcome.expect("room").subscribers, 1);
        }
        let other = Topic::named("other.topic").expect("a topic");
        let other = node.publisher(&other).expect("a topic");
        let outcome = other.publish_acknowledged(record(500)).await;
        assert_eq!(outcome.expect("room").subscribers, 1);
    });
    let mut all: Vec<u64> = (0..101).map(|_| next(&heard)).collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).chain([500]).collect::<Vec<u64>>());
}

/// Handles nothing before the test opens its gate.
struct Slow(Gate);

impl Actor for Slow {
    type Api = KeeperApi;
}

#[async_handler]
impl AsyncHandler<Record> for Slow {
    async fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {
        self.0.pass().await;
    }
}

#[test]
fn what_the_mailbox_of_an_actor_has_no_room_for_is_lost_and_counted_and_slows_nobody() {
    const MANY: u64 = 40_000;
    let node = LiveNode::start_with(|builder| builder.cores(1));
    node.run(|node| async move {
        let slow = node.spawn(Slow(Gate::default())).expect("room");
        let subscribe = node.subscribe(&RECORDS).expect("a topic");
        subscribe.begin_for(&slow).expect("room");
        let others = node
            .subscribe(&RECORDS)
            .expect("a topic")
            .queue(MANY as usize);
        let mut others = others.on_full(OnFull::End).begin().expect("room");
        let publisher = publisher(&node);
        for number in 0..MANY {
            publisher.publish(record(number)).await.expect("room");
            let received = others.recv().await.expect("no loss");
            assert_eq!(received.number, number);
        }
        let counted = node.counters();
        assert!(counted.subscribers_dropped > MANY / 2, "{counted:?}");
        assert_eq!(
            counted.subscribers_queued + counted.subscribers_dropped,
            2 * MANY
        );
    });
}

#[test]
fn waiting_for_subscribers_ends_with_its_time_or_its_node() {
    let node = LiveNode::start_with(|builder| builder.cores(1));
    let (said, begun) = channel();
    let waiting = node.begin(move |node| async move {
        let publisher = publisher(&node);
        let _here = node
            .subscribe(&RECORDS)
            .expect("a topic")
            .begin()
            .expect("room");
        let brief = Duration::from_millis(20);
        let waited = publisher.wait_for_subscribers(2, brief).await;
        assert_eq!(waited, Err(WaitError::TimedOut { known: 1 }));
        said.send(()).expect("the test waits");
        publisher.wait_for_subscribers(2, WAIT).await
    });
    begun.recv_timeout(WAIT).expect("it waits");
    node.run(|node| async move { node.shutdown() });
    assert_eq!(waiting.finish(), Err(WaitError::Stopping));
}
