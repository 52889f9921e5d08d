//! Actors that are stopped with a deadline: what they finish, and what is cut short.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use ringmesh::{AskError, CoreId, Cx, Ending, Node, Props, Ref, StopError, Stopped, Supervision};
use ringmesh_tests::live::cores::settled;
use ringmesh_tests::live::node::LiveNode;

use super::super::actors::gate::{Gate, Keeper, KeeperApi, Knock, List, pass};
use super::{
    AtTheGate, Bear, Diary, Entry, Line, Member, MemberApi, Scene, Waiter, act, begun, done,
    member_on,
};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

const KNOCK: Knock = Knock {
    number: 0,
    panics: false,
};

/// Has `keeper` knock, and so many passes wait behind that. Says what becomes of the knock.
async fn occupied(
    node: &Node,
    keeper: Ref<KeeperApi>,
    (knock, passes): (Knock, u64),
) -> futures_channel::oneshot::Receiver<Option<AskError>> {
    let (said, heard) = futures_channel::oneshot::channel();
    let delivered = node.counters().delivered;
    let asked = begun(keeper.ask(knock).timeout(HOUR)).await;
    let told = async move {
        let _ = said.send(asked.await.err());
    };
    node.spawn_task(told).expect("room");
    let before = node.counters().waiting;
    for number in 1..=passes {
        keeper.try_tell(pass(number)).expect("room");
    }
    let is_waiting =
        |now: ringmesh::Counters| now.delivered > delivered && now.waiting >= before + passes;
    while !is_waiting(node.counters()) {
        node.sleep(Duration::from_micros(100)).await;
    }
    heard
}

/// A child of `member` that keeps a gate, at which it waits.
async fn keeper_below(node: &Node, member: Ref<MemberApi>, gate: &Gate) -> Ref<KeeperApi> {
    let gate = gate.clone();
    let keeper = done(member, move |_, cx| cx.spawn(Keeper::new(gate))).await;
    let keeper = keeper.expect("room for a child");
    drop(occupied(node, keeper, (KNOCK, 1)).await);
    keeper
}

/// Whether it has not come yet.
async fn is_pending(ending: &mut Ending) -> bool {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *ending).poll(context).is_pending())).await
}

#[test]
fn a_handler_that_waits_ends_before_its_actor_and_what_waits_behind_it_is_dead() {
    let Scene { node, gate, .. } = Scene::play(move |node, _, its| async move {
        let keeper = node.spawn_named("keeper", Keeper::new(its.clone()));
        let keeper = keeper.expect("a free name");
        let knocked = occupied(&node, keeper, (KNOCK, 3)).await;
        let mut ending = node.stop_within(&keeper, HOUR);
        assert!(is_pending(&mut ending).await);
        let taken = node.spawn_named("keeper", Keeper::new(its.clone()));
        assert!(taken.is_err(), "it is there");
        let late = keeper.ask(List).await.map(drop);
        assert_eq!(late, Err(AskError::NotRunning));
        assert_eq!(its.ends(), (0, 0));
        its.open();
        assert_eq!(ending.await, Ok(Stopped::InOrder));
        assert_eq!(knocked.await, Ok(None), "it was answered");
        assert_eq!(node.stop_within(&keeper, HOUR).await, Ok(Stopped::Gone));
        assert!(!node.stop(&keeper));
    });
    assert_eq!((gate.passed(), gate.ends()), (1, (0, 1)));
    assert_eq!(settled(&[&node])[0].dead_no_recipient, 4);
}

#[test]
fn at_the_first_deadline_a_handler_that_waits_is_dropped() {
    let Scene { node, gate, .. } = Scene::play(move |node, _, its| async move {
        let keeper = node.spawn(Keeper::new(its)).expect("room");
        let knocked = occupied(&node, keeper, (KNOCK, 0)).await;
        let patient = node.drain_within(&keeper, HOUR);
        let first = node.stop_within(&keeper, SOON);
        let second = node.stop_within(&keeper, HOUR);
        drop(node.stop_within(&keeper, HOUR));
        for ending in [first, second, patient] {
            assert_eq!(ending.await, Ok(Stopped::CutShort));
        }
        assert_eq!(knocked.await, Ok(Some(AskError::Failed)));
        // Whoever stops at once cuts short too.
        let again = Gate::default();
        let keeper = node.spawn(Keeper::new(again.clone())).expect("room");
        drop(occupied(&node, keeper, (KNOCK, 0)).await);
        let ending = node.stop_within(&keeper, HOUR);
        node.stop(&keeper);
        assert_eq!(ending.await, Ok(Stopped::CutShort));
        assert_eq!(again.ends(), (1, 1));
    });
    assert_eq!(gate.ends(), (1, 1));
    settled(&[&node]);
}

#[test]
fn a_child_that_waits_holds_up_its_parent_until_the_deadline() {
    for (opens, wanted) in [(true, Stopped::InOrder), (false, Stopped::CutShort)] {
        let Scene { node, diary, gate } = Scene::play(move |node, noted, its| async move {
            let parent = member_on(&node, 0, &noted).await;
            keeper_below(&node, parent, &its).await;
            let span = if opens { HOUR } else { SOON };
            let mut ending = node.stop_within(&parent, span);
            assert!(is_pending(&mut ending).await);
            parent.tell(Line { number: 1 }).await.expect("it is sent");
            assert_eq!(noted.entries(), []);
            if opens {
                its.open();
            }
            assert_eq!(ending.await, Ok(wanted));
        });
        assert_eq!(gate.ends(), (u64::from(!opens), 1));
        assert_eq!(diary.entries(), [Entry::Stopped(0), Entry::Dropped(0)]);
        // The pass, and the line that was too late.
        assert_eq!(settled(&[&node])[0].dead_no_recipient, 2);
    }
}

#[test]
fn children_serve_their_parent_until_its_handler_that_waits_has_ended() {
    for (opens, wanted) in [(true, Stopped::InOrder), (false, Stopped::CutShort)] {
        let node = LiveNode::start();
        let (diary, gate) = (Diary::default(), Gate::default());
        let waiter = Waiter {
            diary: diary.clone(),
            gate: gate.clone(),
        };
        let its = gate.clone();
        node.run(move |node| async move {
            let parent = node.spawn(waiter).expect("room");
            let (born, child) = futures_channel::oneshot::channel();
            let told = parent.tell_local(Bear(born)).await;
            told.map_err(drop).expect("it is there");
            let child = child.await.expect("it is born");
            parent.tell(AtTheGate).await.expect("room");
            while !its.is_waited_at() {
                node.sleep(Duration::from_micros(100)).await;
            }
            let span = if opens { HOUR } else { SOON };
            let mut ending = node.stop_within(&parent, span);
            assert!(is_pending(&mut ending).await);
            if opens {
                done(child, |child, _| child.diary.note(Entry::Line(7))).await;
                assert!(is_pending(&mut ending).await);
                its.open();
            }
            assert_eq!(ending.await, Ok(wanted));
            assert_eq!(its.passed(), u64::from(opens));
            assert_eq!(node.stop_within(&child, HOUR).await, Ok(Stopped::Gone));
        });
        let serves = opens.then_some(Entry::Line(7));
        let ends = [Entry::Stopped(1), Entry::Dropped(1)];
        let wanted: Vec<Entry> = [Entry::Waits]
            .into_iter()
            .chain(serves)
            .chain(ends)
            .collect();
        assert_eq!(diary.entries(), wanted);
        settled(&[&node]);
    }
}

#[test]
fn an_actor_that_stops_itself_with_a_deadline_waits_for_its_children() {
    let Scene { diary, gate, .. } = Scene::play(move |node, noted, its| async move {
        let parent = member_on(&node, 0, &noted).await;
        keeper_below(&node, parent, &its).await;
        let (said, heard) = futures_channel::oneshot::channel();
        let stop = |_: &mut Member, cx: &mut Cx<'_, Member>| {
            drop(cx.node().stop_within(&cx.me(), HOUR));
            let _ = said.send(());
        };
        act(parent, stop).await;
        assert_eq!(heard.await, Ok(()));
        let mut ending = node.stop_within(&parent, HOUR);
        assert!(is_pending(&mut ending).await);
        its.open();
        assert_eq!(ending.await, Ok(Stopped::InOrder));
    });
    assert_eq!(gate.ends(), (0, 1));
    assert_eq!(diary.entries(), [Entry::Stopped(0), Entry::Dropped(0)]);
}

#[test]
fn a_tree_of_a_hundred_that_waits_ends_in_order() {
    const BRANCHES: u64 = 10;
    const LEAVES: u64 = 9;

    let node = LiveNode::start();
    let before = node.counters().actors;
    let (diary, gate) = (Diary::default(), Gate::default());
    let (noted, its) = (diary.clone(), gate.clone());
    node.run(move |node| async move {
        let root = member_on(&node, 0, &noted).await;
        for number in 1..=BRANCHES {
            let noted = noted.clone();
            let branch = done(root, move |_, cx| {
                cx.spawn(Member::numbered(&noted, number))
            });
            let branch = branch.await.expect("room");
            for _ in 0..LEAVES {
                keeper_below(&node, branch, &its).await;
            }
        }
        assert_eq!(node.counters().actors, before + 1 + BRANCHES * (1 + LEAVES));
        let mut ending = node.stop_within(&root, HOUR);
        assert!(is_pending(&mut ending).await);
        its.open();
        assert_eq!(ending.await, Ok(Stopped::InOrder));
        assert_eq!(node.counters().actors, before);
    });
    assert_eq!(gate.ends(), (0, BRANCHES * LEAVES));
    let stopped = diary.entries();
    assert_eq!(
        stopped.last_chunk(),
        Some(&[Entry::Stopped(0), Entry::Dropped(0)])
    );
    assert_eq!(stopped.len() as u64, 2 * (BRANCHES + 1));
    let books = &settled(&[&node])[0];
    assert_eq!(books.dead_no_recipient, BRANCHES * LEAVES);
}

#[test]
fn what_came_before_is_handled_first_if_it_is_to_be() {
    const COUNT: u64 = 50;

    let node = LiveNode::start_with(|builder| builder.cores(2));
    let (diary, gate) = (Diary::default(), Gate::default());
    let (noted, its) = (diary.clone(), gate.clone());
    node.run(move |node| async move {
        for core in [0, 1] {
            let member = member_on(&node, core, &noted).await;
            for number in 0..COUNT {
                member.tell(Line { number }).await.expect("room");
            }
            let ending = node.drain_within(&member, HOUR);
            assert_eq!(ending.await, Ok(Stopped::InOrder));
        }
        let keeper = node.spawn(Keeper::new(its.clone())).expect("room");
        let knocked = occupied(&node, keeper, (KNOCK, COUNT)).await;
        let mut ending = node.drain_within(&keeper, HOUR);
        assert!(is_pending(&mut ending).await);
        its.open();
        assert_eq!(ending.await, Ok(Stopped::InOrder));
        assert_eq!(knocked.await, Ok(None));
        // Not all of it is in time.
        let shut = Gate::default();
        let keeper = node.spawn(Keeper::new(shut.clone())).expect("room");
        drop(occupied(&node, keeper, (KNOCK, 7)).await);
        let ending = node.drain_within(&keeper, SOON);
        assert_eq!(ending.await, Ok(Stopped::CutShort));
        assert_eq!(shut.ends(), (1, 1));
    });
    assert_eq!((gate.passed(), gate.ends()), (COUNT + 1, (0, 1)));
    let lines = || (0..COUNT).map(Entry::Line);
    let mut wanted: Vec<Entry> = lines().collect();
    wanted.extend([Entry::Stopped(0), Entry::Dropped(0)]);
    assert_eq!(diary.entries(), [wanted.clone(), wanted].concat());
    assert_eq!(settled(&[&node])[0].dead_no_recipient, 7);
}

#[test]
fn one_that_waits_for_its_new_state_ends_at_once_or_handles_what_waits() {
    for drains in [false, true] {
        let Scene { node, diary, .. } = Scene::play(move |node, noted, _| async move {
            let pause = if drains { SOON } else { HOUR };
            let how = Supervision::restart().pauses(pause, pause);
            let props = Props::new(move || Member::new(&noted)).supervised(how);
            let member = node.spawn_props(props).expect("room");
            act(member, |_, _| panic!("told to by a test")).await;
            while node.counters().failures == 0 {
                node.sleep(Duration::from_micros(100)).await;
            }
            for number in 0..3 {
                member.tell(Line { number }).await.expect("room");
            }
            let ending = if drains {
                node.drain_within(&member, HOUR)
            } else {
                while node.counters().waiting < 3 {
                    node.sleep(Duration::from_micros(100)).await;
                }
                node.stop_within(&member, HOUR)
            };
            assert_eq!(ending.await, Ok(Stopped::InOrder));
        });
        let mut wanted = vec![Entry::Dropped(0)];
        if drains {
            wanted.extend([0, 1, 2].map(Entry::Line));
            wanted.extend([Entry::Stopped(0), Entry::Dropped(0)]);
        }
        assert_eq!(diary.entries(), wanted);
        let books = &settled(&[&node])[0];
        assert_eq!(books.dead_no_recipient, if drains { 0 } else { 3 });
    }
}

#[test]
fn whoever_fails_on_the_way_says_so_and_does_not_begin_anew() {
    let Scene { node, gate, .. } = Scene::play(move |node, _, its| async move {
        let shared = its.clone();
        let props = Props::new(move || Keeper::new(shared.clone()));
        let props = props.supervised(Supervision::restart());
        let keeper = node.spawn_props(props).expect("room");
        let knock = Knock {
            number: 1,
            panics: true,
        };
        let knocked = occupied(&node, keeper, (knock, 1)).await;
        let ending = node.stop_within(&keeper, HOUR);
        its.open();
        assert_eq!(ending.await, Ok(Stopped::Failed));
        assert_eq!(knocked.await, Ok(Some(AskError::Failed)));
    });
    assert_eq!(gate.ends().1, 0, "it did not stop in order");
    let books = &settled(&[&node])[0];
    assert_eq!((books.failures, books.restarts), (1, 0));
}

#[test]
fn only_its_node_and_its_parent_stop_an_actor() {
    let node = LiveNode::start_with(|builder| builder.cores(2));
    let other = LiveNode::start();
    let diary = Diary::default();
    let noted = diary.clone();
    let path = node.run(move |node| async move {
        let there = member_on(&node, 1, &noted).await;
        assert_eq!(node.stop_within(&there, HOUR).await, Ok(Stopped::InOrder));
        assert_eq!(node.stop_within(&there, HOUR).await, Ok(Stopped::Gone));
        let parent = member_on(&node, 0, &noted).await;
        let noted = noted.clone();
        let stranger = node.spawn_on(CoreId(1), {
            let noted = noted.clone();
            move || Member::numbered(&noted, 7)
        });
        let stranger = stranger.await.expect("room");
        let named = node.spawn_named("cousin", Member::numbered(&noted, 8));
        let cousin = named.expect("a free name");
        let said = done(parent, move |_, cx| {
            let child = cx.spawn(Member::numbered(&noted, 1)).expect("room");
            let number = |ended: Result<Stopped, StopError>| match ended {
                Ok(Stopped::InOrder) => 1,
                Ok(Stopped::Gone) => 2,
                Err(StopError::NotAChild) => 3,
                _ => 4,
            };
            let line = move |ended| Line {
                number: number(ended),
            };
            let endings = [
                cx.stop_child(&child, HOUR),
                cx.drain_child(&child, HOUR),
                cx.stop_child(&stranger, HOUR),
                cx.stop_child(&cousin, HOUR),
            ];
            for ending in endings {
                cx.pipe(ending, line).expect("room");
            }
        });
        said.await;
        format!("{}/user/cousin", node.address())
    });
    let is_line = |entry: &Entry| matches!(entry, Entry::Line(_));
    let entries = diary.until(&node, 4, is_line);
    let lines: Vec<&Entry> = entries.iter().filter(|it| is_line(it)).collect();
    assert_eq!(lines, [1, 2, 3, 3].map(Entry::Line).each_ref());
    let refused = other.run(move |other| async move {
        let far: Ref<MemberApi> = other.resolve(&path).await.expect("it lives");
        let ended = other.stop_within(&far, HOUR).await;
        assert_eq!(ended, other.drain_within(&far, HOUR).await);
        ended
    });
    assert_eq!(refused, Err(StopError::Remote));
}

#[test]
fn one_over_those_who_wait_for_an_end_is_refused() {
    let node = LiveNode::start();
    let gate = Gate::default();
    node.run(move |node| async move {
        let keeper = node.spawn(Keeper::new(gate.clone())).expect("room");
        drop(occupied(&node, keeper, (KNOCK, 0)).await);
        let stop = |_| node.stop_within(&keeper, HOUR);
        let endings: Vec<Ending> = (0..1024).map(stop).collect();
        let limit = endings.len();
        let refused = node.stop_within(&keeper, HOUR).await;
        assert_eq!(refused, Err(StopError::TooMany { limit }));
        gate.open();
        for ending in endings {
            assert_eq!(ending.await, Ok(Stopped::InOrder));
        }
    });
    settled(&[&node]);
}
