//! Peers that speak to a cluster they are not in, rightly or wrongly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringmesh::Uid;
use ringmesh::cluster::{AppVersion, ClusterCounters, ClusterId, Event, News, Roles, Topology};
use ringmesh_cluster::membership::message::Message;
use ringmesh_cluster::membership::{Gossip, Member, Profile};
use ringmesh_proto::frame::Head;
use ringmesh_proto::frame::body::{Ping, Pong};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::FRAME_BYTES_CONTROL;
use ringmesh_proto::time;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::node::LiveNode;
use ringmesh_tests::live::raw::RawPeer;
use ringmesh_tests::live::raw::frames::{frame, header};

use super::{cluster_of, is_up, of, watchful};

/// A peer with a control link that no cluster knows.
struct Stranger(RawPeer);

impl Stranger {
    fn of(node: &LiveNode) -> Self {
        Self(RawPeer::link_on(node.id(), Lane::Control))
    }

    fn say(&mut self, body: &[u8]) {
        self.0.send(&frame(&Head::plain(Kind::Cluster), body));
    }

    /// Waits until everything said before was read.
    fn is_heard(&mut self, nonce: u64) {
        let mut ping = vec![0; 64];
        let length = Ping { nonce }.encode(&mut ping);
        self.0.send(&ping[..length]);
        while self.0.frame_of(Kind::Pong).body(Pong::parse).nonce != nonce {}
    }

    /// A view in which this peer is the only member of a cluster.
    fn view(&self, cluster: ClusterId) -> Message {
        let profile = Profile {
            node: self.0.me.clone(),
            roles: Roles::new([], "default").expect("roles"),
            app_version: AppVersion::default(),
        };
        let member = Member::joining(Arc::new(profile));
        Message::Gossip(Box::new(Gossip::founded(cluster, member)))
    }
}

fn bytes(message: &Message, to: Uid) -> Vec<u8> {
    message.encode(Some(to), time::Instant::ZERO)
}

fn counters(node: &LiveNode) -> ClusterCounters {
    node.run(|node| async move { of(&node).counters().await.expect("it is asked at home") })
}

fn state(node: &LiveNode) -> Arc<Topology> {
    node.run(|node| async move { of(&node).state() })
}

#[test]
fn what_strangers_tell_a_cluster_is_refused_and_counted_and_harms_nobody() {
    let nodes = cluster_of(2, &watchful(), |builder| builder);
    let (node, before) = (&nodes[0], state(&nodes[0]));
    let own = node.id().uid;
    let mut stranger = Stranger::of(node);
    let cluster = before.cluster().expect("it is in one");
    let gossip = bytes(&stranger.view(cluster), own);
    let refused = counters(node);
    stranger.say(&[0]);
    stranger.say(&[200, 1, 2, 3]);
    stranger.say(&[32, 1, 2, 3]);
    stranger.say(&[48, 1, 2, 3]);
    for end in 9..gossip.len() {
        stranger.say(&gossip[..end]);
    }
    stranger.say(&gossip);
    // For a process start that was there before.
    let former = Uid::new(own.as_u64() ^ 1).expect("another one");
    stranger.say(&bytes(&stranger.view(cluster), former));
    stranger.say(&bytes(&stranger.view(ClusterId(!cluster.0)), own));
    stranger.is_heard(1);
    let now = counters(node);
    let malformed = |it: &ClusterCounters| it.membership.malformed.values().sum::<u64>();
    let rise = [
        now.refused.unknown - refused.refused.unknown,
        now.refused.malformed - refused.refused.malformed,
        malformed(&now) - malformed(&refused),
        now.membership.strangers - refused.membership.strangers,
        now.membership.misdirected - refused.membership.misdirected,
        now.membership.foreign - refused.membership.foreign,
    ];
    assert_eq!(rise, [2, 2, gossip.len() as u64 - 9, 1, 1, 1], "{now:#?}");
    // What is longer than a control frame may be is not even waited for.
    stranger
        .0
        .send(&header(FRAME_BYTES_CONTROL + 1, Kind::Cluster as u8, 0));
    stranger.0.ending();
    for node in &nodes {
        node.until_so("an unharmed cluster", |node| is_up(&of(node), 2));
        let state = state(node);
        assert!(
            state
                .members()
                .iter()
                .all(|it| !state.is_unreachable(it.uid()))
        );
    }
    let after = state(node);
    assert_eq!(after.members(), before.members());
}

#[test]
fn a_subscriber_that_is_too_slow_is_told_so_and_begins_anew() {
    /// More events than are kept.
    const MANY: u64 = 1100;
    let mut settings = watchful();
    settings.membership.removed_interval = Duration::from_millis(1);
    let nodes = cluster_of(1, &settings, |builder| builder);
    let node = &nodes[0];
    let mut events = node.run(|node| async move { of(&node).events() });
    let Some(News::Snapshot(first)) = events.try_next() else {
        panic!("a snapshot comes first");
    };
    let mut stranger = Stranger::of(node);
    let foreign = ClusterId(!first.cluster().expect("it is in one").0);
    let word = bytes(&stranger.view(foreign), node.id().uid);
    let (begun, mut quick) = (
        Instant::now(),
        node.run(|node| async move { of(&node).events() }),
    );
    let mut heard = 0;
    for nonce in 1.. {
        stranger.say(&word);
        stranger.is_heard(nonce);
        while let Some(news) = quick.try_next() {
            let News::Event(event) = news else {
                continue;
            };
            heard += u64::from(matches!(event.event, Event::ForeignCluster { .. }));
        }
        if heard >= MANY {
            break;
        }
        assert!(begun.elapsed() < WAIT, "{heard} events");
    }
    let Some(News::Lagged(lost)) = events.try_next() else {
        panic!("it is behind");
    };
    assert!(lost >= MANY - 1024, "{lost}");
    let Some(News::Snapshot(again)) = events.try_next() else {
        panic!("a snapshot follows");
    };
    assert!(again.is_same_state(&state(node)));
    assert_eq!(events.try_next(), None, "the snapshot holds all there was");
}
