//! Ends of actors and nodes: each local message is handled or dropped once, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ringmesh::{CoreId, DeadLetterReason, Engine, IdleMode, Node, NodeBuilder, Ref, SendError};
use ringmesh_proto::limits::LOCAL_MESSAGES_MAX;
use ringmesh_tests::live::SYSTEM;
use ringmesh_tests::live::books::assert_closed_at_the_end;
use ringmesh_tests::live::node::LiveNode;

use super::{Alive, Job, Numbered, Worker, WorkerApi, done, held_up, send, settled, turn};

fn builder(cores: usize) -> NodeBuilder {
    Engine::node(SYSTEM).idle(IdleMode::Park).cores(cores)
}

#[test]
fn messages_for_an_actor_that_stopped_are_dead_letters() {
    let node = LiveNode::of_cores(2);
    node.run(|node| async move {
        let mut letters = node.dead_letters();
        for core in [0, 1].map(CoreId) {
            let alive = Alive::default();
            let worker = node.spawn_on(core, Worker::default).await.expect("room");
            done(worker, |_, cx| cx.stop()).await;
            // More than may be on their way: those give their places back too.
            for number in 0..2 * LOCAL_MESSAGES_MAX {
                send(worker, Numbered::new(number, &alive)).await;
                if number % 100 == 0 {
                    let letter = letters.next().await.expect("the node runs");
                    assert_eq!(letter.reason, DeadLetterReason::NoRecipient);
                    assert_eq!((letter.core, &letter.peer), (core, node.id()));
                    assert!(letter.recipient.is_some(), "{letter}");
                } else {
                    while letters.try_next().is_some() {}
                }
            }
            while alive.count() > 0 {
                turn().await;
            }
            while letters.try_next().is_some() {}
        }
        for books in settled(&node).await.cores {
            assert_eq!(books.local_dead, 2 * LOCAL_MESSAGES_MAX, "{books:#?}");
        }
    });
}

/// Panics when it drops, unless something does already.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(thread::panicking(), "a bomb");
    }
}

fn armed() -> Job {
    let bomb = Bomb;
    Job::new(move |_, _| std::mem::forget(bomb))
}

#[test]
fn a_handler_that_panics_ends_its_actor_and_no_other() {
    let node = LiveNode::of_cores(2);
    node.run(|node| async move {
        for core in [0, 1].map(CoreId) {
            let [one, other] = [
                node.spawn_on(core, Worker::default).await.expect("room"),
                node.spawn_on(core, Worker::default).await.expect("room"),
            ];
            send(one, Job::new(|_, _| panic!("told to by a test"))).await;
            // Undelivered, and with a bang.
            send(one, armed()).await;
            // Delivered, and dropped in the handler.
            send(other, Job::new(|_, _| drop(Bomb))).await;
            let third = node.spawn_on(core, Worker::default).await.expect("room");
            // One that stops itself before it panics is gone as well.
            let both = |_: &mut Worker, cx: &mut ringmesh::Cx<'_, Worker>| {
                assert!(cx.node().stop(&cx.me()));
                panic!("told to by a test");
            };
            send(third, Job::new(both)).await;
            let fourth = node.spawn_on(core, Worker::default).await.expect("room");
            assert_eq!(done(fourth, |_, cx| cx.node().core()).await, core);
        }
        // The fourth worker of each core, and on the control core its directory.
        while node.metrics().total.actors != 3 {
            turn().await;
        }
        for books in settled(&node).await.cores {
            assert_eq!((books.panics, books.local_dead), (4, 1), "{books:#?}");
            assert_eq!(books.local_delivered, 4, "{books:#?}");
        }
    });
}

#[test]
fn what_panics_in_its_drop_when_the_node_ends_costs_nobody_the_result() {
    const ARMED: u64 = 50;
    for core in [0, 1].map(CoreId) {
        let builder = builder(2).settings(|settings| settings.mesh_slots = 2);
        let reader = builder.metrics_reader();
        let result = builder.run(move |node| async move {
            let worker = node.spawn_on(core, Worker::default).await.expect("room");
            let stopped = node.spawn_on(core, Worker::default).await.expect("room");
            done(stopped, |_, cx| cx.stop()).await;
            let release = match core {
                CoreId(0) => None,
                _ => Some(held_up(worker).await),
            };
            for _ in 0..ARMED {
                stopped.try_tell_local(armed()).expect("room");
            }
            drop(release);
            7
        });
        assert!(matches!(result, Ok(7)), "{result:?}");
        let metrics = reader.metrics();
        assert_closed_at_the_end(&metrics);
        let total = metrics.total;
        assert_eq!(
            (total.panics, total.local_dead),
            (ARMED, ARMED),
            "{total:#?}"
        );
    }
}

/// Sends numbers to `workers` in turn, as fast as there is room, until the node stops.
async fn flood(workers: Vec<Ref<WorkerApi>>, alive: Alive, sent: Arc<AtomicU64>) {
    for number in 0.. {
        let worker = workers[number as usize % workers.len()];
        let mut message = Numbered::new(number, &alive);
        loop {
            match worker.try_tell_local(message) {
                Ok(()) => break,
                Err(SendError::Full(back)) => message = back,
                Err(SendError::Stopping(_) | SendError::NotRunning(_)) => return,
                Err(error) => panic!("{error:?}"),
            }
            turn().await;
        }
        sent.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_node_that_stops_under_load_loses_no_message_from_its_books() {
    const CORES: usize = 3;
    for slots in [2, 1024] {
        let (alive, sent) = (Alive::default(), Arc::new(AtomicU64::new(0)));
        let builder = builder(CORES).settings(move |settings| settings.mesh_slots = slots);
        let reader = builder.metrics_reader();
        let (alive_there, sent_there) = (alive.clone(), Arc::clone(&sent));
        let ended = builder.run(move |node| async move {
            let workers = node.spawn_each(|_| Worker::default()).await.expect("room");
            for core in node.cores() {
                let (workers, alive) = (workers.clone(), alive_there.clone());
                let sent = Arc::clone(&sent_there);
                let task = move |_: Node| flood(workers, alive, sent);
                node.spawn_task_on(core, task).await.expect("room");
            }
            while node.metrics().total.local_delivered < 20_000 {
                turn().await;
            }
        });
        ended.expect("it ends in order");
        let metrics = reader.metrics();
        assert_closed_at_the_end(&metrics);
        let total = metrics.total;
        assert_eq!(total.local_sent, sent.load(Ordering::Relaxed), "{total:#?}");
        assert_eq!((alive.count(), total.panics), (0, 0), "each dropped once");
    }
}
