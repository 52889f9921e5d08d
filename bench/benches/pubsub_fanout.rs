//! What deciding costs in pub-sub, without the message, the queues and the wire.
//!
//! `known` publishes to one topic with 64 subscribers on two nodes of two cores each: the route,
//! the heads of the frames, their reading, and the plans of all four cores. What is printed is per
//! delivery. `groups` is the same with a group of 64 instead, of whom one gets it: per publish.
//! `cold` publishes in turn to a hundred thousand topics, each with one subscriber on another node,
//! so none is remembered when it comes: per publish, which is a search of all that is announced;
//! and `cold_wild` with a hundred thousand patterns beside them, which have wildcards at eight
//! different places.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringmesh_cluster::context::Random;
use ringmesh_cluster::pubsub::limits::HEAD_BYTES_MAX;
use ringmesh_cluster::pubsub::{
    AllNodes, Announce, GroupName, Head, Hop, InterestSettings, Interests, Mediator, Pattern,
    Publish, Subscribe, SubscriberId, Topic, TopicName, Topics,
};
use ringmesh_cluster::registry::{Difference, Entry, EntryId, Publication, Snapshot, Standing};
use ringmesh_proto::address::{CoreId, Uid};

const NODES: u64 = 2;
const CORES: u16 = 2;
const SUBSCRIBERS: u64 = 64;
const TOPICS: u32 = 100_000;
const TYPE: u64 = 7;

/// The cores of both nodes, and what they have announced.
struct World {
    cores: Vec<Mediator>,
    differences: Vec<Difference>,
    last: u64,
    random: Random,
    head: Vec<u8>,
    frame: Vec<u8>,
}

fn uid(number: u64) -> Uid {
    Uid::new(number).expect("not zero")
}

impl World {
    fn new() -> Self {
        let settings = InterestSettings {
            of_subscriber_max: u32::MAX,
            bytes_of_subscriber_max: usize::MAX,
            subscriptions_max: u32::MAX - 1,
            bytes_max: usize::MAX,
        };
        let places = (1..=NODES).flat_map(|node| (0..CORES).map(move |core| (node, core)));
        let start = |(node, core)| {
            let interests = Interests::new(CoreId(core), settings);
            Mediator::new(uid(node), CORES, interests)
        };
        let standing = Some(Standing::Reachable);
        let stand = |node| Difference::Standing {
            owner: uid(node),
            standing,
        };
        Self {
            cores: places.map(start).collect(),
            differences: (1..=NODES).map(stand).collect(),
            last: 0,
            random: Random::new(1),
            head: vec![0; HEAD_BYTES_MAX],
            frame: vec![0; HEAD_BYTES_MAX],
        }
    }

    fn core(&mut self, node: u64, core: u16) -> &mut Mediator {
        &mut self.cores[(node as usize - 1) * usize::from(CORES) + usize::from(core)]
    }

    fn subscribe(&mut self, (node, core): (u64, u16), pattern: &str, group: Option<&str>) {
        let wanted = Subscribe {
            pattern: Pattern::new(pattern).expect("a pattern"),
            group: group.map(|it| GroupName::new(it).expect("a group")),
            protocol: TYPE,
            subscriber: SubscriberId(1),
        };
        let mut announces = Vec::new();
        let interests = self.core(node, core).interests();
        interests.subscribe(&wanted, &mut announces).expect("room");
        for announce in announces {
            if let Announce::Put { key, place, .. } = announce {
                self.last += 1;
                let entry = Entry {
                    id: EntryId(self.last),
                    key,
                    place,
                    weight: 1,
                };
                self.differences.push(Difference::Entry {
                    owner: uid(node),
                    before: None,
                    after: Some(Arc::new(entry)),
                });
            }
        }
    }

    /// Shows all cores what was announced.
    fn show(&mut self) {
        let publication = Publication {
            snapshot: Arc::new(Snapshot::default()),
            differences: std::mem::take(&mut self.differences),
        };
        for node in 1..=NODES {
            let mut topics = Topics::new(uid(node));
            topics.apply(&publication);
            let topics = Arc::new(topics);
            for core in 0..CORES {
                self.core(node, core).handle_topics(Arc::clone(&topics));
            }
        }
    }

    /// Publishes from the first core, and delivers on all. How many copies that were.
    fn publish(&mut self, topic: Topic<'_>) -> usize {
        let Self {
            cores,
            random,
            head,
            frame,
            ..
        } = self;
        let (first, others) = cores.split_at_mut(1);
        let publish = Publish::default();
        let fanout = first[0].publish((topic, TYPE), &publish, &AllNodes, random);
        let fanout = fanout.expect("there is room");
        let mut copies = 0;
        fanout
            .recipients()
            .for_each(|it| copies += usize::from(black_box(it).subscriber.0 > 0));
        if !fanout.cores().is_empty() {
            let length = fanout.write_for_cores(head).expect("room");
            for core in fanout.cores().iter() {
                let at = usize::from(core.0) - 1;
                copies += receive(&mut others[at], &head[..length], Hop::Mesh, random).0;
            }
        }
        for stop in fanout.stops() {
            let length = fanout.write_for(&stop, frame).expect("room");
            let second = usize::from(CORES) - 1;
            let at = second + usize::from(stop.core.0);
            let (here, cores) = receive(&mut others[at], &frame[..length], Hop::Link, random);
            copies += here;
            for core in cores.iter() {
                let at = second + usize::from(core.0);
                copies += receive(&mut others[at], &frame[..length], Hop::Mesh, random).0;
            }
        }
        copies
    }
}

fn receive(
    core: &mut Mediator,
    bytes: &[u8],
    hop: Hop,
    random: &mut Random,
) -> (usize, ringmesh_cluster::pubsub::Cores) {
    let (head, _) = Head::parse(bytes).expect("it was written well");
    let arrival = core.receive(&head, hop, &AllNodes, random);
    let arrival = arrival.expect("it is known");
    let mut copies = 0;
    arrival
        .recipients()
        .for_each(|it| copies += usize::from(black_box(it).subscriber.0 > 0));
    (copies, arrival.cores())
}

fn place(number: u64) -> (u64, u16) {
    (
        1 + number % NODES,
        (number / NODES % u64::from(CORES)) as u16,
    )
}

fn known(criterion: &mut Criterion) {
    let topic = TopicName::new("market.instrument.000001").expect("a topic");
    let mut group = criterion.benchmark_group("pubsub_fanout");
    let mut world = World::new();
    (0..SUBSCRIBERS).for_each(|it| world.subscribe(place(it), topic.as_str(), None));
    world.show();
    assert_eq!(world.publish(topic.topic()) as u64, SUBSCRIBERS);
    group.throughput(Throughput::Elements(SUBSCRIBERS));
    group.bench_function("known", |it| it.iter(|| world.publish(topic.topic())));
    let mut world = World::new();
    (0..SUBSCRIBERS).for_each(|it| world.subscribe(place(it), topic.as_str(), Some("workers")));
    world.show();
    assert_eq!(world.publish(topic.topic()), 1);
    group.throughput(Throughput::Elements(1));
    group.bench_function("groups", |it| it.iter(|| world.publish(topic.topic())));
    group.finish();
}

fn cold(criterion: &mut Criterion) {
    let name = |number: u32| format!("market.instrument.{number:06}");
    let names: Vec<TopicName> = (0..TOPICS)
        .map(|it| TopicName::new(&name(it)).expect("a topic"))
        .collect();
    let mut group = criterion.benchmark_group("pubsub_fanout");
    group.throughput(Throughput::Elements(1));
    for is_wild in [false, true] {
        let mut world = World::new();
        for number in 0..TOPICS {
            world.subscribe((2, (number % 2) as u16), &name(number), None);
            if is_wild {
                let shapes = [
                    "*.b.{}", "a.*.{}", "{}.*", "*.{}", "{}.**", "a.{}.*", "*.*.{}", "*.{}.*",
                ];
                let pattern = shapes[number as usize % 8].replace("{}", &number.to_string());
                world.subscribe((2, (number % 2) as u16), &pattern, None);
            }
        }
        world.show();
        let mut next = 0;
        let name = if is_wild { "cold_wild" } else { "cold" };
        group.bench_function(name, |it| {
            it.iter(|| {
                // A step without a common divisor, so that neighbours do not follow each other.
                next = (next + 7919) % names.len();
                let first = &mut world.cores[0];
                let topic = (names[next].topic(), TYPE);
                let publish = Publish::default();
                let fanout = first.publish(topic, &publish, &AllNodes, &mut world.random);
                fanout.expect("there is room").nodes()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, known, cold);
criterion_main!(benches);
