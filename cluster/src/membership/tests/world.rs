//! Several nodes in memory: bodies travel for a while, or are lost where a path is cut.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

use crate::context::{Context, Random};
use crate::control::{Control, ControlSettings};
use crate::effect::{Effect, Outbox, StopReason};
use crate::membership::command::{Command, CommandError};
use crate::membership::event::{Event, Numbered};
use crate::membership::gossip::Gossip;
use crate::membership::machine::{ContactFailure, Identity, Observation};
use crate::membership::member::Profile;
use crate::membership::memory::Memory;
use crate::membership::message::{Message, is_of_membership};
use crate::membership::reachability::{Reason, Record};
use crate::membership::roles::Roles;
use crate::membership::settings::Settings;
use crate::membership::status::Status;
use crate::membership::testing;
use crate::membership::topology::Topology;
use crate::membership::version::AppVersion;
use crate::registry::{Acknowledgement, Snapshot};

/// A node, by the number of its process start. Its port is that number modulo 100.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) control: Control,
    pub(crate) events: Vec<Numbered>,
    /// What whoever follows the events makes of them.
    followed: Topology,
    pub(crate) stopped: Option<StopReason>,
    pub(crate) memory: Option<Memory>,
    /// The number of what was written down last.
    noted: u64,
    pub(crate) quarantined: BTreeSet<Uid>,
    pub(crate) is_paused: bool,
    pub(crate) bytes_sent: u64,
    pub(crate) acknowledged: Vec<Acknowledgement>,
    /// Whether it says at once that its work has ended.
    pub(crate) exits: bool,
}

#[derive(Debug)]
enum Arrival {
    Body(NodeId, Vec<u8>),
    ContactFailed(Address, ContactFailure),
    Identified(Address, Identity),
    Remembered(u64, Memory),
    Applied(Arc<Snapshot>),
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) nodes: BTreeMap<u64, Node>,
    arrivals: BTreeMap<(Instant, u64), (u64, Arrival)>,
    sequence: u64,
    pub(crate) random: Random,
    /// Pairs of ports between which nothing travels, from the first to the second.
    pub(crate) cut: BTreeSet<(u64, u64)>,
    /// Of a hundred bodies so many are lost.
    pub(crate) loss: u32,
    pub(crate) steps: u64,
    /// Bodies sent, and addresses asked who is there.
    pub(crate) bodies: u64,
    pub(crate) identified: usize,
    /// Nodes whose disks take nothing: what they write waits until they do.
    pub(crate) stuck: BTreeSet<u64>,
    /// Nodes that no dial reaches.
    pub(crate) hidden: BTreeSet<u64>,
    /// Whose contacts are turned away by whom, because another process answers at their address.
    pub(crate) turned_away: BTreeSet<(u64, u64)>,
    /// Whether those that are lost are given up in the end. Else tests decide that themselves.
    pub(crate) resolves: bool,
}

pub(crate) fn node_id(number: u64) -> NodeId {
    let address = testing::node(number % 100).address;
    let uid = testing::uid(number);
    NodeId { address, uid }
}

pub(crate) fn at(number: u64) -> Address {
    node_id(number).address
}

pub(crate) fn profile(number: u64, roles: &[&str], data_centre: &str) -> Profile {
    Profile {
        node: node_id(number),
        roles: Roles::new(roles.iter().copied(), data_centre).expect("roles"),
        app_version: AppVersion::default(),
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Instant::from_nanos(1_000_000_000),
            nodes: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            sequence: 0,
            random: Random::new(seed),
            cut: BTreeSet::new(),
            loss: 0,
            steps: 0,
            bodies: 0,
            identified: 0,
            stuck: BTreeSet::new(),
            hidden: BTreeSet::new(),
            turned_away: BTreeSet::new(),
            resolves: false,
        }
    }

    pub(crate) fn start(&mut self, number: u64) {
        self.start_with(Settings::default(), profile(number, &[], "default"), None);
    }

    pub(crate) fn start_with(
        &mut self,
        settings: Settings,
        profile: Profile,
        memory: Option<Memory>,
    ) {
        let uid = profile.node.uid.as_u64();
        let followed = Topology::empty(profile.node.clone(), profile.roles.data_centre());
        let mut settings = ControlSettings::from(settings);
        if !self.resolves {
            settings.resolver.stable_after = Some(Duration::from_secs(1_000_000));
            settings.resolver.fast_stable_after = None;
        }
        let control = Control::new(settings, profile, memory.clone()).expect("settings");
        let node = Node {
            control,
            events: Vec::new(),
            followed,
            stopped: None,
            memory,
            noted: 0,
            quarantined: BTreeSet::new(),
            is_paused: false,
            bytes_sent: 0,
            acknowledged: Vec::new(),
            exits: true,
        };
        self.nodes.insert(uid, node);
    }

    /// Starts these and has them join by the first.
    pub(crate) fn form(&mut self, numbers: &[u64]) {
        let seeds: Vec<Address> = numbers.iter().take(1).map(|it| at(*it)).collect();
        for number in numbers {
            self.start(*number);
            self.join(*number, &seeds);
        }
        self.run_until("all up", 20, |world| world.are_up(numbers));
    }

    pub(crate) fn join(&mut self, number: u64, seeds: &[Address]) {
        let seeds = seeds.to_vec();
        self.command(number, Command::Join { seeds })
            .expect("joins");
    }

    pub(crate) fn command(&mut self, number: u64, command: Command) -> Result<(), CommandError> {
        self.with(number, |control, cx| control.handle_command(cx, command))
    }

    /// Calls a node, and carries out what it wants done.
    pub(crate) fn with<T>(
        &mut self,
        number: u64,
        call: impl FnOnce(&mut Control, &mut Context<'_>) -> T,
    ) -> T {
        self.steps += 1;
        let mut out = Outbox::default();
        let mut cx = Context::new(self.now, self.random.next_u64(), &mut out);
        let node = self.nodes.get_mut(&number).expect("a node");
        let answer = call(&mut node.control, &mut cx);
        while let Some(effect) = out.pop() {
            self.carry_out(number, effect);
        }
        let node = &self.nodes[&number];
        assert!(
            node.followed.is_same_state(node.control.topology()),
            "node {number}: events do not tell all: {:#?} {:#?}",
            node.followed,
            node.control.topology()
        );
        answer
    }

    fn carry_out(&mut self, number: u64, effect: Effect) {
        let node = self.nodes.get_mut(&number).expect("a node");
        assert_eq!(node.stopped, None, "an effect behind the stop: {effect:?}");
        match effect {
            Effect::Send { to, body, .. } => {
                node.bytes_sent += body.len() as u64;
                self.send(number, to.uid.as_u64(), &body);
            }
            Effect::Contact { address, body } => self.contact(number, address, &body),
            Effect::Identify { address } => {
                self.identified += 1;
                let identity = match self.whoever_is_at(number, &address) {
                    Ok(found) => Identity::Found(testing::uid(found)),
                    Err(ContactFailure::Refused) => Identity::Refused,
                    Err(_) => Identity::Silent,
                };
                self.arrive(number, Arrival::Identified(address, identity));
            }
            Effect::Publish(event) => {
                let last = node.events.last().map_or(0, |it| it.number);
                assert_eq!(event.number, last + 1, "numbers have a gap");
                node.followed.apply(&event.event);
                node.events.push(event);
            }
            Effect::Topology(topology) => {
                assert_eq!(
                    topology.events(),
                    node.events.last().map_or(0, |it| it.number)
                );
            }
            Effect::Quarantine { node: banned } => {
                node.quarantined.insert(banned.uid);
            }
            Effect::Remember {
                number: note,
                memory,
            } => {
                self.arrive(number, Arrival::Remembered(note, memory));
            }
            Effect::Forget => node.memory = None,
            // What is cut here loses bodies, and leaves no connection that hangs.
            Effect::Probe { .. } => {}
            Effect::Lease(ask) => panic!("nobody decides by a lease: {ask:?}"),
            Effect::Registry(publication) => {
                let snapshot = publication.snapshot;
                self.arrive(number, Arrival::Applied(snapshot));
            }
            Effect::Acknowledged(answer) => node.acknowledged.push(answer),
            Effect::Stop { why } => node.stopped = Some(why),
        }
    }

    fn send(&mut self, from: u64, to: u64, body: &[u8]) {
        self.bodies += u64::from(is_of_membership(body[0]));
        let is_cut = self.cut.contains(&(from % 100, to % 100));
        if !is_cut && !self.random.chance(self.loss) {
            self.arrive(to, Arrival::Body(node_id(from), body.to_vec()));
        }
    }

    fn contact(&mut self, from: u64, address: Address, body: &[u8]) {
        match self.whoever_is_at(from, &address) {
            Ok(to) if self.turned_away.contains(&(from, to)) => {
                let why = ContactFailure::AddressInUse;
                self.arrive(from, Arrival::ContactFailed(address, why));
            }
            Ok(to) => self.send(from, to, body),
            Err(why) => self.arrive(from, Arrival::ContactFailed(address, why)),
        }
    }

    fn whoever_is_at(&self, from: u64, address: &Address) -> Result<u64, ContactFailure> {
        let port = u64::from(address.port());
        if self.cut.contains(&(from % 100, port)) || self.cut.contains(&(port, from % 100)) {
            return Err(ContactFailure::Silent);
        }
        let here = self
            .nodes
            .iter()
            .filter(|(number, _)| **number % 100 == port);
        let running = here.filter(|(_, it)| it.stopped.is_none());
        let running = running.filter(|(number, _)| !self.hidden.contains(number));
        let last = running.map(|(number, _)| *number).next_back();
        last.ok_or(ContactFailure::Refused)
    }

    fn arrive(&mut self, to: u64, arrival: Arrival) {
        let travels = Duration::from_micros(200 + self.random.below(2_000) as u64);
        self.sequence += 1;
        let when = (self.now + travels, self.sequence);
        self.arrivals.insert(when, (to, arrival));
    }

    /// A node says that it cannot reach another.
    pub(crate) fn accuse(&mut self, observer: u64, subject: u64, reason: Reason) {
        let witnesses = Vec::new();
        let record = Record { reason, witnesses };
        self.observe(observer, subject, Observation::Unreachable(record));
    }

    /// A node says that it reaches another again.
    pub(crate) fn clear(&mut self, observer: u64, subject: u64) {
        self.observe(observer, subject, Observation::Reachable);
    }

    pub(crate) fn observe(&mut self, observer: u64, subject: u64, observation: Observation) {
        let subject = testing::uid(subject);
        self.with(observer, |control, cx| {
            control.membership_mut().observe(cx, subject, observation);
        });
    }

    /// A node has another one send it a body.
    pub(crate) fn hear(&mut self, at: u64, from: u64, message: &Message) {
        let (from, to) = (node_id(from), testing::uid(at));
        let body = message.encode(Some(to), self.now);
        self.with(at, |control, cx| control.handle_message(cx, &from, &body));
    }

    /// Nodes whose process runs.
    pub(crate) fn running(&self) -> Vec<u64> {
        let running = self.nodes.iter().filter(|(_, it)| it.stopped.is_none());
        running.map(|(number, _)| *number).collect()
    }

    /// Those of them that are members.
    pub(crate) fn active(&self) -> Vec<u64> {
        let is_active = |number: &u64| {
            let membership = self.nodes[number].control.membership();
            membership.gossip().is_some()
        };
        self.running().into_iter().filter(is_active).collect()
    }

    /// The view of a node.
    pub(crate) fn view(&self, number: u64) -> &Gossip {
        let membership = self.nodes[&number].control.membership();
        membership.gossip().expect("a member")
    }

    /// Ends a process without a word.
    pub(crate) fn kill(&mut self, number: u64) {
        self.nodes.remove(&number);
    }

    /// No dial reaches a node from here on, but what it sends arrives.
    pub(crate) fn hide(&mut self, number: u64) {
        self.hidden.insert(number);
    }

    /// Cuts all paths between two groups of ports, both ways.
    pub(crate) fn part(&mut self, one: &[u64], other: &[u64]) {
        for a in one {
            for b in other {
                self.cut.extend([(*a, *b), (*b, *a)]);
            }
        }
    }

    /// Runs until `is_done`, for as many seconds at most.
    pub(crate) fn run_until(&mut self, what: &str, seconds: u64, is_done: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_secs(seconds);
        while !is_done(self) {
            assert!(
                self.step(end),
                "not {what} after {seconds} s: {}",
                self.describe()
            );
        }
    }

    pub(crate) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
    }

    /// Does what is due next, not after `end`. Says whether there was anything.
    fn step(&mut self, end: Instant) -> bool {
        let running = self
            .nodes
            .iter()
            .filter(|(_, it)| it.stopped.is_none() && !it.is_paused);
        let timers = running.filter_map(|(number, it)| Some((it.control.poll_timeout()?, *number)));
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
            self.with(number, Control::handle_timeout);
            let (now, next) = (self.now, self.nodes[&number].control.poll_timeout());
            assert!(
                next.is_none_or(|next| next > now),
                "node {number} does not let time pass"
            );
        }
        self.attend();
        true
    }

    fn deliver(&mut self, to: u64, arrival: Arrival) {
        let Some(node) = self.nodes.get(&to).filter(|it| it.stopped.is_none()) else {
            return;
        };
        let waits = matches!(arrival, Arrival::Remembered(..)) && self.stuck.contains(&to);
        if node.is_paused || waits {
            let again = (self.now + Duration::from_millis(50), self.sequence);
            self.sequence += 1;
            self.arrivals.insert(again, (to, arrival));
            return;
        }
        match arrival {
            Arrival::Body(from, _) if node.quarantined.contains(&from.uid) => {
                let by = node_id(to);
                let number = from.uid.as_u64();
                if self
                    .nodes
                    .get(&number)
                    .is_some_and(|it| it.stopped.is_none())
                {
                    self.with(number, |control, cx| control.handle_quarantined(cx, &by));
                }
            }
            Arrival::Body(from, body) => {
                self.with(to, |control, cx| control.handle_message(cx, &from, &body));
            }
            Arrival::ContactFailed(address, why) => {
                self.with(to, |control, cx| {
                    control.handle_contact_failed(cx, &address, why)
                });
            }
            Arrival::Identified(address, identity) => {
                self.with(to, |control, cx| {
                    control.handle_identified(cx, &address, identity)
                });
            }
            Arrival::Applied(snapshot) => {
                self.with(to, |control, cx| {
                    control.with_registry(cx, |it, now, out| it.handle_applied(now, &snapshot, out))
                });
            }
            Arrival::Remembered(number, memory) => {
                let node = self.nodes.get_mut(&to).expect("a node");
                if number > node.noted {
                    (node.noted, node.memory) = (number, Some(memory));
                }
                self.with(to, |control, cx| control.handle_remembered(cx, number));
            }
        }
    }

    /// Nodes that are exiting say that their work has ended.
    fn attend(&mut self) {
        let exits = |node: &Node| {
            let status = node.control.topology().own_status();
            status == Some(Status::Exiting) && node.exits && node.stopped.is_none()
        };
        let exiting = self.nodes.iter().filter(|(_, it)| exits(it));
        let exiting: VecDeque<u64> = exiting.map(|(number, _)| *number).collect();
        for number in exiting {
            self.nodes.get_mut(&number).expect("a node").exits = false;
            self.command(number, Command::Exited).expect("exits");
        }
    }

    pub(crate) fn status(&self, of: u64, at: u64) -> Option<Status> {
        let node = self.nodes.get(&at).filter(|it| it.stopped.is_none())?;
        let member = node.control.topology().member(testing::uid(of));
        member.map(|it| it.status())
    }

    /// Whether each of these sees all of them as up, and nobody else.
    pub(crate) fn are_up(&self, numbers: &[u64]) -> bool {
        numbers.iter().all(|at| {
            let topology = self.nodes[at].control.topology();
            topology.members().len() == numbers.len()
                && numbers
                    .iter()
                    .all(|of| self.status(*of, *at) == Some(Status::Up))
        })
    }

    pub(crate) fn events<'a>(&'a self, number: u64) -> impl Iterator<Item = &'a Event> + 'a {
        self.nodes[&number].events.iter().map(|it| &it.event)
    }

    pub(crate) fn labels(&self, number: u64) -> Vec<&'static str> {
        self.events(number).map(Event::label).collect()
    }

    pub(crate) fn describe(&self) -> String {
        let describe = |(number, node): (&u64, &Node)| {
            let members = node.control.topology().members().iter();
            let members = members.map(|it| (it.uid().as_u64(), it.status().label()));
            let members: Vec<(u64, &str)> = members.collect();
            let why = node.control.membership().why_not_converged();
            let why = why.map(|it| it.to_string());
            let stopped = &node.stopped;
            format!("\n{number}: {members:?} {why:?} stopped {stopped:?}")
        };
        self.nodes.iter().map(describe).collect()
    }
}
