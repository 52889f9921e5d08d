//! What becomes of links and messages, wherever a quarantine meets them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_channel::oneshot;
use ringmesh::{
    Actor, CoreId, Cx, Handler, Msg, Node, NodeId, Ref, ResolveError, SendError, protocol,
};
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::cores::{books_of, run_on, settled, total};
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::messages::{Record, SINK, Sink, SinkApi};
use ringmesh_tests::live::node::LiveNode;

use super::{quarantine, record, sink_at, until_parted, until_told};

const CORES: usize = 3;

/// A node of several cores which share their links, with a sink on each.
fn sparse() -> LiveNode {
    let node = LiveNode::start_with(|builder| {
        builder.cores(CORES).settings(|settings| {
            settings.links_per_association_max = 1;
        })
    });
    node.run(|node| async move {
        for core in node.cores() {
            let name = format!("sink{}", core.0);
            let sink = node.spawn_named_on(core, &name, Sink::default).await;
            sink.expect("a free name");
        }
    });
    node
}

/// Has each core of `from` tell each sink of `to`, by both lanes, until it is refused. Says how
/// many cores were refused for a quarantine.
fn talk(from: &LiveNode, to: &NodeId) -> ringmesh_tests::live::node::Pending<usize> {
    let address = to.address.to_string();
    from.begin(move |node| async move {
        let mut talking = Vec::new();
        for core in node.cores() {
            let address = address.clone();
            let (said, heard) = oneshot::channel();
            let task = move |there: Node| async move {
                let _ = said.send(tell_until_refused(&there, &address).await);
            };
            node.spawn_task_on(core, task).await.expect("room");
            talking.push(heard);
        }
        let mut parted = 0;
        for talk in talking {
            parted += usize::from(talk.await.expect("the task ends"));
        }
        parted
    })
}

async fn tell_until_refused(node: &Node, address: &str) -> bool {
    let mut sinks: Vec<Ref<SinkApi>> = Vec::new();
    for core in 0..CORES {
        let path = format!("{address}/user/sink{core}");
        match node.resolve(&path).await {
            Ok(sink) => sinks.push(sink),
            Err(ResolveError::Quarantined { .. }) => return true,
            Err(error) => panic!("{error}"),
        }
    }
    for number in 1.. {
        // Some are for the large lane.
        let bytes = if number % 100 == 0 { 300 << 10 } else { 200 };
        let body = Bytes::from(vec![1; bytes]);
        let to = &sinks[number as usize % CORES];
        match to.tell(Record { number, body }).await {
            Ok(()) => {}
            Err(SendError::Quarantined { .. }) => return true,
            Err(error) => panic!("{error:?}"),
        }
    }
    false
}

#[test]
fn in_the_midst_of_traffic_every_core_parts_and_the_accounts_close() {
    let nodes = [sparse(), sparse()];
    let [near, far] = &nodes;
    let talking = [talk(near, far.id()), talk(far, near.id())];
    for node in &nodes {
        let busy = move || total(&books_of(node), |book| book.delivered);
        let begun = Instant::now();
        while busy() < 2000 {
            assert!(begun.elapsed() < WAIT, "no traffic");
            node.run(|node| async move { node.sleep(Duration::from_millis(1)).await });
        }
    }
    let other = far.id().clone();
    run_on(near, 2, move |node| async move {
        assert_eq!(node.quarantine(&other, "a test"), Ok(true));
    });
    let parted = talking.map(|talk| talk.finish());
    assert_eq!(parted, [CORES, CORES]);
    let books = settled(&[near, far]);
    assert_eq!(total(&books, |book| book.links), 0);
    assert_eq!(total(&books, |book| book.quarantines), 1);
    assert_eq!(total(&books, |book| book.quarantines_told), 1);
    assert!(
        total(&books, |book| book.dead_sent) > 0,
        "some were given up"
    );
}

#[test]
fn links_that_wait_or_form_end_and_the_peer_is_told_when_it_asks() {
    let cutter = Cutter::start(&Cuts::none());
    let far = LiveNode::start_serving_with(|builder| {
        let port = cutter.address().port();
        builder.bind(cutter.behind()).advertise("127.0.0.1", port)
    });
    let near = LiveNode::start_serving_with(|builder| builder.cores(2));
    let sink = sink_at(&near, far.path(SINK));
    cutter.cut_all(true);
    near.until("the loss", |now| now.links == 0);
    // Five wait on the link that was lost, and five on another core for their first.
    for core in 0..2 {
        run_on(&near, core, move |_| async move {
            for number in 1..=5 {
                sink.try_tell(record(number)).expect("room");
            }
        });
    }
    let other = far.id().clone();
    run_on(&near, 1, move |node| async move {
        assert_eq!(node.quarantine(&other, "a test"), Ok(true));
    });
    let books = settled(&[&near]);
    assert_eq!(total(&books, |book| book.dead_unsent), 10);
    until_parted(&near, sink, false);
    run_on(&near, 1, move |_| async move {
        let told = sink.try_tell(record(1));
        assert!(
            matches!(told, Err(SendError::Quarantined { .. })),
            "{told:?}"
        );
    });
    cutter.cut_all(false);
    let path = near.path(SINK);
    far.run(move |node| async move {
        let found: Result<Ref<SinkApi>, _> = node.resolve(&path).await;
        assert!(
            matches!(found, Err(ResolveError::Quarantined { by_peer: true, .. })),
            "{found:?}"
        );
    });
}

#[test]
fn a_link_at_rest_ends_and_its_peer_hears_of_it_when_it_wakes() {
    let restful = || {
        LiveNode::start_serving_with(|builder| {
            builder.settings(|settings| settings.idle_timeout = Duration::from_millis(60))
        })
    };
    let [near, far] = [restful(), restful()];
    let back = sink_at(&far, near.path(SINK));
    for node in [&near, &far] {
        node.until("rest", |now| now.links == 0 && now.links_rested == 1);
    }
    quarantine(&near, far.id());
    far.run(move |_| async move { back.try_tell(record(1)).expect("it rests") });
    until_told(&far, 1);
    let books = settled(&[&near, &far]);
    assert_eq!(total(&books, |book| book.dead_unsent), 1);
    until_parted(&far, back, true);
}

protocol! { JudgeApi = "tests.judge" { Record } }

/// Quarantines whoever sends it the record of this number.
struct Judge {
    number: u64,
    culprit: NodeId,
    heard: u64,
}

impl Actor for Judge {
    type Api = JudgeApi;
}

impl Handler<Record> for Judge {
    fn handle(&mut self, record: Msg<Record>, cx: &mut Cx<'_, Self>) {
        self.heard += 1;
        if record.number.to_native() == self.number {
            let judged = cx.node().quarantine(&self.culprit, "its message");
            assert_eq!(judged, Ok(true));
        }
    }
}

#[test]
fn a_handler_may_quarantine_the_sender_of_the_message_it_handles() {
    let [near, far] = [LiveNode::start(), LiveNode::start()];
    let culprit = far.id().clone();
    near.run(move |node| async move {
        let judge = Judge {
            number: 3,
            culprit,
            heard: 0,
        };
        node.spawn_named("judge", judge).expect("a free name");
    });
    let path = near.path("judge");
    far.run(move |node| async move {
        let judge: Ref<JudgeApi> = node.resolve(&path).await.expect("it is there");
        assert_eq!(node.core(), CoreId(0));
        for number in 1..=5 {
            judge.try_tell(record(number)).expect("room");
        }
    });
    until_told(&far, 1);
    let books = settled(&[&near, &far]);
    assert_eq!(total(&books, |book| book.panics), 0);
    let delivered = books_of(&near)[0].delivered;
    assert!(delivered >= 3, "{delivered}");
}
