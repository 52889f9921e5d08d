//! Receive timeouts.

use std::time::{Duration, Instant};

use ringmesh_tests::live::cores::settled;
use ringmesh_tests::live::node::LiveNode;

use super::{Diary, Entry, Line, Member, Props, Supervision, act, done, member_on};

const SPAN: Duration = Duration::from_millis(80);

fn is_line(entry: &Entry) -> bool {
    matches!(entry, Entry::Line(_))
}

#[test]
fn an_actor_that_hears_nothing_is_told_so_until_it_cancels() {
    let node = LiveNode::start();
    let diary = Diary::default();
    let noted = diary.clone();
    let (member, timer, begun) = node.run(move |node| async move {
        let member = member_on(&node, 0, &noted).await;
        let begun = Instant::now();
        let timer = done(member, |_, cx| {
            let set = cx.receive_timeout(SPAN, Line { number: 1 });
            set.expect("room for a timer")
        });
        let timer = timer.await;
        // It hears something for longer than that.
        while begun.elapsed() < 3 * SPAN {
            done(member, |_, _| ()).await;
            node.sleep(SPAN / 8).await;
        }
        (member, timer, begun)
    });
    assert_eq!(diary.entries(), []);
    diary.until(&node, 2, is_line);
    assert!(begun.elapsed() >= 5 * SPAN, "{:?}", begun.elapsed());
    node.run(move |node| async move {
        assert!(done(member, move |_, cx| cx.cancel(timer)).await);
        let before = node.counters().delivered;
        node.sleep(2 * SPAN).await;
        assert!(
            node.counters().delivered <= before + 1,
            "one may have been on its way"
        );
    });
    settled(&[&node]);
}

#[test]
fn it_ends_when_its_actor_begins_anew() {
    let node = LiveNode::start();
    let diary = Diary::default();
    let noted = diary.clone();
    node.run(move |node| async move {
        let make = move || Member::new(&noted);
        let how = Supervision::restart().pauses(SPAN / 8, SPAN / 8);
        let member = node
            .spawn_props(Props::new(make).supervised(how))
            .expect("room");
        done(member, |_, cx| {
            cx.receive_timeout(SPAN / 4, Line { number: 1 })
                .expect("room for a timer");
        })
        .await;
        act(member, |_, _| panic!("a member")).await;
        done(member, |_, _| ()).await;
        node.sleep(2 * SPAN).await;
    });
    assert_eq!(diary.count(is_line), 0);
}
