//! Dead letters as their subscribers see them: every reason, every core, and floods.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_channel::oneshot;
use ringmesh::{
    Actor, AsyncHandler, CoreId, Counters, Cx, DeadLetter, DeadLetterReason, DeadLetters,
    MessageId, Msg, Node, NodeId, Ref, async_handler, protocol,
};
use ringmesh_proto::frame::body::{Bye, ByeReason};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{
    ECHO, Echo, EchoApi, Echoed, Echoer, Inflate, Record, Retire, SINK, Sink, foreign,
};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};
use ringmesh_tests::live::watched::place_of_sink;

/// Messages of a flood.
const FLOOD: u64 = 100_000;

protocol! { WaiterApi = "tests.waiter" { Record } }

/// Waits for ever in its first handler.
struct Waiter;

impl Actor for Waiter {
    type Api = WaiterApi;
}

#[async_handler]
impl AsyncHandler<Record> for Waiter {
    async fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {
        pending().await
    }
}

fn record(number: u64) -> Record {
    Record {
        number,
        body: Bytes::new(),
    }
}

/// A node with a sink and an echo, and a subscription to its dead letters.
fn subscribed() -> (LiveNode, DeadLetters) {
    let node = LiveNode::start_serving();
    let letters = node.run(|node| async move { node.dead_letters() });
    (node, letters)
}

/// A ref to an echo of `server` that has retired, for `client`.
fn retired(server: &LiveNode, client: &LiveNode) -> Ref<EchoApi> {
    server.run(|node| async move {
        node.spawn_named("retired", Echoer::default())
            .expect("a free name");
    });
    let path = server.path("retired");
    client.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the actor is there");
        let answer = echo.ask(question(1)).await.expect("an answer");
        assert_eq!(answer.number, 1);
        echo.tell(Retire).await.expect("room");
        echo
    })
}

fn question(number: u64) -> Echo {
    Echo {
        number,
        body: Bytes::new(),
    }
}

/// Wakes a thread that waits for a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The next letter, on a thread that is no core's.
fn next(letters: &mut DeadLetters) -> Option<DeadLetter> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut next = std::pin::pin!(letters.next());
    let deadline = Instant::now() + WAIT;
    loop {
        if let Poll::Ready(letter) = next.as_mut().poll(&mut Context::from_waker(&waker)) {
            return letter;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "no letter came within {WAIT:?}");
        thread::park_timeout(left);
    }
}

fn expect(
    letters: &mut DeadLetters,
    reason: DeadLetterReason,
    (message, name): (&str, Option<&str>),
    (recipient, from): (Option<&str>, &NodeId),
) {
    let letter = next(letters).expect("the node runs");
    assert_eq!((letter.reason, letter.count), (reason, 1), "{letter}");
    assert_eq!(letter.message, Some(MessageId::of(message)), "{letter}");
    assert_eq!(letter.message_name, name, "{letter}");
    let named = letter
        .recipient
        .as_ref()
        .and_then(|it| it.name.as_deref().map(str::to_owned));
    assert_eq!(named.as_deref(), recipient, "{letter}");
    assert_eq!(&letter.peer, from, "{letter}");
    assert_eq!(letter.core, CoreId(0), "{letter}");
}

#[test]
fn messages_without_a_handler_are_letters_with_their_reason() {
    let (server, mut letters) = subscribed();
    let client = LiveNode::start();
    let gone = retired(&server, &client);
    let path = server.path(SINK);
    client.run(move |node| async move {
        let sink: Ref<foreign::SinkApi> = node.resolve(&path).await.expect("it is there");
        gone.tell(Retire).await.expect("room");
        sink.tell(foreign::Unheard).await.expect("room");
        let strange = foreign::Record {
            number: 1,
            body: Bytes::new(),
        };
        sink.tell(strange).await.expect("room");
        // Of a question the asker is told, and it is a dead letter all the same.
        assert!(sink.ask(foreign::Unheard).await.is_err());
    });
    let from = client.id();
    let (unheard, sink) = (("tests.Unheard", None), (Some(SINK), from));
    let schema = ("tests.Record", Some("tests.Record"));
    let all = &mut letters;
    let retire = ("tests.Retire", None);
    expect(all, DeadLetterReason::NoRecipient, retire, (None, from));
    expect(all, DeadLetterReason::UnknownMessage, unheard, sink);
    expect(all, DeadLetterReason::SchemaMismatch, schema, sink);
    expect(all, DeadLetterReason::UnknownMessage, unheard, sink);
    assert_eq!(letters.try_next(), None);
    assert_eq!(letters.missed(), 0);
    assert_closed(&server.counters());
}

#[test]
fn what_waits_for_an_actor_that_stops_is_a_letter_each() {
    const WAITING: u64 = 5;
    let (node, mut letters) = subscribed();
    node.run(|node| async move {
        let waiter = node.spawn_named("waiter", Waiter).expect("a free name");
        for number in 0..=WAITING {
            waiter.tell(record(number)).await.expect("room");
        }
        while node.counters().waiting < WAITING {
            node.sleep(Duration::from_millis(1)).await;
        }
        assert!(node.stop(&waiter));
    });
    let to = (Some("waiter"), node.id());
    let record = ("tests.Record", Some("tests.Record"));
    for _ in 0..WAITING {
        expect(&mut letters, DeadLetterReason::NoRecipient, record, to);
    }
    assert_eq!(letters.try_next(), None);
    let books = node.counters();
    assert_closed(&books);
    assert_eq!((books.dead_no_recipient, books.waiting), (WAITING, 0));
}

#[test]
fn bytes_that_are_no_archive_are_a_letter() {
    let (server, mut letters) = subscribed();
    let mut liar = RawPeer::link(server.id());
    let mut bytes = make::definitions::<Record>(place_of_sink(&server));
    bytes.extend(make::tell_bytes(&[0xff; 3]));
    liar.send(&bytes);
    liar.ending();
    let record = ("tests.Record", Some("tests.Record"));
    let sink = (Some(SINK), &liar.me);
    expect(&mut letters, DeadLetterReason::Invalid, record, sink);
}

#[test]
fn an_answer_that_nobody_waits_for_is_a_letter_at_the_asker() {
    let server = LiveNode::start_serving();
    let (client, mut letters) = subscribed();
    let path = server.path(ECHO);
    client.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let mut ask = echo.ask(question(1));
        poll_fn(|context| {
            assert!(std::pin::Pin::new(&mut ask).poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(ask);
    });
    let answer = ("tests.Echoed", None);
    let from = (None, server.id());
    expect(&mut letters, DeadLetterReason::LateAnswer, answer, from);
}

#[test]
fn a_link_that_ends_leaves_one_letter_for_what_left_and_one_for_what_did_not() {
    const ANSWERS: u64 = 60;
    let (server, mut letters) = subscribed();
    let echo = server.path(ECHO);
    let echo = server.run(|node| async move {
        let echo: Ref<EchoApi> = node.resolve(&echo).await.expect("the echo is there");
        make::target_of(&echo)
    });
    // Its answers take more than the window, and it acknowledges none.
    let mut peer = RawPeer::link(server.id());
    let mut bytes = make::definitions::<Inflate>(echo);
    let body_bytes = 30_000;
    (0..ANSWERS).for_each(|number| bytes.extend(make::ask(&Inflate { body_bytes }, number)));
    peer.send(&bytes);
    let before = server.until("all questions", |now| now.delivered >= ANSWERS);
    let me = peer.me.clone();
    drop(peer);
    let unsent = next(&mut letters).expect("the node runs");
    let maybe = next(&mut letters).expect("the node runs");
    let reasons = (unsent.reason, maybe.reason);
    assert_eq!(reasons, (DeadLetterReason::Unsent, DeadLetterReason::Maybe));
    for letter in [&unsent, &maybe] {
        assert_eq!(letter.peer, me, "{letter}");
        assert_eq!((letter.message, letter.recipient.clone()), (None, None));
    }
    assert_eq!(unsent.count + maybe.count, ANSWERS);
    let books = server.counters();
    assert_closed(&books);
    let dead = (books.dead_unsent, books.dead_maybe);
    assert_eq!(dead, (unsent.count, maybe.count), "{before:#?}");
    let lines = server.log().with("dead letters");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:#?}");
}

protocol! { LaterApi = "tests.later" { Echo } }

/// Answers when it is told to.
struct Later(Option<oneshot::Receiver<()>>);

impl Actor for Later {
    type Api = LaterApi;
}

#[async_handler]
impl AsyncHandler<Echo> for Later {
    async fn handle(&mut self, _: Msg<Echo>, _: &mut Cx<'_, Self>) -> Echoed {
        let told = self.0.take().expect("one question");
        told.await.expect("the test tells it");
        Echoed {
            number: 1,
            body: Bytes::new(),
        }
    }
}

#[test]
fn an_answer_whose_link_is_gone_is_counted_and_no_part_of_what_was_sent() {
    let server = LiveNode::start();
    let (tell, told) = oneshot::channel();
    let later = server.run(|node| async move {
        let later = node.spawn(Later(Some(told))).expect("room");
        make::target_of(&later)
    });
    let mut peer = RawPeer::link(server.id());
    let mut bytes = make::definitions::<Echo>(later);
    bytes.extend(make::ask(&question(1), 1));
    peer.send(&bytes);
    server.until("the question", |now| now.delivered == 1);
    // A link that only lost its connection would keep the answer.
    let mut bye = vec![0; 64];
    let reason = ByeReason::Stopping;
    let length = Bye { reason }.encode(&mut bye);
    peer.send(&bye[..length]);
    drop(peer);
    let before = server.until("the end of the link", |now| now.links == 0);
    tell.send(()).expect("the handler waits");
    let books = server.until("the answer", |now| now.replies_dropped == 1);
    assert_closed(&books);
    assert_eq!(
        (books.sent, books.dead_sent),
        (before.sent, before.dead_sent)
    );
}

#[test]
fn a_flood_is_bounded_and_what_was_missed_is_known_exactly() {
    const KEPT: u64 = 1000;
    let server = LiveNode::start_with(|it| it.settings(|it| it.dead_letters_kept = KEPT as usize));
    let client = LiveNode::start();
    let gone = retired(&server, &client);
    let subscribe = |node: Node| async move { (node.dead_letters(), node.dead_letters()) };
    let (mut slow, mut letters) = server.run(subscribe);
    // Reads as fast as it can, on the core that the flood is on.
    let reading = server.begin(move |_| async move {
        let mut read = 0;
        while read + letters.missed() < FLOOD {
            letters.next().await.expect("the node runs");
            read += 1;
        }
        (read, letters.missed())
    });
    client.run(move |_| async move {
        for _ in 0..FLOOD {
            gone.tell(Retire).await.expect("room");
        }
    });
    let books = server.until("the flood", |now| now.dead_no_recipient == FLOOD);
    assert_closed(&books);
    assert_eq!(slow.missed(), FLOOD - KEPT);
    let (read, missed) = reading.finish();
    assert_eq!(read + missed, FLOOD);
    let kept = std::iter::from_fn(|| slow.try_next());
    assert_eq!(kept.map(|letter| letter.count).sum::<u64>(), KEPT);
    assert_eq!(slow.missed(), FLOOD - KEPT);
}

#[test]
fn the_log_of_a_flood_has_few_lines_and_they_account_for_all_of_it() {
    let (server, client) = (LiveNode::start_serving(), LiveNode::start());
    let gone = retired(&server, &client);
    let begin = Instant::now();
    client.run(move |_| async move {
        for _ in 0..FLOOD {
            gone.tell(Retire).await.expect("room");
        }
    });
    server.until("the flood", |now| now.dead_no_recipient == FLOOD);
    let log = server.log().clone();
    let lines = log.with("dead letters").len();
    let seconds = usize::try_from(begin.elapsed().as_secs()).expect("a short test");
    assert!((4..=4 + seconds + 1).contains(&lines), "{lines} lines");
    // The next line says how many messages had none.
    let mut sent = FLOOD;
    while log.with("dead letters").len() == lines {
        assert!(begin.elapsed() < WAIT, "no more lines");
        client.run(move |node| async move {
            gone.tell(Retire).await.expect("room");
            node.sleep(Duration::from_millis(50)).await;
        });
        sent += 1;
        server.until("one more", move |now| now.dead_no_recipient == sent);
    }
    let said = |line: &String| {
        assert!(line.contains("WARN"), "{line}");
        assert!(line.contains(r#"label="no_recipient""#), "{line}");
        let (_, suppressed) = line.split_once("suppressed=").expect("a count");
        1 + suppressed.parse::<u64>().expect("a number")
    };
    let lines = log.with("dead letters");
    assert_eq!(lines.iter().map(said).sum::<u64>(), sent, "{lines:#?}");
}

#[test]
fn a_subscriber_hears_of_all_cores_wherever_it_is() {
    let node = LiveNode::of_cores(2);
    let (told, heard) = sync_channel(2);
    node.run(move |node| async move {
        let here = node.spawn(Sink::default()).expect("room");
        let there = node.spawn_on(CoreId(1), Sink::default).await.expect("room");
        let (listening, is_listening) = oneshot::channel();
        let listen = move |other: Node| async move {
            let mut letters = other.dead_letters();
            let _ = listening.send(());
            while let Some(letter) = letters.next().await {
                told.send((other.core(), letter)).expect("the test waits");
            }
        };
        node.spawn_task_on(CoreId(1), listen).await.expect("room");
        is_listening.await.expect("the task runs");
        for sink in [here, there] {
            assert!(node.stop(&sink));
            sink.tell(record(1)).await.expect("room");
        }
    });
    let mut letters: Vec<_> = (0..2)
        .map(|_| heard.recv_timeout(WAIT).expect("a letter"))
        .collect();
    letters.sort_by_key(|(_, letter)| letter.core);
    let cores: Vec<_> = letters.iter().map(|(at, it)| (*at, it.core)).collect();
    assert_eq!(cores, [(CoreId(1), CoreId(0)), (CoreId(1), CoreId(1))]);
    for (_, letter) in &letters {
        assert_eq!(letter.reason, DeadLetterReason::NoRecipient, "{letter}");
        assert_eq!(&letter.peer, node.id(), "{letter}");
    }
    let totals = node.run(|node| async move { node.metrics().total });
    assert_eq!(totals.dead_no_recipient, 2);
}

/// Panics when it is called.
struct Alarm;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        panic!("an alarm");
    }
}

#[test]
fn a_waker_that_panics_costs_nobody_a_letter() {
    let (server, mut letters) = subscribed();
    let client = LiveNode::start();
    let gone = retired(&server, &client);
    let mut alarmed = server.run(|node| async move { node.dead_letters() });
    let waker = Waker::from(Arc::new(Alarm));
    {
        let mut waiting = std::pin::pin!(alarmed.next());
        let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
        assert_eq!(polled, Poll::Pending);
    }
    client.run(move |_| async move { gone.tell(Retire).await.expect("room") });
    let letter = next(&mut letters);
    assert_eq!(next(&mut alarmed), letter);
    let books: Counters = server.until("the panic", |now| now.panics == 1);
    assert_closed(&books);
}

#[test]
fn a_subscription_outlives_its_node_and_then_ends() {
    let (server, mut letters) = subscribed();
    let client = LiveNode::start();
    let gone = retired(&server, &client);
    client.run(move |_| async move { gone.tell(Retire).await.expect("room") });
    server.until("a letter", |now| now.dead_no_recipient == 1);
    let waiting = thread::spawn(move || {
        let first = next(&mut letters);
        (first, next(&mut letters), next(&mut letters))
    });
    server.stop();
    let (first, second, third) = waiting.join().expect("the reader does not panic");
    let first = first.map(|letter| letter.reason);
    assert_eq!(first, Some(DeadLetterReason::NoRecipient));
    assert_eq!((second, third), (None, None));
}
