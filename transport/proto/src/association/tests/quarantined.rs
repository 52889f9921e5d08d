//! What a quarantine ends, from wherever the association stands.

use super::*;

fn uid(value: u64) -> Uid {
    Uid::new(value).unwrap()
}

fn there() -> NodeId {
    local("there", 200).id
}

fn quarantine(bench: &mut Bench, association: &mut Association, by: By) -> Vec<Effect> {
    bench.call(|_, cx| association.handle_quarantined(cx, uid(200), by))
}

fn down(reason: CloseReason) -> Effect {
    Effect::LinkDown {
        conn: ConnKey(1),
        peer: there(),
        reason,
    }
}

fn close(conn: u64, reason: CloseReason) -> Effect {
    let conn = ConnKey(conn);
    Effect::Close { conn, reason }
}

const OURS: CloseReason = CloseReason::Quarantined(By::Us);
const THEIRS: CloseReason = CloseReason::Quarantined(By::Peer);

#[test]
fn a_link_ends_with_a_last_word_and_nobody_dials() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    let other = bench.call(|_, cx| association.handle_quarantined(cx, uid(201), By::Us));
    assert_eq!(other, [], "that start has no link");
    let effects = quarantine(&mut bench, &mut association, By::Us);
    let bye = Effect::Bye {
        conn: ConnKey(1),
        reason: ByeReason::Quarantined,
    };
    assert_eq!(effects, [bye, close(1, OURS), down(OURS)]);
    assert_eq!(association.status(), Status::Idle);
    assert_eq!(association.poll_timeout(), None);
    // Who was told of it elsewhere has nothing to say.
    let mut association = bench.associated();
    let effects = quarantine(&mut bench, &mut association, By::Peer);
    assert_eq!(effects, [close(1, THEIRS), down(THEIRS)]);
    assert_eq!(association.status(), Status::Idle);
}

#[test]
fn a_link_without_a_connection_and_one_that_forms_end_too() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    bench.call(|_, cx| association.handle_closed(cx, ConnKey(1), CloseReason::Broken));
    let effects = quarantine(&mut bench, &mut association, By::Us);
    assert_eq!(effects, [down(OURS)]);
    assert_eq!(association.status(), Status::Idle);
    let mut association = Association::new(there().address);
    bench.call(|_, cx| association.handle_form_wanted(cx, uid(200)));
    let effects = quarantine(&mut bench, &mut association, By::Us);
    let over = Effect::FormingOver {
        peer: there(),
        reason: OURS,
    };
    assert_eq!(effects, [over]);
    assert_eq!(association.status(), Status::Idle);
}

#[test]
fn a_dialler_that_waits_is_refused_and_one_of_another_start_gets_in() {
    for (newcomer, takes_over) in [(200, false), (300, true)] {
        let mut bench = Bench::new();
        let mut association = bench.associated();
        let mut shown = introduction(newcomer, 7);
        if newcomer == 200 {
            // It means the link, and has not dialled its connection.
            let kept = association.link.as_ref().expect("a link");
            shown.offer.link = kept.number;
            shown.offer.received_to = Some(0);
        }
        bench.call(|_, cx| {
            let waits = association.handle_incoming(cx, &shown);
            assert_eq!(waits, Ok(()));
        });
        let effects = quarantine(&mut bench, &mut association, By::Us);
        let refused = Effect::Refuse {
            conn: ConnKey(7),
            reason: RefuseReason::Quarantined,
        };
        assert_eq!(effects.contains(&refused), !takes_over, "{effects:?}");
        assert!(effects.contains(&down(OURS)), "{effects:?}");
        let stands = match takes_over {
            true => Status::Associated(uid(300)),
            false => Status::Idle,
        };
        assert_eq!(association.status(), stands);
    }
}

#[test]
fn whoever_is_told_ends_its_side_and_waits_until_it_is_asked_again() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    let bytes = quarantine_bye();
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(1), &frame(&bytes)));
    let told = || Effect::QuarantinedByPeer { peer: there() };
    assert_eq!(effects, [told(), close(1, THEIRS), down(THEIRS)]);
    assert_eq!(association.status(), Status::Idle);
    assert!(!association.is_over(uid(200)), "that start runs");
    // Asked again it dials the start that it knows, and hears the same.
    bench.call(|_, cx| association.handle_dial_wanted(cx));
    bench.call(|_, cx| association.handle_dialling(cx, ConnKey(2)));
    bench.call(|_, cx| association.handle_connected(cx, ConnKey(2)));
    let bytes = refusal(RefuseReason::Quarantined);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(2), &frame(&bytes)));
    let reason = CloseReason::Refused(RefuseReason::Quarantined);
    assert_eq!(effects[..2], [close(2, reason), told()]);
    assert!(matches!(effects[2..], [Effect::Unreachable { .. }]));
    assert_eq!(association.status(), Status::Idle);
    // It quarantines nobody itself.
    bench.call(|_, cx| {
        let let_in = association.handle_incoming(cx, &introduction(200, 3));
        assert_eq!(let_in, Ok(()));
    });
    assert_eq!(association.status(), Status::Associated(uid(200)));
}

#[test]
fn a_refusal_for_it_ends_a_link_that_waits_and_what_waits_for_one() {
    let mut bench = Bench::new();
    let mut association = bench.associated();
    bench.call(|_, cx| association.handle_closed(cx, ConnKey(1), CloseReason::Broken));
    bench.now = at(1000);
    bench.call(|_, cx| association.handle_timeout(cx));
    bench.call(|_, cx| association.handle_dialling(cx, ConnKey(2)));
    bench.call(|_, cx| association.handle_connected(cx, ConnKey(2)));
    let bytes = refusal(RefuseReason::Quarantined);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(2), &frame(&bytes)));
    assert!(effects.contains(&down(THEIRS)), "{effects:?}");
    assert_eq!(association.status(), Status::Idle);
    assert_eq!(association.poll_timeout(), None);
}

#[test]
fn an_answer_of_a_quarantined_start_is_answered_with_a_last_word() {
    let mut bench = Bench::new();
    let (mut association, _) = bench.handshaking();
    let stray = bench.call(|_, cx| association.handle_quarantined_answer(cx, ConnKey(9)));
    assert_eq!(stray, []);
    let effects = bench.call(|_, cx| association.handle_quarantined_answer(cx, ConnKey(1)));
    let [write, closed, Effect::Unreachable { reason, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    let bytes = quarantine_bye();
    let conn = ConnKey(1);
    assert_eq!(*write, Effect::Write { conn, bytes });
    assert_eq!((closed, *reason), (&close(1, OURS), OURS));
    assert_eq!(association.status(), Status::Idle);
}
