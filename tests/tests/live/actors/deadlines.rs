//! The deadline of a question: what its handler knows of it, and what becomes of one that waited
//! for too long.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringmesh::{
    Actor, AskError, AskPhase, AsyncHandler, Cx, Handler, LaterHandler, Msg, Node, Ref, ReplyTo,
    StashLimit, async_handler, later_handler, message, protocol,
};
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::kind::Kind;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};

use super::gate::{Gate, Keeper, KeeperApi, Knock, List, Numbers};
use super::{KEEPER, keeper_at, spawn_keeper};

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(20);

/// Asks a keeper whose gate is closed, one way or the other.
#[message(id = "tests.Delegate", v = 1, reply = Numbers)]
struct Delegate;

/// The same, in a task, without waiting.
#[message(id = "tests.Entrust", v = 1, reply = Numbers)]
struct Entrust;

/// The same with a timeout of its own.
#[message(id = "tests.Insist", v = 1, reply = Numbers)]
struct Insist;

/// Is never answered.
#[message(id = "tests.Dally", v = 1, reply = Numbers)]
struct Dally;

protocol! { FrontApi = "tests.front" { Delegate, Entrust, Insist, Dally } }

/// What the handlers of a [`Front`] saw.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Sight>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// The deadline at the start of a handler, and behind a wait.
    Deadline(Option<Duration>),
    /// What became of the question it asked.
    Fate(Option<(Duration, AskPhase)>),
}

impl Seen {
    fn note(&self, sight: Sight) {
        self.all().push(sight);
    }

    fn note_fate<T>(&self, fate: &Result<T, AskError>) {
        self.note(Sight::Fate(match fate {
            Err(AskError::Timeout { after, phase }) => Some((*after, *phase)),
            _ => None,
        }));
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Sight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> usize {
        self.all().len()
    }
}

struct Front {
    seen: Seen,
    keeper: Ref<KeeperApi>,
}

impl Actor for Front {
    type Api = FrontApi;

    fn started(&mut self, cx: &mut Cx<'_, Self>) {
        self.seen.note(Sight::Deadline(cx.deadline()));
    }
}

fn none() -> Numbers {
    Numbers { numbers: vec![] }
}

#[async_handler]
impl AsyncHandler<Delegate> for Front {
    async fn handle(&mut self, _: Msg<Delegate>, cx: &mut Cx<'_, Self>) -> Numbers {
        self.seen.note(Sight::Deadline(cx.deadline()));
        cx.node().sleep(Duration::from_micros(1)).await;
        self.seen.note(Sight::Deadline(cx.deadline()));
        self.seen.note_fate(&self.keeper.ask(List).await);
        none()
    }
}

impl Handler<Entrust> for Front {
    fn handle(&mut self, _: Msg<Entrust>, cx: &mut Cx<'_, Self>) -> Numbers {
        self.seen.note(Sight::Deadline(cx.deadline()));
        let (seen, ask) = (self.seen.clone(), self.keeper.ask(List));
        let asking = async move { seen.note_fate(&ask.await) };
        cx.node().spawn_task(asking).expect("room");
        none()
    }
}

#[async_handler]
impl AsyncHandler<Insist> for Front {
    async fn handle(&mut self, _: Msg<Insist>, _: &mut Cx<'_, Self>) -> Numbers {
        let ask = self.keeper.ask(List).timeout(3 * SHORT);
        self.seen.note_fate(&ask.await);
        none()
    }
}

#[async_handler]
impl AsyncHandler<Dally> for Front {
    async fn handle(&mut self, _: Msg<Dally>, cx: &mut Cx<'_, Self>) -> Numbers {
        cx.node().sleep(Duration::from_micros(1)).await;
        self.seen.note(Sight::Deadline(cx.deadline()));
        pending().await
    }
}

/// A keeper that answers nobody and a front to it, on a node that has patience.
fn front(node: &LiveNode) -> (Seen, Ref<FrontApi>) {
    let seen = Seen::default();
    let noted = seen.clone();
    let front = node.run(|node| async move {
        let keeper = node.spawn(Keeper::new(Gate::default())).expect("room");
        let knock = Knock {
            number: 0,
            panics: false,
        };
        keeper.try_tell(knock).expect("room");
        let seen = noted;
        node.spawn(Front { seen, keeper }).expect("room")
    });
    (seen, front)
}

fn patient() -> LiveNode {
    LiveNode::start_with(|it| it.settings(|s| s.ask_timeout = HOUR))
}

/// What a front saw of a question, or of a message, once it saw so much.
fn seen_of<F>(
    count: usize,
    send: impl FnOnce(Node, Ref<FrontApi>) -> F + Send + 'static,
) -> Vec<Sight>
where
    F: Future<Output = ()> + 'static,
{
    let node = patient();
    let (seen, front) = front(&node);
    node.run(move |node| send(node, front));
    let sights = seen.clone();
    node.until_so("the front", move |_| sights.count() >= count);
    assert_closed(&node.counters());
    let sights = seen.all().clone();
    assert_eq!(sights[0], Sight::Deadline(None), "nobody asks at the start");
    sights[1..].to_vec()
}

fn is_within(sight: Sight, most: Duration) -> bool {
    matches!(sight, Sight::Deadline(Some(left)) if left <= most)
}

#[test]
fn a_question_of_a_handler_that_waits_inherits_the_deadline() {
    let sights = seen_of(4, |_, front| async move {
        drop(front.ask(Delegate).timeout(SHORT).await);
    });
    assert!(
        is_within(sights[0], SHORT) && is_within(sights[1], SHORT),
        "{sights:?}"
    );
    let Sight::Fate(Some((after, _))) = sights[2] else {
        panic!("{sights:?}")
    };
    assert!(after < SHORT, "{after:?}");
}

#[test]
fn a_question_made_in_a_handler_inherits_the_deadline_wherever_it_is_awaited() {
    let sights = seen_of(3, |_, front| async move {
        drop(front.ask(Entrust).timeout(SHORT).await);
    });
    assert!(is_within(sights[0], SHORT), "{sights:?}");
    let Sight::Fate(Some((after, _))) = sights[1] else {
        panic!("{sights:?}")
    };
    assert!(after < SHORT, "{after:?}");
}

#[test]
fn a_question_with_a_timeout_of_its_own_inherits_nothing() {
    let sights = seen_of(2, |_, front| async move {
        drop(front.ask(Insist).timeout(SHORT).await);
    });
    assert_eq!(sights, [Sight::Fate(Some((3 * SHORT, AskPhase::Sent)))]);
}

#[test]
fn the_handler_of_a_tell_has_no_deadline_nor_has_what_follows_a_question() {
    let node = LiveNode::start_with(|it| it.settings(|s| s.ask_timeout = SHORT));
    let (seen, front) = front(&node);
    let after = node.run(move |_| async move {
        front.ask(Entrust).timeout(HOUR).await.expect("an answer");
        front.try_tell(Entrust).expect("room");
        // A task is nobody's handler.
        match front.ask(Delegate).await.err() {
            Some(AskError::Timeout { after, .. }) => after,
            other => panic!("expected a timeout: {other:?}"),
        }
    });
    assert_eq!(after, SHORT, "the node's own");
    let sights = seen.all().clone();
    assert!(is_within(sights[1], HOUR), "{sights:?}");
    assert!(sights[1..].contains(&Sight::Deadline(None)), "{sights:?}");
}

#[test]
fn what_is_handled_while_a_handler_waits_has_nothing_of_its_deadline() {
    let node = patient();
    let ((waiting, front), (seen, other)) = (front(&node), front(&node));
    node.run(move |node| async move {
        let ask = front.ask(Dally).timeout(HOUR);
        node.spawn_task(async move { drop(ask.await) })
            .expect("room");
    });
    node.until_so("the one to wait", move |_| waiting.count() == 2);
    node.run(move |_| async move { other.try_tell(Entrust).expect("room") });
    let sights = seen.clone();
    node.until_so("the other", move |_| sights.count() == 2);
    assert_eq!(seen.all()[1], Sight::Deadline(None));
}

/// Waits until the shelf is opened.
#[message(id = "tests.Shelved", v = 1)]
struct Shelved;

/// Opens the shelf.
#[message(id = "tests.Unshelve", v = 1, reply = Numbers)]
struct Unshelve;

protocol! { ShelfApi = "tests.shelf" { Shelved, Unshelve } }

struct Shelf {
    seen: Seen,
    is_open: bool,
}

impl Actor for Shelf {
    type Api = ShelfApi;

    const STASH: StashLimit = StashLimit::USUAL;
}

#[later_handler]
impl LaterHandler<Shelved> for Shelf {
    fn handle(&mut self, shelved: Msg<Shelved>, reply: ReplyTo<Shelved>, cx: &mut Cx<'_, Self>) {
        match self.is_open {
            true => self.seen.note(Sight::Deadline(cx.deadline())),
            false => assert!(cx.stash(shelved, reply).is_ok(), "room"),
        }
    }
}

#[async_handler]
impl AsyncHandler<Unshelve> for Shelf {
    async fn handle(&mut self, _: Msg<Unshelve>, cx: &mut Cx<'_, Self>) -> Numbers {
        self.seen.note(Sight::Deadline(cx.deadline()));
        self.is_open = true;
        assert_eq!(cx.unstash_all(), 1);
        none()
    }
}

#[test]
fn what_comes_back_behind_a_question_has_nothing_of_its_deadline() {
    let node = patient();
    let seen = Seen::default();
    let noted = seen.clone();
    node.run(move |node| async move {
        let (seen, is_open) = (noted, false);
        let shelf: Ref<ShelfApi> = node.spawn(Shelf { seen, is_open }).expect("room");
        shelf.try_tell(Shelved).expect("room");
        shelf.ask(Unshelve).timeout(HOUR).await.expect("an answer");
    });
    let sights = seen.clone();
    node.until_so("what was shelved", move |_| sights.count() == 2);
    let sights = seen.all().clone();
    assert!(is_within(sights[0], HOUR), "{sights:?}");
    assert_eq!(sights[1], Sight::Deadline(None));
}

#[test]
fn a_question_that_waited_beyond_its_deadline_is_not_handled() {
    let node = LiveNode::start();
    let gate = Gate::default();
    spawn_keeper(&node, &gate);
    let path = node.path(KEEPER);
    let target =
        node.run(move |node| async move { make::target_of(&keeper_at(&node, &path).await) });
    let mut peer = RawPeer::link(node.id());
    let knock = |number| Knock {
        number,
        panics: false,
    };
    peer.send(&make::definitions::<Knock>(target));
    // The first is handled whatever its deadline: nobody was in front of it.
    for (number, remaining_us) in [(1, 1), (2, 1), (3, 10_000_000), (4, 1)] {
        peer.send(&make::ask_within(&knock(number), number, remaining_us));
    }
    let books = node.until("three to wait", |now| now.waiting == 3);
    assert_closed(&books);
    gate.open();
    let mut answers = Vec::new();
    while answers.len() < 4 {
        let frame = peer.frame().expect("the link lives");
        if let Some(extension) = frame.extension {
            answers.push((extension.correlation, frame.header.kind, extension.code));
        }
    }
    let expired = ErrorCode::Expired.to_wire();
    let expected = [
        (1, Kind::Reply, 0),
        (2, Kind::Error, expired),
        (3, Kind::Reply, 0),
        (4, Kind::Error, expired),
    ];
    assert_eq!(answers, expected);
    let books = node.counters();
    assert_closed(&books);
    assert_eq!(
        (books.dead_expired, books.dead_received),
        (2, 2),
        "{books:#?}"
    );
    assert_eq!(gate.passed(), 2);
}
