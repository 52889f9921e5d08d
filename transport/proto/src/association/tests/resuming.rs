//! Links that outlive their connections.

use super::*;
use crate::frame::Extension;
use crate::frame::body::{Grant, Hello};
use crate::limits::{REFUSED_PATIENCE, RESUME_GRACE, RESUME_PAUSE};
use crate::link::{SendHead, Target};
use crate::message::{MessageId, MessageType};
use crate::slab_pool::SlabPool;

const FIRST: ConnKey = ConnKey(1);
const NEXT: ConnKey = ConnKey(2);
const BROKEN: CloseReason = CloseReason::Broken;

fn uid(number: u64) -> Uid {
    Uid::new(number).unwrap()
}

/// Halves that sent two frames of which one was acknowledged, and received `received` bytes; with
/// the positions of both frames' ends.
pub(super) fn halves(received: usize) -> ((Outbound, Inbound), [u64; 2]) {
    let mut outbound = Outbound::new(CAP, u64::from(WINDOW_BYTES), WINDOW_BYTES);
    let mut slabs = SlabPool::new(1 << 20, CAP);
    let message = MessageType {
        id: MessageId::from_u64(1),
        version: 1,
        fingerprint: 1,
    };
    let target = Target {
        slot: 1,
        generation: 1,
    };
    let ends = [0, 1].map(|_| {
        let head = SendHead::Ask {
            message: &message,
            target,
            extension: Extension::default(),
        };
        outbound.push(&mut slabs, head, &[7; 100][..]).unwrap();
        outbound.positions().tail
    });
    outbound.gather(usize::MAX, &mut Vec::new());
    let limit = u64::from(WINDOW_BYTES);
    let received_to = ends[0];
    let grant = Grant { received_to, limit };
    outbound.handle_grant(grant, &mut slabs).unwrap();
    let mut inbound = Inbound::new(WINDOW_BYTES);
    inbound.accept(received).unwrap();
    ((outbound, inbound), ends)
}

/// A link with uid 200 that this side dialled and lost after a minute; it is being dialled again
/// on the next connection. With the hello of that dial.
pub(super) fn dialling_again(bench: &mut Bench) -> (Association, Preface, Hello) {
    let mut association = bench.associated();
    bench.now = at(60_000);
    let effects = bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
    let (conn, reason) = (FIRST, BROKEN);
    let peer = local("there", 200).id;
    assert_eq!(effects[0], Effect::LinkLost { conn, peer, reason });
    assert!(matches!(effects[1..], [Effect::Dial { .. }]), "at once");
    let (preface, hello) = say_hello(bench, &mut association);
    (association, preface, hello)
}

/// The dial under way gets to its hello, on the next connection.
fn say_hello(bench: &mut Bench, association: &mut Association) -> (Preface, Hello) {
    bench.call(|_, cx| association.handle_dialling(cx, NEXT));
    let effects = bench.call(|_, cx| association.handle_connected(cx, NEXT));
    let [Effect::Write { bytes, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    let (preface, hello) = bytes.split_first_chunk::<PREFACE_BYTES>().unwrap();
    let hello = Hello::parse(&frame(hello)).unwrap();
    (Preface::parse(preface).unwrap(), hello)
}

/// The peer accepts the dial on the next connection.
fn answer(
    bench: &mut Bench,
    association: &mut Association,
    preface: &Preface,
    change: impl FnOnce(&mut Offer),
) -> Vec<Effect> {
    let mut accept = Accept::parse(&frame(&bench.answer(200, preface.nonce))).unwrap();
    change(&mut accept.offer);
    let mut bytes = Vec::new();
    accept.encode(&mut bytes);
    bench.call(|_, cx| association.handle_frame(cx, NEXT, &frame(&bytes)))
}

/// A link with uid 200 that its peer dialled.
fn accepted(bench: &mut Bench) -> Association {
    let mut association = Association::new(local("there", 200).id.address);
    let hello = introduction(200, FIRST.0);
    bench.call(|_, cx| association.handle_incoming(cx, &hello).unwrap());
    association
}

/// The hello of a peer that comes back to the link of [`accepted`].
fn back(position: Option<u64>) -> Introduction {
    let mut back = introduction(200, NEXT.0);
    back.offer.received_to = position;
    back
}

pub(super) fn come(
    bench: &mut Bench,
    association: &mut Association,
    introduction: &Introduction,
) -> (Result<(), RefuseReason>, Vec<Effect>) {
    let mut verdict = Ok(());
    let effects = bench.call(|_, cx| verdict = association.handle_incoming(cx, introduction));
    (verdict, effects)
}

fn resumed(effects: &[Effect]) -> Option<(ConnKey, Grant)> {
    effects.iter().find_map(|effect| match effect {
        Effect::LinkResumed { conn, grant, .. } => Some((*conn, *grant)),
        _ => None,
    })
}

fn downs(effects: &[Effect]) -> Vec<CloseReason> {
    let down = |effect: &Effect| match effect {
        Effect::LinkDown { reason, .. } => Some(*reason),
        _ => None,
    };
    effects.iter().filter_map(down).collect()
}

fn is_up(effects: &[Effect]) -> bool {
    matches!(effects.last(), Some(Effect::LinkUp(_)))
}

#[test]
fn the_dialler_says_where_it_stands_and_goes_on_where_the_peer_does() {
    let mut bench = Bench::new();
    let (halves, [_, end]) = halves(777);
    bench.halves = Some(halves);
    let (mut association, preface, hello) = dialling_again(&mut bench);
    assert_eq!(preface.expected_uid, Some(uid(200)));
    assert_eq!(hello.offer.received_to, Some(777));
    let (link, limit) = (hello.offer.link, u64::from(WINDOW_BYTES) + 5);
    let effects = answer(&mut bench, &mut association, &preface, |offer| {
        (offer.link, offer.received_to, offer.limit) = (link, Some(end), limit);
    });
    let received_to = end;
    assert_eq!(
        resumed(&effects),
        Some((NEXT, Grant { received_to, limit }))
    );
    assert_eq!(effects.len(), 1, "{effects:?}");
    assert_eq!(association.status(), Status::Associated(uid(200)));
    assert_eq!(association.poll_timeout(), None);
    // The next loss is a new one.
    let effects = bench.call(|_, cx| association.handle_closed(cx, NEXT, BROKEN));
    assert!(matches!(effects[0], Effect::LinkLost { conn: NEXT, .. }));
}

#[test]
fn a_dialler_that_is_told_an_impossible_position_ends_the_link() {
    for shift in [-1, 1, i64::MAX] {
        let mut bench = Bench::new();
        let (halves, [first, _]) = halves(0);
        bench.halves = Some(halves);
        let (mut association, preface, hello) = dialling_again(&mut bench);
        let position = first.wrapping_add_signed(shift);
        let effects = answer(&mut bench, &mut association, &preface, |offer| {
            (offer.link, offer.received_to) = (hello.offer.link, Some(position));
        });
        let [
            Effect::Close { conn: NEXT, .. },
            Effect::LinkDown { reason, .. },
            Effect::Unreachable { .. },
        ] = effects[..]
        else {
            panic!("{effects:?}");
        };
        assert_eq!(reason.label(), "link_position");
        assert_eq!(association.status(), Status::BackOff);
    }
}

#[test]
fn an_answer_for_another_link_is_not_believed() {
    type Change = fn(&mut Offer, u64);
    let changes: [Change; 3] = [
        |offer, link| (offer.link, offer.received_to) = (link ^ 1, Some(0)),
        |offer, link| (offer.link, offer.received_to) = (link ^ 1, None),
        |offer, link| (offer.link, offer.received_to) = (link, None),
    ];
    for change in changes {
        let mut bench = Bench::new();
        let (mut association, preface, hello) = dialling_again(&mut bench);
        let effects = answer(&mut bench, &mut association, &preface, |offer| {
            change(offer, hello.offer.link);
        });
        let (conn, reason) = (NEXT, CloseReason::Answer);
        assert_eq!(effects[0], Effect::Close { conn, reason });
        assert_eq!(downs(&effects), [], "the link still waits");
        assert_eq!(association.status(), Status::BackOff);
    }
}

#[test]
fn a_peer_that_gave_the_link_up_gets_a_new_one() {
    let mut bench = Bench::new();
    let (mut association, preface, _) = dialling_again(&mut bench);
    let effects = answer(&mut bench, &mut association, &preface, |_| {});
    assert_eq!(downs(&effects), [CloseReason::Forgotten]);
    assert!(is_up(&effects));
    // And the other way round: this side gave it up, and says so.
    let mut bench = Bench::new();
    let mut association = Association::new(local("there", 200).id.address);
    let hello = back(Some(5000));
    let (verdict, effects) = come(&mut bench, &mut association, &hello);
    assert_eq!(verdict, Ok(()));
    let Effect::Write { bytes, .. } = &effects[0] else {
        panic!("{effects:?}");
    };
    let offer = Accept::parse(&frame(bytes)).unwrap().offer;
    assert_eq!((offer.link, offer.received_to), (hello.nonce, None));
    assert!(is_up(&effects));
}

#[test]
fn a_link_that_waited_one_over_the_resume_timeout_is_given_up() {
    for dialled in [true, false] {
        let mut bench = Bench::new();
        let mut association = if dialled {
            dialling_again(&mut bench).0
        } else {
            let mut association = accepted(&mut bench);
            bench.now = at(60_000);
            bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
            assert_eq!(association.status(), Status::Lost(uid(200)));
            association
        };
        let over = at(60_000) + RESUME_TIMEOUT;
        bench.now = at(60_000) + (RESUME_TIMEOUT - TICK);
        let mut effects = bench.call(|_, cx| association.handle_timeout(cx));
        assert_eq!(downs(&effects), [], "it still waits");
        bench.now = over;
        effects.extend(bench.call(|_, cx| association.handle_timeout(cx)));
        assert_eq!(downs(&effects), [CloseReason::ResumeTimeout]);
        let status = association.status();
        assert_eq!(status == Status::Idle, !dialled, "{status:?}");
        // Who comes too late begins anew.
        let (verdict, effects) = come(&mut bench, &mut association, &back(Some(0)));
        assert_eq!(verdict, Ok(()));
        assert!(is_up(&effects));
    }
}

#[test]
fn one_over_the_grace_of_its_peer_a_side_dials_for_what_it_has() {
    for has_more in [true, false] {
        let mut bench = Bench::new();
        let mut association = accepted(&mut bench);
        bench.halves = has_more.then(|| halves(0).0);
        bench.now = at(60_000);
        bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
        let grace = at(60_000) + RESUME_GRACE;
        if !has_more {
            assert_eq!(
                association.poll_timeout(),
                Some(at(60_000) + RESUME_TIMEOUT)
            );
            let effects = bench.call(|_, cx| association.handle_resume_wanted(cx));
            assert_eq!(effects, [], "the peer goes first");
        }
        assert_eq!(association.poll_timeout(), Some(grace));
        bench.now = at(60_000) + (RESUME_GRACE - TICK);
        assert_eq!(bench.call(|_, cx| association.handle_timeout(cx)), []);
        bench.now = grace;
        let effects = bench.call(|_, cx| association.handle_timeout(cx));
        assert!(matches!(effects[..], [Effect::Dial { .. }]));
    }
}

#[test]
fn an_acceptor_goes_on_where_both_stand() {
    let mut bench = Bench::new();
    let mut association = accepted(&mut bench);
    let (halves, [_, end]) = halves(4321);
    bench.halves = Some(halves);
    bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
    let hello = back(Some(end));
    let (verdict, effects) = come(&mut bench, &mut association, &hello);
    assert_eq!(verdict, Ok(()));
    let Effect::Write { bytes, conn: NEXT } = &effects[0] else {
        panic!("{effects:?}");
    };
    let offer = Accept::parse(&frame(bytes)).unwrap().offer;
    assert_eq!((offer.link, offer.received_to), (LINK_NUMBER, Some(4321)));
    let (conn, grant) = resumed(&effects).unwrap();
    assert_eq!((conn, grant.received_to), (NEXT, end));
}

#[test]
fn a_hello_with_an_impossible_position_is_refused_and_ends_nothing() {
    for lost in [true, false] {
        let mut bench = Bench::new();
        let mut association = accepted(&mut bench);
        let (halves, [first, second]) = halves(0);
        bench.halves = Some(halves);
        if lost {
            bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
        }
        let status = association.status();
        for position in [None, Some(0), Some(first + 1), Some(second + 1)] {
            let (verdict, effects) = come(&mut bench, &mut association, &back(position));
            assert_eq!((verdict, effects), (Err(RefuseReason::Position), vec![]));
        }
        assert_eq!(association.status(), status);
    }
    // Whoever is told so ends its own, and begins anew.
    let mut bench = Bench::new();
    let (mut association, ..) = dialling_again(&mut bench);
    let bytes = refusal(RefuseReason::Position);
    let effects = bench.call(|_, cx| association.handle_frame(cx, NEXT, &frame(&bytes)));
    assert_eq!(
        downs(&effects),
        [CloseReason::Refused(RefuseReason::Position)]
    );
}

#[test]
fn a_peer_that_gave_its_connection_up_takes_over_at_once() {
    let mut bench = Bench::new();
    let mut association = accepted(&mut bench);
    let (verdict, effects) = come(&mut bench, &mut association, &back(Some(0)));
    assert_eq!(verdict, Ok(()));
    let (conn, reason) = (FIRST, CloseReason::Superseded);
    assert_eq!(effects[0], Effect::Close { conn, reason });
    assert!(matches!(effects[1], Effect::LinkLost { conn: FIRST, .. }));
    assert!(matches!(effects[2], Effect::Write { conn: NEXT, .. }));
    assert_eq!(resumed(&effects).unwrap().0, NEXT);
    // The end of the old connection is old news.
    let late = bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
    assert_eq!(late, []);
    assert_eq!(association.status(), Status::Associated(uid(200)));
}

#[test]
fn a_hello_without_the_number_of_the_link_does_not_steal_it() {
    let mut bench = Bench::new();
    let mut association = accepted(&mut bench);
    let mut forged = back(Some(0));
    forged.offer.link ^= 1;
    let (verdict, effects) = come(&mut bench, &mut association, &forged);
    assert_eq!(verdict, Err(RefuseReason::Superseded));
    assert!(matches!(effects[..], [Effect::Ping { conn: FIRST, .. }]));
    // Nor does another start that names it.
    let mut forged = introduction(201, 3);
    forged.offer.received_to = Some(0);
    let (verdict, effects) = come(&mut bench, &mut association, &forged);
    assert_eq!((verdict, effects), (Ok(()), vec![]), "it waits");
    let effects = bench.call(|_, cx| association.handle_heard(cx, FIRST));
    assert!(matches!(effects[..], [Effect::Refuse { .. }]));
}

#[test]
fn a_dial_that_crossed_waits_for_the_probe() {
    for alive in [true, false] {
        let mut bench = Bench::new();
        let mut association = bench.associated();
        let number = association.link.as_ref().unwrap().number;
        let mut crossed = back(Some(0));
        crossed.offer.link = number;
        let (verdict, effects) = come(&mut bench, &mut association, &crossed);
        assert_eq!(verdict, Ok(()));
        assert!(matches!(effects[..], [Effect::Ping { conn: FIRST, .. }]));
        if alive {
            let effects = bench.call(|_, cx| association.handle_heard(cx, FIRST));
            let (conn, reason) = (NEXT, RefuseReason::Superseded);
            assert_eq!(effects, [Effect::Refuse { conn, reason }]);
            continue;
        }
        bench.now = at(0) + PROBE_TIMEOUT;
        let effects = bench.call(|_, cx| association.handle_timeout(cx));
        let (conn, reason) = (FIRST, CloseReason::ProbeTimeout);
        assert_eq!(effects[0], Effect::Close { conn, reason });
        assert!(matches!(effects[1], Effect::LinkLost { .. }));
        assert_eq!(resumed(&effects).unwrap().0, NEXT);
    }
}

#[test]
fn a_lost_accept_loses_nothing() {
    // The dialler never heard: it offers the same link again, which the acceptor has.
    let mut bench = Bench::new();
    let (mut association, first) = bench.handshaking();
    let proposal = association.proposal.unwrap();
    bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
    bench.now = association.poll_timeout().unwrap();
    bench.call(|_, cx| association.handle_timeout(cx));
    let (preface, hello) = say_hello(&mut bench, &mut association);
    assert_ne!(preface.nonce, first.nonce);
    assert_eq!(
        (hello.offer.link, hello.offer.received_to),
        (proposal, None)
    );
    let effects = answer(&mut bench, &mut association, &preface, |offer| {
        (offer.link, offer.received_to) = (proposal, Some(0));
    });
    assert!(is_up(&effects), "{effects:?}");
    // The acceptor's side: it goes on from the beginning.
    let mut bench = Bench::new();
    let mut acceptor = accepted(&mut bench);
    let (verdict, effects) = come(&mut bench, &mut acceptor, &back(None));
    assert_eq!(verdict, Ok(()));
    assert_eq!(resumed(&effects).unwrap().1.received_to, 0);
    // The acceptor dials: this side never had the link, and takes it as the one it offered.
    let mut bench = Bench::new();
    let (mut association, _) = bench.handshaking();
    let number = association.proposal.unwrap();
    bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
    let mut hello = back(Some(0));
    hello.offer.link = number;
    let (_, effects) = come(&mut bench, &mut association, &hello);
    let Effect::Write { bytes, .. } = &effects[0] else {
        panic!("{effects:?}");
    };
    let offer = Accept::parse(&frame(bytes)).unwrap().offer;
    assert_eq!((offer.link, offer.received_to), (number, Some(0)));
    assert!(is_up(&effects));
}

#[test]
fn an_offer_from_before_the_link_ends_nothing_and_the_next_one_does() {
    let mut bench = Bench::new();
    let mut association = accepted(&mut bench);
    bench.now = at(60_000);
    bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
    for (link, received_to) in [
        (LINK_NUMBER ^ 2, None),
        (LINK_NUMBER ^ 2, Some(0)),
        (LINK_NUMBER + 1, Some(0)),
    ] {
        let mut stale = back(received_to);
        stale.offer.link = link;
        let (verdict, effects) = come(&mut bench, &mut association, &stale);
        assert_eq!((verdict, effects), (Err(RefuseReason::Superseded), vec![]));
    }
    // It asks the peer itself whether that still has the link.
    bench.now = association.poll_timeout().unwrap();
    assert_eq!(bench.now, at(60_000) + RESUME_GRACE);
    let effects = bench.call(|_, cx| association.handle_timeout(cx));
    assert!(matches!(effects[..], [Effect::Dial { .. }]));
    let (_, hello) = say_hello(&mut bench, &mut association);
    assert_eq!(hello.offer.link, LINK_NUMBER);
    bench.call(|_, cx| association.handle_closed(cx, NEXT, BROKEN));
    let mut next = back(None);
    next.conn = ConnKey(3);
    next.offer.link = LINK_NUMBER + 1;
    let (verdict, effects) = come(&mut bench, &mut association, &next);
    assert_eq!(verdict, Ok(()));
    assert_eq!(downs(&effects), [CloseReason::Forgotten]);
    assert!(is_up(&effects));
    // And whoever ends a link offers that number next.
    let reason = CloseReason::Archive;
    bench.call(|_, cx| association.handle_fault(cx, ConnKey(3), reason));
    bench.call(|_, cx| association.handle_dial_wanted(cx));
    let (_, hello) = say_hello(&mut bench, &mut association);
    let offer = hello.offer;
    assert_eq!((offer.link, offer.received_to), (LINK_NUMBER + 2, None));
}

#[test]
fn where_dials_crossed_the_link_that_was_never_used_takes_the_others_number() {
    for used in [false, true] {
        let mut bench = Bench::new();
        let (mut association, _) = bench.handshaking();
        let number = association.proposal.unwrap();
        // The peer accepted that, and the answer is lost; what it had sent before is accepted here.
        bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
        let late = introduction(200, 3);
        let (verdict, effects) = come(&mut bench, &mut association, &late);
        assert!(verdict.is_ok() && is_up(&effects));
        bench.halves = used.then(|| halves(1).0);
        bench.call(|_, cx| association.handle_closed(cx, ConnKey(3), BROKEN));
        let mut hello = back(Some(0));
        hello.offer.link = number;
        let (verdict, effects) = come(&mut bench, &mut association, &hello);
        if used {
            assert_eq!(verdict, Err(RefuseReason::Superseded));
            continue;
        }
        assert_eq!(verdict, Ok(()));
        let Effect::Write { bytes, .. } = &effects[0] else {
            panic!("{effects:?}");
        };
        let offer = Accept::parse(&frame(bytes)).unwrap().offer;
        assert_eq!((offer.link, offer.received_to), (number, Some(0)));
        assert_eq!(resumed(&effects).unwrap().1.received_to, 0);
    }
}

#[test]
fn a_restarted_peer_ends_the_link_that_waits() {
    let mut bench = Bench::new();
    let mut association = accepted(&mut bench);
    bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
    let mut restarted = introduction(201, NEXT.0);
    restarted.offer.received_to = None;
    let (verdict, effects) = come(&mut bench, &mut association, &restarted);
    assert_eq!(verdict, Ok(()));
    assert_eq!(downs(&effects), [CloseReason::Restarted]);
    assert!(is_up(&effects) && association.is_over(uid(200)));
}

#[test]
fn a_link_with_a_wrong_peer_is_not_kept() {
    let kept = [
        CloseReason::Frame(crate::frame::FrameError::Checksum),
        CloseReason::FrameStall,
        CloseReason::PeerClosed,
        BROKEN,
    ];
    let ended = [
        CloseReason::Archive,
        CloseReason::TooManyAsks,
        CloseReason::GrantStall,
        CloseReason::Link(crate::link::Violation::UndefinedType(1)),
        CloseReason::Body(crate::frame::body::BodyError::Length),
        CloseReason::UnexpectedFrame(Kind::Hello),
    ];
    for (reason, is_kept) in kept
        .map(|it| (it, true))
        .into_iter()
        .chain(ended.map(|it| (it, false)))
    {
        let mut bench = Bench::new();
        let mut association = bench.associated();
        let effects = bench.call(|_, cx| association.handle_fault(cx, FIRST, reason));
        assert_eq!(downs(&effects).is_empty(), is_kept, "{reason}");
    }
    // Also when the fault shows while it has no connection.
    let mut bench = Bench::new();
    let (mut association, ..) = dialling_again(&mut bench);
    let reason = CloseReason::TooManyAsks;
    let effects = bench.call(|_, cx| association.handle_link_fault(cx, reason));
    assert_eq!(downs(&effects), [reason]);
    let conn = NEXT;
    assert!(effects.contains(&Effect::Close { conn, reason }));
    assert_eq!(association.status(), Status::BackOff);
}

#[test]
fn one_over_the_patience_a_link_ends_where_nobody_listens_any_more() {
    for dialled in [true, false] {
        let mut bench = Bench::new();
        let mut association = if dialled {
            dialling_again(&mut bench).0
        } else {
            let mut association = accepted(&mut bench);
            bench.halves = Some(halves(0).0);
            bench.now = at(60_000);
            bench.call(|_, cx| association.handle_closed(cx, FIRST, BROKEN));
            association
        };
        let refused = CloseReason::DialRefused;
        let mut downs_seen = Vec::new();
        let mut dial = NEXT;
        while bench.now < at(60_000) + RESUME_TIMEOUT && downs_seen.is_empty() {
            let mut effects = bench.call(|_, cx| association.handle_closed(cx, dial, refused));
            if let Some(due) = association.poll_timeout() {
                bench.now = bench.now.max(due);
            }
            effects.extend(bench.call(|_, cx| association.handle_timeout(cx)));
            if effects.iter().any(|it| matches!(it, Effect::Dial { .. })) {
                dial = ConnKey(dial.0 + 1);
                bench.call(|_, cx| association.handle_dialling(cx, dial));
            }
            downs_seen = downs(&effects);
        }
        let waited = bench.now - at(60_000);
        if dialled {
            assert_eq!(downs_seen, [refused]);
            assert!(waited >= REFUSED_PATIENCE && waited < 4 * REFUSED_PATIENCE);
        } else {
            // It may be that the peer can dial and cannot be dialled.
            assert_eq!(downs_seen, [CloseReason::ResumeTimeout]);
        }
    }
}

#[test]
fn a_connection_that_brought_something_is_dialled_one_over_the_pause() {
    let mut bench = Bench::new();
    let (mut association, mut preface, hello) = dialling_again(&mut bench);
    for round in 0..20 {
        let effects = answer(&mut bench, &mut association, &preface, |offer| {
            (offer.link, offer.received_to) = (hello.offer.link, Some(0));
        });
        assert!(resumed(&effects).is_some(), "{effects:?}");
        let outbound = Outbound::new(CAP, u64::from(WINDOW_BYTES), WINDOW_BYTES);
        let mut inbound = Inbound::new(WINDOW_BYTES);
        inbound.accept(100 * (round + 1)).unwrap();
        bench.halves = Some((outbound, inbound));
        bench.call(|_, cx| association.handle_closed(cx, NEXT, BROKEN));
        let due = association.poll_timeout().unwrap();
        assert_eq!(due - bench.now, RESUME_PAUSE);
        bench.now = bench.now + (RESUME_PAUSE - TICK);
        assert_eq!(bench.call(|_, cx| association.handle_timeout(cx)), []);
        bench.now = due;
        bench.call(|_, cx| association.handle_timeout(cx));
        preface = say_hello(&mut bench, &mut association).0;
    }
}

#[test]
fn a_stop_waits_for_a_lost_link_that_has_something_to_say() {
    for answered in [true, false] {
        let mut bench = Bench::new();
        let (mut association, preface, hello) = dialling_again(&mut bench);
        let (halves, [end, _]) = halves(0);
        bench.halves = Some(halves);
        assert_eq!(bench.call(|_, cx| association.handle_stop(cx)), []);
        assert_eq!(association.status(), Status::Stopping);
        assert_eq!(bench.call(|_, cx| association.handle_stop(cx)), []);
        let (verdict, _) = come(&mut bench, &mut association, &introduction(200, 9));
        assert_eq!(verdict, Err(RefuseReason::Stopping));
        if answered {
            let effects = answer(&mut bench, &mut association, &preface, |offer| {
                (offer.link, offer.received_to) = (hello.offer.link, Some(end));
            });
            let bye = Effect::Bye {
                conn: NEXT,
                reason: ByeReason::Stopping,
            };
            assert!(resumed(&effects).is_some() && effects.contains(&bye));
            let reason = CloseReason::PeerClosed;
            bench.call(|_, cx| association.handle_closed(cx, NEXT, reason));
        } else {
            bench.now = bench.now + STOP_TIMEOUT;
            let effects = bench.call(|_, cx| association.handle_timeout(cx));
            assert_eq!(downs(&effects), [CloseReason::Stopping]);
            assert_eq!(effects.last(), Some(&Effect::Stopped));
        }
        assert_eq!(association.status(), Status::Stopped);
    }
    // With nothing to say it is over.
    let mut bench = Bench::new();
    let (mut association, ..) = dialling_again(&mut bench);
    let effects = bench.call(|_, cx| association.handle_stop(cx));
    assert_eq!(downs(&effects), [CloseReason::Stopping]);
    assert_eq!(effects.last(), Some(&Effect::Stopped));
}
