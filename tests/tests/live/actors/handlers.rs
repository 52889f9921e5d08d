//! Handlers of both kinds in one actor.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringmesh::{
    Actor, AskError, AsyncHandler, Cx, Handler, Msg, NodeId, Props, Ref, Supervision,
    async_handler, message, protocol,
};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;

use super::gate::{Gate, Knock, List, pass};
use super::{KEEPER, keeper_at, spawn_keeper};

const MESSAGES: u64 = 200;

#[test]
fn messages_of_both_kinds_are_handled_in_their_order_by_a_handler_that_waits() {
    let (server, client) = (LiveNode::start(), LiveNode::start());
    let gate = Gate::default();
    spawn_keeper(&server, &gate);
    let path = server.path(KEEPER);
    let listing = client.begin(move |node| async move {
        let keeper = keeper_at(&node, &path).await;
        for number in 0..MESSAGES {
            keeper.try_tell(pass(number)).expect("room");
        }
        let knock = Knock {
            number: MESSAGES,
            panics: false,
        };
        let knocked = keeper.ask(knock).await.expect("an answer");
        let listed = keeper.ask(List).await.expect("an answer");
        (knocked.deserialize().numbers, listed.deserialize().numbers)
    });
    let books = server.until("all to wait", |now| now.waiting == MESSAGES);
    assert_closed(&books);
    assert_eq!(
        books.frames_copied_other, MESSAGES,
        "the first is in its handler"
    );
    assert_eq!(gate.passed(), 0);
    gate.open();
    let (knocked, listed) = listing.finish();
    let all: Vec<u64> = (0..=MESSAGES).collect();
    assert_eq!((&knocked, &listed), (&all, &all));
    let books = server.counters();
    assert_closed(&books);
    assert_eq!((books.waiting, books.dead_received), (0, 0), "{books:#?}");
}

#[test]
fn a_handler_that_does_not_wait_is_called_in_place() {
    let (server, client) = (LiveNode::start(), LiveNode::start());
    let gate = Gate::default();
    gate.open();
    spawn_keeper(&server, &gate);
    let path = server.path(KEEPER);
    let listed = client.run(move |node| async move {
        let keeper = keeper_at(&node, &path).await;
        for number in 0..MESSAGES {
            keeper.tell(pass(number)).await.expect("room");
        }
        keeper.ask(List).await.expect("an answer").deserialize()
    });
    assert!(listed.numbers.into_iter().eq(0..MESSAGES));
    let books = server.counters();
    assert_closed(&books);
    assert_eq!(
        (books.frames_copied_other, books.waiting),
        (0, 0),
        "{books:#?}"
    );
}

/// Asks the echo of another node, and sleeps, before it answers.
#[message(id = "tests.Relay", v = 1, reply = Relayed)]
struct Relay {
    number: u64,
}

#[message(id = "tests.Relayed", v = 1)]
struct Relayed {
    number: u64,
    from: String,
}

protocol! { RelayApi = "tests.relay" { Relay } }

struct Relayer {
    echo: String,
    known: Option<Ref<EchoApi>>,
}

impl Actor for Relayer {
    type Api = RelayApi;
}

#[async_handler]
impl AsyncHandler<Relay> for Relayer {
    async fn handle(&mut self, relay: Msg<Relay>, cx: &mut Cx<'_, Self>) -> Relayed {
        let node = cx.node();
        let echo = match self.known {
            Some(known) => known,
            None => node.resolve(&self.echo).await.expect("the echo is there"),
        };
        self.known = Some(echo);
        node.sleep(Duration::from_micros(1)).await;
        let question = Echo {
            number: relay.number.to_native(),
            body: Default::default(),
        };
        let answer = echo.ask(question).await.expect("an answer");
        Relayed {
            number: answer.number.to_native(),
            from: cx.sender().expect("a message has a sender").to_string(),
        }
    }
}

#[test]
fn a_handler_waits_for_timers_and_for_answers_of_other_nodes() {
    let (back, front, client) = (
        LiveNode::start_serving(),
        LiveNode::start(),
        LiveNode::start(),
    );
    let echo = back.path(ECHO);
    front.run(move |node| async move {
        let relayer = Relayer { echo, known: None };
        node.spawn_named("relay", relayer).expect("a free name");
    });
    let path = front.path("relay");
    let from = client.run(move |node| async move {
        let relay: Ref<RelayApi> = node.resolve(&path).await.expect("the relay is there");
        for number in 0..10 {
            let relayed = relay.ask(Relay { number }).await.expect("an answer");
            assert_eq!(relayed.number, number);
            assert_eq!(relayed.from, node.id().to_string());
        }
        node.id().to_string()
    });
    assert!(!from.is_empty());
    assert_closed(&front.counters());
}

/// A keeper whose first message has it stop.
struct Leaver;

#[message(id = "tests.Leave", v = 1)]
struct Leave;

protocol! { LeaveApi = "tests.leave" { Leave, List } }

impl Actor for Leaver {
    type Api = LeaveApi;
}

#[async_handler]
impl AsyncHandler<Leave> for Leaver {
    async fn handle(&mut self, _: Msg<Leave>, cx: &mut Cx<'_, Self>) {
        cx.node().sleep(Duration::from_millis(1)).await;
        cx.stop();
    }
}

impl Handler<List> for Leaver {
    fn handle(&mut self, _: Msg<List>, _: &mut Cx<'_, Self>) -> super::gate::Numbers {
        unreachable!("the actor stopped before")
    }
}

#[test]
fn an_actor_that_stops_itself_handles_nothing_that_waited() {
    let node = LiveNode::start();
    let answer = node.run(|node| async move {
        let leaver = node.spawn(Leaver).expect("room");
        leaver.try_tell(Leave).expect("room");
        let listed = leaver.ask(List).await.map(|list| list.deserialize());
        assert!(!node.stop(&leaver), "it stopped already");
        listed
    });
    assert_eq!(answer.err(), Some(AskError::NotRunning));
    let books = node.counters();
    assert_closed(&books);
    assert_eq!(
        (books.dead_no_recipient, books.waiting),
        (1, 0),
        "{books:#?}"
    );
}

/// Has its recipient wait, and then say who sent it.
#[message(id = "tests.Whence", v = 1)]
struct Whence;

protocol! { WhenceApi = "tests.whence" { Whence } }

struct Host {
    gate: Gate,
    senders: SyncSender<Option<NodeId>>,
}

impl Actor for Host {
    type Api = WhenceApi;
}

#[async_handler]
impl AsyncHandler<Whence> for Host {
    async fn handle(&mut self, _: Msg<Whence>, cx: &mut Cx<'_, Self>) {
        self.gate.pass().await;
        self.senders.send(cx.sender()).expect("the test waits");
    }
}

#[test]
fn the_sender_of_a_message_stays_known_when_another_peer_takes_its_place() {
    let server = LiveNode::start_with(|it| it.settings(|s| s.peers_max = 1));
    let gate = Gate::default();
    let (senders, noted) = sync_channel(2);
    let gate_there = gate.clone();
    server.run(|node| async move {
        let gate = gate_there;
        let host = Host { gate, senders };
        node.spawn_named("host", host).expect("a free name");
    });
    let mut sent = Vec::new();
    for _ in 0..2 {
        let (client, path) = (LiveNode::start(), server.path("host"));
        client.run(|node| async move {
            let host: Ref<WhenceApi> = node.resolve(&path).await.expect("it is there");
            host.tell(Whence).await.expect("room");
        });
        client.until("its message to be taken", |now| now.in_flight == 0);
        sent.push(client.id().clone());
        client.stop();
        server.until("the goodbye", |now| now.links == 0);
    }
    gate.open();
    let noted: Vec<_> = (0..2).map(|_| noted.recv_timeout(WAIT)).collect();
    assert_eq!(
        noted,
        sent.into_iter().map(|it| Ok(Some(it))).collect::<Vec<_>>()
    );
}

/// Has its recipient dawdle, and says what is left of its time then.
#[message(id = "tests.Dawdle", v = 1, reply = Left)]
struct Dawdle;

#[message(id = "tests.Left", v = 1)]
struct Left {
    micros: u64,
}

protocol! { DawdleApi = "tests.dawdle" { Dawdle } }

const PAUSE: Duration = Duration::from_millis(50);

/// Holds its core up, and looks at the clock in all the ways there are.
struct Dawdler {
    echo: Ref<EchoApi>,
}

impl Actor for Dawdler {
    type Api = DawdleApi;
}

impl Handler<Dawdle> for Dawdler {
    fn handle(&mut self, _: Msg<Dawdle>, cx: &mut Cx<'_, Self>) -> Left {
        let left = cx.deadline().expect("it was asked");
        // Holds its core up for so long.
        let (_silent, never) = sync_channel::<()>(0);
        assert!(never.recv_timeout(PAUSE).is_err());
        let mut context = Context::from_waker(Waker::noop());
        let (number, body) = (1, Default::default());
        assert!(
            pin!(self.echo.ask(Echo { number, body }))
                .poll(&mut context)
                .is_pending()
        );
        assert!(pin!(cx.node().sleep(PAUSE)).poll(&mut context).is_pending());
        let micros = u64::try_from(left.as_micros()).expect("less than ages");
        Left { micros }
    }
}

#[test]
fn a_handler_that_asks_or_sleeps_gives_the_messages_behind_it_no_more_time() {
    const HOUR: Duration = Duration::from_secs(3600);
    let node = LiveNode::start_serving();
    let path = node.path(ECHO);
    let [first, second] = node.run(|node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("it is there");
        let dawdler = node.spawn(Dawdler { echo }).expect("room");
        let ask = || dawdler.ask(Dawdle).timeout(HOUR);
        let (mut first, mut second) = (pin!(ask()), pin!(ask()));
        // Both leave in one turn, and arrive in one.
        let is_sent = poll_fn(|context| {
            let first = first.as_mut().poll(context).is_pending();
            Poll::Ready(first && second.as_mut().poll(context).is_pending())
        });
        assert!(is_sent.await);
        [first.await, second.await].map(|left| left.expect("an answer").micros.to_native())
    });
    let pause = u64::try_from(PAUSE.as_micros()).expect("less than ages");
    assert!(second + pause <= first, "{second} {first}");
}

/// Has its recipient panic somewhere, or nowhere.
#[message(id = "tests.Attempt", v = 1, reply = Attempted)]
struct Attempt {
    panics: u8,
}

#[message(id = "tests.Attempted", v = 1)]
struct Attempted {
    attempts: u64,
}

protocol! { EagerApi = "tests.eager" { Attempt } }

const NOWHERE: u8 = 0;
const BEFORE_ITS_FUTURE: u8 = 1;
const IN_THE_DROP_OF_ITS_FUTURE: u8 = 2;

/// Does all that it does before there is a future.
#[derive(Default)]
struct Eager {
    attempts: u64,
}

impl Actor for Eager {
    type Api = EagerApi;
}

#[async_handler]
impl AsyncHandler<Attempt> for Eager {
    fn handle(
        &mut self,
        attempt: Msg<Attempt>,
        _: &mut Cx<'_, Self>,
    ) -> impl Future<Output = Attempted> {
        self.attempts += 1;
        assert_ne!(attempt.panics, BEFORE_ITS_FUTURE);
        Trap {
            attempts: self.attempts,
            panics: attempt.panics == IN_THE_DROP_OF_ITS_FUTURE,
        }
    }
}

/// Is ready, and panics when it drops, if it is to.
struct Trap {
    attempts: u64,
    panics: bool,
}

impl Future for Trap {
    type Output = Attempted;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Attempted> {
        let attempts = self.attempts;
        Poll::Ready(Attempted { attempts })
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        assert!(!self.panics, "a future that is ready drops");
    }
}

#[test]
fn a_handler_that_panics_around_its_future_fails_its_message_alone() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let eager = Props::new(Eager::default).supervised(Supervision::Resume);
        let eager = node.spawn_props(eager).expect("room");
        let ask = |panics| eager.ask(Attempt { panics });
        for panics in [BEFORE_ITS_FUTURE, IN_THE_DROP_OF_ITS_FUTURE] {
            let failed = ask(panics).await.err();
            assert_eq!(failed, Some(AskError::Failed), "{panics}");
        }
        let answer = ask(NOWHERE).await.expect("it goes on");
        assert_eq!(answer.attempts, 3);
    });
    let books = node.counters();
    assert_closed(&books);
    assert_eq!(books.panics, 2, "{books:#?}");
    node.stop();
}
