//! The program as scripts see it: stdout, exit codes, and processes that die.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn loadgen(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(line.split_whitespace());
    command
}

fn run(line: &str) -> Output {
    loadgen(line)
        .stdin(Stdio::null())
        .output()
        .expect("loadgen starts")
}

/// The one JSON line of a run that went well.
fn report(line: &str) -> Value {
    let output = run(line);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{line}: {}: {stderr}",
        output.status
    );
    let stdout = String::from_utf8(output.stdout).expect("text");
    assert_eq!(
        stdout.lines().count(),
        1,
        "{line}: one line, nothing else: {stdout}"
    );
    serde_json::from_str(&stdout).expect("JSON")
}

#[test]
fn the_floor_streams_between_two_processes() {
    for mode in ["spin", "hybrid", "park"] {
        let report = report(&format!(
            "floor stream --size 64 --seconds 0.2 --mode {mode} --json"
        ));
        assert_eq!(report["workload"], "floor_stream");
        assert_eq!(report["mode"], mode);
        assert_eq!(report["payload_bytes"], 64);
        let seconds = report["seconds"].as_f64().expect("measured time");
        assert!(seconds >= 0.2, "{seconds}");
        assert!(
            report["messages"].as_u64().expect("a count") > 1000,
            "{report}"
        );
        assert_eq!(
            (&report["lost"], &report["corrupt"]),
            (&0.into(), &0.into())
        );
        assert!(report["cpu_ns_per_message"].as_f64().expect("CPU time") > 0.0);
        assert!(report["p50_ns"].is_null());
        assert_eq!(
            report["floor_messages_per_second"],
            report["messages_per_second"]
        );
        let allocations = report["allocations_per_message"]
            .as_f64()
            .expect("allocations");
        assert!(allocations < 0.01, "{allocations} allocations per record");
    }
}

#[test]
fn the_floor_carries_records_larger_than_its_batch() {
    let report = report("floor stream --size 262128 --seconds 0.2 --json");
    assert!(
        report["messages"].as_u64().expect("a count") > 0,
        "{report}"
    );
    assert_eq!(report["lost"], 0);
}

#[test]
fn the_floor_echoes_between_two_processes() {
    for (mode, size) in [("spin", 64), ("park", 64), ("park", 65_536)] {
        let line = format!("floor echo --size {size} --seconds 0.2 --mode {mode} --json");
        let report = report(&line);
        assert_eq!(report["workload"], "floor_echo");
        let figure = |key: &str| {
            report[key]
                .as_u64()
                .unwrap_or_else(|| panic!("{key}: {report}"))
        };
        let ladder = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"].map(figure);
        assert!(ladder[0] > 0 && ladder.is_sorted(), "{ladder:?}");
        assert_eq!(report["floor_p50_ns"], report["p50_ns"]);
        assert!(report["floor_messages_per_second"].is_null());
    }
}

#[test]
fn people_get_text_on_stdout_and_nothing_on_stderr() {
    let output = run("floor stream --size 64 --seconds 0.1");
    assert!(output.status.success());
    let stdout = String::from_utf8(output.stdout).expect("text");
    assert!(stdout.starts_with("floor stream 64 B"), "{stdout}");
    assert!(serde_json::from_str::<Value>(&stdout).is_err());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_wrong_command_line_ends_with_2_and_says_why_on_stderr() {
    for line in [
        "stream --size 0",
        "stream --pod --size 65",
        "stream --connections 2",
        "stream --colour blue",
        "echo --rate 0",
        "serve",
        "serve --bind 127.0.0.1:0 --cores 2",
        "floor",
        "nonsense",
    ] {
        let output = run(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
        assert!(!output.stderr.is_empty(), "{line}");
    }
}

#[test]
fn help_is_no_error() {
    let output = run("--help");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(
        text.contains("stream") && !text.contains("__peer"),
        "{text}"
    );
}

/// A receiver as a run starts it, and where it listens.
fn receiver() -> (std::process::Child, String) {
    let plan = serde_json::json!({
        "round": {
            "mover": "floor", "traffic": "stream", "payload_bytes": 64, "mode": "park",
            "pod": false, "rate_per_second": null, "sample_one_way": false,
            "warm_up": {"secs": 0, "nanos": 0}, "measured": {"secs": 60, "nanos": 0},
        },
        "cpu": 0, "cpu_is_shared": false, "to": null,
    });
    let mut child = loadgen("__peer")
        .arg(plan.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a receiver starts");
    let stdout = child.stdout.take().expect("piped");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let address = line
        .strip_prefix("listening ")
        .expect("the first line")
        .trim()
        .to_owned();
    (child, address)
}

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

#[test]
fn a_run_survives_the_death_of_either_side_and_reports_it() {
    for (victim, is_victim) in [
        ("receiver", Value::is_null as fn(&Value) -> bool),
        ("sender", Value::is_string),
    ] {
        let run = loadgen("floor stream --size 64 --seconds 100 --mode park --json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("loadgen starts");
        let deadline = Instant::now() + Duration::from_secs(10);
        let victim_pid = loop {
            let both = measuring(run.id());
            match both.iter().find(|(_, plan)| is_victim(&plan["to"])) {
                Some((pid, _)) if both.len() == 2 => break *pid,
                _ => assert!(
                    Instant::now() < deadline,
                    "{victim}: both sides start: {both:?}"
                ),
            }
            std::thread::yield_now();
        };
        let pid = rustix::process::Pid::from_raw(victim_pid).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
        let output = ends(run);
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{victim}: {stderr}");
        assert!(
            output.stdout.is_empty(),
            "{victim}: no figures of a broken run"
        );
        assert!(
            stderr.contains(&format!("the {victim} died: signal: 9")),
            "{victim}: {stderr}"
        );
    }
}

/// Waits for the end of `child`, and kills it after 10 s.
fn ends(child: std::process::Child) -> Output {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let pid = rustix::process::Pid::from_child(&child);
    let guard = std::thread::spawn(move || {
        if is_done.recv_timeout(Duration::from_secs(10)).is_err() {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it lives");
        }
    });
    let output = child.wait_with_output().expect("it ends");
    done.send(()).ok();
    guard.join().expect("the guard ends");
    output
}

#[test]
fn a_measuring_process_ends_when_its_parent_is_gone() {
    let (mut child, _) = receiver();
    drop(child.stdin.take());
    assert!(ends(child).status.success());
}
