//! What becomes of a link whose peer ends while it rests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringmesh::{Engine, LinkState, SendError};
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::node::LiveNode;

use super::{at_rest, recall, record, restful, sink_of};

/// A node at a place that it will have again.
fn at(place: SocketAddr) -> LiveNode {
    LiveNode::start_serving_with(|builder| restful(builder).bind(place))
}

fn place_of(node: &LiveNode) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], node.address().port()))
}

#[test]
fn a_peer_that_was_restarted_at_rest_gets_nothing_of_what_was_for_its_former_start() {
    let first = LiveNode::start_serving_with(restful);
    let second = at(SocketAddr::from(([127, 0, 0, 1], 0)));
    let place = place_of(&second);
    let sink = sink_of(&first, &second);
    at_rest(&[&first, &second]);
    second.stop();
    let second = at(place);
    first.run(move |_| async move {
        sink.try_tell(record(1)).expect("the link rests");
        sink.try_tell(record(2)).expect("the link rests");
    });
    let now = first.until("the end of the old link", |now| now.in_flight == 0);
    assert_eq!((now.dead_unsent, now.dead_maybe), (2, 0));
    assert_closed(&now);
    let refused = first.run(move |_| async move { sink.tell(record(3)).await });
    assert!(
        matches!(refused, Err(SendError::NotRunning(_))),
        "{refused:?}"
    );
    let sink = sink_of(&first, &second);
    first.run(move |_| async move {
        sink.tell(record(4)).await.expect("the new one runs");
        assert_eq!(recall(&sink).await.count, 1);
    });
}

#[test]
fn a_stop_at_rest_is_at_once_and_the_peer_finds_out_when_it_dials() {
    const FLUSH: Duration = Duration::from_secs(20);
    let first = LiveNode::start_serving_with(|builder| {
        restful(builder).settings(|settings| {
            settings.flush_timeout = FLUSH;
            settings.resume_timeout = Duration::from_millis(300);
        })
    });
    let second = LiveNode::start_serving_with(|builder| {
        restful(builder).settings(|settings| settings.flush_timeout = FLUSH)
    });
    let sink = sink_of(&first, &second);
    at_rest(&[&first, &second]);
    let reader = second.run(|node| async move { node.metrics_reader() });
    let dialled = second.counters().dialled;
    let begin = Instant::now();
    second.stop();
    assert!(begin.elapsed() < FLUSH / 2, "{:?}", begin.elapsed());
    let ended = Engine::metrics(&reader).total;
    assert_eq!((ended.dialled, ended.dead_sent), (dialled, 0));
    // Nobody told the first node, whose link is as it was.
    let links = first.run(|node| async move { node.links().await });
    assert!(links.iter().all(|link| link.state == LinkState::Resting));
    first.run(move |_| async move { sink.try_tell(record(1)).expect("the link rests") });
    let now = first.until("the end of the link", |now| now.in_flight == 0);
    assert_eq!((now.dead_unsent, now.dead_maybe), (1, 0));
    assert_closed(&now);
    let refused = first.run(move |_| async move { sink.try_tell(record(2)) });
    assert!(
        matches!(refused, Err(SendError::Unreachable(_))),
        "{refused:?}"
    );
}

#[test]
fn a_full_table_makes_room_by_the_link_that_rests_longest() {
    let first = LiveNode::start_serving_with(|builder| {
        restful(builder).settings(|settings| settings.peers_max = 2)
    });
    let others = [(); 3].map(|()| LiveNode::start_serving_with(restful));
    for other in &others {
        let sink = sink_of(&first, other);
        first.run(move |_| async move {
            sink.tell(record(1)).await.expect("it runs");
            assert_eq!(recall(&sink).await.count, 1);
        });
        at_rest(&[&first]);
    }
    let links = first.run(|node| async move { node.links().await });
    let peers: Vec<_> = links.iter().map(|link| &link.peer).collect();
    assert_eq!(links.len(), 2, "{links:?}");
    assert!(!peers.contains(&others[0].address()), "{links:?}");
    assert_closed(&first.counters());
    // And who was forgotten is not lost: it is met again, or comes by itself.
    let sink = sink_of(&first, &others[0]);
    first.run(move |_| async move { assert_eq!(recall(&sink).await.count, 1) });
    let back = sink_of(&others[1], &first);
    others[1].run(move |_| async move {
        back.tell(record(1)).await.expect("it runs");
        assert_eq!(recall(&back).await.count, 1);
    });
}
