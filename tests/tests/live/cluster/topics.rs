//! Topics: what is published on any core of any node reaches each subscriber once, in order.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use ringmesh::pubsub::{
    GroupName, Level, OnFull, Pattern, PublishError, Publisher, RecvError, Subscription, Topic,
};
use ringmesh::{CoreId, Node};
use ringmesh_tests::live::cores::{books_of, on_core, run_on, total};
use ringmesh_tests::live::messages::Record;
use ringmesh_tests::live::node::{LiveNode, Pending};

use super::{cluster_of, watchful};
use crate::actors::gate::Gate;

const RECORDS: Topic<Record> = Topic::new("tests.records");

fn record(number: u64) -> Record {
    record_of(number, 32)
}

fn record_of(number: u64, bytes: usize) -> Record {
    Record {
        number,
        body: vec![7; bytes].into(),
    }
}

fn publisher(node: &Node) -> Publisher<Record> {
    node.publisher(&RECORDS).expect("a topic")
}

async fn subscribe(node: &Node) -> Subscription<Record> {
    let subscribe = node.subscribe(&RECORDS).expect("a topic");
    let (subscription, known) = subscribe
        .begin_known(Level::AllReachable)
        .await
        .expect("room");
    assert!(known.is_some_and(|it| it.is_enough));
    subscription
}

/// The numbers of the next messages of a subscription.
async fn numbers(subscription: &mut Subscription<Record>, count: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        let received = subscription.recv().await.expect("nothing is lost");
        numbers.push(received.number.to_native());
    }
    numbers
}

/// Subscribes on a core, says so, and reads so many messages.
fn reading(node: &LiveNode, core: u16, count: u64) -> (Pending<Vec<u64>>, Waiting) {
    let (say, subscribed) = std::sync::mpsc::channel();
    let pending = node.begin(move |node| async move {
        let read = move |node: Node| async move {
            let mut subscription = subscribe(&node).await;
            say.send(()).expect("the test waits");
            numbers(&mut subscription, count).await
        };
        on_core(&node, CoreId(core), read).await
    });
    (pending, subscribed)
}

type Waiting = std::sync::mpsc::Receiver<()>;

#[test]
fn each_subscriber_on_each_core_of_each_node_gets_each_message_once_in_order() {
    const COUNT: u64 = 2_000;
    let nodes = cluster_of(3, &watchful(), |builder| builder.cores(2));
    let mut all = Vec::new();
    for node in &nodes {
        for core in [0, 1, 1] {
            all.push(reading(node, core, COUNT));
        }
    }
    all.iter()
        .for_each(|it| it.1.recv().expect("it subscribes"));
    run_on(&nodes[0], 1, |node| async move {
        let publisher = publisher(&node);
        for number in 0..COUNT {
            // In all more than the windows of the links within a node and between nodes.
            let message = record_of(number, 2048);
            let reached = publisher.publish(message).await.expect("room");
            assert_eq!((reached.here, reached.cores, reached.nodes), (2, 1, 2));
        }
    });
    for (reading, _) in all {
        assert_eq!(reading.finish(), (0..COUNT).collect::<Vec<u64>>());
    }
    let books = books_of(&nodes[0]);
    assert_eq!(total(&books, |it| it.published), COUNT);
    assert_eq!(
        total(&books, |it| it.published_frames),
        2 * COUNT,
        "one for each node"
    );
    let books: Vec<_> = nodes.iter().flat_map(books_of).collect();
    assert_eq!(total(&books, |it| it.subscribers_queued), 9 * COUNT);
    assert_eq!(total(&books, |it| it.subscribers_dropped), 0);
    assert_eq!(total(&books, |it| it.publishes_lost), 0);
    assert_eq!(total(&books, |it| it.published_malformed), 0);
}

#[test]
fn what_is_published_after_all_know_of_a_subscription_reaches_it() {
    publish_after_subscribing(200);
}

#[test]
#[ignore = "takes minutes; prints how many were lost of how many"]
fn what_is_published_after_all_know_of_a_subscription_reaches_it_ten_thousand_times() {
    let begun = std::time::Instant::now();
    publish_after_subscribing(10_000);
    let took = begun.elapsed();
    println!("10,000 subscriptions that all knew of, then a publish each: 0 lost, {took:.1?}");
}

/// Subscribes on one node, and publishes on the other when all know, so many times.
fn publish_after_subscribing(rounds: u16) {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    for round in 0..rounds {
        let (pending, subscribed) = reading(&nodes[1], round % 2, 1);
        subscribed.recv().expect("it subscribes");
        run_on(&nodes[0], (round / 2) % 2, move |node| async move {
            let reached = publisher(&node).try_publish(record(u64::from(round)));
            assert_eq!(reached.expect("room").nodes, 1);
        });
        assert_eq!(pending.finish(), [u64::from(round)]);
    }
}

#[test]
fn of_a_group_one_gets_each_message_wherever_it_is() {
    const COUNT: u64 = 400;
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let (said, heard) = std::sync::mpsc::channel();
    let mut members = Vec::new();
    for (node, core) in nodes.iter().flat_map(|node| [(node, 0), (node, 1)]) {
        let said = said.clone();
        members.push(node.begin(move |node| async move {
            let read = move |node: Node| async move {
                let group = GroupName::new("workers").expect("a name");
                let subscribe = node.subscribe(&RECORDS).expect("a topic").group(group);
                let begun = subscribe.begin_known(Level::AllReachable).await;
                let (mut subscription, _) = begun.expect("room");
                said.send(()).expect("the test waits");
                let mut numbers = Vec::new();
                loop {
                    let number = subscription.recv().await.expect("room").number.to_native();
                    if number >= COUNT {
                        return numbers;
                    }
                    numbers.push(number);
                }
            };
            on_core(&node, CoreId(core), read).await
        }));
    }
    (0..members.len()).for_each(|_| heard.recv().expect("it subscribes"));
    run_on(&nodes[0], 0, |node| async move {
        let turns = publisher(&node).policy(ringmesh::pubsub::Policy::RoundRobin);
        for number in 0..COUNT {
            turns.publish(record(number)).await.expect("room");
        }
        // And each is told to end.
        let all = publisher(&node).policy(ringmesh::pubsub::Policy::Broadcast);
        all.publish(record(COUNT)).await.expect("room");
    });
    let shares: Vec<Vec<u64>> = members.into_iter().map(Pending::finish).collect();
    let mut numbers: Vec<u64> = shares.iter().flatten().copied().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<u64>>());
    let lengths: Vec<u64> = shares.iter().map(|it| it.len() as u64).collect();
    let is_fair = |it: &u64| it.abs_diff(COUNT / 4) <= 1;
    assert!(lengths.iter().all(is_fair), "in turn: {lengths:?}");
}

#[test]
fn who_is_slow_loses_its_own_and_is_told_how_many() {
    let node = LiveNode::start_with(|builder| builder.cores(1));
    node.run(|node| async move {
        let mut fast = subscribe(&node).await;
        let slow = node.subscribe(&RECORDS).expect("a topic").queue(4);
        let mut slow = slow.begin().expect("room");
        let newest = node.subscribe(&RECORDS).expect("a topic").queue(4);
        let mut newest = newest.on_full(OnFull::DropNewest).begin().expect("room");
        let ends = node.subscribe(&RECORDS).expect("a topic").queue(4);
        let mut ends = ends.on_full(OnFull::End).begin().expect("room");
        let publisher = publisher(&node);
        for number in 0..10 {
            let reached = publisher.try_publish(record(number)).expect("room");
            // One of them ends when its queue is full.
            assert_eq!(reached.here, if number <= 4 { 4 } else { 3 });
        }
        assert_eq!(numbers(&mut fast, 10).await, (0..10).collect::<Vec<u64>>());
        assert_eq!(slow.recv().await.err(), Some(RecvError::Lagged(6)));
        assert_eq!(numbers(&mut slow, 4).await, [6, 7, 8, 9]);
        assert!(slow.try_recv().expect("it goes on").is_none());
        assert_eq!(numbers(&mut newest, 4).await, [0, 1, 2, 3]);
        assert_eq!(newest.recv().await.err(), Some(RecvError::Lagged(6)));
        assert_eq!(numbers(&mut ends, 4).await, [0, 1, 2, 3]);
        let last = [ends.recv().await.err(), ends.recv().await.err()];
        assert!(last.contains(&Some(RecvError::Closed)), "{last:?}");
        drop(slow);
        drop(newest);
        drop(ends);
        let reached = publisher.try_publish(record(10)).expect("room");
        assert_eq!(reached.here, 1, "the others have ended");
    });
}

/// They share what waits, and nobody notices.
#[test]
fn of_many_who_subscribe_alike_each_reads_at_its_own_pace() {
    let node = LiveNode::start_with(|builder| builder.cores(1));
    node.run(|node| async move {
        let alike = || {
            let subscribe = node.subscribe(&RECORDS).expect("a topic").queue(4);
            subscribe.begin().expect("room")
        };
        let (mut fast, mut slow, gone) = (alike(), alike(), alike());
        let publisher = publisher(&node);
        let publish = |numbers: std::ops::Range<u64>, here: usize| {
            for number in numbers {
                let reached = publisher.try_publish(record(number)).expect("room");
                assert_eq!(reached.here, here);
            }
        };
        publish(0..3, 3);
        assert_eq!(numbers(&mut fast, 3).await, [0, 1, 2]);
        let mut late = alike();
        drop(gone);
        publish(3..6, 3);
        assert_eq!((fast.len(), slow.len(), late.len()), (3, 4, 3));
        assert_eq!(numbers(&mut late, 3).await, [3, 4, 5]);
        assert_eq!(numbers(&mut fast, 3).await, [3, 4, 5]);
        assert_eq!(slow.recv().await.err(), Some(RecvError::Lagged(2)));
        assert_eq!(numbers(&mut slow, 4).await, [2, 3, 4, 5]);
        let told = node.counters();
        let told = (told.subscribers_queued, told.subscribers_dropped);
        assert_eq!(
            told,
            (3 * 3 + 3 * 3, 2),
            "what waited for who is gone was given up"
        );
        // Two of them sleep when it comes.
        {
            let (mut first, mut again) = (pin!(fast.recv()), pin!(slow.recv()));
            let asleep = poll_fn(|context| {
                let both = [first.as_mut().poll(context), again.as_mut().poll(context)];
                Poll::Ready(both.iter().all(Poll::is_pending))
            });
            assert!(asleep.await);
            publish(6..7, 3);
            let read = (first.await.expect("it"), again.await.expect("it"));
            assert_eq!(
                (read.0.number.to_native(), read.1.number.to_native()),
                (6, 6)
            );
        }
        drop((fast, slow));
        publish(7..8, 1);
        assert_eq!(numbers(&mut late, 2).await, [6, 7]);
        drop(late);
        publish(8..9, 0);
        let mut anew = alike();
        assert!(anew.try_recv().expect("it goes on").is_none());
        publish(9..10, 1);
        assert_eq!(numbers(&mut anew, 1).await, [9]);
    });
}

#[test]
fn who_subscribes_alike_where_nothing_is_announced_any_more_is_told_so() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    nodes[1].run(|node| async move {
        let cluster = node.cluster().expect("it takes part");
        let mut before = subscribe(&node).await;
        cluster.leave().await.expect("it is a member");
        let alike = || {
            let other = Topic::<Record>::new("tests.others");
            let subscribe = node.subscribe(&other).expect("a topic").queue(4);
            subscribe.begin().expect("room")
        };
        let (mut one, mut other) = (alike(), alike());
        for subscription in [&mut one, &mut other] {
            let told = subscription.recv().await.err();
            assert_eq!(told, Some(RecvError::Closed), "its core alone knew of it");
        }
        assert!(before.try_recv().is_ok(), "what was announced goes on");
        let mut anew = alike();
        assert_eq!(anew.recv().await.err(), Some(RecvError::Closed));
    });
}

#[test]
fn who_wants_to_be_waited_for_slows_publishers_for_as_long_as_it_says() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    let patient = OnFull::Wait(Duration::from_secs(20));
    let (said, subscribed) = std::sync::mpsc::channel();
    let gate = Gate::default();
    let waited = gate.clone();
    let reading = nodes[1].begin(move |node| async move {
        let subscribe = node.subscribe(&RECORDS).expect("a topic").queue(4);
        let begun = subscribe
            .on_full(patient)
            .begin_known(Level::AllReachable)
            .await;
        let (mut subscription, _) = begun.expect("room");
        said.send(()).expect("the test waits");
        waited.pass().await;
        numbers(&mut subscription, 3_000).await
    });
    subscribed.recv().expect("it subscribes");
    // More than the mailbox of the mediator there takes.
    let publishing = nodes[0].begin(|node| async move {
        for number in 0..3_000 {
            let reached = publisher(&node).publish(record(number)).await;
            assert_eq!(reached.expect("room").lost, 0);
        }
    });
    nodes[0].until("it is slowed", |it| it.published >= 1_000);
    gate.open();
    publishing.finish();
    assert_eq!(reading.finish(), (0..3_000).collect::<Vec<u64>>());
    // Here the publisher itself is who waits.
    nodes[0].run(move |node| async move {
        let subscribe = node.subscribe(&RECORDS).expect("a topic").queue(2);
        let brief = OnFull::Wait(Duration::from_millis(20));
        let mut subscription = subscribe.on_full(brief).begin().expect("room");
        let publisher = publisher(&node);
        for number in 0..2 {
            assert_eq!(publisher.try_publish(record(number)).expect("room").here, 1);
        }
        let refused = publisher.try_publish(record(2));
        assert!(
            matches!(refused, Err(PublishError::Full { .. })),
            "{refused:?}"
        );
        let reached = publisher.publish(record(2)).await.expect("it had its time");
        assert_eq!(reached.here, 1);
        assert_eq!(numbers(&mut subscription, 2).await, [0, 1]);
    });
}

#[test]
fn a_publisher_waits_for_a_node_that_waits_for_its_subscribers() {
    // More than its mailbox and its link take on the way.
    const COUNT: u64 = 30_000;
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    let (said, subscribed) = std::sync::mpsc::channel();
    let reading = nodes[1].begin(move |node| async move {
        let subscribe = node.subscribe(&RECORDS).expect("a topic").queue(64);
        let patient = subscribe.on_full(OnFull::Wait(Duration::from_secs(20)));
        let begun = patient.begin_known(Level::AllReachable).await;
        let (mut subscription, _) = begun.expect("room");
        said.send(()).expect("the test waits");
        let mut read = Vec::new();
        while (read.len() as u64) < COUNT {
            read.extend(numbers(&mut subscription, 50).await);
            if read.len().is_multiple_of(500) {
                node.sleep(Duration::from_millis(2)).await;
            }
        }
        read
    });
    subscribed.recv().expect("it subscribes");
    nodes[0].run(|node| async move {
        for number in 0..COUNT {
            let published = publisher(&node).publish(record(number)).await;
            let reached = published.expect("room");
            assert_eq!((reached.nodes, reached.lost), (1, 0), "number {number}");
        }
    });
    assert_eq!(reading.finish(), (0..COUNT).collect::<Vec<u64>>());
    let books = books_of(&nodes[0]);
    assert_eq!(total(&books, |it| it.published_frames), COUNT);
    assert_eq!(total(&books, |it| it.publishes_lost), 0);
}

#[test]
fn patterns_match_topics_and_other_types_are_not_delivered() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    let (said, subscribed) = std::sync::mpsc::channel();
    let reading = nodes[1].begin(move |node| async move {
        let pattern = Pattern::new("shop.*.orders.**").expect("a pattern");
        let begun = node.subscribe_to::<Record>(pattern);
        let begun = begun.begin_known(Level::AllReachable).await;
        let (mut subscription, _) = begun.expect("room");
        said.send(()).expect("the test waits");
        let mut topics = Vec::new();
        for _ in 0..2 {
            let received = subscription.recv().await.expect("nothing is lost");
            topics.push(received.topic().to_owned());
        }
        topics
    });
    subscribed.recv().expect("it subscribes");
    nodes[0].run(|node| async move {
        for (name, nodes) in [
            ("shop.7.orders", 1),
            ("shop.7.parcels", 0),
            ("shop.8.orders.new.urgent", 1),
            ("shop.orders", 0),
        ] {
            let topic = Topic::named(name).expect("a topic");
            let publisher = node.publisher(&topic).expect("a topic");
            let reached = publisher.try_publish(record(1)).expect("room");
            assert_eq!(reached.nodes, nodes, "{name}");
            assert_eq!(reached.is_nobody(), nodes == 0);
        }
        let topic: Topic<ringmesh_tests::live::messages::Echoed> = Topic::new("shop.7.orders");
        let other = ringmesh_tests::live::messages::Echoed {
            number: 1,
            body: Vec::new().into(),
        };
        let reached = node.publisher(&topic).expect("a topic").try_publish(other);
        assert!(reached.expect("room").is_nobody());
        for name in ["", ".", "a..b", "a.*", "**", &"n".repeat(300)] {
            assert!(Topic::<Record>::named(name).is_err(), "{name}");
        }
        assert_eq!(node.topics(), ["shop.*.orders.**"]);
    });
    assert_eq!(
        reading.finish(),
        ["shop.7.orders", "shop.8.orders.new.urgent"]
    );
}

#[test]
fn what_is_long_takes_the_large_lane_and_what_is_too_long_is_given_back() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let (pending, subscribed) = reading(&nodes[1], 1, 3);
    subscribed.recv().expect("it subscribes");
    nodes[0].run(|node| async move {
        let publisher = publisher(&node);
        for (number, bytes) in [(0, 200 << 10), (1, 600 << 10), (2, 1900 << 10)] {
            let message = record_of(number, bytes);
            let reached = publisher.publish(message).await.expect("room");
            assert_eq!((reached.nodes, reached.lost), (1, 0), "{bytes}");
        }
        let refused = publisher.publish(record_of(3, 3 << 20)).await;
        assert!(matches!(refused, Err(PublishError::TooLarge { .. })));
    });
    let mut numbers = pending.finish();
    // Lanes have no order between each other.
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2]);
}
