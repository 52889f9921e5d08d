//! Several cores in one node: the same calls reach an actor wherever it lives.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringmesh::{AskError, CoreId, Engine, EngineError, IdleMode, Node, Ref, SendError, SpawnError};
use ringmesh_proto::address::ClusterHash;
use ringmesh_proto::frame::body::RefuseReason;
use ringmesh_proto::preface::Preface;
use ringmesh_tests::live::SYSTEM;
use ringmesh_tests::live::messages::{
    Account, Echo, EchoApi, Echoer, Recall, Record, Sink, SinkApi, Tally,
};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::RawPeer;

const RECORDS: u64 = 20_000;

#[test]
fn messages_reach_an_actor_on_another_core_in_order() {
    let node = LiveNode::of_cores(2);
    let account = node.run(|node| async move {
        let sink = node.spawn_on(CoreId(1), Sink::default).await.unwrap();
        assert_eq!(node.core(), CoreId(0));
        send_records(&sink).await;
        recall(&sink).await
    });
    assert_eq!((account.count, account.out_of_order), (RECORDS, 0));
    let counters = node.counters();
    assert_eq!(counters.sent, counters.acknowledged + counters.in_flight);
}

#[test]
fn a_core_works_on_what_another_has_written_in_a_turn_that_goes_on() {
    let node = LiveNode::of_cores(2);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tally");
    let tally = Tally::create(&path).unwrap();
    let handled = node.run(move |node| async move {
        let sink = || Sink {
            tally: Some(tally),
            ..Sink::default()
        };
        let sink = node.spawn_on(CoreId(1), sink).await.unwrap();
        recall(&sink).await;
        for number in 1..=RECORDS {
            let body = Bytes::from_static(b"from core to core");
            if sink.try_tell(Record { number, body }).is_err() {
                break;
            }
        }
        // This core does nothing else until it sees the other at work.
        let until = Instant::now() + Duration::from_secs(20);
        while Tally::read(&path).unwrap() == 0 && Instant::now() < until {
            thread::yield_now();
        }
        Tally::read(&path).unwrap()
    });
    assert!(handled > 0, "it leaves before the turn ends");
}

#[test]
fn every_core_asks_every_other_at_once() {
    const CORES: usize = 4;
    const QUESTIONS: u64 = 500;
    let node = LiveNode::of_cores(CORES);
    node.run(|node| async move {
        let echoes = node.spawn_each(|_| Echoer::default()).await.unwrap();
        assert_eq!(echoes.len(), CORES);
        let (done, all_done) = std::sync::mpsc::channel();
        for core in node.cores() {
            let (echoes, done) = (echoes.clone(), done.clone());
            let task = move |there: Node| async move {
                assert_eq!(there.core(), core);
                for number in 0..QUESTIONS {
                    for echo in &echoes {
                        let body = Bytes::from_static(b"between cores");
                        let answer = echo.ask(Echo { number, body }).await.unwrap();
                        assert_eq!(answer.number, number);
                    }
                }
                done.send(core).unwrap();
            };
            node.spawn_task_on(core, task).await.unwrap();
        }
        drop(done);
        // Waiting for it blocks this core; so another thread does.
        let (told, finished) = futures_channel::oneshot::channel();
        thread::spawn(move || told.send(all_done.iter().count()));
        assert_eq!(finished.await, Ok(CORES));
    });
}

#[test]
fn a_named_actor_on_another_core_of_another_node_is_reached_over_a_link_of_its_own() {
    let (here, there) = (LiveNode::of_cores(2), LiveNode::of_cores(3));
    there.run(|node| async move {
        node.spawn_named_on(CoreId(2), "sink", Sink::default)
            .await
            .unwrap();
        node.spawn_named_on(CoreId(1), "echo", Echoer::default)
            .await
            .unwrap();
        let taken = node
            .spawn_named_on(CoreId(2), "echo", Echoer::default)
            .await;
        assert!(
            matches!(taken, Err(SpawnError::NameTaken { .. })),
            "{taken:?}"
        );
    });
    let (sink, echo) = (there.path("sink"), there.path("echo"));
    let account = here.run(|node| async move {
        let sink: Ref<SinkApi> = node.resolve(&sink).await.unwrap();
        let echo: Ref<EchoApi> = node.resolve(&echo).await.unwrap();
        // A ref means the same on every core of its node.
        let question = move |_: Node| async move {
            let body = Bytes::new();
            assert_eq!(echo.ask(Echo { number: 7, body }).await.unwrap().number, 7);
            send_records(&sink).await;
        };
        node.spawn_task_on(CoreId(1), question).await.unwrap();
        loop {
            let account = recall(&sink).await;
            if account.count == RECORDS {
                return account;
            }
        }
    });
    assert_eq!(account.out_of_order, 0);
    // Core 0 asked for the names and met the core of each actor; the control core there took one.
    let links = |node: &LiveNode| node.counters().links;
    assert_eq!((links(&here), links(&there)), (3, 1));
}

#[test]
fn a_stranger_that_names_a_core_is_refused_before_it_costs_that_core_anything() {
    let node = LiveNode::of_cores(2);
    let opening = |cluster| {
        let mut peer = RawPeer::connect(node.id());
        let preface = Preface {
            wanted_core: Some(CoreId(1)),
            cluster: ClusterHash::of(cluster),
            ..peer.preface()
        };
        peer.send(&preface.encode());
        let mut hello = Vec::new();
        peer.hello().encode(&mut hello);
        peer.send(&hello);
        peer
    };
    assert_eq!(opening("tests2").ending().refusal(), RefuseReason::Cluster);
    let refused = node.run(|node| async move { node.close_reasons() });
    assert_eq!(refused.get("refuse_cluster"), Some(&1), "{refused:?}");
    // One that belongs here is served by the core it names.
    assert_eq!(opening(SYSTEM).accepted().uid, node.id().uid);
    assert_eq!(node.counters().links, 0, "the control core has none");
}

#[test]
fn an_actor_stops_on_its_own_core_and_its_name_is_free() {
    let node = LiveNode::of_cores(2);
    node.run(|node| async move {
        let spawn = || node.spawn_named_on(CoreId(1), "echo", Echoer::default);
        let echo = spawn().await.unwrap();
        assert!(node.stop(&echo));
        let body = Bytes::new();
        let refused = echo.ask(Echo { number: 1, body }).await;
        assert!(matches!(refused, Err(AskError::NotRunning)), "{refused:?}");
        spawn().await.unwrap();
    });
}

#[test]
fn a_factory_that_panics_harms_nobody() {
    let node = LiveNode::of_cores(2);
    node.run(|node| async move {
        let factory = || -> Echoer { panic!("no actor today") };
        let refused = node.spawn_on(CoreId(1), factory).await;
        assert!(
            matches!(refused, Err(SpawnError::Panicked { .. })),
            "{refused:?}"
        );
        node.spawn_on(CoreId(1), Echoer::default).await.unwrap();
        let beyond = node.spawn_on(CoreId(2), Echoer::default).await;
        let expected = SpawnError::NoSuchCore { core: 2, cores: 2 };
        assert_eq!(beyond.map(drop), Err(expected));
    });
}

#[test]
fn a_node_stops_whichever_core_asks_for_it() {
    let builder = Engine::node("demo").idle(IdleMode::Park);
    let ended: Result<(), EngineError> = builder.cores(3).run(|node| async move {
        let stop = |there: Node| async move { there.shutdown() };
        node.spawn_task_on(CoreId(2), stop).await.unwrap();
        node.until_shutdown().await;
    });
    ended.unwrap();
}

#[test]
fn a_port_that_is_taken_is_the_error_of_the_whole_node() {
    let taken = LiveNode::start();
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], taken.address().port()));
    let builder = Engine::node("demo").bind(at);
    let refused = builder.cores(3).run(|_| async {});
    assert!(
        matches!(refused, Err(EngineError::Bind { .. })),
        "{refused:?}"
    );
}

async fn send_records(sink: &Ref<SinkApi>) {
    for number in 1..=RECORDS {
        let body = Bytes::from_static(b"from core to core");
        let mut record = Record { number, body };
        while let Err(error) = sink.tell(record).await {
            match error {
                SendError::Full(back) => record = back,
                error => panic!("{error:?}"),
            }
        }
    }
}

async fn recall(sink: &Ref<SinkApi>) -> Account {
    sink.ask(Recall).await.unwrap().deserialize()
}
