//! Death watch on one node.

use futures_channel::oneshot;
use ringmesh::{CoreId, Ended, Ref};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::cores::settled;
use ringmesh_tests::live::node::LiveNode;

use super::{
    AtTheGate, Diary, Entry, Fuse, Gate, Line, Member, MemberApi, Moved, Waiter, WaiterApi, Watch,
    act, done, is_ended, member_on,
};

/// Messages of each sort that the dying send.
const LAST_WORDS: u64 = 900;

/// Numbers that begin behind these were sent by value.
fn say_farewell<P>(to: Ref<P>) -> u64
where
    P: ringmesh::Accepts<Line> + ringmesh::AcceptsLocal<Moved>,
{
    let mut said = 0;
    for number in 0..LAST_WORDS {
        said += u64::from(to.try_tell(Line { number }).is_ok());
        said += u64::from(to.try_tell_local(Moved(number)).is_ok());
    }
    said
}

#[test]
fn word_of_an_end_comes_once_and_behind_all_that_the_dead_sent() {
    let node = LiveNode::of_cores(2);
    for (watcher_core, core) in [(0, 0), (0, 1), (1, 0)] {
        let (diary, others) = (Diary::default(), Diary::default());
        let noted = diary.clone();
        let said = node.run(move |node| async move {
            let watcher = member_on(&node, watcher_core, &noted).await;
            let victim = member_on(&node, core, &others).await;
            done(watcher, move |_, cx| cx.watch(&victim).expect("room")).await;
            done(victim, move |_, cx| {
                cx.stop();
                say_farewell(watcher)
            })
            .await
        });
        let entries = diary.until(&node, 1, is_ended);
        assert_eq!(
            entries.len() as u64,
            said + 1,
            "cores {watcher_core} and {core}"
        );
        // The watch goes to another core, and may find that it is over there.
        let last = entries.last().expect("there is one");
        let is_whole = matches!(last, Entry::Ended(_, Ended::Stopped));
        let is_late = core != watcher_core && matches!(last, Entry::Ended(_, Ended::Gone));
        assert!(is_whole || is_late, "{last:?}");
        assert!(said > LAST_WORDS, "most of it was taken: {said}");
    }
    settled(&[&node])
        .iter()
        .for_each(|books| assert_eq!(books.watches, 0));
}

#[test]
fn it_waits_in_the_mailbox_behind_what_waits_there() {
    let node = LiveNode::of_cores(2);
    for core in [0, 1] {
        let (diary, gate) = (Diary::default(), Gate::default());
        let (noted, at) = (diary.clone(), gate.clone());
        let (victim, watcher) = node.run(move |node| async move {
            let waiter = Waiter {
                diary: noted,
                gate: at,
            };
            let watcher: Ref<WaiterApi> = node.spawn(waiter).expect("room");
            let victim = member_on(&node, core, &Diary::default()).await;
            let (said, heard) = oneshot::channel();
            let watch = Watch(victim, said);
            watcher.tell_local(watch).await.map_err(drop).expect("room");
            heard.await.expect("it watches");
            watcher.tell(AtTheGate).await.expect("room");
            (victim, watcher)
        });
        diary.until(&node, 1, |entry| *entry == Entry::Waits);
        let said = node.run(move |_| {
            done(victim, move |_, cx| {
                cx.stop();
                say_farewell(watcher)
            })
        });
        let waiting = move |books: &ringmesh::Counters| books.waiting + books.local_waiting == said;
        node.until("the last words to wait", waiting);
        assert_eq!(diary.entries(), [Entry::Waits]);
        gate.open();
        let entries = diary.until(&node, 1, is_ended);
        assert_eq!(entries.len() as u64, said + 2);
        assert_eq!(
            entries.last(),
            Some(&Entry::Ended(victim.id(), Ended::Stopped))
        );
    }
    settled(&[&node])
        .iter()
        .for_each(|books| assert_eq!(books.watches, 0));
}

#[test]
fn the_dead_are_known_at_once_and_what_was_taken_back_never_comes() {
    let node = LiveNode::of_cores(2);
    for core in [0, 1] {
        let diary = Diary::default();
        let noted = diary.clone();
        let (dead, last) = node.run(move |node| async move {
            let watcher = member_on(&node, 0, &noted).await;
            let silent = Diary::default();
            let dead = member_on(&node, core, &silent).await;
            done(dead, |_, cx| cx.stop()).await;
            let fail = member_on(&node, core, &silent).await;
            let last = member_on(&node, core, &silent).await;
            done(watcher, move |_, cx| {
                cx.watch(&dead).expect("room");
                assert!(cx.unwatch(&dead), "it was watched");
                assert!(!cx.unwatch(&dead), "it was taken back");
                cx.watch(&fail).expect("room");
                cx.watch(&fail).expect("the same again");
                assert!(cx.unwatch(&fail));
                cx.watch(&dead).expect("room");
                cx.watch(&last).expect("room");
            })
            .await;
            act(fail, |_, _| panic!("nobody watches this")).await;
            act(last, |_, _| panic!("somebody watches this")).await;
            (dead, last)
        });
        let entries = diary.until(&node, 2, is_ended);
        let told = [
            Entry::Ended(dead.id(), Ended::Gone),
            Entry::Ended(last.id(), Ended::Failed),
        ];
        assert_eq!(entries, told);
    }
    settled(&[&node])
        .iter()
        .for_each(|books| assert_eq!(books.watches, 0));
}

#[test]
fn those_who_watch_each_other_end_one_after_the_other() {
    let node = LiveNode::of_cores(2);
    let diary = Diary::default();
    let noted = diary.clone();
    let (first, second) = node.run(move |node| async move {
        let first = member_on(&node, 0, &noted).await;
        let second = member_on(&node, 1, &noted).await;
        done(first, move |_, cx| {
            cx.watch(&second).expect("room");
            cx.watch(&cx.me()).expect("room for itself");
        })
        .await;
        done(second, move |_, cx| cx.watch(&first).expect("room")).await;
        done(first, |_, cx| cx.stop()).await;
        (first, second)
    });
    diary.until(&node, 1, is_ended);
    node.run(move |node| async move { node.stop(&second) });
    settled(&[&node])
        .iter()
        .for_each(|books| assert_eq!(books.watches, 0));
    // The second one's watch may have found that it was over.
    let told: Vec<_> = diary.entries().into_iter().filter(is_ended).collect();
    let is_of_first = |entry: &Entry| matches!(entry, Entry::Ended(id, _) if *id == first.id());
    assert!(told.len() == 1 && is_of_first(&told[0]), "{told:?}");
}

#[test]
fn one_that_ends_in_the_turn_it_is_watched_in_is_told_of() {
    let node = LiveNode::start();
    let diary = Diary::default();
    let noted = diary.clone();
    let ended = node.run(move |node| async move {
        let watcher = member_on(&node, 0, &noted).await;
        done(watcher, |_, cx| {
            let silent = Diary::default();
            let victim = cx.node().spawn(Member::new(&silent)).expect("room");
            cx.watch(&victim).expect("room");
            assert!(cx.node().stop(&victim));
            let gone = cx.node().spawn(Member::new(&silent)).expect("room");
            assert!(cx.node().stop(&gone));
            cx.watch(&gone).expect("room");
            [victim.id(), gone.id()]
        })
        .await
    });
    let entries = diary.until(&node, 2, is_ended);
    let told = [Ended::Stopped, Ended::Gone];
    let told = [
        Entry::Ended(ended[0], told[0]),
        Entry::Ended(ended[1], told[1]),
    ];
    assert_eq!(entries, told);
    assert_eq!(node.counters().watches, 0);
}

#[test]
fn an_actor_that_does_not_handle_the_end_of_another_ends_with_it() {
    use ringmesh_tests::live::messages::{Sink, SinkApi};

    let node = LiveNode::start();
    let diary = Diary::default();
    let noted = diary.clone();
    let ended = node.run(move |node| async move {
        let victim: Ref<SinkApi> = node.spawn(Sink::default()).expect("room");
        let dependent = node.spawn(Dependent(victim)).expect("room");
        let mut panicking = Member::new(&Diary::default());
        panicking.fuse = Fuse::End;
        let panicking = node.spawn(panicking).expect("room");
        let watcher = member_on(&node, 0, &noted).await;
        done(panicking, move |_, cx| cx.watch(&victim).expect("room")).await;
        done(watcher, move |_, cx| {
            cx.watch(&dependent).expect("room");
            cx.watch(&panicking).expect("room");
        })
        .await;
        assert!(node.stop(&victim));
        [dependent.id(), panicking.id()]
    });
    let entries = diary.until(&node, 2, is_ended);
    assert!(
        entries.contains(&Entry::Ended(ended[0], Ended::Stopped)),
        "{entries:?}"
    );
    assert!(
        entries.contains(&Entry::Ended(ended[1], Ended::Failed)),
        "{entries:?}"
    );
    let books = node.counters();
    assert_eq!((books.watches, books.panics), (0, 1));
    assert_closed(&books);
}

#[test]
fn a_watch_may_be_told_by_a_message_of_the_watcher_itself() {
    let node = LiveNode::of_cores(2);
    for core in [0, 1] {
        let diary = Diary::default();
        let noted = diary.clone();
        let said = node.run(move |node| async move {
            let watcher = member_on(&node, 0, &noted).await;
            let silent = Diary::default();
            let victim = member_on(&node, core, &silent).await;
            let other = member_on(&node, core, &silent).await;
            done(watcher, move |_, cx| {
                cx.watch(&victim).expect("room");
                let line = |number| Line { number };
                cx.watch_with(&victim, line(1 << 32)).expect("room");
                cx.watch_with(&victim, line(1 << 33))
                    .expect("the last one holds");
                cx.watch_with(&other, line(1 << 34)).expect("room");
                assert!(cx.unwatch(&other));
            })
            .await;
            done(other, |_, cx| cx.stop()).await;
            let said = done(victim, move |_, cx| {
                cx.stop();
                say_farewell(watcher)
            });
            said.await
        });
        let of_the_watch =
            |entry: &Entry| matches!(entry, Entry::Line(number) if *number > 1 << 30);
        let entries = diary.until(&node, 1, of_the_watch);
        assert_eq!(entries.len() as u64, said + 1);
        assert_eq!(entries.last(), Some(&Entry::Line(1 << 33)));
    }
    settled(&[&node])
        .iter()
        .for_each(|books| assert_eq!(books.watches, 0));
}

#[test]
fn watching_and_letting_go_under_load_leaves_nothing_behind() {
    const WATCHERS: usize = 8;
    const ROUNDS: usize = 300;

    let node = LiveNode::of_cores(2);
    let diary = Diary::default();
    let noted = diary.clone();
    node.run(move |node| async move {
        let mut watchers = Vec::new();
        for number in 0..WATCHERS {
            let core = u16::from(number % 2 == 0);
            watchers.push(member_on(&node, core, &noted).await);
        }
        for round in 0..ROUNDS {
            let victim = member_on(&node, u16::from(round % 3 == 0), &Diary::default()).await;
            for (number, watcher) in watchers.iter().enumerate() {
                act(*watcher, move |_, cx| {
                    cx.watch(&victim).expect("room");
                    if (number + round) % 2 == 0 {
                        cx.unwatch(&victim);
                    }
                })
                .await;
            }
            act(victim, |_, cx| cx.stop()).await;
        }
    });
    let entries = diary.until(&node, WATCHERS * ROUNDS / 2, is_ended);
    assert_eq!(entries.len(), WATCHERS * ROUNDS / 2, "each once");
    settled(&[&node])
        .iter()
        .for_each(|books| assert_eq!(books.watches, 0));
}

#[test]
fn a_thousand_watches_end_with_their_watcher() {
    let node = LiveNode::of_cores(2);
    let watcher = node.run(|node| async move {
        let watcher = member_on(&node, 0, &Diary::default()).await;
        for number in 0..1000_u16 {
            let core = CoreId(number % 2);
            let member = || Member::new(&Diary::default());
            let victim = node.spawn_on(core, member).await.expect("room");
            done(watcher, move |_, cx| cx.watch(&victim).expect("room")).await;
        }
        watcher
    });
    let watches = |node: &LiveNode| {
        let books = settled(&[node]);
        books.iter().map(|books| books.watches).sum::<u64>()
    };
    assert_eq!(watches(&node), 2000, "one on either side");
    node.run(move |node| async move { node.stop(&watcher) });
    assert_eq!(watches(&node), 0);
}

/// Watches another and says nothing of it.
struct Dependent(Ref<ringmesh_tests::live::messages::SinkApi>);

impl ringmesh::Actor for Dependent {
    type Api = MemberApi;

    fn started(&mut self, cx: &mut ringmesh::Cx<'_, Self>) {
        cx.watch(&self.0).expect("room");
    }
}

impl ringmesh::Handler<Line> for Dependent {
    fn handle(&mut self, _: ringmesh::Msg<Line>, _: &mut ringmesh::Cx<'_, Self>) {}
}

impl ringmesh::LocalHandler<Moved> for Dependent {
    fn handle(&mut self, _: Moved, _: &mut ringmesh::Cx<'_, Self>) {}
}

impl ringmesh::LocalHandler<super::Act> for Dependent {
    fn handle(&mut self, _: super::Act, _: &mut ringmesh::Cx<'_, Self>) {}
}
