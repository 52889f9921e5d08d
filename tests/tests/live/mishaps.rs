//! Mishaps between the cores of a node, and what they must not cost it: user code that panics where
//! nobody expects it, leases that are kept, and a host that has no more descriptors.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ringmesh::{
    Actor, CoreId, Cx, Engine, EngineError, Handler, IdleMode, LookUp, Msg, Node, Ref,
    ResolveError, SendError, SpawnError, protocol,
};
use ringmesh_proto::limits::ERRANDS_WAITING_MAX;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::messages::{EchoApi, Record};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::process::Process;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

protocol! { KeeperApi = "tests.keeper" { Record } }

thread_local! {
    /// The leases of this core's [`Keeper`].
    static KEPT: RefCell<Vec<Msg<Record>>> = const { RefCell::new(Vec::new()) };
}

/// Keeps every message it gets.
struct Keeper;

impl Actor for Keeper {
    type Api = KeeperApi;
}

impl Handler<Record> for Keeper {
    fn handle(&mut self, record: Msg<Record>, _: &mut Cx<'_, Self>) {
        KEPT.with_borrow_mut(|kept| kept.push(record));
    }
}

#[test]
fn memory_that_leases_gave_back_goes_to_who_waits_for_it() {
    for receiver in [0, 1] {
        let node = LiveNode::start_with(|builder| {
            builder.settings(|settings| {
                settings.cores = 2;
                settings.outgoing_bytes_max = 4 << 20;
                settings.send_timeout = WAIT;
            })
        });
        node.run(move |node| async move {
            let core = CoreId(receiver);
            let keeper = node.spawn_on(core, || Keeper).await.expect("room");
            let record = || Record {
                number: 1,
                body: Bytes::from(vec![7; 60_000]),
            };
            // Nothing is in flight any more, and the leases hold all memory there is.
            loop {
                match keeper.try_tell(record()) {
                    Ok(()) => {}
                    Err(SendError::Full(_)) if node.counters().in_flight == 0 => break,
                    Err(SendError::Full(_)) => node.sleep(Duration::from_millis(1)).await,
                    Err(error) => panic!("{error:?}"),
                }
            }
            let let_go = |_: Node| async { KEPT.with_borrow_mut(Vec::clear) };
            node.spawn_task_on(core, move |there| async move {
                there.sleep(Duration::from_millis(20)).await;
                let_go(there).await;
            })
            .await
            .expect("room");
            keeper.tell(record()).await.expect("memory came back");
        });
    }
}

#[test]
fn a_look_up_that_panics_is_a_name_that_is_not_found() {
    let find = |host: &str, _| match host {
        // As a panic, without its message on stderr, which takes longer than the look-up may.
        "bad.host" => resume_unwind(Box::new("no such thing")),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let node = LiveNode::start_with(move |builder| {
        builder.settings(move |settings| {
            settings.ask_timeout = Duration::from_millis(100);
            settings.look_up = LookUp::with(find);
        })
    });
    node.run(|node| async move {
        for host in ["bad.host", "other.host", "bad.host"] {
            let path = format!("ringmesh://tests@{host}:4000/user/x");
            let resolved: Result<Ref<EchoApi>, _> = node.resolve(&path).await;
            let error = resolved.expect_err("nobody is there");
            assert!(matches!(error, ResolveError::Host { .. }), "{error:?}");
        }
    });
}

/// Panics when it is dropped unused.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(thread::panicking(), "a bomb");
    }
}

#[test]
fn errands_that_panic_in_their_drop_do_not_cost_the_result() {
    const ERRANDS: usize = 100;
    let builder = Engine::node("demo")
        .idle(IdleMode::Park)
        .settings(|settings| {
            settings.cores = 2;
            settings.mesh_slots = 2;
        });
    let result = builder.run(|node| async move {
        let (release, released) = sync_channel::<()>(0);
        // Holds its core up until this one is on its way out.
        let hold = move |_: Node| async move {
            // Either way it is time to go on.
            let _ = released.recv_timeout(Duration::from_millis(300));
        };
        node.spawn_task_on(CoreId(1), hold).await.expect("room");
        for _ in 0..ERRANDS {
            let there = node.clone();
            let errand = async move {
                let bomb = Bomb;
                let keep = move |_: Node| async move {
                    let _bomb = bomb;
                    std::future::pending::<()>().await;
                };
                drop(there.spawn_task_on(CoreId(1), keep).await);
            };
            node.spawn_task(errand).expect("room");
        }
        node.sleep(Duration::from_millis(20)).await;
        drop(release);
        7
    });
    assert!(matches!(result, Ok(7)), "{result:?}");
}

#[test]
fn errands_one_over_what_may_wait_for_a_core_are_refused() {
    // Those in the ring, in front of those that wait.
    const SLOTS: usize = 2;
    let node = LiveNode::start_with(|builder| {
        builder.settings(|settings| {
            settings.cores = 2;
            settings.mesh_slots = SLOTS;
        })
    });
    node.run(|node| async move {
        let (release, released) = sync_channel::<()>(0);
        let (held, holds) = futures_channel::oneshot::channel();
        let hold = move |_: Node| async move {
            held.send(()).expect("the test waits");
            // Either way it is time to go on.
            let _ = released.recv_timeout(WAIT);
        };
        node.spawn_task_on(CoreId(1), hold).await.expect("room");
        holds.await.expect("core 1 is held up");
        let mut accepted = Vec::new();
        let refused = loop {
            let nothing = |_: Node| async {};
            let mut errand = Box::pin(node.spawn_task_on(CoreId(1), nothing));
            match poll_once(errand.as_mut()).await {
                None => accepted.push(errand),
                Some(outcome) => break outcome,
            }
        };
        assert_eq!(refused, Err(SpawnError::CoreOverloaded { core: 1 }));
        assert_eq!(accepted.len(), SLOTS + ERRANDS_WAITING_MAX);
        drop(release);
        for errand in accepted {
            errand.await.expect("it was accepted");
        }
    });
}

/// The result of a future, if it is there at once.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

#[test]
fn a_node_that_cannot_have_all_its_cores_says_so_and_ends() {
    for descriptors in 8..40 {
        let line = format!("ulimit -n {descriptors}; exec {LIVE_NODE} --set core.count=8 serve");
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]);
        let mut process = Process::spawn(shell);
        let status = process.wait(WAIT);
        assert_eq!(status.code(), Some(1), "{descriptors}: {status}");
    }
}

#[test]
fn the_last_core_may_be_the_one_that_fails() {
    let builder = Engine::node("demo").settings(|settings| {
        settings.cores = 3;
        settings.cpus = vec![0, 4094, 4095];
    });
    let refused = builder.run(|_| async {});
    assert!(
        matches!(refused, Err(EngineError::Core { .. })),
        "{refused:?}"
    );
}
