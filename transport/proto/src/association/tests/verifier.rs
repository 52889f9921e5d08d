//! Diallers that are asked about: who is let in, and what a forged hello comes to.

use std::net::IpAddr;

use super::*;
use crate::frame::body::{Accept, Hello};
use crate::handshake::{Answer, Begin, Company, Unvouched, Verifier};
use crate::limits::{INQUIRIES_MAX, VERIFY_TIMEOUT};

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// What is asked about the dialler on connection `conn`, on connection 50.
fn asked(bench: &mut Bench, verifier: &mut Verifier, uid: u64, conn: u64) -> (Preface, Hello) {
    let begin = verifier.begin(bench.now, introduction(uid, conn), SOURCE, Company::Allowed);
    assert_eq!(begin, Ok(Begin::Dial));
    assert!(verifier.handle_dialling(ConnKey(conn), ConnKey(50)));
    let effects = bench.call(|_, cx| verifier.handle_connected(cx, ConnKey(50)));
    let [Effect::Write { conn, bytes }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(*conn, ConnKey(50));
    let (preface, hello) = bytes.split_at(PREFACE_BYTES);
    (
        Preface::parse(preface.try_into().unwrap()).unwrap(),
        Hello::parse(&frame(hello)).unwrap(),
    )
}

/// An answer of the node `there` of this uid.
fn answer(
    bench: &mut Bench,
    verifier: &mut Verifier,
    bytes: &[u8],
) -> (Option<Answer>, CloseReason) {
    let mut answer = None;
    let effects = bench.call(|_, cx| {
        answer = verifier.handle_frame(cx, ConnKey(50), &frame(bytes));
    });
    let [Effect::Close { conn, reason }] = effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(conn, ConnKey(50), "the connection that asked is over");
    (answer, reason)
}

/// A dialler that nobody vouches for.
fn unvouched(uid: u64, conn: u64, reason: RefuseReason) -> Option<Unvouched> {
    let introduction = introduction(uid, conn);
    Some(Unvouched {
        introduction,
        reason,
    })
}

#[test]
fn a_dialler_that_its_address_vouches_for_is_let_in() {
    let mut bench = Bench::new();
    let mut verifier = Verifier::default();
    let (preface, hello) = asked(&mut bench, &mut verifier, 200, 7);
    assert_eq!(preface.role, Role::Inquirer);
    assert_eq!((preface.nonce, preface.expected_uid), (5, Uid::new(200)));
    assert_eq!(preface.wanted_core, Some(CoreId(0)));
    assert_eq!(hello.from, bench.local.id.address);
    assert_eq!(hello.to, local("there", 200).id.address);
    let vouch = bench.answer(200, 5);
    let (answer, reason) = answer(&mut bench, &mut verifier, &vouch);
    assert_eq!(answer, Some(Answer::Vouched(introduction(200, 7))));
    assert_eq!(reason, CloseReason::Vouched);
    assert!(!verifier.is_waiting(ConnKey(7)) && !verifier.is_dial(ConnKey(50)));
    assert_eq!(verifier.poll_timeout(), None);
}

#[test]
fn a_forged_hello_is_not_vouched_for() {
    let mut bench = Bench::new();
    let refused = |reason| {
        (
            refusal(reason),
            CloseReason::Refused(RefuseReason::Unproven),
        )
    };
    // Another nonce, another process start, no word of it, and a refusal.
    let answers = [
        (bench.answer(200, 6), CloseReason::Answer),
        (bench.answer(201, 5), CloseReason::Answer),
        refused(RefuseReason::Unproven),
        refused(RefuseReason::Former),
        refused(RefuseReason::AddressInUse),
    ];
    for (bytes, why) in answers {
        let mut verifier = Verifier::default();
        asked(&mut bench, &mut verifier, 200, 7);
        let (answer, reason) = answer(&mut bench, &mut verifier, &bytes);
        assert_eq!(answer, Some(Answer::Denied(ConnKey(7))));
        assert_eq!(reason, why);
        // Another place of the address may be asked, and then nobody else.
        assert!(verifier.is_waiting(ConnKey(7)));
        let given_up = verifier.give_up(ConnKey(7));
        assert_eq!(given_up, unvouched(200, 7, RefuseReason::Unproven));
        assert!(!verifier.is_waiting(ConnKey(7)));
    }
}

#[test]
fn a_dialler_at_whose_address_another_process_answers_is_to_be_told_so() {
    // Whatever the other places of the address say, unless one vouches.
    for (last, in_time) in [(true, true), (false, true), (true, false)] {
        let mut bench = Bench::new();
        let mut verifier = Verifier::default();
        asked(&mut bench, &mut verifier, 200, 7);
        let (other, silent) = (RefuseReason::Incarnation, RefuseReason::Unproven);
        for reason in if last {
            [silent, other]
        } else {
            [other, silent]
        } {
            assert!(verifier.handle_dialling(ConnKey(7), ConnKey(50)));
            let (answer, _) = answer(&mut bench, &mut verifier, &refusal(reason));
            assert_eq!(answer, Some(Answer::Denied(ConnKey(7))));
        }
        let mut told = None;
        if in_time {
            told = verifier.give_up(ConnKey(7));
        } else {
            bench.now = bench.now + VERIFY_TIMEOUT;
            bench.call(|_, cx| told = verifier.handle_timeout(cx));
        }
        assert_eq!(told, unvouched(200, 7, RefuseReason::AddressInUse));
    }
    let mut bench = Bench::new();
    let mut verifier = Verifier::default();
    asked(&mut bench, &mut verifier, 200, 7);
    let other = refusal(RefuseReason::Incarnation);
    let (denied, reason) = answer(&mut bench, &mut verifier, &other);
    assert_eq!(denied, Some(Answer::Denied(ConnKey(7))));
    assert_eq!(reason, CloseReason::Refused(RefuseReason::Incarnation));
    assert!(verifier.handle_dialling(ConnKey(7), ConnKey(50)));
    let vouch = bench.answer(200, 5);
    let (vouched, _) = answer(&mut bench, &mut verifier, &vouch);
    assert_eq!(vouched, Some(Answer::Vouched(introduction(200, 7))));
}

#[test]
fn the_refusal_for_an_address_in_use_is_a_failed_dial_that_may_be_repeated() {
    let mut bench = Bench::new();
    let (mut association, _) = bench.handshaking();
    let refused = refusal(RefuseReason::AddressInUse);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &frame(&refused)));
    let told = CloseReason::Refused(RefuseReason::AddressInUse);
    let is_told =
        |effect: &Effect| matches!(effect, Effect::Unreachable { reason, .. } if *reason == told);
    assert!(effects.iter().any(is_told), "{effects:?}");
    assert!(!RefuseReason::AddressInUse.is_permanent());
    assert_eq!(association.status(), Status::BackOff);
}

#[test]
fn only_a_dial_that_is_under_way_is_vouched_for() {
    let mut bench = Bench::new();
    let (mut association, preface) = bench.handshaking();
    assert!(association.vouches_for(preface.nonce));
    assert!(!association.vouches_for(preface.nonce ^ 1));
    let accept = bench.answer(200, preface.nonce);
    bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &frame(&accept)));
    assert!(!association.vouches_for(preface.nonce), "it is done");
}

#[test]
fn an_inquiry_is_an_introduction_that_wants_no_link_and_is_answered() {
    let mut bench = Bench::new();
    // What `there` asks about a dial of `here`.
    let mut asking = Bench::new();
    asking.local = local("there", 200);
    let mut verifier = Verifier::default();
    let begin = verifier.begin(asking.now, introduction(100, 3), SOURCE, Company::Allowed);
    assert_eq!(begin, Ok(Begin::Dial));
    assert!(verifier.handle_dialling(ConnKey(3), ConnKey(50)));
    let effects = asking.call(|_, cx| verifier.handle_connected(cx, ConnKey(50)));
    let [Effect::Write { bytes, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    let (preface, hello) = bytes.split_at(PREFACE_BYTES);
    let preface = preface.try_into().unwrap();
    let mut inquiry = None;
    let effects = bench.call(|acceptor, cx| {
        acceptor.handle_accepted(cx, ConnKey(8));
        acceptor.handle_preface(cx, ConnKey(8), preface);
        inquiry = acceptor.handle_frame(cx, ConnKey(8), &frame(hello));
    });
    assert_eq!(effects, []);
    let inquiry = inquiry.expect("a good one");
    assert!(inquiry.is_inquiry());
    assert_eq!((inquiry.nonce, &inquiry.peer), (5, &asking.local.id));
    let effects = bench.call(|acceptor, cx| acceptor.vouch(cx, &inquiry));
    let [Effect::Write { bytes, .. }, Effect::Close { reason, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(*reason, CloseReason::Vouched);
    let accept = Accept::parse(&frame(bytes)).unwrap();
    assert_eq!((accept.nonce, accept.uid), (5, Uid::new(100).unwrap()));
    // And that answer is what the other side waits for.
    let (answer, _) = answer(&mut asking, &mut verifier, bytes);
    assert!(matches!(answer, Some(Answer::Vouched(_))), "{answer:?}");
}

#[test]
fn silence_of_one_over_the_verify_timeout_is_no_vouch() {
    let mut bench = Bench::new();
    let mut verifier = Verifier::default();
    asked(&mut bench, &mut verifier, 200, 7);
    assert_eq!(verifier.poll_timeout(), Some(bench.now + VERIFY_TIMEOUT));
    let mut overdue = None;
    bench.now = at(0) + (VERIFY_TIMEOUT - TICK);
    bench.call(|_, cx| overdue = verifier.handle_timeout(cx));
    assert_eq!(overdue, None);
    bench.now = at(0) + VERIFY_TIMEOUT;
    let effects = bench.call(|_, cx| overdue = verifier.handle_timeout(cx));
    assert_eq!(overdue, unvouched(200, 7, RefuseReason::Unproven));
    let reason = CloseReason::HandshakeTimeout;
    let conn = ConnKey(50);
    assert_eq!(effects, [Effect::Close { conn, reason }]);
    assert!(!verifier.is_waiting(ConnKey(7)) && !verifier.is_dial(conn));
}

#[test]
fn one_over_the_inquiries_max_is_refused() {
    let mut verifier = Verifier::default();
    let count = INQUIRIES_MAX as u64;
    for number in 0..count {
        let begin = verifier.begin(
            at(0),
            introduction(200 + number, number),
            SOURCE,
            Company::Allowed,
        );
        assert_eq!(begin, Ok(Begin::Dial));
    }
    let over = introduction(200 + count, count);
    let begin = verifier.begin(at(0), over.clone(), SOURCE, Company::Allowed);
    assert_eq!(begin, Err(RefuseReason::Overloaded));
    verifier.give_up(ConnKey(0)).expect("it waits");
    assert_eq!(
        verifier.begin(at(0), over, SOURCE, Company::Allowed),
        Ok(Begin::Dial)
    );
}

#[test]
fn what_is_asked_about_already_waits_behind_and_is_judged_with_it() {
    let mut bench = Bench::new();
    let mut verifier = Verifier::default();
    asked(&mut bench, &mut verifier, 200, 7);
    let begin = verifier.begin(bench.now, introduction(200, 8), SOURCE, Company::Allowed);
    assert_eq!(begin, Ok(Begin::Wait));
    // One that must not depend on the verdict on another.
    let begin = verifier.begin(bench.now, introduction(200, 11), SOURCE, Company::Avoided);
    assert_eq!(begin, Ok(Begin::Dial));
    // From elsewhere, or another process start: a question of its own.
    let elsewhere = IpAddr::from([127, 0, 0, 2]);
    let begin = verifier.begin(bench.now, introduction(200, 9), elsewhere, Company::Allowed);
    assert_eq!(begin, Ok(Begin::Dial));
    let begin = verifier.begin(bench.now, introduction(201, 10), SOURCE, Company::Allowed);
    assert_eq!(begin, Ok(Begin::Dial));
    let followers = verifier.take_followers(&introduction(200, 7).peer);
    assert_eq!(followers, [introduction(200, 8)]);
    assert!(verifier.is_waiting(ConnKey(7)));
}

#[test]
fn a_dialler_that_leaves_is_not_asked_about_any_longer() {
    let mut bench = Bench::new();
    let mut verifier = Verifier::default();
    asked(&mut bench, &mut verifier, 200, 7);
    let mut gone = None;
    let effects = bench.call(|_, cx| gone = verifier.handle_closed(cx, ConnKey(7)));
    assert_eq!(gone, Some(introduction(200, 7)));
    assert!(
        matches!(
            effects[..],
            [Effect::Close {
                conn: ConnKey(50),
                ..
            }]
        ),
        "{effects:?}"
    );
    assert!(
        !verifier.handle_dialling(ConnKey(7), ConnKey(51)),
        "nobody wants that"
    );
    assert_eq!(verifier.handle_dial_over(ConnKey(50)), None);
}
