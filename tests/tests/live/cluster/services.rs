//! Services: announced on any core of any node, found on all of them, and gone with what they are.

use std::time::{Duration, Instant};

use ringmesh::registry::{Listing, RegisterError, ServiceKey};
use ringmesh::{CoreId, Node, Ref};
use ringmesh_tests::live::cores::{on_core, run_on};
use ringmesh_tests::live::messages::{Echo, EchoApi, Echoer};
use ringmesh_tests::live::node::{LiveNode, Pending};

use super::{Frozen, cluster_of, of, watchful};

const ECHOES: ServiceKey<EchoApi> = ServiceKey::new("echoes");

/// An echo on a core of the node, announced to all.
async fn announce(node: Node, core: u16) -> Ref<EchoApi> {
    let echo = node.spawn_on(CoreId(core), Echoer::default).await;
    let echo = echo.expect("room");
    let told = node.register_everywhere(&ECHOES, &echo).await;
    let told = told.expect("room");
    assert!(
        told.missing.is_empty() && told.dropped.is_empty(),
        "{told:?}"
    );
    echo
}

/// Waits until a core of the node finds as many as `is_so` wants.
fn until_found(
    node: &LiveNode,
    core: u16,
    is_so: impl Fn(&Listing<EchoApi>) -> bool + Send + 'static,
) {
    run_on(node, core, move |node| async move {
        let mut listings = node.listings(&ECHOES);
        while !is_so(&listings.next().await) {}
    });
}

fn counts(listing: &Listing<EchoApi>) -> [usize; 3] {
    [
        listing.here().len(),
        listing.remote().len(),
        listing.unreachable().len(),
    ]
}

#[test]
fn what_a_core_announces_everywhere_is_found_and_reached_by_every_core_of_all_nodes() {
    let nodes = cluster_of(3, &watchful(), |builder| builder.cores(2));
    run_on(&nodes[0], 1, |node| async move { announce(node, 1).await });
    for (at, node) in nodes.iter().enumerate() {
        for core in [0, 1] {
            let answer = run_on(node, core, move |node| async move {
                let found = node.find(&ECHOES).await;
                let here = usize::from(at == 0);
                assert_eq!(counts(&found), [here, 1 - here, 0]);
                assert!(found.is_settled());
                let echo = Echo {
                    number: 7,
                    body: vec![1].into(),
                };
                found.services()[0]
                    .ask(echo)
                    .await
                    .expect("it answers")
                    .number
            });
            assert_eq!(answer, 7);
        }
    }
}

#[test]
fn a_service_ends_with_its_actor_or_its_node_or_when_it_is_taken_back() {
    let nodes = cluster_of(3, &watchful(), |builder| builder.cores(2));
    let [one, two] =
        [0, 1].map(|core| nodes[0].run(move |node| async move { announce(node, core).await }));
    nodes[1].run(|node| async move { announce(node, 1).await });
    until_found(&nodes[2], 1, |it| counts(it) == [0, 3, 0]);
    nodes[0].run(move |node| async move {
        assert_eq!(node.deregister(&ECHOES, &one).await, Ok(true));
        assert_eq!(node.deregister(&ECHOES, &one).await, Ok(false));
        assert!(node.stop(&two));
    });
    until_found(&nodes[2], 1, |it| counts(it) == [0, 1, 0]);
    until_found(&nodes[0], 1, |it| counts(it) == [0, 1, 0]);
    nodes[1].run(|node| async move {
        of(&node).leave().await.expect("it is a member");
        // From the moment it leaves on nobody finds what it announced.
        let echo = node.spawn(Echoer::default()).expect("room");
        let refused = node.register(&ECHOES, &echo).await;
        assert_eq!(refused, Err(RegisterError::Leaving));
    });
    until_found(&nodes[2], 1, |it| counts(it) == [0, 0, 0]);
}

#[test]
fn what_cannot_be_announced_says_why_and_what_is_announced_twice_is_there_once() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    let elsewhere = nodes[0].run(|node| async move { announce(node, 0).await });
    let echo = nodes[1].run(|node| async move {
        let found = node.find(&ECHOES).await.remote()[0];
        let refused = node.register(&ECHOES, &found).await;
        assert_eq!(refused, Err(RegisterError::NotHere));
        let echo = announce(node.clone(), 1).await;
        assert_eq!(node.register(&ECHOES, &echo).await, Ok(()));
        let again = node.register_everywhere(&ECHOES, &echo).await;
        assert_eq!(again.expect("it is there").confirmed.len(), 2);
        let found = node.find(&ECHOES).await;
        assert_eq!(counts(&found), [1, 1, 0]);
        let other = ServiceKey::<EchoApi>::named("others").expect("a name");
        assert!(node.find(&other).await.services().is_empty());
        echo
    });
    assert_ne!(echo.id(), elsewhere.id());
    nodes[1].run(move |node| async move {
        node.stop_within(&echo, Duration::from_secs(5))
            .await
            .expect("it ends");
        let refused = node.register(&ECHOES, &echo).await;
        assert_eq!(refused, Err(RegisterError::NotRunning));
    });
}

#[test]
fn services_of_who_cannot_be_reached_are_listed_apart_and_that_is_told() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    nodes[1].run(|node| async move { announce(node, 1).await });
    let following = nodes[0].begin(|node| async move {
        let follow = |node: Node| async move {
            let mut listings = node.listings(&ECHOES);
            let mut seen = Vec::new();
            while seen.len() < 3 {
                let listing = listings.next().await;
                seen.push((counts(&listing), listing.were_added_or_removed()));
            }
            seen
        };
        on_core(&node, CoreId(1), follow).await
    });
    until_found(&nodes[0], 0, |it| counts(it) == [0, 1, 0]);
    let frozen = Frozen::freeze(&nodes[1]);
    until_found(&nodes[0], 0, |it| counts(it) == [0, 0, 1]);
    frozen.thaw();
    let seen = following.finish();
    assert_eq!(
        seen,
        [([0, 1, 0], true), ([0, 0, 1], false), ([0, 1, 0], false)]
    );
}

#[test]
fn a_node_in_no_cluster_finds_what_it_announces_itself() {
    let node = LiveNode::start_with(|builder| builder.cores(2));
    let echo = node.run(|node| async move { announce(node, 1).await });
    until_found(&node, 1, |it| counts(it) == [1, 0, 0]);
    node.run(move |node| async move {
        let found = node.find(&ECHOES).await;
        assert_eq!(found.services(), [echo]);
        assert!(node.stop(&echo));
    });
    until_found(&node, 0, |it| counts(it) == [0, 0, 0]);
}

#[test]
fn actors_that_come_and_go_by_thousands_leave_nothing_behind() {
    let nodes = cluster_of(2, &watchful(), |builder| builder.cores(2));
    for core in [0, 1] {
        run_on(&nodes[0], core, |node| async move {
            for round in 0..1_000_u32 {
                let echo = node.spawn(Echoer::default()).expect("room");
                node.register(&ECHOES, &echo).await.expect("room");
                if round.is_multiple_of(2) {
                    assert_eq!(node.deregister(&ECHOES, &echo).await, Ok(true));
                }
                assert!(node.stop(&echo));
            }
        });
    }
    for (node, core) in nodes.iter().flat_map(|node| [(node, 0), (node, 1)]) {
        until_found(node, core, |it| counts(it) == [0, 0, 0]);
    }
}

/// Announces echoes one after the other on the first node, and tells how long each took until all
/// cores of the others had found it, in microseconds, shortest first.
fn times_until_found(nodes: &[LiveNode], rounds: usize) -> Vec<u128> {
    let (say, heard) = std::sync::mpsc::channel();
    let mut watching = Vec::new();
    for node in &nodes[1..] {
        let say = say.clone();
        watching.push(node.begin(move |node| async move {
            let mut listings = node.listings(&ECHOES);
            let mut found = 0;
            while found < rounds {
                let now = listings.next().await.services().len();
                for round in found..now {
                    say.send((round, Instant::now())).expect("the test waits");
                }
                found = found.max(now);
            }
        }));
    }
    drop(say);
    let begun = nodes[0].run(move |node| async move {
        let mut begun = Vec::new();
        for _ in 0..rounds {
            let echo = node.spawn(Echoer::default()).expect("room");
            begun.push(Instant::now());
            node.register(&ECHOES, &echo).await.expect("room");
            node.sleep(Duration::from_millis(20)).await;
        }
        begun
    });
    watching.into_iter().for_each(Pending::finish);
    let mut last = vec![None; rounds];
    for (round, at) in heard {
        last[round] = last[round].max(Some(at));
    }
    let spans = begun.iter().zip(last);
    let spans = spans.map(|(begun, last)| (last.expect("all found it") - *begun).as_micros());
    let mut spans: Vec<u128> = spans.collect();
    spans.sort_unstable();
    spans
}

/// Changes what a node announces so many times a second, each of it for longer than a batch.
async fn churn(node: Node, each_second: u32, ends: Instant) -> u64 {
    let echo = node.spawn(Echoer::default()).expect("room");
    let key = |number| ServiceKey::<EchoApi>::named(format!("churn {number}")).expect("a name");
    let begun = Instant::now();
    let mut begins = 0_u64;
    while Instant::now() < ends {
        let due = begun.elapsed().as_secs_f64() * f64::from(each_second) / 2.0;
        while (begins as f64) < due {
            node.register(&key(begins), &echo).await.expect("room");
            if let Some(before) = begins.checked_sub(50) {
                let was_there = node.deregister(&key(before), &echo).await;
                assert_eq!(was_there, Ok(true));
            }
            begins += 1;
        }
        node.sleep(Duration::from_millis(1)).await;
    }
    2 * begins
}

#[test]
#[ignore = "it measures, and takes some seconds of both processors"]
fn how_soon_all_nodes_find_a_service_is_printed() {
    let nodes = cluster_of(5, &watchful(), |builder| builder.cores(1));
    let print = |what: &str, spans: &[u128]| {
        let at = |share: usize| spans[(spans.len() - 1) * share / 100];
        let (p50, p99, max) = (at(50), at(99), at(100));
        println!("{what}: found by 4 other nodes after p50 {p50} us, p99 {p99} us, max {max} us");
    };
    print("quiet", &times_until_found(&nodes, 200));
    let nodes = cluster_of(5, &watchful(), |builder| builder.cores(1));
    let ends = Instant::now() + Duration::from_secs(8);
    let churning: Vec<_> = nodes
        .iter()
        .map(|node| node.begin(move |node| churn(node, 2_000, ends)))
        .collect();
    print("10,000 changes a second", &times_until_found(&nodes, 200));
    let changes: u64 = churning.into_iter().map(Pending::finish).sum();
    println!("changes a second: {}", changes / 8);
}
