//! Messages that actors lay aside: in what order they come back, and what becomes of the others.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ringmesh::{
    Actor, AskError, AskPhase, AsyncHandler, Counters, Cx, DeadLetterReason, Handler, LaterHandler,
    LocalHandler, Msg, Node, Props, Ref, ReplyTo, StashLimit, Supervision, async_handler,
    later_handler, message, protocol,
};
use ringmesh_tests::live::cores::settled;
use ringmesh_tests::live::node::LiveNode;

use super::{Diary, Entry, Line, Moved, Scene, begun};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(20);

/// What fits into a shed, and no more.
const LIMIT: StashLimit = StashLimit::of(5, 4096);

/// Something for a shed, which is laid aside while that is shut.
#[message(id = "tests.Crate", v = 1, reply = Receipt)]
struct Crate {
    number: u64,
    body: Vec<u8>,
}

/// Says which it was, or that there was no room.
#[message(id = "tests.Receipt", v = 1)]
struct Receipt {
    number: u64,
    taken: bool,
}

/// Opens a shed, or has it fail.
#[message(id = "tests.Unlock", v = 1, reply = Receipt)]
struct Unlock {
    fails: bool,
}

protocol! { ShedApi = "tests.shed" { Crate, Unlock, Line, local Moved } }

struct State {
    diary: Diary,
    is_open: bool,
}

/// Handles all at once.
struct Shed(State);

/// Has a loop, because one handler may wait.
struct SlowShed(State);

/// What both kinds do alike.
macro_rules! shed {
    ($kind:ident) => {
        impl Actor for $kind {
            type Api = ShedApi;

            const STASH: StashLimit = LIMIT;

            fn stopped(&mut self) {
                self.0.diary.note(Entry::Stopped(0));
            }
        }

        #[later_handler]
        impl LaterHandler<Crate> for $kind {
            fn handle(&mut self, it: Msg<Crate>, reply: ReplyTo<Crate>, cx: &mut Cx<'_, Self>) {
                assert_eq!(reply.is_asked(), cx.deadline().is_some());
                let number = it.number.to_native();
                if self.0.is_open {
                    self.0.diary.note(Entry::Line(number));
                    let taken = true;
                    return reply.send(Receipt { number, taken });
                }
                if let Err(full) = cx.stash(it, reply) {
                    assert_eq!(full.message.number.to_native(), number);
                    let taken = false;
                    full.reply.send(Receipt { number, taken });
                }
            }
        }

        impl LocalHandler<Moved> for $kind {
            fn handle(&mut self, moved: Moved, cx: &mut Cx<'_, Self>) {
                let number = moved.0;
                if self.0.is_open {
                    self.0.diary.note(Entry::Moved(number));
                } else if cx.stash_local(moved).is_err() {
                    self.0.diary.note(Entry::Dropped(number));
                }
            }
        }

        impl Handler<Line> for $kind {
            fn handle(&mut self, line: Msg<Line>, _: &mut Cx<'_, Self>) {
                self.0.diary.note(Entry::Line(line.number.to_native()));
            }
        }
    };
}

shed!(Shed);
shed!(SlowShed);

impl State {
    fn unlock<A: Actor>(&mut self, unlock: &Msg<Unlock>, cx: &mut Cx<'_, A>) -> Receipt {
        assert!(!unlock.fails, "told to by a test");
        self.is_open = true;
        let laid_aside = cx.stashed();
        let number = cx.unstash_all() as u64;
        assert_eq!((laid_aside as u64, cx.stashed()), (number, 0));
        let taken = true;
        Receipt { number, taken }
    }
}

impl Handler<Unlock> for Shed {
    fn handle(&mut self, unlock: Msg<Unlock>, cx: &mut Cx<'_, Self>) -> Receipt {
        self.0.unlock(&unlock, cx)
    }
}

#[async_handler]
impl AsyncHandler<Unlock> for SlowShed {
    async fn handle(&mut self, unlock: Msg<Unlock>, cx: &mut Cx<'_, Self>) -> Receipt {
        cx.node().sleep(Duration::from_micros(1)).await;
        self.0.unlock(&unlock, cx)
    }
}

/// A shed of either kind, which is open from its second life on.
fn spawn(node: &Node, is_slow: bool, diary: &Diary) -> Ref<ShedApi> {
    let (diary, lives) = (diary.clone(), Cell::new(0));
    let state = move || State {
        diary: diary.clone(),
        is_open: lives.replace(lives.get() + 1) > 0,
    };
    let how = Supervision::restart().pauses(SOON, SOON);
    let spawned = if is_slow {
        node.spawn_props(Props::new(move || SlowShed(state())).supervised(how))
    } else {
        node.spawn_props(Props::new(move || Shed(state())).supervised(how))
    };
    spawned.expect("room")
}

fn parcel(number: u64) -> Crate {
    let body = Vec::new();
    Crate { number, body }
}

type Receiving = Pin<Box<dyn Future<Output = Result<u64, AskError>>>>;

/// Asks a shed to take a parcel, which it lays aside.
async fn asked(shed: Ref<ShedApi>, number: u64, timeout: Duration) -> Receiving {
    let receipt = async move {
        let receipt = shed.ask(parcel(number)).timeout(timeout).await?;
        assert!(receipt.taken);
        Ok(receipt.number.to_native())
    };
    begun(receipt).await
}

/// Waits until so many messages are laid aside.
async fn until_stashed(node: &Node, count: u64) {
    while node.counters().stash_waiting < count {
        node.sleep(Duration::from_micros(100)).await;
    }
}

fn unlock() -> Unlock {
    Unlock { fails: false }
}

fn stash_books(books: &Counters) -> [u64; 3] {
    assert_eq!(books.stash_waiting, 0);
    [books.stashed, books.unstashed, books.dead_stashed]
}

#[test]
fn what_is_laid_aside_comes_back_first_and_in_order_and_is_answered() {
    for is_slow in [false, true] {
        let Scene { node, diary, .. } = Scene::play(move |node, noted, _| async move {
            let shed = spawn(&node, is_slow, &noted);
            let first = asked(shed, 1, HOUR).await;
            until_stashed(&node, 1).await;
            shed.tell(parcel(2)).await.expect("room");
            until_stashed(&node, 2).await;
            shed.tell_local(Moved(3)).await.map_err(drop).expect("room");
            until_stashed(&node, 3).await;
            let fourth = asked(shed, 4, HOUR).await;
            until_stashed(&node, 4).await;
            // What comes in one go with the key is behind what was laid aside.
            let opened = begun(shed.ask(unlock())).await;
            for number in 5..10 {
                shed.try_tell(parcel(number)).expect("room");
            }
            assert_eq!(opened.await.expect("an answer").number.to_native(), 4);
            assert_eq!((first.await, fourth.await), (Ok(1), Ok(4)));
            assert_eq!(asked(shed, 10, HOUR).await.await, Ok(10));
            assert!(node.stop(&shed));
        });
        let mut wanted = [1, 2].map(Entry::Line).to_vec();
        wanted.push(Entry::Moved(3));
        wanted.extend((4..=10).map(Entry::Line));
        wanted.push(Entry::Stopped(0));
        assert_eq!(diary.entries(), wanted);
        let books = &settled(&[&node])[0];
        assert_eq!((stash_books(books), books.dead_received), ([4, 4, 0], 0));
    }
}

#[test]
fn one_over_the_limit_comes_back_by_count_and_by_bytes() {
    for is_slow in [false, true] {
        let Scene { node, diary, .. } = Scene::play(move |node, noted, _| async move {
            let shed = spawn(&node, is_slow, &noted);
            let large = |number| Crate {
                number,
                body: vec![0; 4000],
            };
            shed.tell(large(1)).await.expect("room");
            let refused = shed.ask(large(2)).await.expect("an answer");
            assert!(!refused.taken, "too many bytes");
            for number in 2..=5 {
                let moved = shed.tell_local(Moved(number)).await;
                moved.map_err(drop).expect("room");
            }
            until_stashed(&node, 5).await;
            let refused = shed.ask(parcel(6)).await.expect("an answer");
            assert!(!refused.taken, "too many");
            shed.tell_local(Moved(7)).await.map_err(drop).expect("room");
            while noted.entries().is_empty() {
                node.sleep(Duration::from_micros(100)).await;
            }
            shed.ask(unlock()).await.expect("an answer");
            assert_eq!(asked(shed, 8, HOUR).await.await, Ok(8));
        });
        let mut wanted = vec![Entry::Dropped(7), Entry::Line(1)];
        wanted.extend((2..=5).map(Entry::Moved));
        wanted.push(Entry::Line(8));
        assert_eq!(diary.entries(), wanted);
        assert_eq!(stash_books(&settled(&[&node])[0]), [5, 5, 0]);
    }
}

#[test]
fn a_question_whose_time_is_over_when_it_comes_back_is_not_handled() {
    for is_slow in [false, true] {
        let Scene { node, diary, .. } = Scene::play(move |node, noted, _| async move {
            let shed = spawn(&node, is_slow, &noted);
            let late = asked(shed, 1, SOON).await;
            let told = asked(shed, 2, HOUR).await;
            until_stashed(&node, 2).await;
            let error = late.await.expect_err("its time is over");
            assert!(
                matches!(
                    error,
                    AskError::Timeout {
                        phase: AskPhase::Sent,
                        ..
                    }
                ),
                "{error}"
            );
            shed.ask(unlock()).await.expect("an answer");
            assert_eq!(told.await, Ok(2));
        });
        assert_eq!(diary.entries(), [Entry::Line(2)]);
        assert_eq!(stash_books(&settled(&[&node])[0]), [2, 1, 1]);
    }
}

#[test]
fn what_is_laid_aside_comes_first_in_a_new_life_and_is_dead_at_the_end() {
    for is_slow in [false, true] {
        let node = LiveNode::start();
        let diary = Diary::default();
        let noted = diary.clone();
        let mut reasons = node.run(move |node| async move {
            let letters = node.dead_letters();
            let shed = spawn(&node, is_slow, &noted);
            let kept = asked(shed, 1, HOUR).await;
            until_stashed(&node, 1).await;
            let failed = begun(shed.ask(Unlock { fails: true })).await;
            shed.try_tell(Line { number: 2 }).expect("room");
            assert_eq!(failed.await.map(drop), Err(AskError::Failed));
            assert_eq!(kept.await, Ok(1), "by its second life");
            let shut = spawn(&node, is_slow, &noted);
            let lost = asked(shut, 3, HOUR).await;
            shut.tell_local(Moved(4)).await.map_err(drop).expect("room");
            until_stashed(&node, 2).await;
            let ended = node.stop_within(&shut, HOUR).await;
            assert_eq!(ended, Ok(ringmesh::Stopped::InOrder));
            assert_eq!(lost.await, Err(AskError::NotRunning));
            letters
        });
        for _ in 0..2 {
            let letter = reasons.try_next().expect("a dead letter");
            assert_eq!(letter.reason, DeadLetterReason::Stashed);
            assert!(letter.recipient.is_some());
        }
        assert_eq!(reasons.try_next(), None);
        let wanted = [Entry::Line(1), Entry::Line(2), Entry::Stopped(0)];
        assert_eq!(diary.entries(), wanted);
        assert_eq!(stash_books(&settled(&[&node])[0]), [3, 1, 2]);
    }
}

#[test]
fn questions_of_another_node_are_laid_aside_as_well() {
    let (node, other) = (LiveNode::start(), LiveNode::start());
    let diary = Diary::default();
    let noted = diary.clone();
    let path = node.path("shed");
    node.run(move |node| async move {
        let shed = Shed(State {
            diary: noted,
            is_open: false,
        });
        node.spawn_named("shed", shed).expect("a free name");
    });
    other.run(move |other| async move {
        let shed: Ref<ShedApi> = other.resolve(&path).await.expect("it is there");
        let mut asks = Vec::new();
        for number in 0..5 {
            asks.push(asked(shed, number, HOUR).await);
        }
        let opened = shed.ask(unlock()).await.expect("an answer");
        assert_eq!(opened.number.to_native(), 5);
        for (number, ask) in (0..).zip(asks) {
            assert_eq!(ask.await, Ok(number));
        }
    });
    assert_eq!(diary.entries(), [0, 1, 2, 3, 4].map(Entry::Line));
    let books = &settled(&[&node, &other])[0];
    assert_eq!(stash_books(books), [5, 5, 0]);
}
