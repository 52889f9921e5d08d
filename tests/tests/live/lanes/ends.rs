//! Links of the large lane that are cut, and peers that come back as others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringmesh::Lane;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::cutter::{Cuts, Cutter};
use ringmesh_tests::live::messages::{Account, Recall};
use ringmesh_tests::live::node::LiveNode;

use super::{WideApi, WideSink, at, links_on, record};

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
        matches!(refused, Err(ringmesh::SendError::NotRunning(_))),
        "{refused:?}"
    );
}
