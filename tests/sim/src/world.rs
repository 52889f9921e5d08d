//! A world: nodes, the network between them, a script, and what has to hold.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

use crate::agenda::{Agenda, Event};
use crate::canary::Canary;
use crate::clock::Clock;
use crate::driver::{Driver, FEATURES, Manner};
use crate::fault::{FaultId, Faults};
use crate::happening::HalfId;
use crate::invariant::{Checks, Invariant, Registry, Violation};
use crate::machine::Machine;
use crate::misfortune::Fault;
use crate::network::{Network, Weather};
use crate::node::{Node, Shared};
use crate::outcome::Outcomes;
use crate::random::Random;
use crate::script::{Script, Step};
use crate::store::{Fall, Outage, Store, Troubles};
use crate::trace::{Trace, What};

/// Steps that may be taken without time passing.
const STANDING_STEPS_MAX: u32 = 10_000;

/// How often everything is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The port of every node.
const PORT: u16 = 7000;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What its random numbers come from.
    pub seed: u64,
    /// The cores of each node.
    pub cores: Vec<u16>,
    /// How the network behaves when nothing is wrong with it.
    pub weather: Weather,
    /// How long a link lies idle before it rests.
    pub idle: Duration,
    /// What is wrong with the way to the store that gives leases.
    pub store: Troubles,
    /// What the simulator itself does wrong, on purpose.
    pub canary: Option<Canary>,
}

impl Settings {
    /// Nodes of one core each, and a network of the best.
    pub fn new(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            cores: vec![1; nodes],
            weather: Weather::default(),
            idle: Duration::from_secs(10),
            store: Troubles::default(),
            canary: None,
        }
    }
}

/// What a machine is made for: a process that begins.
#[derive(Debug)]
pub struct Birth<'a> {
    /// The place of its node.
    pub node: usize,
    /// The process start.
    pub id: &'a NodeId,
    /// How many cores it has.
    pub cores: u16,
    /// The time, by the clock of the node.
    pub now: Instant,
    /// The addresses of all nodes, by their places.
    pub addresses: &'a [Address],
    /// How many processes began there before.
    pub former: u64,
}

/// Makes the machine of a process.
pub type Maker<M> = Box<dyn Fn(&Birth<'_>) -> M>;

/// A world of nodes that run a [`Machine`] each. One seed, one script: one course of events.
pub struct World<M: Machine> {
    pub(crate) shared: Shared,
    pub(crate) nodes: Vec<Node<M>>,
    /// The faults that are not over, and when each began.
    pub(crate) active: BTreeMap<FaultId, (Fault, Instant)>,
    /// Those that are, and when they ended.
    pub(crate) past: Vec<(Fault, Instant)>,
    /// The paths over which nothing passed for a while, and for how long, where that took effect.
    pub(crate) cuts: Vec<(Vec<(usize, usize)>, Duration)>,
    addresses: Vec<Address>,
    settings: Settings,
    maker: Maker<M>,
    script: Vec<Option<Step<M>>>,
    registry: Option<Registry<M>>,
    pub(crate) published: Vec<(usize, M::Event)>,
    violation: Option<Violation>,
    outcomes: Outcomes,
    standing: (Instant, u32),
    /// When each fault that lasts is over.
    endings: BTreeMap<(Instant, FaultId), ()>,
}

impl<M: Machine> World<M> {
    /// A world in which nothing runs yet.
    ///
    /// # Panics
    /// If it has no nodes, or more than addresses.
    pub fn new(
        settings: Settings,
        trace: Trace,
        maker: impl Fn(&Birth<'_>) -> M + 'static,
    ) -> Self {
        let count = settings.cores.len();
        assert!((1..1 << 16).contains(&count), "a world has nodes");
        let address = |node| {
            let host = Network::ip(node).to_string();
            Address::new("sim", &host, PORT).expect("an address of digits and dots")
        };
        let addresses: Vec<Address> = (0..count).map(address).collect();
        let random = |purpose| Random::split(settings.seed, purpose, 0);
        let network = Network::new(&addresses, settings.weather, random("network"));
        let mut boots = random("boot");
        let nodes = addresses.iter().enumerate().map(|(index, address)| {
            let uptime = boots.span(Duration::ZERO, Duration::from_secs(1_000_000));
            let clock = Clock::new(Instant::ZERO, Instant::ZERO + uptime);
            Node::new(index, address.clone(), clock)
        });
        let nodes = nodes.collect();
        let mut agenda = Agenda::new(trace);
        agenda.after(LOOK_EVERY, Event::Look);
        Self {
            shared: Shared {
                agenda,
                network,
                happenings: Vec::new(),
                halves: 0,
                store: Store::new(settings.seed, settings.store.clone()),
            },
            nodes,
            active: BTreeMap::new(),
            past: Vec::new(),
            cuts: Vec::new(),
            addresses,
            settings,
            maker: Box::new(maker),
            script: Vec::new(),
            registry: Some(Registry::standard()),
            published: Vec::new(),
            violation: None,
            outcomes: Outcomes::default(),
            standing: (Instant::ZERO, 0),
            endings: BTreeMap::new(),
        }
    }

    /// One invariant more that has to hold.
    pub fn hold_to(&mut self, invariant: Box<dyn Invariant<M>>) {
        if let Some(registry) = &mut self.registry {
            registry.add(invariant);
        }
    }

    /// Adds the steps of a script, by the time that passes from now on.
    pub fn follow(&mut self, script: Script<M>) {
        for (after, step) in script.into_steps() {
            let index = self.script.len();
            self.script.push(Some(step));
            self.shared.agenda.after(after, Event::Step(index));
        }
    }

    /// Lets the time pass, or less if something is broken.
    ///
    /// # Errors
    /// What is broken, then and ever after.
    pub fn run(&mut self, span: Duration) -> Result<(), Violation> {
        let end = self.now() + span;
        while self.violation.is_none()
            && let Some(next) = self.shared.agenda.timeline.peek()
            && next <= end
        {
            self.step();
        }
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        self.shared.agenda.timeline.pass(end);
        Ok(())
    }

    /// Says that the run is over, and that everything should be well.
    ///
    /// # Errors
    /// What is not.
    pub fn finish(&mut self) -> Result<(), Violation> {
        self.judge(|world, invariant| invariant.finish(world));
        self.violation.clone().map_or(Ok(()), Err)
    }

    fn step(&mut self) {
        let Some(event) = self.shared.agenda.timeline.pop() else {
            return;
        };
        self.count_standing();
        let agenda = &mut self.shared.agenda;
        match event {
            Event::Arrive { wire, to } => self.shared.network.handle_arrival(agenda, wire, to),
            Event::GiveUp { wire, from, since } => {
                let network = &mut self.shared.network;
                network.handle_patience_over(wire, from, since);
            }
            Event::Turn { node, core } => {
                self.nodes[node].turn(&mut self.shared, &mut self.published, core);
            }
            Event::Timer { node } => self.nodes[node].handle_timer(agenda),
            Event::Store { call } => {
                let Shared {
                    agenda,
                    store,
                    happenings,
                    ..
                } = &mut self.shared;
                let came = store.handle_arrival(agenda, happenings, call);
                if let Some((node, uid, answer)) = came {
                    self.nodes[node].take_answer(agenda, uid, answer);
                }
            }
            Event::Step(index) => {
                agenda.note(What::Step, [index as u64, 0, 0]);
                if let Some(step) = self.script[index].take() {
                    self.take_step(step);
                }
            }
            Event::Over => self.end_faults(),
            Event::Look => {
                agenda.after(LOOK_EVERY, Event::Look);
                self.judge_happenings();
                self.judge(|world, invariant| invariant.check(world));
            }
        }
        while let Some(node) = self.shared.network.take_woken() {
            self.nodes[node].wake(&mut self.shared.agenda, 0);
        }
        self.judge_happenings();
    }

    fn take_step(&mut self, step: Step<M>) {
        match step {
            Step::Start(node) => {
                self.start(node);
            }
            Step::Befall(fault, lasts) => self.befall(fault, lasts),
            Step::Heal => self.heal(),
            Step::Command(node, command) => self.command(node, &command),
            Step::Expect(what, check) => {
                if let Err(why) = check(self) {
                    self.violate("script", format!("expected: {what}; {why}"));
                }
            }
            Step::Do(act) => act(self),
        }
    }

    fn count_standing(&mut self) {
        let now = self.now();
        let (since, steps) = &mut self.standing;
        if *since != now {
            (*since, *steps) = (now, 0);
        }
        *steps += 1;
        if *steps > STANDING_STEPS_MAX {
            let message = format!("{STANDING_STEPS_MAX} steps, and no time passes");
            self.violate("progress", message);
        }
    }

    fn judge_happenings(&mut self) {
        let mut happenings = std::mem::take(&mut self.shared.happenings);
        for happening in happenings.drain(..) {
            self.judge(|world, invariant| invariant.observe(world, &happening));
        }
        if self.shared.happenings.is_empty() {
            self.shared.happenings = happenings;
        }
        let mut published = std::mem::take(&mut self.published);
        for (node, event) in published.drain(..) {
            if let Some(outcome) = M::outcome(&event) {
                self.outcomes.count(outcome);
            }
            self.judge(|world, invariant| invariant.observe_event(world, node, &event));
        }
        if self.published.is_empty() {
            self.published = published;
        }
    }

    fn judge(&mut self, look: impl FnMut(&Self, &mut dyn Invariant<M>) -> Result<u64, String>) {
        let mut look = look;
        let Some(mut registry) = self.registry.take() else {
            return;
        };
        let found = registry.judge(self, |invariant| look(self, invariant));
        self.registry = Some(registry);
        if self.violation.is_none() {
            self.violation = found;
        }
    }

    /// Something of a script is not as it should be, or the world itself is not.
    pub fn violate(&mut self, invariant: &'static str, message: String) {
        let at = self.now();
        self.violation.get_or_insert(Violation {
            invariant,
            at,
            message,
        });
    }

    /// Starts a process at a node, unless one runs there. Says whether it did.
    pub fn start(&mut self, node: usize) -> bool {
        if self.nodes[node].process.is_some() {
            return false;
        }
        let seed = self.settings.seed;
        let place = &mut self.nodes[node];
        let former = place.starts;
        place.starts += 1;
        let mut random = Random::split(seed, "process", (node as u64) << 32 | former);
        let id = NodeId {
            address: place.address.clone(),
            uid: Uid::new(random.number() | 1).expect("an odd number is not 0"),
        };
        let cores = self.settings.cores[node];
        let features = if place.lacks_features.is_empty() {
            FEATURES
        } else {
            0
        };
        let manner = Manner {
            cores,
            features,
            idle: self.settings.idle,
            canary: self.settings.canary,
        };
        let driver = Driver::new(id.clone(), manner);
        let machine = (self.maker)(&Birth {
            node,
            id: &id,
            cores,
            now: place.clock.read(self.shared.agenda.now()),
            addresses: &self.addresses,
            former,
        });
        let made = (driver, machine);
        place.begin(&mut self.shared, id, made, (cores, random));
        true
    }

    /// Nodes do not reach the store that gives leases for a while.
    pub fn cut_store(&mut self, nodes: &[usize], lasts: Duration) {
        let (from, nodes) = (self.now(), nodes.to_vec());
        let until = from + lasts;
        self.shared.store.cut(Outage { from, until, nodes });
    }

    /// The store is restored from a copy that lacks so many tokens, or all, each lease once nobody
    /// has it.
    pub fn lose_tokens(&mut self, by: Option<u64>) {
        let at = self.now();
        self.shared.store.fall(Fall { at, by });
    }

    /// Has a process started wherever one ran before, none does, and no fault keeps it from that: a
    /// supervisor looks after it.
    pub fn supervise(&mut self) {
        for node in 0..self.nodes.len() {
            let mut crashes = self.active.values().filter(|(fault, _)| fault.is_of(node));
            let is_down = crashes.any(|(fault, _)| matches!(fault, Fault::Crash { .. }));
            if self.nodes[node].starts > 0 && !is_down {
                self.start(node);
            }
        }
    }

    /// The user of a node wants something. A process that does not run, or stands still, is not
    /// asked.
    pub fn command(&mut self, node: usize, command: &M::Command) {
        let place = &mut self.nodes[node];
        if place.paused == 0 {
            place.call(&mut self.shared, &mut self.published, |machine, cx| {
                machine.handle_command(cx, command);
            });
            place.wake(&mut self.shared.agenda, 0);
        }
    }

    pub(crate) fn end_later(&mut self, fault: FaultId, span: Duration) {
        self.endings.insert((self.now() + span, fault), ());
        self.shared.agenda.after(span, Event::Over);
    }

    fn end_faults(&mut self) {
        let now = self.now();
        while let Some((&(at, fault), ())) = self.endings.first_key_value()
            && at <= now
        {
            self.endings.pop_first();
            self.end_fault(fault);
        }
    }
}

/// What can be seen of a world.
impl<M: Machine> World<M> {
    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.shared.agenda.now()
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The addresses of the nodes, by their places.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The nodes on which a process runs, be it paused.
    pub fn running(&self) -> impl Iterator<Item = usize> {
        let all = self.nodes.iter();
        all.filter_map(|node| node.process.as_ref().map(|_| node.index))
    }

    /// Whether the process of a node stands still.
    pub fn is_paused(&self, node: usize) -> bool {
        self.nodes[node].paused > 0
    }

    /// The uid of the process that runs on a node.
    pub fn uid(&self, node: usize) -> Option<Uid> {
        self.nodes[node].uid()
    }

    /// The machine of the process that runs on a node.
    pub fn machine(&self, node: usize) -> Option<&M> {
        Some(&self.nodes[node].process.as_ref()?.machine)
    }

    /// Whether a node has a link with another that has a connection.
    pub fn is_linked(&self, node: usize, with: usize) -> bool {
        let process = self.nodes[node].process.as_ref();
        let linked = process.and_then(|it| it.driver.linked(&self.addresses[with]));
        linked.is_some() && linked == self.uid(with)
    }

    /// Whether nothing is wrong with the paths between two nodes.
    pub fn is_path_whole(&self, one: usize, other: usize) -> bool {
        self.shared.network.is_whole(one, other)
    }

    /// Whether no fault of a sort has been there for so long.
    pub fn is_calm(&self, span: Duration, is_one: impl Fn(&Fault) -> bool) -> bool {
        let mut active = self.active.values();
        let mut past = self.past.iter().rev();
        let now = self.now();
        self.now() - Instant::ZERO >= span
            && !active.any(|(fault, _)| is_one(fault))
            && !past.any(|(fault, ended)| now - *ended < span && is_one(fault))
    }

    /// Whether no fault of a sort has ended for so long.
    pub fn was_calm(&self, span: Duration, is_one: impl Fn(&Fault) -> bool) -> bool {
        let mut past = self.past.iter().rev();
        let now = self.now();
        !past.any(|(fault, ended)| now - *ended < span && is_one(fault))
    }

    /// The faults that are not over, and when each began.
    pub fn faults_now(&self) -> impl Iterator<Item = (&Fault, Instant)> {
        self.active.values().map(|(fault, began)| (fault, *began))
    }

    /// The version of the topology that each core of a node knows.
    pub fn topologies(&self, node: usize) -> Vec<u64> {
        let states = self.nodes[node].core_states();
        states.map(|(_, _, version)| version).collect()
    }

    /// The faults that took effect.
    pub fn faults(&self) -> &Faults {
        &self.shared.agenda.faults
    }

    /// The store that gives leases.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// What became of the sides of split clusters.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// How many bytes the processes of a node have given to its kernel to be sent.
    pub fn written(&self, node: usize) -> u64 {
        self.shared.network.written(node)
    }

    /// What happened.
    pub fn trace(&self) -> &Trace {
        &self.shared.agenda.trace
    }

    /// Whether something keeps the cores of a node from taking their turns.
    pub fn is_hindered(&self, node: usize) -> bool {
        self.is_paused(node) || self.nodes[node].is_hindered()
    }

    /// What was checked of each invariant.
    pub fn checks(&self) -> Vec<Checks> {
        self.registry
            .as_ref()
            .map_or_else(Vec::new, Registry::checks)
    }

    /// How many messages the links of a node did not take, for its machine to send again.
    pub fn not_sent(&self, node: usize) -> u64 {
        let process = self.nodes[node].process.as_ref();
        process.map_or(0, |process| process.driver.not_sent)
    }

    /// How often an inbox of a node had no room for something, which was handed over later.
    pub fn refused(&self, node: usize) -> u64 {
        let process = self.nodes[node].process.as_ref();
        process.map_or(0, |process| process.refused)
    }

    /// The clock of a node.
    pub fn clock(&self, node: usize) -> &Clock {
        &self.nodes[node].clock
    }
}

/// What the invariants over bytes and queues look at.
impl<M: Machine> World<M> {
    /// What waits for each core of a node, whether it is to take a turn, and its topology. Nothing
    /// of one that stands still.
    pub(crate) fn core_states(&self, node: usize) -> impl Iterator<Item = (usize, bool, u64)> {
        let moves = !self.is_paused(node);
        let states = self.nodes[node].core_states();
        states.map(move |(waiting, turns, topology)| (waiting, turns || !moves, topology))
    }

    pub(crate) fn is_ready(&self, node: usize) -> bool {
        self.shared.network.is_ready(node)
    }

    pub(crate) fn wants_turn(&self, node: usize, core: usize) -> bool {
        self.nodes[node].wants_turn(core)
    }

    pub(crate) fn events_waiting(&self) -> usize {
        self.shared.agenda.timeline.len()
    }

    pub(crate) fn fullest_buffer(&self) -> (usize, usize) {
        self.shared.network.fullest()
    }

    /// The backlog of a node, and how many connections have an end there.
    pub(crate) fn kernel_queues(&self, node: usize) -> (usize, usize) {
        let network = &self.shared.network;
        (network.waiting(node).0, network.connections(node))
    }

    pub(crate) fn most_retained(&self, node: usize) -> (u64, u64) {
        let process = self.nodes[node].process.as_ref();
        process.map_or((0, 0), |process| process.driver.most_retained())
    }

    /// Up to where the peer of a link acknowledged, and where its stream ends.
    pub(crate) fn positions(&self, node: usize, half: HalfId) -> Option<(u64, u64)> {
        self.nodes[node].process.as_ref()?.driver.positions(half)
    }
}
