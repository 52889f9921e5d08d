//! What scripts rely on: the words, keys and codes of the program.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::iter;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::process::{Node, Nodes, PATIENCE, free_addresses, program};
use crate::room::{Room, room};

#[test]
fn commands_that_cannot_be_carried_out_are_answered_with_errors() {
    let program = program();
    let addresses = free_addresses(1);
    let node = Node::start(&program, &addresses[0], &[], &[]);
    node.wait_for_event("up", &addresses[0]);
    let wrong = [
        "join",
        "join nowhere",
        "join 127.0.0.1:1 127.0.0.1:2",
        "found",
        "down",
        "down nowhere",
        "down 127.0.0.1:1",
        "leave nowhere",
        "leave 127.0.0.1:1",
        "set_app_version",
        "set_app_version one",
        "set_app_version 1.0.0",
        "state of things",
        "STATE",
        "{}",
    ];
    // One argument too many for those that take none is one that nobody reads.
    for command in wrong.iter().filter(|it| **it != "state of things") {
        let answer = node.command(command);
        assert_eq!(answer["event"], "error", "{answer}");
        assert_eq!(answer["command"], *command);
        assert!(
            answer["message"].as_str().is_some_and(|it| !it.is_empty()),
            "{answer}"
        );
    }
    assert_eq!(node.command("state of things")["event"], "error");
    // What is no text, or too long to be a command, is answered like any other line.
    let long = vec![b'x'; 1 << 16];
    for line in [&b"sta\xffte"[..], &long] {
        let answer = node.command_of(line);
        assert_eq!(answer["event"], "error", "{answer}");
        assert!(answer["command"].is_string(), "{answer}");
    }
    let ready = node.command("prepare_for_full_shutdown");
    assert_eq!(
        (&ready["event"], &ready["command"]),
        (&"ok".into(), &"prepare_for_full_shutdown".into())
    );
    node.wait_for_event("ready", &addresses[0]);
}

#[test]
fn answers_have_their_keys() {
    let program = program();
    let nodes = Nodes::up(&program, 2);
    let has = |line: &Value, keys: &[&str]| {
        for key in keys {
            assert!(line.get(key).is_some(), "no {key}: {line}");
        }
    };
    let state = nodes.0[0].command("state");
    let keys = [
        "member",
        "uid",
        "cluster_id",
        "version",
        "converged",
        "has_quorum",
        "leader",
    ];
    has(&state, &keys);
    for member in state["members"].as_array().expect("members") {
        let keys = [
            "member",
            "uid",
            "status",
            "reachable",
            "roles",
            "dc",
            "app_version",
        ];
        has(member, &keys);
        assert!(member["up_number"].is_u64(), "{member}");
        assert_eq!(member["uid"].as_str().map(str::len), Some(16));
    }
    has(
        &nodes.0[0].command("why"),
        &["converged", "not_seen", "blocking", "text"],
    );
    let keys = ["strategy", "verdict", "down", "why", "inputs"];
    let explained = nodes.0[0].command("explain");
    has(&explained, &keys);
    assert_eq!(explained["event"], "decision");
    let leader = nodes.0[1].wait_for("a leader", |said| {
        said.is("leader") && said.line["member"].is_string()
    });
    let leader = leader.line;
    let mut members = state["members"].as_array().expect("members").iter();
    let is_leader = |it: &&Value| it["member"] == leader["member"] && it["uid"] == leader["uid"];
    assert!(members.any(|it| is_leader(&it)), "{leader}");
}

#[test]
fn whoever_says_that_a_member_is_out_of_reach_is_named_by_its_address() {
    let program = program();
    let mut nodes = Nodes::up(&program, 3);
    let gone = nodes.0.remove(2);
    gone.signal("KILL");
    for node in &nodes.0 {
        let lost = node.wait_for("a loss", |said| said.is_of("unreachable", &gone.address));
        let by = lost.line["by"].as_array().expect("observers");
        let addresses = nodes.0.iter().map(|it| &it.address);
        let addresses: Vec<Value> = addresses.map(|it| it.as_str().into()).collect();
        assert!(!by.is_empty() && by.iter().all(|it| addresses.contains(it)));
    }
}

#[test]
fn the_end_of_the_commands_changes_nothing_and_an_interrupt_ends_it() {
    let program = program();
    let mut nodes = Nodes::up(&program, 3);
    let quiet = nodes.0.remove(2);
    quiet.end_commands();
    // What happens behind that reaches it as before.
    let other = nodes.0.remove(1);
    other.signal("INT");
    for node in [&nodes.0[0], &quiet] {
        let removed = node.wait_for("removed", |said| said.is_of("removed", &other.address));
        assert_eq!(removed.line["previous"], "exiting");
    }
    let said = other.all_said();
    assert_eq!(
        said.first().map(|line| &line["event"]),
        Some(&"listening".into())
    );
    let last = said.last().expect("it said something");
    assert_eq!((&last["event"], &last["code"]), (&"exit".into(), &0.into()));
    let own = said.iter().find(|line| line["event"] == "self_removed");
    assert_eq!(own.map(|it| &it["member"]), Some(&said[0]["member"]));
    let ends = said.iter().filter(|line| line["event"] == "exit");
    assert_eq!(ends.count(), 1);
    assert!(said.iter().all(|line| line["at_ms"].is_u64()));
    quiet.signal("INT");
    assert_eq!(quiet.wait(), 0);
}

#[test]
fn whoever_was_removed_is_quarantined_by_those_that_removed_it() {
    let program = program();
    let mut nodes = Nodes::up(&program, 3);
    let gone = nodes.0.remove(2);
    nodes.0[0].command(&format!("down {}", gone.address));
    for node in &nodes.0 {
        let parted = node.wait_for("quarantined", |said| said.is("quarantined"));
        assert_eq!(parted.line["member"], gone.address);
        assert_eq!(parted.line["uid"].as_str().map(str::len), Some(16));
    }
    assert_eq!(gone.wait(), 3);
}

#[test]
fn without_json_a_line_is_its_event_a_member_and_pairs() {
    let program = program();
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1:0"]).stdin(Stdio::null());
    let mut running = Running::start(command.stdout(Stdio::piped()));
    let mut lines = running.lines();
    let first = lines.next().unwrap_or_default();
    let words: Vec<&str> = first.split(' ').collect();
    assert!(
        words[0] == "listening" && words[1].starts_with("127.0.0.1:"),
        "{first}"
    );
    assert!(
        words[2]
            .strip_prefix("uid=")
            .is_some_and(|uid| uid.len() == 16),
        "{first}"
    );
    let own = format!("up {}", words[1]);
    assert!(lines.any(|line| line.starts_with(&own)), "it is up");
    let pid = running.child.id().to_string();
    let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
    assert!(sent.expect("there is a kill").success());
    assert_eq!(lines.last().as_deref(), Some("exit code=0"));
    assert_eq!(running.child.wait().expect("it ends").code(), Some(0));
}

/// A program that ends with the test, whatever becomes of that.
struct Running {
    child: Child,
    /// Given back once it has ended.
    _room: Rc<Room>,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let _room = room();
        let child = command.spawn().expect("it starts");
        Self { child, _room }
    }

    /// What it prints, to its end: none comes later than [`PATIENCE`] from now.
    fn lines(&mut self) -> impl Iterator<Item = String> + use<> {
        let stdout = self.child.stdout.take().expect("it was asked for");
        let (say, lines) = channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            // Whoever failed does not want the rest.
            lines.try_for_each(|line| say.send(line).ok())
        });
        let deadline = Instant::now() + PATIENCE;
        iter::from_fn(move || {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => Some(line),
                Err(RecvTimeoutError::Disconnected) => None,
                Err(RecvTimeoutError::Timeout) => panic!("it goes on after {PATIENCE:?}"),
            }
        })
    }
}

/// The words of a plain line; blanks in quotes are part of one.
fn words(line: &str) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let words = line.split(|it: char| {
        if !is_escaped && it == '"' {
            is_quoted = !is_quoted;
        }
        is_escaped = is_quoted && !is_escaped && it == '\\';
        !is_quoted && it == ' '
    });
    words.collect()
}

#[test]
fn without_json_a_value_with_blanks_stands_in_quotes() {
    let directory = tempfile::tempdir().expect("a directory");
    // Where a directory stands no state can be written down.
    fs::create_dir(directory.path().join("cluster.state.new")).expect("it is writable");
    let mut command = Command::new(program());
    command.args(["--bind", "127.0.0.1:0", "--state-dir"]);
    command.arg(directory.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running::start(&mut command);
    let mut lines = running.lines();
    // The text of the first line with an event, by key; all lines are pairs until there.
    let mut text_of = |event: &str, key: &str| {
        let line = lines.find(|line| {
            let words = words(line);
            let pairs = words.iter().skip(1);
            // Whom it is about comes first.
            let mut pairs = pairs.skip_while(|it| it.starts_with("127.0.0.1:"));
            assert!(pairs.all(|it| it.contains('=')), "{line}");
            words[0] == event
        });
        let line = line.unwrap_or_else(|| panic!("no {event}"));
        let prefix = format!("{key}=");
        let mut words = words(&line).into_iter();
        let text = words.find_map(|it| it.strip_prefix(&prefix));
        let text = text.map(str::to_owned);
        text.unwrap_or_else(|| panic!("no {key}: {line}"))
    };
    let text_in = |quoted: &str| -> String {
        let text: String = serde_json::from_str(quoted).expect("a text in quotes");
        assert!(text.contains(' '), "{text}");
        text
    };
    text_in(&text_of("state_unwritten", "why"));
    let mut stdin = running.child.stdin.take().expect("it was asked for");
    let mut tell = |line: &str| writeln!(stdin, "{line}").expect("it reads commands");
    let odd = r#"down "a\" b  c"#;
    tell(odd);
    // One answer to one command.
    let answer = text_of("error", "command");
    assert_eq!(text_in(&answer), odd);
    tell("dance");
    assert_eq!(text_of("error", "command"), "dance");
    tell("down 127.0.0.1:1");
    text_in(&text_of("error", "message"));
    tell("why");
    text_in(&text_of("why", "text"));
    tell("explain");
    text_in(&text_of("decision", "why"));
    tell("leave");
    assert_eq!(text_of("ok", "command"), "leave");
    assert_eq!(text_of("exit", "code"), "0");
    assert_eq!(running.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn wrong_arguments_are_told_apart_from_a_node_that_cannot_run() {
    let program = program();
    let wrong: [&[&str]; 5] = [
        &[],
        &["--bind", "nowhere"],
        &["--bind", "127.0.0.1:0", "--seed", "nowhere"],
        &["--bind", "127.0.0.1:0", "--set", "cluster.downing=perhaps"],
        &["--bind", "127.0.0.1:0", "--config", "/nowhere/at/all.toml"],
    ];
    for arguments in wrong {
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::null());
        let done = command.output().expect("it starts");
        assert_eq!(done.status.code(), Some(2), "{arguments:?}");
        assert!(!done.stderr.is_empty(), "{arguments:?}");
        let said = String::from_utf8(done.stdout).expect("a text");
        assert_eq!(said.lines().last(), Some("exit code=2"), "{arguments:?}");
    }
    let mut command = Command::new(&program);
    let done = command.args(["--json", "--bind"]).output();
    let done = done.expect("it starts");
    let last: Value = serde_json::from_slice(&done.stdout).expect("a line of JSON");
    assert_eq!((&last["event"], &last["code"]), (&"exit".into(), &2.into()));
}
