//! Actors that end while a handler of them waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringmesh::{
    Actor, AskError, AsyncHandler, Cx, Executed, Msg, Ref, async_handler, message, protocol,
};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;

use super::gate::{Gate, KeeperApi, Knock, List, pass};
use super::{KEEPER, keeper_at, spawn_keeper};

const WAITING: u64 = 10;

fn knock(panics: bool) -> Knock {
    Knock { number: 0, panics }
}

/// A server with a keeper whose handler waits, and the fates of a question that is being handled
/// and of one that waits behind it.
fn two_questions(gate: &Gate, panics: bool, end: impl FnOnce(&LiveNode)) -> [AskError; 2] {
    let (server, client) = (LiveNode::start_serving(), LiveNode::start());
    spawn_keeper(&server, gate);
    let path = server.path(KEEPER);
    let asking = client.begin(move |node| async move {
        let keeper = keeper_at(&node, &path).await;
        let (first, second) = (keeper.ask(knock(panics)), keeper.ask(List));
        let tells = async {
            for number in 0..WAITING {
                keeper.tell(pass(number)).await.expect("room");
            }
        };
        let (first, second, ()) = join3(first, second, tells).await;
        [first.err(), second.err()].map(|fate| fate.expect("no answer"))
    });
    server.until("all to wait", |now| now.waiting == WAITING + 1);
    end(&server);
    let fates = asking.finish();
    let books = server.counters();
    assert_closed(&books);
    assert_eq!((books.waiting, books.dead_no_recipient), (0, WAITING + 1));
    // The core goes on, for others as well.
    let path = server.path(ECHO);
    client.run(move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the echo is there");
        let question = Echo {
            number: 1,
            body: Default::default(),
        };
        echo.ask(question).await.expect("an answer");
    });
    fates
}

/// Polls three futures until all are done.
async fn join3<A, B, C>(
    a: impl Future<Output = A>,
    b: impl Future<Output = B>,
    c: impl Future<Output = C>,
) -> (A, B, C) {
    let (mut a, mut b, mut c) = (std::pin::pin!(a), std::pin::pin!(b), std::pin::pin!(c));
    let (mut first, mut second, mut third) = (None, None, None);
    std::future::poll_fn(|context| {
        if first.is_none()
            && let std::task::Poll::Ready(done) = a.as_mut().poll(context)
        {
            first = Some(done);
        }
        if second.is_none()
            && let std::task::Poll::Ready(done) = b.as_mut().poll(context)
        {
            second = Some(done);
        }
        if third.is_none()
            && let std::task::Poll::Ready(done) = c.as_mut().poll(context)
        {
            third = Some(done);
        }
        match (first.take(), second.take(), third.take()) {
            (Some(a), Some(b), Some(c)) => std::task::Poll::Ready((a, b, c)),
            (a, b, c) => {
                (first, second, third) = (a, b, c);
                std::task::Poll::Pending
            }
        }
    })
    .await
}

#[test]
fn an_actor_that_is_stopped_drops_its_handler_and_what_waits_is_dead() {
    let gate = Gate::default();
    let [handled, waiting] = two_questions(&gate, false, |server| {
        let path = server.path(KEEPER);
        server.run(move |node| async move {
            let keeper: Ref<KeeperApi> = node.resolve(&path).await.expect("it is there");
            assert!(node.stop(&keeper) && !node.stop(&keeper));
        });
    });
    assert_eq!(handled, AskError::Failed);
    assert_eq!(handled.executed(), Executed::Maybe);
    assert_eq!(waiting, AskError::NotRunning);
    assert_eq!(waiting.executed(), Executed::No);
    assert_eq!(gate.ends(), (1, 1), "first the handler, then the actor");
}

#[test]
fn an_actor_whose_handler_panics_behind_its_wait_ends_alone() {
    let gate = Gate::default();
    let opened = gate.clone();
    let fates = two_questions(&gate, true, |server| {
        opened.open();
        let books = server.until("the panic", |now| now.panics == 1);
        assert_closed(&books);
    });
    assert_eq!(fates, [AskError::Failed, AskError::NotRunning]);
    assert_eq!(gate.ends(), (0, 0), "it did not end in order");
}

#[test]
fn a_node_that_ends_drops_handlers_that_wait() {
    let gate = Gate::default();
    let server = LiveNode::start();
    spawn_keeper(&server, &gate);
    let path = server.path(KEEPER);
    server.run(move |node| async move {
        let keeper = keeper_at(&node, &path).await;
        (0..WAITING).for_each(|number| keeper.try_tell(pass(number)).expect("room"));
    });
    server.until("all to wait", |now| now.waiting == WAITING - 1);
    server.stop();
    assert_eq!(gate.ends(), (1, 1));
}

/// Has a [`Shell`] panic in this way.
#[message(id = "tests.Crack", v = 1, reply = Cracked)]
#[derive(Clone, Copy)]
struct Crack {
    how: u8,
}

#[message(id = "tests.Cracked", v = 1)]
struct Cracked {
    armed: bool,
}

impl Drop for Cracked {
    fn drop(&mut self) {
        assert!(!self.armed, "an answer that panics");
    }
}

const AT_ONCE: u8 = 0;
const LATER: u8 = 1;
const IN_ANSWER: u8 = 2;
const STOPPED_FIRST: u8 = 3;
const WAITS: u8 = 4;

protocol! { ShellApi = "tests.shell" { Crack } }

/// Panics in every place there is, and when it drops.
struct Shell {
    dropped: Arc<AtomicU64>,
    waits: Arc<AtomicU64>,
    at_start: bool,
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        panic!("an actor that panics in its drop");
    }
}

impl Actor for Shell {
    type Api = ShellApi;

    fn started(&mut self, _: &mut Cx<'_, Self>) {
        assert!(!self.at_start, "a start that panics");
    }

    fn stopped(&mut self) {
        panic!("a stop that panics");
    }
}

/// Panics when it drops, unless because of a panic.
struct Shard;

impl Drop for Shard {
    fn drop(&mut self) {
        assert!(
            std::thread::panicking(),
            "a handler that panics in its drop"
        );
    }
}

#[async_handler]
impl AsyncHandler<Crack> for Shell {
    async fn handle(&mut self, crack: Msg<Crack>, cx: &mut Cx<'_, Self>) -> Cracked {
        let node = cx.node();
        match crack.how {
            LATER => node.sleep(Duration::from_millis(1)).await,
            IN_ANSWER => return Cracked { armed: true },
            STOPPED_FIRST => {
                node.sleep(Duration::from_millis(1)).await;
                assert!(node.stop(&cx.me()));
            }
            WAITS => {
                let _shard = Shard;
                self.waits.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        panic!("a handler that panics");
    }
}

#[test]
fn panics_in_every_place_of_an_actor_that_waits_end_it_alone() {
    let (server, client) = (LiveNode::start(), LiveNode::start());
    let dropped = Arc::new(AtomicU64::new(0));
    let waits = Arc::new(AtomicU64::new(0));
    for how in [AT_ONCE, LATER, IN_ANSWER, STOPPED_FIRST, WAITS] {
        let before = dropped.load(Ordering::Relaxed);
        let panics = server.counters().panics;
        let shell = Shell {
            dropped: Arc::clone(&dropped),
            waits: Arc::clone(&waits),
            at_start: false,
        };
        server.run(move |node| async move {
            node.spawn_named("shell", shell).expect("a free name");
        });
        let path = server.path("shell");
        let asking = client.begin(move |node| async move {
            let shell: Ref<ShellApi> = node.resolve(&path).await.expect("it is there");
            let asked = shell.ask(Crack { how }).await;
            asked.map(|cracked| cracked.armed)
        });
        if how == WAITS {
            let waits = Arc::clone(&waits);
            server.until_so("the wait", move |_| waits.load(Ordering::Relaxed) == 1);
            let path = server.path("shell");
            server.run(move |node| async move {
                let shell: Ref<ShellApi> = node.resolve(&path).await.expect("it is there");
                assert!(node.stop(&shell));
            });
        }
        let fate = asking.finish();
        if how == IN_ANSWER {
            assert_eq!(fate, Ok(true), "it was answered before");
        } else {
            assert_eq!(fate, Err(AskError::Failed), "{how}");
        }
        let books = server.until("the end", |now| now.actors == 1);
        assert_closed(&books);
        assert_eq!(dropped.load(Ordering::Relaxed), before + 1, "{how}");
        assert!(books.panics > panics, "{how}");
    }
}

#[test]
fn a_start_that_panics_is_told_to_whoever_spawns() {
    let node = LiveNode::start();
    let dropped = Arc::new(AtomicU64::new(0));
    let shell = Shell {
        dropped: Arc::clone(&dropped),
        waits: Arc::default(),
        at_start: true,
    };
    let refused = node.run(|node| async move { node.spawn(shell).map(drop) });
    let error = refused.expect_err("the start panics").to_string();
    assert!(error.contains("a start that panics"), "{error}");
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
    assert_eq!(node.counters().actors, 1, "the directory alone");
}
