//! Processes that die, and what becomes of the others.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Running, loadgen};

/// The measuring processes that `parent` started: their ids and plans.
fn measuring(parent: u32) -> Vec<(i32, Value)> {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let pids = std::fs::read_to_string(children).unwrap_or_default();
    let plan = |pid: &str| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let plan = line.split(|byte| *byte == 0).nth(2)?;
        Some((pid.parse().ok()?, serde_json::from_slice(plan).ok()?))
    };
    pids.split_whitespace().filter_map(plan).collect()
}

/// Waits until `run` has started `count` measuring processes.
pub(super) fn wait_for_measuring(run: &mut Running, count: usize) -> Vec<(i32, Value)> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let processes = measuring(run.child().id());
        if processes.len() == count {
            return processes;
        }
        assert!(
            Instant::now() < deadline,
            "{count} processes start: {processes:?}"
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_run_survives_the_death_of_either_side_and_reports_it() {
    for workload in ["floor stream", "floor echo", "stream", "echo"] {
        for (victim, is_victim) in [
            ("receiver", Value::is_null as fn(&Value) -> bool),
            ("sender", Value::is_string),
        ] {
            let line = format!("{workload} --size 64 --seconds 100 --mode park --json");
            let mut command = loadgen(&line);
            let mut run = Running::start(command.stdin(Stdio::null()).stderr(Stdio::piped()));
            let processes = wait_for_measuring(&mut run, 2);
            let (pid, _) = processes
                .iter()
                .find(|(_, plan)| is_victim(&plan["to"]))
                .expect("one of each side");
            let pid = Pid::from_raw(*pid).expect("a process id");
            kill_process(pid, Signal::KILL).expect("it lives");
            let output = run.ends();
            let stderr = String::from_utf8(output.stderr).expect("text");
            assert_eq!(
                output.status.code(),
                Some(1),
                "{workload}, {victim}: {stderr}"
            );
            assert!(
                output.stdout.is_empty(),
                "{workload}, {victim}: figures of a broken run"
            );
            let word = format!("the {victim} died: signal: 9");
            assert!(stderr.contains(&word), "{workload}, {victim}: {stderr}");
        }
    }
}

#[test]
fn a_measuring_process_ends_when_its_parent_is_gone() {
    for mover in ["engine", "floor"] {
        let plan = serde_json::json!({
            "round": {
                "mover": mover, "traffic": "stream", "payload_bytes": 64, "mode": "park",
                "pod": false, "connections": 1, "rate_per_second": null, "sample_one_way": false,
                "is_cut": false,
                "warm_up": {"secs": 0, "nanos": 0}, "measured": {"secs": 60, "nanos": 0},
            },
            "cpu": 0, "other_cpu": 0, "cpu_is_shared": false, "to": null,
        });
        let (mut child, _) = Running::listening(loadgen("__peer").arg(plan.to_string()));
        drop(child.child().stdin.take());
        assert!(child.ends().status.success(), "{mover}");
    }
}

#[test]
fn a_mesh_that_dies_is_reported() {
    let mut command = loadgen("floor mesh --size 64 --seconds 100 --json");
    let mut run = Running::start(command.stdin(Stdio::null()).stderr(Stdio::piped()));
    let processes = wait_for_measuring(&mut run, 1);
    let pid = Pid::from_raw(processes[0].0).expect("a process id");
    kill_process(pid, Signal::KILL).expect("it lives");
    let output = run.ends();
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty(), "figures of a broken run");
    assert!(stderr.contains("died: signal: 9"), "{stderr}");
}
