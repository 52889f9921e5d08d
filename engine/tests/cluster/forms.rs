//! How clusters form, and who is kept out.

use std::fs;
use std::time::{Duration, Instant};

use crate::process::{
    Node, Nodes, free_addresses, program, wait_until_free, wait_until_written, within,
};

#[test]
fn five_nodes_are_one_cluster_whatever_the_order_in_which_they_start() {
    let program = program();
    let orders = [
        [0, 1, 2, 3, 4],
        [4, 3, 2, 1, 0],
        [2, 0, 4, 1, 3],
        [1, 2, 3, 4, 0],
        [3, 4, 0, 2, 1],
    ];
    let mut slowest = Duration::ZERO;
    for order in orders {
        let addresses = free_addresses(5);
        let start = |place: &usize| Node::start(&program, &addresses[*place], &addresses, &[]);
        let nodes = Nodes(order.iter().map(start).collect());
        let started = Instant::now();
        slowest = slowest.max(nodes.wait_until_up() - started);
        nodes.cluster();
    }
    within(
        "all up after the last start",
        slowest,
        Duration::from_secs(3),
    );
}

#[test]
fn a_node_without_seeds_founds_a_cluster_alone_and_leaves_it_when_told_to_stop() {
    let program = program();
    let addresses = free_addresses(1);
    let alone = Node::start(
        &program,
        &addresses[0],
        &[],
        &["--role", "front", "--dc", "east"],
    );
    alone.wait_for_event("listening", &addresses[0]);
    let founded = alone.wait_for("founded", |said| said.is("founded"));
    alone.wait_for_event("up", &addresses[0]);
    alone.wait_for_event("leader", &addresses[0]);
    let state = alone.command("state");
    assert_eq!(state["cluster_id"], founded.line["cluster_id"]);
    assert_eq!(state["converged"], true);
    let member = &state["members"][0];
    assert_eq!(
        (&member["roles"][0], &member["dc"]),
        (&"front".into(), &"east".into())
    );
    assert_eq!(alone.command("why")["converged"], true);
    let again = alone.command("found");
    assert_eq!(
        (&again["event"], &again["command"]),
        (&"error".into(), &"found".into())
    );
    assert_eq!(alone.command("dance")["event"], "error");
    alone.signal("TERM");
    assert_eq!(alone.wait(), 0);
}

#[test]
fn another_system_is_no_member_and_joins_nobody() {
    let program = program();
    let addresses = free_addresses(2);
    let ours = Node::start(&program, &addresses[0], &addresses[..1], &[]);
    ours.wait_for_event("up", &addresses[0]);
    let other = ["--system", "other"];
    let theirs = Node::start(&program, &addresses[1], &addresses[..1], &other);
    theirs.wait_for("that it waits", |said| said.is("join_waiting"));
    assert_eq!(
        ours.command("state")["members"].as_array().map(Vec::len),
        Some(1)
    );
    theirs.signal("TERM");
    assert_eq!(theirs.wait(), 0);
}

#[test]
fn wrong_words_and_a_taken_port_end_with_their_codes() {
    let program = program();
    let addresses = free_addresses(1);
    let first = Node::start(&program, &addresses[0], &[], &[]);
    first.wait_for_event("up", &addresses[0]);
    let taken = Node::start(&program, &addresses[0], &[], &[]);
    assert_eq!(taken.wait(), 1);
    let wrong = Node::start(&program, "127.0.0.1:0", &[], &["--role", "dc-east"]);
    assert_eq!(wrong.wait(), 2);
}

#[test]
fn who_remembers_a_cluster_founds_no_second_one_beside_it() {
    let program = program();
    let directories = [(); 3].map(|()| tempfile::tempdir().expect("a directory"));
    let addresses = free_addresses(3);
    let start = |place: usize| {
        let directory = directories[place].path().to_str().expect("a text");
        Node::start(
            &program,
            &addresses[place],
            &addresses,
            &["--state-dir", directory],
        )
    };
    let nodes = Nodes((0..3).map(start).collect());
    nodes.wait_until_up();
    let old = nodes.cluster();
    for directory in &directories {
        wait_until_written(directory.path(), &old, &addresses);
    }
    // All are gone at once, and the first seed comes back alone: the others may still be there.
    nodes.0.into_iter().for_each(drop);
    addresses.iter().for_each(|it| wait_until_free(it));
    let first = start(0);
    first.wait_for("that it waits", |said| said.is("join_waiting"));
    assert!(!first.has_said(|said| said.is("founded")));
    // With a second one there is a majority that says it is in none.
    let nodes = Nodes(vec![first, start(1)]);
    nodes.wait_until_up();
    assert_ne!(nodes.cluster(), old, "all were down: it is a new cluster");
}

#[test]
fn a_damaged_state_file_keeps_a_node_from_starting() {
    let program = program();
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("cluster.state"), "nonsense").expect("it is writable");
    let directory = directory.path().to_str().expect("a text");
    let damaged = Node::start(&program, "127.0.0.1:0", &[], &["--state-dir", directory]);
    assert_eq!(damaged.wait(), 2);
}
