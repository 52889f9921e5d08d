//! Links over which nothing goes: what each holds, and that nobody wakes up for them.

use std::time::{Duration, Instant};

use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::procfs::{Holdings, allow_descriptors};
use ringmesh_tests::live::raw::RawPeer;
use ringmesh_tests::live::serving::Serving;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// The most that a link may hold while nothing goes over it.
const BYTES_PER_LINK_MAX: u64 = 16 << 10;

/// The most often that a node may wake up in a second with nothing to do.
const WAKES_PER_SECOND_MAX: u64 = 20;

/// For how long wake-ups are counted.
const LULL: Duration = Duration::from_secs(2);

#[test]
fn an_idle_link_holds_little() {
    idle_links(256, None);
}

#[test]
#[ignore = "takes some seconds"]
fn ten_thousand_idle_links_hold_little_and_wake_nobody() {
    idle_links(9_900, Some(LULL));
}

/// Links so many peers with one node of its own process, and looks at what they cost it: and, over
/// a `lull`, how often it woke up.
fn idle_links(count: usize, lull: Option<Duration>) {
    allow_descriptors();
    let settings = [
        "--set",
        "node.peers_max=16384",
        "--set",
        "node.connections_per_source_max=16384",
    ];
    let serving = Serving::start(LIVE_NODE, &settings);
    let client = LiveNode::start();
    // What the first ones need, all need together.
    let first: Vec<RawPeer> = (0..64).map(|_| RawPeer::link(&serving.id)).collect();
    let pid = serving.process.pid();
    let measure = |links: usize| {
        let links = links as u64;
        let seen = serving.inspect(&client, move |seen| seen.links == links);
        (seen.live_bytes, Holdings::of(pid).resident_bytes)
    };
    // One more is the client's.
    let before = measure(first.len() + 1);
    let idle: Vec<RawPeer> = (0..count).map(|_| RawPeer::link(&serving.id)).collect();
    let after = measure(first.len() + idle.len() + 1);
    let each = |before: u64, after: u64| after.saturating_sub(before) / count as u64;
    let (live, resident) = (each(before.0, after.0), each(before.1, after.1));
    println!("{count} idle links: {live} bytes allocated and {resident} resident for each");
    assert!(live <= BYTES_PER_LINK_MAX, "{live} bytes for each link");
    assert!(resident <= BYTES_PER_LINK_MAX, "{resident} bytes resident");
    if let Some(lull) = lull {
        let parks = || serving.inspect(&client, |_| true).parks;
        let (before, begin) = (parks(), Instant::now());
        client.run(move |node| async move { node.sleep(lull).await });
        let wakes = (parks() - before) * 1000 / begin.elapsed().as_millis() as u64;
        println!("{wakes} wake-ups a second");
        assert!(wakes <= WAKES_PER_SECOND_MAX, "{wakes} wake-ups a second");
    }
    let peers = first.len() + idle.len();
    drop((first, idle));
    let seen = serving.inspect(&client, |seen| seen.links == 1);
    assert_eq!(seen.accepted as usize, peers + 1, "all of them came in");
    assert_closed(&client.until("quiet", |now| now.in_flight == 0));
}
