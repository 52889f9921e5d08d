//! Answers that are given later than their handler ends, and what becomes of them when whoever owes
//! them is gone.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use ringmesh::{
    Accepts, Actor, Ask, AskError, AsyncHandler, Cx, Handler, LaterHandler, Msg, Ref, ReplyTo,
    async_handler, later_handler, message, protocol,
};
use ringmesh_proto::limits::ASKS_OUTSTANDING_MAX;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};

const HOUR: Duration = Duration::from_secs(3600);

/// A question that is answered when the desk is told to.
#[message(id = "tests.Request", v = 1, reply = Decision)]
struct Request {
    number: u64,
    panics: bool,
}

#[message(id = "tests.Decision", v = 1)]
struct Decision {
    number: u64,
    armed: bool,
}

impl Drop for Decision {
    fn drop(&mut self) {
        assert!(!self.armed, "an answer that panics in its drop");
    }
}

/// Has the desk do something with the requests it keeps.
#[message(id = "tests.Decide", v = 1, reply = Decision)]
struct Decide {
    how: u8,
}

const ANSWER: u8 = 0;
const DROP: u8 = 1;
const IN_TASK: u8 = 2;
const ARMED: u8 = 3;
const STOP: u8 = 4;
const PANIC: u8 = 5;

protocol! { DeskApi = "tests.desk" { Request, Decide } }
protocol! { SlowDeskApi = "tests.slow_desk" { Request, Decide } }

/// Keeps requests until it is told what to do with them.
#[derive(Default)]
struct Desk {
    kept: Vec<(u64, ReplyTo<Request>)>,
    told: Arc<AtomicU64>,
}

fn decision(number: u64) -> Decision {
    Decision {
        number,
        armed: false,
    }
}

impl Actor for Desk {
    type Api = DeskApi;
}

#[later_handler]
impl LaterHandler<Request> for Desk {
    fn handle(&mut self, request: Msg<Request>, reply: ReplyTo<Request>, _: &mut Cx<'_, Self>) {
        assert_eq!(reply.is_asked(), reply.deadline().is_some());
        assert!(!request.panics, "told to by a test");
        if !reply.is_asked() {
            self.told.fetch_add(1, Ordering::Relaxed);
        }
        self.kept.push((request.number.to_native(), reply));
    }
}

impl Handler<Decide> for Desk {
    fn handle(&mut self, decide: Msg<Decide>, cx: &mut Cx<'_, Self>) -> Decision {
        let mut kept = std::mem::take(&mut self.kept);
        let count = kept.len() as u64;
        match decide.how {
            // The last first.
            ANSWER => {
                for (number, reply) in kept.into_iter().rev() {
                    reply.send(decision(number));
                }
            }
            DROP => drop(kept),
            IN_TASK => {
                let node = cx.node();
                let answering = async move {
                    for (number, reply) in kept {
                        node.sleep(Duration::from_millis(1)).await;
                        reply.send(decision(number));
                    }
                };
                cx.node().spawn_task(answering).expect("room");
            }
            ARMED => {
                for (number, reply) in kept {
                    let armed = true;
                    reply.send(Decision { number, armed });
                }
            }
            STOP => {
                std::mem::swap(&mut self.kept, &mut kept);
                cx.stop();
            }
            _ => {
                std::mem::swap(&mut self.kept, &mut kept);
                panic!("told to by a test");
            }
        }
        decision(count)
    }
}

fn request(number: u64) -> Request {
    Request {
        number,
        panics: false,
    }
}

/// A request that was sent, and waits for its answer.
fn sent<P>(desk: Ref<P>, number: u64) -> Ask<P, Request>
where
    P: Accepts<Request>,
{
    let mut ask = desk.ask(request(number)).timeout(HOUR);
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut ask).poll(&mut context).is_pending());
    ask
}

const REQUESTS: u64 = 5;

/// What requests at a desk of another node came to, after the desk was told what to do with them.
fn decided(how: u8) -> (Vec<Result<u64, AskError>>, LiveNode, LiveNode) {
    let (server, client) = (LiveNode::start(), LiveNode::start());
    server.run(|node| async move {
        node.spawn_named("desk", Desk::default())
            .expect("a free name");
    });
    let path = server.path("desk");
    let fates = client.run(move |node| async move {
        let desk: Ref<DeskApi> = node.resolve(&path).await.expect("it is there");
        let asks = (0..REQUESTS)
            .map(|number| sent(desk, number))
            .collect::<Vec<_>>();
        let _ = desk.ask(Decide { how }).await;
        let mut fates = Vec::new();
        for ask in asks {
            fates.push(ask.await.map(|decision| decision.number.to_native()));
        }
        fates
    });
    for node in [&server, &client] {
        assert_closed(&node.until("quiet", |now| now.in_flight == 0));
    }
    (fates, server, client)
}

#[test]
fn an_answer_comes_when_the_actor_wants() {
    for how in [ANSWER, IN_TASK] {
        let (fates, server, _client) = decided(how);
        let expected: Vec<_> = (0..REQUESTS).map(Ok).collect();
        assert_eq!(fates, expected, "{how}");
        let books = server.counters();
        assert_eq!((books.panics, books.waiting), (0, 0), "{books:#?}");
    }
}

#[test]
fn an_answer_that_is_never_given_is_a_failure_however_it_is_lost() {
    for how in [DROP, STOP, PANIC] {
        let (fates, _server, _client) = decided(how);
        assert_eq!(
            fates,
            vec![Err(AskError::Failed); REQUESTS as usize],
            "{how}"
        );
    }
}

#[test]
fn an_answer_that_panics_in_its_drop_was_given() {
    let (fates, server, _client) = decided(ARMED);
    let mut expected = vec![Err(AskError::Failed); REQUESTS as usize];
    expected[0] = Ok(0);
    assert_eq!(
        fates, expected,
        "the panic ended the actor, which kept the others"
    );
    assert_eq!(server.counters().panics, 1);
}

#[test]
fn a_handler_that_panics_before_it_kept_its_question_fails_it_once() {
    let node = LiveNode::start();
    let (fate, after) = node.run(|node| async move {
        let desk = node.spawn(Desk::default()).expect("room");
        let panics = true;
        let fate = desk.ask(Request { number: 1, panics }).await.err();
        (fate, desk.ask(request(2)).await.err())
    });
    assert_eq!(fate, Some(AskError::Failed));
    assert_eq!(after, Some(AskError::NotRunning));
    let books = node.until("quiet", |now| now.in_flight == 0);
    assert_closed(&books);
    assert_eq!(books.dead_late_answer, 0, "{books:#?}");
}

#[test]
fn a_message_that_nobody_asked_has_nowhere_to_answer() {
    let node = LiveNode::start();
    let told = Arc::new(AtomicU64::new(0));
    let noted = Arc::clone(&told);
    node.run(|node| async move {
        let desk = Desk {
            told: noted,
            ..Desk::default()
        };
        let desk = node.spawn(desk).expect("room");
        desk.tell(request(1)).await.expect("room");
        let count = desk.ask(Decide { how: ANSWER }).await.expect("an answer");
        assert_eq!(count.number, 1);
    });
    assert_eq!(told.load(Ordering::Relaxed), 1);
    let books = node.until("quiet", |now| now.in_flight == 0);
    assert_closed(&books);
    assert_eq!(books.dead_received, 0, "{books:#?}");
}

#[test]
fn an_answer_behind_the_end_of_its_link_goes_nowhere() {
    let (server, client) = (LiveNode::start(), LiveNode::start());
    server.run(|node| async move {
        node.spawn_named("desk", Desk::default())
            .expect("a free name");
    });
    let path = server.path("desk");
    client.run(move |node| async move {
        let desk: Ref<DeskApi> = node.resolve(&path).await.expect("it is there");
        let ask = sent(desk, 1);
        let asking = async move { drop(ask.await) };
        node.spawn_task(asking).expect("room");
    });
    let received = server.until("the request", |now| now.received >= 2);
    client.stop();
    server.until("the end of the link", |now| now.links == 0);
    let path = server.path("desk");
    let count = server.run(move |node| async move {
        let desk: Ref<DeskApi> = node.resolve(&path).await.expect("it is there");
        let count = desk.ask(Decide { how: ANSWER }).await.expect("it lives");
        count.number.to_native()
    });
    assert_eq!(count, 1);
    let books = server.until("quiet", |now| now.in_flight == 0);
    assert_closed(&books);
    assert_eq!(books.panics, received.panics, "{books:#?}");
}

#[test]
fn a_node_that_ends_fails_what_it_owes() {
    let (server, client) = (LiveNode::start(), LiveNode::start());
    server.run(|node| async move {
        node.spawn_named("desk", Desk::default())
            .expect("a free name");
    });
    let path = server.path("desk");
    let asking = client.begin(move |node| async move {
        let desk: Ref<DeskApi> = node.resolve(&path).await.expect("it is there");
        desk.ask(request(1)).timeout(HOUR).await.err()
    });
    server.until("the request", |now| now.received >= 2);
    server.stop();
    assert!(
        asking.finish().is_some(),
        "no answer, and an end all the same"
    );
    assert_closed(&client.counters());
}

#[test]
fn one_over_the_questions_a_peer_may_have_open_ends_its_link() {
    let server = LiveNode::start();
    let target = server.run(|node| async move {
        let desk = node.spawn_named("desk", Desk::default());
        make::target_of(&desk.expect("a free name"))
    });
    let mut peer = RawPeer::link(server.id());
    peer.send(&make::definitions::<Request>(target));
    let all: Vec<u8> = (0..ASKS_OUTSTANDING_MAX as u64)
        .flat_map(|number| make::ask(&request(number), number))
        .collect();
    peer.send(&all);
    let most = ASKS_OUTSTANDING_MAX as u64;
    let books = server.until("all of them", move |now| now.received >= most);
    assert_eq!((books.links, books.closed_for_fault), (1, 0), "{books:#?}");
    peer.send(&make::ask(&request(0), u64::MAX));
    peer.ending();
    let reasons = server.run(|node| async move { node.close_reasons() });
    assert_eq!(reasons.get("too_many_asks"), Some(&1), "{reasons:?}");
    // What is left of them can be answered, to nobody.
    let path = server.path("desk");
    server.run(move |node| async move {
        let desk: Ref<DeskApi> = node.resolve(&path).await.expect("it is there");
        let count = desk.ask(Decide { how: ANSWER }).await.expect("it lives");
        assert_eq!(count.number, most + 1);
    });
    assert_closed(&server.counters());
}

/// The same beside a handler that waits.
#[derive(Default)]
struct SlowDesk {
    kept: Vec<(u64, ReplyTo<Request>)>,
}

impl Actor for SlowDesk {
    type Api = SlowDeskApi;
}

#[later_handler]
impl LaterHandler<Request> for SlowDesk {
    fn handle(&mut self, request: Msg<Request>, reply: ReplyTo<Request>, _: &mut Cx<'_, Self>) {
        assert!(reply.is_asked() && reply.deadline().is_some());
        self.kept.push((request.number.to_native(), reply));
    }
}

#[async_handler]
impl AsyncHandler<Decide> for SlowDesk {
    async fn handle(&mut self, _: Msg<Decide>, cx: &mut Cx<'_, Self>) -> Decision {
        cx.node().sleep(Duration::from_millis(1)).await;
        let count = self.kept.len() as u64;
        for (number, reply) in self.kept.drain(..) {
            reply.send(decision(number));
        }
        decision(count)
    }
}

#[test]
fn an_actor_with_a_handler_that_waits_answers_later_too() {
    let node = LiveNode::start();
    let (count, fate) = node.run(|node| async move {
        let desk = node.spawn(SlowDesk::default()).expect("room");
        let ask = sent(desk, 9);
        let decided = desk.ask(Decide { how: ANSWER }).await.expect("an answer");
        let fate = ask.await.map(|decision| decision.number.to_native());
        (decided.number.to_native(), fate)
    });
    assert_eq!((count, fate), (1, Ok(9)));
    let books = node.until("quiet", |now| now.in_flight == 0);
    assert_closed(&books);
    assert_eq!(books.dead_late_answer, 0, "{books:#?}");
}
