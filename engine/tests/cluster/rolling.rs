//! Members that are restarted one after the other, under load.

use std::time::{Duration, Instant};

use crate::process::{Node, Nodes, Said, free_addresses, program, within};

/// What a member may take to hand over: from the signal until it is gone everywhere.
const HAND_OVER: Duration = Duration::from_secs(3);

/// What a loaded node may take to end, from the signal.
const SHUTDOWN: Duration = Duration::from_secs(10);

#[test]
fn busy_members_that_are_restarted_one_by_one_are_missed_by_nobody() {
    let program = program();
    let addresses = free_addresses(5);
    let busy = ["--busy"];
    let start = |at: &String| Node::start(&program, at, &addresses, &busy);
    let mut nodes = Nodes(addresses.iter().map(start).collect());
    nodes.wait_until_up();
    let is_amiss = |said: &Said| said.is("unreachable") || said.is("decision");
    let (mut handed_over, mut ended, mut back) = <(Duration, Duration, Duration)>::default();
    for address in &addresses {
        let leaver = nodes.0.remove(0);
        assert_eq!(leaver.address, *address);
        let told = Instant::now();
        leaver.signal("TERM");
        for node in &nodes.0 {
            let removed = node.wait_for("removed", |said| said.is_of("removed", address));
            assert_eq!(removed.line["previous"], "exiting", "{}", removed.line);
            handed_over = handed_over.max(removed.at - told);
        }
        assert_eq!(leaver.wait(), 0);
        ended = ended.max(told.elapsed());
        for node in &nodes.0 {
            assert_eq!(node.count(is_amiss), 0, "{} missed {address}", node.address);
        }
        nodes.forget();
        let started = Instant::now();
        let next = Node::start(&program, address, &addresses, &busy);
        let up = next.wait_for_event("up", address);
        back = back.max(up.max(nodes.wait_for_event("up", address)) - started);
        nodes.0.push(next);
        for node in &nodes.0 {
            assert_eq!(node.count(is_amiss), 0, "{} missed {address}", node.address);
        }
        nodes.forget();
    }
    nodes.cluster();
    within("a hand-over, at most", handed_over, HAND_OVER);
    within("the end of a loaded node, at most", ended, SHUTDOWN);
    within("a node up again, at most", back, HAND_OVER);
}
