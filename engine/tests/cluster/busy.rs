//! Members whose cores have no idle moment.

use std::time::{Duration, Instant};

use crate::process::{Node, Nodes, Said, free_addresses, program};

/// Five nodes whose cores handle messages of 1 to 10 ms one behind the other: more work than the
/// machine has processors, and nobody is accused for it.
fn labour(span: Duration) {
    let program = program();
    let addresses = free_addresses(5);
    let start = |at: &String| Node::start(&program, at, &addresses, &["--busy"]);
    let nodes = Nodes(addresses.iter().map(start).collect());
    nodes.wait_until_up();
    let end = Instant::now() + span;
    let is_amiss = |said: &Said| {
        ["unreachable", "removed", "decision"]
            .iter()
            .any(|it| said.is(it))
    };
    let mut stalls = 0;
    for node in &nodes.0 {
        // Whatever comes wakes this; nothing that is wanted does.
        let left = end.saturating_duration_since(Instant::now());
        assert!(
            !node.says_within(left, is_amiss),
            "{} accuses somebody",
            node.address
        );
    }
    for node in &nodes.0 {
        assert!(
            !node.has_said(is_amiss),
            "{} accuses somebody",
            node.address
        );
        assert!(node.ran() > span / 20, "{} has nothing to do", node.address);
        stalls += node.count(|said| said.is("stalled"));
        let state = node.command("state");
        assert_eq!(state["members"].as_array().map(Vec::len), Some(5));
    }
    println!("{span:?} of labour: nobody accused, {stalls} times a node found itself late");
}

#[test]
fn cores_at_work_accuse_nobody() {
    labour(Duration::from_secs(60));
}

/// `cargo test --release -p ringmesh -- --ignored for_long`.
#[test]
#[ignore = "takes ten minutes"]
fn cores_at_work_accuse_nobody_for_long() {
    labour(Duration::from_secs(600));
}
