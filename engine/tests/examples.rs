//! The examples run, as a reader of the README would run them.

#[path = "cluster/example.rs"]
mod example;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use self::example::example;

/// The longest that anything here may take. It only has to be finite.
const WAIT: Duration = Duration::from_secs(60);

/// A program that ends with the test, whatever becomes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> (Self, ChildStdout) {
        let started = command.stdout(Stdio::piped()).spawn();
        let mut running = Self(started.expect("the example starts"));
        let stdout = running.0.stdout.take().expect("it was asked for");
        (running, stdout)
    }

    /// One that goes on, and its first line.
    fn serving(command: &mut Command) -> (Self, String) {
        let (running, stdout) = Self::start(command);
        let line = read(stdout, |mut stdout, line| stdout.read_line(line));
        (running, line.trim().to_owned())
    }
}

/// What is read of the output of a program, if that comes in time; else the program ends with the
/// test.
fn read<F>(stdout: ChildStdout, some: F) -> String
where
    F: FnOnce(BufReader<ChildStdout>, &mut String) -> std::io::Result<usize> + Send + 'static,
{
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = some(BufReader::new(stdout), &mut text);
        let _ = said.send(read.map(|_| text));
    });
    let text = heard.recv_timeout(WAIT);
    text.expect("an example takes too long")
        .expect("it prints text")
}

fn output_of(command: &mut Command) -> String {
    let (mut running, stdout) = Running::start(command);
    let output = read(stdout, |mut stdout, text| stdout.read_to_string(text));
    // Its output is closed: it is about to end.
    let status = running.0.wait().expect("it was started");
    assert!(status.success(), "{status}: {output}");
    output
}

#[test]
fn one_process_greets_another() {
    let hello = example("hello");
    let (_serving, path) = Running::serving(&mut Command::new(&hello));
    for number in 1..=2 {
        let greeting = output_of(Command::new(&hello).arg(&path));
        assert_eq!(greeting, format!("hello, world (number {number})\n"));
    }
}

#[test]
fn all_cores_count_primes() {
    let counted = output_of(Command::new(example("cores")).arg("100000"));
    assert!(
        counted.starts_with("9592 primes below 100000,"),
        "{counted}"
    );
}

#[test]
fn a_strategy_of_ones_own_decides() {
    let output = output_of(&mut Command::new(example("strategy")));
    assert_eq!(output, "keep-vault\n");
}

#[test]
fn a_service_is_found_elsewhere_when_its_process_dies() {
    let lookup = example("lookup");
    let (first, address) = Running::serving(&mut Command::new(&lookup));
    let (_second, other) = Running::serving(Command::new(&lookup).arg(&address));
    let (_asking, answers) = Running::start(Command::new(&lookup).args([&address, "ask"]));
    let output = read(answers, move |answers, _| {
        let mut first = Some(first);
        let mut lines = answers.lines();
        let mut until = |wanted: &str| {
            let line = lines.find(|it| it.as_deref().is_ok_and(|it| it == wanted));
            line.map(drop).ok_or(std::io::ErrorKind::UnexpectedEof)
        };
        until(&address)?;
        until(&other)?;
        drop(first.take());
        // One of them may be of before.
        until(&other)?;
        until(&other)?;
        until(&other)?;
        Ok(0)
    });
    assert_eq!(output, "");
}

#[test]
fn a_pipeline_loses_nothing() {
    let output = output_of(&mut Command::new(example("pipeline")));
    assert_eq!(output, "40200\n");
}

#[test]
fn settings_alone_spread_a_program_over_three_processes() {
    let spread = example("spread");
    let alone = output_of(&mut Command::new(&spread));
    assert_eq!(alone, "19686 numbers have eight ones; nodes: 1\n");
    let others = [0, 1].map(|_| Running::serving(Command::new(&spread).arg("0")));
    let rules = format!("/user/*=here,{},{}", others[0].1, others[1].1);
    let spread_out = output_of(Command::new(&spread).env("RINGMESH__PLACEMENT__RULES", rules));
    assert_eq!(spread_out, "19686 numbers have eight ones; nodes: 3\n");
}
