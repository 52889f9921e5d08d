//! Strangers: what the acceptor lets through, refuses by name, or closes without a word.

use super::*;
use crate::address::ClusterHash;
use crate::frame::body::Hello;
use crate::lane::Lane;
use crate::limits::{
    CORES_MAX, HALF_OPEN_MAX, PREFACE_TIMEOUT, REFUSALS_BURST, REFUSALS_PER_SECOND,
};
use crate::preface::PrefaceError;

/// A preface of a node that belongs here.
fn preface() -> Preface {
    let local = local("there", 200);
    Preface {
        version_min: 1,
        version_max: 1,
        role: Role::Node,
        lane: Lane::Ordinary,
        sending_core: CoreId(0),
        wanted_core: None,
        cluster: local.cluster(),
        format_fingerprint: 77,
        uid: local.id.uid,
        expected_uid: None,
        nonce: 5,
    }
}

fn told(effects: &[Effect]) -> Option<RefuseReason> {
    match effects {
        [Effect::Write { bytes, .. }, Effect::Close { .. }] => {
            Some(Refuse::parse(&frame(bytes)).unwrap().reason)
        }
        [Effect::Close { .. }] => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_lane_is_served_to_a_node_between_control_cores() {
    for lane in Lane::ALL {
        let mut bench = Bench::new();
        bench.call(|acceptor, cx| acceptor.handle_accepted(cx, ConnKey(1)));
        let bytes = Preface { lane, ..preface() }.encode();
        let effects = bench.call(|acceptor, cx| acceptor.handle_preface(cx, ConnKey(1), &bytes));
        assert!(effects.is_empty(), "{lane:?}: {effects:?}");
        assert_eq!(bench.acceptor.strangers(), 1);
    }
}

#[test]
fn a_client_has_the_lanes_of_messages_and_an_introduction_says_what_it_is() {
    for lane in [Lane::Ordinary, Lane::Large] {
        let mut bench = Bench::new();
        bench.call(|acceptor, cx| acceptor.handle_accepted(cx, ConnKey(1)));
        let role = Role::Client;
        let bytes = Preface {
            lane,
            role,
            ..preface()
        }
        .encode();
        bench.call(|acceptor, cx| acceptor.handle_preface(cx, ConnKey(1), &bytes));
        let mut bytes = Vec::new();
        hello().encode(&mut bytes);
        let mut shown = None;
        let effects = bench.call(|acceptor, cx| {
            shown = acceptor.handle_frame(cx, ConnKey(1), &frame(&bytes));
        });
        let shown = shown.expect("it is let in");
        assert!(effects.is_empty() && shown.is_of_client() && !shown.is_inquiry());
        assert_eq!((shown.lane, shown.role), (lane, role));
    }
}

#[test]
fn a_client_lets_no_client_in_and_still_vouches_for_its_dials() {
    for (role, expected) in [
        (Role::Client, Some(RefuseReason::Role)),
        (Role::Inquirer, None),
    ] {
        let mut bench = Bench::new();
        bench.local.role = Role::Client;
        bench.call(|acceptor, cx| acceptor.handle_accepted(cx, ConnKey(1)));
        let bytes = Preface { role, ..preface() }.encode();
        let effects = bench.call(|acceptor, cx| acceptor.handle_preface(cx, ConnKey(1), &bytes));
        match expected {
            Some(_) => assert_eq!(told(&effects), expected),
            None => assert_eq!(effects, []),
        }
    }
}

#[test]
fn prefaces_that_do_not_fit_are_refused_by_name() {
    type Change = fn(&mut Preface);
    let cases: [(Change, RefuseReason); 12] = [
        (
            |p| p.cluster = ClusterHash::of("other"),
            RefuseReason::Cluster,
        ),
        (|p| p.format_fingerprint = 78, RefuseReason::Format),
        (
            |p| (p.lane, p.role) = (Lane::Control, Role::Client),
            RefuseReason::Lane,
        ),
        (
            |p| (p.lane, p.sending_core) = (Lane::Control, CoreId(1)),
            RefuseReason::Lane,
        ),
        (
            |p| (p.lane, p.wanted_core) = (Lane::Control, Some(CoreId(1))),
            RefuseReason::Lane,
        ),
        (
            |p| (p.lane, p.role) = (Lane::Large, Role::Inquirer),
            RefuseReason::Lane,
        ),
        (|p| p.wanted_core = Some(CoreId(1)), RefuseReason::Core),
        (|p| p.sending_core = CoreId(CORES_MAX), RefuseReason::Core),
        (|p| p.uid = Uid::new(100).unwrap(), RefuseReason::Itself),
        (|p| p.expected_uid = Uid::new(99), RefuseReason::Incarnation),
        (
            |p| (p.version_min, p.version_max) = (2, 3),
            RefuseReason::Version,
        ),
        (
            |p| (p.version_min, p.version_max) = (0, 0),
            RefuseReason::Version,
        ),
    ];
    for (change, expected) in cases {
        let mut bench = Bench::new();
        bench.call(|acceptor, cx| acceptor.handle_accepted(cx, ConnKey(1)));
        let mut preface = preface();
        change(&mut preface);
        let bytes = preface.encode();
        let effects = bench.call(|acceptor, cx| acceptor.handle_preface(cx, ConnKey(1), &bytes));
        assert_eq!(told(&effects), Some(expected));
        assert_eq!(bench.acceptor.strangers(), 0);
    }
}

#[test]
fn strangers_are_closed_without_a_word() {
    let mut bench = Bench::new();
    let mut http = [b' '; PREFACE_BYTES];
    http[..16].copy_from_slice(b"GET / HTTP/1.1\r\n");
    let mut damaged = preface().encode();
    damaged[20] ^= 1;
    for (bytes, error) in [
        (http, PrefaceError::Magic),
        (damaged, PrefaceError::Checksum),
    ] {
        let conn = ConnKey(1);
        bench.call(|acceptor, cx| acceptor.handle_accepted(cx, conn));
        let effects = bench.call(|acceptor, cx| acceptor.handle_preface(cx, conn, &bytes));
        let reason = CloseReason::Preface(error);
        assert_eq!(effects, [Effect::Close { conn, reason }]);
    }
}

/// Brings a connection up to its first frame.
fn greeted(bench: &mut Bench, conn: u64) {
    let bytes = preface().encode();
    bench.call(|acceptor, cx| acceptor.handle_accepted(cx, ConnKey(conn)));
    let effects = bench.call(|acceptor, cx| acceptor.handle_preface(cx, ConnKey(conn), &bytes));
    assert_eq!(effects, []);
}

fn hello() -> Hello {
    Hello {
        from: local("there", 200).id.address,
        to: local("here", 100).id.address,
        offer: introduction(200, 1).offer,
    }
}

#[test]
fn a_good_hello_is_an_introduction() {
    let mut bench = Bench::new();
    greeted(&mut bench, 1);
    let mut bytes = Vec::new();
    hello().encode(&mut bytes);
    let mut shown = None;
    let effects = bench.call(|acceptor, cx| {
        shown = acceptor.handle_frame(cx, ConnKey(1), &frame(&bytes));
    });
    assert_eq!((shown, effects), (Some(introduction(200, 1)), vec![]));
    assert_eq!(
        (bench.acceptor.strangers(), bench.acceptor.poll_timeout()),
        (0, None)
    );
}

#[test]
fn hellos_that_do_not_fit_are_refused_by_name() {
    type Change = fn(&mut Hello);
    let cases: [(Change, RefuseReason); 10] = [
        (
            |h| h.to = local("elsewhere", 1).id.address,
            RefuseReason::Destination,
        ),
        (
            |h| h.from = local("here", 1).id.address,
            RefuseReason::Itself,
        ),
        (
            |h| h.from = Address::new("other", "there", 2552).unwrap(),
            RefuseReason::Cluster,
        ),
        (|h| h.offer.body_cap = (32 << 10) - 1, RefuseReason::Hello),
        (|h| h.offer.body_cap = (16 << 20) + 1, RefuseReason::Hello),
        (|h| h.offer.limit = u64::from(CAP / 2), RefuseReason::Hello),
        (|h| h.offer.links_max = 0, RefuseReason::Hello),
        (|h| h.offer.cores = 0, RefuseReason::Hello),
        (|h| h.offer.cores = CORES_MAX + 1, RefuseReason::Hello),
        (|h| h.offer.links_max = 0, RefuseReason::Hello),
    ];
    for (change, expected) in cases {
        let mut bench = Bench::new();
        greeted(&mut bench, 1);
        let mut hello = hello();
        change(&mut hello);
        let mut bytes = Vec::new();
        hello.encode(&mut bytes);
        let effects = bench.call(|acceptor, cx| {
            assert_eq!(acceptor.handle_frame(cx, ConnKey(1), &frame(&bytes)), None);
        });
        assert_eq!(told(&effects), Some(expected));
    }
}

#[test]
fn one_over_the_strangers_is_closed_at_once() {
    let mut bench = Bench::new();
    bench.acceptor = Acceptor::new(HALF_OPEN_MAX);
    let strangers = HALF_OPEN_MAX as u64;
    for conn in (0..strangers).map(ConnKey) {
        let effects = bench.call(|acceptor, cx| acceptor.handle_accepted(cx, conn));
        assert_eq!(effects, []);
    }
    let conn = ConnKey(strangers);
    let effects = bench.call(|acceptor, cx| acceptor.handle_accepted(cx, conn));
    let reason = CloseReason::Overloaded;
    assert_eq!(effects, [Effect::Close { conn, reason }]);
    // Whoever leaves makes room.
    bench.call(|acceptor, _| acceptor.handle_closed(ConnKey(7)));
    let effects = bench.call(|acceptor, cx| acceptor.handle_accepted(cx, conn));
    assert_eq!(effects, []);
    assert_eq!(bench.acceptor.strangers(), HALF_OPEN_MAX);
}

#[test]
fn one_over_the_time_of_a_stranger_closes_it() {
    let mut bench = Bench::new();
    for conn in (0..4).map(ConnKey) {
        bench.call(|acceptor, cx| acceptor.handle_accepted(cx, conn));
    }
    bench.now = at(1000);
    let bytes = preface().encode();
    bench.call(|acceptor, cx| acceptor.handle_preface(cx, ConnKey(0), &bytes));
    bench.call(|acceptor, _| acceptor.handle_closed(ConnKey(1)));
    let silent = (at(0) + PREFACE_TIMEOUT, CloseReason::PrefaceTimeout);
    let greeted = (at(1000) + HANDSHAKE_TIMEOUT, CloseReason::HandshakeTimeout);
    for ((deadline, reason), conns) in [(silent, &[2, 3][..]), (greeted, &[0])] {
        assert_eq!(bench.acceptor.poll_timeout(), Some(deadline));
        bench.now = Instant::from_nanos(deadline.as_nanos() - 1);
        let effects = bench.call(|acceptor, cx| acceptor.handle_timeout(cx));
        assert_eq!(effects, []);
        bench.now = deadline;
        let effects = bench.call(|acceptor, cx| acceptor.handle_timeout(cx));
        let closed = conns.iter().map(|&conn| {
            let conn = ConnKey(conn);
            Effect::Close { conn, reason }
        });
        assert!(closed.eq(effects), "{reason}");
    }
    assert_eq!(bench.acceptor.strangers(), 0);
}

#[test]
fn one_over_the_refusals_is_silent() {
    let mut bench = Bench::new();
    let refuse = |bench: &mut Bench| {
        let reason = RefuseReason::Overloaded;
        told(&bench.call(|acceptor, cx| acceptor.refuse(cx, ConnKey(1), reason)))
    };
    let mut silent = 0;
    // At once, and in each second after that.
    for (second, refusals) in [(0, REFUSALS_BURST), (1, REFUSALS_PER_SECOND)] {
        bench.now = at(1000 * second);
        for _ in 0..refusals {
            assert_eq!(refuse(&mut bench), Some(RefuseReason::Overloaded));
        }
        assert_eq!(refuse(&mut bench), None);
        silent += 1;
        assert_eq!(bench.acceptor.silent_refusals(), silent);
    }
}
