//! Who may not be let in, and what keeps a node from its own state.

use std::fs;

use crate::process::{Node, Nodes, free_addresses, program, wait_until_free, wait_until_written};

/// All are members still, reached and in agreement, and none of them saw anything amiss.
fn see_no_harm(nodes: &Nodes) {
    for node in &nodes.0 {
        let state = node.command("state");
        let members = state["members"].as_array().expect("members");
        assert_eq!(members.len(), nodes.0.len(), "{state}");
        assert!(members.iter().all(|it| it["reachable"] == true), "{state}");
        assert!(!node.has_said(|said| said.is("unreachable") || said.is("removed")));
    }
}

#[test]
fn another_process_does_not_get_the_address_of_a_member_that_lives() {
    let program = program();
    let mut nodes = Nodes::up(&program, 3);
    let seeds = [nodes.0[0].address.clone(), nodes.0[1].address.clone()];
    let address = nodes.0[2].address.clone();
    let taken = ["--advertise", address.as_str()];
    let thief = Node::start(&program, "127.0.0.1:0", &seeds, &taken);
    // Nobody links with it: the member answers at that address, and says who it is.
    let told = thief.wait_for("that it is in use", |said| said.is("address_in_use"));
    // The first answers may be enough for it.
    let by = told.line["by"].as_array().expect("members");
    let are_seeds = by.iter().all(|it| seeds.iter().any(|seed| it == seed));
    assert!(!by.is_empty() && are_seeds, "{by:?}");
    assert!(!thief.has_said(|said| said.is("welcomed") || said.is("founded")));
    assert_eq!(thief.wait(), 4);
    see_no_harm(&nodes);
    // Once that one is gone the address is anybody's.
    let gone = nodes.0.remove(2);
    gone.signal("KILL");
    drop(gone);
    wait_until_free(&address);
    nodes.0.push(Node::start(&program, &address, &seeds, &[]));
    nodes.0[2].wait_for_event("up", &address);
    assert!(!nodes.0[2].has_said(|said| said.is("address_in_use")));
}

#[test]
fn who_would_decide_otherwise_about_lost_members_is_not_let_in() {
    let program = program();
    let nodes = Nodes::up(&program, 2);
    let seeds = [nodes.0[0].address.clone()];
    let other = ["--set", "cluster.downing=down-all"];
    let refused = Node::start(&program, "127.0.0.1:0", &seeds, &other);
    let told = refused.wait_for("that it is incompatible", |said| said.is("incompatible"));
    assert_eq!(told.line["member"], seeds[0]);
    let names = told.line["names"].as_array().expect("names");
    assert!(names.contains(&"cluster.downing".into()), "{names:?}");
    assert_eq!(refused.wait(), 4);
    see_no_harm(&nodes);
}

#[test]
fn two_clusters_of_one_name_stay_two() {
    let program = program();
    let addresses = free_addresses(2);
    let alone = |at: &String| Node::start(&program, at, &[], &[]);
    let clusters = Nodes(addresses.iter().map(alone).collect());
    let ids = clusters.0.iter().map(|node| {
        let founded = node.wait_for("founded", |said| said.is("founded"));
        founded.line["cluster_id"].clone()
    });
    let ids: Vec<_> = ids.collect();
    assert_ne!(ids[0], ids[1]);
    let joins = clusters.0[0].command(&format!("join {}", addresses[1]));
    assert_eq!(joins["event"], "error", "it is in one: {joins}");
    // Whoever knows of both is in one of them, whole.
    let both = Node::start(&program, "127.0.0.1:0", &addresses, &[]);
    let welcomed = both.wait_for("a welcome", |said| said.is("welcomed"));
    let of = ids.iter().position(|id| *id == welcomed.line["cluster_id"]);
    let of = of.expect("one of the two");
    let met = both.wait_for("the other one", |said| said.is("foreign_cluster"));
    assert_eq!(met.line["member"], addresses[1 - of]);
    let own = both.command("state")["member"].clone();
    clusters.0[of].wait_for_event("up", own.as_str().expect("an address"));
    for (place, node) in clusters.0.iter().enumerate() {
        let state = node.command("state");
        assert_eq!(state["cluster_id"], ids[place]);
        let members = if place == of { 2 } else { 1 };
        assert_eq!(state["members"].as_array().map(Vec::len), Some(members));
    }
}

#[test]
fn a_state_directory_that_is_none_keeps_a_node_from_starting() {
    let program = program();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "").expect("it is writable");
    let file = file.to_str().expect("a text");
    let node = Node::start(&program, "127.0.0.1:0", &[], &["--state-dir", file]);
    assert_eq!(node.wait(), 2);
}

#[test]
fn who_cannot_write_its_state_down_is_a_member_all_the_same() {
    let program = program();
    let directory = tempfile::tempdir().expect("a directory");
    // Root may write everywhere, but not where a directory stands.
    let new = directory.path().join("cluster.state.new");
    fs::create_dir(&new).expect("it is writable");
    let path = directory.path().to_str().expect("a text");
    let addresses = free_addresses(2);
    let first = Node::start(&program, &addresses[0], &addresses, &["--state-dir", path]);
    let second = Node::start(&program, &addresses[1], &addresses, &[]);
    let nodes = Nodes(vec![first, second]);
    nodes.wait_until_up();
    see_no_harm(&nodes);
    assert!(!directory.path().join("cluster.state").exists());
    let Nodes(mut nodes) = nodes;
    let first = nodes.remove(0);
    first.signal("TERM");
    assert_eq!(first.wait(), 0);
}

#[test]
fn all_that_start_anew_at_once_are_one_new_cluster() {
    let program = program();
    let directory = tempfile::tempdir().expect("a directory");
    let addresses = free_addresses(3);
    let start = |place: usize| {
        let own = directory.path().join(place.to_string());
        fs::create_dir_all(&own).expect("it is writable");
        let own = own.to_str().expect("a text");
        let more = ["--state-dir", own];
        Node::start(&program, &addresses[place], &addresses, &more)
    };
    let start_all = || {
        let nodes = Nodes((0..3).map(start).collect());
        nodes.wait_until_up();
        nodes
    };
    let nodes = start_all();
    let old = nodes.cluster();
    for place in 0..3 {
        let own = directory.path().join(place.to_string());
        wait_until_written(&own, &old, &addresses);
    }
    nodes.0.iter().for_each(|node| node.signal("KILL"));
    drop(nodes);
    addresses.iter().for_each(|it| wait_until_free(it));
    let again = start_all();
    assert_ne!(again.cluster(), old);
    let founders = again
        .0
        .iter()
        .filter(|it| it.has_said(|said| said.is("founded")));
    assert_eq!(founders.count(), 1);
}
