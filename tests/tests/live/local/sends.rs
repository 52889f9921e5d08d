//! Where local messages get, in which order, and where they do not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;

use ringmesh::{
    Actor, CoreId, Cx, DeadLetterReason, Executed, Handler, IdleMode, Msg, Ref, SendError, message,
    protocol,
};
use ringmesh_proto::limits::LOCAL_MESSAGES_MAX;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Record, Sink};
use ringmesh_tests::live::node::LiveNode;

use super::{Alive, Job, Numbered, Worker, WorkerApi, done, held_up, send, settled};

const WORKER: &str = "worker";

#[test]
fn values_reach_actors_of_this_core_and_another_when_both_park() {
    const ROUNDS: u64 = 50;
    for idle in [IdleMode::Park, IdleMode::Hybrid(Duration::from_micros(50))] {
        let node = LiveNode::start_with(|builder| builder.cores(2).idle(idle));
        node.run(|node| async move {
            let me = node.id().clone();
            for core in [0, 1].map(CoreId) {
                let worker = node.spawn_on(core, Worker::default).await.expect("room");
                for _ in 0..ROUNDS {
                    // Something that no archive holds.
                    let token = Box::new(std::cell::Cell::new(7));
                    let seen = done(worker, move |_, cx| {
                        (cx.node().core(), cx.sender(), cx.deadline(), token.get())
                    });
                    assert_eq!(seen.await, (core, Some(me.clone()), None, 7));
                }
            }
        });
        let books = node.counters();
        assert_closed(&books);
        assert_eq!(
            (books.local_sent, books.local_delivered),
            (2 * ROUNDS, ROUNDS)
        );
        assert_eq!(books.local_dead, 0, "{books:#?}");
    }
}

#[test]
fn no_handler_runs_within_the_send() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let alive = Alive::default();
        let worker = node.spawn(Worker::default()).expect("room");
        for number in 1..=10 {
            let numbered = Numbered::new(number, &alive);
            worker.try_tell_local(numbered).expect("room");
            assert_eq!(alive.count(), number, "none was handled");
        }
        let numbers = done(worker, |worker, cx| {
            // Nor within a send to itself.
            let stop = Job::new(|_, cx| cx.stop());
            cx.me().try_tell_local(stop).expect("room");
            worker.numbers.clone()
        });
        assert_eq!(numbers.await, (1..=10).collect::<Vec<_>>());
        assert_eq!(alive.count(), 0);
    });
}

#[test]
fn messages_between_two_cores_keep_their_order() {
    const MESSAGES: u64 = 100_000;
    let node = LiveNode::of_cores(2);
    let full = node.run(|node| async move {
        let worker = node.spawn_on(CoreId(1), Worker::default).await;
        let worker = worker.expect("room");
        let alive = Alive::default();
        let mut full = 0;
        for number in 0..MESSAGES {
            full += send(worker, Numbered::new(number, &alive)).await;
        }
        let is_in_order = done(worker, |worker, _| {
            let numbers = worker.numbers.iter();
            worker.numbers.len() as u64 == MESSAGES && numbers.copied().eq(0..MESSAGES)
        });
        assert!(is_in_order.await);
        assert_eq!(alive.count(), 0);
        full
    });
    assert!(full > 0, "nobody had to wait: the bound was not tried");
    let there = node.run(|node| async move { settled(&node).await.cores[1] });
    assert_eq!(there.local_delivered, MESSAGES + 1);
}

#[test]
fn one_over_the_local_messages_between_two_cores_comes_back() {
    for core in [0, 1].map(CoreId) {
        let node = LiveNode::of_cores(2);
        node.run(move |node| async move {
            let alive = Alive::default();
            let worker = node.spawn_on(core, Worker::default).await.expect("room");
            // The message that holds the other core up has a place until it is handled.
            let (release, places) = if core == node.core() {
                (None, LOCAL_MESSAGES_MAX)
            } else {
                (Some(held_up(worker).await), LOCAL_MESSAGES_MAX - 1)
            };
            for number in 0..places {
                let numbered = Numbered::new(number, &alive);
                worker.try_tell_local(numbered).expect("room");
            }
            for _ in 0..3 {
                let refused = worker.try_tell_local(Numbered::new(u64::MAX, &alive));
                let error = refused.expect_err("no room");
                assert!(matches!(error, SendError::Full(_)), "{error:?}");
                assert_eq!(error.executed(), Executed::No);
                assert_eq!(error.into_message().number, u64::MAX);
            }
            assert_eq!(alive.count(), places, "those that came back are gone");
            drop(release);
            let numbers = done(worker, |worker, _| worker.numbers.clone());
            assert_eq!(numbers.await, (0..places).collect::<Vec<_>>());
        });
    }
}

/// Hands a ref on, to be read as one of another protocol.
#[message(id = "tests.Mislead", v = 1)]
struct Mislead {
    worker: Ref<WorkerApi>,
}

/// What a [`Worker`] does not know.
#[message(local)]
struct Riddle;

protocol! { MisleadApi = "tests.mislead" { Mislead } }

protocol! { OtherApi = "tests.other" { local Riddle } }

mod same_name {
    // Of the same name as that of a worker, and with other messages.
    ringmesh::protocol! { pub(super) WorkerApi = "tests.worker" { local super::Riddle } }
}

struct Misled;

impl Actor for Misled {
    type Api = MisleadApi;
}

impl Handler<Mislead> for Misled {
    fn handle(&mut self, mislead: Msg<Mislead>, _: &mut Cx<'_, Self>) {
        let other: Ref<OtherApi> = mislead.worker.get();
        let refused = other.try_tell_local(Riddle);
        assert!(
            matches!(refused, Err(SendError::NotRunning(_))),
            "{refused:?}"
        );
        let same_name: Ref<same_name::WorkerApi> = mislead.worker.get();
        same_name.try_tell_local(Riddle).expect("it is sent");
    }
}

#[test]
fn a_ref_of_another_protocol_brings_nobody_a_message_it_does_not_know() {
    let node = LiveNode::of_cores(2);
    node.run(|node| async move {
        let mut letters = node.dead_letters();
        let misled = node.spawn(Misled).expect("room");
        for core in [0, 1].map(CoreId) {
            let worker = node.spawn_on(core, Worker::default).await.expect("room");
            misled.tell(Mislead { worker }).await.expect("room");
            let letter = letters.next().await.expect("the node runs");
            assert_eq!(letter.reason, DeadLetterReason::UnknownMessage);
            assert_eq!((letter.core, letter.count), (core, 1));
            // The worker goes on.
            assert_eq!(done(worker, |worker, _| worker.numbers.len()).await, 0);
        }
        let total = settled(&node).await.total;
        assert_eq!((total.local_dead, total.panics), (2, 0), "{total:#?}");
        // Those are the accounts of others.
        assert_eq!(total.dead_received, 0, "{total:#?}");
    });
}

#[test]
fn a_local_message_stays_on_its_node_and_comes_back() {
    let [here, there] = [LiveNode::start(), LiveNode::start()];
    there.run(|node| async move {
        let worker = Worker::default();
        node.spawn_named(WORKER, worker).expect("a free name");
    });
    let path = there.path(WORKER);
    let worker = here.run(|node| async move {
        let alive = Alive::default();
        let worker: Ref<WorkerApi> = node.resolve(&path).await.expect("it is there");
        let refused = worker.try_tell_local(Numbered::new(3, &alive));
        let error = refused.expect_err("it is elsewhere");
        assert!(matches!(error, SendError::NotLocal(_)), "{error:?}");
        assert_eq!(error.into_message().number, 3);
        worker
    });
    // The ref means nothing on another node of the process, nor on this thread.
    let refused = there.run(move |_| async move { worker.try_tell_local(Job::new(|_, _| ())) });
    assert!(
        matches!(refused, Err(SendError::OtherCore(_))),
        "{refused:?}"
    );
    let refused = worker.try_tell_local(Job::new(|_, _| ()));
    assert!(matches!(refused, Err(SendError::OffCore(_))), "{refused:?}");
    for node in [here, there] {
        let books = node.counters();
        assert_eq!(
            (books.local_sent, books.local_received),
            (0, 0),
            "{books:#?}"
        );
    }
}

/// A job that sends itself again, until it is enough.
fn endless(enough: Arc<AtomicBool>) -> Job {
    Job::new(move |_, cx| {
        if !enough.load(Ordering::Relaxed) {
            let again = endless(enough);
            cx.me()
                .try_tell_local(again)
                .expect("its own place is free");
        }
    })
}

#[test]
fn neither_local_nor_archived_messages_starve_the_others() {
    // More than a turn handles.
    const JOBS: usize = 600;
    const ROUNDS: u64 = 20;
    let node = LiveNode::start_serving();
    let path = node.path(ECHO);
    node.run(|node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("it is there");
        let busy = node.spawn(Worker::default()).expect("room");
        let enough = Arc::new(AtomicBool::new(false));
        for _ in 0..JOBS {
            send(busy, endless(Arc::clone(&enough))).await;
        }
        for number in 0..ROUNDS {
            let body = Bytes::new();
            echo.ask(Echo { number, body }).await.expect("an answer");
        }
        enough.store(true, Ordering::Relaxed);
        assert_eq!(done(busy, |worker, _| worker.numbers.len()).await, 0);

        let sink = node.spawn(Sink::default()).expect("room");
        let enough = Arc::new(AtomicBool::new(false));
        let is_enough = Arc::clone(&enough);
        let flood = async move {
            let body = Bytes::new();
            for number in 1.. {
                let body = body.clone();
                sink.tell(Record { number, body }).await.expect("room");
                if is_enough.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        node.spawn_task(flood).expect("room");
        for _ in 0..ROUNDS {
            done(busy, |_, _| ()).await;
        }
        enough.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_slow_handler_of_a_local_message_is_counted_and_named() {
    const SLOW: Duration = Duration::from_millis(20);
    let node = LiveNode::start_with(|it| it.settings(|s| s.slow_handler = SLOW));
    node.run(|node| async move {
        let worker = node.spawn_named(WORKER, Worker::default());
        let worker = worker.expect("a free name");
        let hold = |_: &mut Worker, _: &mut Cx<'_, Worker>| {
            let (_silent, never) = sync_channel::<()>(0);
            never.recv_timeout(2 * SLOW).is_err()
        };
        assert!(done(worker, hold).await);
    });
    node.until("the clock to be read", |now| now.slow_handlers > 0);
    let lines = node.log().with("for too long");
    let is_named = |line: &String| line.contains("last_actor=worker") && line.contains("Job");
    assert!(lines.iter().any(is_named), "{lines:#?}");
}
