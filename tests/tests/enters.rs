//! The counter of system calls tells the truth: the kernel's own count agrees.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ringmesh_tests::live::messages::SINK;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::process::Process;
use ringmesh_tests::live::watched::account;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// Records of the stream that is traced.
const RECORDS: u64 = 2_000_000;

/// Calls that the executor makes for its own rings while it starts and ends.
const EXECUTOR_ENTERS_MAX: u64 = 32;

#[test]
fn the_enter_counter_agrees_with_strace() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not installed");
        return;
    }
    let receiver = LiveNode::start_serving();
    let folder = tempfile::tempdir().expect("a folder for the trace");
    let trace = folder.path().join("calls");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-c", "-e", "trace=io_uring_enter", "-o"])
        .arg(&trace);
    command.args([
        LIVE_NODE,
        "stream",
        &receiver.path(SINK),
        &RECORDS.to_string(),
    ]);
    let mut sender = Process::spawn(command);
    assert_eq!(sender.value("sent"), RECORDS.to_string());
    let counted: u64 = sender.value("enters").parse().expect("a count");
    let status = sender.wait(Duration::from_secs(20));
    assert!(status.success(), "{status}: {:?}", sender.log());
    assert_eq!(account(&receiver).count, RECORDS);

    let traced = traced_calls(&trace);
    println!("io_uring_enter: counted {counted}, traced {traced}");
    assert!(counted > 0, "a stream without system calls");
    assert!(
        traced >= counted,
        "counted {counted} calls that were not made: traced {traced}"
    );
    let slack = counted / 20 + EXECUTOR_ENTERS_MAX;
    assert!(
        traced - counted <= slack,
        "counted {counted}, traced {traced}, slack {slack}"
    );
}

/// The calls in the table that `strace -c` wrote.
fn traced_calls(table: &Path) -> u64 {
    let text = std::fs::read_to_string(table).expect("strace wrote its table");
    let mut rows = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    // % time, seconds, usecs/call, calls, errors where there were any, syscall
    let row = rows.find(|row| row.last() == Some(&"io_uring_enter"));
    let calls = row.and_then(|row| row.get(3)?.parse().ok());
    calls.unwrap_or_else(|| panic!("no io_uring_enter in {text}"))
}
