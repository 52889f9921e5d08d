//! Full mailboxes: who is refused, who is not, and how much memory it costs.

use std::time::Duration;

use bytes::Bytes;
use ringmesh::{
    Actor, AskError, AskPhase, AsyncHandler, Cx, Msg, Node, NodeBuilder, Ref, SendError,
    async_handler, message, protocol,
};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, Echo, EchoApi};
use ringmesh_tests::live::node::LiveNode;

use super::gate::{Gate, Keeper, KeeperApi, List, Pass, pass};
use super::{KEEPER, keeper_at, spawn_keeper};

const MAILBOX: usize = 16;
const WINDOW: u32 = 512 << 10;
const HOUR: Duration = Duration::from_secs(3600);

fn small(builder: NodeBuilder) -> NodeBuilder {
    builder.settings(|settings| {
        settings.mailbox_messages_max = MAILBOX;
        settings.window_bytes = WINDOW;
    })
}

/// Tells until there is no room, and returns how many were taken.
pub(crate) async fn fill(keeper: Ref<KeeperApi>, node: &Node, body_bytes: usize) -> u64 {
    let mut taken = 0;
    let mut refused = 0;
    // What waits for a grant is told from what waits for the recipient: the latter stays.
    while refused < 20 {
        let message = Pass {
            number: taken,
            body: Bytes::from(vec![0; body_bytes]),
        };
        match keeper.try_tell(message) {
            Ok(()) => {
                taken += 1;
                refused = 0;
            }
            Err(SendError::Full(_)) => {
                refused += 1;
                node.sleep(Duration::from_millis(2)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    taken
}

pub(crate) async fn echo_often(node: &Node, path: &str, count: u64, body_bytes: usize) {
    let echo: Ref<EchoApi> = node.resolve(path).await.expect("the echo is there");
    for number in 0..count {
        let question = Echo {
            number,
            body: Bytes::from(vec![1; body_bytes]),
        };
        let answer = echo.ask(question).await.expect("an answer");
        assert_eq!(answer.number, number);
    }
}

#[test]
fn an_actor_that_takes_nothing_does_not_slow_others_on_its_link() {
    let server = LiveNode::start_serving_with(small);
    let client = LiveNode::start_with(small);
    let gate = Gate::default();
    spawn_keeper(&server, &gate);
    let (keeper, echo) = (server.path(KEEPER), server.path(ECHO));
    for body_bytes in [0, 10_000] {
        let (keeper, echo) = (keeper.clone(), echo.clone());
        client.run(move |node| async move {
            let keeper = keeper_at(&node, &keeper).await;
            fill(keeper, &node, body_bytes).await;
            // Far more than a window, past the same keeper on the same link.
            echo_often(&node, &echo, 100, 20_000).await;
            let refused = keeper.try_tell(pass(0));
            assert!(matches!(refused, Err(SendError::Full(_))), "{refused:?}");
        });
    }
    let books = server.counters();
    assert_closed(&books);
    assert!(books.waiting >= MAILBOX as u64, "{books:#?}");
    let waiting = books.waiting;
    gate.open();
    let books = server.until("all to pass", |now| now.waiting == 0);
    assert_closed(&books);
    assert_eq!(gate.passed(), waiting + 1);
    // Its credit came back: a whole window passes, one message at a time.
    let echo = server.path(ECHO);
    client.run(move |node| async move {
        let keeper = keeper_at(&node, &keeper).await;
        let listed = keeper.ask(List).await.expect("it is ready");
        assert_eq!(listed.numbers.len() as u64, waiting + 1);
        echo_often(&node, &echo, 4, 200_000).await;
    });
    assert_eq!(client.counters().closed_for_fault, 0);
}

#[test]
fn a_send_that_waits_for_a_busy_actor_goes_on_when_that_is_ready() {
    let (server, client) = (
        LiveNode::start_serving_with(small),
        LiveNode::start_with(small),
    );
    let gate = Gate::default();
    spawn_keeper(&server, &gate);
    let (keeper, echo) = (server.path(KEEPER), server.path(ECHO));
    let (path, opened) = (keeper, gate.clone());
    let told = client.run(move |node| async move {
        let keeper = keeper_at(&node, &path).await;
        let taken = fill(keeper, &node, 0).await;
        let (said, heard) = std::sync::mpsc::channel();
        for number in 0..3 {
            let said = said.clone();
            let waiting = async move {
                keeper
                    .tell(pass(taken + number))
                    .timeout(HOUR)
                    .await
                    .expect("room in the end");
                drop(said);
            };
            node.spawn_task(waiting).expect("room");
        }
        let asked = node.clone();
        let asking = async move {
            let listed = keeper.ask(List).timeout(HOUR).await.expect("an answer");
            said.send(listed.numbers.len()).expect("it is awaited");
            drop(asked);
        };
        node.spawn_task(asking).expect("room");
        // They hold up nobody.
        echo_often(&node, &echo, 20, 0).await;
        let refused = keeper.tell(pass(0)).timeout(Duration::from_millis(5)).await;
        assert!(
            matches!(refused, Err(SendError::TimedOut { .. })),
            "{refused:?}"
        );
        let refused = keeper.ask(List).timeout(Duration::from_millis(5)).await;
        let phase = AskPhase::Queued;
        assert!(
            matches!(refused, Err(AskError::Timeout { phase: p, .. }) if p == phase),
            "{:?}",
            refused.err()
        );
        assert!(heard.try_recv().is_err(), "nothing passed");
        opened.open();
        (taken, heard)
    });
    let (taken, heard) = told;
    heard
        .recv_timeout(ringmesh_tests::live::WAIT)
        .expect("an answer");
    let passed = gate;
    server.until_so("all to pass", move |_| passed.passed() == taken + 3);
    assert_closed(&server.counters());
}

#[test]
fn a_flood_from_many_nodes_is_bounded_and_accounted_for() {
    flood(4, 1);
}

#[test]
fn a_flood_of_a_hundred_senders_is_bounded_and_accounted_for() {
    flood(4, 25);
}

/// So many nodes with so many senders each fill the mailbox of one actor, which then takes all.
fn flood(nodes: usize, senders: usize) {
    let server = LiveNode::start_with(small);
    let gate = Gate::default();
    spawn_keeper(&server, &gate);
    let clients: Vec<LiveNode> = (0..nodes).map(|_| LiveNode::start_with(small)).collect();
    const BODY: usize = 1000;
    let flooding: Vec<_> = clients
        .iter()
        .cycle()
        .take(nodes * senders)
        .map(|client| {
            let path = server.path(KEEPER);
            client.begin(move |node| async move {
                let keeper = keeper_at(&node, &path).await;
                fill(keeper, &node, BODY).await
            })
        })
        .collect();
    let taken: u64 = flooding.into_iter().map(|flood| flood.finish()).sum();
    let books = server.until("all to wait", move |now| now.waiting + 1 >= taken);
    assert_closed(&books);
    assert_eq!(books.waiting + 1, taken, "one is in its handler");
    // The mailbox's bound, and one and a half windows for each link, however many send on it.
    let most = MAILBOX + nodes * (WINDOW as usize * 3 / 2) / BODY;
    assert!(taken as usize <= most, "{taken} of {most}");
    gate.open();
    let passed = gate;
    server.until_so("all to pass", move |_| passed.passed() == taken);
    let books = server.counters();
    assert_closed(&books);
    assert_eq!((books.dead_received, books.waiting), (0, 0), "{books:#?}");
    for client in &clients {
        let books = client.until("quiet", |now| now.in_flight == 0);
        assert_eq!(books.dead_sent, 0, "{books:#?}");
    }
}

#[test]
fn what_a_link_left_waiting_is_handled_after_its_end() {
    let server = LiveNode::start_with(small);
    let gate = Gate::default();
    spawn_keeper(&server, &gate);
    let client = LiveNode::start_with(small);
    let path = server.path(KEEPER);
    let taken = client.run(move |node| async move {
        let keeper = keeper_at(&node, &path).await;
        fill(keeper, &node, 0).await
    });
    client.stop();
    server.until("the end of the link", |now| now.links == 0);
    gate.open();
    let passed = gate;
    server.until_so("all to pass", move |_| passed.passed() == taken);
    assert_closed(&server.counters());
}

/// Tells the other of its kind, as long as there is room, and waits for that.
#[message(id = "tests.Ball", v = 1)]
struct Ball {
    first: bool,
}

#[message(id = "tests.Misses", v = 1, reply = Missed)]
struct Misses;

#[message(id = "tests.Missed", v = 1)]
struct Missed {
    count: u64,
}

protocol! { PlayerApi = "tests.player" { Ball, Misses } }

struct Player {
    path: String,
    /// Opened when both are there.
    begin: Gate,
    misses: u64,
}

/// More than both mailboxes and windows take.
const BALLS: u64 = 100_000;

impl Actor for Player {
    type Api = PlayerApi;
}

#[async_handler]
impl AsyncHandler<Ball> for Player {
    async fn handle(&mut self, ball: Msg<Ball>, cx: &mut Cx<'_, Self>) {
        if !ball.first {
            return;
        }
        let other: Ref<PlayerApi> = cx.node().resolve(&self.path).await.expect("it is there");
        self.begin.meet(2).await;
        for _ in 0..BALLS {
            let ball = Ball { first: false };
            let told = other.tell(ball).timeout(Duration::from_millis(200)).await;
            if let Err(error) = told {
                assert!(matches!(error, SendError::TimedOut { .. }), "{error}");
                self.misses += 1;
                break;
            }
        }
    }
}

#[async_handler]
impl AsyncHandler<Misses> for Player {
    async fn handle(&mut self, _: Msg<Misses>, _: &mut Cx<'_, Self>) -> Missed {
        Missed { count: self.misses }
    }
}

#[test]
fn two_actors_that_wait_for_room_at_each_other_end_by_their_deadlines() {
    let nodes = [LiveNode::start_with(small), LiveNode::start_with(small)];
    let paths = [nodes[1].path("player"), nodes[0].path("player")];
    let both = Gate::default();
    for (node, path) in nodes.iter().zip(paths) {
        let begin = both.clone();
        node.run(move |node| async move {
            let player = Player {
                path,
                begin,
                misses: 0,
            };
            node.spawn_named("player", player).expect("a free name");
        });
    }
    let playing = nodes.each_ref().map(|node| {
        let path = node.path("player");
        node.begin(move |node| async move {
            let own: Ref<PlayerApi> = node.resolve(&path).await.expect("it is there");
            own.tell(Ball { first: true }).await.expect("room");
            own.ask(Misses)
                .timeout(HOUR)
                .await
                .expect("an answer")
                .count
                .to_native()
        })
    });
    let misses = playing.map(|playing| playing.finish());
    // Whoever gives up first lets the other go on.
    assert!(misses.iter().sum::<u64>() > 0, "{misses:?}");
    for node in &nodes {
        assert_closed(&node.until("quiet", |now| now.waiting == 0));
    }
}

#[test]
fn actors_of_one_core_are_told_too() {
    let node = LiveNode::start_with(small);
    let gate = Gate::default();
    let kept = gate.clone();
    let taken = node.run(move |node| async move {
        let keeper = node.spawn(Keeper::new(kept)).expect("room");
        fill(keeper, &node, 0).await
    });
    gate.open();
    let passed = gate;
    node.until_so("all to pass", move |_| passed.passed() == taken);
    assert_closed(&node.counters());
}

#[test]
fn a_lossy_send_is_dropped_and_counted_when_there_is_no_room() {
    let (server, client) = (LiveNode::start_with(small), LiveNode::start_with(small));
    let gate = Gate::default();
    spawn_keeper(&server, &gate);
    let path = server.path(KEEPER);
    let (before, taken, now) = client.run(move |node| async move {
        let keeper = keeper_at(&node, &path).await;
        // There is room for the first.
        let before = node.counters();
        keeper.tell_lossy(pass(0));
        assert_eq!(node.counters().sent, before.sent + 1);
        let taken = fill(keeper, &node, 0).await;
        let before = node.counters();
        (0..3).for_each(|number| keeper.tell_lossy(pass(number)));
        (before, taken, node.counters())
    });
    assert_eq!((before.dropped_lossy, now.dropped_lossy), (0, 3));
    assert_eq!(now.sent, before.sent, "what was dropped was not sent");
    assert_closed(&now);
    gate.open();
    let passed = gate;
    server.until_so("all to pass", move |_| passed.passed() == taken + 1);
    // Nor is anything sent where nobody can be reached.
    server.stop();
    let books = client.until("the end of the link", |now| now.links == 0);
    assert_closed(&books);
}

#[test]
fn a_lossy_send_to_whoever_is_gone_is_counted() {
    let (server, client) = (LiveNode::start(), LiveNode::start());
    let gate = Gate::default();
    spawn_keeper(&server, &gate);
    let path = server.path(KEEPER);
    let keeper = client.run(move |node| async move { keeper_at(&node, &path).await });
    server.stop();
    client.until("the end of the link", |now| now.links == 0);
    let books = client.run(move |node| async move {
        keeper.tell_lossy(pass(1));
        node.counters()
    });
    assert_eq!(books.dropped_lossy, 1);
    assert_closed(&books);
    // Not on a core: there is nothing to count on, and nothing breaks.
    keeper.tell_lossy(pass(2));
    assert_eq!(client.counters().dropped_lossy, 1);
}
