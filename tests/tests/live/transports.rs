//! Nodes that have several transports at once: TCP, a network in memory, and one that only these
//! tests have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ringmesh::transport::MemoryNetwork;
use ringmesh::{Address, IdleMode, LinkState, NodeBuilder};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{Account, Recall, Record, SINK, Sink, SinkApi};
use ringmesh_tests::live::node::{LiveNode, Pending};

use super::resume::traffic::{serve, talk};
use super::resume::{settled, total};

/// The third transport of the contract's tests.
#[path = "../../../transport/tests/contract/pigeon.rs"]
#[allow(
    dead_code,
    reason = "only the contract's own tests break connections of it"
)]
mod pigeon;

/// Cuts of one run.
const CUTS: usize = 25;

fn two_cores(builder: NodeBuilder) -> NodeBuilder {
    builder.cores(2).settings(|settings| {
        settings.resume_timeout = Duration::from_secs(25);
        settings.send_timeout = Duration::from_secs(25);
        settings.ask_timeout = Duration::from_secs(25);
    })
}

/// By the address of the peer, what its links run over.
fn transports(node: &LiveNode) -> BTreeMap<Address, Vec<Option<&'static str>>> {
    let links = node.run(|node| async move { node.links().await });
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for link in links {
        all.entry(link.peer).or_default().push(link.transport);
    }
    all
}

/// A node tells numbered records to an actor of its own on the last core of `hub`.
fn tell_all(from: &LiveNode, hub: &LiveNode) -> Pending<()> {
    let name = format!("of-{}", from.address().port());
    let path = hub.path(&name);
    hub.run(move |node| async move {
        let last = node.cores().last().expect("it has cores");
        let sink = node.spawn_named_on(last, &name, Sink::default).await;
        sink.expect("a free name");
    });
    from.begin(move |node| async move {
        let sink = node.resolve::<SinkApi>(&path).await.expect("it is there");
        let mut said = Account::default();
        for number in 1..=500 {
            let body = Bytes::from(vec![number as u8; (number as usize * 37) % 3000]);
            said.note_record(number, &body);
            let told = sink.tell(Record { number, body }).await;
            told.expect("it runs");
        }
        let seen = sink.ask(Recall).await.expect("it runs").deserialize();
        assert_eq!(seen, said);
    })
}

#[test]
fn a_node_talks_over_three_transports_at_once() {
    let (memory, pigeons) = (MemoryNetwork::new(), pigeon::PigeonNetwork::default());
    let hub = LiveNode::start_with(|builder| {
        let all = two_cores(builder).network(memory.clone());
        all.network(pigeons.clone())
    });
    let others = [
        LiveNode::start_with(two_cores),
        LiveNode::start_with(|builder| two_cores(builder).network(memory.clone())),
        LiveNode::start_with(|builder| two_cores(builder).network(pigeons.clone())),
    ];
    others.iter().for_each(serve);
    let enough = Arc::new(AtomicBool::new(true));
    let outward: Vec<_> = others
        .iter()
        .map(|other| talk(&hub, other, &enough))
        .collect();
    let inward: Vec<_> = others.iter().map(|other| tell_all(other, &hub)).collect();
    let records: Vec<u64> = outward.into_iter().map(Pending::finish).collect();
    assert!(records.iter().all(|records| *records >= 400), "{records:?}");
    inward.into_iter().for_each(Pending::finish);
    let seen = transports(&hub);
    for (other, name) in others.iter().zip(["tcp", "memory", "pigeons"]) {
        for links in [&seen[other.address()], &transports(other)[hub.address()]] {
            assert!(
                !links.is_empty() && links.iter().all(|it| *it == Some(name)),
                "{seen:?}"
            );
        }
    }
    let [first, second, third] = others;
    let books = settled(&[hub, first, second, third]);
    assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
}

#[test]
fn cuts_of_a_network_in_memory_lose_repeat_and_reorder_nothing() {
    let network = MemoryNetwork::new();
    let nodes =
        [0, 1].map(|_| LiveNode::start_with(|builder| two_cores(builder).network(network.clone())));
    nodes.iter().for_each(serve);
    let enough = Arc::new(AtomicBool::new(false));
    let [first, second] = &nodes;
    let talks = [talk(first, second, &enough), talk(second, first, &enough)];
    let mut cut = 0;
    while cut < CUTS {
        let received = first.counters().received;
        first.until("more messages", move |now| now.received > received + 20);
        cut += network.cut();
    }
    enough.store(true, Ordering::SeqCst);
    let records: u64 = talks.into_iter().map(Pending::finish).sum();
    let books = settled(&nodes);
    let resumed = total(&books, |book| book.resumed);
    println!("{records} records, {cut} cuts, {resumed} resumed");
    assert!(resumed > 0);
    assert_eq!(total(&books, |book| book.dead_sent + book.dead_received), 0);
    assert_eq!(
        total(&books, |book| book.replies_dropped + book.dropped_unread),
        0
    );
}

#[test]
fn a_stop_flushes_what_both_transports_carry() {
    const RECORDS: u64 = 2000;
    let network = MemoryNetwork::new();
    let hub = LiveNode::start_with(|builder| builder.network(network.clone()));
    let far = LiveNode::start_serving();
    let near = LiveNode::start_serving_with(|builder| builder.network(network.clone()));
    let paths = [far.path(SINK), near.path(SINK)];
    hub.run(move |node| async move {
        for path in paths {
            let sink = node.resolve::<SinkApi>(&path).await.expect("it is there");
            for number in 1..=RECORDS {
                let body = Bytes::from(vec![number as u8; 100]);
                let told = sink.tell(Record { number, body }).await;
                told.expect("it runs");
            }
        }
    });
    hub.stop();
    for (node, name) in [(&far, "tcp"), (&near, "memory")] {
        // The question for the sink's name, and the records.
        let all = move |now: &ringmesh::Counters| now.delivered == RECORDS + 1;
        assert_closed(&node.until(name, all));
        let reasons = node.run(|node| async move { node.close_reasons() });
        assert_eq!(reasons.get("bye"), Some(&1), "{name}: {reasons:?}");
    }
}

#[test]
fn a_peer_that_leaves_the_network_is_dialled_by_tcp() {
    let network = MemoryNetwork::new();
    let near = LiveNode::start_with(|builder| builder.network(network.clone()));
    let far = LiveNode::start_serving_with(|builder| builder.network(network.clone()));
    let (path, at) = (far.path(SINK), far.address().port());
    let first = path.clone();
    near.run(move |node| async move {
        node.resolve::<SinkApi>(&first).await.expect("it is there");
    });
    assert_eq!(transports(&near)[far.address()], [Some("memory")]);
    far.stop();
    near.until_so("the link is gone", |node| node.counters().links == 0);
    let far = LiveNode::start_serving_with(|builder| builder.bind(([127, 0, 0, 1], at)));
    near.run(move |node| async move {
        node.resolve::<SinkApi>(&path).await.expect("it is there");
    });
    assert_eq!(transports(&near)[far.address()], [Some("tcp")]);
}

#[test]
fn nodes_in_memory_sleep_when_nothing_is_said() {
    let network = MemoryNetwork::new();
    let park = |builder: NodeBuilder| builder.idle(IdleMode::Park).network(network.clone());
    let near = LiveNode::start_with(park);
    let far = LiveNode::start_serving_with(park);
    let path = far.path(SINK);
    near.run(move |node| async move {
        let sink = node.resolve::<SinkApi>(&path).await.expect("it is there");
        let body = Bytes::new();
        sink.tell(Record { number: 1, body })
            .await
            .expect("it runs");
    });
    near.until("quiet", |now| now.in_flight == 0);
    let turns = |node: &LiveNode| {
        node.run(|node| async move {
            let before = node.counters().turns;
            node.sleep(Duration::from_millis(300)).await;
            node.counters().turns - before
        })
    };
    for node in [&near, &far] {
        let turns = turns(node);
        assert!(turns < 60, "{turns} turns while nothing was said");
    }
    let links = near.run(|node| async move { node.links().await });
    assert_eq!(links[0].state, LinkState::Up);
}
