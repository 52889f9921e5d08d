//! The program as scripts see it: stdout, exit codes, and processes that die.

mod death;
mod floor;
mod usage;
mod workload;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
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

/// A figure that must be there.
fn figure(report: &Value, key: &str) -> f64 {
    report[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is a number: {report}"))
}

/// Starts a process that listens, and says where.
fn listening(command: &mut Command) -> (Child, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("loadgen starts");
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

fn kill(pid: Pid, signal: Signal) {
    kill_process(pid, signal).expect("it lives");
}

/// Waits for the end of `child`, and kills it after 20 s.
fn ends(child: Child) -> Output {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let pid = Pid::from_child(&child);
    let guard = std::thread::spawn(move || {
        if is_done.recv_timeout(Duration::from_secs(20)).is_err() {
            kill(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().expect("it ends");
    done.send(()).ok();
    guard.join().expect("the guard ends");
    output
}
