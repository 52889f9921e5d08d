//! Two data centres that are cut off from each other for half a minute: each goes on, and all learn
//! of it, once.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cables::Cables;
use crate::network::Network;
use crate::process::{Node, Nodes, PATIENCE, Said, between, program, within};
use crate::relay::Relay;

/// By host: those that begin, and one more in each that comes in later.
const PLACES: [&str; 8] = [
    "east", "east", "east", "west", "west", "west", "east", "west",
];

const EAST: [usize; 4] = [0, 1, 2, 6];
const WEST: [usize; 4] = [3, 4, 5, 7];

/// How long nothing passes between the two.
const CUT: Duration = Duration::from_secs(30);

/// When those of one data centre know that the other is gone, counted from the cut: of three
/// seconds between two heartbeats some have passed, and ten more do; one more where the two have
/// only just met.
const DARK: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(15);

#[test]
fn data_centres_on_hosts() {
    if let Some(network) = Network::of(PLACES.len()) {
        data_centres_go_on_while_they_are_cut_off(&program(), &network);
    }
}

#[test]
fn data_centres_in_a_relay() {
    data_centres_go_on_while_they_are_cut_off(&program(), &Relay::of(PLACES.len()));
}

fn start(program: &Path, cables: &dyn Cables, host: usize) -> Node {
    cables.start(program, host, &["--dc", PLACES[host]])
}

fn is_dark(said: &Said) -> bool {
    said.is("dc_unreachable")
}

fn is_back(said: &Said) -> bool {
    said.is("dc_reachable")
}

/// What the host is in, and what it is not.
fn other(host: usize) -> &'static str {
    if PLACES[host] == "east" {
        "west"
    } else {
        "east"
    }
}

/// One member leaves, and another comes in, as those next to them tell it.
fn change(program: &Path, cables: &dyn Cables, nodes: &mut Vec<(usize, Node)>, change: [usize; 2]) {
    let [goes, comes] = change;
    let place = nodes.iter().position(|it| it.0 == goes).expect("it runs");
    let (_, gone) = nodes.remove(place);
    let began = Instant::now();
    assert_eq!(gone.command("leave")["event"], "ok");
    let address = gone.address.clone();
    assert_eq!(gone.wait(), 0);
    let is_next = |it: &&(usize, Node)| PLACES[it.0] == PLACES[goes];
    for (_, node) in nodes.iter().filter(is_next) {
        let removed = node.wait_for("removed", |said| said.is_of("removed", &address));
        assert_eq!(removed.line["previous"], "exiting");
    }
    let what = format!("{}: one left, {}", PLACES[goes], cables.place());
    within(&what, began.elapsed(), Duration::from_secs(8));
    let began = Instant::now();
    nodes.push((comes, start(program, cables, comes)));
    let address = &cables.addresses()[comes];
    for (_, node) in nodes.iter().filter(is_next) {
        node.wait_for_event("up", address);
    }
    let what = format!("{}: one came in, {}", PLACES[comes], cables.place());
    within(&what, began.elapsed(), Duration::from_secs(8));
}

fn data_centres_go_on_while_they_are_cut_off(program: &Path, cables: &dyn Cables) {
    let nodes = Nodes((0..6).map(|host| start(program, cables, host)).collect());
    nodes.wait_until_up();
    nodes.forget();
    let mut nodes: Vec<(usize, Node)> = (0..).zip(nodes.0).collect();
    let began = Instant::now();
    cables.cut(&EAST, &WEST);
    let known = nodes.iter().map(|(host, node)| {
        let said = node.wait_for("that it is cut off", is_dark);
        assert_eq!(said.line["dc"], other(*host));
        said.at - began
    });
    let known: Vec<Duration> = known.collect();
    let (first, last) = (known.iter().min(), known.iter().max());
    let (first, last) = first.zip(last).expect("there are six");
    let what = format!("a data centre cut off {}, known", cables.place());
    between(&what, *first, *last, DARK);
    change(program, cables, &mut nodes, [2, 6]);
    change(program, cables, &mut nodes, [5, 7]);
    // Nothing is to come of the rest of that time.
    let left = CUT.saturating_sub(began.elapsed());
    assert!(!nodes[0].1.says_within(left, is_back));
    cables.heal(&EAST, &WEST);
    see_one_view(cables, &nodes, Instant::now());
}

fn see_one_view(cables: &dyn Cables, nodes: &[(usize, Node)], healed: Instant) {
    let back = nodes.iter().map(|(host, node)| {
        let said = node.wait_for("that it is back", is_back);
        assert_eq!(said.line["dc"], other(*host));
        said.at - healed
    });
    let last = back.max().expect("there are six");
    let what = format!("a data centre back {}, known", cables.place());
    within(&what, last, Duration::from_secs(10));
    let addresses = cables.addresses();
    for (host, node) in nodes {
        let news = if PLACES[*host] == "east" {
            [5, 7]
        } else {
            [2, 6]
        };
        let [goes, comes] = news.map(|it| &addresses[it]);
        // Whoever came in meanwhile may never have heard of them.
        if *host < 6 {
            node.wait_for_event("removed", goes);
        }
        node.wait_for_event("up", comes);
    }
    let what = format!("one view again {}", cables.place());
    within(&what, healed.elapsed(), Duration::from_secs(20));
    for (host, node) in nodes {
        let deadline = Instant::now() + PATIENCE;
        let members = loop {
            let state = node.command("state");
            let members = state["members"].as_array().cloned().unwrap_or_default();
            if members.len() == 6 || Instant::now() > deadline {
                break members;
            }
        };
        let is_up = |it: &serde_json::Value| it["status"] == "up" && it["reachable"] == true;
        assert!(
            members.len() == 6 && members.iter().all(is_up),
            "{members:?}"
        );
        let heard = (node.count(is_dark), node.count(is_back));
        assert_eq!(heard, (1, 1), "{host}");
        assert!(!node.has_said(|said| said.is("decision") || said.is("down")));
        assert_eq!(node.command("state")["has_quorum"], true);
    }
}
