//! Hellos that come while there is a link, forged or not: what lives stays, what is gone makes way.

use super::*;
use crate::limits::PROBE_LATENESS;

const LINK: ConnKey = ConnKey(1);
const NEWCOMER: ConnKey = ConnKey(2);

/// A live link with uid 200 on connection 1, and a dialler on connection 2 that claims to be 201;
/// with the nonce of the ping.
fn doubted(bench: &mut Bench) -> (Association, u64) {
    let mut association = bench.associated();
    let mut verdict = Err(RefuseReason::Other);
    let effects = bench.call(|_, cx| {
        verdict = association.handle_incoming(cx, &introduction(201, NEWCOMER.0));
    });
    assert_eq!(verdict, Ok(()), "it waits");
    let [Effect::Ping { conn: LINK, nonce }] = effects[..] else {
        panic!("{effects:?}");
    };
    (association, nonce)
}

fn pong(bench: &mut Bench, association: &mut Association, nonce: u64) -> Vec<Effect> {
    let mut bytes = vec![0; 64];
    let length = Pong { nonce }.encode(&mut bytes);
    bench.call(|_, cx| association.handle_frame(cx, LINK, &frame(&bytes[..length])))
}

fn uid(number: u64) -> Uid {
    Uid::new(number).unwrap()
}

/// The newcomer has the link now, and the old start is over.
fn assert_succeeded(association: &Association, effects: &[Effect], why: CloseReason) {
    let down = |effect: &Effect| match effect {
        Effect::LinkDown { conn, reason, .. } => (*conn, *reason) == (LINK, why),
        _ => false,
    };
    assert!(effects.iter().any(down), "{effects:?}");
    let [
        ..,
        Effect::Write { conn: NEWCOMER, .. },
        Effect::PeerRestarted { old, new },
        Effect::LinkUp(up),
    ] = effects
    else {
        panic!("{effects:?}");
    };
    assert_eq!((*old, *new), (uid(200), uid(201)));
    assert_eq!((up.conn, up.peer.uid), (NEWCOMER, uid(201)));
    assert_eq!(association.status(), Status::Associated(uid(201)));
    assert!(association.is_over(uid(200)));
    assert_eq!(association.poll_timeout(), None);
}

#[test]
fn a_link_that_another_one_puts_in_doubt_goes_on_if_it_answers() {
    for answers in [true, false] {
        let mut bench = Bench::new();
        let mut association = bench.associated();
        let effects = bench.call(|_, cx| association.handle_doubt(cx));
        let [Effect::Ping { conn: LINK, nonce }] = effects[..] else {
            panic!("{effects:?}");
        };
        let again = bench.call(|_, cx| association.handle_doubt(cx));
        assert_eq!(again, [], "one probe is enough");
        if answers {
            assert_eq!(pong(&mut bench, &mut association, nonce), []);
        }
        bench.now = bench.now + PROBE_TIMEOUT;
        bench.call(|_, cx| association.handle_timeout(cx));
        let lives = association.status() == Status::Associated(uid(200));
        assert_eq!(lives, answers, "{association:?}");
    }
}

#[test]
fn a_forged_hello_cannot_replace_a_live_incarnation() {
    for by_pong in [true, false] {
        let mut bench = Bench::new();
        let (mut association, nonce) = doubted(&mut bench);
        bench.now = at(0) + (PROBE_TIMEOUT - TICK);
        let effects = if by_pong {
            pong(&mut bench, &mut association, nonce)
        } else {
            bench.call(|_, cx| association.handle_heard(cx, LINK))
        };
        let (conn, reason) = (NEWCOMER, RefuseReason::Superseded);
        assert_eq!(effects, [Effect::Refuse { conn, reason }]);
        assert_eq!(association.status(), Status::Associated(uid(200)));
        assert_eq!(association.poll_timeout(), None);
        assert!(!association.is_over(uid(200)) && !association.is_over(uid(201)));
        // A doubt that was answered does not shorten the next one.
        bench.now = at(60_000);
        let mut verdict = Ok(());
        bench.call(|_, cx| verdict = association.handle_incoming(cx, &introduction(201, 3)));
        assert_eq!(verdict, Ok(()));
        assert_eq!(association.poll_timeout(), Some(at(60_000) + PROBE_TIMEOUT));
    }
}

#[test]
fn what_the_newcomer_or_a_stranger_sends_is_no_life_of_the_link() {
    let mut bench = Bench::new();
    let (mut association, nonce) = doubted(&mut bench);
    let heard = bench.call(|_, cx| {
        association.handle_heard(cx, NEWCOMER);
        association.handle_heard(cx, ConnKey(9));
    });
    assert_eq!(heard, []);
    assert_eq!(pong(&mut bench, &mut association, nonce ^ 1), []);
    assert_eq!(association.poll_timeout(), Some(at(0) + PROBE_TIMEOUT));
}

#[test]
fn silence_of_one_over_the_probe_timeout_lets_the_newcomer_in() {
    let mut bench = Bench::new();
    let (mut association, _) = doubted(&mut bench);
    bench.now = at(0) + (PROBE_TIMEOUT - TICK);
    assert_eq!(bench.call(|_, cx| association.handle_timeout(cx)), []);
    bench.now = at(0) + PROBE_TIMEOUT;
    let effects = bench.call(|_, cx| association.handle_timeout(cx));
    let (conn, reason) = (LINK, CloseReason::Restarted);
    assert_eq!(effects[0], Effect::Close { conn, reason });
    assert_succeeded(&association, &effects, reason);
}

#[test]
fn a_link_that_ends_while_in_doubt_lets_the_newcomer_in() {
    type End = fn(&mut Association, &mut Context<'_>);
    let ends: [(CloseReason, End); 3] = [
        (CloseReason::PeerClosed, |association, cx| {
            association.handle_closed(cx, LINK, CloseReason::PeerClosed);
        }),
        (CloseReason::Archive, |association, cx| {
            association.handle_fault(cx, LINK, CloseReason::Archive);
        }),
        (CloseReason::Bye, |association, cx| {
            let mut bytes = vec![0; 64];
            let reason = ByeReason::Stopping;
            let length = Bye { reason }.encode(&mut bytes);
            association.handle_frame(cx, LINK, &frame(&bytes[..length]));
        }),
    ];
    for (why, end) in ends {
        let mut bench = Bench::new();
        let (mut association, _) = doubted(&mut bench);
        bench.now = at(10);
        let effects = bench.call(|_, cx| end(&mut association, cx));
        assert_succeeded(&association, &effects, why);
    }
}

#[test]
fn one_newcomer_waits_and_others_are_refused() {
    let mut bench = Bench::new();
    let (mut association, _) = doubted(&mut bench);
    for uid in [200, 201, 202] {
        let mut verdict = Ok(());
        let other = introduction(uid, 3);
        let effects = bench.call(|_, cx| verdict = association.handle_incoming(cx, &other));
        assert_eq!((verdict, effects), (Err(RefuseReason::Superseded), vec![]));
    }
    // One that gives up makes room, and the link is judged all the same.
    bench.call(|_, cx| association.handle_closed(cx, NEWCOMER, CloseReason::PeerClosed));
    let mut verdict = Ok(());
    bench.call(|_, cx| verdict = association.handle_incoming(cx, &introduction(202, 4)));
    assert_eq!(verdict, Ok(()));
    assert_eq!(association.poll_timeout(), Some(at(0) + PROBE_TIMEOUT));
}

#[test]
fn a_newcomer_that_speaks_before_it_is_let_in_is_closed() {
    let mut bench = Bench::new();
    let (mut association, _) = doubted(&mut bench);
    let mut bytes = vec![0; 64];
    let length = Ping { nonce: 1 }.encode(&mut bytes);
    let ping = frame(&bytes[..length]);
    let effects = bench.call(|_, cx| association.handle_frame(cx, NEWCOMER, &ping));
    let reason = CloseReason::UnexpectedFrame(Kind::Ping);
    let conn = NEWCOMER;
    assert_eq!(effects, [Effect::Close { conn, reason }]);
    assert_eq!(association.status(), Status::Associated(uid(200)));
    // Nobody is left to take the place of a link that stays silent.
    bench.now = at(0) + PROBE_TIMEOUT;
    bench.call(|_, cx| association.handle_timeout(cx));
    assert_eq!(association.status(), Status::Dialling);
    assert!(!association.is_over(uid(200)));
}

#[test]
fn who_is_one_over_the_lateness_of_a_probe_listens_once_more() {
    for (late, is_judged) in [(PROBE_LATENESS, true), (PROBE_LATENESS + TICK, false)] {
        let mut bench = Bench::new();
        let (mut association, _) = doubted(&mut bench);
        bench.now = at(0) + PROBE_TIMEOUT + late;
        let effects = bench.call(|_, cx| association.handle_timeout(cx));
        assert_eq!(!effects.is_empty(), is_judged, "{effects:?}");
        if is_judged {
            continue;
        }
        assert_eq!(association.poll_timeout(), Some(bench.now + PROBE_TIMEOUT));
        // Once: however late it comes again, the newcomer waits no longer.
        bench.now = bench.now + PROBE_TIMEOUT + late;
        let effects = bench.call(|_, cx| association.handle_timeout(cx));
        assert_succeeded(&association, &effects, CloseReason::Restarted);
    }
}

#[test]
fn stop_refuses_who_waits() {
    let mut bench = Bench::new();
    let (mut association, _) = doubted(&mut bench);
    let effects = bench.call(|_, cx| association.handle_stop(cx));
    let (conn, reason) = (NEWCOMER, RefuseReason::Stopping);
    assert_eq!(effects[0], Effect::Refuse { conn, reason });
    assert!(matches!(effects[1..], [Effect::Bye { conn: LINK, .. }]));
}
