//! Sends of local messages that wait for room.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringmesh::{CoreId, Engine, IdleMode, Node, Ref, SendError};
use ringmesh_proto::limits::LOCAL_MESSAGES_MAX;
use ringmesh_tests::live::SYSTEM;
use ringmesh_tests::live::books::assert_closed_at_the_end;
use ringmesh_tests::live::node::LiveNode;

use super::{Alive, Numbered, Worker, WorkerApi, done, held_up, settled, turn};

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(20);

/// Sends until there is no room.
fn fill(worker: Ref<WorkerApi>, alive: &Alive) -> u64 {
    let mut number = 0;
    loop {
        match worker.try_tell_local(Numbered::new(number, alive)) {
            Ok(()) => number += 1,
            Err(SendError::Full(_)) => return number,
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn numbers(worker: Ref<WorkerApi>) -> Vec<u64> {
    done(worker, |worker, _| std::mem::take(&mut worker.numbers)).await
}

#[test]
fn a_send_that_waits_goes_on_when_there_is_room_behind_what_was_sent_before() {
    LiveNode::of_cores(2).run(|node| async move {
        let alive = Alive::default();
        for core in [0, 1].map(CoreId) {
            let worker = node.spawn_on(core, Worker::default).await.expect("room");
            // This core takes nothing while the task runs.
            let held = match core {
                CoreId(1) => Some(held_up(worker).await),
                _ => None,
            };
            let taken = fill(worker, &alive);
            assert!(taken + 1 >= LOCAL_MESSAGES_MAX, "{taken}");
            let late = worker
                .tell_local(Numbered::new(taken, &alive))
                .timeout(HOUR);
            drop(held);
            late.await.expect("room comes");
            let expected: Vec<u64> = (0..=taken).collect();
            assert_eq!(numbers(worker).await, expected);
        }
        assert_eq!(alive.count(), 0);
        settled(&node).await;
    });
}

#[test]
fn a_send_that_finds_no_room_in_time_gives_its_message_back() {
    LiveNode::of_cores(2).run(|node| async move {
        let alive = Alive::default();
        let worker = node.spawn_on(CoreId(1), Worker::default).await;
        let worker = worker.expect("room");
        let held = held_up(worker).await;
        let taken = fill(worker, &alive);
        let late = worker
            .tell_local(Numbered::new(taken, &alive))
            .timeout(SHORT);
        match late.await {
            Err(SendError::TimedOut { message, after }) => {
                assert_eq!((message.number, after), (taken, SHORT));
            }
            other => panic!("{:?}", other.err()),
        }
        // One that is dropped while it waits takes its message with it.
        let mut dropped = worker
            .tell_local(Numbered::new(taken, &alive))
            .timeout(HOUR);
        std::future::poll_fn(|context| {
            let polled = Future::poll(std::pin::Pin::new(&mut dropped), context);
            assert!(polled.is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        assert_eq!(alive.count(), taken + 1);
        drop(dropped);
        assert_eq!(alive.count(), taken);
        drop(held);
        assert_eq!(numbers(worker).await.len() as u64, taken);
        settled(&node).await;
    });
}

#[test]
fn many_that_wait_all_get_their_turn_each_in_its_order() {
    const SENDERS: u64 = 50;
    const EACH: u64 = 200;
    LiveNode::of_cores(3).run(|node| async move {
        let alive = Alive::default();
        let worker = node.spawn_on(CoreId(1), Worker::default).await;
        let worker = worker.expect("room");
        let failed = Arc::new(Mutex::new(Vec::new()));
        for sender in 0..SENDERS {
            let (alive, failed) = (alive.clone(), Arc::clone(&failed));
            let task = move |_: Node| async move {
                for number in 0..EACH {
                    let message = Numbered::new(sender * EACH + number, &alive);
                    let told = worker.tell_local(message).timeout(HOUR).await;
                    if let Err(error) = told {
                        let error = format!("{error:?}");
                        failed.lock().expect("nobody panicked").push(error);
                    }
                }
            };
            // From all cores, its own among them.
            let core = CoreId((sender % 3) as u16);
            node.spawn_task_on(core, task).await.expect("room");
        }
        let mut came: Vec<u64> = Vec::new();
        while (came.len() as u64) < SENDERS * EACH {
            came.extend(numbers(worker).await);
            turn().await;
        }
        assert_eq!(*failed.lock().expect("nobody panicked"), [""; 0]);
        for sender in 0..SENDERS {
            let own = came.iter().filter(|number| **number / EACH == sender);
            assert!(own.is_sorted(), "sender {sender}");
        }
        assert_eq!(settled(&node).await.total.local_dead, 0);
    });
}

#[test]
fn a_send_that_waits_while_the_node_stops_keeps_nobody() {
    let alive = Alive::default();
    let count = alive.clone();
    let builder = Engine::node(SYSTEM).idle(IdleMode::Park).cores(2);
    let reader = builder.metrics_reader();
    let ended = builder.run(move |node| async move {
        let worker = node.spawn_on(CoreId(1), Worker::default).await;
        let worker = worker.expect("room");
        let held = held_up(worker).await;
        let taken = fill(worker, &alive);
        let late = worker
            .tell_local(Numbered::new(taken, &alive))
            .timeout(HOUR);
        let waits = async move { drop(late.await) };
        node.spawn_task(waits).expect("room");
        turn().await;
        drop(held);
    });
    ended.expect("the node ends in order");
    assert_eq!(count.count(), 0, "each is dropped once");
    assert_closed_at_the_end(&reader.metrics());
}
