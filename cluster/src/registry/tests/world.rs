//! Registries in memory: messages travel for a while, and are lost, repeated or late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::NodeId;
use ringmesh_proto::time::Instant;

use crate::context::Random;
use crate::membership::Status;
use crate::membership::reachability::Reason;
use crate::membership::testing::{View, node, topology_in, uid};
use crate::registry::testing::registration;
use crate::registry::{
    Acknowledgement, Difference, EntryId, Listing, Publication, Registry, RegistryOutput,
    RegistrySettings, Snapshot, Standing,
};

/// What a table holds, by number: names and weights.
pub(super) type Content = BTreeMap<EntryId, (String, u32)>;

#[derive(Debug)]
enum Arrival {
    Body(NodeId, Vec<u8>),
    Applied(Arc<Snapshot>),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) registry: Registry,
    pub(super) acknowledged: Vec<Acknowledgement>,
    /// The tables as the differences make them.
    followed: BTreeMap<u64, Content>,
    pub(super) bytes_sent: usize,
    /// Whether its cores apply what they are shown.
    pub(super) applies: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: BTreeMap<u64, Node>,
    pub(super) members: BTreeMap<u64, Status>,
    /// Those that do not live in the data centre `default`.
    pub(super) homes: BTreeMap<u64, &'static str>,
    /// What went from one data centre to another, by whom and to whom.
    pub(super) crossed: BTreeMap<(u64, u64), usize>,
    /// From the first to the second nothing travels, and the second is unreachable to the first.
    pub(super) cut: BTreeSet<(u64, u64)>,
    arrivals: BTreeMap<(Instant, u64), (u64, Arrival)>,
    sequence: u64,
    pub(super) random: Random,
    /// Of a hundred bodies so many are lost, or come twice.
    pub(super) loss: u32,
    pub(super) repeats: u32,
    /// The longest way of a body, in microseconds.
    pub(super) travel: usize,
    /// What each owner's table held at each version.
    history: BTreeMap<(u64, u64), Content>,
}

pub(super) fn content(listing: &Listing) -> Content {
    let entries = listing.entries();
    let entries = entries.map(|it| (it.id, (it.key.name().to_owned(), it.weight)));
    entries.collect()
}

impl World {
    /// A world of these members, who all know each other.
    pub(super) fn new(seed: u64, numbers: &[u64]) -> Self {
        Self::new_in(seed, numbers, &[])
    }

    /// One in which some live in other data centres.
    pub(super) fn new_in(seed: u64, numbers: &[u64], homes: &[(u64, &'static str)]) -> Self {
        let mut world = Self {
            now: Instant::from_nanos(1_000_000_000),
            nodes: BTreeMap::new(),
            members: BTreeMap::new(),
            homes: BTreeMap::new(),
            crossed: BTreeMap::new(),
            cut: BTreeSet::new(),
            arrivals: BTreeMap::new(),
            sequence: 0,
            random: Random::new(seed),
            loss: 0,
            repeats: 0,
            travel: 500,
            history: BTreeMap::new(),
        };
        world.homes.extend(homes.iter().copied());
        numbers.iter().for_each(|it| world.start(*it));
        world.show_all();
        world
    }

    /// Starts a process, which is a member from now on. The others are not shown that yet.
    pub(super) fn start(&mut self, number: u64) {
        let started = Node {
            registry: Registry::new(RegistrySettings::default(), node(number)),
            acknowledged: Vec::new(),
            followed: BTreeMap::new(),
            bytes_sent: 0,
            applies: true,
        };
        self.nodes.insert(number, started);
        self.members.insert(number, Status::Up);
    }

    /// Ends a process. It stays a member until the others are shown that it is none.
    pub(super) fn stop(&mut self, number: u64) {
        self.nodes.remove(&number);
        self.members.remove(&number);
    }

    /// Shows a node who is a member, and whom it reaches.
    pub(super) fn show(&mut self, number: u64) {
        let mut members = self.members.iter().map(|it| (*it.0, *it.1));
        let (first, status) = members.next().expect("a member");
        let mut view = View::founded_in(self.home(first), first, status);
        members.for_each(|(it, status)| view.add_in(self.home(it), it, status));
        for (from, to) in &self.cut {
            let is_said = *from == number || self.home(*from) != self.home(*to);
            let are_members = [from, to].map(|it| self.members.contains_key(it));
            if is_said && are_members == [true; 2] {
                view.accuse(*from, *to, Reason::Silence);
            }
        }
        let topology = topology_in(self.home(number), number, &view);
        self.with(number, |it, now, out| {
            it.handle_topology(now, &topology, out)
        });
    }

    pub(super) fn show_all(&mut self) {
        let numbers: Vec<u64> = self.nodes.keys().copied().collect();
        numbers.into_iter().for_each(|it| self.show(it));
    }

    pub(super) fn home(&self, number: u64) -> &'static str {
        self.homes.get(&number).copied().unwrap_or("default")
    }

    pub(super) fn part(&mut self, one: u64, other: u64) {
        self.cut.extend([(one, other), (other, one)]);
    }

    /// Calls a registry, carries out what it wants done, and looks at what it shows.
    pub(super) fn with<T>(
        &mut self,
        number: u64,
        call: impl FnOnce(&mut Registry, Instant, &mut Vec<RegistryOutput>) -> T,
    ) -> T {
        let mut out = Vec::new();
        let node = self.nodes.get_mut(&number).expect("a node");
        let answer = call(&mut node.registry, self.now, &mut out);
        let own = node.registry.listing(uid(number)).expect("its own");
        let version = (number, own.version().counter);
        self.history.entry(version).or_insert_with(|| content(&own));
        for output in out {
            match output {
                RegistryOutput::Send { to, body, .. } => self.send(number, to.uid.as_u64(), body),
                RegistryOutput::Publish(publication) => self.publish(number, publication),
                RegistryOutput::Acknowledged(it) => {
                    let node = self.nodes.get_mut(&number).expect("a node");
                    node.acknowledged.push(it);
                }
            }
        }
        answer
    }

    fn send(&mut self, from: u64, to: u64, body: Vec<u8>) {
        let sender = self.nodes.get_mut(&from).expect("a node");
        sender.bytes_sent += body.len();
        if self.home(from) != self.home(to) {
            *self.crossed.entry((from, to)).or_default() += 1;
        }
        if self.cut.contains(&(from, to)) || self.random.chance(self.loss) {
            return;
        }
        let times = 1 + u32::from(self.random.chance(self.repeats));
        for _ in 0..times {
            let travels = 100 + self.random.below(self.travel) as u64;
            let arrival = Arrival::Body(node(from), body.clone());
            self.arrive(to, travels, arrival);
        }
    }

    fn arrive(&mut self, to: u64, micros: u64, arrival: Arrival) {
        self.sequence += 1;
        let when = self.now + Duration::from_micros(micros);
        self.arrivals.insert((when, self.sequence), (to, arrival));
    }

    /// A snapshot is later than the one before it, by just the differences, and each table in it is
    /// as its owner had it.
    fn publish(&mut self, number: u64, publication: Publication) {
        let Publication {
            snapshot,
            differences,
        } = publication;
        let node = self.nodes.get_mut(&number).expect("a node");
        for difference in differences {
            follow(&mut node.followed, difference);
        }
        for listing in snapshot.listings() {
            let owner = listing.owner().uid.as_u64();
            let content = content(listing);
            let followed = node.followed.get(&owner).cloned().unwrap_or_default();
            assert_eq!(followed, content, "at {number}, of {owner}");
            let counter = listing.version().counter;
            if let Some(truth) = self.history.get(&(owner, counter)) {
                assert_eq!(*truth, content, "at {number}, of {owner} at {counter}");
            }
            let is_cut = self.cut.contains(&(number, owner));
            let homes = [number, owner].map(|it| self.homes.get(&it));
            let is_cut = is_cut && homes[0] == homes[1];
            if listing.standing() == Standing::Reachable {
                assert!(!is_cut, "{owner} is lost to {number}");
            }
        }
        if node.applies {
            let takes = self.random.below(2_000) as u64;
            self.arrive(number, takes, Arrival::Applied(snapshot));
        }
    }

    pub(super) fn register(&mut self, number: u64, name: &str) -> EntryId {
        let registration = registration(name, false);
        let id = self.with(number, |it, now, out| it.register(now, registration, out));
        id.expect("there is room")
    }

    pub(super) fn deregister(&mut self, number: u64, id: EntryId) -> bool {
        self.with(number, |it, now, out| it.deregister(now, id, out))
    }

    pub(super) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
    }

    /// Does what is due next, not after `end`. Says whether there was anything.
    fn step(&mut self, end: Instant) -> bool {
        let timers = self.nodes.iter();
        let timers = timers.filter_map(|(number, it)| Some((it.registry.poll_timeout()?, *number)));
        let timer = timers.min();
        let arrival = self.arrivals.first_key_value().map(|((when, _), _)| *when);
        let next = [timer.map(|it| it.0), arrival].into_iter().flatten().min();
        let Some(next) = next.filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            if let Some((_, (to, arrival))) = self.arrivals.pop_first() {
                self.deliver(to, arrival);
            }
        } else if let Some((_, number)) = timer {
            let mut random = Random::new(self.random.next_u64());
            self.with(number, |it, now, out| {
                it.handle_timeout(now, &mut random, out)
            });
            let next = self.nodes[&number].registry.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "time stands still");
        }
        true
    }

    fn deliver(&mut self, to: u64, arrival: Arrival) {
        if !self.nodes.contains_key(&to) {
            return;
        }
        match arrival {
            Arrival::Body(from, body) => {
                let heard = self.with(to, |it, now, out| it.handle_message(now, &from, &body, out));
                assert_eq!(heard, Ok(()), "registries speak well");
            }
            Arrival::Applied(snapshot) => {
                self.with(to, |it, now, out| it.handle_applied(now, &snapshot, out));
            }
        }
    }

    /// What a node shows of an owner's table.
    pub(super) fn seen(&self, at: u64, owner: u64) -> Option<(Standing, Content)> {
        let listing = self.nodes[&at].registry.snapshot().listing(uid(owner))?;
        Some((listing.standing(), content(listing)))
    }

    /// The names that a node finds of an owner.
    pub(super) fn found(&self, at: u64, name: &str) -> Vec<u64> {
        let key = registration(name, false).key;
        let snapshot = self.nodes[&at].registry.snapshot();
        let owners = snapshot.find(&key).map(|(owner, _)| owner.uid.as_u64());
        owners.collect()
    }

    /// All copies are as their owners' tables are.
    pub(super) fn assert_equal(&self) {
        for owner in self.nodes.keys() {
            let truth = self.seen(*owner, *owner).expect("its own");
            for at in self.nodes.keys() {
                let copy = self.seen(*at, *owner);
                assert_eq!(copy.as_ref(), Some(&truth), "at {at}, of {owner}");
            }
        }
        for (number, it) in &self.nodes {
            let owners: Vec<u64> = it.followed.keys().copied().collect();
            assert!(owners.iter().all(|it| self.members.contains_key(it)));
            let shown = it.registry.snapshot();
            assert_eq!(shown.listings().len(), self.nodes.len(), "at {number}");
            assert!(shown.is_settled());
        }
    }
}

fn follow(tables: &mut BTreeMap<u64, Content>, difference: Difference) {
    match difference {
        Difference::Entry {
            owner,
            before,
            after,
        } => {
            let table = tables.entry(owner.as_u64()).or_default();
            let described = |it: &crate::registry::Entry| (it.key.name().to_owned(), it.weight);
            if let Some(before) = before {
                let known = table.remove(&before.id);
                assert_eq!(known, Some(described(&before)), "what was there");
            }
            if let Some(after) = after {
                let known = table.insert(after.id, described(&after));
                assert_eq!(known, None, "it was not there");
            }
        }
        Difference::Standing {
            owner,
            standing: None,
        } => {
            tables.remove(&owner.as_u64());
        }
        Difference::Standing { .. } => {}
    }
}
