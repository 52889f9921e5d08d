//! Rests and wakes between messages, and in the middle of them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::transport::MemoryNetwork;
use ringmesh::{Actor, AsyncHandler, Cx, Msg, NodeEvent, Ref, async_handler, protocol};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::{balanced, books_of, run_on, total};
use ringmesh_tests::live::messages::{Account, ECHO, Echo, EchoApi, Echoed, Record, SINK, SinkApi};
use ringmesh_tests::live::node::{LiveNode, Pending};
use ringmesh_tests::live::procfs::Holdings;
use ringmesh_tests::live::seed;
use ringmesh_tests::live::serving::Serving;

use super::{IDLE, at_rest, recall, record, restful, sink_of};
use crate::lanes::{WideApi, WideSink};
use crate::resume::traffic::serve;

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

#[test]
fn links_of_all_lanes_rest_and_either_side_wakes_them() {
    let network = MemoryNetwork::new();
    for in_memory in [false, true] {
        let start = || {
            LiveNode::start_serving_with(|builder| {
                // Each dial is asked about, as by default.
                let builder = restful(builder).settings(|settings| settings.verify_peers = true);
                match in_memory {
                    true => builder.network(network.clone()),
                    false => builder,
                }
            })
        };
        let nodes = [start(), start()];
        let [first, second] = &nodes;
        let name = "wide";
        second.run(move |node| async move {
            let wide = node.spawn_named(name, WideSink::default());
            wide.expect("a free name");
        });
        let events = first.run(|node| async move { node.events() });
        let sink = sink_of(first, second);
        let wide = second.path(name);
        let wide: Ref<WideApi> =
            first.run(move |node| async move { node.resolve(&wide).await.expect("it is there") });
        let told = move |first: &LiveNode, from: u64| {
            let address = second.address().clone();
            first.run(move |node| async move {
                for number in from..from + 50 {
                    sink.tell(record(number)).await.expect("it runs");
                }
                wide.tell(record(from)).await.expect("it runs");
                node.ping(&address).await.expect("it is there");
                let seen = recall(&sink).await;
                assert_eq!((seen.count, seen.out_of_order), (from + 49, 0));
            });
        };
        told(first, 1);
        at_rest(&[first, second]);
        let rested = |node: &LiveNode| total(&books_of(node), |book| book.links_rested);
        assert_eq!((rested(first), rested(second)), (3, 3), "one of each lane");
        told(first, 51);
        at_rest(&[first, second]);
        // The other side, which was dialled so far.
        let back = sink_of(second, first);
        second.run(move |_| async move {
            back.tell(record(1)).await.expect("it runs");
            assert_eq!(recall(&back).await.count, 1);
        });
        let names = first.run(move |_| async move {
            let mut events = events;
            let mut names = Vec::new();
            while names.len() < 9 {
                let event = events.next().await.expect("the node runs");
                assert!(!matches!(event, NodeEvent::Lost { .. }), "{event:?}");
                names.push(event.label());
            }
            names
        });
        let count = |name| names.iter().filter(|other| **other == name).count();
        assert!(
            count("rested") >= 3 && count("associated") == 3,
            "{names:?}"
        );
        let books = balanced(&nodes);
        assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
        assert_eq!(total(&books, |book| book.dropped_unread), 0);
    }
}

#[test]
fn a_process_at_rest_holds_no_descriptor_of_its_peers() {
    let idle = format!("link.idle_timeout_ms={}", IDLE.as_millis());
    let serving = Serving::start(LIVE_NODE, &["--set", &idle]);
    let before = Holdings::of(serving.process.pid()).descriptors;
    let clients = [(); 8].map(|()| LiveNode::start_with(restful));
    for client in &clients {
        let path = serving.path(ECHO);
        client.run(move |node| async move {
            let echo: Ref<EchoApi> = node.resolve(&path).await.expect("it is there");
            let body = Bytes::new();
            echo.ask(Echo { number: 1, body }).await.expect("an answer");
        });
    }
    at_rest(&clients.iter().collect::<Vec<_>>());
    let begin = Instant::now();
    loop {
        let now = Holdings::of(serving.process.pid()).descriptors;
        if now <= before {
            return;
        }
        assert!(begin.elapsed() < WAIT, "{now} descriptors, {before} before");
    }
}

/// Tells bursts of records and asks now and then, with pauses in which links rest, or nearly.
fn talk_haltingly(from: &LiveNode, to: &LiveNode, mut random: fastrand::Rng) -> Pending<()> {
    const RESTS: u64 = 20;
    let (sink, echo) = (to.path(SINK), to.path(ECHO));
    from.begin(move |node| async move {
        let sink: Ref<SinkApi> = node.resolve(&sink).await.expect("it is there");
        let echo: Ref<EchoApi> = node.resolve(&echo).await.expect("it is there");
        let (mut said, mut number) = (Account::default(), 0);
        while node.counters().links_rested < RESTS {
            for _ in 0..random.u64(0..20) {
                number += 1;
                let body = Bytes::from(vec![number as u8; random.usize(0..2000)]);
                said.note_record(number, &body);
                sink.tell(Record { number, body }).await.expect("it runs");
            }
            if random.bool() {
                let body = Bytes::from_static(&[4; 100]);
                let answer = echo.ask(Echo { number, body }).await.expect("an answer");
                assert_eq!(answer.number.to_native(), number);
            }
            // Around the time after which links rest.
            node.sleep(Duration::from_micros(random.u64(0..16_000)))
                .await;
        }
        assert_eq!(recall(&sink).await, said, "each once, and in order");
    })
}

#[test]
fn twenty_rests_and_wakes_at_random_moments_lose_nothing() {
    let mut random = seed::generator();
    let nodes = [(); 2].map(|()| {
        LiveNode::start_serving_with(|builder| {
            builder.settings(|settings| settings.idle_timeout = Duration::from_millis(8))
        })
    });
    let [first, second] = &nodes;
    let talks = [
        talk_haltingly(first, second, random.fork()),
        talk_haltingly(second, first, random.fork()),
    ];
    talks.into_iter().for_each(Pending::finish);
    let books = balanced(&nodes);
    assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
    let lost = total(&books, |book| book.replies_dropped + book.asks_abandoned);
    assert_eq!(lost, 0);
}

protocol! {
    /// Answers after a while.
    SlowApi = "tests.slow" { Echo }
}

struct Slow;

impl Actor for Slow {
    type Api = SlowApi;
}

#[async_handler]
impl AsyncHandler<Echo> for Slow {
    async fn handle(&mut self, message: Msg<Echo>, cx: &mut Cx<'_, Self>) -> Echoed {
        cx.node().sleep(IDLE * 4).await;
        let number = message.number.to_native();
        let body = Bytes::new();
        Echoed { number, body }
    }
}

#[test]
fn a_question_is_answered_after_longer_than_links_may_be_idle() {
    let nodes = [(); 2].map(|()| LiveNode::start_serving_with(restful));
    for (asker, asked) in [(0, 1), (1, 0)] {
        let (asker, asked) = (&nodes[asker], &nodes[asked]);
        asked.run(|node| async move {
            node.spawn_named("slow", Slow).expect("a free name");
        });
        let path = asked.path("slow");
        asker.run(move |node| async move {
            let slow: Ref<SlowApi> = node.resolve(&path).await.expect("it is there");
            let (number, body) = (7, Bytes::new());
            let answer = slow.ask(Echo { number, body }).await.expect("an answer");
            assert_eq!(answer.number.to_native(), 7);
        });
    }
    at_rest(&[&nodes[0], &nodes[1]]);
    balanced(&nodes);
}

#[test]
fn shared_links_rest_and_what_they_lead_to_stays() {
    let nodes = [(); 2].map(|()| {
        LiveNode::start_with(|builder| {
            restful(builder).cores(3).settings(|settings| {
                settings.links_per_association_max = 1;
            })
        })
    });
    nodes.iter().for_each(serve);
    let [first, second] = &nodes;
    for round in 1..=3 {
        let address = second.address().to_string();
        run_on(first, 1, move |node| async move {
            for to in node.cores() {
                let path = format!("{address}/user/sink{}from1", to.0);
                let sink: Ref<SinkApi> = node.resolve(&path).await.expect("it is there");
                sink.tell(record(round)).await.expect("it runs");
                let seen = recall(&sink).await;
                assert_eq!((seen.count, seen.out_of_order), (round, 0));
            }
        });
        at_rest(&[first, second]);
    }
    let books = balanced(&nodes);
    assert!(total(&books, |book| book.hopped) > 0);
    assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
}
