//! On other nodes.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::Poll;
use std::time::Duration;

use ringmesh::{CoreId, Placement, SpawnAtError, Supervision};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::pupil::pupil;

use super::{boss, hire, holdings, lesson, school, tell, until_holds, until_total};

#[test]
fn an_actor_is_made_on_another_node_by_one_question_and_spread_over_its_cores() {
    let (here, there) = (LiveNode::start(), school(2));
    let (teacher, _) = boss(&here, Supervision::Stop);
    let elsewhere = Placement::node(there.address().clone());
    // The first makes the link.
    hire(&here, teacher, pupil("first").at(elsewhere.clone())).expect("room");
    let before = here.counters();
    let named = pupil("abc").named("one").at(elsewhere.clone());
    let child = hire(&here, teacher, named).expect("room");
    let after = here.counters();
    assert_eq!(after.sent - before.sent, 1, "one question");
    assert_eq!(after.received - before.received, 1, "one answer");
    assert_eq!(child.id().uid, there.id().uid);
    assert_eq!(lesson(&here, child, "word").0, "abc");
    let path = lesson(&here, child, "path").0;
    let origin = here.address().to_string().replace("ringmesh://", "");
    let beginning = there.path(&format!("remote/{origin}/"));
    assert!(path.starts_with(&beginning), "{path}");
    assert!(path.contains("/one#"), "{path}");
    // Whoever knows the path finds it there.
    let found = here.run(move |node| async move { node.resolve(&path).await });
    assert_eq!(found.expect("it is there"), child);
    let cores = ["a", "b", "c"].map(|word| {
        let child = hire(&here, teacher, pupil(word).at(elsewhere.clone())).expect("room");
        child.id().core
    });
    assert_eq!(cores, [0, 1, 0].map(CoreId));
    let wanted = Placement::node(there.address().clone()).on_core(CoreId(0));
    for _ in 0..2 {
        let child = hire(&here, teacher, pupil("core").at(wanted.clone())).expect("room");
        assert_eq!(lesson(&here, child, "core").0, "0");
    }
    until_total(&there, |books| books.spawned_for_others, 7);
    assert_closed(&here.counters());
    assert_closed(&there.counters());
}

#[test]
fn a_child_elsewhere_begins_anew_there_with_its_arguments() {
    let (here, there) = (LiveNode::start(), school(2));
    let (teacher, _) = boss(&here, Supervision::Stop);
    let elsewhere = Placement::node(there.address().clone());
    let restart = Supervision::restart();
    let child = hire(
        &here,
        teacher,
        pupil("abc").supervised(restart).at(elsewhere),
    );
    let child = child.expect("room");
    assert_eq!(lesson(&here, child, "word"), ("abc".to_owned(), 1));
    tell(&here, child, "fail");
    until_total(&there, |books| books.restarts, 1);
    assert_eq!(lesson(&here, child, "word"), ("abc".to_owned(), 1));
    assert_eq!(here.counters().failures, 0, "it is dealt with there");
}

#[test]
fn what_comes_too_late_and_what_nobody_waits_for_is_stopped() {
    let (here, there) = (LiveNode::start(), school(1));
    let (teacher, _) = boss(&here, Supervision::Stop);
    let elsewhere = Placement::node(there.address().clone());
    let before = (holdings(&here), holdings(&there));
    let refused = pupil("refuse, and make the link").at(elsewhere.clone());
    hire(&here, teacher, refused).expect_err("its word");
    until_holds(&there, before.1);
    for round in 0..2_u64 {
        let (release, held) = channel::<()>();
        let (begun, begin) = channel();
        let blocked = there.begin(move |_| async move {
            let _ = begun.send(());
            // Its core does nothing else meanwhile.
            held.recv_timeout(WAIT).is_err()
        });
        begin.recv().expect("it blocks");
        let late = pupil("late").named("late").at(elsewhere.clone());
        if round == 0 {
            // Time enough for the question to leave, also on a busy host.
            let late = late.within(Duration::from_millis(500));
            let error = hire(&here, teacher, late).expect_err("nobody answers");
            assert!(matches!(error, SpawnAtError::TimedOut { .. }), "{error}");
        } else {
            let sent = here.counters().sent;
            let is_ready = here.run(|node| async move { is_ready(node.spawn_at(late)).await });
            assert!(!is_ready, "it waits, and is dropped");
            assert_eq!(here.counters().sent, sent + 1, "the question was sent");
        }
        drop(release);
        blocked.finish();
        there.until("it is made", move |it| it.spawned_for_others == 1 + round);
        until_holds(&there, before.1);
        until_holds(&here, before.0);
        assert_eq!(there.counters().orphans, 1 + round);
    }
    // The name is free.
    let named = pupil("abc").named("late").at(elsewhere);
    hire(&here, teacher, named).expect("room");
    assert_closed(&here.counters());
}

/// Polls a future once, and drops it.
async fn is_ready(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}
