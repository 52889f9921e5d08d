//! Supervision: actors that fail, and what becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringmesh::{
    Actor, AskError, AsyncHandler, Cx, Ended, Handler, LocalHandler, Msg, Node, Props, Ref,
    Restarts, SendError, StartError, Supervision, async_handler, message, protocol,
};
use ringmesh_tests::live::cores::settled;
use ringmesh_tests::live::node::LiveNode;

use super::{Diary, Entry, Fuse, Line, Member, done, is_ended, member_on};

const HOUR: Duration = Duration::from_secs(3600);
const PAUSE: Duration = Duration::from_millis(30);

/// Asks an actor to fail, or how it is.
#[message(id = "tests.Strike", v = 1, reply = Alive)]
#[derive(Clone, Copy, Debug)]
struct Strike {
    fails: bool,
}

/// Which life it is, and how many strikes it has seen in it.
#[message(id = "tests.Alive", v = 1)]
#[derive(Clone, Copy, Debug)]
struct Alive {
    life: u64,
    strikes: u64,
}

/// Has it begin a timer, and have a child that escalates when it fails.
#[message(local)]
struct Settle(futures_channel::oneshot::Sender<Ref<PhoenixApi>>);

/// Fails by a local message.
#[message(local)]
struct Shot;

protocol! { PhoenixApi = "tests.phoenix" { Strike, Line, local Settle, local Shot } }

/// How a phoenix comes to its lives.
#[derive(Clone, Debug, Default)]
struct Nest {
    diary: Diary,
    lives: Arc<AtomicU64>,
    /// Lives that its factory fails to make: those behind the first.
    stillborn: u64,
}

impl Nest {
    fn hatch(&self) -> Result<Egg, String> {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        if (1..=self.stillborn).contains(&life) {
            return Err(format!("life {life} is none"));
        }
        Ok(Egg {
            diary: self.diary.clone(),
            life,
            strikes: 0,
        })
    }
}

/// The state of a phoenix.
struct Egg {
    diary: Diary,
    life: u64,
    strikes: u64,
}

impl Egg {
    fn struck(&mut self, fails: bool) -> Alive {
        self.strikes += 1;
        assert!(!fails, "a strike");
        Alive {
            life: self.life,
            strikes: self.strikes,
        }
    }
}

impl Drop for Egg {
    fn drop(&mut self) {
        self.diary.note(Entry::Dropped(self.life));
    }
}

/// Handles all at once.
struct Quick(Egg);

/// Has a loop, because one handler may wait.
struct Slow(Egg);

impl Actor for Quick {
    type Api = PhoenixApi;

    fn stopped(&mut self) {
        self.0.diary.note(Entry::Stopped(self.0.life));
    }
}

impl Actor for Slow {
    type Api = PhoenixApi;

    fn stopped(&mut self) {
        self.0.diary.note(Entry::Stopped(self.0.life));
    }
}

impl Handler<Strike> for Quick {
    fn handle(&mut self, strike: Msg<Strike>, _: &mut Cx<'_, Self>) -> Alive {
        self.0.struck(strike.fails)
    }
}

#[async_handler]
impl AsyncHandler<Strike> for Slow {
    async fn handle(&mut self, strike: Msg<Strike>, cx: &mut Cx<'_, Self>) -> Alive {
        cx.node().sleep(Duration::from_micros(1)).await;
        self.0.struck(strike.fails)
    }
}

/// What both kinds do alike.
macro_rules! phoenix {
    ($kind:ident) => {
        impl Handler<Line> for $kind {
            fn handle(&mut self, line: Msg<Line>, _: &mut Cx<'_, Self>) {
                self.0.diary.note(Entry::Line(line.number.to_native()));
            }
        }

        impl LocalHandler<Settle> for $kind {
            fn handle(&mut self, Settle(said): Settle, cx: &mut Cx<'_, Self>) {
                cx.after(PAUSE / 2, Line { number: u64::MAX })
                    .expect("room for a timer");
                let nest = Nest {
                    diary: self.0.diary.clone(),
                    lives: Arc::new(AtomicU64::new(1000)),
                    stillborn: 0,
                };
                let child = cx.spawn_props(spawn_of(&nest).supervised(Supervision::Escalate));
                let _ = said.send(child.expect("room for a child"));
            }
        }

        impl LocalHandler<Shot> for $kind {
            fn handle(&mut self, _: Shot, _: &mut Cx<'_, Self>) {
                self.0.struck(true);
            }
        }
    };
}

phoenix!(Quick);
phoenix!(Slow);

fn spawn_of(nest: &Nest) -> Props<Quick, String> {
    let nest = nest.clone();
    Props::fallible(move || nest.hatch().map(Quick))
}

/// A phoenix of either kind.
fn spawn(
    node: &Node,
    is_slow: bool,
    nest: &Nest,
    supervision: impl Into<Supervision>,
) -> Result<Ref<PhoenixApi>, StartError<String>> {
    if is_slow {
        let nest = nest.clone();
        let props = Props::fallible(move || nest.hatch().map(Slow));
        return node.spawn_props(props.supervised(supervision));
    }
    node.spawn_props(spawn_of(nest).supervised(supervision))
}

fn restarts() -> Restarts {
    Supervision::restart().pauses(PAUSE, PAUSE)
}

/// Has a phoenix fail, and says what its asker hears.
async fn strike(phoenix: Ref<PhoenixApi>) -> Option<AskError> {
    phoenix.ask(Strike { fails: true }).await.err()
}

/// Has a phoenix fail of a local message, and waits until it did.
async fn shoot(node: &Node, phoenix: Ref<PhoenixApi>) {
    let before = node.counters().failures;
    phoenix.tell_local(Shot).await.map_err(drop).expect("room");
    while node.counters().failures == before {
        node.sleep(Duration::from_micros(100)).await;
    }
}

async fn look(phoenix: Ref<PhoenixApi>) -> Result<(u64, u64), AskError> {
    let alive = phoenix.ask(Strike { fails: false }).await?;
    Ok((alive.life.to_native(), alive.strikes.to_native()))
}

#[test]
fn one_that_begins_anew_keeps_its_ref_and_its_messages() {
    for is_slow in [false, true] {
        let node = LiveNode::start();
        let (nest, others) = (Nest::default(), Diary::default());
        let (at, noted) = (nest.clone(), others.clone());
        node.run(move |node| async move {
            let phoenix = spawn(&node, is_slow, &at, restarts()).expect("room");
            let watcher = member_on(&node, 0, &noted).await;
            done(watcher, move |_, cx| cx.watch(&phoenix).expect("room")).await;
            assert_eq!(look(phoenix).await, Ok((0, 1)));
            assert_eq!(strike(phoenix).await, Some(AskError::Failed));
            for number in 0..20 {
                phoenix.try_tell(Line { number }).expect("room");
            }
            let waits = look(phoenix);
            assert_eq!(waits.await, Ok((1, 1)), "behind what waits");
            shoot(&node, phoenix).await;
            assert_eq!(look(phoenix).await, Ok((2, 1)));
            assert_eq!(strike(phoenix).await, Some(AskError::Failed));
            assert_eq!(look(phoenix).await, Ok((3, 1)));
            assert!(node.stop(&phoenix));
        });
        others.until(&node, 1, is_ended);
        assert!(matches!(
            others.entries()[..],
            [Entry::Ended(_, Ended::Stopped)]
        ));
        let mut wanted = vec![Entry::Dropped(0)];
        wanted.extend((0..20).map(Entry::Line));
        wanted.extend([1, 2].map(Entry::Dropped));
        wanted.extend([Entry::Stopped(3), Entry::Dropped(3)]);
        assert_eq!(nest.diary.entries(), wanted);
        let books = &settled(&[&node])[0];
        assert_eq!((books.failures, books.restarts, books.panics), (3, 3, 3));
        assert_eq!((books.dead_received, books.watches), (0, 0));
    }
}

#[test]
fn what_waits_for_one_that_failed_is_bounded_and_ends_with_it() {
    const ROOM: u64 = 8;

    for is_slow in [false, true] {
        let set = |settings: &mut ringmesh::Settings| {
            settings.mailbox_messages_max = usize::try_from(ROOM).expect("a small number");
        };
        let node = LiveNode::start_with(|builder| builder.settings(set));
        let nest = Nest::default();
        let at = nest.clone();
        let told = node.run(move |node| async move {
            let how = Supervision::restart().pauses(HOUR, HOUR);
            let phoenix = spawn(&node, is_slow, &at, how).expect("room");
            assert_eq!(strike(phoenix).await, Some(AskError::Failed));
            let mut told = 0;
            let refused = loop {
                match phoenix.try_tell(Line { number: told }) {
                    Ok(()) => told += 1,
                    Err(refused) => break refused,
                }
                node.sleep(Duration::from_micros(100)).await;
            };
            assert!(matches!(refused, SendError::Full(_)), "{refused}");
            let waiting = node.counters().waiting;
            assert!((ROOM..=ROOM + 2).contains(&waiting), "{waiting}");
            assert!(node.stop(&phoenix));
            assert_eq!(look(phoenix).await, Err(AskError::NotRunning));
            told
        });
        assert_eq!(
            nest.diary.entries(),
            [Entry::Dropped(0)],
            "no state was left to stop"
        );
        let books = &settled(&[&node])[0];
        assert_eq!(books.dead_no_recipient, told + 1);
        assert_eq!((books.failures, books.restarts), (1, 0));
    }
}

#[test]
fn too_many_failures_end_it_and_so_do_factories_that_make_nothing() {
    for is_slow in [false, true] {
        let node = LiveNode::start();
        let (nest, diary) = (Nest::default(), Diary::default());
        let noted = diary.clone();
        let at = nest.clone();
        let failed = node.run(move |node| async move {
            let how = restarts().at_most(2, HOUR);
            let first = spawn(&node, is_slow, &at, how).expect("room");
            let nest = Nest {
                stillborn: 2,
                ..Nest::default()
            };
            let second = spawn(&node, is_slow, &nest, how).expect("room");
            let third = spawn(&node, is_slow, &nest, how.at_most(3, HOUR)).expect_err("life 1");
            assert!(matches!(third, StartError::Factory(_)), "{third}");
            let watcher = member_on(&node, 0, &noted).await;
            done(watcher, move |_, cx| {
                cx.watch(&first).expect("room");
                cx.watch(&second).expect("room");
            })
            .await;
            for life in 0..3 {
                assert_eq!(look(first).await, Ok((life, 1)));
                assert_eq!(strike(first).await, Some(AskError::Failed));
            }
            assert_eq!(look(first).await, Err(AskError::NotRunning));
            // Lives 1 and 2 are none: one was refused above, the other comes of this.
            assert_eq!(strike(second).await, Some(AskError::Failed));
            assert_eq!(look(second).await, Ok((3, 1)));
            assert_eq!(strike(second).await, Some(AskError::Failed));
            [first.id(), second.id()]
        });
        let entries = diary.until(&node, 2, is_ended);
        assert_eq!(entries, failed.map(|id| Entry::Ended(id, Ended::Failed)));
        assert_eq!(nest.diary.entries(), [0, 1, 2].map(Entry::Dropped));
        let books = &settled(&[&node])[0];
        assert_eq!((books.failures, books.panics, books.restarts), (6, 5, 3));
    }
}

#[test]
fn one_that_goes_on_keeps_its_state() {
    for is_slow in [false, true] {
        let node = LiveNode::start();
        let nest = Nest::default();
        let at = nest.clone();
        node.run(move |node| async move {
            let phoenix = spawn(&node, is_slow, &at, Supervision::Resume).expect("room");
            for strikes in [1, 4, 7] {
                assert_eq!(look(phoenix).await, Ok((0, strikes)));
                assert_eq!(strike(phoenix).await, Some(AskError::Failed));
                shoot(&node, phoenix).await;
            }
            assert_eq!(look(phoenix).await, Ok((0, 10)));
            assert!(node.stop(&phoenix));
        });
        assert_eq!(nest.diary.entries(), [Entry::Stopped(0), Entry::Dropped(0)]);
        let books = &settled(&[&node])[0];
        assert_eq!((books.failures, books.restarts, books.panics), (6, 0, 6));
    }
}

#[test]
fn a_failure_that_escalates_is_its_parents_and_ends_its_siblings_and_timers() {
    for is_slow in [false, true] {
        let node = LiveNode::start();
        let (nest, diary) = (Nest::default(), Diary::default());
        let (at, noted) = (nest.clone(), diary.clone());
        let children = node.run(move |node| async move {
            let how = restarts().pauses(PAUSE, PAUSE);
            let phoenix = spawn(&node, is_slow, &at, how).expect("room");
            let mut children = Vec::new();
            for _ in 0..2 {
                let (said, heard) = futures_channel::oneshot::channel();
                phoenix
                    .tell_local(Settle(said))
                    .await
                    .map_err(drop)
                    .expect("room");
                children.push(heard.await.expect("it has a child"));
            }
            let watcher = member_on(&node, 0, &noted).await;
            let watched = [children[0], children[1]];
            done(watcher, move |_, cx| {
                for child in watched {
                    cx.watch(&child).expect("room");
                }
            })
            .await;
            assert_eq!(strike(children[1]).await, Some(AskError::Failed));
            assert_eq!(look(phoenix).await, Ok((1, 1)));
            watched.map(|child| child.id())
        });
        let entries = diary.until(&node, 2, is_ended);
        let wanted = [
            Entry::Ended(children[1], Ended::Failed),
            Entry::Ended(children[0], Ended::Stopped),
        ];
        assert_eq!(entries, wanted);
        let entries = nest.diary.entries();
        assert_eq!(
            entries.last(),
            Some(&Entry::Dropped(0)),
            "no timer of that life fired"
        );
        let books = &settled(&[&node])[0];
        assert_eq!((books.failures, books.restarts, books.panics), (2, 1, 1));
    }
}

#[test]
fn one_without_a_parent_only_ends_when_it_escalates() {
    let node = LiveNode::start();
    let before = node.counters().actors;
    node.run(|node| async move {
        let nest = Nest::default();
        let phoenix = spawn(&node, false, &nest, Supervision::Escalate).expect("room");
        assert_eq!(strike(phoenix).await, Some(AskError::Failed));
        assert_eq!(look(phoenix).await, Err(AskError::NotRunning));
    });
    assert_eq!(node.counters().actors, before);
}

#[test]
fn a_storm_of_failures_leaves_the_core_its_time_and_the_log_its_room() {
    const STRIKES: u64 = 300;

    let node = LiveNode::start_serving();
    let path = node.path(ringmesh_tests::live::messages::ECHO);
    let longest = node.run(move |node| async move {
        let how = Supervision::restart().pauses(Duration::ZERO, Duration::ZERO);
        let phoenix = spawn(&node, false, &Nest::default(), how.for_ever()).expect("room");
        let echo: Ref<ringmesh_tests::live::messages::EchoApi> =
            node.resolve(&path).await.expect("it is there");
        let mut longest = Duration::ZERO;
        for number in 0..STRIKES {
            phoenix.tell_local(Shot).await.map_err(drop).expect("room");
            if number % 10 == 0 {
                let begin = std::time::Instant::now();
                let echoed = echo.ask(ringmesh_tests::live::messages::Echo {
                    number,
                    body: bytes::Bytes::new(),
                });
                echoed.await.expect("the core answers");
                longest = longest.max(begin.elapsed());
            }
        }
        while node.counters().failures < STRIKES {
            node.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(look(phoenix).await, Ok((STRIKES, 1)));
        longest
    });
    let books = node.counters();
    assert_eq!((books.failures, books.restarts), (STRIKES, STRIKES));
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    let lines = node.log().last(usize::MAX);
    let said = lines
        .iter()
        .filter(|line| line.contains("an actor failed"))
        .count();
    assert!(
        (1..=40).contains(&said),
        "{said} of {STRIKES} failures were logged"
    );
}

#[test]
fn panics_while_it_begins_anew_are_failures_too_and_end_nothing_else() {
    let node = LiveNode::start();
    let diary = Diary::default();
    let noted = diary.clone();
    let ended = node.run(move |node| async move {
        let lives = Arc::new(AtomicU64::new(0));
        let at = Diary::default();
        // The first panics in its drop, the second when it starts, the third is not made.
        let make = move || {
            let life = lives.fetch_add(1, Ordering::Relaxed);
            let mut member = Member::numbered(&at, life);
            match life {
                0 => member.fuse = Fuse::Drop,
                1 => member.fuse = Fuse::Start,
                2 => panic!("a factory"),
                _ => {}
            }
            member
        };
        let how = restarts().at_most(4, HOUR);
        let props = Props::new(make).supervised(how);
        let member = node.spawn_props(props).expect("room");
        let watcher = member_on(&node, 0, &noted).await;
        done(watcher, move |_, cx| cx.watch(&member).expect("room")).await;
        super::act(member, |_, _| panic!("the first")).await;
        assert_eq!(done(member, |member, _| member.number).await, 3);
        super::act(member, |_, _| panic!("the fourth")).await;
        assert_eq!(done(member, |member, _| member.number).await, 4);
        super::act(member, |_, _| panic!("one too many")).await;
        member.id()
    });
    let entries = diary.until(&node, 1, is_ended);
    assert_eq!(entries, [Entry::Ended(ended, Ended::Failed)]);
    let books = &settled(&[&node])[0];
    // Of the second life its child is ended too.
    assert_eq!((books.failures, books.panics, books.restarts), (5, 6, 3));
}

#[test]
fn parent_and_child_that_fail_in_one_turn_end_once_each() {
    let node = LiveNode::start();
    let before = node.counters().actors;
    let diary = Diary::default();
    let noted = diary.clone();
    node.run(move |node| async move {
        let at = noted.clone();
        let make = move || Member::numbered(&at, 1);
        let props = Props::new(make).supervised(Supervision::restart().at_most(0, HOUR));
        let parent = node.spawn_props(props).expect("room");
        let at = noted.clone();
        let child = done(parent, move |_, cx| {
            let child = Props::new(move || Member::numbered(&at, 2));
            let child = cx.spawn_props(child.supervised(Supervision::Escalate));
            child.expect("room")
        })
        .await;
        let watcher = member_on(&node, 0, &noted).await;
        done(watcher, move |_, cx| {
            cx.watch(&parent).expect("room");
            cx.watch(&child).expect("room");
        })
        .await;
        let bang = || super::Act::new(|_, _| panic!("both"));
        child.try_tell_local(bang()).map_err(drop).expect("room");
        parent.try_tell_local(bang()).map_err(drop).expect("room");
    });
    let entries = diary.until(&node, 2, is_ended);
    assert_eq!(diary.count(is_ended), 2);
    assert!(entries.contains(&Entry::Dropped(1)) && entries.contains(&Entry::Dropped(2)));
    let books = &settled(&[&node])[0];
    assert_eq!(
        (books.actors, books.local_dead, books.watches),
        (before + 1, 1, 0)
    );
}

#[test]
fn watches_and_their_messages_outlive_a_failure_of_the_watcher() {
    let node = LiveNode::of_cores(2);
    let diary = Diary::default();
    let noted = diary.clone();
    let victims = node.run(move |node| async move {
        let at = noted.clone();
        let props = Props::new(move || Member::new(&at)).supervised(restarts());
        let watcher = node.spawn_props(props).expect("room");
        let silent = Diary::default();
        let victims = [
            member_on(&node, 0, &silent).await,
            member_on(&node, 1, &silent).await,
        ];
        done(watcher, move |_, cx| {
            cx.watch(&victims[0]).expect("room");
            cx.watch_with(&victims[1], Line { number: 9 })
                .expect("room");
        })
        .await;
        super::act(watcher, |_, _| panic!("a watcher")).await;
        for victim in victims {
            done(victim, |_, cx| cx.stop()).await;
        }
        victims.map(|victim| victim.id())
    });
    let entries = diary.until(&node, 1, |entry| *entry == Entry::Line(9));
    let entries = if entries.iter().any(is_ended) {
        entries
    } else {
        diary.until(&node, 1, is_ended)
    };
    assert_eq!(entries[0], Entry::Dropped(0), "both came to its next life");
    assert_eq!(entries.len(), 3);
    assert!(entries.contains(&Entry::Ended(victims[0], Ended::Stopped)));
    settled(&[&node])
        .iter()
        .for_each(|books| assert_eq!(books.watches, 0));
}
