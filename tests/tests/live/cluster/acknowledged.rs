//! Publishes that say whom they have reached.

use std::time::Duration;

use ringmesh::pubsub::{GroupName, Level, OnFull, Policy, PublishError, Publisher, Topic};
use ringmesh::{CoreId, Executed, Node};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::{books_of, on_core, run_on, total};
use ringmesh_tests::live::messages::Record;
use ringmesh_tests::live::node::LiveNode;

use super::{Frozen, cluster_of, watchful};

const RECORDS: Topic<Record> = Topic::new("tests.acknowledged");

fn record(number: u64) -> Record {
    Record {
        number,
        body: vec![7; 32].into(),
    }
}

fn publisher(node: &Node) -> Publisher<Record> {
    let publisher = node.publisher(&RECORDS).expect("a topic");
    publisher.timeout(WAIT)
}

/// Has a core of a node hold a subscription with room for so many until the node ends.
fn subscribe(node: &LiveNode, core: u16, queue: usize, group: Option<&'static str>) {
    node.run(move |node| async move {
        let begin = move |node: Node| async move {
            let mut subscribe = node.subscribe(&RECORDS).expect("a topic").queue(queue);
            if let Some(group) = group {
                subscribe = subscribe.group(GroupName::new(group).expect("a name"));
            }
            let begun = subscribe
                .on_full(OnFull::DropNewest)
                .begin_known(Level::AllReachable)
                .await;
            let (subscription, known) = begun.expect("room");
            assert!(known.is_some_and(|it| it.is_enough));
            let held = async move {
                let _subscription = subscription;
                std::future::pending::<()>().await;
            };
            node.spawn_task(held).expect("room");
        };
        on_core(&node, CoreId(core), begin).await;
    });
}

#[test]
fn a_publish_says_on_how_many_nodes_how_many_subscribers_have_it() {
    let nodes = cluster_of(3, &watchful(), |builder| builder.cores(2));
    run_on(&nodes[0], 1, |node| async move {
        let outcome = publisher(&node).publish_acknowledged(record(0)).await;
        let outcome = outcome.expect("room");
        assert!(outcome.is_complete() && outcome.is_dead_letter());
        assert_eq!(node.counters().published_to_nobody, 1);
    });
    for (node, core) in [(0, 0), (0, 1), (1, 1), (2, 0), (2, 1), (2, 1)] {
        subscribe(&nodes[node], core, 100, None);
    }
    // Room for one alone.
    subscribe(&nodes[1], 0, 1, None);
    for core in [0, 1] {
        let outcome = run_on(&nodes[0], core, |node| async move {
            publisher(&node).publish_acknowledged(record(1)).await
        });
        let outcome = outcome.expect("room");
        assert!(outcome.is_complete(), "{outcome:?}");
        let subscribers = if core == 0 { 7 } else { 6 };
        assert_eq!((outcome.nodes, outcome.subscribers), (3, subscribers));
    }
    // Wherever the one member of a group is, it counts.
    subscribe(&nodes[2], 1, 100, Some("workers"));
    let outcome = run_on(&nodes[0], 1, |node| async move {
        publisher(&node).publish_acknowledged(record(2)).await
    });
    assert_eq!(outcome.expect("room").subscribers, 7);
    let books: Vec<_> = nodes.iter().flat_map(books_of).collect();
    assert_eq!(total(&books, |it| it.publish_answers_lost), 0);
    assert_eq!(total(&books, |it| it.publish_answers_late), 0);
    assert_eq!(total(&books, |it| it.published_malformed), 0);
}

#[test]
fn a_publish_for_a_member_at_each_core_says_how_many_have_it() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let places = [(0, 0), (0, 1), (1, 0), (1, 1)];
    for (node, core) in places {
        subscribe(&nodes[node], core, 100, Some("workers"));
    }
    for ungrouped in 0..2 {
        for core in [0, 1] {
            let outcome = run_on(&nodes[0], core, |node| async move {
                let each = publisher(&node).policy(Policy::Broadcast);
                each.publish_acknowledged(record(1)).await
            });
            let outcome = outcome.expect("room");
            assert!(outcome.is_complete(), "{outcome:?}");
            let subscribers = 4 + ungrouped;
            assert_eq!((outcome.nodes, outcome.subscribers), (2, subscribers));
        }
        subscribe(&nodes[1], 1, 100, None);
    }
    let books: Vec<_> = nodes.iter().flat_map(books_of).collect();
    assert_eq!(total(&books, |it| it.published_malformed), 0);
}

#[test]
fn a_node_that_does_not_answer_is_named_at_the_deadline_and_one_that_is_lost_before() {
    let nodes = cluster_of(3, &watchful(), |builder| builder.cores(1));
    nodes.iter().for_each(|it| subscribe(it, 0, 9_000, None));
    let frozen = Frozen::freeze(&nodes[1]);
    let missing = nodes[0].run(|node| async move {
        let brief = publisher(&node).timeout(Duration::from_millis(200));
        let outcome = brief.publish_acknowledged(record(0)).await.expect("room");
        assert_eq!((outcome.nodes, outcome.subscribers), (2, 2));
        assert!(outcome.lost.is_empty() && !outcome.is_complete());
        outcome.missing
    });
    assert_eq!(missing, [nodes[1].id().uid]);
    // It is found silent before the time is over.
    let outcome =
        nodes[0].run(|node| async move { publisher(&node).publish_acknowledged(record(1)).await });
    let outcome = outcome.expect("room");
    assert_eq!((outcome.nodes, outcome.subscribers), (2, 2));
    assert_eq!(outcome.lost, [nodes[1].id().uid], "{outcome:?}");
    frozen.thaw();
    nodes[0].until("late answers", |it| it.publish_answers_late == 2);
}

#[test]
fn a_subscriber_that_ends_while_it_is_waited_for_is_none_that_was_reached() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    let (ready, begun) = std::sync::mpsc::channel();
    let ending = nodes[1].begin(move |node| async move {
        let begin = |on_full, queue| {
            let subscribe = node.subscribe(&RECORDS).expect("a topic");
            let subscribe = subscribe.queue(queue).on_full(on_full);
            subscribe.begin_known(Level::AllReachable)
        };
        let (full, _) = begin(OnFull::Wait(WAIT), 1).await.expect("room");
        let (mut other, _) = begin(OnFull::DropNewest, 9).await.expect("room");
        let _ = ready.send(());
        for _ in 0..2 {
            other.recv().await.expect("none is lost");
        }
        // The second has come, and waits.
        drop(full);
        node.counters().subscribers_dropped
    });
    begun.recv_timeout(WAIT).expect("there is room");
    let reached = nodes[0].run(|node| async move {
        let mut reached = Vec::new();
        for number in 0..2 {
            let outcome = publisher(&node).publish_acknowledged(record(number)).await;
            let outcome = outcome.expect("room");
            assert!(outcome.is_complete(), "{outcome:?}");
            reached.push(outcome.subscribers);
        }
        reached
    });
    assert_eq!((reached, ending.finish()), (vec![2, 1], 0));
    nodes[1].until("lost", |it| it.subscribers_dropped == 1);
}

#[test]
fn one_over_the_publishes_that_may_wait_is_refused_until_one_waits_no_more() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    subscribe(&nodes[1], 0, 9_000, None);
    // A link takes less before it is up.
    nodes[0].run(|node| async move {
        let outcome = publisher(&node).publish_acknowledged(record(0)).await;
        assert_eq!(outcome.expect("room").subscribers, 1);
    });
    let frozen = Frozen::freeze(&nodes[1]);
    nodes[0].run(|node| async move {
        let publisher = publisher(&node);
        let mut waiting = Vec::new();
        let mut over = 0;
        for number in 0..1026 {
            if number % 500 == 0 {
                // A core lets its waiting sends go ahead a thousand times in a turn.
                node.sleep(Duration::ZERO).await;
            }
            let mut waits = Box::pin(publisher.publish_acknowledged(record(number)));
            let polled = std::future::poll_fn(|context| {
                std::task::Poll::Ready(waits.as_mut().poll(context))
            });
            match polled.await {
                std::task::Poll::Pending => waiting.push(waits),
                std::task::Poll::Ready(refused) => {
                    let refused = refused.expect_err("nobody answers");
                    assert!(matches!(refused, PublishError::TooManyWait { .. }));
                    assert_eq!(refused.executed(), Executed::No);
                    over += 1;
                }
            }
        }
        assert_eq!((waiting.len(), over), (1024, 2));
        waiting.pop();
        let mut again = Box::pin(publisher.publish_acknowledged(record(0)));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(again.as_mut().poll(context).is_pending())
        });
        assert!(polled.await, "there is room for one more");
    });
    frozen.thaw();
    nodes[0].until("answers to nobody", |it| it.publish_answers_late >= 1025);
    nodes[0].run(|node| async move {
        let outcome = publisher(&node).publish_acknowledged(record(0)).await;
        assert_eq!(outcome.expect("room").subscribers, 1);
    });
}
