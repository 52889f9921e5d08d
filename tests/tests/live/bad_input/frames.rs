//! Bytes that are no frames, and frames that have no place where they come.

use std::time::Duration;

use ringmesh::message::Message;
use ringmesh_proto::frame::Head;
use ringmesh_proto::frame::body::{DefineTarget, Grant, Notice};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::{
    FRAME_BYTES_BEFORE_ACCEPT, FRAME_BYTES_ORDINARY, FRAME_STALL_TIMEOUT, HEADER_BYTES,
};
use ringmesh_proto::link::Target;
use ringmesh_tests::live::inspector::Inspection;
use ringmesh_tests::live::messages::{Echo, Record};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};
use ringmesh_tests::live::serving::Serving;
use ringmesh_tests::live::watched::Watched;

use super::{link_for, record};

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// What a connection may cost while its frame is judged: its own state, and no body.
const CONNECTION_BYTES_MAX: u64 = 32 << 10;

#[test]
fn a_length_over_the_cap_is_closed_before_anything_is_allocated() {
    let serving = Serving::start(LIVE_NODE, &[]);
    let client = LiveNode::start();
    drop(RawPeer::link(&serving.id));
    let mut closed = 0;
    let lengths = |lane: Lane| {
        let lengths = [lane.body_cap_default() + 1, i32::MAX as u32, u32::MAX];
        lengths.map(|length| (lane, length))
    };
    for (lane, declared) in Lane::ALL.into_iter().flat_map(lengths) {
        let mut peer = RawPeer::link_on(&serving.id, lane);
        let before = serving.inspect(&client, |seen| seen.links == 2);
        // The length alone, and nothing behind it: that is enough to judge.
        peer.send(&declared.to_le_bytes());
        let ending = peer.ending();
        assert!(
            ending.after < FRAME_STALL_TIMEOUT / 2,
            "{lane:?}, {declared}: {ending:?}"
        );
        closed += 1;
        let after = serving.inspect(&client, move |seen| too_long(seen) == closed);
        assert_little_was_allocated(&before, &after);
    }
    // Before the handshake is over the cap is lower.
    let mut peer = RawPeer::connect(&serving.id);
    peer.send(&peer.preface().encode());
    let before = serving.inspect(&client, |seen| seen.links == 1);
    peer.send(&(FRAME_BYTES_BEFORE_ACCEPT + 1).to_le_bytes());
    let ending = peer.ending();
    assert!(ending.after < FRAME_STALL_TIMEOUT / 2, "{ending:?}");
    let after = serving.inspect(&client, move |seen| too_long(seen) == closed + 1);
    assert_little_was_allocated(&before, &after);
}

#[test]
fn a_frame_one_over_the_stall_timeout_ends_and_allocated_what_arrived() {
    let serving = Serving::start(LIVE_NODE, &[]);
    let client = LiveNode::start();
    drop(RawPeer::link(&serving.id));
    let mut peer = RawPeer::link(&serving.id);
    let before = serving.inspect(&client, |seen| seen.links == 2);
    let mut bytes = FRAME_BYTES_ORDINARY.to_le_bytes().to_vec();
    bytes.resize(HEADER_BYTES + 100, 0);
    peer.send(&bytes);
    let ending = peer.ending();
    assert!(ending.is_silent(), "{ending:?}");
    assert!(
        ending.after >= FRAME_STALL_TIMEOUT - Duration::from_millis(100),
        "{ending:?}"
    );
    assert!(ending.after <= FRAME_STALL_TIMEOUT * 2, "{ending:?}");
    let after = serving.inspect(&client, |seen| seen.closed_for("frame_stall") == 1);
    assert_little_was_allocated(&before, &after);
}

fn too_long(seen: &Inspection) -> u64 {
    seen.closed_for("frame_too_long")
}

fn assert_little_was_allocated(before: &Inspection, after: &Inspection) {
    let bytes = after.allocated_bytes - before.allocated_bytes;
    println!("allocated {bytes} bytes");
    assert!(
        bytes <= CONNECTION_BYTES_MAX,
        "allocated {bytes} bytes for one bad frame"
    );
}

#[test]
fn a_body_that_its_kind_cannot_have_is_closed() {
    let watched = Watched::start();
    let bodies = [
        (Kind::Ask, 0),
        (Kind::Ask, 15),
        (Kind::Reply, 0),
        (Kind::Error, 0),
        (Kind::Cancel, 17),
        (Kind::DefineType, 0),
        (Kind::DefineType, 21),
        (Kind::DefineTarget, 0),
        (Kind::Grant, 0),
        (Kind::Ping, 0),
        (Kind::Pong, 9),
        (Kind::Bye, 0),
        (Kind::Busy, 1),
        (Kind::System, 0),
        (Kind::Cluster, 0),
    ];
    for (kind, body_bytes) in bodies {
        let mut bytes = make::header(body_bytes, kind.to_wire(), u8::from(kind.has_extension()));
        bytes.resize(HEADER_BYTES + body_bytes as usize, 0);
        make::reseal(&mut bytes);
        assert_closed(&watched, "frame_body_length", &bytes);
    }
    watched.saw_nothing();
}

#[test]
fn a_header_with_a_wrong_field_is_closed() {
    let watched = Watched::start();
    let good = make::tell(&record(1));
    type Change = fn(&mut [u8]);
    let wrong: [(&'static str, Change); 9] = [
        ("frame_unknown_kind", |bytes| bytes[8] = 0),
        ("frame_unknown_kind", |bytes| bytes[8] = 20),
        ("frame_unknown_kind", |bytes| bytes[8] = 255),
        ("frame_flags", |bytes| bytes[9] = 1),
        ("frame_flags", |bytes| bytes[9] = 0x80),
        ("frame_type_number", |bytes| bytes[10..12].fill(0)),
        ("frame_type_number", |bytes| bytes[10..12].fill(0xff)),
        ("frame_target_number", |bytes| bytes[12..16].fill(0)),
        ("frame_target_number", |bytes| bytes[12..16].fill(0xff)),
    ];
    for (label, change) in wrong {
        let mut bytes = good.clone();
        change(&mut bytes);
        make::reseal(&mut bytes);
        assert_closed(&watched, label, &bytes);
    }
    assert_eq!(watched.account().count, 0);
    watched.saw_nothing();
}

#[test]
fn numbers_that_were_not_defined_in_turn_are_closed() {
    let watched = Watched::start();
    let target = watched.sink();
    let define = |number| make::define_type(number, Record::TYPE);
    let place = |number| make::define_target(number, target);
    let tell = make::tell(&record(1));
    let out_of_turn: [(&'static str, Vec<u8>); 7] = [
        ("link_type_out_of_turn", define(2)),
        ("link_type_out_of_turn", [define(1), define(1)].concat()),
        ("link_type_out_of_turn", define(4096)),
        ("link_target_out_of_turn", place(2)),
        ("link_target_out_of_turn", place(65_536)),
        ("link_undefined_target", [define(1), tell.clone()].concat()),
        ("link_undefined_type", [place(1), tell].concat()),
    ];
    for (label, bytes) in out_of_turn {
        assert_closed(&watched, label, &bytes);
    }
    assert_eq!(watched.account().count, 0);
    watched.saw_nothing();
}

#[test]
fn a_frame_of_the_handshake_has_no_place_on_a_link() {
    let watched = Watched::start();
    for kind in [Kind::Hello, Kind::Accept, Kind::Refuse] {
        let bytes = make::frame(&Head::plain(kind), &[0; 8]);
        assert_closed(&watched, "unexpected_frame", &bytes);
    }
    watched.saw_nothing();
}

#[test]
fn a_frame_of_a_link_has_no_place_in_the_handshake() {
    let watched = Watched::start();
    let target = watched.sink();
    let early = [
        make::definitions::<Record>(target),
        make::tell(&record(1)),
        make::frame(&Head::plain(Kind::Ping), &[0; 8]),
        make::frame(&Head::plain(Kind::Accept), &[0; 8]),
    ];
    for bytes in early {
        let ending = watched.closes_one("unexpected_frame", || {
            let mut peer = RawPeer::connect(watched.id());
            peer.send(&[&peer.preface().encode(), &bytes[..]].concat());
            peer.ending()
        });
        assert!(ending.is_silent(), "{ending:?}");
    }
    assert_eq!(watched.account().count, 0);
    watched.saw_nothing();
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_closed() {
    let watched = Watched::start();
    for received_to in [1, u64::MAX] {
        let mut bytes = vec![0; 32];
        let limit = u64::MAX;
        Grant { received_to, limit }.encode(&mut bytes);
        assert_closed(&watched, "link_ack_beyond_sent", &bytes);
    }
    watched.saw_nothing();
}

#[test]
fn what_is_no_frame_and_what_belongs_to_a_user_has_no_place_on_the_control_lane() {
    let watched = Watched::start();
    let target = watched.sink();
    let tell = make::tell(&record(1));
    let mut damaged = make::frame(&Head::plain(Kind::Ping), &[0; 8]);
    damaged[HEADER_BYTES] ^= 1;
    let mut flagged = make::frame(&Head::plain(Kind::Ping), &[0; 8]);
    flagged[9] = 0x80;
    make::reseal(&mut flagged);
    let mut claim = vec![0; 32];
    let (received_to, limit) = (1, u64::MAX);
    Grant { received_to, limit }.encode(&mut claim);
    let mut busy = vec![0; 64];
    let notice = Notice {
        target_number: 1,
        busy: true,
    };
    let bytes = notice.encode(&mut busy);
    busy.truncate(bytes);
    let wrong: [(&'static str, Vec<u8>); 7] = [
        ("frame_checksum", damaged),
        ("frame_flags", flagged),
        ("link_ack_beyond_sent", claim),
        ("unexpected_frame", tell),
        ("unexpected_frame", make::definitions::<Record>(target)),
        ("unexpected_frame", make::cancel(1)),
        ("unexpected_frame", busy),
    ];
    for (label, bytes) in wrong {
        assert_closed_on(Lane::Control, &watched, label, &bytes);
    }
    assert_eq!(watched.account().count, 0);
    watched.saw_nothing();
}

#[test]
fn grants_and_pongs_that_come_again_or_late_change_nothing_on_any_lane() {
    let watched = Watched::start();
    for lane in Lane::ALL {
        let mut peer = RawPeer::link_on(watched.id(), lane);
        let grants = [5, 3, 5].map(|limit| {
            let mut grant = vec![0; 32];
            let received_to = 0;
            Grant { received_to, limit }.encode(&mut grant);
            grant
        });
        let pong = make::frame(&Head::plain(Kind::Pong), &[7; 8]);
        let ping = make::frame(&Head::plain(Kind::Ping), &[9; 8]);
        peer.send(&[&grants.concat()[..], &pong, &pong, &ping].concat());
        let answer = peer.frame_of(Kind::Pong);
        assert_eq!(answer.payload, [9; 8], "{lane:?}");
    }
    assert_eq!(watched.node.counters().closed_for_fault, 0);
    watched.saw_nothing();
}

#[test]
fn an_answer_that_nobody_waits_for_is_counted_and_the_link_lives() {
    let watched = Watched::start();
    let target = watched.echo();
    let mut peer = link_for::<Echo>(&watched, target);
    let stray = Head {
        kind: Kind::Error,
        extension: Some(ringmesh_proto::frame::Extension {
            correlation: 0x0000_0007_0000_0003,
            remaining_us: 0,
            code: 4,
        }),
        ..Head::plain(Kind::Error)
    };
    peer.send(&make::frame(&stray, &[]));
    let cancel = Head {
        kind: Kind::Cancel,
        ..stray
    };
    peer.send(&make::frame(&cancel, &[]));
    let question = Echo {
        number: 7,
        body: bytes::Bytes::new(),
    };
    peer.send(&make::ask(&question, 11));
    let answer = peer.frame_of(Kind::Reply);
    assert_eq!(answer.extension.expect("a reply has one").correlation, 11);
    let counters = watched
        .node
        .until("the stray answer", |now| now.dead_late_answer == 1);
    assert_eq!(counters.closed_for_fault, 0, "{counters:?}");
    watched.saw_nothing();
}

/// Only the cores of one node say so to each other; what a peer sends, it sends itself.
#[test]
fn a_tell_that_says_for_which_node_it_is_told_is_closed() {
    let watched = Watched::start();
    let target = watched.sink();
    watched.closes_one("frame_flags", || {
        let mut peer = link_for::<Record>(&watched, target);
        let told_for = Head {
            kind: Kind::Tell,
            type_number: make::TYPE,
            target_number: make::TARGET,
            extension: Some(ringmesh_proto::frame::Extension {
                correlation: watched.id().uid.as_u64(),
                ..Default::default()
            }),
        };
        let forged = make::frame(&told_for, &make::archived(&record(2)));
        peer.send(&[make::tell(&record(1)), forged].concat());
        peer.ending()
    });
    let account = watched.account();
    assert_eq!((account.count, account.highest), (1, 1), "{account:?}");
    watched.saw_nothing();
}

#[test]
fn a_good_frame_before_a_bad_one_is_delivered() {
    let watched = Watched::start();
    let target = watched.sink();
    watched.closes_one("frame_checksum", || {
        let mut peer = link_for::<Record>(&watched, target);
        let mut bad = make::tell(&record(2));
        *bad.last_mut().expect("a frame has bytes") ^= 1;
        peer.send(&[make::tell(&record(1)), bad, make::tell(&record(3))].concat());
        peer.ending()
    });
    let account = watched.account();
    assert_eq!(
        (account.count, account.highest),
        (1, 1),
        "only the first: {account:?}"
    );
    watched.saw_nothing();
}

#[test]
fn a_recipient_can_be_renumbered_and_an_old_generation_is_never_reached() {
    let watched = Watched::start();
    let target = watched.sink();
    let mut peer = link_for::<Record>(&watched, target);
    let later = Target {
        generation: target.generation + 1,
        ..target
    };
    let mut renumber = vec![0; DefineTarget::FRAME_BYTES];
    let number = make::TARGET;
    DefineTarget {
        number,
        target: later,
    }
    .encode(&mut renumber);
    let tell = |number| make::tell(&record(number));
    peer.send(
        &[
            tell(1),
            renumber,
            tell(2),
            make::define_target(number, target),
            tell(3),
        ]
        .concat(),
    );
    let counters = watched
        .node
        .until("the dead letter", |now| now.dead_no_recipient == 1);
    assert_eq!(counters.closed_for_fault, 0, "{counters:?}");
    peer.finish_sending();
    assert!(
        peer.ending()
            .frames
            .iter()
            .all(|frame| frame.header.kind == Kind::Grant)
    );
    let account = watched.account();
    assert_eq!((account.count, account.highest), (2, 3), "{account:?}");
    watched.saw_nothing();
}

#[test]
fn no_flipped_bit_is_ever_delivered() {
    let watched = Watched::start();
    let target = watched.sink();
    let good = make::tell(&record(1));
    let mut stalling = Vec::new();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let declared = u32::from_le_bytes([bad[0], bad[1], bad[2], bad[3]]);
        let is_longer = declared as usize > good.len() - HEADER_BYTES;
        let mut peer = link_for::<Record>(&watched, target);
        peer.send(&bad);
        if is_longer && declared <= FRAME_BYTES_ORDINARY {
            // The rest of the frame never comes. They wait together.
            stalling.push(peer);
        } else {
            let ending = peer.ending();
            assert!(
                ending
                    .frames
                    .iter()
                    .all(|frame| frame.header.kind == Kind::Grant)
            );
            assert!(
                ending.after < FRAME_STALL_TIMEOUT / 2,
                "bit {bit}: {ending:?}"
            );
        }
    }
    assert!(
        (10..20).contains(&stalling.len()),
        "{} flips make it longer",
        stalling.len()
    );
    for mut peer in stalling {
        let ending = peer.ending();
        assert!(ending.after <= FRAME_STALL_TIMEOUT * 2, "{ending:?}");
    }
    let reasons = watched.close_reasons();
    let closed = |reason| reasons.get(reason).copied().unwrap_or(0);
    let all = closed("frame_checksum") + closed("frame_too_long") + closed("frame_stall");
    assert_eq!(all, good.len() as u64 * 8, "{reasons:?}");
    let counters = watched.node.counters();
    assert_eq!(
        (watched.account().count, counters.dead_received),
        (0, 0),
        "{counters:?}"
    );
    watched.saw_nothing();
}

/// Sends `bytes` on a fresh link of each lane that carries messages, and checks that it is closed
/// for the reason of this name.
fn assert_closed(watched: &Watched, label: &'static str, bytes: &[u8]) {
    for lane in [Lane::Ordinary, Lane::Large] {
        assert_closed_on(lane, watched, label, bytes);
    }
}

fn assert_closed_on(lane: Lane, watched: &Watched, label: &'static str, bytes: &[u8]) {
    let ending = watched.closes_one(label, || {
        let mut peer = RawPeer::link_on(watched.id(), lane);
        peer.send(bytes);
        peer.ending()
    });
    let quiet = ending
        .frames
        .iter()
        .all(|frame| frame.header.kind == Kind::Grant);
    assert!(
        quiet && ending.after < FRAME_STALL_TIMEOUT / 2,
        "{label}: {ending:?}"
    );
}
