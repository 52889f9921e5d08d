//! Clusters that are cut apart: which side goes on, and when.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::network::Network;
use crate::process::{Node, Nodes, Said, program, wait_until_written, within};

/// What the others may take to give members up that they lost: to find it out, and to be sure.
const REMOVAL: Duration = Duration::from_secs(16);

/// All at once: they wait for the most part.
#[test]
fn cuts() {
    let program = program();
    thread::scope(|scope| {
        let cases: [fn(&Path); 5] = [
            three_of_five_go_on_and_two_end,
            of_two_halves_that_with_the_lowest_address_goes_on,
            who_hears_the_others_and_is_not_heard_ends,
            a_cut_that_heals_in_time_removes_nobody,
            a_first_seed_that_starts_behind_a_cut_waits_and_comes_back_when_it_heals,
        ];
        for case in cases {
            let program = &program;
            scope.spawn(move || case(program));
        }
    });
}

/// Waits until those of one side have removed all of the other, which end.
fn see_one_side_go_on(stays: &[Node], goes: Vec<Node>, began: Instant) {
    let mut removed_at = began;
    for (node, lost) in stays
        .iter()
        .flat_map(|node| goes.iter().map(move |lost| (node, lost)))
    {
        let is_removal = |said: &Said| said.is_of("removed", &lost.address);
        let removed = node.wait_for("removed", is_removal);
        assert_eq!(removed.line["previous"], "down");
        removed_at = removed_at.max(removed.at);
    }
    within("a cut, removed everywhere", removed_at - began, REMOVAL);
    for node in goes {
        let known_at = node
            .wait_for("self_removed", |said| said.is("self_removed"))
            .at;
        let ended_at = node.wait_for("exit", |said| said.is("exit")).at;
        within(
            "a cut, one of the other side ended",
            ended_at - began,
            REMOVAL,
        );
        within("since it knew", ended_at - known_at, Duration::from_secs(2));
        assert_eq!(node.wait(), 3);
    }
    for node in stays {
        let state = node.command("state");
        assert_eq!(state["members"].as_array().map(Vec::len), Some(stays.len()));
        assert_eq!(state["has_quorum"], true);
        assert!(!node.has_said(|said| said.is("self_removed")));
    }
}

fn three_of_five_go_on_and_two_end(program: &Path) {
    let Some(network) = Network::of(5) else {
        return;
    };
    let Nodes(mut stays) = network.up(program);
    let began = Instant::now();
    network.cut(&[0, 1, 2], &[3, 4]);
    let goes = stays.split_off(3);
    see_one_side_go_on(&stays, goes, began);
}

fn of_two_halves_that_with_the_lowest_address_goes_on(program: &Path) {
    let Some(network) = Network::of(4) else {
        return;
    };
    let Nodes(mut stays) = network.up(program);
    let began = Instant::now();
    network.cut(&[0, 3], &[1, 2]);
    let goes = vec![stays.remove(1), stays.remove(1)];
    see_one_side_go_on(&stays, goes, began);
}

fn who_hears_the_others_and_is_not_heard_ends(program: &Path) {
    let Some(network) = Network::of(5) else {
        return;
    };
    let Nodes(mut stays) = network.up(program);
    let began = Instant::now();
    network.mute(&[4], &[0, 1, 2, 3]);
    let goes = stays.split_off(4);
    see_one_side_go_on(&stays, goes, began);
}

fn a_cut_that_heals_in_time_removes_nobody(program: &Path) {
    let Some(network) = Network::of(5) else {
        return;
    };
    // So that nobody is given up before the cut heals, however busy the machine is.
    let patient = ["--set", "cluster.stable_after_ms=30000"];
    let start = |host| network.start(program, host, &patient);
    let nodes = Nodes((0..5).map(start).collect());
    nodes.wait_until_up();
    let (one, other) = ([0, 1, 2], [3, 4]);
    let began = Instant::now();
    network.cut(&one, &other);
    let is_lost = one
        .iter()
        .flat_map(|here| other.map(|there| (*here, there)));
    for (here, there) in is_lost.clone() {
        nodes.0[here].wait_for_event("unreachable", &nodes.0[there].address);
        nodes.0[there].wait_for_event("unreachable", &nodes.0[here].address);
    }
    println!("a cut, unreachable everywhere: {:.3?}", began.elapsed());
    network.heal(&one, &other);
    let healed = Instant::now();
    let mut last = healed;
    for (here, there) in is_lost {
        let (here, there) = (&nodes.0[here], &nodes.0[there]);
        last = last.max(here.wait_for_event("reachable", &there.address));
        last = last.max(there.wait_for_event("reachable", &here.address));
    }
    within(
        "a cut that healed, all reachable",
        last - healed,
        Duration::from_secs(2),
    );
    for node in &nodes.0 {
        let state = node.command("state");
        assert_eq!(state["members"].as_array().map(Vec::len), Some(5));
        assert!(!node.has_said(|said| said.is("removed") || said.is("decision")));
    }
}

fn a_first_seed_that_starts_behind_a_cut_waits_and_comes_back_when_it_heals(program: &Path) {
    let Some(network) = Network::of(3) else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().to_str().expect("a text");
    let start = |host: usize| {
        let own = format!("{directory}/{host}");
        std::fs::create_dir_all(&own).expect("it is writable");
        network.start(program, host, &["--state-dir", &own])
    };
    let mut nodes = Nodes((0..3).map(start).collect());
    nodes.wait_until_up();
    let cluster = nodes.cluster();
    wait_until_written(
        format!("{directory}/0").as_ref(),
        &cluster,
        &network.addresses(),
    );
    network.cut(&[0], &[1, 2]);
    drop(nodes.0.remove(0));
    nodes.forget();
    network.wait_until_free(0);
    let first = start(0);
    let waits = first.wait_for("that it waits", |said| said.is("join_waiting"));
    for other in &nodes.0 {
        let silent = waits.line["silent"].as_array().expect("names");
        assert!(
            silent.contains(&other.address.as_str().into()),
            "{silent:?}"
        );
    }
    network.heal(&[0], &[1, 2]);
    let healed = Instant::now();
    let welcomed = first.wait_for("a welcome", |said| said.is("welcomed"));
    assert_eq!(welcomed.line["cluster_id"], cluster);
    let up = nodes.wait_for_event("up", &first.address);
    within("a heal, up again", up - healed, Duration::from_secs(16));
    assert!(!first.has_said(|said| said.is("founded")));
}
