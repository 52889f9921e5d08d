//! Strangers: what the acceptor lets through, refuses by name, or closes without a word.

use super::*;

/// A preface of a node that belongs here.
fn preface() -> Preface {
    let local = local("there", 200);
    Preface {
        version_min: 1,
        version_max: 1,
        role: Role::Node,
        lane: crate::lane::Lane::Ordinary,
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
fn prefaces_that_do_not_fit_are_refused_by_name() {
    type Change = fn(&mut Preface);
    let cases: [(Change, RefuseReason); 9] = [
        (
            |p| p.cluster = crate::address::ClusterHash::of("other"),
            RefuseReason::Cluster,
        ),
        (|p| p.format_fingerprint = 78, RefuseReason::Format),
        (|p| p.role = Role::Client, RefuseReason::Preface),
        (|p| p.lane = crate::lane::Lane::Large, RefuseReason::Lane),
        (|p| p.wanted_core = Some(CoreId(1)), RefuseReason::Core),
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

fn hello() -> crate::frame::body::Hello {
    crate::frame::body::Hello {
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
    type Change = fn(&mut crate::frame::body::Hello);
    let cases: [(Change, RefuseReason); 7] = [
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
        (|h| h.offer.received_to = 1, RefuseReason::Hello),
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
fn strangers_are_bounded_in_number_and_time() {
    let mut bench = Bench::new();
    for conn in 0..4 {
        assert_eq!(
            bench.call(|acceptor, cx| acceptor.handle_accepted(cx, ConnKey(conn))),
            []
        );
    }
    let conn = ConnKey(4);
    let effects = bench.call(|acceptor, cx| acceptor.handle_accepted(cx, conn));
    let reason = CloseReason::Overloaded;
    assert_eq!(effects, [Effect::Close { conn, reason }]);
    bench.now = at(1000);
    let bytes = preface().encode();
    bench.call(|acceptor, cx| acceptor.handle_preface(cx, ConnKey(0), &bytes));
    bench.call(|acceptor, _| acceptor.handle_closed(ConnKey(1)));
    assert_eq!(bench.acceptor.poll_timeout(), Some(at(0) + PREFACE_TIMEOUT));
    bench.now = at(2000);
    let effects = bench.call(|acceptor, cx| acceptor.handle_timeout(cx));
    let reason = CloseReason::PrefaceTimeout;
    assert_eq!(
        effects,
        [2, 3].map(|conn| Effect::Close {
            conn: ConnKey(conn),
            reason
        })
    );
    bench.now = at(6000);
    let effects = bench.call(|acceptor, cx| acceptor.handle_timeout(cx));
    let reason = CloseReason::HandshakeTimeout;
    assert_eq!(
        effects,
        [Effect::Close {
            conn: ConnKey(0),
            reason
        }]
    );
    assert_eq!(bench.acceptor.strangers(), 0);
}

#[test]
fn one_refusal_over_the_burst_is_silent() {
    let mut bench = Bench::new();
    for _ in 0..REFUSALS_BURST {
        let effects =
            bench.call(|acceptor, cx| acceptor.refuse(cx, ConnKey(1), RefuseReason::Overloaded));
        assert_eq!(told(&effects), Some(RefuseReason::Overloaded));
    }
    let effects =
        bench.call(|acceptor, cx| acceptor.refuse(cx, ConnKey(1), RefuseReason::Overloaded));
    assert_eq!(
        (told(&effects), bench.acceptor.silent_refusals()),
        (None, 1)
    );
    bench.now = at(1000);
    let effects =
        bench.call(|acceptor, cx| acceptor.refuse(cx, ConnKey(1), RefuseReason::Overloaded));
    assert!(told(&effects).is_some());
}
