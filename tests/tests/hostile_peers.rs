//! Peers that are slow, silent, many, or do not listen: each costs little, for a bounded time, and
//! nothing of it stays.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use ringmesh::NodeId;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::{
    DEFERRED_WINDOWS, FRAME_STALL_TIMEOUT, HANDSHAKE_TIMEOUT, PREFACE_BYTES, PREFACE_TIMEOUT,
    WINDOW_BYTES,
};
use ringmesh_tests::live::bystander::Bystander;
use ringmesh_tests::live::inspector::Inspection;
use ringmesh_tests::live::messages::{ECHO, EchoApi, Inflate, Record};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::procfs::{Holdings, allow_descriptors};
use ringmesh_tests::live::raw::{RawPeer, frames as make};
use ringmesh_tests::live::serving::Serving;
use ringmesh_tests::live::watched::Watched;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// What a deadline may be late by on a busy machine.
const LATENESS: Duration = Duration::from_secs(2);

/// Connections that may be half open at a node with the settings' defaults.
const HALF_OPEN_MAX: u64 = 256;

/// Resident memory that may stay when a flood is over: pages that the allocator keeps.
const RESIDENT_SLACK_BYTES: u64 = 4 << 20;

/// Live memory that may stay when a flood is over: tables that grew to hold the most that one turn
/// brought. A flood of 10,000 that leaked 160 bytes each would leave more.
const LIVE_SLACK_BYTES: u64 = 3 << 19;

#[test]
fn silence_before_behind_and_within_a_preface_is_closed_in_time() {
    let watched = Watched::start();
    let whole = RawPeer::connect(watched.id()).preface().encode();
    let opening = RawPeer::connect(watched.id()).opening();
    let silences: [(&[u8], Duration); 5] = [
        (&[], PREFACE_TIMEOUT),
        (&whole[..1], PREFACE_TIMEOUT),
        (&whole[..PREFACE_BYTES - 1], PREFACE_TIMEOUT),
        (&whole, HANDSHAKE_TIMEOUT),
        (&opening[..opening.len() - 1], HANDSHAKE_TIMEOUT),
    ];
    let mut silent: Vec<_> = silences
        .into_iter()
        .map(|(bytes, timeout)| {
            let mut peer = RawPeer::connect(watched.id());
            peer.send(bytes);
            (peer, Instant::now(), timeout)
        })
        .collect();
    for (peer, begin, timeout) in &mut silent {
        let ending = peer.ending();
        let after = begin.elapsed();
        assert!(ending.is_silent(), "{ending:?}");
        assert!(
            after >= *timeout - Duration::from_millis(100),
            "closed early, after {after:?}"
        );
        assert!(after <= *timeout + LATENESS, "closed late, after {after:?}");
    }
    let reasons = watched.close_reasons();
    assert_eq!(reasons["preface_timeout"], 3, "{reasons:?}");
    assert_eq!(reasons["handshake_timeout"], 2, "{reasons:?}");
    assert_eq!(
        watched.node.log().with("label=\"preface_timeout\"").len(),
        3
    );
    assert_eq!(
        watched.node.log().with("label=\"handshake_timeout\"").len(),
        2
    );
    watched.saw_nothing();
}

#[test]
fn a_preface_that_trickles_is_closed_at_the_same_deadline() {
    let watched = Watched::start();
    let mut peer = RawPeer::connect(watched.id());
    let preface = peer.preface().encode();
    let begin = Instant::now();
    // A byte every 100 ms is never silent for long, and would take more than six seconds.
    for byte in preface {
        if peer.try_send(&[byte]).is_err() || !peer.is_open_for(Duration::from_millis(100)) {
            break;
        }
    }
    let after = begin.elapsed();
    assert!(
        after >= PREFACE_TIMEOUT - Duration::from_millis(100),
        "closed after {after:?}"
    );
    assert!(
        after <= PREFACE_TIMEOUT + LATENESS,
        "closed after {after:?}"
    );
    assert_eq!(watched.close_reasons()["preface_timeout"], 1);
    watched.saw_nothing();
}

#[test]
fn two_thousand_slow_openings_leave_nothing_behind() {
    const PEERS: usize = 2000;
    allow_descriptors();
    let serving = Serving::start(LIVE_NODE, &[]);
    let client = LiveNode::start();
    let bystander = Bystander::of(&serving.path(ECHO));
    // A first flood grows the tables to what one turn of the core can bring.
    slow_openings(&serving.id, PEERS)
        .iter_mut()
        .for_each(is_closed_silently);
    let before = serving.inspect(&client, |seen| seen.links == 2);
    let holdings = Holdings::of(serving.process.pid());

    let mut slow = slow_openings(&serving.id, PEERS);
    let all = before.accepted + PEERS as u64;
    let during = serving.inspect(&client, move |seen| seen.accepted == all);
    let turned_away = during.closed_for("overloaded") - before.closed_for("overloaded");
    assert!(
        turned_away > 0,
        "none of {PEERS} was turned away: {during:?}"
    );
    let bound = holdings.descriptors + HALF_OPEN_MAX as usize;
    let deadline = Instant::now() + LATENESS;
    // Those that are turned away are closed with the ring's next turns.
    while Holdings::of(serving.process.pid()).descriptors > bound {
        assert!(
            Instant::now() < deadline,
            "more connections are half open than may be"
        );
        serving.inspect(&client, |_| true);
    }
    // All are closed by the node, not by their own ends.
    slow.iter_mut().for_each(is_closed_silently);
    assert_back_at(&serving, &client, &before, &holdings);
    bystander.saw_nothing();
}

#[test]
fn two_thousand_openings_that_trickle_at_once_leave_nothing_behind() {
    const PEERS: usize = 2000;
    allow_descriptors();
    // One source may have half of them.
    let half_open_max = (2 * PEERS).to_string();
    let serving = Serving::start(LIVE_NODE, &["--half-open-max", &half_open_max]);
    let client = LiveNode::start();
    let bystander = Bystander::of(&serving.path(ECHO));
    // A first flood grows the tables to what so many connections need.
    trickle(&serving, &client, PEERS);
    let before = serving.inspect(&client, |seen| seen.links == 2);
    let holdings = Holdings::of(serving.process.pid());
    trickle(&serving, &client, PEERS);
    assert_back_at(&serving, &client, &before, &holdings);
    bystander.saw_nothing();
}

/// Opens connections that bring a byte of their preface now and then, and go on until the node has
/// closed them all: each by itself, at its own deadline.
fn trickle(serving: &Serving, client: &LiveNode, count: usize) {
    let before = serving.inspect(client, |_| true);
    let mut slow: Vec<(RawPeer, [u8; PREFACE_BYTES])> = (0..count)
        .map(|_| {
            let mut peer = RawPeer::connect(&serving.id);
            let preface = peer.preface().encode();
            peer.send(&preface[..1]);
            (peer, preface)
        })
        .collect();
    for index in 1..PREFACE_BYTES {
        for (peer, preface) in &mut slow {
            // Those whose time is up take no more.
            let _ = peer.try_send(&preface[index..=index]);
        }
        let (last, _) = slow.last_mut().expect("there are some");
        if !last.is_open_for(Duration::from_millis(100)) {
            break;
        }
    }
    for (peer, _) in &mut slow {
        is_closed_silently(peer);
    }
    let closed = before.closed_for("preface_timeout") + count as u64;
    let after = serving.inspect(client, move |seen| {
        seen.closed_for("preface_timeout") == closed
    });
    let (before, after) = (
        before.closed_for("overloaded"),
        after.closed_for("overloaded"),
    );
    assert_eq!(before, after, "some were turned away");
}

fn is_closed_silently(peer: &mut RawPeer) {
    assert!(peer.ending().is_silent(), "a stranger was told something");
}

/// Connections that begin to open and do not go on.
fn slow_openings(to: &NodeId, count: usize) -> Vec<RawPeer> {
    (0..count)
        .map(|index| {
            let mut peer = RawPeer::connect(to);
            let preface = peer.preface().encode();
            // The node may have turned it away already.
            let _ = peer.try_send(&preface[..index % PREFACE_BYTES]);
            peer
        })
        .collect()
}

#[test]
fn links_that_stall_within_a_frame_leave_nothing_behind() {
    const PEERS: u64 = 200;
    let serving = Serving::start(LIVE_NODE, &[]);
    let client = LiveNode::start();
    let bystander = Bystander::of(&serving.path(ECHO));
    let sink = serving.sink(&client);
    let stall = |index: u64| {
        let mut peer = RawPeer::link(&serving.id);
        peer.send(&make::definitions::<Record>(sink));
        let frame = make::tell_bytes(&[0x11; 8 << 10]);
        peer.send(&frame[..1 + (index as usize * 37) % (frame.len() - 1)]);
        peer
    };
    let mut first = stall(0);
    assert!(
        first
            .ending()
            .frames
            .iter()
            .all(|frame| frame.header.kind == Kind::Grant)
    );
    let before = serving.inspect(&client, |seen| seen.links == 2);
    let holdings = Holdings::of(serving.process.pid());

    let begin = Instant::now();
    let stalled: Vec<RawPeer> = (0..PEERS).map(stall).collect();
    let during = serving.inspect(&client, |seen| seen.links == 2 + PEERS);
    let each = during.live_bytes.saturating_sub(before.live_bytes) / PEERS;
    println!("a stalled link holds {each} bytes");
    assert!(each <= 32 << 10, "a stalled link holds {each} bytes");
    for mut peer in stalled {
        let ending = peer.ending();
        assert!(
            ending
                .frames
                .iter()
                .all(|frame| frame.header.kind == Kind::Grant)
        );
    }
    assert!(begin.elapsed() >= FRAME_STALL_TIMEOUT - Duration::from_millis(100));
    let after = assert_back_at(&serving, &client, &before, &holdings);
    assert_eq!(after.closed_for("frame_stall"), 1 + PEERS);
    bystander.saw_nothing();
}

#[test]
fn ten_thousand_connects_and_closes_leave_nothing_behind() {
    const CYCLES: u64 = 10_000;
    let serving = Serving::start(LIVE_NODE, &[]);
    let client = LiveNode::start();
    let bystander = Bystander::of(&serving.path(ECHO));
    // A first round grows the tables to what one turn of the core can bring.
    connect_and_close(&serving, &client, CYCLES);
    let before = serving.inspect(&client, |seen| seen.links == 2);
    let holdings = Holdings::of(serving.process.pid());
    connect_and_close(&serving, &client, CYCLES);
    assert_back_at(&serving, &client, &before, &holdings);
    bystander.saw_nothing();
}

/// Makes and closes connections, and waits until the node has accepted the last.
fn connect_and_close(serving: &Serving, client: &LiveNode, cycles: u64) {
    let all = cycles + serving.inspect(client, |_| true).accepted;
    let place = (serving.id.address.host(), serving.id.address.port());
    for _ in 0..cycles {
        drop(TcpStream::connect(place).expect("the node listens"));
    }
    serving.inspect(client, move |seen| seen.accepted == all);
}

#[test]
fn a_thousand_links_made_and_lost_leave_no_descriptor_behind() {
    const CYCLES: u64 = 1000;
    let serving = Serving::start(LIVE_NODE, &[]);
    let client = LiveNode::start();
    let bystander = Bystander::of(&serving.path(ECHO));
    let first = RawPeer::link(&serving.id);
    let me = first.me.address.clone();
    drop(first);
    let before = serving.inspect(&client, |seen| seen.links == 2);
    let holdings = Holdings::of(serving.process.pid());
    for _ in 0..CYCLES {
        // One node that is restarted over and over: its place is known once.
        let mut peer = RawPeer::connect(&serving.id);
        peer.me.address = me.clone();
        peer.send(&peer.opening());
        peer.accepted();
    }
    assert_back_at(&serving, &client, &before, &holdings);
    bystander.saw_nothing();
}

#[test]
fn a_peer_that_asks_and_never_reads_is_bounded() {
    const QUESTIONS: u64 = 1000;
    const ANSWER_BYTES: u32 = 100_000;
    let serving = Serving::start(LIVE_NODE, &[]);
    let client = LiveNode::start();
    let bystander = Bystander::of(&serving.path(ECHO));
    let echo = serving.place::<EchoApi>(&client, ECHO);
    let mut deaf = RawPeer::link(&serving.id);
    let before = serving.inspect(&client, |seen| seen.links == 3);
    deaf.send(&make::definitions::<Inflate>(echo));
    for number in 0..QUESTIONS {
        let body_bytes = ANSWER_BYTES;
        deaf.send(&make::ask(&Inflate { body_bytes }, number));
    }
    // All are handled: the last answer that finds no room is replaced by an error.
    let after = serving.inspect(&client, |seen| seen.replies_overloaded > 0);
    let wanted = QUESTIONS * u64::from(ANSWER_BYTES);
    let held = after.live_bytes.saturating_sub(before.live_bytes);
    let bound = u64::from(WINDOW_BYTES) * (2 + u64::from(DEFERRED_WINDOWS));
    println!("a deaf peer holds {held} bytes of {wanted}");
    assert!(
        held <= bound,
        "a deaf peer holds {held} bytes, the bound is {bound}"
    );
    drop(deaf);
    serving.inspect(&client, |seen| seen.links == 2);
    bystander.saw_nothing();
}

/// Waits until the process holds no more than before a flood, and checks that it does.
fn assert_back_at(
    serving: &Serving,
    client: &LiveNode,
    before: &Inspection,
    holdings: &Holdings,
) -> Inspection {
    let links = before.links;
    let after = serving.inspect(client, move |seen| seen.links == links);
    let deadline = Instant::now() + LATENESS;
    let mut now = Holdings::of(serving.process.pid());
    // A closed socket is gone with the ring's next turn.
    while now.descriptors > holdings.descriptors && Instant::now() < deadline {
        serving.inspect(client, |_| true);
        now = Holdings::of(serving.process.pid());
    }
    println!("{holdings:?} before, {now:?} after");
    assert_eq!(
        now.descriptors, holdings.descriptors,
        "descriptors stayed open"
    );
    let stayed = now.resident_bytes.saturating_sub(holdings.resident_bytes);
    assert!(
        stayed <= RESIDENT_SLACK_BYTES,
        "{stayed} bytes more are resident"
    );
    let stayed = after.live_bytes.saturating_sub(before.live_bytes);
    println!("{stayed} bytes more are allocated");
    assert!(
        stayed <= LIVE_SLACK_BYTES,
        "{stayed} bytes more are allocated"
    );
    after
}
