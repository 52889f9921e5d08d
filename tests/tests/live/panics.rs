//! Panics where they hurt most: in what a panic carries, in wakers, and in drops. None ends a core,
//! and each question is answered once.

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ringmesh::{
    Actor, AskError, Cx, Engine, EngineError, Handler, IdleMode, Msg, Node, Ref, SendError,
    SpawnError, message, protocol,
};
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi, Record, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::{SYSTEM, WAIT};

const HOUR: Duration = Duration::from_secs(3600);

/// A panic's payload that panics when it drops.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb");
    }
}

/// Drops with a bang, unless it drops because of one.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic_any(Bomb);
        }
    }
}

/// Has a [`Mine`] panic in this way.
#[message(id = "tests.Explode", v = 1, reply = Shrapnel)]
#[derive(Clone, Copy, Debug)]
struct Explode {
    how: u8,
}

const IN_HANDLER: u8 = 0;
const IN_ANSWER: u8 = 1;
const STOPPED_FIRST: u8 = 2;

/// An answer that may panic when it drops.
#[message(id = "tests.Shrapnel", v = 1)]
struct Shrapnel {
    armed: bool,
}

impl Drop for Shrapnel {
    fn drop(&mut self) {
        if self.armed {
            panic_any(Bomb);
        }
    }
}

protocol! { MineApi = "tests.mine" { Explode } }

/// Panics on demand, and again when it drops.
struct Mine {
    dropped: Arc<AtomicU64>,
    at_start: bool,
}

impl Drop for Mine {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        panic_any(Bomb);
    }
}

impl Actor for Mine {
    type Api = MineApi;

    fn started(&mut self, _: &mut Cx<'_, Self>) {
        if self.at_start {
            panic_any(Bomb);
        }
    }

    fn stopped(&mut self) {
        panic_any(Bomb);
    }
}

impl Handler<Explode> for Mine {
    fn handle(&mut self, message: Msg<Explode>, cx: &mut Cx<'_, Self>) -> Shrapnel {
        match message.how {
            IN_ANSWER => return Shrapnel { armed: true },
            STOPPED_FIRST => assert!(cx.node().stop(&cx.me())),
            _ => {}
        }
        panic_any(Bomb)
    }
}

fn echo(number: u64) -> Echo {
    Echo {
        number,
        body: Bytes::new(),
    }
}

/// What a mine answers a question of another node that has it panic, and how many mines dropped.
fn explode(how: u8) -> (Result<bool, AskError>, u64, LiveNode, LiveNode) {
    let (server, client) = (LiveNode::start_serving(), LiveNode::start());
    let dropped = Arc::new(AtomicU64::new(0));
    let noted = Arc::clone(&dropped);
    server.run(move |node| async move {
        let mine = Mine {
            dropped: noted,
            at_start: false,
        };
        node.spawn_named("mine", mine).expect("a free name");
    });
    let paths = (server.path("mine"), server.path(ECHO));
    let answer = client.run(move |node| async move {
        let mine: Ref<MineApi> = node.resolve(&paths.0).await.expect("the mine is there");
        let to: Ref<EchoApi> = node.resolve(&paths.1).await.expect("the echo is there");
        let answer = mine.ask(Explode { how }).await.map(|answer| answer.armed);
        // Behind everything that the mine's link still brings.
        to.ask(echo(1)).await.expect("the core lives");
        let gone = mine.ask(Explode { how }).await.err();
        assert_eq!(gone, Some(AskError::NotRunning));
        answer
    });
    (answer, dropped.load(Ordering::Relaxed), server, client)
}

#[test]
fn a_handler_whose_panic_panics_stops_its_actor_alone() {
    let (answer, dropped, server, client) = explode(IN_HANDLER);
    assert_eq!((answer, dropped), (Err(AskError::Failed), 1));
    assert_eq!(server.counters().panics, 2, "handler and drop");
    client.stop();
    server.stop();
}

#[test]
fn an_answer_that_panics_when_it_drops_is_the_only_answer() {
    let (answer, dropped, server, client) = explode(IN_ANSWER);
    assert_eq!((answer, dropped), (Ok(true), 1));
    assert_eq!(
        client.counters().dead_late_answer,
        0,
        "a second answer came"
    );
    let books = server.counters();
    assert_eq!(books.received, books.delivered + books.dead_received);
    client.stop();
    server.stop();
}

#[test]
fn an_actor_that_stops_itself_and_panics_is_dropped_at_once() {
    let (answer, dropped, server, client) = explode(STOPPED_FIRST);
    assert_eq!((answer, dropped), (Err(AskError::Failed), 1));
    client.stop();
    server.stop();
}

/// Panics when it is polled, if it is to, and when it drops.
struct Minefield(bool);

impl Future for Minefield {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            panic_any(Bomb);
        }
        Poll::Pending
    }
}

impl Drop for Minefield {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic_any(Bomb);
        }
    }
}

#[test]
fn tasks_and_starts_whose_panics_panic_end_alone() {
    let node = LiveNode::start();
    node.run(|node| async move {
        let dropped = Arc::default();
        let at_start = true;
        let spawned = node.spawn(Mine { dropped, at_start });
        assert!(matches!(spawned, Err(SpawnError::Panicked { .. })));
        node.spawn_task(Minefield(true)).expect("room for a task");
        node.spawn_task(async { drop(Grenade) }).expect("room");
        node.spawn_task(async {
            let _kept = Grenade;
            Minefield(true).await;
        })
        .expect("room");
        // These two drop when the node ends.
        node.spawn_task(Minefield(false)).expect("room");
        node.spawn(Mine {
            dropped: Arc::default(),
            at_start: false,
        })
        .expect("room");
    });
    // The start, the drop of that actor, and three tasks.
    node.until("five panics", |now| now.panics == 5);
    node.stop();
}

/// Runs a node whose main future this is.
fn run<Fut: Future<Output = u8> + 'static>(
    main: impl FnOnce(Node) -> Fut + Send + 'static,
) -> Result<u8, EngineError> {
    let (ended, end) = sync_channel(1);
    thread::spawn(move || {
        let ran = Engine::node(SYSTEM).idle(IdleMode::Park).run(main);
        // The test may have given up.
        let _ = ended.send(ran);
    });
    end.recv_timeout(WAIT).expect("the node ends")
}

#[test]
fn a_main_future_whose_panic_panics_ends_its_node_in_order() {
    let ran = run(|_| async { panic_any(Bomb) });
    assert!(
        matches!(ran, Err(EngineError::MainPanicked { .. })),
        "{ran:?}"
    );
    let ran = run(|_| {
        if HOUR > WAIT {
            panic_any(Bomb);
        }
        std::future::ready(1)
    });
    assert!(
        matches!(ran, Err(EngineError::MainPanicked { .. })),
        "{ran:?}"
    );
    let ran = run(|_| Loud);
    assert!(matches!(ran, Ok(7)), "{ran:?}");
}

/// Ends well and drops with a bang.
struct Loud;

impl Future for Loud {
    type Output = u8;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
        Poll::Ready(7)
    }
}

impl Drop for Loud {
    fn drop(&mut self) {
        panic_any(Bomb);
    }
}

/// What the wakers meddle with: a node, and two actors of it.
type Meddled = (Node, Ref<EchoApi>, Ref<SinkApi>);

thread_local! {
    /// What a [`Hostile`] waker of this thread meddles with.
    static MEDDLED: RefCell<Option<Meddled>> =
        const { RefCell::new(None) };
}

/// Uses the core whenever the core touches it, and panics.
struct Hostile;

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        meddle();
        panic!("a waker that is woken");
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        if !thread::panicking() {
            meddle();
            panic!("a waker that drops");
        }
    }
}

/// Does what borrows each of the core's cells.
fn meddle() {
    let Some((node, to, sink)) = MEDDLED.with(|meddled| meddled.borrow().clone()) else {
        return;
    };
    assert!(poll_once(pin!(node.sleep(HOUR))).is_pending());
    assert!(node.counters().turns > 0);
    let mut ask = to.ask(echo(1));
    let _ = poll_once(Pin::new(&mut ask));
    let _ = poll_once(pin!(sink.tell(record(1))));
    let _ = poll_once(pin!(node.until_shutdown()));
    let nowhere = format!("ringmesh://{SYSTEM}@127.0.0.1:1/user/nobody");
    let _ = poll_once(pin!(node.resolve::<EchoApi>(&nowhere)));
    node.spawn_task(async {}).expect("room for a task");
}

fn record(number: u64) -> Record {
    Record {
        number,
        body: vec![1; 1000].into(),
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls with a hostile waker. Gives back what a panic said: of the waker of the poll before, which
/// drops now.
fn wait_hostilely<F: Future>(future: Pin<&mut F>) -> Option<&'static str> {
    let waker = Waker::from(Arc::new(Hostile));
    let mut context = Context::from_waker(&waker);
    let polled = catch_unwind(AssertUnwindSafe(|| future.poll(&mut context).is_pending()));
    // The core has a clone of it, or the poll has not come to that.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(waker)));
    match polled {
        Ok(is_pending) => {
            assert!(is_pending);
            None
        }
        Err(panic) => Some(panic.downcast_ref::<&str>().copied().expect("a text")),
    }
}

#[test]
fn hostile_wakers_find_no_cell_borrowed_and_end_nothing() {
    let (server, client) = (LiveNode::start_serving(), LiveNode::start());
    let paths = (server.path(ECHO), server.path(SINK));
    client.run(move |node| async move {
        let to: Ref<EchoApi> = node.resolve(&paths.0).await.expect("the echo is there");
        let sink: Ref<SinkApi> = node.resolve(&paths.1).await.expect("the sink is there");
        MEDDLED.with(|meddled| meddled.replace(Some((node.clone(), to, sink))));
        drop_while_they_wait(&node, to, sink);
        wake_while_they_wait(&node, to, sink).await;
        // It stays until the node stops, and is woken then.
        assert_eq!(wait_hostilely(pin!(node.until_shutdown())), None);
        to.ask(echo(9)).await.expect("the core lives");
    });
    client.stop();
    server.stop();
}

/// Fills the link to a sink, and gives back a record for which there is no room.
fn fill(sink: Ref<SinkApi>) -> Record {
    loop {
        if let Err(SendError::Full(record)) = sink.try_tell(record(4)) {
            return record;
        }
    }
}

/// The core drops an alarm's waker, a question's, and that of a place in the line.
fn drop_while_they_wait(node: &Node, to: Ref<EchoApi>, sink: Ref<SinkApi>) {
    let before = node.counters().panics;
    let mut sleep = Box::pin(node.sleep(HOUR));
    assert_eq!(wait_hostilely(sleep.as_mut()), None);
    drop(sleep);
    let mut ask = to.ask(echo(2));
    assert_eq!(wait_hostilely(Pin::new(&mut ask)), None);
    let replaced = wait_hostilely(Pin::new(&mut ask));
    assert_eq!(replaced, Some("a waker that drops"));
    drop(ask);
    let mut tell = sink.tell(fill(sink));
    assert_eq!(wait_hostilely(Pin::new(&mut tell)), None);
    drop(tell);
    assert_eq!(node.counters().panics, before + 3);
}

/// A timer, an answer, room and the end of a dial wake them.
async fn wake_while_they_wait(node: &Node, to: Ref<EchoApi>, sink: Ref<SinkApi>) {
    let before = node.counters().panics;
    let nobody = format!("ringmesh://{SYSTEM}@127.0.0.1:1/user/somebody");
    let mut resolve = Box::pin(node.resolve::<EchoApi>(&nobody));
    assert_eq!(wait_hostilely(resolve.as_mut()), None);
    // Behind what fills the link, which has to go first.
    to.ask(echo(3)).await.expect("its turn comes");
    let mut ask = to.ask(echo(4));
    assert_eq!(wait_hostilely(Pin::new(&mut ask)), None);
    let mut tell = sink.tell(fill(sink));
    assert_eq!(wait_hostilely(Pin::new(&mut tell)), None);
    let mut sleep = Box::pin(node.sleep(Duration::from_millis(1)));
    assert_eq!(wait_hostilely(sleep.as_mut()), None);
    while node.counters().panics < before + 4 {
        node.sleep(Duration::from_millis(1)).await;
    }
    let woken = catch_unwind(AssertUnwindSafe(|| poll_once(Pin::new(&mut ask))));
    assert!(matches!(woken, Ok(Poll::Ready(Ok(_)))), "it was answered");
    assert!(poll_once(sleep.as_mut()).is_ready());
}
