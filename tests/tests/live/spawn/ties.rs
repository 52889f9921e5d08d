//! Children elsewhere live and end with their parents, and are theirs when they fail.

use std::future::{Future as _, poll_fn};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use ringmesh::{AskError, Ended, Placement, Ref, Supervision};
use ringmesh_tests::live::cores::{books_of, total};
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::process::Process;
use ringmesh_tests::live::pupil::{Lesson, Pupil, PupilApi, pupil};
use ringmesh_tests::live::serving::Serving;

use super::{
    Teacher, TeacherApi, boss, done, hire, holdings, lesson, school, tell, until_holds, until_total,
};

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

/// Within that long a crash is noticed that leaves evidence.
const CRASH_NOTICED: Duration = Duration::from_secs(1);

fn at(node: &LiveNode) -> Placement {
    Placement::node(node.address().clone())
}

/// Waits until a teacher has heard of so many ends.
fn until_heard(node: &LiveNode, teacher: &Teacher, count: usize) {
    let teacher = teacher.clone();
    node.until_so("word of ends", move |_| teacher.heard().len() >= count);
}

fn watch(node: &LiveNode, boss: Ref<TeacherApi>, child: Ref<PupilApi>) {
    done(node, boss, move |_, cx| cx.watch(&child)).expect("room");
}

#[test]
fn children_elsewhere_end_with_their_parent_and_leave_nothing() {
    let (here, there) = (LiveNode::of_cores(2), school(2));
    let before = [&here, &there].map(holdings);
    let (teacher, _) = boss(&here, Supervision::Stop);
    for number in 0..4 {
        let supervision = match number % 2 {
            0 => Supervision::Stop,
            _ => Supervision::Escalate,
        };
        let child = pupil("abc").supervised(supervision).at(at(&there));
        hire(&here, teacher, child).expect("room");
    }
    done(&here, teacher, |_, cx| cx.stop());
    until_holds(&there, before[1]);
    until_holds(&here, before[0]);
    until_total(&there, |books| books.orphans, 4);
}

#[test]
fn the_end_of_a_child_elsewhere_is_heard_once_and_frees_its_name() {
    let (here, there) = (LiveNode::start(), school(2));
    let (teacher, notes) = boss(&here, Supervision::Stop);
    let before = [&here, &there].map(holdings);
    // And what the node of the child holds then: it, a guardian and, if it may escalate, a token;
    // and the watches among these and with the stand-in and the parent.
    let ends = [
        (Supervision::Stop, "stop", Ended::Stopped, (2, 8)),
        (Supervision::Stop, "fail", Ended::Failed, (2, 8)),
        (Supervision::Escalate, "stop", Ended::Stopped, (3, 12)),
    ];
    let mut expected = Vec::new();
    for (supervision, what, why, (actors, watches)) in ends {
        let child = pupil("abc").named("one").supervised(supervision);
        let child = hire(&here, teacher, child.at(at(&there))).expect("room, and a free name");
        watch(&here, teacher, child);
        // Who watches the dead is told that they are gone, and not of what.
        until_holds(&there, (before[1].0 + actors, before[1].1 + watches));
        tell(&here, child, what);
        expected.push((child.id(), why));
        until_heard(&here, &notes, expected.len());
        until_holds(&there, before[1]);
        until_holds(&here, before[0]);
    }
    assert_eq!(notes.heard(), expected);
    assert_eq!(here.counters().failures, 0, "none of them escalates");
    assert_eq!(total(&books_of(&there), |books| books.orphans), 0);
}

#[test]
fn what_escalates_elsewhere_is_a_failure_of_the_parent_once() {
    let (here, there) = (LiveNode::start(), school(2));
    let pause = Duration::from_millis(1);
    let anew = Supervision::restart().pauses(pause, pause).for_ever();
    let (teacher, _) = boss(&here, anew.into());
    let before = [&here, &there].map(holdings);
    let at_once = Supervision::restart()
        .at_most(0, Duration::from_secs(1))
        .then_escalate();
    for round in 1..=20 {
        let supervision = match round % 2 {
            0 => Supervision::Escalate,
            _ => at_once.into(),
        };
        let sibling = pupil("abc").named("sibling").at(at(&there));
        hire(&here, teacher, sibling).expect("the former one's name is free");
        let child = pupil("abc").supervised(supervision).at(at(&there));
        let child = hire(&here, teacher, child).expect("room");
        // It may fail before its ties are heard of over there.
        tell(&here, child, "fail");
        here.until("the parent begins anew", move |it| it.restarts == round);
        until_holds(&there, before[1]);
        until_holds(&here, before[0]);
        assert_eq!(here.counters().failures, round);
    }
}

#[test]
fn parent_and_child_that_die_at_once_leave_nothing() {
    let (here, there) = (LiveNode::start(), school(2));
    let before = [&here, &there].map(holdings);
    for round in 0..20 {
        let (teacher, _) = boss(&here, Supervision::Stop);
        let supervision = match round % 2 {
            0 => Supervision::Stop,
            _ => Supervision::Escalate,
        };
        let child = pupil("abc").supervised(supervision).at(at(&there));
        let child = hire(&here, teacher, child).expect("room");
        let what = ["fail", "stop"][round / 2 % 2];
        done(&here, teacher, move |_, cx| {
            let what = what.to_owned();
            let told = child.try_tell(Lesson { what });
            assert!(told.is_ok(), "the link is there");
            cx.stop();
        });
        until_holds(&there, before[1]);
        until_holds(&here, before[0]);
    }
}

#[test]
fn the_end_of_either_node_in_order_ends_what_is_tied_to_it() {
    let (here, there) = (LiveNode::start(), school(1));
    let (teacher, notes) = boss(&here, Supervision::Stop);
    let before = holdings(&here);
    let child = pupil("abc").named("one").supervised(Supervision::Escalate);
    let child = hire(&here, teacher, child.at(at(&there))).expect("room");
    watch(&here, teacher, child);
    lesson(&here, child, "word");
    there.until("the watches", |books| books.watches_far == 5);
    there.stop();
    until_heard(&here, &notes, 1);
    assert_eq!(notes.heard(), [(child.id(), Ended::NodeLost)]);
    until_holds(&here, before);
    assert_eq!(here.counters().failures, 0, "a lost node is no failure");
    let there = school(1);
    let before = holdings(&there);
    hire(&here, teacher, pupil("abc").named("one").at(at(&there))).expect("room");
    here.stop();
    until_holds(&there, before);
    until_total(&there, |books| books.orphans, 1);
}

#[test]
fn a_node_that_is_gone_when_its_answer_is_read_is_lost_and_no_failure_of_the_parent() {
    let (here, there) = (LiveNode::start(), school(1));
    let (teacher, _) = boss(&here, Supervision::Stop);
    let before = holdings(&here);
    let refused = pupil("refuse, and make the link").at(at(&there));
    hire(&here, teacher, refused).expect_err("its word");
    let received = here.counters().received;
    let child = pupil("abc")
        .supervised(Supervision::Escalate)
        .at(at(&there));
    let (go_on, goes_on) = oneshot::channel::<()>();
    let spawned = done(&here, teacher, move |_, cx| {
        let (said, heard) = oneshot::channel();
        let mut spawning = Box::pin(cx.spawn_at(child));
        let task = async move {
            let asked = poll_fn(|context| Poll::Ready(spawning.as_mut().poll(context)));
            assert!(asked.await.is_pending(), "it waits for the answer");
            goes_on.await.expect("the test goes on");
            let _ = said.send(spawning.await.map(drop));
        };
        cx.node().spawn_task(task).expect("room");
        heard
    });
    here.until("the answer", move |books| books.received > received);
    there.stop();
    here.until("the end of the link", |books| books.links == 0);
    go_on.send(()).expect("it waits");
    let spawned = here.run(|_| async move { spawned.await.expect("it comes to an end") });
    assert_eq!(spawned, Ok(()), "it was made");
    until_holds(&here, before);
    assert_eq!(here.counters().failures, 0);
}

#[test]
fn children_end_when_the_process_of_their_host_stands_still() {
    let here = LiveNode::start_with(|builder| {
        builder.settings(|settings| {
            settings.heartbeat_interval = Duration::from_millis(50);
            settings.heartbeat_pause = Duration::from_millis(500);
        })
    });
    let host = Serving::start(LIVE_NODE, &[]);
    let (teacher, notes) = boss(&here, Supervision::Stop);
    let before = holdings(&here);
    let elsewhere = Placement::node(host.id.address.clone());
    let deploy = || pupil("abc").named("one").supervised(Supervision::Escalate);
    let child = hire(&here, teacher, deploy().at(elsewhere)).expect("room");
    watch(&here, teacher, child);
    // Their watches are there before the answer: one link carries all to it.
    lesson(&here, child, "word");
    here.until("a heartbeat", |books| books.heartbeats > 1);
    host.process.freeze();
    until_heard(&here, &notes, 1);
    assert_eq!(notes.heard(), [(child.id(), Ended::NodeLost)]);
    until_holds(&here, before);
    assert_eq!(here.counters().failures, 0, "a lost node is no failure");
    hire(&here, teacher, deploy()).expect("its name is free");
    host.process.thaw();
    // It lives on there only until its node has heard what happened.
    here.run(move |node| async move {
        let question = || Lesson {
            what: "word".to_owned(),
        };
        while child.ask(question()).await.err() != Some(AskError::NotRunning) {
            node.sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn children_end_when_the_process_of_their_parent_is_killed() {
    let there = LiveNode::start_with(|builder| {
        builder.cores(2).spawnable::<Pupil>().settings(|settings| {
            settings.heartbeat_interval = Duration::from_millis(50);
        })
    });
    let before = holdings(&there);
    let to = there.address().to_string();
    let parent = Process::start(LIVE_NODE, &["parent", &to, "8"]);
    assert_eq!(parent.line(), "spawned 8");
    there.until("the watches", |books| books.watches_far >= 16);
    let since = Instant::now();
    parent.kill();
    until_holds(&there, before);
    let took = since.elapsed();
    println!("ended after {took:?}");
    assert!(took <= CRASH_NOTICED, "{took:?}");
    until_total(&there, |books| books.orphans, 8);
}

#[test]
fn cuts_neither_lose_children_nor_leave_any() {
    let cutters = [0, 1].map(|_| Cutter::start(&Cuts::none()));
    let behind = |cutter: &Cutter| {
        let (bind, port) = (cutter.behind(), cutter.address().port());
        LiveNode::start_with(|builder| {
            let builder = builder.spawnable::<Pupil>().bind(bind);
            builder.advertise("127.0.0.1", port)
        })
    };
    let [here, there] = [&cutters[0], &cutters[1]].map(behind);
    let before = [&here, &there].map(holdings);
    for round in 0..6 {
        let (teacher, _) = boss(&here, Supervision::Stop);
        let child = pupil("abc")
            .supervised(Supervision::Escalate)
            .at(at(&there));
        let child = hire(&here, teacher, child).expect("it comes through");
        cutters.iter().for_each(|cutter| cutter.cut_all(false));
        if round % 2 == 0 {
            tell(&here, child, "fail");
            here.until("the parent fails", move |it| it.failures == round / 2 + 1);
        } else {
            assert_eq!(lesson(&here, child, "word").0, "abc");
            done(&here, teacher, |_, cx| cx.stop());
        }
        until_holds(&there, before[1]);
        until_holds(&here, before[0]);
    }
}
