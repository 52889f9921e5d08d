//! What topics cost: the bytes of a hundred thousand of them on three nodes, and that a publish to
//! one that is known allocates nothing.

use std::alloc::System;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ringmesh_cluster::context::Random;
use ringmesh_cluster::membership::Status;
use ringmesh_cluster::membership::event::Event;
use ringmesh_cluster::membership::member::{Member, Profile, UpNumber};
use ringmesh_cluster::membership::roles::Roles;
use ringmesh_cluster::membership::topology::Topology;
use ringmesh_cluster::membership::version::AppVersion;
use ringmesh_cluster::pubsub::limits::HEAD_BYTES_MAX;
use ringmesh_cluster::pubsub::{
    AllNodes, Announcer, GroupName, Head, Hop, InterestSettings, Interests, Mediator, Pattern,
    Publish, Subscribe, SubscriberId, Topic, Topics,
};
use ringmesh_cluster::registry::{Registry, RegistryOutput, RegistrySettings};
use ringmesh_proto::address::{Address, CoreId, NodeId, Uid};
use ringmesh_proto::time::Instant;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NODES: u16 = 3;
const CORES: u16 = 2;
const TOPICS: u32 = 100_000;

/// What a topic may take on each node, all of its cores counted.
const BYTES_PER_TOPIC: usize = 300;

const TYPE: u64 = 7;

fn node(number: u16) -> NodeId {
    NodeId {
        address: Address::new("demo", "10.0.0.1", number).expect("an address"),
        uid: uid(number),
    }
}

fn uid(number: u16) -> Uid {
    Uid::new(u64::from(number)).expect("not zero")
}

/// What a node that knows all others is shown.
fn topology(own: u16) -> Topology {
    let member = |number| {
        let profile = Profile {
            node: node(number),
            roles: Roles::new([], "default").expect("no roles"),
            app_version: AppVersion::default(),
        };
        let up_number = UpNumber(u32::from(number));
        Member::new(Arc::new(profile), Status::Up, up_number)
    };
    let mut topology = Topology::empty(node(own), "default");
    (1..=NODES).for_each(|it| topology.apply(&Event::Member(member(it))));
    topology
}

struct Node {
    registry: Registry,
    announcer: Announcer,
    topics: Arc<Topics>,
    cores: Vec<Mediator>,
}

struct World {
    now: Instant,
    nodes: Vec<Node>,
    bodies: VecDeque<(u16, NodeId, Vec<u8>)>,
    random: Random,
}

impl World {
    fn new() -> Self {
        let settings = InterestSettings {
            of_subscriber_max: TOPICS,
            bytes_of_subscriber_max: usize::MAX,
            ..InterestSettings::default()
        };
        let start = |number| Node {
            registry: Registry::new(RegistrySettings::default(), node(number)),
            announcer: Announcer::default(),
            topics: Arc::new(Topics::new(uid(number))),
            cores: (0..CORES)
                .map(|it| Interests::new(CoreId(it), settings))
                .map(|it| Mediator::new(uid(number), CORES, it))
                .collect(),
        };
        let mut world = Self {
            now: Instant::ZERO + Duration::from_secs(1),
            nodes: (1..=NODES).map(start).collect(),
            bodies: VecDeque::new(),
            random: Random::new(1),
        };
        for number in 1..=NODES {
            let topology = topology(number);
            world.with(number, |it, now, out| {
                it.registry.handle_topology(now, &topology, out);
            });
        }
        world
    }

    fn with(
        &mut self,
        number: u16,
        call: impl FnOnce(&mut Node, Instant, &mut Vec<RegistryOutput>),
    ) {
        let mut out = Vec::new();
        let it = &mut self.nodes[usize::from(number) - 1];
        call(it, self.now, &mut out);
        for output in out {
            match output {
                RegistryOutput::Send { to, body, .. } => {
                    let to = to.address.port();
                    self.bodies.push_back((to, node(number), body));
                }
                RegistryOutput::Publish(publication) => {
                    Arc::make_mut(&mut it.topics).apply(&publication);
                    for core in &mut it.cores {
                        core.handle_topics(Arc::clone(&it.topics));
                    }
                    let snapshot = publication.snapshot;
                    let mut more = Vec::new();
                    it.registry.handle_applied(self.now, &snapshot, &mut more);
                    assert!(more.is_empty(), "nobody waits");
                }
                _ => {}
            }
        }
    }

    fn subscribe(&mut self, (number, core): (u16, u16), wanted: &Subscribe) {
        self.with(number, |it, now, out| {
            let mut announces = Vec::new();
            let interests = it.cores[usize::from(core)].interests();
            interests.subscribe(wanted, &mut announces).expect("room");
            for announce in announces {
                let registry = &mut it.registry;
                let told = it
                    .announcer
                    .handle((now, registry), CoreId(core), announce, out);
                told.expect("room");
            }
        });
    }

    fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.now = self.now + Duration::from_millis(1);
            while let Some((to, from, body)) = self.bodies.pop_front() {
                self.with(to, |it, now, out| {
                    let heard = it.registry.handle_message(now, &from, &body, out);
                    heard.expect("registries speak well");
                });
            }
            for number in 1..=NODES {
                let mut random = Random::new(self.random.next_u64());
                self.with(number, |it, now, out| {
                    if it.registry.poll_timeout().is_some_and(|due| due <= now) {
                        it.registry.handle_timeout(now, &mut random, out);
                    }
                });
            }
        }
    }
}

fn wanted(pattern: &str, group: Option<&str>, subscriber: u64) -> Subscribe {
    Subscribe {
        pattern: Pattern::new(pattern).expect("a pattern"),
        group: group.map(|it| GroupName::new(it).expect("a group")),
        protocol: TYPE,
        subscriber: SubscriberId(subscriber),
    }
}

fn name(number: u32) -> String {
    let name = format!("market.instrument.{number:06}");
    assert_eq!(name.len(), 24);
    name
}

#[test]
fn a_hundred_thousand_topics_on_three_nodes_take_three_hundred_bytes_each() {
    let mut world = World::new();
    world.run_for(Duration::from_millis(10));
    let region = Region::new(ALLOCATOR);
    for number in 0..TOPICS {
        let at = (1 + (number % 3) as u16, (number / 3 % 2) as u16);
        let subscriber = u64::from(number % 100);
        world.subscribe(at, &wanted(&name(number), None, subscriber));
        if number % 1000 == 0 {
            world.run_for(Duration::from_millis(10));
        }
    }
    world.run_for(Duration::from_secs(5));
    for it in &world.nodes {
        assert_eq!(it.topics.len(), TOPICS as usize);
    }
    let filled = region.change();
    // What each core publishes to is remembered, and that is bounded.
    let mut random = Random::new(1);
    for it in &mut world.nodes {
        for core in &mut it.cores {
            for number in (0..TOPICS).step_by(7) {
                let name = name(number);
                let topic = Topic::new(&name).expect("a topic");
                let sent = core.publish((topic, TYPE), &Publish::default(), &AllNodes, &mut random);
                assert_eq!(sent.expect("room").nodes(), 1);
            }
        }
    }
    let change = region.change();
    let bytes = |it: stats_alloc::Stats| it.bytes_allocated - it.bytes_deallocated;
    let each = |bytes: usize| bytes / usize::from(NODES) / TOPICS as usize;
    let (filled, all) = (each(bytes(filled)), each(bytes(change)));
    println!("{all} bytes per topic and node, {filled} of them without what cores remember");
    assert!(filled > 0 && all <= BYTES_PER_TOPIC, "{all} bytes");
    assert_nothing_is_allocated(&mut world);
}

/// A publish to a topic that is known, to several nodes, cores and groups, and what comes of it
/// there.
fn assert_nothing_is_allocated(world: &mut World) {
    for number in 1..=NODES {
        for core in 0..CORES {
            world.subscribe((number, core), &wanted("a.*", None, 1000));
            world.subscribe((number, core), &wanted("a.b", Some("g"), 1000));
        }
    }
    world.run_for(Duration::from_millis(200));
    let mut random = Random::new(1);
    let mut bytes = vec![0; HEAD_BYTES_MAX];
    let topic = Topic::new("a.b").expect("a topic");
    let mut round = |bytes: &mut [u8]| {
        let publish = Publish::default();
        let (first, others) = world.nodes.split_at_mut(1);
        let core = &mut first[0].cores[0];
        let fanout = core.publish((topic, TYPE), &publish, &AllNodes, &mut random);
        let fanout = fanout.expect("room");
        let mut copies = fanout.recipients().count();
        for (stop, other) in fanout.stops().zip(others) {
            let length = fanout.write_for(&stop, bytes).expect("room");
            let (head, _) = Head::parse(&bytes[..length]).expect("a head");
            let core = &mut other.cores[usize::from(stop.core.0)];
            let arrival = core.receive(&head, Hop::Link, &AllNodes, &mut random);
            copies += arrival.expect("it is known").recipients().count();
        }
        copies
    };
    // Every core has had its turn in the group after these.
    (0..1000).for_each(|_| assert!(round(&mut bytes) >= 3));
    let region = Region::new(ALLOCATOR);
    let copies: usize = (0..1000).map(|_| round(&mut bytes)).sum();
    let change = region.change();
    assert!(copies >= 3000);
    let allocations = change.allocations + change.reallocations;
    assert_eq!(allocations, 0, "in a thousand publishes");
}
