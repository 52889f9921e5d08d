//! Dials beside a link over whose connection nothing comes.

use super::resuming::halves;
use super::*;
use crate::frame::body::{Grant, Hello};

const LINK: ConnKey = ConnKey(1);
const BESIDE: ConnKey = ConnKey(2);
const PAUSE: Duration = Duration::from_millis(500);

fn uid(number: u64) -> Uid {
    Uid::new(number).unwrap()
}

/// Says that nothing comes, and whether that led to a dial.
fn silence(bench: &mut Bench, association: &mut Association) -> (bool, Vec<Effect>) {
    let mut is_dialled = false;
    let effects = bench.call(|_, cx| is_dialled = association.handle_silence(cx));
    (is_dialled, effects)
}

/// The dial beside a link with uid 200 on connection 1 gets to its hello on connection 2.
fn greeting(bench: &mut Bench) -> (Association, Preface, Hello) {
    let mut association = bench.associated();
    bench.halves = Some(halves(64).0);
    bench.now = at(60_000);
    let (is_dialled, effects) = silence(bench, &mut association);
    assert!(
        is_dialled && matches!(effects[..], [Effect::Dial { .. }]),
        "{effects:?}"
    );
    assert!(association.is_to_dial());
    bench.call(|_, cx| association.handle_dialling(cx, BESIDE));
    let effects = bench.call(|_, cx| association.handle_connected(cx, BESIDE));
    let [
        Effect::Write {
            conn: BESIDE,
            bytes,
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    let (preface, hello) = bytes.split_first_chunk::<PREFACE_BYTES>().unwrap();
    let hello = Hello::parse(&frame(hello)).unwrap();
    assert_eq!(
        association.status(),
        Status::Associated(uid(200)),
        "as before"
    );
    (association, Preface::parse(preface).unwrap(), hello)
}

/// The peer accepts that.
fn accept(
    bench: &mut Bench,
    association: &mut Association,
    preface: &Preface,
    change: impl FnOnce(&mut Accept),
) -> Vec<Effect> {
    let mut accept = Accept::parse(&frame(&bench.answer(200, preface.nonce))).unwrap();
    change(&mut accept);
    let mut bytes = Vec::new();
    accept.encode(&mut bytes);
    bench.call(|_, cx| association.handle_frame(cx, BESIDE, &frame(&bytes)))
}

fn closes(conn: ConnKey) -> impl Fn(&Effect) -> bool {
    move |effect| matches!(effect, Effect::Close { conn: closed, .. } if *closed == conn)
}

#[test]
fn the_link_moves_over_when_the_peer_goes_on_with_it_there() {
    let mut bench = Bench::new();
    let (mut association, preface, hello) = greeting(&mut bench);
    assert_eq!(hello.offer.received_to, Some(64), "it offers to go on");
    assert!(association.vouches_for(preface.nonce));
    let received_to = bench.halves.as_ref().unwrap().0.positions().received_to;
    let effects = accept(&mut bench, &mut association, &preface, |accept| {
        accept.offer.link = hello.offer.link;
        accept.offer.received_to = Some(received_to);
        accept.offer.limit = 9_000_000;
    });
    let (peer, reason) = (local("there", 200).id, CloseReason::Superseded);
    let limit = 9_000_000;
    let expected = [
        Effect::Close { conn: LINK, reason },
        Effect::LinkLost {
            conn: LINK,
            peer: peer.clone(),
            reason,
        },
        Effect::LinkResumed {
            conn: BESIDE,
            peer,
            grant: Grant { received_to, limit },
        },
    ];
    assert_eq!(effects, expected);
    assert_eq!(association.status(), Status::Associated(uid(200)));
    assert_eq!(association.poll_timeout(), None);
    let late = bench.call(|_, cx| association.handle_closed(cx, LINK, CloseReason::Broken));
    assert_eq!(late, [], "the old connection is nobody's any more");
}

#[test]
fn what_came_over_the_old_connection_meanwhile_keeps_the_link_there() {
    let mut bench = Bench::new();
    let (mut association, preface, hello) = greeting(&mut bench);
    bench.halves.as_mut().unwrap().1.accept(8).unwrap();
    let effects = accept(&mut bench, &mut association, &preface, |accept| {
        accept.offer.link = hello.offer.link;
        accept.offer.received_to = Some(0);
    });
    assert!(
        matches!(effects[..], [Effect::Close { conn: BESIDE, .. }]),
        "{effects:?}"
    );
    assert_eq!(association.status(), Status::Associated(uid(200)));
    assert!(
        silence(&mut bench, &mut association).0,
        "it may be tried again"
    );
}

#[test]
fn whoever_answers_and_does_not_know_the_link_ends_its_connection() {
    for is_refused in [true, false] {
        let mut bench = Bench::new();
        let (mut association, preface, _) = greeting(&mut bench);
        let effects = if is_refused {
            let refusal = refusal(RefuseReason::Incarnation);
            bench.call(|_, cx| association.handle_frame(cx, BESIDE, &frame(&refusal)))
        } else {
            // It has a link of its own, which was never heard of here.
            accept(&mut bench, &mut association, &preface, |accept| {
                accept.offer.link ^= 1
            })
        };
        let lost = |it: &Effect| {
            matches!(
                it,
                Effect::LinkLost {
                    conn: LINK,
                    reason: CloseReason::ProbeTimeout,
                    ..
                }
            )
        };
        assert!(effects.iter().any(closes(BESIDE)) && effects.iter().any(closes(LINK)));
        assert!(effects.iter().any(lost), "{effects:?}");
        // The dial that follows finds out who is there.
        assert!(
            matches!(effects.last(), Some(Effect::Dial { .. })),
            "{effects:?}"
        );
    }
}

#[test]
fn a_peer_that_has_made_another_link_gets_that_one_and_the_old_one_is_over() {
    let mut bench = Bench::new();
    let (mut association, preface, _) = greeting(&mut bench);
    // Somebody waits for the place of the link.
    bench.call(|_, cx| {
        let waits = association.handle_incoming(cx, &introduction(300, 7));
        assert_eq!(waits, Ok(()));
    });
    let effects = accept(&mut bench, &mut association, &preface, |accept| {
        accept.offer.link = preface.nonce;
        accept.offer.received_to = None;
    });
    let (peer, reason) = (local("there", 200).id, CloseReason::Forgotten);
    let refused = Effect::Refuse {
        conn: ConnKey(7),
        reason: RefuseReason::Superseded,
    };
    let down = Effect::LinkDown {
        conn: LINK,
        peer,
        reason,
    };
    let [first, second, third, Effect::LinkUp(up)] = &effects[..] else {
        panic!("{effects:?}");
    };
    let close = Effect::Close { conn: LINK, reason };
    assert_eq!([first, second, third], [&refused, &close, &down]);
    assert_eq!((up.conn, up.dialled), (BESIDE, true));
    assert_eq!(association.status(), Status::Associated(uid(200)));
    assert_eq!(association.link.as_ref().unwrap().number, preface.nonce);
    assert_eq!(association.poll_timeout(), None);
    let late = bench.call(|_, cx| association.handle_closed(cx, LINK, CloseReason::Broken));
    assert_eq!(late, [], "the old connection is nobody's any more");
}

#[test]
fn a_peer_that_has_quarantined_this_node_ends_the_link_as_if_it_had_said_so_there() {
    let mut bench = Bench::new();
    let (mut association, ..) = greeting(&mut bench);
    let refusal = refusal(RefuseReason::Quarantined);
    let effects = bench.call(|_, cx| association.handle_frame(cx, BESIDE, &frame(&refusal)));
    let peer = || local("there", 200).id;
    let reason = CloseReason::Quarantined(By::Peer);
    let expected = [
        Effect::Close {
            conn: BESIDE,
            reason: CloseReason::Refused(RefuseReason::Quarantined),
        },
        Effect::QuarantinedByPeer { peer: peer() },
        Effect::Close { conn: LINK, reason },
        Effect::LinkDown {
            conn: LINK,
            peer: peer(),
            reason,
        },
    ];
    assert_eq!(effects, expected);
    assert_eq!(association.status(), Status::Idle, "nobody dials");
    assert_eq!(association.poll_timeout(), None);
}

#[test]
fn a_peer_that_stops_or_is_busy_with_the_link_keeps_it() {
    for reason in [
        RefuseReason::Superseded,
        RefuseReason::Stopping,
        RefuseReason::Overloaded,
    ] {
        let mut bench = Bench::new();
        let (mut association, ..) = greeting(&mut bench);
        let refusal = refusal(reason);
        let effects = bench.call(|_, cx| association.handle_frame(cx, BESIDE, &frame(&refusal)));
        assert!(
            matches!(effects[..], [Effect::Close { conn: BESIDE, .. }]),
            "{effects:?}"
        );
        assert_eq!(association.status(), Status::Associated(uid(200)));
    }
}

#[test]
fn one_dial_is_beside_a_link_at_a_time_and_one_over_the_pause_takes_its_place() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    bench.now = at(60_000);
    assert!(silence(&mut bench, &mut association).0);
    bench.call(|_, cx| association.handle_dialling(cx, BESIDE));
    bench.now = at(60_000) + (PAUSE - TICK);
    assert_eq!(silence(&mut bench, &mut association), (false, vec![]));
    bench.now = at(60_000) + PAUSE;
    let (is_dialled, effects) = silence(&mut bench, &mut association);
    assert!(is_dialled && closes(BESIDE)(&effects[0]), "{effects:?}");
    // What was said is waited for, as long as a handshake may take.
    let again = ConnKey(3);
    bench.call(|_, cx| association.handle_dialling(cx, again));
    bench.call(|_, cx| association.handle_connected(cx, again));
    bench.now = bench.now + PAUSE * 2;
    assert_eq!(silence(&mut bench, &mut association), (false, vec![]));
    bench.now = association.poll_timeout().expect("a deadline");
    assert_eq!(bench.now, at(60_000) + PAUSE + HANDSHAKE_TIMEOUT);
    let effects = bench.call(|_, cx| association.handle_timeout(cx));
    assert!(
        matches!(effects[..], [Effect::Close { conn, .. }] if conn == again),
        "{effects:?}"
    );
    assert_eq!(
        association.status(),
        Status::Associated(uid(200)),
        "it is where it was"
    );
    assert!(silence(&mut bench, &mut association).0);
}

#[test]
fn a_dial_beside_that_fails_changes_nothing_and_may_go_on_at_another_place() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    assert!(silence(&mut bench, &mut association).0);
    assert_eq!(bench.call(|_, cx| association.handle_dial_failed(cx)), []);
    assert!(!association.is_to_dial());
    assert!(silence(&mut bench, &mut association).0);
    bench.call(|_, cx| association.handle_dialling(cx, BESIDE));
    assert!(!association.handle_redial(ConnKey(9)));
    assert!(association.handle_redial(BESIDE) && association.is_to_dial());
    bench.call(|_, cx| association.handle_dialling(cx, ConnKey(3)));
    let refused = CloseReason::DialRefused;
    let effects = bench.call(|_, cx| association.handle_closed(cx, ConnKey(3), refused));
    assert_eq!(effects, []);
    assert_eq!(association.status(), Status::Associated(uid(200)));
    assert_eq!(association.poll_timeout(), None);
}

#[test]
fn a_link_that_ends_or_is_lost_takes_the_dial_beside_it_along() {
    let ends: [fn(&mut Association, &mut Context<'_>); 3] = [
        |it, cx| it.handle_closed(cx, LINK, CloseReason::Broken),
        |it, cx| it.handle_link_fault(cx, CloseReason::GrantStall),
        |it, cx| it.handle_stop(cx),
    ];
    for end in ends {
        let mut bench = Bench::new();
        let (mut association, ..) = greeting(&mut bench);
        let effects = bench.call(|_, cx| end(&mut association, cx));
        assert!(effects.iter().any(closes(BESIDE)), "{effects:?}");
    }
}

#[test]
fn a_link_without_a_connection_is_dialled_at_once_instead_of_after_its_pause() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    bench.now = at(60_000);
    bench.call(|_, cx| association.handle_closed(cx, LINK, CloseReason::Broken));
    bench.call(|_, cx| association.handle_dialling(cx, BESIDE));
    assert!(
        !silence(&mut bench, &mut association).0,
        "it is dialled already"
    );
    let failed = CloseReason::DialFailed;
    bench.call(|_, cx| association.handle_closed(cx, BESIDE, failed));
    assert_eq!(association.status(), Status::BackOff);
    let (is_dialled, effects) = silence(&mut bench, &mut association);
    assert!(
        is_dialled && matches!(effects[..], [Effect::Dial { .. }]),
        "{effects:?}"
    );
    // Even where the peer is to dial first.
    let mut bench = Bench::new();
    let mut accepted = Association::new(local("there", 200).id.address);
    let hello = introduction(200, LINK.0);
    bench.call(|_, cx| accepted.handle_incoming(cx, &hello).unwrap());
    bench.now = at(60_000);
    bench.call(|_, cx| accepted.handle_closed(cx, LINK, CloseReason::Broken));
    assert_eq!(accepted.status(), Status::Lost(uid(200)));
    let (is_dialled, effects) = silence(&mut bench, &mut accepted);
    assert!(
        is_dialled && matches!(effects[..], [Effect::Dial { .. }]),
        "{effects:?}"
    );
    let mut idle = Association::new(local("there", 200).id.address);
    assert_eq!(
        silence(&mut bench, &mut idle),
        (false, vec![]),
        "there is no link"
    );
}
