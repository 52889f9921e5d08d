//! Processes that want one lease of one directory: the lock holds between them, and one that is
//! killed leaves none behind.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use ringmesh_lease::{Answer, Deed, DirectoryStore, Token};
use rustix::fs::{FlockOperation, flock};

use crate::contract::{Node, name};

const PROCESSES: usize = 4;
const TURNS: usize = 8;

/// What a process is told: the directory, and its name.
const DIRECTORY: &str = "RINGMESH_TEST_LEASE_DIRECTORY";
const OWNER: &str = "RINGMESH_TEST_LEASE_OWNER";

const LOCKED: &str = "it is locked";

/// A process of its own: it has the lease some times, and writes down each with its token. Nobody
/// else may be there at that time.
#[test]
#[ignore = "a part of another test, which starts it"]
fn a_process_that_has_it_some_times() {
    let (Ok(directory), Ok(owner)) = (env::var(DIRECTORY), env::var(OWNER)) else {
        return;
    };
    let directory = Path::new(&directory);
    let shop = name("shop");
    let mut node = Node::new(
        DirectoryStore::open(directory).expect("it is there"),
        &owner,
    );
    let mut turns = 0;
    while turns < TURNS {
        match node.ask(&shop, Deed::Acquire(Token(0))) {
            Answer::Held { token } => {
                let alone = directory.join("alone");
                File::create_new(&alone).expect("another has it too");
                let log = OpenOptions::new().append(true).open(directory.join("log"));
                writeln!(log.expect("there is a log"), "{token}").expect("it can be written");
                fs::remove_file(&alone).expect("it was made");
                turns += 1;
                assert_eq!(node.ask(&shop, Deed::Release(token)), Answer::Released);
            }
            Answer::HeldBy { .. } => thread::yield_now(),
            other => panic!("{other:?}"),
        }
    }
}

/// A process of its own: it has the lock, says so, and keeps it.
#[test]
#[ignore = "a part of another test, which starts it"]
fn a_process_that_keeps_the_lock() {
    let Ok(directory) = env::var(DIRECTORY) else {
        return;
    };
    let lock = File::open(Path::new(&directory).join("shop.lock")).expect("there is a lock");
    flock(&lock, FlockOperation::LockExclusive).expect("it is free");
    println!("\n{LOCKED}");
    // Whoever started it kills it.
    let mut line = String::new();
    let _ = std::io::stdin().read_line(&mut line);
}

fn start(test: &str, directory: &Path, owner: &str) -> Child {
    let program = env::current_exe().expect("this is a program");
    Command::new(program)
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(OWNER, owner)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts")
}

#[test]
fn of_many_processes_one_has_it_and_tokens_follow_in_order() {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    File::create(directory.path().join("log")).expect("it can be made");
    let owners = (0..PROCESSES).map(|number| format!("process-{number}"));
    let test = "processes::a_process_that_has_it_some_times";
    let start = |owner: String| start(test, directory.path(), &owner);
    let processes: Vec<Child> = owners.map(start).collect();
    for process in processes {
        let status = process.wait_with_output().expect("it ends").status;
        assert!(status.success(), "{status}");
    }
    let log = fs::read_to_string(directory.path().join("log")).expect("there is a log");
    let tokens: Vec<u64> = log.lines().map(|it| it.parse().expect("a token")).collect();
    assert_eq!(tokens.len(), PROCESSES * TURNS);
    assert!(tokens.is_sorted_by(|one, next| one < next), "{tokens:?}");
}

#[test]
fn a_process_that_is_killed_leaves_no_lock_behind() {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let store = DirectoryStore::open(directory.path()).expect("it is there");
    let mut node = Node::new(store.with_patience(Duration::from_millis(10)), "a");
    let token = node.has(&name("shop"));
    let test = "processes::a_process_that_keeps_the_lock";
    let mut process = start(test, directory.path(), "b");
    let lines = BufReader::new(process.stdout.take().expect("it has an output")).lines();
    let mut said = lines.map_while(Result::ok);
    assert!(said.any(|line| line == LOCKED), "it ended");
    let refused = node.ask(&name("shop"), Deed::Renew(token));
    assert!(matches!(refused, Answer::Failed { .. }), "{refused:?}");
    process.kill().expect("it runs");
    process.wait().expect("it ends");
    assert_eq!(
        node.ask(&name("shop"), Deed::Renew(token)),
        Answer::Held { token }
    );
}
