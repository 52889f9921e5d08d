//! Links that end before they had a connection.

use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use futures_channel::oneshot;
use ringmesh::{
    Address, AskError, AskPhase, CoreId, Engine, Executed, Node, NodeEvent, Ref, SendError,
};
use ringmesh_proto::frame::body::{Bye, ByeReason, RefuseReason};
use ringmesh_proto::kind::Kind;
use ringmesh_tests::live::books::{assert_closed, assert_closed_at_the_end};
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::messages::SinkApi;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawListener, RawPeer};
use ringmesh_tests::live::watched::account;
use ringmesh_tests::live::{SYSTEM, WAIT};

use super::{Apart, Spot, behind, hand, question, record, sized};

/// Where nobody listens.
fn nobody() -> Address {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    Address::new(SYSTEM, "127.0.0.1", port).expect("an address")
}

#[test]
fn a_peer_that_is_not_there_in_time_is_unreachable_and_everything_is_accounted_for() {
    const DIAL_TIMEOUT: Duration = Duration::from_millis(300);
    let sender = LiveNode::start_with(|builder| {
        builder.settings(|settings| settings.dial_timeout = DIAL_TIMEOUT)
    });
    let (sink, echo) = hand(&sender, &[Spot::nowhere(nobody())])[0];
    let mut events = sender.run(|node| async move { node.events() });
    let told = sender.run(move |_| async move {
        let mut told = 0;
        while sink.try_tell(record(told + 1)).is_ok() {
            told += 1;
        }
        told
    });
    let asked = sender.begin(move |_| async move { echo.ask(question(1)).await.err() });
    let waited = sender.begin(move |_| async move { sink.tell(record(0)).await });
    let error = asked.finish().expect("nobody answers");
    let phase = AskPhase::Queued;
    assert_eq!(error, AskError::Unreachable { phase });
    assert_eq!(error.executed(), Executed::No);
    let waited = waited.finish();
    assert!(
        matches!(waited, Err(SendError::Unreachable(_))),
        "{waited:?}"
    );
    let books = sender.counters();
    assert_closed(&books);
    assert_eq!((books.dead_unsent, books.in_flight), (told, 0));
    // It is known now, and dialled all the same.
    let refused = sender.run(move |_| async move { sink.try_tell(record(1)) });
    assert!(
        matches!(refused, Err(SendError::Unreachable(_))),
        "{refused:?}"
    );
    let mut told_of = Vec::new();
    while let Some(event) = events.try_next() {
        match event {
            NodeEvent::Lost { reason, over, .. } => told_of.push((reason, u64::from(over))),
            NodeEvent::Dropped { messages, .. } => told_of.push(("dropped", messages)),
            NodeEvent::Forming { .. } => told_of.push(("forming", 1)),
            _ => {}
        }
    }
    let expected = [("forming", 1), ("dial_timeout", 1), ("dropped", told)];
    assert_eq!(told_of, expected);
}

#[test]
fn nothing_that_waits_reaches_another_start_of_the_process() {
    let Apart {
        sender,
        cutter,
        far,
        refs,
    } = Apart::start(|builder| builder);
    let (sink, echo) = refs;
    sender.run(move |_| async move {
        for number in 1..=20 {
            sink.try_tell(record(number)).expect("room");
        }
    });
    let asking = sender.begin(move |_| async move { echo.ask(question(1)).await.err() });
    sender.until("the question", |now| now.in_flight == 21);
    far.stop();
    let far = behind(&cutter, |builder| builder);
    Spot::on(&far);
    cutter.cut_all(false);
    assert_eq!(asking.finish(), Some(AskError::NotRunning));
    let books = sender.until("the end", |now| now.in_flight == 0);
    assert_eq!((books.dead_unsent, books.dead_maybe), (21, 0));
    assert_closed(&books);
    let refused = sender.run(move |_| async move { sink.try_tell(record(1)) });
    assert!(
        matches!(refused, Err(SendError::NotRunning(_))),
        "{refused:?}"
    );
    assert_eq!(account(&far).count, 0);
}

#[test]
fn a_peer_of_another_cluster_ends_it_at_once() {
    let Apart {
        sender,
        cutter,
        far,
        refs: (sink, echo),
    } = Apart::start(|builder| builder);
    sender.run(move |_| async move { sink.try_tell(record(1)).expect("room") });
    far.stop();
    let _other = behind(&cutter, |builder| {
        builder.settings(|settings| "other".clone_into(&mut settings.system))
    });
    let asking = sender.begin(move |_| async move { echo.ask(question(1)).await.err() });
    sender.until("the question", |now| now.in_flight == 2);
    cutter.cut_all(false);
    let phase = AskPhase::Queued;
    assert_eq!(asking.finish(), Some(AskError::Unreachable { phase }));
    let books = sender.until("the end", |now| now.in_flight == 0);
    assert_eq!(books.dead_unsent, 2);
    assert_closed(&books);
    // Who waits would wait in vain.
    let refused = sender.run(move |_| async move { sink.tell(record(2)).await });
    assert!(
        matches!(refused, Err(SendError::Unreachable(_))),
        "{refused:?}"
    );
}

#[test]
fn a_node_that_stops_meanwhile_says_what_it_can() {
    for opens in [true, false] {
        let flush = Duration::from_millis(if opens { 10_000 } else { 100 });
        let apart =
            Apart::start(|builder| builder.settings(|settings| settings.flush_timeout = flush));
        apart.tell(1, 30);
        let Apart {
            sender,
            cutter,
            far,
            ..
        } = apart;
        let reader = sender.run(|node: Node| async move { node.metrics_reader() });
        if opens {
            cutter.cut_all(false);
        }
        sender.stop();
        let metrics = Engine::metrics(&reader);
        assert_closed_at_the_end(&metrics);
        let gone = if opens { 0 } else { 30 };
        assert_eq!(metrics.total.dead_sent, gone, "{metrics:?}");
        assert_eq!(account(&far).count, 30 - gone);
    }
}

/// Tells records `1..=count` from the last core of a node of so many.
fn tell_from_the_last(node: &LiveNode, cores: u16, sink: Ref<SinkApi>, count: u64) {
    node.run(move |node| async move {
        let (said, heard) = oneshot::channel();
        let task = move |_| async move {
            for number in 1..=count {
                sink.try_tell(record(number)).expect("room");
            }
            said.send(()).expect("somebody waits");
        };
        node.spawn_task_on(CoreId(cores - 1), task)
            .await
            .expect("room");
        heard.await.expect("the task ends");
    });
}

/// The peer asks at the address of the node that stops whether the dial is its own.
#[test]
fn a_node_that_stops_meanwhile_vouches_for_its_own_dials() {
    for cores in [1, 2] {
        let cutter = Cutter::start(&Cuts::none());
        let far = behind(&cutter, |builder| {
            builder.settings(|settings| settings.verify_peers = true)
        });
        let spot = Spot::on(&far);
        cutter.cut_all(true);
        let sender = LiveNode::start_with(|builder| {
            builder
                .cores(cores.into())
                .settings(|settings| settings.flush_timeout = Duration::from_secs(10))
        });
        let (sink, _) = hand(&sender, &[spot])[0];
        tell_from_the_last(&sender, cores, sink, 30);
        let reader = sender.run(|node: Node| async move { node.metrics_reader() });
        let id = sender.id().clone();
        let stopping = thread::spawn(move || sender.stop());
        // It hears who asks, and lets nobody in any more.
        let begin = Instant::now();
        let refused = loop {
            let mut stranger = RawPeer::connect(&id);
            stranger.send(&stranger.opening());
            let answer = stranger.frame().expect("an answer");
            if answer.header.kind == Kind::Refuse {
                break answer.refusal();
            }
            assert!(begin.elapsed() < WAIT / 6, "it does not stop");
        };
        assert_eq!(refused, RefuseReason::Stopping);
        cutter.cut_all(false);
        stopping.join().expect("it ends in order");
        let metrics = Engine::metrics(&reader);
        assert_closed_at_the_end(&metrics);
        assert_eq!(metrics.total.dead_sent, 0, "{metrics:?}");
        assert_eq!(account(&far).count, 30);
    }
}

#[test]
fn a_node_that_stops_listens_no_longer_than_its_links_form() {
    const FLUSH: Duration = Duration::from_millis(300);
    let apart = Apart::start(|builder| builder.settings(|settings| settings.flush_timeout = FLUSH));
    apart.tell(1, 30);
    let reader = apart
        .sender
        .run(|node: Node| async move { node.metrics_reader() });
    let port = apart.sender.address().port();
    let begin = Instant::now();
    apart.sender.stop();
    assert!(begin.elapsed() < 2 * WAIT / 3, "{:?}", begin.elapsed());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    let metrics = Engine::metrics(&reader);
    assert_closed_at_the_end(&metrics);
    assert_eq!(metrics.total.dead_unsent, 30, "{metrics:?}");
}

#[test]
fn the_goodbye_on_one_lane_ends_what_forms_on_another() {
    for cores in [1, 2] {
        let listener = RawListener::bind();
        let spot = Spot::nowhere(listener.address.clone());
        let uid = spot.id.uid;
        let sender = LiveNode::of_cores(cores.into());
        let (sink, echo) = hand(&sender, &[spot])[0];
        sender.run(move |_| async move { sink.try_tell(record(1)).expect("room") });
        let (mut peer, preface) = listener.accept();
        peer.me.uid = uid;
        let mut accept = Vec::new();
        peer.accept_of(&preface).encode(&mut accept);
        peer.send(&accept);
        peer.frame_of(Kind::Tell);
        let (said, heard) = channel();
        let (answered, answer) = channel();
        sender.run(move |node| async move {
            let last = CoreId(cores - 1);
            let ask = move |_| async move {
                let asked = echo.ask(question(1)).large().await;
                answered.send(asked.err()).expect("the test waits");
            };
            node.spawn_task_on(last, ask).await.expect("room");
            let tell = move |_| async move {
                let told = sink.tell(sized(2, 1 << 20)).await;
                let error = told.expect_err("it never leaves");
                said.send(error.to_string()).expect("the test waits");
            };
            node.spawn_task_on(last, tell).await.expect("room");
        });
        // Nobody answers on the large lane.
        let (_large, preface) = listener.accept();
        assert_eq!(preface.lane, ringmesh::Lane::Large);
        let mut bye = [0; 64];
        let reason = ByeReason::Stopping;
        let length = Bye { reason }.encode(&mut bye);
        let begin = Instant::now();
        peer.send(&bye[..length]);
        let told = heard.recv_timeout(WAIT).expect("it hears of the end");
        assert_eq!(told, SendError::NotRunning(()).to_string());
        let asked = answer.recv_timeout(WAIT).expect("so does the question");
        assert_eq!(asked, Some(AskError::NotRunning));
        assert!(begin.elapsed() < Duration::from_secs(5), "by the goodbye");
        sender.until_so("the end", |node| {
            node.metrics_reader().metrics().total.in_flight == 0
        });
    }
}

#[test]
fn it_gives_way_with_all_that_wait_to_a_peer_that_comes() {
    let sender =
        LiveNode::start_with(|builder| builder.settings(|settings| settings.peers_max = 2));
    let (sink, echo) = hand(&sender, &[Spot::nowhere(nobody())])[0];
    let told = sender.run(move |_| async move {
        let mut told = 0;
        while sink.try_tell(record(told + 1)).is_ok() {
            told += 1;
        }
        told
    });
    let waiting =
        [1, 2].map(|number| sender.begin(move |_| async move { sink.tell(record(number)).await }));
    let asking = sender.begin(move |_| async move { echo.ask(question(1)).await.err() });
    // Behind those, so they wait by now.
    sender.run(|_| async {});
    // There are two places, and who handed the ref over has the other.
    let guest = RawPeer::link(sender.id());
    for waiting in waiting {
        let waited = waiting.finish();
        assert!(
            matches!(waited, Err(SendError::NotRunning(_))),
            "{waited:?}"
        );
    }
    assert_eq!(asking.finish(), Some(AskError::NotRunning));
    let books = sender.until("the end", |now| now.in_flight == 0);
    assert_eq!(books.dead_unsent, told);
    assert_closed(&books);
    // Nobody took the place back.
    drop(guest);
    let links = sender.run(|node| async move { node.links().await });
    assert!(
        links.iter().all(|link| link.peer_uid.is_some()),
        "{links:?}"
    );
}

#[test]
fn it_gives_way_to_a_peer_that_comes() {
    let sender =
        LiveNode::start_with(|builder| builder.settings(|settings| settings.peers_max = 2));
    let (sink, _) = hand(&sender, &[Spot::nowhere(nobody())])[0];
    sender.run(move |_| async move { sink.try_tell(record(1)).expect("room") });
    // There are two places, and who handed the ref over has the other.
    let _guest = RawPeer::link(sender.id());
    let books = sender.until("its end", |now| now.in_flight == 0);
    assert_eq!(books.dead_unsent, 1);
    assert_closed(&books);
}
