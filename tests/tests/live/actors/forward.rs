//! Messages that are passed on as the bytes they came in, and answers that come back the same way.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use ringmesh::{
    Actor, AskError, AskPhase, Cx, Executed, LaterHandler, Message, Msg, Node, Ref, ReplyTo,
    SendError, later_handler, message, protocol, wire,
};
use ringmesh_proto::frame::Head;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::ASKS_OUTSTANDING_MAX;
use ringmesh_proto::message::MessageType;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawFrame, RawListener, RawPeer, frames as make};

const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(400);

/// Long enough for a question to leave, on a busy host too.
const KEPT: Duration = Duration::from_secs(2);

/// A question for the sage, which the usher passes on.
#[message(id = "tests.Riddle", v = 1, reply = Solved)]
struct Riddle {
    number: u64,
    how: u8,
    text: String,
}

const SOLVE: u8 = 0;
const KEEP: u8 = 1;
const PANIC: u8 = 2;
/// The usher tells it, and answers itself.
const COPY: u8 = 3;

#[message(id = "tests.Solved", v = 1)]
struct Solved {
    number: u64,
    text: String,
    left_us: u64,
}

protocol! { UsherApi = "tests.usher" { Riddle } }
protocol! { SageApi = "tests.sage" { Riddle } }

/// Passes everything on.
struct Usher {
    sage: Ref<SageApi>,
}

impl Actor for Usher {
    type Api = UsherApi;
}

/// What the usher itself answers.
const REFUSED: u64 = u64::MAX;
const COPIED: u64 = u64::MAX - 1;

fn answer_of(number: u64) -> Solved {
    Solved {
        number,
        text: String::new(),
        left_us: 0,
    }
}

#[later_handler]
impl LaterHandler<Riddle> for Usher {
    fn handle(&mut self, riddle: Msg<Riddle>, reply: ReplyTo<Riddle>, cx: &mut Cx<'_, Self>) {
        if riddle.how == COPY {
            cx.forward(riddle, &self.sage).expect("room");
            return reply.send(answer_of(COPIED));
        }
        if let Err(refused) = reply.forward(riddle, &self.sage) {
            let number = refused.error.into_message().number.to_native();
            assert!(refused.reply.is_asked());
            let text = number.to_string();
            refused.reply.send(Solved {
                text,
                ..answer_of(REFUSED)
            });
        }
    }
}

/// Answers, or does not.
#[derive(Default)]
struct Sage {
    kept: Rc<RefCell<Vec<ReplyTo<Riddle>>>>,
    /// Riddles that nobody asked.
    told: Arc<AtomicU64>,
}

impl Actor for Sage {
    type Api = SageApi;
}

#[later_handler]
impl LaterHandler<Riddle> for Sage {
    fn handle(&mut self, riddle: Msg<Riddle>, reply: ReplyTo<Riddle>, _: &mut Cx<'_, Self>) {
        if !reply.is_asked() {
            self.told
                .fetch_add(riddle.number.to_native(), Ordering::Relaxed);
        }
        match riddle.how {
            KEEP => self.kept.borrow_mut().push(reply),
            PANIC => panic!("told to by a test"),
            _ => {
                let left = reply.deadline().unwrap_or_default();
                reply.send(Solved {
                    number: riddle.number.to_native(),
                    text: riddle.text.to_string(),
                    left_us: u64::try_from(left.as_micros()).expect("less than an hour"),
                });
            }
        }
    }
}

fn riddle(number: u64, how: u8) -> Riddle {
    let text = "what is read where it lies?".to_owned();
    Riddle { number, how, text }
}

/// A sage at the back, an usher to it in front, and who asks that.
struct Three {
    back: Option<LiveNode>,
    front: LiveNode,
    client: LiveNode,
    told: Arc<AtomicU64>,
}

/// A node with credit for as many questions as there may be.
fn roomy() -> LiveNode {
    LiveNode::start_with(|it| it.settings(|s| s.window_bytes = 4 << 20))
}

impl Three {
    fn start() -> Self {
        let [back, front, client] = std::array::from_fn(|_| roomy());
        let told = Arc::new(AtomicU64::new(0));
        let noted = Arc::clone(&told);
        back.run(|node| async move {
            let sage = Sage {
                told: noted,
                ..Sage::default()
            };
            node.spawn_named("sage", sage).expect("a free name");
        });
        let path = back.path("sage");
        front.run(move |node| async move {
            let sage: Ref<SageApi> = node.resolve(&path).await.expect("it is there");
            node.spawn_named("usher", Usher { sage })
                .expect("a free name");
        });
        let back = Some(back);
        Self {
            back,
            front,
            client,
            told,
        }
    }

    /// Does something with the usher at the client.
    fn run<R, Fut>(&self, job: impl FnOnce(Node, Ref<UsherApi>) -> Fut + Send + 'static) -> R
    where
        R: Send + 'static,
        Fut: Future<Output = R> + 'static,
    {
        let path = self.front.path("usher");
        self.client.run(move |node| async move {
            let usher = node.resolve(&path).await.expect("it is there");
            job(node, usher).await
        })
    }

    fn back(&self) -> &LiveNode {
        self.back.as_ref().expect("it runs")
    }

    /// Checks the accounts of all of them.
    fn balance(&self) {
        for node in self.back.iter().chain([&self.front, &self.client]) {
            assert_closed(&node.until("quiet", |now| now.in_flight == 0));
        }
    }
}

#[test]
fn an_answer_comes_back_the_way_its_question_was_passed_on() {
    let three = Three::start();
    three.run(|_, usher| async move {
        for number in 0..100 {
            let solved = usher.ask(riddle(number, SOLVE)).timeout(HOUR).await;
            let solved = solved.expect("an answer").deserialize();
            assert_eq!((solved.number, solved.text), (number, riddle(0, 0).text));
            let left = Duration::from_micros(solved.left_us);
            assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
        }
    });
    three.balance();
    let books = three.front.counters();
    assert_eq!((books.dead_received, books.panics), (0, 0), "{books:#?}");
}

#[test]
fn an_error_comes_back_as_well() {
    let three = Three::start();
    let fates = three.run(|_, usher| async move {
        let panicked = usher.ask(riddle(1, PANIC)).await.err();
        // It runs no longer.
        (panicked, usher.ask(riddle(2, SOLVE)).await.err())
    });
    assert_eq!(fates, (Some(AskError::Failed), Some(AskError::NotRunning)));
    three.balance();
}

#[test]
fn a_message_that_nobody_asked_is_told_and_a_copy_is_not_answered_twice() {
    let three = Three::start();
    let copied = three.run(|_, usher| async move {
        usher.tell(riddle(5, SOLVE)).await.expect("room");
        let copied = usher.ask(riddle(7, COPY)).await.expect("an answer");
        copied.number.to_native()
    });
    assert_eq!(copied, COPIED);
    let told = Arc::clone(&three.told);
    three
        .back()
        .until_so("both", move |_| told.load(Ordering::Relaxed) == 12);
    three.balance();
    assert_eq!(three.client.counters().dead_late_answer, 0);
}

#[test]
fn a_question_that_cannot_be_passed_on_comes_back_with_its_asker() {
    let mut three = Three::start();
    drop(three.back.take());
    three
        .front
        .until("the end of its link", |now| now.links <= 1);
    let (number, text) = three.run(|_, usher| async move {
        let refused = usher.ask(riddle(3, SOLVE)).await.expect("an answer");
        let refused = refused.deserialize();
        (refused.number, refused.text)
    });
    assert_eq!((number, text.as_str()), (REFUSED, "3"));
    three.balance();
}

#[test]
fn the_end_of_a_link_ends_the_questions_that_were_passed_on_over_it() {
    let mut three = Three::start();
    let path = three.front.path("usher");
    let asking = three.client.begin(move |node| async move {
        let usher: Ref<UsherApi> = node.resolve(&path).await.expect("it is there");
        usher.ask(riddle(3, KEEP)).timeout(HOUR).await.err()
    });
    three.back().until("the riddle", |now| now.received >= 2);
    drop(three.back.take());
    let error = asking.finish().expect("no answer");
    assert_eq!(error.executed(), Executed::Maybe, "{error}");
    three.balance();
}

#[test]
fn a_question_that_is_passed_on_keeps_its_deadline() {
    let three = Three::start();
    let error = three.run(|_, usher| async move {
        let ask = usher.ask(riddle(3, KEEP)).timeout(KEPT);
        ask.await.err()
    });
    let (after, phase) = (KEPT, AskPhase::Sent);
    assert_eq!(error, Some(AskError::Timeout { after, phase }));
    // Nobody knows it any more: the error in its place comes late to the client.
    three
        .client
        .until("the answer", |now| now.dead_late_answer == 1);
    let books = three.front.until("the end", |now| now.asks_abandoned == 1);
    assert_eq!(books.cancels_sent, 1);
    three.balance();
}

/// Passes a question on to itself.
struct Circle(Arc<AtomicU64>);

impl Actor for Circle {
    type Api = UsherApi;
}

#[later_handler]
impl LaterHandler<Riddle> for Circle {
    fn handle(&mut self, riddle: Msg<Riddle>, reply: ReplyTo<Riddle>, cx: &mut Cx<'_, Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        if let Err(refused) = reply.forward(riddle, &cx.me()) {
            // Its drop answers.
            assert!(matches!(refused.error, SendError::Full(_)), "{refused}");
        }
    }
}

#[test]
fn a_question_that_goes_round_in_a_circle_ends() {
    let node = LiveNode::start();
    let rounds = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&rounds);
    let error = node.run(|node| async move {
        let circle = node.spawn(Circle(counted)).expect("room");
        circle.ask(riddle(1, SOLVE)).timeout(SHORT).await.err()
    });
    assert!(error.is_some());
    let books = node.until("quiet", |now| now.in_flight == 0);
    assert_closed(&books);
    let before = rounds.load(Ordering::Relaxed);
    assert!(before > 1, "{before}");
    // Far more turns than rounds would take.
    node.until("turns", move |now| now.turns > books.turns + 100);
    assert_eq!(rounds.load(Ordering::Relaxed), before);
}

#[test]
fn one_over_the_questions_of_a_link_is_not_passed_on() {
    let three = Three::start();
    let path = three.back().path("sage");
    // The asks of the front itself take all there are on its link.
    let kept = three.front.run(move |node| async move {
        let sage: Ref<SageApi> = node.resolve(&path).await.expect("it is there");
        let mut context = Context::from_waker(Waker::noop());
        let mut asks = Vec::new();
        while asks.len() < ASKS_OUTSTANDING_MAX {
            let mut ask = sage.ask(riddle(1, KEEP)).timeout(HOUR);
            assert!(Pin::new(&mut ask).poll(&mut context).is_pending());
            asks.push(ask);
        }
        node.spawn_task(async move {
            let _asks = asks;
            std::future::pending::<()>().await;
        })
    });
    kept.expect("room");
    let most = ASKS_OUTSTANDING_MAX as u64;
    three
        .back()
        .until("all of them", move |now| now.received > most);
    let number = three.run(|_, usher| async move {
        let refused = usher.ask(riddle(3, SOLVE)).await.expect("an answer");
        refused.number.to_native()
    });
    assert_eq!(number, REFUSED);
    assert_closed(&three.front.counters());
}

/// What a node's directory answers, to be forged.
#[message(id = "ringmesh.Resolved", v = 1)]
struct Resolved {
    finding: Finding,
    core: u16,
    slot: u32,
    generation: u64,
}

#[wire]
#[allow(dead_code, reason = "the wire has all of them")]
enum Finding {
    Found,
    NotFound,
    WrongProtocol,
}

/// Answers a question as a hand-driven peer, which numbers the types of its answers in order.
fn reply(peer: &mut RawPeer, question: &RawFrame, number: u16, what: MessageType, payload: &[u8]) {
    let head = Head {
        kind: Kind::Reply,
        type_number: number,
        target_number: 0,
        extension: question.extension,
    };
    peer.send(&make::define_type(number, what));
    peer.send(&make::frame(&head, payload));
}

/// An usher on `front` to a sage that the test plays.
fn played_sage(front: &LiveNode) -> RawPeer {
    let listener = RawListener::bind();
    let path = format!("{}/user/sage", listener.address);
    let ready = front.begin(move |node| async move {
        let sage: Ref<SageApi> = node.resolve(&path).await.expect("it is there");
        node.spawn_named("usher", Usher { sage })
            .expect("a free name");
    });
    let (mut peer, preface) = listener.accept();
    let mut accept = Vec::new();
    peer.accept_of(&preface).encode(&mut accept);
    peer.send(&accept);
    let question = peer.frame_of(Kind::Ask);
    let found = make::archived(&Resolved {
        finding: Finding::Found,
        core: 0,
        slot: 1,
        generation: 1,
    });
    reply(&mut peer, &question, 1, Resolved::TYPE, &found);
    ready.finish();
    peer
}

#[test]
fn a_cancel_follows_its_question_to_where_it_was_passed_on() {
    let front = roomy();
    let mut sage = played_sage(&front);
    let path = front.path("usher");
    let usher = front.run(move |node| async move {
        let usher: Ref<UsherApi> = node.resolve(&path).await.expect("it is there");
        make::target_of(&usher)
    });
    let mut asker = RawPeer::link(front.id());
    let mut bytes = make::definitions::<Riddle>(usher);
    bytes.extend(make::ask(&riddle(1, SOLVE), 70));
    // Again, and of a question that nobody asked.
    [70, 70, 72]
        .map(make::cancel)
        .iter()
        .for_each(|cancel| bytes.extend(cancel));
    bytes.extend(make::ask(&riddle(2, SOLVE), 71));
    asker.send(&bytes);
    let first = sage.frame_of(Kind::Ask);
    let number = |frame: &RawFrame| frame.extension.map(|it| it.correlation);
    let cancel = sage.frame_of(Kind::Cancel);
    assert_eq!(number(&cancel), number(&first), "by the number it has here");
    // One cancel, and then the next question.
    let second = loop {
        let frame = sage.frame().expect("the link lives");
        assert_ne!(frame.header.kind, Kind::Cancel, "{frame:?}");
        if frame.header.kind == Kind::Ask {
            break frame;
        }
    };
    // A sage that does not mind answers all the same.
    let solved = make::archived(&answer_of(1));
    reply(&mut sage, &first, 2, Solved::TYPE, &solved);
    assert_eq!(asker.answers(1), [(70, Kind::Reply, 0)]);
    // It is over: there is nothing to cancel.
    asker.send(&make::cancel(70));
    let head = Head {
        kind: Kind::Reply,
        type_number: 2,
        target_number: 0,
        extension: second.extension,
    };
    sage.send(&make::frame(&head, &solved));
    assert_eq!(number(&asker.frame_of(Kind::Reply)), Some(71));
    drop((asker, sage));
    let books = front.until("quiet", |now| (now.in_flight, now.links) == (0, 0));
    assert_closed(&books);
    assert_eq!(
        (
            books.cancels_passed_on,
            books.cancels_sent,
            books.asks_abandoned
        ),
        (1, 0, 0),
        "{books:#?}"
    );
}

#[test]
fn an_answer_that_is_not_valid_is_the_fault_of_whoever_gave_it() {
    let (front, client) = (roomy(), roomy());
    let mut peer = played_sage(&front);
    let path = front.path("usher");
    let asking = client.begin(move |node| async move {
        let usher: Ref<UsherApi> = node.resolve(&path).await.expect("it is there");
        usher.ask(riddle(1, SOLVE)).timeout(HOUR).await.err()
    });
    let question = peer.frame_of(Kind::Ask);
    assert_eq!(question.payload, make::archived(&riddle(1, SOLVE)));
    let left = question.extension.expect("a question has one").remaining_us;
    assert!(u128::from(left) <= HOUR.as_micros(), "{left}");
    reply(&mut peer, &question, 2, Solved::TYPE, &[0xFF; 3]);
    assert_eq!(asking.finish(), Some(AskError::Failed));
    peer.ending();
    let reasons = front.run(|node| async move { node.close_reasons() });
    assert_eq!(reasons.get("archive"), Some(&1), "{reasons:?}");
    for (node, faults) in [(&front, 1), (&client, 0)] {
        let books = node.until("quiet", |now| now.in_flight == 0);
        assert_closed(&books);
        assert_eq!(books.closed_for_fault, faults, "{books:#?}");
    }
}
