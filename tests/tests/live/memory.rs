//! Memory for what is on its way out: how long a peer may hold it, and who is served when it comes
//! back.

use std::time::Duration;

use ringmesh::Ref;
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::{FRAME_BYTES_MIN, SLAB_BYTES, window_bytes_min};
use ringmesh_proto::link::Target;
use ringmesh_tests::live::messages::{ECHO, EchoApi, Inflate};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawPeer, frames as make};

/// The size of the answers: two fit into a slab, three into a window.
const ANSWER_BYTES: u32 = 30_000;

#[test]
fn a_peer_that_takes_nothing_over_loses_its_link_and_the_memory_comes_back() {
    let node = LiveNode::start_serving_with(|builder| {
        builder.settings(|settings| settings.grant_timeout = Duration::from_millis(300))
    });
    let echo = echo_of(&node);
    let mut deaf = RawPeer::link(node.id());
    deaf.send(&make::definitions::<Inflate>(echo));
    ask(&mut deaf, 0);
    let counters = node.until("the answer is given up", |now| now.dead_maybe == 1);
    assert_eq!((counters.in_flight, counters.links), (0, 0), "{counters:?}");
    let reasons = node.run(|node| async move { node.close_reasons() });
    assert_eq!(reasons.get("grant_stall"), Some(&1), "{reasons:?}");
}

#[test]
fn memory_that_one_link_gives_back_serves_the_others() {
    let window = window_bytes_min(FRAME_BYTES_MIN);
    let node = LiveNode::start_serving_with(|builder| {
        builder.settings(move |settings| {
            settings.frame_bytes_max = FRAME_BYTES_MIN;
            settings.window_bytes = window;
            settings.outgoing_bytes_max = 3 * SLAB_BYTES as usize;
        })
    });
    let echo = echo_of(&node);
    let [mut first, mut second, mut third] = [(); 3].map(|()| RawPeer::link(node.id()));
    for peer in [&mut first, &mut second, &mut third] {
        peer.send(&make::definitions::<Inflate>(echo));
    }
    // The first peer holds two slabs of the three, the second one.
    (0..3).for_each(|number| ask(&mut first, number));
    (0..3).for_each(|_| drop(first.frame_of(Kind::Reply)));
    (0..2).for_each(|number| ask(&mut second, number));
    (0..2).for_each(|_| drop(second.frame_of(Kind::Reply)));
    ask(&mut third, 0);
    node.until("the third question was handled", |now| now.delivered >= 6);
    drop(first);
    third.frame_of(Kind::Reply);
}

fn echo_of(node: &LiveNode) -> Target {
    let path = node.path(ECHO);
    node.run(|node| async move {
        let echo: Ref<EchoApi> = node.resolve(&path).await.expect("the actor is there");
        make::target_of(&echo)
    })
}

fn ask(peer: &mut RawPeer, number: u64) {
    let body_bytes = ANSWER_BYTES;
    peer.send(&make::ask(&Inflate { body_bytes }, number));
}
