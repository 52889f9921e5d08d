//! How members go: of their own will, killed, frozen.

use std::time::{Duration, Instant};

use crate::process::{Node, Nodes, PATIENCE, REMOVAL, Said, UNREACHABLE, between, program, within};

#[test]
fn who_leaves_is_removed_everywhere_as_one_that_left() {
    let program = program();
    let mut nodes = Nodes::up(&program, 5);
    let leaver = nodes.0.remove(2);
    let began = Instant::now();
    assert_eq!(leaver.command("leave")["event"], "ok");
    let mut last = began;
    for node in &nodes.0 {
        let removed = node.wait_for("removed", |said| said.is_of("removed", &leaver.address));
        assert_eq!(removed.line["previous"], "exiting");
        assert!(!node.has_said(|said| said.is("unreachable")));
        last = last.max(removed.at);
    }
    within(
        "a leave, removed everywhere",
        last - began,
        Duration::from_secs(2),
    );
    leaver.wait_for("self_removed", |said| said.is("self_removed"));
    assert_eq!(leaver.wait(), 0);
    nodes.forget();
    // Another member asks for it.
    let target = nodes.0[3].address.clone();
    assert_eq!(
        nodes.0[0].command(&format!("leave {target}"))["event"],
        "ok"
    );
    let asked = nodes.0.remove(3);
    nodes.wait_for_event("removed", &target);
    assert_eq!(asked.wait(), 0);
}

#[test]
fn who_is_given_up_by_command_is_told_and_ends() {
    let program = program();
    let mut nodes = Nodes::up(&program, 3);
    let target = nodes.0.remove(2);
    let down = format!("down {}", target.address);
    assert_eq!(nodes.0[1].command(&down)["event"], "ok");
    for node in &nodes.0 {
        let removed = node.wait_for("removed", |said| said.is_of("removed", &target.address));
        assert_eq!(removed.line["previous"], "down");
    }
    target.wait_for("self_removed", |said| said.is("self_removed"));
    assert_eq!(target.wait(), 3);
    assert_eq!(nodes.0[0].command(&down)["event"], "error");
}

#[test]
fn who_is_killed_is_removed_by_the_word_of_its_host() {
    let program = program();
    let mut nodes = Nodes::up(&program, 5);
    let killed = nodes.0.remove(2);
    let began = Instant::now();
    killed.signal("KILL");
    let mut last = began;
    for node in &nodes.0 {
        let unreachable = node.wait_for("unreachable", |said| said.is("unreachable"));
        assert_eq!(unreachable.line["member"], killed.address);
        assert_eq!(unreachable.line["reason"], "refused");
        let removed = node.wait_for("removed", |said| said.is("removed"));
        assert_eq!(removed.line["previous"], "down");
        last = last.max(removed.at);
    }
    within(
        "a kill, removed everywhere",
        last - began,
        Duration::from_secs(5),
    );
    let decided = nodes
        .0
        .iter()
        .filter(|it| it.has_said(|said| said.is("decision")));
    assert_eq!(decided.count(), 1, "one acts for all");
    // The next start at the address is another node, and is let in.
    let addresses: Vec<String> = nodes.0.iter().map(|it| it.address.clone()).collect();
    let again = Node::start(&program, &killed.address, &addresses, &[]);
    for node in &nodes.0 {
        let is_up_again = |said: &Said| said.is_of("up", &killed.address) && said.at > last;
        node.wait_for("up again", is_up_again);
    }
    again.wait_for_event("up", &killed.address);
}

#[test]
fn who_is_frozen_is_removed_by_its_silence_and_ends_when_it_wakes() {
    let program = program();
    let mut nodes = Nodes::up(&program, 5);
    let frozen = nodes.0.remove(3);
    let began = Instant::now();
    frozen.signal("STOP");
    let (mut first, mut late, mut last) = (began + PATIENCE, began, began);
    for node in &nodes.0 {
        let unreachable = node.wait_for("unreachable", |said| said.is("unreachable"));
        assert_eq!(unreachable.line["member"], frozen.address);
        assert_eq!(unreachable.line["reason"], "silence");
        (first, late) = (first.min(unreachable.at), late.max(unreachable.at));
        let removed = node.wait_for("removed", |said| said.is("removed"));
        assert_eq!(removed.line["previous"], "down");
        last = last.max(removed.at);
    }
    let (first, late) = (first - began, late - began);
    between("a freeze, unreachable", first, late, UNREACHABLE);
    within("a freeze, removed everywhere", last - began, REMOVAL);
    let woken = Instant::now();
    frozen.signal("CONT");
    let ended = frozen.wait_for("exit", |said| said.is("exit")).at;
    within("a wake, to the end", ended - woken, Duration::from_secs(3));
    assert_eq!(frozen.wait(), 3);
}
