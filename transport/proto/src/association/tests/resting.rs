//! Links that rest: what brings them to it, what wakes them, and that nothing is lost by it.

use super::resuming::halves;
use super::*;
use crate::frame::body::{Hello, Rest};
use crate::handshake::RESTS;
use crate::link::Violation;

const FIRST: ConnKey = ConnKey(1);
const NEXT: ConnKey = ConnKey(2);

fn uid(number: u64) -> Uid {
    Uid::new(number).unwrap()
}

fn rest() -> Vec<u8> {
    let mut bytes = vec![0; 16];
    Rest.encode(&mut bytes);
    bytes
}

/// A bench whose links may rest.
fn resting_bench() -> Bench {
    let mut bench = Bench::new();
    bench.local.features = RESTS;
    bench
}

/// A link with uid 200 that its peer dialled.
fn accepted(bench: &mut Bench) -> Association {
    let mut association = Association::new(local("there", 200).id.address);
    let hello = introduction(200, FIRST.0);
    bench.call(|_, cx| association.handle_incoming(cx, &hello).unwrap());
    association
}

/// A link with uid 200 that this side dialled.
fn dialled(bench: &mut Bench) -> Association {
    let (mut association, preface) = bench.handshaking();
    let mut accept = Accept::parse(&frame(&bench.answer(200, preface.nonce))).unwrap();
    accept.offer.features = RESTS;
    let mut bytes = Vec::new();
    accept.encode(&mut bytes);
    bench.call(|_, cx| association.handle_frame(cx, FIRST, &frame(&bytes)));
    assert_eq!(association.status(), Status::Associated(uid(200)));
    association
}

/// A link that rests, accepted by this side.
fn rested(bench: &mut Bench) -> Association {
    let mut association = accepted(bench);
    bench.now = at(60_000);
    let effects = bench.call(|_, cx| association.handle_idle(cx));
    let (reason, peer) = (CloseReason::Rested, local("there", 200).id);
    let conn = FIRST;
    let expected = [
        Effect::Rest { conn },
        Effect::Close { conn, reason },
        Effect::LinkRested { conn, peer },
    ];
    assert_eq!(effects, expected);
    association
}

fn hear_rest(bench: &mut Bench, association: &mut Association) -> Vec<Effect> {
    bench.call(|_, cx| association.handle_frame(cx, FIRST, &frame(&rest())))
}

fn is_rested(effects: &[Effect]) -> bool {
    matches!(effects.last(), Some(Effect::LinkRested { .. }))
}

fn dials(effects: &[Effect]) -> bool {
    matches!(effects.last(), Some(Effect::Dial { .. }))
}

fn downs(effects: &[Effect]) -> Vec<CloseReason> {
    let down = |effect: &Effect| match effect {
        Effect::LinkDown { reason, .. } => Some(*reason),
        _ => None,
    };
    effects.iter().filter_map(down).collect()
}

#[test]
fn who_accepted_gives_its_connection_up_and_keeps_the_link_without_end() {
    let mut bench = resting_bench();
    let mut association = rested(&mut bench);
    assert_eq!(association.status(), Status::Resting(uid(200)));
    assert_eq!(association.poll_timeout(), None);
    bench.now = bench.now + RESUME_TIMEOUT * 100;
    assert_eq!(bench.call(|_, cx| association.handle_timeout(cx)), []);
    assert_eq!(association.status(), Status::Resting(uid(200)));
    // What comes of the connection that was given up does not count: data, a second rest, a
    // goodbye, its end.
    assert_eq!(hear_rest(&mut bench, &mut association), []);
    let mut bye = vec![0; 18];
    let reason = ByeReason::Stopping;
    Bye { reason }.encode(&mut bye);
    let effects = bench.call(|_, cx| association.handle_frame(cx, FIRST, &frame(&bye)));
    assert_eq!(effects, []);
    let closed = CloseReason::PeerClosed;
    assert_eq!(
        bench.call(|_, cx| association.handle_closed(cx, FIRST, closed)),
        []
    );
    assert_eq!(association.status(), Status::Resting(uid(200)));
}

#[test]
fn who_dialled_asks_and_goes_on_until_the_other_side_rests() {
    let mut bench = resting_bench();
    let mut association = dialled(&mut bench);
    let effects = bench.call(|_, cx| association.handle_idle(cx));
    assert_eq!(effects, [Effect::Rest { conn: FIRST }]);
    assert_eq!(association.status(), Status::Associated(uid(200)));
    let effects = hear_rest(&mut bench, &mut association);
    assert!(matches!(effects[0], Effect::Close { conn: FIRST, .. }));
    assert!(is_rested(&effects) && effects.len() == 2, "{effects:?}");
    assert_eq!(association.status(), Status::Resting(uid(200)));
}

#[test]
fn who_accepted_rests_when_asked_unless_it_has_something_for_the_peer() {
    for quiet in [true, false] {
        let mut bench = resting_bench();
        let mut association = accepted(&mut bench);
        bench.halves = (!quiet).then(|| halves(0).0);
        let effects = hear_rest(&mut bench, &mut association);
        assert_eq!(is_rested(&effects), quiet, "{effects:?}");
        assert_eq!(effects.is_empty(), !quiet, "{effects:?}");
        // Asked twice, or idle itself, with bytes that are not acknowledged: the same.
        assert_eq!(hear_rest(&mut bench, &mut association), []);
        assert_eq!(bench.call(|_, cx| association.handle_idle(cx)), []);
    }
}

#[test]
fn data_that_crosses_a_rest_has_its_sender_dial_at_once() {
    let mut bench = resting_bench();
    let mut association = dialled(&mut bench);
    bench.now = at(60_000);
    bench.halves = Some(halves(0).0);
    let effects = hear_rest(&mut bench, &mut association);
    let (conn, reason) = (FIRST, CloseReason::Rested);
    let peer = local("there", 200).id;
    assert_eq!(effects[0], Effect::Close { conn, reason });
    assert_eq!(effects[1], Effect::LinkLost { conn, peer, reason });
    assert!(dials(&effects) && effects.len() == 3, "{effects:?}");
}

#[test]
fn whoever_waits_for_the_peer_keeps_it_from_resting() {
    let mut bench = resting_bench();
    bench.awaits = true;
    bench.halves = Some({
        let (_, inbound) = halves(0).0;
        let limit = u64::from(WINDOW_BYTES);
        (Outbound::new(CAP, limit, WINDOW_BYTES), inbound)
    });
    let mut association = accepted(&mut bench);
    assert_eq!(bench.call(|_, cx| association.handle_idle(cx)), []);
    assert_eq!(hear_rest(&mut bench, &mut association), []);
    let mut association = dialled(&mut bench);
    assert_eq!(bench.call(|_, cx| association.handle_idle(cx)), []);
    bench.now = at(60_000);
    assert!(dials(&hear_rest(&mut bench, &mut association)));
}

#[test]
fn a_push_wakes_a_link_at_once_and_then_it_waits_as_a_lost_one() {
    let mut bench = resting_bench();
    let mut association = rested(&mut bench);
    bench.halves = Some(halves(0).0);
    bench.now = at(100_000);
    let effects = bench.call(|_, cx| association.handle_resume_wanted(cx));
    assert!(
        dials(&effects) && effects.len() == 1,
        "no grace: {effects:?}"
    );
    bench.call(|_, cx| association.handle_dialling(cx, NEXT));
    let effects = bench.call(|_, cx| association.handle_connected(cx, NEXT));
    let [Effect::Write { bytes, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    let hello = Hello::parse(&frame(&bytes[PREFACE_BYTES..])).unwrap();
    assert_eq!(hello.offer.link, LINK_NUMBER);
    assert!(hello.offer.received_to.is_some(), "it goes on");
    // Nobody answers: it ends like any that lost its connection.
    let mut ended = Vec::new();
    while bench.now < at(100_000) + RESUME_TIMEOUT + HANDSHAKE_TIMEOUT && ended.is_empty() {
        bench.now = association.poll_timeout().unwrap();
        let effects = bench.call(|_, cx| association.handle_timeout(cx));
        ended = downs(&effects);
        let broken = CloseReason::DialFailed;
        if dials(&effects) {
            bench.call(|_, cx| association.handle_dialling(cx, ConnKey(9)));
            bench.call(|_, cx| association.handle_closed(cx, ConnKey(9), broken));
        }
    }
    assert_eq!(ended, [CloseReason::ResumeTimeout]);
    assert!(bench.now >= at(100_000) + RESUME_TIMEOUT);
    assert!(association.is_out_of_reach());
}

#[test]
fn the_peer_that_dials_wakes_a_link() {
    let mut bench = resting_bench();
    let mut association = rested(&mut bench);
    let mut back = introduction(200, NEXT.0);
    back.offer.received_to = Some(0);
    let effects = bench.call(|_, cx| association.handle_incoming(cx, &back).unwrap());
    assert!(
        matches!(effects.last(), Some(Effect::LinkResumed { conn: NEXT, .. })),
        "{effects:?}"
    );
    // And rests again.
    let effects = bench.call(|_, cx| association.handle_idle(cx));
    assert!(is_rested(&effects));
}

#[test]
fn a_peer_that_was_restarted_takes_the_place_of_a_link_at_rest() {
    let mut bench = resting_bench();
    let mut association = rested(&mut bench);
    let effects = bench.call(|_, cx| {
        let later = introduction(300, NEXT.0);
        association.handle_incoming(cx, &later).unwrap();
    });
    assert_eq!(downs(&effects), [CloseReason::Restarted]);
    assert!(matches!(effects.last(), Some(Effect::LinkUp(_))));
    // And when this side dials.
    let mut association = rested(&mut bench);
    bench.call(|_, cx| association.handle_resume_wanted(cx));
    bench.call(|_, cx| association.handle_dialling(cx, NEXT));
    bench.call(|_, cx| association.handle_connected(cx, NEXT));
    let bytes = refusal(RefuseReason::Incarnation);
    let effects = bench.call(|_, cx| association.handle_frame(cx, NEXT, &frame(&bytes)));
    assert_eq!(downs(&effects), [CloseReason::Restarted]);
    assert!(dials(&effects));
}

#[test]
fn a_stop_at_rest_is_at_once_and_dials_for_nothing_but_what_was_pushed() {
    let mut bench = resting_bench();
    let mut association = rested(&mut bench);
    let effects = bench.call(|_, cx| association.handle_stop(cx));
    assert_eq!(downs(&effects), [CloseReason::Stopping]);
    assert_eq!(effects.last(), Some(&Effect::Stopped));
    assert_eq!(effects.len(), 2);
    let mut association = rested(&mut bench);
    bench.halves = Some(halves(0).0);
    let effects = bench.call(|_, cx| association.handle_stop(cx));
    assert!(dials(&effects) && effects.len() == 1);
    assert_eq!(association.poll_timeout(), Some(bench.now + STOP_TIMEOUT));
}

#[test]
fn a_goodbye_that_crosses_a_rest_is_said_again_behind_what_waits() {
    for more in [true, false] {
        let mut bench = resting_bench();
        let mut association = dialled(&mut bench);
        bench.now = at(60_000);
        bench.halves = more.then(|| halves(0).0);
        let (conn, reason) = (FIRST, ByeReason::Stopping);
        let effects = bench.call(|_, cx| association.handle_stop(cx));
        assert_eq!(effects, [Effect::Bye { conn, reason }]);
        let effects = hear_rest(&mut bench, &mut association);
        assert_eq!(association.status(), Status::Stopping);
        if !more {
            assert_eq!(effects, [], "the end of the connection is near");
            let closed = CloseReason::PeerClosed;
            let effects = bench.call(|_, cx| association.handle_closed(cx, FIRST, closed));
            assert_eq!(effects.last(), Some(&Effect::Stopped));
            continue;
        }
        assert!(dials(&effects) && effects.len() == 3, "{effects:?}");
        assert_eq!(association.poll_timeout(), Some(at(60_000) + STOP_TIMEOUT));
        bench.call(|_, cx| association.handle_dialling(cx, NEXT));
        let effects = bench.call(|_, cx| association.handle_connected(cx, NEXT));
        let [Effect::Write { bytes, .. }] = &effects[..] else {
            panic!("{effects:?}");
        };
        let preface = Preface::parse(bytes[..PREFACE_BYTES].try_into().unwrap()).unwrap();
        let hello = Hello::parse(&frame(&bytes[PREFACE_BYTES..])).unwrap();
        let mut accept = Accept::parse(&frame(&bench.answer(200, preface.nonce))).unwrap();
        accept.offer.link = hello.offer.link;
        let outbound = &bench.halves.as_ref().unwrap().0;
        accept.offer.received_to = Some(outbound.positions().received_to);
        let mut bytes = Vec::new();
        accept.encode(&mut bytes);
        let effects = bench.call(|_, cx| association.handle_frame(cx, NEXT, &frame(&bytes)));
        let [Effect::LinkResumed { .. }, Effect::Bye { conn: NEXT, .. }] = effects[..] else {
            panic!("{effects:?}");
        };
    }
}

#[test]
fn a_peer_without_the_feature_is_never_made_to_rest_and_may_not_ask_for_it() {
    for (mine, theirs) in [(0, RESTS), (RESTS, 0), (RESTS << 1, RESTS << 1)] {
        let mut bench = Bench::new();
        bench.local.features = mine;
        let mut association = Association::new(local("there", 200).id.address);
        let mut hello = introduction(200, FIRST.0);
        hello.offer.features = theirs;
        bench.call(|_, cx| association.handle_incoming(cx, &hello).unwrap());
        assert_eq!(bench.call(|_, cx| association.handle_idle(cx)), []);
        let effects = hear_rest(&mut bench, &mut association);
        let reason = CloseReason::UnexpectedFrame(Kind::Rest);
        assert_eq!(
            effects[0],
            Effect::Close {
                conn: FIRST,
                reason
            }
        );
        assert_eq!(downs(&effects), [reason]);
    }
}

#[test]
fn a_rest_within_the_handshake_ends_that_alone() {
    let mut bench = resting_bench();
    let (mut association, _) = bench.handshaking();
    let effects = hear_rest(&mut bench, &mut association);
    let reason = CloseReason::UnexpectedFrame(Kind::Rest);
    assert_eq!(
        effects[0],
        Effect::Close {
            conn: FIRST,
            reason
        }
    );
    assert_eq!(association.status(), Status::BackOff);
}

#[test]
fn a_link_in_doubt_does_not_rest_and_a_rest_is_a_sign_of_life() {
    let mut bench = resting_bench();
    let mut association = accepted(&mut bench);
    bench.call(|_, cx| {
        association
            .handle_incoming(cx, &introduction(300, NEXT.0))
            .unwrap()
    });
    assert_eq!(bench.call(|_, cx| association.handle_idle(cx)), []);
    let effects = hear_rest(&mut bench, &mut association);
    let (conn, reason) = (NEXT, RefuseReason::Superseded);
    assert_eq!(effects[0], Effect::Refuse { conn, reason });
    assert!(is_rested(&effects));
}

#[test]
fn a_link_at_rest_ends_for_a_fault_like_any_other() {
    let mut bench = resting_bench();
    let mut association = rested(&mut bench);
    let reason = CloseReason::Link(Violation::UndefinedType(1));
    let effects = bench.call(|_, cx| association.handle_link_fault(cx, reason));
    assert_eq!(downs(&effects), [reason]);
    assert_eq!(association.status(), Status::Idle);
}
