//! Recipients and cores without room, behind a link that others share.

use std::time::Duration;

use bytes::Bytes;
use ringmesh::{AskError, CoreId, Node, NodeBuilder, Ref, SendError};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::cores::{balanced, books_of, run_on, settled, total};
use ringmesh_tests::live::messages::{Echo, EchoApi, Echoer, Recall, Record, Sink, SinkApi};
use ringmesh_tests::live::node::LiveNode;

use super::{CORES, block};
use crate::actors::flow::{echo_often, fill};
use crate::actors::gate::{Gate, Keeper, KeeperApi, List, pass};

const MAILBOX: usize = 16;
const WINDOW: u32 = 512 << 10;

fn small(builder: NodeBuilder) -> NodeBuilder {
    builder.cores(CORES).settings(|settings| {
        settings.links_per_association_max = 1;
        settings.mailbox_messages_max = MAILBOX;
        settings.window_bytes = WINDOW;
    })
}

/// A keeper and an echo on core 1, and an echo on core 2: what core 1 of a client sends to any of
/// them takes its link to core 2.
fn serving(gate: &Gate) -> LiveNode {
    let server = LiveNode::start_with(small);
    let gate = gate.clone();
    server.run(move |node| async move {
        let keeper = move || Keeper::new(gate);
        let keeper = node.spawn_named_on(CoreId(1), "keeper", keeper).await;
        keeper.expect("a free name");
        for core in [1, 2] {
            let name = format!("echo{core}");
            let echo = node
                .spawn_named_on(CoreId(core), &name, Echoer::default)
                .await;
            echo.expect("a free name");
        }
    });
    server
}

async fn keeper_at(node: &Node, path: &str) -> Ref<KeeperApi> {
    node.resolve(path).await.expect("the keeper is there")
}

#[test]
fn a_recipient_without_room_is_busy_alone_whoever_shares_its_link_and_its_core() {
    let gate = Gate::default();
    let server = serving(&gate);
    let client = LiveNode::start_with(small);
    let names = ["keeper", "echo1", "echo2"].map(|name| server.path(name));
    let mut taken = 0;
    for body_bytes in [0, 10_000] {
        let [keeper, beside, before] = names.clone();
        taken += run_on(&client, 1, move |node| async move {
            let keeper = keeper_at(&node, &keeper).await;
            let taken = fill(keeper, &node, body_bytes).await;
            // Far more than a window, past the same keeper.
            echo_often(&node, &beside, 100, 20_000).await;
            echo_often(&node, &before, 100, 20_000).await;
            let refused = keeper.try_tell(pass(0));
            assert!(matches!(refused, Err(SendError::Full(_))), "{refused:?}");
            taken
        });
    }
    let books = books_of(&server);
    books.iter().for_each(assert_closed);
    let waiting = total(&books, |book| book.waiting);
    assert!(waiting >= MAILBOX as u64, "{books:#?}");
    // The mailbox's bound, two windows of the tunnel, and a window and a half of the link.
    let most = MAILBOX + 7 * (WINDOW as usize) / 2 / 32;
    assert!((waiting as usize) < most, "{waiting} of {most}");
    gate.open();
    let [keeper, beside, _] = names;
    let listed = run_on(&client, 1, move |node| async move {
        let keeper = keeper_at(&node, &keeper).await;
        let listed = keeper.ask(List).await.expect("it is ready").deserialize();
        // Its credit came back: a whole window passes, one message at a time.
        echo_often(&node, &beside, 4, 200_000).await;
        listed.numbers
    });
    assert_eq!(listed.len() as u64, taken);
    assert_eq!(gate.passed(), taken);
    let books = balanced(&[&server, &client]);
    assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
    assert_eq!(total(&books, |book| book.closed_for_fault), 0);
}

#[test]
fn what_fills_a_recipient_while_its_core_is_held_leaves_room_for_its_neighbours() {
    let gate = Gate::default();
    let server = serving(&gate);
    let client = LiveNode::start_with(small);
    let (path, beside) = (server.path("keeper"), server.path("echo1"));
    // All that a sender who was not told may send is for the one that takes nothing.
    let held = block(&server, CoreId(1));
    let taken = run_on(&client, 1, move |node| async move {
        let keeper = keeper_at(&node, &path).await;
        fill(keeper, &node, 1000).await
    });
    let bytes = taken as usize * 1000;
    assert!(bytes > WINDOW as usize, "{bytes}");
    held.wait();
    run_on(&client, 1, move |node| async move {
        echo_often(&node, &beside, 20, 20_000).await;
    });
    gate.open();
    server.until_so("all to pass", move |_| gate.passed() == taken);
    let books = balanced(&[&server, &client]);
    assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
}

#[test]
fn a_send_that_waits_for_a_recipient_on_another_core_goes_on_when_that_is_ready() {
    let gate = Gate::default();
    let server = serving(&gate);
    let client = LiveNode::start_with(small);
    let path = server.path("keeper");
    let opened = gate.clone();
    let taken = run_on(&client, 1, move |node| async move {
        let keeper = keeper_at(&node, &path).await;
        let taken = fill(keeper, &node, 0).await;
        let waiting = async move {
            let told = keeper.tell(pass(taken)).timeout(WAIT).await;
            told.expect("room in the end");
        };
        node.spawn_task(waiting).expect("room");
        node.spawn_task(async move { opened.open() }).expect("room");
        let listed = keeper.ask(List).timeout(WAIT).await;
        listed.expect("room in the end");
        taken
    });
    let passed = gate;
    server.until_so("all to pass", move |_| passed.passed() == taken + 1);
    balanced(&[&server, &client]);
}

#[test]
fn what_came_before_the_end_of_a_link_is_handled_on_the_other_core_too() {
    let gate = Gate::default();
    let server = serving(&gate);
    let client = LiveNode::start_with(small);
    let path = server.path("keeper");
    let taken = run_on(&client, 1, move |node| async move {
        let keeper = keeper_at(&node, &path).await;
        fill(keeper, &node, 10_000).await
    });
    client.stop();
    run_on(&server, 2, |node| async move {
        while node.counters().links > 0 {
            node.sleep(Duration::from_millis(1)).await;
        }
    });
    gate.open();
    let passed = gate;
    server.until_so("all to pass", move |_| passed.passed() == taken);
    let books = settled(&[&server]);
    assert_eq!(total(&books, |book| book.dead_received + book.dead_sent), 0);
}

#[test]
fn a_core_that_is_behind_is_felt_by_the_sender_and_its_link_goes_on_for_others() {
    let server = serving(&Gate::default());
    let client = LiveNode::start_with(small);
    server.run(|node| async move {
        let sink = node.spawn_named_on(CoreId(1), "sink", Sink::default).await;
        sink.expect("a free name");
    });
    let path = server.path("sink");
    let sink = run_on(&client, 1, move |node| async move {
        let sink: Ref<SinkApi> = node.resolve(&path).await.expect("it is there");
        sink.ask(Recall).await.expect("it runs");
        sink
    });
    let blocked = block(&server, CoreId(1));
    let before = server.path("echo2");
    let taken = run_on(&client, 1, move |node| async move {
        let (mut taken, mut refused) = (0_u64, 0);
        while refused < 50 {
            let body = Bytes::from(vec![3; 1000]);
            match sink.try_tell(Record {
                number: taken + 1,
                body,
            }) {
                Ok(()) => (taken, refused) = (taken + 1, 0),
                Err(SendError::Full(_)) => {
                    refused += 1;
                    node.sleep(Duration::from_millis(2)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        taken
    });
    // The tunnel's window, and what the link still granted, each once.
    let bytes = taken as usize * 1000;
    let window = WINDOW as usize;
    assert!(bytes > window / 2 && bytes < 2 * window, "{bytes}");
    // Some of it found no room in the tunnel.
    let waiting = run_on(&server, 2, |node| async move { node.counters().waiting });
    assert!(waiting > 0);
    blocked.wait();
    let account = run_on(&client, 1, move |node| async move {
        echo_often(&node, &before, 20, 20_000).await;
        sink.ask(Recall).await.expect("it runs").deserialize()
    });
    assert_eq!((account.count, account.out_of_order), (taken, 0));
    balanced(&[&server, &client]);
}

#[test]
fn a_question_that_waits_before_a_tunnel_beyond_its_deadline_is_not_handled() {
    const BODY: usize = 1000;
    let server = serving(&Gate::default());
    let client = LiveNode::start_with(small);
    let path = server.path("echo1");
    let echo = run_on(&client, 1, move |node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("it is there");
        echo.ask(question(0)).await.expect("it runs");
        echo
    });
    let blocked = block(&server, CoreId(1));
    run_on(&client, 1, move |node| async move {
        // More than the tunnel takes, and less than the link does.
        let messages = WINDOW as usize * 11 / 10 / BODY;
        for _ in 0..messages {
            let body = Bytes::from(vec![3; BODY]);
            let told = echo.tell(Echo { number: 1, body }).timeout(WAIT).await;
            told.expect("credit for it");
        }
        drop(node);
    });
    run_on(&server, 2, |node| async move {
        while node.counters().waiting == 0 {
            node.sleep(Duration::from_millis(1)).await;
        }
    });
    run_on(&client, 1, move |_| async move {
        let asked = echo.ask(question(2)).timeout(Duration::from_millis(50));
        let error = asked.await.expect_err("nobody reads it");
        assert!(matches!(error, AskError::Timeout { .. }), "{error:?}");
    });
    blocked.wait();
    let books = balanced(&[&server, &client]);
    assert_eq!(total(&books, |book| book.dead_expired), 1, "{books:#?}");
    assert_eq!(total(&books, |book| book.dead_late_answer), 1, "{books:#?}");
}

fn question(number: u64) -> Echo {
    let body = Bytes::new();
    Echo { number, body }
}
