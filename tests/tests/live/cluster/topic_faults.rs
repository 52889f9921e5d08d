//! Faults around topics: whoever is cut off, stands still or dies costs the others nothing, and
//! what does not reach it is said and counted.

use std::time::{Duration, Instant};

use ringmesh::cluster::ClusterSettings;
use ringmesh::pubsub::{
    Level, NameError, Outcome, Pattern, Publisher, SubscribeError, Subscription, Topic,
};
use ringmesh::{Actor, CoreId, Cx, Handler, Msg, Node, Uid, protocol};
use ringmesh_fault_proxy::Faults;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::between::proxy;
use ringmesh_tests::live::cores::{books_of, on_core, run_on, total};
use ringmesh_tests::live::messages::{RECORDS, Record};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::process::Process;

use super::{cluster_of, until_up, watchful};

const LIVE_NODE: &str = env!("CARGO_BIN_EXE_live-node");

fn topic() -> Topic<Record> {
    Topic::new(RECORDS)
}

fn record(number: u64) -> Record {
    Record {
        number,
        body: vec![7; 32].into(),
    }
}

fn publisher(node: &Node) -> Publisher<Record> {
    let publisher = node.publisher(&topic()).expect("a topic");
    publisher.timeout(WAIT)
}

fn publish(node: &LiveNode, number: u64) -> Outcome {
    node.run(move |node| async move {
        let outcome = publisher(&node).publish_acknowledged(record(number)).await;
        outcome.expect("room")
    })
}

/// Waits until so many subscribe, as that node knows.
fn until_subscribers(node: &LiveNode, count: u64) {
    node.until_so("the subscribers", move |node| {
        publisher(node).subscribers() == count
    });
}

/// A process that subscribes, and says what it reads; its uid.
fn subscriber(bind: &str, seed: &LiveNode) -> (Process, String, Uid) {
    let seed = seed.address().to_string();
    let process = Process::start(LIVE_NODE, &["subscribe", "--bind", bind, &seed]);
    let listening = process.value("listening");
    let (address, uid) = listening.split_once('#').expect("a node's id");
    let uid = u64::from_str_radix(uid, 16).ok().and_then(Uid::new);
    let (_, place) = address.split_once('@').expect("a node's address");
    assert!(
        process
            .value("known")
            .parse::<usize>()
            .is_ok_and(|it| it > 0)
    );
    (process, place.to_owned(), uid.expect("a node's uid"))
}

#[test]
fn a_subscriber_that_is_killed_is_lost_and_its_next_start_at_the_address_is_found() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    let (mut process, place, uid) = subscriber("127.0.0.1:0", &nodes[0]);
    // It may know that it is a member in full before they do.
    until_subscribers(&nodes[0], 1);
    let outcome = publish(&nodes[0], 1);
    assert_eq!((outcome.nodes, outcome.subscribers), (1, 1), "{outcome:?}");
    assert_eq!(process.value("read"), "1");
    process.kill();
    process.wait(WAIT);
    // It is the last that is awaited, so this is over when the process is known to be gone.
    let outcome = publish(&nodes[0], 2);
    assert_eq!(outcome.subscribers, 0, "{outcome:?}");
    assert!(
        outcome.lost == [uid] || outcome.is_complete(),
        "{outcome:?}"
    );
    nodes.iter().for_each(|it| until_subscribers(it, 0));
    let outcome = publish(&nodes[1], 3);
    assert!(outcome.is_dead_letter() && outcome.is_complete());
    drop(process);
    let (again, _, next) = subscriber(&place, &nodes[1]);
    assert_ne!(next, uid);
    for (at, node) in (1_u64..).zip(&nodes) {
        // Whoever has just come back may be taken for silent once more, and that is said.
        let (mut number, begun) = (1_000 * at, Instant::now());
        loop {
            assert!(begun.elapsed() < WAIT, "it is never reached");
            until_subscribers(node, 1);
            let outcome = publish(node, number);
            if (outcome.nodes, outcome.subscribers) == (1, 1) {
                break;
            }
            assert_eq!(outcome.lost, [next], "{outcome:?}");
            number += 1;
        }
        while again.value("read") != number.to_string() {}
    }
}

#[test]
fn a_subscriber_that_stands_still_is_lost_and_reads_on_when_it_goes_on() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(1));
    let (process, _, uid) = subscriber("127.0.0.1:0", &nodes[0]);
    until_subscribers(&nodes[1], 1);
    publish(&nodes[1], 1);
    assert_eq!(process.value("read"), "1");
    process.freeze();
    // It may read on before the signal is there.
    let mut last = 2;
    let mut outcome = publish(&nodes[1], last);
    while outcome.subscribers > 0 {
        assert_eq!(process.value("read"), last.to_string());
        last += 1;
        outcome = publish(&nodes[1], last);
    }
    assert_eq!(outcome.lost, [uid]);
    until_subscribers(&nodes[1], 0);
    let books = books_of(&nodes[1]);
    assert!(publish(&nodes[1], 1_000).is_dead_letter());
    let unreached = total(&books_of(&nodes[1]), |it| it.published_unreached);
    assert_eq!(unreached - total(&books, |it| it.published_unreached), 1);
    process.thaw();
    until_subscribers(&nodes[1], 1);
    // What was on its way is there; what was published while nobody could be reached is not.
    assert_eq!(process.value("read"), last.to_string());
    let outcome = publish(&nodes[1], 2_000);
    assert_eq!((outcome.nodes, outcome.subscribers), (1, 1), "{outcome:?}");
    assert_eq!(process.value("read"), "2000");
}

#[test]
fn a_subscriber_that_is_cut_off_is_found_again_when_the_network_is_mended() {
    let (proxies, changes): (Vec<_>, Vec<_>) = (0..2).map(|_| proxy(Faults::default())).unzip();
    let mut nodes: Vec<LiveNode> = Vec::new();
    for change in &changes {
        let mut settings: ClusterSettings = watchful();
        let seeds = nodes.first().map(|first| first.address().clone());
        settings.seeds = Some(seeds.into_iter().collect());
        let start = |builder| change(builder).cluster(settings);
        nodes.push(LiveNode::start_serving_with(start));
    }
    nodes.iter().for_each(|it| until_up(it, 2));
    let reading = nodes[1].begin(|node| async move {
        let mut subscription = subscribe(&node).await;
        let mut numbers = Vec::new();
        while numbers.last() != Some(&9) {
            let received = subscription.recv().await.expect("no loss");
            numbers.push(received.number.to_native());
        }
        numbers
    });
    until_subscribers(&nodes[0], 1);
    assert_eq!(publish(&nodes[0], 1).subscribers, 1);
    let stall = |stalled| {
        for proxy in &proxies {
            proxy.change(|faults| {
                faults.to_upstream.stalled = stalled;
                faults.to_client.stalled = stalled;
            });
        }
    };
    stall(true);
    let outcome = publish(&nodes[0], 2);
    assert_eq!(outcome.lost, [nodes[1].id().uid], "{outcome:?}");
    until_subscribers(&nodes[0], 0);
    assert!(publish(&nodes[0], 3).is_dead_letter());
    stall(false);
    until_subscribers(&nodes[0], 1);
    let outcome = publish(&nodes[0], 9);
    assert_eq!(outcome.subscribers, 1, "{outcome:?}");
    let numbers = reading.finish();
    // What was on its way comes when the way is open, or not; never out of order.
    assert!(numbers == [1, 2, 9] || numbers == [1, 9], "{numbers:?}");
}

async fn subscribe(node: &Node) -> Subscription<Record> {
    let begun = node
        .subscribe(&topic())
        .expect("a topic")
        .begin_known(Level::AllReachable);
    begun.await.expect("room").0
}

#[test]
fn thirty_thousand_subscriptions_that_come_and_go_leave_nothing_behind() {
    const ROUNDS: u64 = 300;
    const EACH: usize = 100;
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    run_on(&nodes[1], 1, |node| async move {
        for round in 0..ROUNDS {
            let topics =
                (0..EACH as u64).map(|it| format!("tests.churn.{}", (round * 7 + it) % 500));
            let begun: Vec<Subscription<Record>> = topics
                .map(|name| {
                    let topic = Topic::named(name).expect("a topic");
                    let subscribe = node.subscribe(&topic).expect("a topic");
                    subscribe.begin().expect("room")
                })
                .collect();
            // 100 of them in 10 ms, so that what one batch announces the next takes back.
            node.sleep(Duration::from_millis(5)).await;
            drop(begun);
            node.sleep(Duration::from_millis(5)).await;
        }
    });
    // There is one that lives, and nothing of the others.
    let held = run_on(&nodes[1], 1, |node| async move {
        let held = subscribe(&node).await;
        let hold = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        node.spawn_task(hold).is_ok()
    });
    assert!(held);
    for node in &nodes {
        for core in [0, 1] {
            run_on(node, core, |node| async move {
                assert_eq!(node.topics(), [RECORDS])
            });
        }
    }
    assert_eq!(publish(&nodes[0], 1).subscribers, 1);
    let books: Vec<_> = nodes.iter().flat_map(books_of).collect();
    assert_eq!(total(&books, |it| it.subscriptions_refused), 0);
    assert_eq!(total(&books, |it| it.announcements_skipped), 0);
}

protocol! { GreedyApi = "tests.greedy" { Record } }

struct Greedy;

impl Actor for Greedy {
    type Api = GreedyApi;
}

impl Handler<Record> for Greedy {
    fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {}
}

#[test]
fn whoever_subscribes_to_too_much_is_refused_and_the_others_are_not() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    run_on(&nodes[1], 0, |node| async move {
        let greedy = node.spawn(Greedy).expect("room");
        let mut begun = 0;
        let refused = loop {
            let topic: Topic<Record> = Topic::named(format!("tests.greed.{begun}")).expect("one");
            match node.subscribe(&topic).expect("a topic").begin_for(&greedy) {
                Ok(()) => begun += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!((begun, refused), (4096, SubscribeError::Subscriber));
        // Wildcards at too many different places.
        let mut shapes = Vec::new();
        let refused = loop {
            let stars = shapes.len() as u32;
            let segments = (0..7).map(|it| if stars >> it & 1 == 1 { "*" } else { "a" });
            let text = segments.chain(["*"]).collect::<Vec<_>>().join(".");
            let pattern = Pattern::new(&text).expect("a pattern");
            match node.subscribe_to::<Record>(pattern).begin() {
                Ok(begun) => shapes.push(begun),
                Err(refused) => break refused,
            }
        };
        assert_eq!((shapes.len(), refused), (64, SubscribeError::Shapes));
        // More than one core may have.
        let mut all = Vec::new();
        let refused = loop {
            if all.len() % 4096 == 0 {
                // So that nobody takes this core for one that stands still.
                node.sleep(Duration::from_millis(1)).await;
            }
            let topic = Topic::named(format!("tests.crowd.{}", all.len() % 512));
            let topic: Topic<Record> = topic.expect("a topic");
            match node.subscribe(&topic).expect("a topic").queue(1).begin() {
                Ok(begun) => all.push(begun),
                Err(refused) => break refused,
            }
        };
        assert_eq!(
            (all.len(), refused),
            (131_072 - 4096 - 64, SubscribeError::Core)
        );
        assert_eq!(node.counters().subscriptions_refused, 3);
        // The other core has room, and the other node reaches it.
        let other = |node: Node| async move {
            let mut subscription = subscribe(&node).await;
            let told = node.spawn_task(async move {
                subscription.recv().await.map(drop).expect("no loss");
            });
            told.is_ok()
        };
        assert!(on_core(&node, CoreId(1), other).await);
    });
    until_subscribers(&nodes[0], 1);
    let outcome = publish(&nodes[0], 1);
    assert_eq!(outcome.subscribers, 1, "{outcome:?}");
    nodes[0].until_so("nothing of the greedy", |node| {
        !node.topics().iter().any(|it| it.contains("tests.crowd"))
    });
}

#[test]
fn what_is_no_topic_is_said_to_be_none_and_why() {
    let node = LiveNode::start_with(|builder| builder.cores(1));
    node.run(|node| async move {
        let why = |name: &str| Topic::<Record>::named(name).err();
        assert_eq!(why(""), Some(NameError::Empty));
        let long = "n".repeat(191);
        let overlong = NameError::Overlong {
            length: 191,
            max: 190,
        };
        assert_eq!(why(&long), Some(overlong));
        for name in ["a..b", ".a", "a.", "a b", "a\tb", "a*b"] {
            assert_eq!(why(name), Some(NameError::Malformed), "{name}");
        }
        for name in ["*", "**", "a.*", "a.*.b", "a.**"] {
            assert_eq!(why(name), Some(NameError::Wildcard), "{name}");
            assert!(Pattern::new(name).is_ok(), "{name}");
        }
        let many = vec!["a"; 33].join(".");
        assert_eq!(why(&many), Some(NameError::Segments { count: 33 }));
        // A constant is looked at when it is used, on both sides.
        const WILD: Topic<Record> = Topic::new("a.*");
        assert_eq!(node.publisher(&WILD).err(), Some(NameError::Wildcard));
        assert_eq!(node.subscribe(&WILD).err(), Some(NameError::Wildcard));
        assert_eq!(Pattern::new("a.**.b").err(), Some(NameError::Wildcard));
    });
}
