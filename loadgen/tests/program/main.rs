//! The program as scripts see it: stdout, exit codes, and processes that die.

mod cuts;
mod death;
mod floor;
mod links;
mod ping;
mod pubsub;
mod soak;
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

/// A process of a test. It is killed when the test fails before its end.
struct Running {
    child: Option<Child>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("loadgen starts");
        Self { child: Some(child) }
    }

    /// Starts a process that listens, and says where.
    fn listening(command: &mut Command) -> (Self, String) {
        let mut running = Self::start(command.stdin(Stdio::piped()));
        let stdout = running.child().stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line
            .strip_prefix("listening ")
            .expect("the first line")
            .trim()
            .to_owned();
        (running, address)
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("there until the end")
    }

    fn send_signal(&mut self, signal: Signal) {
        kill_process(Pid::from_child(self.child()), signal).expect("it lives");
    }

    /// Waits for the end, and kills it after 20 s.
    fn ends(mut self) -> Output {
        let child = self.child.take().expect("there until the end");
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let pid = Pid::from_child(&child);
        let guard = std::thread::spawn(move || {
            if is_done.recv_timeout(Duration::from_secs(20)).is_err() {
                kill_process(pid, Signal::KILL).expect("it lives");
            }
        });
        let output = child.wait_with_output().expect("it ends");
        done.send(()).ok();
        guard.join().expect("the guard ends");
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
