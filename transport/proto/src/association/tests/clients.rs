//! Clients: they make links, and nobody makes any with them.

use super::resuming::{come, dialling_again};
use super::*;

/// The machines of a client.
fn client() -> Bench {
    let mut bench = Bench::new();
    bench.local.role = Role::Client;
    bench
}

#[test]
fn a_client_dials_as_one() {
    let (_, preface) = client().handshaking();
    assert_eq!(preface.role, Role::Client);
    let (_, preface) = Bench::new().handshaking();
    assert_eq!(preface.role, Role::Node);
}

#[test]
fn nobody_makes_a_link_with_a_client_whatever_it_does_itself() {
    let refused = Err(RefuseReason::Role);
    let mut bench = client();
    let mut idle = Association::new(local("there", 200).id.address);
    let (verdict, effects) = come(&mut bench, &mut idle, &introduction(200, 9));
    assert_eq!((verdict, effects), (refused, vec![]));
    assert_eq!(idle.status(), Status::Idle);
    // Of two dials at once its own goes on, also where the uids say otherwise.
    let mut bench = client();
    let (mut dialling, _) = bench.handshaking();
    for uid in [50, 200] {
        let (verdict, effects) = come(&mut bench, &mut dialling, &introduction(uid, 9));
        assert_eq!((verdict, effects), (refused, vec![]), "{uid}");
    }
    assert_eq!(dialling.status(), Status::Dialling);
    // One that says it is a later start of its peer has not even the link probed.
    let mut bench = client();
    let mut associated = bench.associated();
    let (verdict, effects) = come(&mut bench, &mut associated, &introduction(300, 9));
    assert_eq!((verdict, effects), (refused, vec![]));
}

#[test]
fn a_client_is_dialled_for_a_link_that_it_made() {
    let mut bench = client();
    let (mut association, _, hello) = dialling_again(&mut bench);
    let mut other = introduction(200, 9);
    let (verdict, _) = come(&mut bench, &mut association, &other);
    assert_eq!(verdict, Err(RefuseReason::Role), "another link");
    other.offer.link = hello.offer.link;
    other.offer.received_to = Some(0);
    // Its own dial, of the lower uid, is under way, and goes first as between any two nodes.
    let (verdict, _) = come(&mut bench, &mut association, &other);
    assert_eq!(verdict, Err(RefuseReason::Superseded));
    let reason = CloseReason::Broken;
    bench.call(|_, cx| association.handle_closed(cx, ConnKey(2), reason));
    let (verdict, effects) = come(&mut bench, &mut association, &other);
    assert_eq!(verdict, Ok(()));
    let resumed = |effect: &Effect| matches!(effect, Effect::LinkResumed { .. });
    assert!(effects.iter().any(resumed), "{effects:?}");
}

#[test]
fn a_link_that_a_client_refuses_to_go_on_with_is_over() {
    let mut bench = Bench::new();
    let (mut association, ..) = dialling_again(&mut bench);
    let bytes = refusal(RefuseReason::Role);
    let effects = bench.call(|_, cx| association.handle_frame(cx, ConnKey(2), &frame(&bytes)));
    let reason = CloseReason::Refused(RefuseReason::Role);
    let down =
        |effect: &Effect| matches!(effect, Effect::LinkDown { reason: it, .. } if *it == reason);
    assert!(effects.iter().any(down), "{effects:?}");
}
