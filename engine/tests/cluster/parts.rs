//! Clusters that are cut apart: which side goes on, and when.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cables::{Cables, pairs};
use crate::network::Network;
use crate::process::{
    Node, Nodes, PATIENCE, REMOVAL, Said, UNREACHABLE, between, program, wait_until_written, within,
};
use crate::relay::Relay;

/// What becomes of a cluster on so many hosts.
type Case = (usize, fn(&Path, &dyn Cables));

/// The shortest first.
const CASES: [Case; 7] = [
    (5, a_cut_that_heals_in_time_removes_nobody),
    (
        3,
        a_first_seed_that_starts_behind_a_cut_waits_and_comes_back_when_it_heals,
    ),
    (5, three_of_five_go_on_and_two_end),
    (4, of_two_halves_that_with_the_lowest_address_goes_on),
    (5, who_hears_the_others_and_is_not_heard_ends),
    (4, of_two_halves_that_with_the_lease_goes_on),
    (5, two_of_five_go_on_by_a_lease_when_three_are_killed),
];

/// So many at once: they wait for the most part.
fn run_all(at_once: usize, cables: impl Fn(usize) -> Option<Box<dyn Cables>> + Sync) {
    let (program, next) = (program(), AtomicUsize::new(0));
    let run = || {
        while let Some((hosts, case)) = CASES.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(cables) = cables(*hosts) {
                case(&program, &*cables);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(run);
        }
    });
}

#[test]
fn cuts_between_hosts() {
    run_all(CASES.len(), |hosts| Some(Box::new(Network::of(hosts)?)));
}

/// Where no hosts can be made it is this that shows what a cut does. Whoever may not make any may
/// not lock much memory either, and then cases wait for a [room](crate::room).
#[test]
fn cuts_in_a_relay() {
    run_all(3, |hosts| Some(Box::new(Relay::of(hosts))));
}

/// Waits until those of one side have lost all of the other, by silence alone.
fn see_a_loss(what: &str, stays: &[Node], goes: &[Node], began: Instant) {
    let lost = stays.iter().flat_map(|node| {
        goes.iter().map(move |lost| {
            let is_loss = |said: &Said| said.is_of("unreachable", &lost.address);
            let said = node.wait_for("a loss", is_loss);
            assert_eq!(said.line["reason"], "silence");
            said.at - began
        })
    });
    let times: Vec<Duration> = lost.collect();
    let (first, last) = (times.iter().min(), times.iter().max());
    let (first, last) = first.zip(last).expect("there are two sides");
    between(what, *first, *last, UNREACHABLE);
}

/// Waits until those of one side have removed all of the other, which end.
fn see_one_side_go_on(cables: &dyn Cables, stays: &[Node], goes: Vec<Node>, began: Instant) {
    let (here, there) = (stays.len(), goes.len());
    let cut = format!("a cut of {here} from {there} {}", cables.place());
    see_a_loss(&format!("{cut}, unreachable"), stays, &goes, began);
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
    within(
        &format!("{cut}, removed everywhere"),
        removed_at - began,
        REMOVAL,
    );
    for node in goes {
        let known_at = node
            .wait_for("self_removed", |said| said.is("self_removed"))
            .at;
        let ended_at = node.wait_for("exit", |said| said.is("exit")).at;
        let ended = format!("{cut}, one of the other side ended");
        within(&ended, ended_at - began, REMOVAL);
        within(
            &format!("{cut}, since that one knew"),
            ended_at - known_at,
            Duration::from_secs(2),
        );
        assert_eq!(node.wait(), 3);
    }
    for node in stays {
        let state = node.command("state");
        assert_eq!(state["members"].as_array().map(Vec::len), Some(stays.len()));
        assert_eq!(state["has_quorum"], true);
        assert!(!node.has_said(|said| said.is("self_removed")));
    }
}

fn three_of_five_go_on_and_two_end(program: &Path, cables: &dyn Cables) {
    let Nodes(mut stays) = cables.up(program);
    let began = Instant::now();
    cables.cut(&[0, 1, 2], &[3, 4]);
    let goes = stays.split_off(3);
    see_one_side_go_on(cables, &stays, goes, began);
}

fn of_two_halves_that_with_the_lowest_address_goes_on(program: &Path, cables: &dyn Cables) {
    let Nodes(mut stays) = cables.up(program);
    let began = Instant::now();
    cables.cut(&[0, 3], &[1, 2]);
    let goes = vec![stays.remove(1), stays.remove(1)];
    see_one_side_go_on(cables, &stays, goes, began);
}

/// All nodes, with leases from one directory, as soon as each knows which was given last.
fn leased(program: &Path, cables: &dyn Cables, directory: &Path) -> Nodes {
    let store = format!("cluster.lease_store=directory {}", directory.display());
    let more = ["--set", "cluster.downing=lease-majority", "--set", &store];
    let hosts = 0..cables.addresses().len();
    let start = |host| cables.start(program, host, &more);
    let nodes = Nodes(hosts.map(start).collect());
    nodes.wait_until_up();
    nodes.forget();
    for node in &nodes.0 {
        let deadline = Instant::now() + PATIENCE;
        let is_known = || {
            let lease = &node.command("explain")["inputs"]["lease"];
            lease["known"].is_u64() && lease["wanted"] == false
        };
        while !is_known() {
            assert!(Instant::now() < deadline, "nobody counts");
            thread::yield_now();
        }
    }
    nodes
}

fn of_two_halves_that_with_the_lease_goes_on(program: &Path, cables: &dyn Cables) {
    let directory = tempfile::tempdir().expect("a directory");
    let Nodes(mut stays) = leased(program, cables, directory.path());
    let began = Instant::now();
    cables.cut(&[0, 3], &[1, 2]);
    let goes = vec![stays.remove(1), stays.remove(1)];
    see_one_side_go_on(cables, &stays, goes, began);
}

/// Which no vote would have them do.
fn two_of_five_go_on_by_a_lease_when_three_are_killed(program: &Path, cables: &dyn Cables) {
    let directory = tempfile::tempdir().expect("a directory");
    let Nodes(mut stays) = leased(program, cables, directory.path());
    let began = Instant::now();
    let killed = stays.split_off(2);
    let gone: Vec<String> = killed.iter().map(|it| it.address.clone()).collect();
    drop(killed);
    let mut removed_at = began;
    for node in &stays {
        for address in &gone {
            let removed = node.wait_for("removed", |said| said.is_of("removed", address));
            removed_at = removed_at.max(removed.at);
        }
    }
    let what = format!(
        "three of five killed {}, removed everywhere",
        cables.place()
    );
    within(&what, removed_at - began, REMOVAL);
    for node in stays {
        let state = node.command("state");
        assert_eq!(state["members"].as_array().map(Vec::len), Some(2));
        assert!(!node.has_said(|said| said.is("self_removed")));
    }
}

fn who_hears_the_others_and_is_not_heard_ends(program: &Path, cables: &dyn Cables) {
    let Nodes(mut stays) = cables.up(program);
    let began = Instant::now();
    cables.mute(&[4], &[0, 1, 2, 3]);
    let goes = stays.split_off(4);
    see_one_side_go_on(cables, &stays, goes, began);
}

fn a_cut_that_heals_in_time_removes_nobody(program: &Path, cables: &dyn Cables) {
    // So that nobody is given up before the cut heals, however busy the machine is.
    let patient = ["--set", "cluster.stable_after_ms=30000"];
    let start = |host| cables.start(program, host, &patient);
    let nodes = Nodes((0..5).map(start).collect());
    nodes.wait_until_up();
    nodes.forget();
    let (one, other) = nodes.0.split_at(3);
    let (here, there) = ([0, 1, 2], [3, 4]);
    let began = Instant::now();
    cables.cut(&here, &there);
    let cut = format!("a cut {} that heals", cables.place());
    see_a_loss(
        &format!("{cut}, unreachable on one side"),
        one,
        other,
        began,
    );
    see_a_loss(&format!("{cut}, on the other"), other, one, began);
    cables.heal(&here, &there);
    let healed = Instant::now();
    let mut last = healed;
    for (here, there) in pairs(&here, &there) {
        let (here, there) = (&nodes.0[here], &nodes.0[there]);
        last = last.max(here.wait_for_event("reachable", &there.address));
        last = last.max(there.wait_for_event("reachable", &here.address));
    }
    within(
        &format!("{cut}, all reachable"),
        last - healed,
        Duration::from_secs(2),
    );
    for node in &nodes.0 {
        let state = node.command("state");
        assert_eq!(state["members"].as_array().map(Vec::len), Some(5));
        assert!(!node.has_said(|said| said.is("removed") || said.is("decision")));
    }
}

fn a_first_seed_that_starts_behind_a_cut_waits_and_comes_back_when_it_heals(
    program: &Path,
    cables: &dyn Cables,
) {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().to_str().expect("a text");
    let start = |host: usize| {
        let own = format!("{directory}/{host}");
        std::fs::create_dir_all(&own).expect("it is writable");
        cables.start(program, host, &["--state-dir", &own])
    };
    let mut nodes = Nodes((0..3).map(start).collect());
    nodes.wait_until_up();
    let cluster = nodes.cluster();
    wait_until_written(
        format!("{directory}/0").as_ref(),
        &cluster,
        cables.addresses(),
    );
    cables.cut(&[0], &[1, 2]);
    drop(nodes.0.remove(0));
    nodes.forget();
    cables.wait_until_free(0);
    let first = start(0);
    let waits = first.wait_for("that it waits", |said| said.is("join_waiting"));
    for other in &nodes.0 {
        let silent = waits.line["silent"].as_array().expect("names");
        assert!(
            silent.contains(&other.address.as_str().into()),
            "{silent:?}"
        );
    }
    cables.heal(&[0], &[1, 2]);
    let healed = Instant::now();
    let welcomed = first.wait_for("a welcome", |said| said.is("welcomed"));
    assert_eq!(welcomed.line["cluster_id"], cluster);
    let up = nodes.wait_for_event("up", &first.address);
    let again = format!("a cut {} that heals, a first seed up again", cables.place());
    within(&again, up - healed, Duration::from_secs(16));
    assert!(!first.has_said(|said| said.is("founded")));
}
