//! The links of a node, as whoever looks at them sees them.

use std::time::Duration;

use ringmesh::{CoreId, Lane, LinkReport, LinkState, Node, Ref};
use ringmesh_fault_proxy::{Ending, Faults};
use ringmesh_tests::live::between::Between;
use ringmesh_tests::live::messages::{Record, SINK, Sink, SinkApi};
use ringmesh_tests::live::node::LiveNode;

fn record(number: u64) -> Record {
    Record {
        number,
        body: vec![7; 100].into(),
    }
}

async fn sink_at(node: &Node, path: &str) -> Ref<SinkApi> {
    node.resolve(path).await.expect("the sink is there")
}

fn links(node: &LiveNode) -> Vec<LinkReport> {
    node.run(|node| async move { node.links().await })
}

/// The one link of a node.
fn link(node: &LiveNode) -> LinkReport {
    let mut links = links(node);
    assert_eq!(links.len(), 1, "{links:?}");
    links.remove(0)
}

/// The one link of a node, once it is as `wanted`.
fn link_when(node: &LiveNode, what: &str, wanted: impl Fn(&LinkReport) -> bool) -> LinkReport {
    let begin = std::time::Instant::now();
    loop {
        let link = link(node);
        if wanted(&link) {
            return link;
        }
        let waited = begin.elapsed();
        assert!(
            waited < ringmesh_tests::live::WAIT,
            "waited for {what}: {link:?}"
        );
        node.run(|node| async move { node.sleep(Duration::from_millis(1)).await });
    }
}

#[test]
fn a_link_shows_what_it_carried_and_how_long_a_round_trip_takes() {
    const DELAY: Duration = Duration::from_millis(20);
    const RECORDS: u64 = 500;
    let mut faults = Faults::default();
    faults.to_upstream.delay = DELAY;
    let between = Between::start(faults);
    assert_eq!(links(&between.near), []);
    let path = between.path(SINK);
    let questions = between.near.run(move |node| async move {
        let sink = sink_at(&node, &path).await;
        let questions = node.counters().sent;
        for number in 1..=RECORDS {
            sink.tell(record(number)).await.expect("there is room");
        }
        questions
    });
    between.near.until("quiet", |now| now.in_flight == 0);
    let first = link(&between.near);
    assert_eq!(first.round_trip, None, "nobody has looked before");
    let near = link_when(&between.near, "a round trip", |link| {
        link.round_trip.is_some()
    });
    assert!(near.round_trip >= Some(DELAY), "{near:?}");
    assert!(near.round_trip_variation.is_some());
    assert_eq!((near.state, near.lane), (LinkState::Up, Lane::Ordinary));
    assert_eq!((near.core, near.peer_core), (CoreId(0), CoreId(0)));
    assert_eq!(&near.peer, between.far.address());
    assert_eq!(near.peer_uid, Some(between.far.id().uid));
    assert_eq!(near.messages_sent, RECORDS + questions);
    assert!(near.bytes_sent > RECORDS * 100, "{near:?}");
    assert_eq!(near.in_flight_bytes, 0);
    assert_eq!(near.credit_bytes, u64::from(near.window_bytes));
    assert_eq!((near.reconnects, near.busy_recipients), (0, 0));
    assert!(near.age.is_some_and(|age| age >= DELAY), "{near:?}");
    let far = link(&between.far);
    assert_eq!(far.messages_received, near.messages_sent);
    assert_eq!(far.bytes_received, near.bytes_sent);
    assert_eq!(&far.peer, between.near.address());
}

#[test]
fn a_lost_link_is_seen_to_wait_and_goes_on_with_what_it_had() {
    let between = Between::start(Faults::default());
    let path = between.path(SINK);
    between.near.run(move |node| async move {
        let sink = sink_at(&node, &path).await;
        sink.tell(record(1)).await.expect("it is up");
    });
    between.near.until("quiet", |now| now.in_flight == 0);
    let before = link(&between.near);
    assert_eq!(before.state, LinkState::Up);
    let upstream = format!("127.0.0.2:{}", between.far.address().port());
    between.proxy.set_upstream(None);
    between.proxy.cut_all(Ending::Reset);
    let away = link_when(&between.near, "a loss", |link| {
        link.state == LinkState::Lost
    });
    assert_eq!(away.peer_uid, before.peer_uid);
    assert_eq!(away.messages_sent, before.messages_sent);
    let upstream: std::net::SocketAddr = upstream.parse().expect("an address");
    between.proxy.set_upstream(upstream);
    let back = link_when(&between.near, "a link", |link| link.state == LinkState::Up);
    assert_eq!(
        (back.reconnects, back.messages_sent),
        (1, before.messages_sent)
    );
    assert_eq!(back.peer_uid, before.peer_uid);
}

#[test]
fn a_peer_that_takes_nothing_over_is_seen_with_what_waits_for_it() {
    let between = Between::start_with(Faults::default(), |builder| {
        builder.settings(|settings| settings.grant_timeout = Duration::from_secs(2))
    });
    let path = between.path(SINK);
    let sink = between
        .near
        .run(move |node| async move { sink_at(&node, &path).await });
    between.near.until("quiet", |now| now.in_flight == 0);
    between.proxy.change(|faults| faults.to_client.dead = true);
    between.near.run(move |_| async move {
        for number in 1..=10 {
            sink.try_tell(record(number)).expect("there is room");
        }
    });
    let still = link_when(&between.near, "a standstill", |link| {
        link.state == LinkState::Stalled
    });
    assert!(still.in_flight_bytes > 1_000, "{still:?}");
    let window = u64::from(still.window_bytes);
    assert_eq!(still.credit_bytes + still.in_flight_bytes, window);
}

#[test]
fn the_links_of_all_cores_are_gathered_from_any() {
    let near = LiveNode::of_cores(2);
    let far = LiveNode::of_cores(2);
    far.run(|node| async move {
        for core in node.cores() {
            let name = format!("sink-{}", core.0);
            let spawned = node.spawn_named_on(core, &name, Sink::default).await;
            spawned.expect("a free name");
        }
    });
    let paths = [0, 1].map(|core| far.path(&format!("sink-{core}")));
    for (core, path) in [0, 1].map(CoreId).into_iter().zip(paths) {
        near.run(move |node| async move {
            let (done, is_done) = futures_channel::oneshot::channel();
            let tell = move |node: Node| async move {
                let sink = sink_at(&node, &path).await;
                sink.tell(record(1)).await.expect("it is up");
                done.send(()).expect("somebody waits");
            };
            node.spawn_task_on(core, tell)
                .await
                .expect("room for a task");
            is_done.await.expect("it is told");
        });
    }
    let seen = near.run(|node| async move {
        let (done, links) = futures_channel::oneshot::channel();
        let look = move |node: Node| async move {
            done.send(node.links().await).expect("somebody waits");
        };
        let spawned = node.spawn_task_on(CoreId(1), look).await;
        spawned.expect("room for a task");
        links.await.expect("links")
    });
    let ends: Vec<_> = seen
        .iter()
        .map(|link| (link.core.0, link.peer_core.0))
        .collect();
    assert!(ends.contains(&(0, 0)) && ends.contains(&(1, 1)), "{ends:?}");
    assert!(
        seen.iter().all(|link| link.state == LinkState::Up),
        "{seen:?}"
    );
}
