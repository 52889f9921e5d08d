//! The examples run, as a reader of the README would run them.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// An example's program; the test's own stands in a folder beside the one of the examples.
fn example(name: &str) -> Option<PathBuf> {
    let tests = env::current_exe().expect("a test has a path");
    let path = tests.parent()?.parent()?.join("examples").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: the examples are not built; `cargo test -p ringmesh` builds them");
    None
}

/// A program that ends with the test, whatever becomes of it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().expect("the example starts");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("it prints text")
}

#[test]
fn one_process_greets_another() {
    let Some(hello) = example("hello") else {
        return;
    };
    let serving = Command::new(&hello).stdout(Stdio::piped()).spawn();
    let mut serving = Running(serving.expect("the example starts"));
    let stdout = serving.0.stdout.take().expect("it was asked for");
    let mut path = String::new();
    BufReader::new(stdout)
        .read_line(&mut path)
        .expect("it says where it listens");
    for number in 1..=2 {
        let greeting = output_of(Command::new(&hello).arg(path.trim()));
        assert_eq!(greeting, format!("hello, world (number {number})\n"));
    }
}

#[test]
fn all_cores_count_primes() {
    if let Some(cores) = example("cores") {
        let counted = output_of(Command::new(cores).arg("100000"));
        assert!(
            counted.starts_with("9592 primes below 100000,"),
            "{counted}"
        );
    }
}

#[test]
fn a_pipeline_loses_nothing() {
    if let Some(pipeline) = example("pipeline") {
        assert_eq!(output_of(&mut Command::new(pipeline)), "40200\n");
    }
}

#[test]
fn settings_alone_spread_a_program_over_three_processes() {
    let Some(spread) = example("spread") else {
        return;
    };
    let alone = output_of(&mut Command::new(&spread));
    assert_eq!(alone, "19686 numbers have eight ones; nodes: 1\n");
    let others = [0, 1].map(|_| {
        let waiting = Command::new(&spread)
            .arg("0")
            .stdout(Stdio::piped())
            .spawn();
        let mut waiting = Running(waiting.expect("the example starts"));
        let stdout = waiting.0.stdout.take().expect("it was asked for");
        let mut address = String::new();
        BufReader::new(stdout)
            .read_line(&mut address)
            .expect("it says where it listens");
        (waiting, address.trim().to_owned())
    });
    let rules = format!("/user/*=here,{},{}", others[0].1, others[1].1);
    let spread_out = output_of(Command::new(&spread).env("RINGMESH__PLACEMENT__RULES", rules));
    assert_eq!(spread_out, "19686 numbers have eight ones; nodes: 3\n");
}
