//! The machines of a cluster, as the engine runs them, on every node of a world.

mod addresses;
mod agreement;
mod announcer;
mod contacts;
mod converged;
mod copies;
mod courses;
mod data_centres;
mod disk;
mod downed;
mod downing;
mod exclusive;
mod expelled;
mod follower;
mod leaders;
mod leaver;
mod listings;
mod numbers;
mod pubsub;
mod quiet;
mod rows;
mod seen;
mod severed;
mod silence;
mod tables;
mod turns;
mod views;
mod worker;
mod writing;
mod written;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ringmesh_cluster::context::Context as ClusterContext;
use ringmesh_cluster::control::{Control, ControlSettings};
use ringmesh_cluster::effect::{Effect, Outbox};
use ringmesh_cluster::evidence::Evidence;
use ringmesh_cluster::lease::{self, LeaseName, Token};
use ringmesh_cluster::membership::command::Command;
use ringmesh_cluster::membership::event::{Event, Numbered};
use ringmesh_cluster::membership::roles::DATA_CENTRE_DEFAULT;
use ringmesh_cluster::membership::{AppVersion, Member, Profile, Roles, Settings, Status};
use ringmesh_cluster::resolver::{Strategy, Verdict, Why};
use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::time::Instant;

pub use self::addresses::Addresses;
pub use self::agreement::Agreement;
use self::announcer::Announcer;
pub use self::converged::Converged;
pub use self::copies::Copies;
pub use self::courses::Courses;
pub use self::data_centres::DataCentres;
use self::disk::Disk;
pub use self::disk::Disks;
pub use self::downed::Downed;
pub use self::downing::{Downing, KeepYourself};
pub use self::exclusive::Exclusive;
pub use self::expelled::Expelled;
pub use self::follower::Follower;
pub use self::leaders::Leaders;
pub use self::leaver::Leaver;
pub use self::listings::Listings;
pub use self::numbers::Numbers;
pub use self::pubsub::{Accounted, Answered, Frames, Groups, Once, Paths, Reached, Waited};
use self::pubsub::{Room, Shared};
pub use self::quiet::Quiet;
pub use self::rows::Rows;
pub use self::seen::Seen;
pub use self::severed::Severed;
pub use self::silence::Silence;
pub use self::tables::Tables;
use self::worker::Worker;
use self::writing::Before;
pub use self::writing::{Move, Standing, Told, Writing};
pub use self::written::Written;
use crate::canary::Canary;
use crate::invariant::Invariant;
use crate::machine::{Act, Context, LinkNews, Machine};
use crate::outcome::{Fate, Outcome};
use crate::run::Subject;
use crate::swarm::Plan;
use crate::world::{Birth, Maker, World};

/// One node's part in a cluster.
#[derive(Debug)]
pub struct Participant {
    control: Control,
    seeds: Vec<Address>,
    /// When it asks to join, until it did.
    begins: Option<Instant>,
    /// Who is at the other end of each link that has a connection, or rests.
    links: BTreeMap<Address, Uid>,
    /// What became of the connections with each address.
    evidence: BTreeMap<Address, Evidence>,
    /// Addresses at which somebody is being looked for, and the latest word for whoever is there.
    contacts: BTreeMap<Address, Arc<[u8]>>,
    /// What is to be carried out, and whether that is going on: what follows from one thing comes
    /// behind what the machines wanted before.
    effects: VecDeque<Effect>,
    is_busy: bool,
    disk: Disk,
    /// If it works under a lease.
    worker: Option<Worker>,
    /// If its users announce things.
    users: Option<Announcer>,
    /// If its cores publish and subscribe.
    pubsub: Option<Box<Room>>,
    /// What the machines are about to be told.
    told: Told,
    /// What it wrote into its view by itself, for those who judge that.
    writings: Vec<Writing>,
    /// It hears nothing, for tests.
    #[cfg(test)]
    is_deaf: bool,
}

type Cx<'a> = Context<'a, Numbered>;

impl Participant {
    /// The part of a process that begins, whose seeds are the first nodes of its world.
    ///
    /// # Panics
    /// If the settings cannot be.
    pub fn new(birth: &Birth<'_>, settings: ControlSettings, seeds: usize, disks: Disks) -> Self {
        Self::within(DATA_CENTRE_DEFAULT, birth, settings, (seeds, disks))
    }

    /// The same within a data centre.
    ///
    /// # Panics
    /// If the settings cannot be, or the name.
    pub fn within(
        data_centre: &str,
        birth: &Birth<'_>,
        settings: ControlSettings,
        (seeds, disks): (usize, Disks),
    ) -> Self {
        let own = Profile {
            node: birth.id.clone(),
            roles: Roles::new([], data_centre).expect("a word"),
            app_version: AppVersion::default(),
        };
        let memory = disks.borrow().get(&birth.node).cloned();
        let addresses = birth.addresses.iter().take(seeds).cloned();
        Self {
            control: Control::new(settings, own, memory).expect("settings that can be"),
            seeds: addresses.collect(),
            begins: Some(birth.now),
            links: BTreeMap::new(),
            evidence: BTreeMap::new(),
            contacts: BTreeMap::new(),
            effects: VecDeque::new(),
            is_busy: false,
            disk: Disk::new(birth.node, disks),
            worker: None,
            users: None,
            pubsub: None,
            told: Told::Nothing,
            writings: Vec::new(),
            #[cfg(test)]
            is_deaf: false,
        }
    }

    /// Another strategy decides which side of a split cluster goes on.
    #[must_use]
    pub fn with_strategy(mut self, strategy: Box<dyn Strategy>) -> Self {
        self.control = self.control.with_strategy(strategy);
        self
    }

    /// It joins only when it was told the version of its program.
    #[must_use]
    pub fn with_version_later(mut self) -> Self {
        self.control = self.control.with_version_later();
        self
    }

    /// It works under a lease, besides.
    #[must_use]
    pub fn with_work(mut self, birth: &Birth<'_>) -> Self {
        self.worker = Some(Worker::new(birth.id, birth.now));
        self
    }

    /// Its users announce things, and take them back.
    #[must_use]
    pub fn with_users(mut self, birth: &Birth<'_>) -> Self {
        self.users = Some(Announcer::new(birth.now));
        self
    }

    /// Its cores publish and subscribe, and write down what comes of it.
    #[must_use]
    fn with_pubsub(mut self, birth: &Birth<'_>, journal: Shared, canary: Option<Canary>) -> Self {
        self.pubsub = Some(Box::new(Room::new(birth, journal, canary)));
        self
    }

    /// By which token it holds a lease at that time, by its clock.
    pub fn holds(&self, now: Instant, name: &LeaseName) -> Option<Token> {
        let worker = self.worker.as_ref().filter(|_| *name == worker::work());
        match worker {
            Some(worker) => worker.token(now),
            None => {
                let own = downing::lease(self.control.topology().data_centre());
                self.control.holds_lease(now).filter(|_| *name == own)
            }
        }
    }

    /// The machines.
    pub fn control(&self) -> &Control {
        &self.control
    }

    fn pubsub(&self) -> Option<&Room> {
        self.pubsub.as_deref()
    }

    /// What it wrote into its view by itself, from its start on.
    pub fn writings(&self) -> &[Writing] {
        &self.writings
    }

    /// Calls the machines, and carries out what they want, and what follows from that.
    fn call(&mut self, cx: &mut Cx<'_>, call: impl FnOnce(&mut Control, &mut ClusterContext<'_>)) {
        let mut out = Outbox::default();
        let seed = cx.random.number();
        let mut inner = ClusterContext::new(cx.now, seed, &mut out);
        let mut before = Before::of(&self.control, std::mem::take(&mut self.told));
        call(&mut self.control, &mut inner);
        while let Some(effect) = out.pop() {
            before.note(&effect);
            self.effects.push_back(effect);
        }
        self.writings.extend(before.writing(&self.control, cx.now));
        if self.is_busy {
            return;
        }
        self.is_busy = true;
        while let Some(effect) = self.effects.pop_front() {
            self.carry_out(cx, effect);
        }
        self.is_busy = false;
    }

    fn carry_out(&mut self, cx: &mut Cx<'_>, effect: Effect) {
        match effect {
            Effect::Send { to, class, body } => cx.out.push(Act::Post { to, class, body }),
            Effect::Contact { address, body } => match self.links.get(&address) {
                Some(_) => cx.out.send(address, body.to_vec()),
                None => self.look_for(cx, address, body),
            },
            Effect::Identify { address } => {
                let member = self.control.topology().member_at(&address);
                let member = member.map(Member::uid);
                cx.out.push(Act::Identify(address, member));
            }
            Effect::Publish(event) => {
                let own = self.control.topology().own();
                let leaves = matches!(
                    &event.event,
                    Event::Member(it) if it.node() == own && it.status() == Status::Exiting
                );
                cx.out.push(Act::Publish(event));
                if leaves {
                    // Its users have nothing left to do.
                    self.command(cx, Command::Exited);
                }
            }
            Effect::Topology(topology) => {
                let own = topology.own_status();
                if own.is_some_and(|it| it >= Status::Leaving)
                    && let Some(room) = &mut self.pubsub
                {
                    room.depart();
                }
                let members = topology.members().iter().map(Member::uid);
                cx.out.push(Act::ForgetPosts(members.collect()));
                cx.out.push(Act::Topology(topology.version()));
            }
            Effect::Quarantine { node } => {
                let uid = node.uid;
                cx.out.push(Act::Quarantine(node));
                self.call(cx, |control, inner| control.handle_parted(inner, uid));
            }
            Effect::Remember { number, memory } => {
                self.disk.write(cx.now, cx.random, Some((number, memory)));
            }
            Effect::Forget => self.disk.write(cx.now, cx.random, None),
            Effect::Probe { node } => cx.out.push(Act::Probe(node)),
            Effect::Registry(publication) => match &mut self.pubsub {
                Some(room) => room.publish_registry(&publication, cx.out),
                None => self.applied(cx, &publication.snapshot),
            },
            Effect::Acknowledged(it) => {
                if let Some(room) = &mut self.pubsub {
                    room.handle_acknowledged(&it);
                }
            }
            Effect::Lease(ask) => cx.out.push(Act::Lease(ask)),
            Effect::Stop { .. } => {
                if let Some(room) = &mut self.pubsub {
                    room.depart();
                }
                cx.out.push(Act::Stop);
            }
        }
    }

    fn command(&mut self, cx: &mut Cx<'_>, command: Command) {
        if let Command::Down { address } = &command {
            self.told = Told::Down(address.clone());
        }
        // What cannot be done is not: who asks at random asks for that too.
        self.call(cx, |control, inner| {
            drop(control.handle_command(inner, command))
        });
    }
}

impl Machine for Participant {
    type Command = Command;
    type Event = Numbered;

    fn handle_message(&mut self, cx: &mut Cx<'_>, from: &NodeId, body: &[u8]) {
        #[cfg(test)]
        if self.is_deaf {
            return;
        }
        if let Some(room) = &mut self.pubsub
            && room.receive(from.uid, body, cx.out)
        {
            return;
        }
        self.told = Told::Message(body.to_vec());
        self.call(cx, |control, inner| {
            control.handle_message(inner, from, body)
        });
    }

    fn handle_link(&mut self, cx: &mut Cx<'_>, news: &LinkNews) {
        #[cfg(test)]
        if self.is_deaf {
            return;
        }
        match news {
            LinkNews::Up(peer) | LinkNews::Resumed(peer) => self.found(cx, peer),
            LinkNews::Rested(peer) => self.parted(cx, peer, CloseReason::Rested),
            LinkNews::Lost { peer, reason } => {
                self.links.remove(&peer.address);
                self.parted(cx, peer, *reason);
            }
            LinkNews::Down { peer, reason } => {
                if self.links.remove(&peer.address).is_some() {
                    self.parted(cx, peer, *reason);
                }
                if *reason == CloseReason::Restarted {
                    let uid = peer.uid;
                    self.call(cx, |control, inner| control.handle_restarted(inner, uid));
                }
            }
            LinkNews::Identified { address, identity } => self.identified(cx, address, *identity),
            LinkNews::DialFailed { address, reason } => self.not_found(cx, address, *reason),
            LinkNews::QuarantinedBy(peer) => {
                self.call(cx, |control, inner| control.handle_quarantined(inner, peer));
            }
            LinkNews::Restarted { old, .. } => {
                self.call(cx, |control, inner| control.handle_restarted(inner, *old));
            }
        }
    }

    fn handle_lease(
        &mut self,
        cx: &mut Cx<'_>,
        name: &LeaseName,
        number: u64,
        answer: lease::Answer,
    ) {
        let worker = self.worker.as_mut().filter(|_| *name == worker::work());
        if let Some(worker) = worker {
            let asks = worker.handle_answer(cx.now, number, answer);
            asks.into_iter()
                .for_each(|ask| cx.out.push(Act::Lease(ask)));
        } else {
            self.call(cx, |it, inner| it.handle_lease(inner, number, answer));
        }
    }

    fn handle_command(&mut self, cx: &mut Cx<'_>, command: &Command) {
        self.command(cx, command.clone());
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if let Some(worker) = self
            .worker
            .as_mut()
            .filter(|it| it.poll_timeout() <= cx.now)
        {
            let asks = worker.handle_timeout(cx.now, cx.random);
            asks.into_iter()
                .for_each(|ask| cx.out.push(Act::Lease(ask)));
        }
        if let Some(room) = &mut self.pubsub {
            room.handle_timeout(cx.now, cx.out);
        }
        if let Some(mut users) = self.users.take_if(|it| it.is_due(cx.now)) {
            let number = cx.random.number();
            users.wait(cx.now, cx.random);
            self.call(cx, |control, inner| users.act(number, control, inner));
            self.users = Some(users);
        }
        if self.begins.take().is_some() {
            let seeds = self.seeds.clone();
            return self.command(cx, Command::Join { seeds });
        }
        if let Some(number) = self.disk.take_written(cx.now, cx.random) {
            self.call(cx, |control, inner| {
                control.handle_remembered(inner, number);
            });
        }
        self.call(cx, |control, inner| control.handle_timeout(inner));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let work = self.worker.as_ref().map(Worker::poll_timeout);
        let users = self.users.as_ref().and_then(Announcer::poll_timeout);
        let due = [
            self.control.poll_timeout(),
            self.disk.poll_timeout(),
            work,
            users,
            self.pubsub.as_ref().and_then(|it| it.poll_timeout()),
        ];
        self.begins.or_else(|| due.into_iter().flatten().min())
    }

    fn handle_turn(&mut self, cx: &mut Cx<'_>, core: usize) {
        self.turn(cx, core);
    }

    fn wants_turn(&self, core: usize) -> bool {
        let room = self.pubsub.as_ref();
        room.is_some_and(|it| it.wants_turn(core))
    }

    fn outcome(event: &Numbered) -> Option<Outcome> {
        let Event::Decision(decision) = &event.event else {
            return None;
        };
        let fate = match decision.verdict {
            Verdict::Stay => Fate::Kept,
            // With a lease as well, if rarely: where things keep changing, and neither is the
            // lease to be had for as long as it is asked for twice.
            _ if decision.why == Why::Unstable => Fate::DownAll,
            _ if decision.strategy == Downing::DownAll.name() => Fate::DownAll,
            _ => Fate::DownedSelf,
        };
        let strategy = decision.strategy;
        Some(Outcome { strategy, fate })
    }
}

/// Members of a cluster, put through random courses of events.
#[derive(Clone, Debug)]
pub struct Members {
    /// The settings of every node.
    pub settings: ControlSettings,
    /// What decides which side goes on; each seed draws it, if nothing is said.
    pub downing: Option<Downing>,
}

impl Default for Members {
    /// They remember each other over restarts: whoever does not may found a second cluster when all
    /// seeds were gone at a time.
    fn default() -> Self {
        let membership = Settings {
            remembers: true,
            ..Settings::default()
        };
        Self {
            settings: membership.into(),
            downing: None,
        }
    }
}

/// How many nodes of a world are seeds.
const SEEDS: usize = 3;

impl Members {
    /// What decides in the world of a plan which side goes on.
    fn downing(&self, plan: &Plan) -> Downing {
        let settings = &plan.settings;
        let drawn = || Downing::drawn(settings.seed, plan.data_centre_nodes());
        match settings.canary {
            Some(Canary::KeepYourself) => Downing::KeepYourself,
            _ => self.downing.unwrap_or_else(drawn),
        }
    }

    /// What members have to keep, whatever befalls them, if this decides which side goes on.
    pub fn held_to(downing: Downing) -> Vec<Box<dyn Invariant<Participant>>> {
        let mut all: Vec<Box<dyn Invariant<Participant>>> = vec![
            Box::new(Written::default()),
            Box::new(Downed::by(downing)),
            Box::new(Expelled::default()),
            Box::new(Leaver::default()),
            Box::new(Quiet::default()),
            Box::new(Courses::default()),
            Box::new(Follower::default()),
            Box::new(Silence::default()),
            Box::new(DataCentres::default()),
            Box::new(Seen),
            Box::new(Converged),
            Box::new(Leaders),
            Box::new(Numbers),
            Box::new(Addresses),
            Box::new(Rows),
            Box::new(Agreement),
            Box::new(Copies::default()),
            Box::new(Listings),
            Box::new(Tables::default()),
            Box::new(Frames::default()),
            Box::new(Groups::default()),
            Box::new(Once::default()),
            Box::new(Reached::default()),
            Box::new(Accounted::default()),
            Box::new(Answered::default()),
            Box::new(Paths::default()),
            Box::new(Waited::default()),
        ];
        // Who goes down without a vote may have given up others before.
        if downing != Downing::DownAll {
            all.push(Box::new(Severed::default()));
        }
        all.extend(Exclusive::by(downing));
        all
    }
}

impl Subject for Members {
    type Machine = Participant;

    fn maker(&self, plan: &Plan) -> Maker<Participant> {
        let (settings, disks) = (self.settings.clone(), Disks::default());
        let downing = self.downing(plan);
        let places = plan.data_centres.clone();
        let (journal, canary) = (Shared::default(), plan.settings.canary);
        Box::new(move |birth| {
            let name = data_centres::NAMES[places[birth.node]];
            let beginning = (SEEDS, disks.clone());
            let made = Participant::within(name, birth, settings.clone(), beginning);
            let made = made.with_strategy(downing.strategy(name)).with_users(birth);
            let made = made.with_pubsub(birth, Shared::clone(&journal), canary);
            match downing {
                Downing::LeaseMajority => made.with_work(birth),
                _ => made,
            }
        })
    }

    fn invariants(&self, plan: &Plan) -> Vec<Box<dyn Invariant<Participant>>> {
        Self::held_to(self.downing(plan))
    }

    fn leave(&self) -> Option<Command> {
        Some(Command::Leave { address: None })
    }

    fn strategy(&self, plan: &Plan) -> Option<&'static str> {
        Some(self.downing(plan).name())
    }

    fn exercises(&self, world: &World<Participant>) -> Vec<(&'static str, u64)> {
        let mut rooms = world.running().filter_map(|it| world.machine(it)?.pubsub());
        let journal = rooms.next().map(Room::journal);
        journal.map_or_else(Vec::new, |it| it.borrow().exercised())
    }
}

#[cfg(test)]
mod tests;
