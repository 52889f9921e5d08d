//! Links of the large lane that are cut, and peers that come back as others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_channel::oneshot;
use ringmesh::{AskError, CoreId, Lane, Ref, SendError};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::messages::{Account, ECHO, Echo, EchoApi, Recall, SINK, SinkApi};
use ringmesh_tests::live::node::LiveNode;

use super::{LARGE_BYTES, WideApi, WideSink, at, links_on, record};

#[test]
fn a_large_link_goes_on_through_cuts_in_the_middle_of_frames() {
    const CUTS: u64 = 3;
    const BODY_BYTES: usize = 3 << 19;
    let cutter = Cutter::start(&Cuts::none());
    let server = LiveNode::start_with(|builder| {
        builder
            .bind(cutter.behind())
            .advertise("127.0.0.1", cutter.address().port())
    });
    let client = LiveNode::start();
    server.run(|node| async move {
        node.spawn_named("wide", WideSink::default())
            .expect("a free name");
    });
    let path = server.path("wide");
    let enough = Arc::new(AtomicBool::new(false));
    let sending = {
        let enough = Arc::clone(&enough);
        client.begin(move |node| async move {
            let sink = at::<WideApi>(&node, &path).await;
            let mut said = Account::default();
            while !enough.load(Ordering::SeqCst) {
                let message = record(said.count + 1, BODY_BYTES);
                said.note_record(message.number, &message.body);
                sink.tell(message).await.expect("the link goes on");
            }
            (
                said,
                sink.ask(Recall).await.expect("an answer").deserialize(),
            )
        })
    };
    // The stream never pauses, and hardly a byte of it is the last of a frame.
    for cut in 1..=CUTS {
        let before = server.counters().delivered;
        server.until("some more", move |now| now.delivered >= before + 3);
        cutter.cut_all(false);
        client.until("the link goes on", move |now| now.resumed >= cut);
    }
    enough.store(true, Ordering::SeqCst);
    let (said, heard) = sending.finish();
    assert_eq!(heard, said);
    assert_eq!(heard.out_of_order, 0);
    let [large] = &links_on(&client, Lane::Large)[..] else {
        panic!("one link of the large lane");
    };
    assert!(large.reconnects >= CUTS, "{large:?}");
    [server, client]
        .iter()
        .for_each(|node| assert_closed(&node.counters()));
}

#[test]
fn every_lane_meets_the_next_start_of_a_peer() {
    let (first, client) = (LiveNode::start(), LiveNode::start());
    let wide = |node: &LiveNode| {
        node.run(|node| async move {
            node.spawn_named("wide", WideSink::default())
                .expect("a free name");
        });
    };
    wide(&first);
    let reach = |address: ringmesh::Address| {
        client.run(move |node| async move {
            let sink = at::<WideApi>(&node, &format!("{address}/user/wide")).await;
            sink.tell(record(1, 10))
                .await
                .expect("the large lane is up");
            assert_eq!(sink.ask(Recall).await.expect("an answer").count, 1);
            node.ping(&address).await.expect("and the control lane");
            sink
        })
    };
    let address = first.address().clone();
    let former = reach(address.clone());
    let port = address.port();
    first.stop();
    let second = LiveNode::start_with(|builder| {
        builder.bind(std::net::SocketAddr::from(([127, 0, 0, 1], port)))
    });
    wide(&second);
    reach(address);
    for lane in Lane::ALL {
        let links = links_on(&client, lane);
        let uids: Vec<_> = links.iter().filter_map(|link| link.peer_uid).collect();
        assert_eq!(uids, [second.id().uid], "{links:?}");
    }
    let refused = client.run(move |_| async move { former.try_tell(record(2, 10)) });
    assert!(
        matches!(refused, Err(SendError::NotRunning(_))),
        "{refused:?}"
    );
}

type Refs = (Ref<SinkApi>, Ref<EchoApi>);

/// Looks a serving node up, over the ordinary lane from the control core alone.
fn meet(client: &LiveNode, server: &LiveNode) -> Refs {
    let (sink, echo) = (server.path(SINK), server.path(ECHO));
    client.run(|node| async move {
        let sink: Ref<SinkApi> = at(&node, &sink).await;
        sink.ask(Recall).await.expect("an answer");
        (sink, at(&node, &echo).await)
    })
}

/// What becomes of sends that are the first on their lane of their core.
fn first_sends(client: &LiveNode, (sink, echo): Refs, core: CoreId) {
    let (said, heard) = oneshot::channel();
    let task = move |_| async move {
        let large = Echo {
            number: 1,
            body: vec![1; LARGE_BYTES].into(),
        };
        let tried = sink.try_tell(record(1, LARGE_BYTES));
        let told = sink.tell(record(2, LARGE_BYTES)).await;
        let asked = echo.ask(large).await;
        let small = [sink.try_tell(record(3, 1)), sink.tell(record(4, 1)).await];
        let sent = [tried, told].into_iter().chain(small);
        let errors: Vec<_> = sent.map(Result::err).collect();
        said.send((errors, asked.err())).expect("somebody waits");
    };
    let (errors, asked) = client.run(move |node| async move {
        node.spawn_task_on(core, task).await.expect("room");
        heard.await.expect("the task ends")
    });
    for error in errors {
        assert!(
            matches!(error, Some(SendError::NotRunning(_))),
            "{core:?}: {error:?}"
        );
    }
    assert_eq!(asked, Some(AskError::NotRunning), "{core:?}");
}

#[test]
fn the_goodbye_of_a_node_holds_for_lanes_and_cores_that_had_no_link() {
    let (server, client) = (LiveNode::start_serving(), LiveNode::of_cores(2));
    let refs = meet(&client, &server);
    server.stop();
    client.until("the goodbye", |now| now.links == 0);
    for core in [0, 1].map(CoreId) {
        first_sends(&client, refs, core);
    }
    let metrics = client.run(|node| async move { node.metrics_reader().metrics() });
    assert_eq!(metrics.total.dead_sent, 0, "{metrics:?}");
}

#[test]
fn the_next_start_of_a_peer_holds_for_lanes_and_cores_that_have_not_met_it() {
    let (first, client) = (LiveNode::start_serving(), LiveNode::of_cores(2));
    let port = first.address().port();
    let former = meet(&client, &first);
    first.stop();
    let second = LiveNode::start_serving_with(|builder| builder.bind(([127, 0, 0, 1], port)));
    let current = meet(&client, &second);
    for core in [0, 1].map(CoreId) {
        first_sends(&client, former, core);
    }
    // And those of the new one arrive.
    client.run(move |_| async move {
        let (sink, _) = current;
        sink.tell(record(1, LARGE_BYTES)).await.expect("it runs");
        sink.tell(record(2, 1)).await.expect("it runs");
    });
    let books = client.until("rest", |now| now.in_flight == 0);
    assert_closed(&books);
}
