//! Nodes of several cores in memory, each with its registry: what they say travels for a while, and
//! in the order in which it was said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::{CoreId, NodeId};
use ringmesh_proto::time::Instant;

use super::tracks::Tracks;
use crate::context::Random;
use crate::membership::Status;
use crate::membership::reachability::Reason;
use crate::membership::testing::{View, node, topology, uid};
use crate::pubsub::limits::HEAD_BYTES_MAX;
use crate::pubsub::{
    AllNodes, Announce, AnnouncementId, Announcer, Destination, Head, Hop, InterestSettings,
    Interests, Mediator, Publish, Recipient, Subscribe, Subscribed, Topic, Topics,
};
use crate::registry::{
    Acknowledgement, Extent, Registry, RegistryOutput, RegistrySettings, Snapshot,
};

/// A core of a node.
pub(super) type At = (u64, u16);

#[derive(Clone, Debug)]
enum Event {
    /// Registries speak.
    Body(NodeId, Vec<u8>),
    /// A core announces something.
    Announce(CoreId, Announce),
    /// A core waits until others know, by that number of its own.
    Wait(CoreId, AnnouncementId, u64),
    /// A core is shown who subscribes.
    Show(CoreId, Arc<Topics>, Arc<Snapshot>),
    /// A frame comes from another node.
    Frame(At, CoreId, Vec<u8>),
    /// The same bytes come from another core.
    Slab(CoreId, Vec<u8>),
}

/// The message of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Message {
    pub(super) number: u64,
    pub(super) from: At,
    /// Which core of the receiving node took the frame.
    pub(super) by: u16,
}

/// Something came to a subscription.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) at: At,
    pub(super) to: Recipient,
    pub(super) message: Message,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) registry: Registry,
    announcer: Announcer,
    topics: Arc<Topics>,
    pub(super) cores: Vec<Mediator>,
    /// Which snapshot each core has.
    shown: Vec<u64>,
    /// Who waits for what the registry says, by ticket.
    waiting: BTreeMap<u64, u64>,
    last_ticket: u64,
    answers: Vec<(u64, Acknowledgement)>,
}

/// What became of a publish on the way out.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) frames: BTreeMap<u64, usize>,
    pub(super) is_dead_letter: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) cut: BTreeSet<(u64, u64)>,
    events: BTreeMap<(Instant, u64), (u64, Event)>,
    /// When the last one came that took the same way.
    ways: BTreeMap<(At, At), Instant>,
    sequence: u64,
    pub(super) random: Random,
    /// The longest way of anything, in microseconds.
    pub(super) travel: usize,
    publishes: u64,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) tracks: Tracks,
    /// Frames that were on a way that is cut.
    pub(super) lost: u64,
    pub(super) unknown: u64,
}

impl World {
    /// A world of these nodes of so many cores, who all know each other.
    pub(super) fn new(seed: u64, numbers: &[u64], cores: u16) -> Self {
        let mut world = Self {
            now: Instant::from_nanos(1_000_000_000),
            nodes: BTreeMap::new(),
            cut: BTreeSet::new(),
            events: BTreeMap::new(),
            ways: BTreeMap::new(),
            sequence: 0,
            random: Random::new(seed),
            travel: 500,
            publishes: 0,
            deliveries: Vec::new(),
            tracks: Tracks::default(),
            lost: 0,
            unknown: 0,
        };
        numbers.iter().for_each(|it| world.start(*it, cores));
        world.show_all();
        world.run_for(Duration::from_millis(100));
        world
    }

    pub(super) fn start(&mut self, number: u64, cores: u16) {
        let core = |it| {
            let interests = Interests::new(CoreId(it), InterestSettings::default());
            Mediator::new(uid(number), cores, interests)
        };
        let started = Node {
            registry: Registry::new(RegistrySettings::default(), node(number)),
            announcer: Announcer::default(),
            topics: Arc::new(Topics::new(uid(number))),
            cores: (0..cores).map(core).collect(),
            shown: vec![0; usize::from(cores)],
            waiting: BTreeMap::new(),
            last_ticket: 0,
            answers: Vec::new(),
        };
        self.nodes.insert(number, started);
        self.tracks.forget(number);
    }

    pub(super) fn stop(&mut self, number: u64) {
        self.nodes.remove(&number);
    }

    /// Shows each node who is a member, and whom it reaches.
    pub(super) fn show_all(&mut self) {
        let members: Vec<_> = self.nodes.keys().map(|it| (*it, Status::Up)).collect();
        let numbers: Vec<u64> = self.nodes.keys().copied().collect();
        for number in numbers {
            let mut view = View::of(&members);
            for (from, to) in &self.cut {
                if *from == number && self.nodes.contains_key(to) {
                    view.accuse(number, *to, Reason::Silence);
                }
            }
            let topology = topology(number, &view);
            self.with(number, |node, now, out| {
                node.registry.handle_topology(now, &topology, out);
            });
        }
    }

    pub(super) fn part(&mut self, one: u64, other: u64) {
        self.cut.extend([(one, other), (other, one)]);
    }

    fn with<T>(
        &mut self,
        number: u64,
        call: impl FnOnce(&mut Node, Instant, &mut Vec<RegistryOutput>) -> T,
    ) -> T {
        let mut out = Vec::new();
        let node = self.nodes.get_mut(&number).expect("a node");
        let answer = call(node, self.now, &mut out);
        for output in out {
            match output {
                RegistryOutput::Send { to, body, .. } => {
                    let event = Event::Body(self::node(number), body);
                    self.travel_to((number, 0), (to.uid.as_u64(), 0), event);
                }
                RegistryOutput::Publish(publication) => {
                    let node = self.nodes.get_mut(&number).expect("a node");
                    Arc::make_mut(&mut node.topics).apply(&publication);
                    let topics = Arc::clone(&node.topics);
                    for core in 0..node.cores.len() as u16 {
                        let snapshot = Arc::clone(&publication.snapshot);
                        let event = Event::Show(CoreId(core), Arc::clone(&topics), snapshot);
                        self.travel_to((number, u16::MAX), (number, core), event);
                    }
                }
                RegistryOutput::Acknowledged(it) => {
                    let node = self.nodes.get_mut(&number).expect("a node");
                    let waiter = node.waiting.remove(&it.ticket);
                    node.answers.extend(waiter.map(|waiter| (waiter, it)));
                }
            }
        }
        answer
    }

    /// Nothing overtakes what goes the same way. A way that is cut carries nothing.
    fn travel_to(&mut self, from: At, to: At, event: Event) {
        if self.cut.contains(&(from.0, to.0)) {
            self.lost += u64::from(matches!(event, Event::Frame(..)));
            return;
        }
        let micros = 10 + self.random.below(self.travel) as u64;
        let mut when = self.now + Duration::from_micros(micros);
        if let Some(last) = self.ways.get(&(from, to)) {
            when = when.max(*last);
        }
        self.ways.insert((from, to), when);
        self.sequence += 1;
        self.events.insert((when, self.sequence), (to.0, event));
    }

    pub(super) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
    }

    fn step(&mut self, end: Instant) -> bool {
        let timers = self.nodes.iter();
        let timers = timers.filter_map(|(number, it)| Some((it.registry.poll_timeout()?, *number)));
        let timer = timers.min();
        let event = self.events.first_key_value().map(|((when, _), _)| *when);
        let next = [timer.map(|it| it.0), event].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        if event == Some(next) {
            if let Some((_, (to, event))) = self.events.pop_first()
                && self.nodes.contains_key(&to)
            {
                self.happen(to, event);
            }
        } else if let Some((_, number)) = timer {
            let mut random = Random::new(self.random.next_u64());
            self.with(number, |it, now, out| {
                it.registry.handle_timeout(now, &mut random, out);
            });
        }
        true
    }

    fn happen(&mut self, to: u64, event: Event) {
        match event {
            Event::Body(from, body) => {
                if self.cut.contains(&(from.uid.as_u64(), to)) {
                    return;
                }
                let heard = self.with(to, |it, now, out| {
                    it.registry.handle_message(now, &from, &body, out)
                });
                assert_eq!(heard, Ok(()));
            }
            Event::Announce(core, announce) => {
                let done = self.with(to, |it, now, out| {
                    let registry = &mut it.registry;
                    it.announcer.handle((now, registry), core, announce, out)
                });
                assert_eq!(done, Ok(()));
            }
            Event::Wait(core, id, waiter) => self.with(to, |it, now, out| {
                // It may have ended meanwhile.
                let Some(entry) = it.announcer.entry(core, id) else {
                    return;
                };
                it.last_ticket += 1;
                let asked = (entry, it.last_ticket);
                let extent = Extent::AllReachable;
                let asked = it.registry.acknowledge(now, asked, extent, out);
                assert_eq!(asked, Ok(true));
                it.waiting.insert(it.last_ticket, waiter);
            }),
            Event::Show(core, topics, snapshot) => self.with(to, |it, now, out| {
                it.cores[usize::from(core.0)].handle_topics(topics);
                it.shown[usize::from(core.0)] = snapshot.version();
                if it.shown.iter().all(|shown| *shown >= snapshot.version()) {
                    it.registry.handle_applied(now, &snapshot, out);
                }
            }),
            Event::Frame(from, core, bytes) => {
                if self.cut.contains(&(from.0, to)) {
                    self.lost += 1;
                    return;
                }
                check_publisher(&bytes, from);
                self.receive((to, core.0), Hop::Link, &bytes);
            }
            Event::Slab(core, bytes) => self.receive((to, core.0), Hop::Mesh, &bytes),
        }
    }

    fn receive(&mut self, at: At, hop: Hop, bytes: &[u8]) {
        let (head, message) = Head::parse(bytes).expect("it was written well");
        let head_bytes = &bytes[..bytes.len() - message.len()];
        let message = read(message);
        let mut random = Random::new(self.random.next_u64());
        let node = self.nodes.get_mut(&at.0).expect("a node");
        let core = &mut node.cores[usize::from(at.1)];
        let moment = core.moment();
        let Ok(arrival) = core.receive(&head, hop, &AllNodes, &mut random) else {
            self.unknown += 1;
            return;
        };
        self.tracks
            .arrive((at, moment), (head_bytes, hop), &arrival);
        let delivered = arrival.recipients().map(|to| Delivery { at, to, message });
        self.deliveries.extend(delivered);
        let cores = arrival.cores();
        let mut sent = Vec::new();
        for forward in arrival.forwards() {
            let mut frame = vec![0; HEAD_BYTES_MAX];
            let publisher = uid(message.from.0);
            let written = arrival.write_for(forward, publisher, &mut frame);
            let length = written.expect("room");
            frame.truncate(length);
            sent.push((forward.to, frame));
        }
        for core in cores.iter() {
            let event = Event::Slab(core, bytes.to_vec());
            self.travel_to(at, (at.0, core.0), event);
        }
        for (to, mut frame) in sent {
            let by = match to {
                Destination::Core(core) | Destination::Node(_, core) => core.0,
            };
            frame.extend(write(Message { by, ..message }));
            match to {
                Destination::Core(core) => {
                    self.travel_to(at, (at.0, core.0), Event::Slab(core, frame));
                }
                Destination::Node(uid, core) => {
                    let event = Event::Frame(at, core, frame);
                    self.travel_to(at, (uid.as_u64(), core.0), event);
                }
            }
        }
    }

    /// Publishes from a core.
    pub(super) fn publish(&mut self, at: At, topic: &str, kind: u64, publish: &Publish) -> Sent {
        self.publishes += 1;
        let number = self.publishes;
        let mut random = Random::new(self.random.next_u64());
        let node = self.nodes.get_mut(&at.0).expect("a node");
        let core = &mut node.cores[usize::from(at.1)];
        let moment = core.moment();
        let name = Topic::new(topic).expect("a topic");
        let fanout = core.publish((name, kind), publish, &AllNodes, &mut random);
        let fanout = fanout.expect("there is room");
        self.tracks
            .publish((at, moment), (topic, kind), publish, &fanout);
        let message = Message {
            number,
            from: at,
            by: at.1,
        };
        let mut sent = Sent {
            number,
            frames: BTreeMap::new(),
            is_dead_letter: fanout.is_dead_letter(),
        };
        let delivered = fanout.recipients().map(|to| Delivery { at, to, message });
        self.deliveries.extend(delivered);
        let mut events = Vec::new();
        let mut head = vec![0; HEAD_BYTES_MAX];
        if !fanout.cores().is_empty() {
            let length = fanout.write_for_cores(&mut head).expect("room");
            let bytes = [&head[..length], &write(message)].concat();
            for core in fanout.cores().iter() {
                events.push(((at.0, core.0), Event::Slab(core, bytes.clone())));
            }
        }
        for stop in fanout.stops() {
            let length = fanout.write_for(&stop, &mut head).expect("room");
            let by = stop.core.0;
            let bytes = [&head[..length], &write(Message { by, ..message })].concat();
            let to = stop.node.as_u64();
            *sent.frames.entry(to).or_insert(0) += 1;
            events.push(((to, stop.core.0), Event::Frame(at, stop.core, bytes)));
        }
        for (to, event) in events {
            self.travel_to(at, to, event);
        }
        sent
    }

    fn tell(&mut self, at: At, announces: Vec<Announce>) {
        for announce in announces {
            let event = Event::Announce(CoreId(at.1), announce);
            self.travel_to(at, (at.0, u16::MAX), event);
        }
    }

    pub(super) fn interests(&mut self, at: At) -> &mut Interests {
        let node = self.nodes.get_mut(&at.0).expect("a node");
        node.cores[usize::from(at.1)].interests()
    }

    /// Subscribes on a core, and waits for all who can be reached under that number.
    pub(super) fn subscribe(&mut self, at: At, wanted: &Subscribe, waiter: u64) -> Subscribed {
        let mut out = Vec::new();
        let begun = self.interests(at).subscribe(wanted, &mut out);
        let begun = begun.expect("room");
        self.tell(at, out);
        let wait = Event::Wait(CoreId(at.1), begun.announcement, waiter);
        self.travel_to(at, (at.0, u16::MAX), wait);
        begun
    }

    /// Lets a core do something that it announces.
    pub(super) fn change<T>(
        &mut self,
        at: At,
        change: impl FnOnce(&mut Interests, &mut Vec<Announce>) -> T,
    ) -> T {
        let mut out = Vec::new();
        let answer = change(self.interests(at), &mut out);
        self.tell(at, out);
        answer
    }

    /// The answers that came since the last call, each with the number of who waited.
    pub(super) fn answers(&mut self, number: u64) -> Vec<(u64, Acknowledgement)> {
        std::mem::take(&mut self.nodes.get_mut(&number).expect("a node").answers)
    }
}

/// What a frame is taken to be published by is who published it, whoever sends it.
fn check_publisher(bytes: &[u8], sender: At) {
    let (head, message) = Head::parse(bytes).expect("it was written well");
    let publisher = head.publisher.unwrap_or_else(|| uid(sender.0));
    assert_eq!(publisher, uid(read(message).from.0));
}

fn write(message: Message) -> Vec<u8> {
    let Message { number, from, by } = message;
    let numbers = [number, from.0, u64::from(from.1), u64::from(by)];
    numbers.iter().flat_map(|it| it.to_le_bytes()).collect()
}

fn read(bytes: &[u8]) -> Message {
    let (numbers, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty());
    let numbers: Vec<u64> = numbers.iter().map(|it| u64::from_le_bytes(*it)).collect();
    Message {
        number: numbers[0],
        from: (numbers[1], numbers[2] as u16),
        by: numbers[3] as u16,
    }
}

/// The members that confirmed something.
pub(super) fn confirmed(answer: &Acknowledgement) -> BTreeSet<u64> {
    let nodes = answer.confirmed.iter();
    nodes.map(|it| it.uid.as_u64()).collect()
}
