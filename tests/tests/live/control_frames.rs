//! Frames about a link that come twice, late or in another order than they were made: what they say
//! is absolute, so the last word counts, and what was said before changes nothing.

use ringmesh::Ref;
use ringmesh_proto::frame::body::{Grant, Notice, Ping, Pong};
use ringmesh_proto::kind::Kind;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::EchoApi;
use ringmesh_tests::live::node::{LiveNode, Pending};
use ringmesh_tests::live::raw::{RawFrame, RawListener, RawPeer};

/// The frame that `encode` writes.
fn made(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    let length = encode(&mut bytes);
    bytes.truncate(length);
    bytes
}

fn grant(received_to: u64, limit: u64) -> Vec<u8> {
    made(|into| Grant { received_to, limit }.encode(into))
}

fn notice(target_number: u32, busy: bool) -> Vec<u8> {
    let notice = Notice {
        target_number,
        busy,
    };
    made(|into| notice.encode(into))
}

/// Reads up to the next question, and says where the stream stands behind it.
fn question(peer: &mut RawPeer, position: &mut u64) -> RawFrame {
    loop {
        let frame = peer.frame().expect("the link lives");
        if frame.header.kind.is_positioned() {
            *position += frame.header.wire_bytes() as u64;
        }
        if frame.header.kind == Kind::Ask {
            return frame;
        }
    }
}

/// Waits until everything sent before was read.
fn answered(peer: &mut RawPeer, nonce: u64) {
    peer.send(&made(|into| Ping { nonce }.encode(into)));
    while peer.frame_of(Kind::Pong).body(Pong::parse).nonce != nonce {}
}

fn look_up(node: &LiveNode, listener: &RawListener) -> Pending<()> {
    let path = format!("{}/user/anyone", listener.address);
    node.begin(move |node| async move {
        // Nobody answers, and it fails with the link or in time.
        let _: Result<Ref<EchoApi>, _> = node.resolve(&path).await;
    })
}

#[test]
fn replayed_and_reordered_control_frames_change_nothing() {
    let node = LiveNode::start();
    let listener = RawListener::bind();
    let looking = look_up(&node, &listener);
    let (mut peer, preface) = listener.accept();
    let mut accept = Vec::new();
    peer.accept_of(&preface).encode(&mut accept);
    peer.send(&accept);
    let mut position = 0;
    let asked = question(&mut peer, &mut position);
    let target_number = asked.header.target_number;

    let limit = 1 << 20;
    peer.send(&grant(position, limit));
    answered(&mut peer, 1);
    let before = node.counters();
    assert_eq!(
        (before.acknowledged, before.in_flight),
        (1, 0),
        "{before:?}"
    );

    let stray = made(|into| Pong { nonce: 99 }.encode(into));
    let (busy, ready) = (notice(target_number, true), notice(target_number, false));
    let replayed = [
        grant(position, limit),
        grant(0, 0),
        grant(position / 2, limit / 2),
        grant(position, limit),
        ready.clone(),
        busy.clone(),
        busy,
        ready.clone(),
        ready,
        stray.clone(),
        stray,
    ];
    peer.send(&replayed.concat());
    answered(&mut peer, 2);
    let after = node.counters();
    assert_eq!(
        (after.sent, after.acknowledged, after.in_flight, after.links),
        (before.sent, 1, 0, 1),
        "{after:?}"
    );
    assert_closed(&after);
    let report = node.run(|node| async move { node.links().await });
    assert_eq!(
        report[0].credit_bytes,
        limit - position,
        "an older limit is no limit"
    );
    assert_eq!(report[0].busy_recipients, 0);

    // The recipient that was busy and ready so often is sent to.
    let again = look_up(&node, &listener);
    question(&mut peer, &mut position);

    // An answer to a dial has no place behind another.
    peer.send(&accept);
    peer.ending();
    let reasons = node.run(|node| async move { node.close_reasons() });
    assert_eq!(reasons.get("unexpected_frame"), Some(&1), "{reasons:?}");
    drop((listener, looking, again));
    assert_closed(&node.until("quiet", |now| now.in_flight == 0));
}
