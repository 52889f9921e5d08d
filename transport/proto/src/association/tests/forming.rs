//! Links before their first connection.

use super::*;
use crate::link::{SendHead, Target};
use crate::message::{MessageId, MessageType};
use crate::slab_pool::SlabPool;

fn uid(number: u64) -> Uid {
    Uid::new(number).unwrap()
}

fn over(peer: u64, reason: CloseReason) -> Effect {
    let peer = local("there", peer).id;
    Effect::FormingOver { peer, reason }
}

/// An association that was asked for a link with process start 200, and dials.
fn forming(bench: &mut Bench) -> Association {
    let mut association = Association::new(local("there", 200).id.address);
    let effects = bench.call(|_, cx| association.handle_form_wanted(cx, uid(200)));
    assert!(matches!(effects[..], [Effect::Dial { .. }]), "{effects:?}");
    association
}

/// The dial under way finds nobody. Gives back when the next one follows.
fn miss(bench: &mut Bench, association: &mut Association, conn: u64) -> Vec<Effect> {
    let conn = ConnKey(conn);
    bench.call(|_, cx| association.handle_dialling(cx, conn));
    bench.call(|_, cx| association.handle_closed(cx, conn, CloseReason::DialRefused))
}

/// The dial under way is answered by these bytes.
fn answered(
    bench: &mut Bench,
    association: &mut Association,
    answer: impl FnOnce(&Bench, &Preface) -> Vec<u8>,
) -> Vec<Effect> {
    let conn = ConnKey(9);
    bench.call(|_, cx| association.handle_dialling(cx, conn));
    let effects = bench.call(|_, cx| association.handle_connected(cx, conn));
    let [Effect::Write { bytes, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    let preface = Preface::parse(bytes[..PREFACE_BYTES].try_into().unwrap()).unwrap();
    assert_eq!(preface.expected_uid, Some(uid(200)));
    let bytes = answer(bench, &preface);
    bench.call(|_, cx| association.handle_frame(cx, conn, &frame(&bytes)))
}

#[test]
fn one_over_the_longest_pause_a_link_that_forms_is_dialled_until_its_process_start_answers() {
    let mut bench = Bench::new();
    let mut association = forming(&mut bench);
    assert!(!association.may_form(uid(200)), "once");
    for conn in 1..9 {
        let effects = miss(&mut bench, &mut association, conn);
        let next = association.poll_timeout().expect("it is dialled again");
        assert!(next - bench.now <= FORMING_PAUSE_MAX, "{effects:?}");
        bench.now = next;
        let effects = bench.call(|_, cx| association.handle_timeout(cx));
        assert!(matches!(effects[..], [Effect::Dial { .. }]), "{effects:?}");
    }
    let effects = answered(&mut bench, &mut association, |bench, preface| {
        bench.answer(200, preface.nonce)
    });
    assert!(matches!(effects[..], [Effect::LinkUp(_)]), "{effects:?}");
    assert_eq!(association.poll_timeout(), None, "its time is over");
}

#[test]
fn one_over_the_dial_timeout_it_is_given_up_and_the_peer_is_out_of_reach_until_it_answers() {
    let mut bench = Bench::new();
    let mut association = forming(&mut bench);
    miss(&mut bench, &mut association, 1);
    let end = bench.now + DIAL_TIMEOUT;
    bench.now = bench.now + (DIAL_TIMEOUT - TICK);
    // A dial is due; nobody answers that either.
    bench.call(|_, cx| association.handle_timeout(cx));
    bench.call(|_, cx| association.handle_dialling(cx, ConnKey(2)));
    assert!(!association.is_out_of_reach());
    bench.now = end;
    let effects = bench.call(|_, cx| association.handle_timeout(cx));
    assert_eq!(effects, [over(200, CloseReason::DialTimeout)]);
    assert!(association.is_out_of_reach() && !association.may_form(uid(200)));
    assert_eq!(association.status(), Status::Dialling, "it goes on");
    let reason = CloseReason::DialFailed;
    bench.call(|_, cx| association.handle_closed(cx, ConnKey(2), reason));
    assert_eq!(association.status(), Status::BackOff);
    bench.call(|_, cx| {
        association
            .handle_incoming(cx, &introduction(200, 3))
            .unwrap()
    });
    assert_eq!(association.status(), Status::Associated(uid(200)));
    assert!(!association.is_out_of_reach());
}

#[test]
fn it_ends_with_its_process_start_alone() {
    let mut bench = Bench::new();
    let mut association = forming(&mut bench);
    let conn = ConnKey(1);
    bench.call(|_, cx| association.handle_dialling(cx, conn));
    let bye = CloseReason::Bye;
    let another = bench.call(|_, cx| association.handle_start_over(cx, uid(300), bye));
    assert_eq!((another, association.status()), (vec![], Status::Dialling));
    let effects = bench.call(|_, cx| association.handle_start_over(cx, uid(200), bye));
    assert_eq!(
        effects,
        [over(200, bye), Effect::Close { conn, reason: bye }]
    );
    assert_eq!(association.status(), Status::Idle, "nobody dials it");
    let again = bench.call(|_, cx| association.handle_start_over(cx, uid(200), bye));
    assert_eq!(again, []);
}

#[test]
fn another_process_start_that_answers_ends_it() {
    // It refuses a dial that expects another, and is dialled anew for itself.
    let mut bench = Bench::new();
    let mut association = forming(&mut bench);
    let effects = answered(&mut bench, &mut association, |_, _| {
        refusal(RefuseReason::Incarnation)
    });
    let [Effect::Close { .. }, end, Effect::Dial { .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(*end, over(200, CloseReason::Restarted));
    assert!(association.is_over(uid(200)), "later sends fail at once");
    // Or it dials by itself.
    let mut association = forming(&mut bench);
    miss(&mut bench, &mut association, 1);
    let effects = bench.call(|_, cx| {
        let incoming = introduction(300, 4);
        association.handle_incoming(cx, &incoming).unwrap();
    });
    let [Effect::Write { .. }, end, Effect::LinkUp(up)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(*end, over(200, CloseReason::Restarted));
    assert_eq!(up.peer.uid, uid(300));
}

#[test]
fn a_refusal_for_good_ends_it_and_others_do_not() {
    for (reason, ends) in [
        (RefuseReason::Cluster, true),
        (RefuseReason::Stopping, true),
        (RefuseReason::Overloaded, false),
        (RefuseReason::Superseded, false),
    ] {
        let mut bench = Bench::new();
        let mut association = forming(&mut bench);
        let effects = answered(&mut bench, &mut association, |_, _| refusal(reason));
        let end = over(200, CloseReason::Refused(reason));
        assert_eq!(effects.contains(&end), ends, "{effects:?}");
        assert_eq!(association.is_out_of_reach(), reason.is_permanent());
    }
}

#[test]
fn of_two_that_form_towards_each_other_both_become_the_one_link() {
    let mut bench = Bench::new();
    // The peer has the lower uid: its dial goes first, and this side's is refused.
    let mut association = Association::new(local("there", 50).id.address);
    bench.call(|_, cx| association.handle_form_wanted(cx, uid(50)));
    bench.call(|_, cx| association.handle_dialling(cx, ConnKey(1)));
    bench.call(|_, cx| association.handle_connected(cx, ConnKey(1)));
    let effects = bench.call(|_, cx| {
        let incoming = introduction(50, 2);
        association.handle_incoming(cx, &incoming).unwrap();
    });
    let ends = [ConnKey(1), ConnKey(2)];
    let [
        Effect::Close { conn, .. },
        Effect::Write { .. },
        Effect::LinkUp(up),
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!([*conn, up.conn], ends, "nothing was given up");
}

#[test]
fn it_gives_way_to_another_peer_and_may_begin_again() {
    let mut bench = Bench::new();
    let mut association = forming(&mut bench);
    miss(&mut bench, &mut association, 1);
    let reason = CloseReason::Overloaded;
    let effects = bench.call(|_, cx| association.handle_link_fault(cx, reason));
    assert_eq!(effects, [over(200, reason)]);
    assert_eq!(association.status(), Status::Idle);
    assert!(association.may_form(uid(200)));
}

#[test]
fn a_stop_waits_for_it_as_long_as_something_waits() {
    for has_more in [false, true] {
        let mut bench = Bench::new();
        let mut association = forming(&mut bench);
        miss(&mut bench, &mut association, 1);
        let mut outbound = Outbound::forming(WINDOW_BYTES);
        if has_more {
            let mut slabs = SlabPool::new(1 << 20, CAP);
            let message = &MessageType {
                id: MessageId::from_u64(1),
                version: 1,
                fingerprint: 9,
            };
            let target = Target {
                slot: 1,
                generation: 1,
            };
            let head = SendHead::Tell { message, target };
            outbound.push(&mut slabs, head, &[1; 8][..]).unwrap();
        }
        bench.halves = Some((outbound, Inbound::new(WINDOW_BYTES)));
        let effects = bench.call(|_, cx| association.handle_stop(cx));
        let end = [over(200, CloseReason::Stopping), Effect::Stopped];
        if !has_more {
            assert_eq!(effects, end);
            continue;
        }
        assert!(matches!(effects[..], [Effect::Dial { .. }]), "{effects:?}");
        assert_eq!(association.status(), Status::Stopping);
        bench.now = bench.now + STOP_TIMEOUT;
        let effects = bench.call(|_, cx| association.handle_timeout(cx));
        assert_eq!(effects, end);
    }
}

#[test]
fn a_stop_says_goodbye_behind_what_waited() {
    let mut bench = Bench::new();
    let mut association = forming(&mut bench);
    association.stop_by = Some(bench.now + STOP_TIMEOUT);
    let effects = answered(&mut bench, &mut association, |bench, preface| {
        bench.answer(200, preface.nonce)
    });
    let [Effect::LinkUp(_), Effect::Bye { .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(association.status(), Status::Stopping);
}
