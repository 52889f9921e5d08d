//! What the two sides of a quarantine know and say, and who gets in again.

use ringmesh::{
    AskError, Executed, NodeEvent, NodeId, PingError, QuarantineError, Ref, Remedy, ResolveError,
    Uid,
};
use ringmesh_proto::frame::body::{Bye, ByeReason, RefuseReason};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::limits::QUARANTINES_MAX;
use ringmesh_tests::live::books::assert_closed;
use ringmesh_tests::live::messages::{ECHO, EchoApi, SINK};
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::{RawListener, RawPeer};
use ringmesh_tests::live::watched::{Watched, account};

use super::{asking, echo_at, quarantine, question, record, sink_at, until_parted, until_told};

/// Whether a path is refused, and a ping, for a quarantine by the peer or not.
fn assert_found_out(from: &LiveNode, to: &LiveNode, by: bool) {
    let (path, address) = (to.path(ECHO), to.address().clone());
    from.run(move |node| async move {
        let found: Result<Ref<EchoApi>, _> = node.resolve(&path).await;
        assert!(
            matches!(&found, Err(ResolveError::Quarantined { by_peer, .. }) if *by_peer == by),
            "{found:?}"
        );
        let pinged = node.ping(&address).await;
        assert_eq!(pinged, Err(PingError::Quarantined { by_peer: by }));
    });
}

#[test]
fn both_sides_name_it_and_what_ends_it_and_nothing_passes() {
    let [near, far] = [asking(|builder| builder), asking(|builder| builder)];
    let (sink, echo) = (
        sink_at(&near, far.path(SINK)),
        echo_at(&near, far.path(ECHO)),
    );
    let back = sink_at(&far, near.path(SINK));
    let mut events = [&near, &far].map(|node| node.run(|node| async move { node.events() }));
    quarantine(&near, far.id());
    until_told(&far, 1);
    until_parted(&near, sink, false);
    until_parted(&far, back, true);
    near.run(move |_| async move {
        let asked = echo.ask(question()).await.expect_err("it is refused");
        assert_eq!(asked, AskError::Quarantined { by_peer: false });
        assert_eq!(asked.executed(), Executed::No);
    });
    assert_found_out(&far, &near, true);
    // To look whether another start is there tells the one that is once more.
    assert_found_out(&near, &far, false);
    let remedies = [Remedy::RestartPeer, Remedy::RestartThisNode];
    for (events, expected) in events.iter_mut().zip(remedies) {
        let told = std::iter::from_fn(|| events.try_next()).find_map(|event| match event {
            NodeEvent::Quarantined {
                node,
                cause,
                remedy,
                ..
            } => {
                assert_eq!(&*cause, "a test");
                Some((node, remedy))
            }
            NodeEvent::QuarantinedByPeer { node, remedy, .. } => Some((node, remedy)),
            _ => None,
        });
        let other = match expected {
            Remedy::RestartPeer => far.id(),
            _ => near.id(),
        };
        assert_eq!(told, Some((other.clone(), expected)));
    }
    for node in [&near, &far] {
        let books = node.until("no links", |now| now.links == 0);
        assert_closed(&books);
        assert_eq!(books.in_flight, 0, "{books:#?}");
        assert_eq!(account(node).count, 0);
    }
    assert_eq!(near.counters().quarantines, 1);
    assert_eq!(far.counters().quarantines, 0, "who is told does not");
}

#[test]
fn the_next_start_at_the_address_talks_at_once_and_the_former_never() {
    let [near, far] = [asking(|builder| builder), asking(|builder| builder)];
    let old = sink_at(&near, far.path(SINK));
    quarantine(&near, far.id());
    until_told(&far, 1);
    let port = far.address().port();
    far.stop();
    let next = asking(|builder| builder.bind(([127, 0, 0, 1], port)));
    let sink = sink_at(&near, next.path(SINK));
    near.run(move |_| async move { sink.tell(record(1)).await.expect("it is let in") });
    let back = sink_at(&next, near.path(SINK));
    next.run(move |_| async move { back.tell(record(1)).await.expect("it is let in") });
    for node in [&near, &next] {
        node.until("a message", |now| now.in_flight == 0);
        assert_eq!(account(node).count, 1);
    }
    until_parted(&near, old, false);
    assert_eq!(next.counters().quarantines_told, 0);
}

#[test]
fn nobody_is_quarantined_that_is_not_known_or_is_the_node_itself() {
    let [near, far] = [LiveNode::start(), LiveNode::start_serving()];
    let sink = sink_at(&near, far.path(SINK));
    let (me, other) = (near.id().clone(), far.id().clone());
    near.run(move |node| async move {
        let uid = |value| Uid::new(value).expect("not zero");
        let judged = |address: &NodeId, uid| {
            let address = address.address.clone();
            node.quarantine(&NodeId { address, uid }, "a test")
        };
        assert_eq!(judged(&me, me.uid), Err(QuarantineError::Itself));
        assert_eq!(judged(&other, me.uid), Err(QuarantineError::Itself));
        let known = me.uid;
        assert_eq!(
            judged(&me, uid(7)),
            Err(QuarantineError::OtherStart { known })
        );
        let known = other.uid;
        assert_eq!(
            judged(&other, uid(7)),
            Err(QuarantineError::OtherStart { known })
        );
        let stranger = NodeId {
            address: format!("ringmesh://{}@127.0.0.1:9", me.address.system())
                .parse()
                .expect("an address"),
            uid: uid(7),
        };
        assert_eq!(judged(&stranger, uid(7)), Err(QuarantineError::Unknown));
        sink.tell(record(1)).await.expect("nothing has changed");
        assert_eq!(node.counters().quarantines, 0);
    });
    near.until("a message", |now| now.in_flight == 0);
}

#[test]
fn a_peer_hears_it_as_the_last_word_and_its_hello_is_refused_until_it_is_another() {
    let watched = Watched::start();
    let mut peer = RawPeer::link(watched.id());
    quarantine(&watched.node, &peer.me);
    let last = peer.frame_of(Kind::Bye).body(Bye::parse);
    assert_eq!(last.reason, ByeReason::Quarantined);
    assert!(peer.ending().is_silent(), "nothing follows");
    let again = |uid| {
        let mut again = RawPeer::connect(watched.id());
        again.me = NodeId {
            uid,
            ..peer.me.clone()
        };
        let opening = again.opening();
        again.send(&opening);
        again
    };
    let mut same = again(peer.me.uid);
    assert_eq!(same.ending().refusal(), RefuseReason::Quarantined);
    again(Uid::new(77).expect("not zero")).accepted();
    watched.saw_nothing();
}

#[test]
fn one_over_the_quarantines_that_are_kept_lets_the_oldest_in_and_is_counted() {
    const KEPT: u64 = QUARANTINES_MAX as u64;

    let node = LiveNode::start();
    // Nobody is met there, so any start may be.
    let listener = RawListener::bind();
    let address = listener.address.clone();
    let sought = listener.sought_by(&node);
    let books = node.run(move |node| async move {
        let quarantine = |uid| {
            let uid = Uid::new(uid).expect("not zero");
            let address = address.clone();
            node.quarantine(&NodeId { address, uid }, "a test")
        };
        for uid in 1..=KEPT {
            assert_eq!(quarantine(uid), Ok(true));
        }
        assert_eq!(quarantine(1), Ok(false), "it is kept");
        assert_eq!(node.counters().quarantines_forgotten, 0);
        assert_eq!(quarantine(KEPT + 1), Ok(true));
        assert_eq!(node.counters().quarantines_forgotten, 1);
        assert_eq!(quarantine(1), Ok(true), "it made room");
        node.counters()
    });
    assert_eq!(books.quarantines, KEPT + 2);
    assert_eq!(books.quarantines_forgotten, 2);
    drop((listener, sought));
}

#[test]
fn a_peer_that_says_so_is_sent_nothing_and_may_come_back() {
    let watched = Watched::start();
    let mut peer = RawPeer::link(watched.id());
    let reason = ByeReason::Quarantined;
    let mut bye = vec![0; Bye::FRAME_BYTES];
    Bye { reason }.encode(&mut bye);
    peer.send(&bye);
    until_told(&watched.node, 1);
    assert!(peer.ending().is_silent(), "nothing is sent behind it");
    let me = peer.me.clone();
    let parted = |watched: &Watched| {
        let me = me.clone();
        watched.node.run(move |node| async move {
            let known = node.quarantine(&me, "a test");
            (
                known,
                node.close_reasons().get("quarantined_by_peer").copied(),
            )
        })
    };
    // It keeps the link that it makes anew, for who is told does not quarantine.
    let mut again = RawPeer::connect(watched.id());
    again.me = me.clone();
    let opening = again.opening();
    again.send(&opening);
    again.accepted();
    again.is_answered();
    assert_eq!(parted(&watched), (Ok(true), Some(1)));
    assert_eq!(again.frame_of(Kind::Bye).body(Bye::parse).reason, reason);
    watched.saw_nothing();
}
