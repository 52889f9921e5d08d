//! Shutdowns in phases: who runs when, what fails, and what a second signal does.

use std::future::poll_fn;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Poll;
use std::time::Duration;

use ringmesh::shutdown::{PhaseSettings, SHUTDOWN_TASKS_MAX, ShutdownError, ShutdownReason, phase};
use ringmesh::{CoreId, Engine, IdleMode, Node, NodeBuilder};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::on_core;
use ringmesh_tests::live::process::Process;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// More than a signal takes, and far less than a phase.
const AT_ONCE: Duration = Duration::from_secs(2);

fn builder() -> NodeBuilder {
    Engine::node("demo").idle(IdleMode::Park)
}

/// Adds a task that says `word` when it runs.
fn say(node: &Node, phase: &str, word: &'static str, said: &Sender<&'static str>) {
    let said = said.clone();
    let task = move |_| async move { said.send(word) };
    let added = node.coordinated_shutdown().add_task(phase, word, task);
    added.expect("there is such a phase");
}

fn all(heard: &Receiver<&'static str>) -> Vec<&'static str> {
    heard.try_iter().collect()
}

#[test]
fn phases_run_one_by_one_on_all_cores_and_then_the_node_stops() {
    let (said, heard) = channel();
    let ended = builder().cores(2).run(move |node| async move {
        say(&node, phase::NODE_STOP, "last", &said);
        say(&node, phase::SERVICE_STOP, "second", &said);
        let from_afar = said.clone();
        on_core(&node, CoreId(1), move |there| async move {
            say(
                &there,
                phase::BEFORE_NODE_STOP,
                "third, on core 1",
                &from_afar,
            );
            say(
                &there,
                phase::BEFORE_SERVICE_UNBIND,
                "first, on core 1",
                &from_afar,
            );
        })
        .await;
        let shutdown = node.coordinated_shutdown();
        assert_eq!((shutdown.reason(), shutdown.exit_code()), (None, 0));
        on_core(&node, CoreId(1), |there| async move { there.shutdown() }).await;
        assert_eq!(shutdown.begun().await, ShutdownReason::Asked);
        node.until_shutdown().await;
        let _ = said.send("the main future");
        shutdown.reason()
    });
    assert_eq!(ended.expect("it ran"), Some(ShutdownReason::Asked));
    let expected = [
        "first, on core 1",
        "second",
        "third, on core 1",
        "last",
        "the main future",
    ];
    assert_eq!(all(&heard), expected);
}

#[test]
fn what_fails_panics_or_takes_too_long_holds_up_no_phase_behind_it() {
    let (said, heard) = channel();
    let quick = |settings: &mut ringmesh::Settings| {
        settings.shutdown.phase_timeout = Duration::from_millis(20);
    };
    let ended = builder().settings(quick).run(move |node| async move {
        let shutdown = node.coordinated_shutdown();
        let fails = |_| async { Err("it is closed already") };
        let panics = |_| async { panic!("a task") };
        let hangs = |_| std::future::pending::<Result<(), String>>();
        let at = phase::SERVICE_UNBIND;
        shutdown.add_task(at, "fails", fails).expect("room");
        let panicking = shutdown.add_task::<_, _, String>(at, "panics", panics);
        panicking.expect("room");
        let made = shutdown.add_task::<_, std::future::Ready<Result<(), String>>, _>(
            at,
            "panics when it is made",
            |_| panic!("a maker"),
        );
        made.expect("room");
        shutdown.add_task(at, "hangs", hangs).expect("room");
        say(&node, at, "beside them", &said);
        say(&node, phase::SERVICE_STOP, "behind them", &said);
        shutdown.run();
        node.until_shutdown().await;
        assert_eq!(shutdown.ended().await, Ok(()));
    });
    ended.expect("it ran");
    assert_eq!(all(&heard), ["beside them", "behind them"]);
}

#[test]
fn a_phase_that_does_not_recover_ends_the_shutdown_and_the_node_goes_on() {
    let (said, heard) = channel();
    let strict = |settings: &mut ringmesh::Settings| {
        settings.shutdown.phases = vec![PhaseSettings {
            name: phase::SERVICE_UNBIND.to_owned(),
            recover: Some(false),
            ..PhaseSettings::default()
        }];
    };
    let ended = builder()
        .cores(2)
        .settings(strict)
        .run(move |node| async move {
            let shutdown = node.coordinated_shutdown();
            let fails = |_| async { Err("not now") };
            let added = shutdown.add_task(phase::SERVICE_UNBIND, "fails", fails);
            added.expect("room");
            say(&node, phase::SERVICE_STOP, "behind it", &said);
            shutdown.run();
            let phase = phase::SERVICE_UNBIND.to_owned();
            assert_eq!(
                shutdown.ended().await,
                Err(ShutdownError::GivenUp { phase })
            );
            // It goes on as before.
            on_core(&node, CoreId(1), |_| async {}).await;
            let late = shutdown.add_task(phase::SERVICE_UNBIND, "late", |_| async {
                Ok::<(), String>(())
            });
            let phase = phase::SERVICE_UNBIND.to_owned();
            assert_eq!(late.map(drop), Err(ShutdownError::GivenUp { phase }));
            // Asked once more it stops.
            node.shutdown();
            node.until_shutdown().await;
        });
    ended.expect("it ran");
    assert_eq!(all(&heard), Vec::<&str>::new());
}

#[test]
fn tasks_come_and_go_until_their_phase_begins_and_a_phase_may_be_the_first() {
    let (said, heard) = channel();
    let ended = builder().run(move |node| async move {
        let shutdown = node.coordinated_shutdown();
        let nothing = |_: Node| async { Ok::<(), String>(()) };
        let unknown = shutdown.add_task("lunch", "eats", nothing);
        let lunch = || ShutdownError::NoSuchPhase {
            phase: "lunch".to_owned(),
        };
        assert_eq!(unknown.map(drop), Err(lunch()));
        assert_eq!(shutdown.run_from("lunch"), Err(lunch()));
        let once = shutdown.add_task(phase::SERVICE_STOP, "once", nothing);
        assert!(once.expect("room").cancel(), "it has not begun");
        say(&node, phase::SERVICE_UNBIND, "never", &said);
        let later = said.clone();
        let adds = move |node: Node| async move {
            say(&node, phase::BEFORE_NODE_STOP, "added by a task", &later);
            let shutdown = node.coordinated_shutdown();
            let same = shutdown.add_task(phase::SERVICE_STOP, "same", nothing);
            match same {
                Err(ShutdownError::TooLate { .. }) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        };
        let added = shutdown.add_task(phase::SERVICE_STOP, "adds", adds);
        added.expect("room");
        shutdown.run_from(phase::SERVICE_STOP).expect("a phase");
        node.until_shutdown().await;
        let late = shutdown.add_task(phase::NODE_STOP, "late", nothing);
        assert!(matches!(late, Err(ShutdownError::TooLate { .. })));
    });
    ended.expect("it ran");
    assert_eq!(all(&heard), ["added by a task"]);
}

#[test]
fn one_over_the_shutdown_tasks_max_is_refused() {
    let ended = builder().run(|node| async move {
        let shutdown = node.coordinated_shutdown();
        let nothing = |_: Node| async { Ok::<(), String>(()) };
        for _ in 0..SHUTDOWN_TASKS_MAX {
            let added = shutdown.add_task(phase::SERVICE_STOP, "one", nothing);
            added.expect("room");
        }
        let over = shutdown.add_task(phase::NODE_STOP, "over", nothing);
        assert_eq!(over.map(drop), Err(ShutdownError::TooManyTasks));
    });
    ended.expect("it ran");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut process = Process::start(LIVE_NODE, &["linger"]);
    assert_eq!(process.line(), "ready");
    process.terminate();
    assert_eq!(process.line(), "lingering");
    process.interrupt();
    let status = process.wait(AT_ONCE);
    let by = Some(rustix::process::Signal::INT.as_raw());
    assert_eq!(status.signal(), by, "{status}: {:?}", process.log());
}

#[test]
fn a_node_whose_shutdown_hangs_ends_when_its_phase_does() {
    let setting = ["--set", "shutdown.phase_timeout_ms=100", "linger"];
    let mut process = Process::start(LIVE_NODE, &setting);
    assert_eq!(process.line(), "ready");
    process.terminate();
    let status = process.wait(WAIT);
    assert_eq!(status.code(), Some(0), "{status}: {:?}", process.log());
    let warnings = process.log().warnings();
    let told = warnings.iter().filter(|line| line.contains("lingerer"));
    assert_eq!(told.count(), 1, "{warnings:#?}");
}

/// Says so when it drops.
struct Dropped(Sender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[test]
fn what_never_ran_drops_with_its_node() {
    let (said, heard) = channel();
    let ended = builder().run(move |node| async move {
        let kept = Dropped(said);
        let task = move |_| async move {
            drop(kept);
            Ok::<(), String>(())
        };
        let shutdown = node.coordinated_shutdown();
        let added = shutdown.add_task(phase::SERVICE_STOP, "never", task);
        added.expect("room");
    });
    ended.expect("it ran");
    assert_eq!(all(&heard), ["dropped"]);
}

#[test]
fn a_node_stops_behind_all_phases_whichever_are_last_or_switched_off() {
    let (said, heard) = channel();
    let own = |settings: &mut ringmesh::Settings| {
        let named = |name: &str| PhaseSettings {
            name: name.to_owned(),
            ..PhaseSettings::default()
        };
        let behind = PhaseSettings {
            after: vec![phase::NODE_STOP.to_owned()],
            ..named("behind")
        };
        let last = PhaseSettings {
            enabled: Some(false),
            ..named(phase::NODE_STOP)
        };
        settings.shutdown.phases = vec![behind, last];
    };
    let ended = builder().settings(own).run(move |node| async move {
        say(&node, phase::NODE_STOP, "switched off", &said);
        let late = said.clone();
        let task = move |node: Node| async move {
            node.sleep(Duration::from_millis(1)).await;
            late.send("behind")
        };
        let shutdown = node.coordinated_shutdown();
        shutdown.add_task("behind", "late", task).expect("room");
        shutdown.run();
        node.until_shutdown().await;
        assert_eq!(shutdown.ended().await, Ok(()));
    });
    ended.expect("it ran");
    assert_eq!(all(&heard), ["behind"]);
}

/// The signals that this thread blocks, as the kernel says.
fn blocked() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("there is one");
    let line = status.lines().find(|it| it.starts_with("SigBlk:"));
    line.expect("it says so").to_owned()
}

#[test]
fn signals_are_blocked_in_the_calling_thread_for_as_long_as_the_node_runs() {
    let before = blocked();
    let ended = builder().run(|node| async move {
        // Who gives up waiting is not waited for.
        for _ in 0..1_000 {
            let mut waits = pin!(node.until_shutdown());
            let polled = poll_fn(|context| Poll::Ready(waits.as_mut().poll(context))).await;
            assert!(polled.is_pending());
        }
        node.shutdown();
        node.until_shutdown().await;
        blocked()
    });
    assert_ne!(ended.expect("it ran"), before);
    assert_eq!(blocked(), before);
}
