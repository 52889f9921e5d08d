//! What other nodes announce and send, whatever that is, and what goes over a bound.

use std::sync::Arc;

use ringmesh_proto::address::CoreId;
use ringmesh_proto::link::Target;

use crate::context::Random;
use crate::membership::testing::uid;
use crate::pubsub::frame::Draft;
use crate::pubsub::limits::{GROUPS_OF_TOPIC_MAX, HEAD_BYTES_MAX, SHAPES_MAX};
use crate::pubsub::{
    AllNodes, FrameTopic, Head, Hop, InterestSettings, Interests, Mediator, Publish, Topic, Topics,
    UnknownEntry,
};
use crate::registry::{
    Difference, Entry, EntryId, Key, Kind, Place, Publication, Snapshot, Standing,
};

const TYPE: u64 = 7;

fn entry(id: u64, kind: Kind, name: &str, core: u16) -> Arc<Entry> {
    let target = Target {
        slot: 0,
        generation: 0,
    };
    Arc::new(Entry {
        id: EntryId(id),
        key: Key::new(kind, name, TYPE).expect("a key"),
        place: Place {
            core: CoreId(core),
            target,
        },
        weight: 1,
    })
}

/// What an owner that can be reached puts and takes back.
fn publication(
    owner: u64,
    changes: impl IntoIterator<Item = (Option<Arc<Entry>>, Option<Arc<Entry>>)>,
) -> Publication {
    let owner = uid(owner);
    let standing = Some(Standing::Reachable);
    let stand = Difference::Standing { owner, standing };
    let changes = changes.into_iter();
    let changes = changes.map(|(before, after)| Difference::Entry {
        owner,
        before,
        after,
    });
    Publication {
        snapshot: Arc::new(Snapshot::default()),
        differences: [stand].into_iter().chain(changes).collect(),
    }
}

fn put(entry: Arc<Entry>) -> (Option<Arc<Entry>>, Option<Arc<Entry>>) {
    (None, Some(entry))
}

fn mediator(topics: Topics) -> Mediator {
    let interests = Interests::new(CoreId(0), InterestSettings::default());
    let mut mediator = Mediator::new(uid(1), 2, interests);
    mediator.handle_topics(Arc::new(topics));
    mediator
}

#[test]
fn keys_that_no_honest_node_announces_are_not_taken_in_and_go_without_a_trace() {
    let mut topics = Topics::new(uid(1));
    let bad = [
        (Kind::TOPIC, "a..b"),
        (Kind::TOPIC, "**.a"),
        (Kind::TOPIC, "a b"),
        (Kind::GROUP, "a"),
        (Kind::GROUP, "a g h"),
        (Kind::GROUP, " g"),
    ];
    let bad = bad
        .iter()
        .zip(1..)
        .map(|((kind, name), id)| entry(id, *kind, name, 0));
    let bad: Vec<_> = bad.collect();
    topics.apply(&publication(2, bad.iter().cloned().map(put)));
    assert!(topics.is_empty() && topics.names().is_empty());
    assert_eq!(
        topics.skipped(),
        5,
        "one of them is no key of pub-sub at all"
    );
    topics.apply(&publication(2, bad.into_iter().map(|it| (Some(it), None))));
    assert!(topics.is_empty());
}

#[test]
fn one_over_the_shapes_max_is_not_taken_in_and_counted() {
    let mut topics = Topics::new(uid(1));
    let pattern = |number: usize| {
        let bit = |at: usize| if number >> at & 1 == 1 { "*" } else { "a" };
        let segments: Vec<&str> = (0..14).map(bit).collect();
        segments.join(".")
    };
    let all = (1..=SHAPES_MAX + 3).map(|it| entry(it as u64, Kind::TOPIC, &pattern(it), 0));
    topics.apply(&publication(2, all.map(put)));
    assert_eq!((topics.len(), topics.skipped()), (SHAPES_MAX, 3));
    let name = vec!["a"; 14].join(".");
    let topic = Topic::new(&name).expect("a topic");
    assert_eq!(topics.subscribers(topic, None), SHAPES_MAX as u64);
}

#[test]
fn one_over_the_groups_of_topic_max_is_left_out_and_counted() {
    let mut topics = Topics::new(uid(1));
    let all = (1..=GROUPS_OF_TOPIC_MAX as u64 + 1)
        .map(|it| entry(it, Kind::GROUP, &format!("a g{it}"), 0));
    topics.apply(&publication(2, all.map(put)));
    let mut mediator = mediator(topics);
    let topic = Topic::new("a").expect("a topic");
    let mut random = Random::new(1);
    let fanout = mediator.publish((topic, TYPE), &Publish::default(), &AllNodes, &mut random);
    let fanout = fanout.expect("room");
    let mut head = [0; HEAD_BYTES_MAX];
    let stop = fanout.stops().next().expect("a node");
    let length = fanout.write_for(&stop, &mut head).expect("room");
    let (head, _) = Head::parse(&head[..length]).expect("a head");
    assert_eq!(head.groups.count(), GROUPS_OF_TOPIC_MAX);
    assert_eq!(mediator.counters().over, 1);
}

#[test]
fn a_frame_for_what_is_not_here_reaches_nobody() {
    let mut topics = Topics::new(uid(1));
    let own = [
        entry(1, Kind::TOPIC, "a.*", 1),
        entry(2, Kind::GROUP, "a g", 1),
        entry(3, Kind::TOPIC, "a", 1),
    ];
    topics.apply(&publication(1, own.map(put)));
    let mut mediator = mediator(topics);
    let mut random = Random::new(1);
    for id in [1, 2, 4, u64::MAX] {
        let draft = Draft {
            topic: FrameTopic::Entry(EntryId(id)),
            is_open: true,
            is_forwarded: false,
            groups: std::iter::empty(),
            answer_to: None,
            publisher: None,
        };
        let mut bytes = [0; 64];
        let length = draft.write(&mut bytes).expect("room");
        let (head, _) = Head::parse(&bytes[..length]).expect("a head");
        let arrival = mediator.receive(&head, Hop::Link, &AllNodes, &mut random);
        assert_eq!(arrival.err(), Some(UnknownEntry), "{id}");
    }
    let topic = Topic::new("b").expect("a topic");
    let draft = Draft {
        topic: FrameTopic::Named {
            topic,
            protocol: TYPE,
        },
        is_open: true,
        is_forwarded: false,
        groups: [(CoreId(0), "g"), (CoreId(200), "g")].into_iter(),
        answer_to: None,
        publisher: None,
    };
    let mut bytes = [0; 64];
    let length = draft.write(&mut bytes).expect("room");
    let (head, _) = Head::parse(&bytes[..length]).expect("a head");
    let arrival = mediator.receive(&head, Hop::Link, &AllNodes, &mut random);
    let arrival = arrival.expect("it is named");
    assert!(arrival.is_dead_letter(), "this node has no such core");
    let counters = mediator.counters();
    assert_eq!((counters.dead_letters, counters.dead_groups), (5, 2));
}
