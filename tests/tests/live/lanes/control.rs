//! The control lane, and what it is not held up by.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ringmesh::{Actor, Cx, Handler, Lane, Msg, PingError, Ref, SendError, protocol};
use ringmesh_proto::address::CoreId;
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::preface::Role;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::books::assert_closed_at_the_end;
use ringmesh_tests::live::messages::Record;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawListener, RawPeer};
use ringmesh_tests::live::watched::Watched;

use super::{LARGE_BYTES, at, links_on, record};
use crate::clients;

#[test]
fn a_ping_dials_and_comes_back_from_any_core() {
    let (server, client) = (LiveNode::of_cores(2), LiveNode::of_cores(2));
    let address = server.address().clone();
    client.run(move |node| async move {
        let first = node.ping(&address).await.expect("the node is there");
        assert!(first > Duration::ZERO && first < WAIT);
        let (said, heard) = futures_channel::oneshot::channel();
        let there = address.clone();
        let task = move |node: ringmesh::Node| async move {
            let pinged = node.ping(&there).await;
            said.send(pinged).expect("somebody waits");
        };
        node.spawn_task_on(CoreId(1), task).await.expect("room");
        heard.await.expect("the task ends").expect("it comes back");
        let own = node.id().address.clone();
        node.ping(&own).await.expect("a node reaches itself");
    });
    for node in [&server, &client] {
        let [link] = &links_on(node, Lane::Control)[..] else {
            panic!("one link of the control lane");
        };
        assert_eq!((link.core, link.peer_core), (CoreId(0), CoreId(0)));
        assert_eq!((link.bytes_sent, link.messages_sent), (0, 0));
        assert!(
            links_on(node, Lane::Ordinary).is_empty(),
            "it needs no other"
        );
    }
}

#[test]
fn pings_to_nobody_end_with_their_time_and_those_of_a_refused_node_at_once() {
    let client = LiveNode::start_with(|builder| {
        builder.settings(|settings| settings.ask_timeout = Duration::from_millis(300))
    });
    let nobody = RawListener::bind();
    let address = nobody.address.clone();
    let silent = client.begin(move |node| async move { node.ping(&address).await });
    let (peer, preface) = nobody.accept();
    assert_eq!(preface.lane, Lane::Control);
    let pinged = silent.finish();
    assert!(
        matches!(pinged, Err(PingError::Timeout { .. })),
        "{pinged:?}"
    );
    drop((peer, nobody));
    let stranger = LiveNode::start();
    let address = stranger.address().to_string().replace("ringmesh://", "");
    let place = address.split_once('@').expect("a system").1;
    let other = format!("ringmesh://other@{place}")
        .parse()
        .expect("an address");
    let pinged = client.run(move |node| async move { node.ping(&other).await });
    assert!(
        matches!(pinged, Err(PingError::Refused { .. })),
        "{pinged:?}"
    );
}

#[test]
fn lanes_are_served_to_whom_and_where_they_are_for() {
    let watched = Watched::start_with(|builder| builder.cores(2));
    let refused = |lane: Lane, role: Role, cores: (u16, Option<u16>)| {
        let mut peer = RawPeer::connect(watched.id());
        peer.lane = lane;
        let mut preface = peer.preface();
        preface.role = role;
        (preface.sending_core, preface.wanted_core) = (CoreId(cores.0), cores.1.map(CoreId));
        peer.send(&preface.encode());
        peer.ending().refusal()
    };
    for (lane, role, cores) in [
        (Lane::Control, Role::Node, (0, Some(1))),
        (Lane::Control, Role::Node, (1, Some(0))),
        (Lane::Control, Role::Inquirer, (0, Some(0))),
        (Lane::Control, Role::Client, (0, Some(0))),
        (Lane::Large, Role::Inquirer, (0, Some(0))),
    ] {
        let reason = refused(lane, role, cores);
        assert_eq!(reason, RefuseReason::Lane, "{lane:?} {role:?} {cores:?}");
    }
    for lane in [Lane::Ordinary, Lane::Large] {
        drop(clients::by_hand(watched.id(), lane));
    }
    drop(RawPeer::link_on(watched.id(), Lane::Control));
    watched.saw_nothing();
}

protocol! {
    /// Hogs its core with each record.
    HogApi = "tests.lane.hog" { Record }
}

/// Holds its core until the test lets it go.
struct Hog {
    began: Sender<()>,
    go_on: Receiver<()>,
}

impl Actor for Hog {
    type Api = HogApi;
}

impl Handler<Record> for Hog {
    fn handle(&mut self, _: Msg<Record>, _: &mut Cx<'_, Self>) {
        self.began.send(()).expect("the test listens");
        // Ends when the test drops its end, whatever becomes of it.
        let _ = self.go_on.recv_timeout(WAIT);
    }
}

#[test]
fn a_full_lane_and_a_hogged_core_hold_up_no_other_lane() {
    let (server, client) = (LiveNode::of_cores(2), LiveNode::start());
    let (began, begun) = channel();
    let (release, go_on) = channel();
    server.run(move |node| async move {
        let core = CoreId(1);
        let hog = move || Hog { began, go_on };
        node.spawn_named_on(core, "hog", hog)
            .await
            .expect("a free name");
        let sink = super::WideSink::default;
        node.spawn_named_on(core, "wide", sink)
            .await
            .expect("a free name");
    });
    let (hog, wide) = (server.path("hog"), server.path("wide"));
    let (hog, wide) = client.run(move |node| async move {
        let hog = at::<HogApi>(&node, &hog).await;
        let wide = at::<super::WideApi>(&node, &wide).await;
        wide.tell(record(1, 10)).await.expect("there is room");
        (hog, wide)
    });
    client.until("the large link", |now| now.in_flight == 0);
    client.run(move |_| async move {
        hog.tell(record(1, 10)).await.expect("there is room");
    });
    begun.recv_timeout(WAIT).expect("the handler runs");
    let address = server.address().clone();
    let (large, ordinary) = client.run(move |node| async move {
        // Nothing is taken over any more, on either lane of that core.
        let large = fill(&wide, LARGE_BYTES);
        hog.try_tell(record(2, 10))
            .expect("the ordinary lane has room");
        let ordinary = fill(&hog, 10 << 10);
        node.ping(&address).await.expect("the control lane is free");
        (large, ordinary)
    });
    assert!((1..=4).contains(&large), "a window of 4 MiB: {large}");
    assert!(
        (50..200).contains(&ordinary),
        "a window of 1 MiB: {ordinary}"
    );
    drop(release);
    let taken = large + ordinary + 1;
    client.until("all is taken", move |now| {
        now.in_flight == 0 && now.sent >= taken
    });
    assert_eq!(client.counters().dead_sent, 0);
}

#[test]
fn a_ping_of_another_core_ends_in_its_time_though_the_control_core_is_hogged() {
    const TIMEOUT: Duration = Duration::from_millis(200);
    let server = LiveNode::start();
    let client = LiveNode::start_with(|builder| builder.cores(2).ask_timeout(TIMEOUT));
    for address in [server.address(), client.address()] {
        let address = address.clone();
        let (said, heard) = channel();
        let (hogged, is_hogged) = channel();
        let (go, gone) = channel::<()>();
        let (release, held) = channel::<()>();
        let hogging = client.begin(move |node| async move {
            let ping = move |node: ringmesh::Node| async move {
                // The other core is no longer needed for this one to go on.
                let _ = gone.recv_timeout(WAIT);
                let pinged = node.ping(&address).await;
                said.send(pinged).expect("the test listens");
            };
            node.spawn_task_on(CoreId(1), ping).await.expect("room");
            hogged.send(()).expect("the test listens");
            let _ = held.recv_timeout(WAIT);
        });
        is_hogged.recv_timeout(WAIT).expect("the core is held");
        drop(go);
        let pinged = heard.recv_timeout(WAIT / 2);
        drop(release);
        hogging.finish();
        let Ok(Err(PingError::Timeout { after, .. })) = pinged else {
            panic!("it ends by its own clock: {pinged:?}");
        };
        assert_eq!(after, TIMEOUT);
    }
    let address = server.address().clone();
    client.run(move |node| async move { node.ping(&address).await.expect("a free core") });
}

#[test]
fn a_ping_of_another_core_says_how_far_it_got() {
    let client =
        LiveNode::start_with(|builder| builder.cores(2).ask_timeout(Duration::from_millis(300)));
    let nobody = RawListener::bind();
    let address = nobody.address.clone();
    drop(nobody);
    let pinged = client.run(move |node| async move {
        let (said, heard) = futures_channel::oneshot::channel();
        let task = move |node: ringmesh::Node| async move {
            let pinged = node.ping(&address).await;
            said.send(pinged).expect("somebody waits");
        };
        node.spawn_task_on(CoreId(1), task).await.expect("room");
        heard.await.expect("the task ends")
    });
    let Err(PingError::Timeout { last, .. }) = pinged else {
        panic!("nobody is there: {pinged:?}");
    };
    let refused = ringmesh_proto::close_reason::CloseReason::DialRefused;
    assert_eq!(last, refused.to_string());
}

/// Sends until there is no room, and says how many messages that were.
fn fill<P: ringmesh::Accepts<Record>>(to: &Ref<P>, bytes: usize) -> u64 {
    let mut number = 100;
    loop {
        match to.try_tell(record(number, bytes)) {
            Ok(()) => number += 1,
            Err(SendError::Full(_)) => return number - 100,
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[test]
fn a_stop_flushes_every_lane() {
    let (server, client) = (LiveNode::start_serving(), LiveNode::start());
    let path = server.path(ringmesh_tests::live::messages::SINK);
    let address = server.address().clone();
    let metrics = client.run(move |node| async move {
        let sink = at::<ringmesh_tests::live::messages::SinkApi>(&node, &path).await;
        sink.tell(record(1, LARGE_BYTES))
            .await
            .expect("a link comes up");
        node.ping(&address).await.expect("and another");
        for number in 2..5 {
            sink.try_tell(record(number, LARGE_BYTES))
                .unwrap_or_else(|error| {
                    assert!(matches!(error, SendError::Full(_)), "{error:?}");
                });
            sink.try_tell(record(number + 10, 10)).expect("room");
        }
        node.metrics_reader()
    });
    client.stop();
    let counted = metrics.metrics();
    assert_closed_at_the_end(&counted);
    let total = counted.total;
    assert_eq!((total.dead_sent, total.in_flight), (0, 0), "{total:?}");
    server.until("all has come", move |now| now.delivered >= total.sent);
}
