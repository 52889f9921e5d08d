//! What becomes of questions that nobody waits for, of answers that are wrong, and of asks that a
//! core cannot make.

use std::future::Future;
use std::mem::offset_of;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use ringmesh::{
    Actor, AskError, AskPhase, Cx, Executed, Handler, Msg, Node, Ref, ResolveError, SendError,
    message, protocol, wire,
};
use ringmesh_proto::frame::Head;
use ringmesh_proto::frame::body::ErrorCode;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::{ASKS_OUTSTANDING_MAX, WINDOW_BYTES};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Echoed, Inflate, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::frames as make;
use ringmesh_tests::live::raw::{RawListener, RawPeer};
use ringmesh_tests::live::watched::Watched;

const HOUR: Duration = Duration::from_secs(3600);

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn echo(number: u64) -> Echo {
    Echo {
        number,
        body: Bytes::new(),
    }
}

#[test]
fn one_over_the_outstanding_asks_is_refused_though_all_were_dropped() {
    // Credit for all of them at once, and for their cancels.
    let server = LiveNode::start_serving_with(|it| it.settings(|s| s.window_bytes = 4 << 20));
    let client = LiveNode::start_with(|it| it.settings(|s| s.window_bytes = 4 << 20));
    let path = server.path(ECHO);
    let (to, dropped, refused) = client.run(move |node| async move {
        let to: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let mut dropped = 0;
        // In one turn, so that no answer is taken in between.
        loop {
            let mut ask = to.ask(Inflate { body_bytes: 1000 });
            match poll_once(Pin::new(&mut ask)) {
                Poll::Ready(refused) => return (to, dropped, refused.err()),
                Poll::Pending if dropped > 2 * ASKS_OUTSTANDING_MAX => return (to, dropped, None),
                Poll::Pending => dropped += 1,
            }
        }
    });
    let limit = ASKS_OUTSTANDING_MAX;
    assert_eq!(refused, Some(AskError::TooManyAsks { limit }));
    assert_eq!(dropped, limit);

    let dropped = dropped as u64;
    let books = client.until("every answer", move |now| now.dead_late_answer == dropped);
    assert_eq!(
        (books.asks_abandoned, books.cancels_sent),
        (dropped, dropped)
    );
    assert_eq!(books.received, books.delivered + books.dead_received);
    // Each answer gave its place back.
    let answered = client.run(move |_| async move { to.ask(echo(7)).await.map(|it| it.number) });
    assert_eq!(answered.expect("the link lives"), 7);
    let books = server.until("quiet", |now| now.in_flight == 0);
    assert_eq!(books.closed_for_fault, 0, "{books:#?}");
    assert_eq!(books.delivered, dropped + 2, "{books:#?}");
}

/// Handles a question when it is told to.
struct Gate(Receiver<()>);

#[message(id = "tests.Pass", v = 1, reply = Echoed)]
struct Pass;

protocol! { GateApi = "tests.gate" { Pass } }

impl Actor for Gate {
    type Api = GateApi;
}

impl Handler<Pass> for Gate {
    fn handle(&mut self, _: Msg<Pass>, _: &mut Cx<'_, Self>) -> Echoed {
        let opened = self.0.recv_timeout(WAIT);
        opened.expect("the test opens the gate");
        Echoed {
            number: 1,
            body: Bytes::new(),
        }
    }
}

/// A client with a ref to a gate on another node, and what opens it.
fn gate() -> (LiveNode, LiveNode, Ref<GateApi>, Sender<()>) {
    let (server, client) = (LiveNode::start(), LiveNode::start());
    let (open, opened) = channel();
    server.run(|node| async move {
        node.spawn_named("gate", Gate(opened)).expect("a free name");
    });
    let path = server.path("gate");
    let to = client.run(move |node| async move {
        let gate: Ref<GateApi> = node.resolve(&path).await.expect("the gate is there");
        gate
    });
    (server, client, to, open)
}

#[test]
fn a_question_whose_time_is_up_is_cancelled_and_its_answer_comes_late() {
    let (server, client, gate, open) = gate();
    let error = client.run(move |_| async move {
        let ask = gate.ask(Pass).timeout(Duration::from_millis(5));
        ask.await.expect_err("the gate is closed")
    });
    let (after, phase) = (Duration::from_millis(5), AskPhase::Sent);
    assert_eq!(error, AskError::Timeout { after, phase });
    let books = client.counters();
    assert_eq!((books.asks_abandoned, books.cancels_sent), (1, 1));
    assert_eq!(books.dead_late_answer, 0);
    open.send(()).expect("the gate stands");
    let books = client.until("the answer", |now| now.dead_late_answer == 1);
    assert_eq!(books.received, books.delivered + books.dead_received);
    // It was written when the cancel came, so there was nothing to withdraw.
    assert_eq!(server.counters().replies_withdrawn, 0);
}

#[test]
fn a_cancelled_answer_that_waits_for_credit_is_replaced_by_an_error() {
    let watched = Watched::start();
    let mut peer = RawPeer::link(watched.id());
    peer.send(&make::definitions::<Inflate>(watched.echo()));
    // Four of them use up the peer's credit.
    let body_bytes = WINDOW_BYTES / 4 - 4096;
    for correlation in 1..=6 {
        peer.send(&make::ask(&Inflate { body_bytes }, correlation));
    }
    // One that has its answer, one that waits, the same again, and one that nobody asked.
    let cancels = [1, 5, 5, 99].map(make::cancel);
    peer.send(&cancels.concat());
    peer.send(&make::ask(&Inflate { body_bytes: 1 }, 7));
    let books = watched
        .node
        .until("the cancels", |now| now.replies_withdrawn > 0);
    assert_eq!(books.replies_withdrawn, 1);

    let answers = peer.answers(7);
    let cancelled = ErrorCode::Cancelled.to_wire();
    let expected = (1..=7).map(|correlation| match correlation {
        5 => (5, Kind::Error, cancelled),
        other => (other, Kind::Reply, 0),
    });
    assert!(answers.iter().copied().eq(expected), "{answers:?}");
    watched.saw_nothing();
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
enum Finding {
    Found,
    NotFound,
    WrongProtocol,
}

#[test]
fn an_invalid_answer_is_counted_and_closes_the_link() {
    let client = LiveNode::start();
    let listener = RawListener::bind();
    let looking = listener.sought_by(&client);
    let (mut peer, preface) = listener.accept();
    let mut accept = Vec::new();
    peer.accept_of(&preface).encode(&mut accept);
    peer.send(&accept);
    let question = peer.frame_of(Kind::Ask).extension;
    let mut payload = make::archived(&Resolved {
        finding: Finding::Found,
        core: 0,
        slot: 0,
        generation: 0,
    });
    payload[offset_of!(ArchivedResolved, finding)] = 9;
    let reply = Head {
        kind: Kind::Reply,
        type_number: make::TYPE,
        target_number: 0,
        extension: question,
    };
    peer.send(&make::define_type(
        make::TYPE,
        <Resolved as message::Message>::TYPE,
    ));
    peer.send(&make::frame(&reply, &payload));
    match looking.finish() {
        Err(ResolveError::Timeout { last, .. }) => {
            assert_eq!(last, AskError::InvalidReply.to_string());
        }
        other => panic!("expected an invalid answer: {other:?}"),
    }
    peer.ending();
    let books = client.counters();
    assert_eq!((books.dead_invalid, books.delivered), (1, 0), "{books:#?}");
    assert_eq!(books.received, books.delivered + books.dead_received);
    let reasons = client.run(|node| async move { node.close_reasons() });
    assert_eq!(reasons.get("archive"), Some(&1), "{reasons:?}");
}

#[test]
fn a_question_has_its_deadline_however_many_alarms_wait() {
    let (_server, client, gate, open) = gate();
    let error = client.run(move |node| async move {
        let mut sleeping = Vec::new();
        loop {
            let mut sleep = sleep_for_long(&node);
            if poll_once(sleep.as_mut()).is_ready() {
                break;
            }
            sleeping.push(sleep);
        }
        let ask = gate.ask(Pass).timeout(Duration::from_millis(5));
        let error = ask.await.expect_err("the gate is closed");
        // Alarms find room again behind one that dropped.
        sleeping.pop();
        assert!(poll_once(sleep_for_long(&node).as_mut()).is_pending());
        error
    });
    open.send(()).expect("the gate stands");
    assert!(matches!(error, AskError::Timeout { .. }), "{error}");
}

fn sleep_for_long(node: &Node) -> Pin<Box<dyn Future<Output = ()>>> {
    let node = node.clone();
    Box::pin(async move { node.sleep(HOUR).await })
}

#[test]
fn a_ref_of_another_node_of_the_process_says_so() {
    let (server, maker, user) = (
        LiveNode::start_serving(),
        LiveNode::start(),
        LiveNode::start(),
    );
    let paths = (server.path(ECHO), server.path(SINK));
    let refs = maker.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&paths.0).await.expect("the echo is there");
        let sink: Ref<SinkApi> = node.resolve(&paths.1).await.expect("the sink is there");
        (echo, sink, echo.to_string())
    });
    let (echo_there, _, name) = refs;
    assert!(name.contains(&server.address().to_string()), "{name}");
    // Whether the other node knows nobody or has that very peer at the same index.
    for knows_it in [false, true] {
        let path = server.path(ECHO);
        user.run(move |node| async move {
            if knows_it {
                let own: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
                assert_eq!(own, echo_there, "the same actor");
                own.ask(echo(1)).await.expect("its own ref is of use");
            }
            let error = echo_there.ask(echo(2)).await.expect_err("of no use");
            assert_eq!(error, AskError::OtherCore);
            assert_eq!(error.executed(), Executed::No);
            let refused = echo_there.try_tell(echo(3));
            assert!(
                matches!(refused, Err(SendError::OtherCore(_))),
                "{refused:?}"
            );
            let refused = echo_there.tell(echo(4)).await;
            assert!(
                matches!(refused, Err(SendError::OtherCore(_))),
                "{refused:?}"
            );
            let text = echo_there.to_string();
            assert!(!text.contains(&node.address().to_string()), "{text}");
        });
    }
}

/// Holds its core for as long as a slow handler does.
struct Slow(Arc<()>);

#[message(id = "tests.Dawdle", v = 1, reply = Echoed)]
struct Dawdle;

protocol! { SlowApi = "tests.slow" { Dawdle } }

impl Actor for Slow {
    type Api = SlowApi;
}

const SLOW: Duration = Duration::from_micros(200);

impl Handler<Dawdle> for Slow {
    fn handle(&mut self, _: Msg<Dawdle>, _: &mut Cx<'_, Self>) -> Echoed {
        let begin = std::time::Instant::now();
        while begin.elapsed() < SLOW {
            std::hint::spin_loop();
        }
        Echoed {
            number: Arc::strong_count(&self.0) as u64,
            body: Bytes::new(),
        }
    }
}

#[test]
fn slow_handlers_are_counted_and_named_without_flooding_the_log() {
    const SLOW_ONES: u64 = 200;
    let begin = std::time::Instant::now();
    let server = LiveNode::start_with(|it| it.settings(|s| s.slow_handler = SLOW));
    server.run(|node| async move {
        let slow = node.spawn_named("dawdler", Slow(Arc::default()));
        let slow = slow.expect("a free name");
        for _ in 0..SLOW_ONES {
            slow.ask(Dawdle).await.expect("an answer");
        }
    });
    let counted = server.counters().slow_handlers;
    assert!(counted >= SLOW_ONES, "{counted} of {SLOW_ONES}");
    let lines = server.log().with("held their core");
    let most = 8 + begin.elapsed().as_secs() + 1;
    assert!(
        !lines.is_empty() && lines.len() as u64 <= most,
        "{lines:#?}"
    );
    let named = |line: &&String| line.contains("dawdler") && line.contains("tests.Dawdle");
    assert!(lines.iter().any(|line| named(&line)), "{lines:#?}");
}
