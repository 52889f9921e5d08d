//! Peers that speak to a cluster they are not in, rightly or wrongly.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringmesh::__private::{Answered, Published, Shared};
use ringmesh::cluster::{AppVersion, ClusterCounters, ClusterId, Event, News, Roles, Topology};
use ringmesh::pubsub::Topic;
use ringmesh::{NodeId, Uid};
use ringmesh_cluster::membership::message::Message;
use ringmesh_cluster::membership::{Gossip, Member, Profile};
use ringmesh_cluster::pubsub::{Came, Origin, Reached};
use ringmesh_cluster::registry::limits::PARKED_OF_NODE_MAX;
use ringmesh_proto::frame::Head;
use ringmesh_proto::frame::body::{Ping, Pong};
use ringmesh_proto::kind::Kind;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::FRAME_BYTES_CONTROL;
use ringmesh_proto::link::Target;
use ringmesh_proto::message::{Message as _, MessageType};
use ringmesh_proto::time;
use ringmesh_tests::live::WAIT;
use ringmesh_tests::live::messages::Record;
use ringmesh_tests::live::node::{LiveNode, Pending};
use ringmesh_tests::live::raw::RawPeer;
use ringmesh_tests::live::raw::frames::{
    archived, define_target, define_type, frame, header, tell_as,
};

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

/// All cores of that peer have what a process start announces, as of its first version.
fn confirmation(to: Uid) -> Vec<u8> {
    let mut bytes = vec![69];
    for number in [to.as_u64(), 0, 1] {
        bytes.extend(number.to_le_bytes());
    }
    bytes
}

#[test]
fn what_strangers_say_of_tables_is_counted_where_all_counters_are() {
    let nodes = cluster_of(1, &watchful(), |builder| builder);
    let node = &nodes[0];
    let own = node.id().uid;
    let former = Uid::new(own.as_u64() ^ 1).expect("another one");
    let mut stranger = Stranger::of(node);
    (0..3).for_each(|_| stranger.say(&confirmation(former)));
    // As many as are kept until it is a member, and two more.
    (0..PARKED_OF_NODE_MAX + 2).for_each(|_| stranger.say(&confirmation(own)));
    stranger.is_heard(1);
    let now = node.counters();
    let counted = [now.registry_misdirected, now.registry_strangers];
    assert_eq!(counted, [3, 2], "{now:#?}");
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

/// The number that tells message types apart where they are published.
fn number_of(message: &MessageType) -> u64 {
    let MessageType {
        id,
        version,
        fingerprint,
    } = message;
    let parts = [id.as_u64(), u64::from(*version), *fingerprint];
    let mix = |hash: u64, it: u64| (hash ^ it).wrapping_mul(0x0100_0000_01B3);
    parts.into_iter().fold(0xCBF2_9CE4_8422_2325, mix)
}

/// A frame for all who subscribe to a topic, and who is to be told what it has reached.
fn published(topic: &str, message: u64, answer_to: Option<Uid>, archive: &[u8]) -> Published {
    let mut bytes = vec![if answer_to.is_some() { 19 } else { 3 }];
    bytes.extend(message.to_le_bytes());
    bytes.push(topic.len() as u8);
    bytes.extend(topic.as_bytes());
    if let Some(node) = answer_to {
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(node.as_u64().to_le_bytes());
        bytes.extend(0_u16.to_le_bytes());
    }
    bytes.extend(archive);
    Published { bytes }
}

const TOPIC: Topic<Record> = Topic::new("tests.hostile");

/// An archived record, and the number of its type.
fn record(number: u64) -> (Vec<u8>, u64) {
    let record = Record {
        number,
        body: vec![7; 32].into(),
    };
    (archived(&record), number_of(&Record::TYPE))
}

/// A subscriber that gets those records and no others, and says who published each.
fn reading(node: &LiveNode, numbers: &'static [u64]) -> Pending<Vec<NodeId>> {
    let (said, begun) = std::sync::mpsc::channel();
    let reading = node.begin(move |node| async move {
        let subscribe = node.subscribe(&TOPIC).expect("a topic");
        let mut subscription = subscribe.begin().expect("room");
        said.send(()).expect("the test waits");
        let mut senders = Vec::new();
        for number in numbers {
            let received = subscription.recv().await.expect("no loss");
            assert_eq!(received.number.to_native(), *number);
            senders.push(received.sender().clone());
        }
        assert!(subscription.try_recv().expect("it goes on").is_none());
        senders
    });
    begun.recv_timeout(WAIT).expect("it subscribes");
    reading
}

/// A peer that knows the first actors of a core, behind the directory: who takes frames (1), what
/// other cores share (2), and answers (3).
fn peer_of_mediators(node: &LiveNode) -> RawPeer {
    let mut peer = RawPeer::link(node.id());
    let types = [Published::TYPE, Shared::TYPE, Answered::TYPE];
    for (number, message) in (1..).zip(types) {
        let (slot, generation) = (u32::from(number), u64::from(number));
        peer.send(&define_target(slot, Target { slot, generation }));
        peer.send(&define_type(number, message));
    }
    peer
}

#[test]
fn what_strangers_publish_and_answer_wrongly_is_counted_and_reaches_nobody() {
    let node = LiveNode::start_with(|builder| builder.cores(1));
    let reading = reading(&node, &[7]);
    let mut peer = peer_of_mediators(&node);
    let (record, records) = record(7);
    let me = peer.me.uid;
    let other = Uid::new(me.as_u64() ^ 1).expect("another one");
    let frames = [
        Published { bytes: Vec::new() },
        Published {
            bytes: vec![255; 100],
        },
        published("a..b", records, None, &record),
        published("a.*", records, None, &record),
        // Somebody else is to be told.
        published(TOPIC.name(), records, Some(other), &record),
        // It is no record.
        published(TOPIC.name(), records, None, &record[1..]),
        published(TOPIC.name(), records, None, &[]),
        // Of another type, and for nobody.
        published(TOPIC.name(), records ^ 1, None, &record),
        published("tests.nobody", records, None, &record),
        published(TOPIC.name(), records, Some(me), &record),
    ];
    for frame in &frames {
        peer.send(&tell_as((1, 1), &archived(frame)));
    }
    let reached = Reached {
        publish: 9,
        came: Came::Sent { cores: 0 },
        sent_on: 0,
        subscribers: 1 << 31,
    };
    for bytes in [Vec::new(), vec![0; 15], reached.to_bytes().to_vec()] {
        peer.send(&tell_as((3, 3), &archived(&Answered { bytes })));
    }
    assert_eq!(reading.finish(), [peer.me.clone()]);
    node.until("all of them", |it| it.publish_answers_late == 1);
    let counted = node.counters();
    assert_eq!(counted.published_malformed, 5 + 2 + 2, "{counted:?}");
    assert_eq!(counted.published_other_type, 1, "{counted:?}");
    assert_eq!(counted.published_to_nobody, 2, "{counted:?}");
    assert_eq!((counted.subscribers_queued, counted.panics), (1, 0));
}

/// A frame that says it is sent on, and was published by that node.
fn sent_on_for(publisher: Uid, (archive, message): &(Vec<u8>, u64)) -> Published {
    let Published { mut bytes } = published(TOPIC.name(), *message, None, &[]);
    bytes[0] |= 8 | 64;
    bytes.extend(publisher.as_u64().to_le_bytes());
    bytes.extend(archive);
    Published { bytes }
}

#[test]
fn strangers_publish_for_nobody_but_themselves() {
    let node = LiveNode::start_with(|builder| builder.cores(1));
    let reading = reading(&node, &[8]);
    let mut peer = peer_of_mediators(&node);
    // It is no core of the node, whoever it says has published.
    let (archive, records) = record(7);
    let sound = published(TOPIC.name(), records, None, &archive).bytes;
    let mut elsewhere = peer.me.clone();
    elsewhere.address = node.address().clone();
    for origin in [
        &[0][..],
        &Origin::write(node.id()),
        &Origin::write(&elsewhere),
    ] {
        let bytes = [origin, &sound[..]].concat();
        peer.send(&tell_as((2, 2), &archived(&Shared { bytes })));
    }
    // Nor is it a member, whose word of what others have published would count.
    let sent_on = sent_on_for(node.id().uid, &record(8));
    peer.send(&tell_as((1, 1), &archived(&sent_on)));
    assert_eq!(reading.finish(), [peer.me.clone()]);
    let counted = node.counters();
    let counts = (counted.published_malformed, counted.subscribers_queued);
    assert_eq!(counts, (3, 1), "{counted:?}");
}
