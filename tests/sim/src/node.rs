//! A simulated process: its cores and what waits for each of them, its links, its machine.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

use crate::agenda::{Agenda, Event};
use crate::clock::Clock;
use crate::driver::{Driver, Surroundings, Upward};
use crate::fault::FaultId;
use crate::happening::Happening;
use crate::machine::{Act, Context, Machine, Outbox};
use crate::network::Network;
use crate::random::Random;
use crate::store::{Answered, Answers, Store};
use crate::trace::{What, digest};

/// The most that waits for one core.
pub(crate) const INBOX_MAX: usize = 64;

/// What one core takes of its inbox, and of what its kernel tells, in one turn.
const BATCH: usize = 256;

/// How long a core is busy with work that users of its node gave it.
const WORK: Duration = Duration::from_millis(20);

/// What all parts of a world share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) agenda: Agenda,
    pub(crate) network: Network,
    pub(crate) happenings: Vec<Happening>,
    pub(crate) halves: u64,
    pub(crate) store: Store,
}

/// Something that one core hands to another of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Post {
    /// The version of the topology from now on.
    Topology(u64),
    /// Work of users.
    Work,
}

/// One core of a process.
#[derive(Debug, Default)]
pub(crate) struct Core {
    inbox: VecDeque<Post>,
    /// When it takes its next turn.
    turn_at: Option<Instant>,
    pub(crate) topology: u64,
    /// A version that its inbox had no room for.
    owed: Option<u64>,
    /// Faults that make it late, and by how much.
    slow: Vec<(FaultId, Duration)>,
    /// The fault that keeps its inbox full.
    full: Option<FaultId>,
}

/// A process while it runs.
pub(crate) struct Process<M: Machine> {
    pub(crate) id: Rc<NodeId>,
    pub(crate) driver: Driver,
    pub(crate) machine: M,
    pub(crate) cores: Vec<Core>,
    random: Random,
    out: Outbox<M::Event>,
    /// What the store answered.
    answers: Answers,
    aborted: bool,
    /// How often an inbox had no room for something.
    pub(crate) refused: u64,
}

/// A place where processes run, one after the other.
pub(crate) struct Node<M: Machine> {
    pub(crate) index: usize,
    pub(crate) address: Address,
    pub(crate) process: Option<Process<M>>,
    pub(crate) clock: Clock,
    /// How many processes began here.
    pub(crate) starts: u64,
    pub(crate) paused: u32,
    /// When the earliest deadline of the process is due, by the world's time.
    timer: Option<Instant>,
    /// Faults that count once a deadline is judged by a clock that is wrong.
    pub(crate) wrong_clock: Vec<FaultId>,
    /// The faults by which a process lacks features, from its next start on.
    pub(crate) lacks_features: Vec<FaultId>,
}

impl<M: Machine> Node<M> {
    pub(crate) fn new(index: usize, address: Address, clock: Clock) -> Self {
        Self {
            index,
            address,
            process: None,
            clock,
            starts: 0,
            paused: 0,
            timer: None,
            wrong_clock: Vec::new(),
            lacks_features: Vec::new(),
        }
    }

    pub(crate) fn uid(&self) -> Option<Uid> {
        self.process.as_ref().map(|process| process.id.uid)
    }

    /// A process begins.
    pub(crate) fn begin(
        &mut self,
        shared: &mut Shared,
        id: NodeId,
        (driver, machine): (Driver, M),
        (cores, random): (u16, Random),
    ) {
        let (node, uid) = (self.index, id.uid);
        shared.network.listen(node);
        shared.happenings.push(Happening::Started { node, uid });
        shared
            .agenda
            .note(What::Started, [node as u64, uid.as_u64(), 0]);
        self.process = Some(Process {
            id: Rc::new(id),
            driver,
            machine,
            cores: (0..cores).map(|_| Core::default()).collect(),
            random,
            out: Outbox::default(),
            answers: Answers::new(),
            aborted: false,
            refused: 0,
        });
        self.wake(&mut shared.agenda, 0);
    }

    /// The process ends, by itself or not.
    pub(crate) fn end(&mut self, shared: &mut Shared, loses_power: bool) {
        let Some(process) = self.process.take() else {
            return;
        };
        let (node, uid) = (self.index, process.id.uid);
        self.timer = None;
        shared
            .network
            .end_process(&mut shared.agenda, node, loses_power);
        shared.happenings.push(Happening::Ended { node, uid });
        let how = u64::from(loses_power);
        shared.agenda.note(What::Ended, [node as u64, how, 0]);
    }

    /// Has a core take a turn.
    pub(crate) fn wake(&mut self, agenda: &mut Agenda, core: usize) {
        let node = self.index;
        if self.paused > 0 {
            return;
        }
        let process = self.process.as_mut();
        let Some(place) = process.and_then(|process| process.cores.get_mut(core)) else {
            return;
        };
        if place.turn_at.is_none() {
            let late: Duration = place.slow.iter().map(|(_, by)| *by).sum();
            let busy = if place.full.is_some() {
                WORK
            } else {
                Duration::ZERO
            };
            place.turn_at = Some(agenda.now() + late + busy);
            agenda.after(late + busy, Event::Turn { node, core });
        }
    }

    /// Has every core take a turn.
    pub(crate) fn wake_all(&mut self, agenda: &mut Agenda) {
        let cores = self.process.as_ref().map_or(0, |it| it.cores.len());
        (0..cores).for_each(|core| self.wake(agenda, core));
    }

    /// A core takes its turn.
    pub(crate) fn turn(
        &mut self,
        shared: &mut Shared,
        published: &mut Vec<(usize, M::Event)>,
        core: usize,
    ) {
        let now = shared.agenda.now();
        let paused = self.paused > 0;
        let Some(process) = &mut self.process else {
            return;
        };
        let Some(place) = process.cores.get_mut(core) else {
            return;
        };
        // A turn that was due before the process stood still, or of a former process.
        if paused || place.turn_at != Some(now) {
            if paused {
                place.turn_at = None;
            }
            return;
        }
        place.turn_at = None;
        for (fault, _) in &place.slow {
            shared.agenda.took_effect(*fault);
        }
        shared
            .agenda
            .note(What::Turn, [self.index as u64, core as u64, 0]);
        self.serve_inbox(shared, core);
        if core == 0 {
            self.serve_links(shared, published);
        } else if self.serve_turn(shared, published, core) {
            // What it has to send is sent by the control core.
            self.wake(&mut shared.agenda, 0);
        }
        self.settle(shared, core);
    }

    /// Takes what other cores handed over.
    fn serve_inbox(&mut self, shared: &mut Shared, core: usize) {
        let node = self.index;
        let Some(process) = &mut self.process else {
            return;
        };
        let place = &mut process.cores[core];
        // One piece of work takes a turn.
        for _ in 0..BATCH {
            match place.inbox.pop_front() {
                Some(Post::Topology(version)) => {
                    place.topology = version;
                    shared.happenings.push(Happening::Topology {
                        node,
                        core,
                        version,
                    });
                }
                Some(Post::Work) | None => break,
            }
        }
        if place.full.is_some() {
            place.fill();
        }
        if place.owed.is_some() {
            self.wake(&mut shared.agenda, 0);
        }
    }

    /// The store answered a process, if that still runs.
    pub(crate) fn take_answer(&mut self, agenda: &mut Agenda, uid: Uid, answer: Answered) {
        if let Some(process) = self.process.as_mut().filter(|it| it.id.uid == uid) {
            process.answers.push_back(answer);
            self.wake(agenda, 0);
        }
    }

    fn serve_answers(&mut self, shared: &mut Shared, published: &mut Vec<(usize, M::Event)>) {
        while let Some(process) = &mut self.process
            && let Some((name, number, answer)) = process.answers.pop_front()
        {
            self.call(shared, published, |machine, cx| {
                machine.handle_lease(cx, &name, number, answer);
            });
        }
    }

    /// What the control core does besides.
    fn serve_links(&mut self, shared: &mut Shared, published: &mut Vec<(usize, M::Event)>) {
        for _ in 0..BATCH {
            let Some(ready) = shared.network.next_ready(self.index) else {
                break;
            };
            self.with_driver(shared, |driver, env| driver.handle_ready(env, ready));
            self.serve_machine(shared, published);
        }
        self.serve_answers(shared, published);
        self.serve_deadlines(shared, published);
        self.serve_turn(shared, published, 0);
        self.post_owed(shared);
        self.with_driver(shared, Driver::flush);
        self.serve_machine(shared, published);
        self.with_driver(shared, Driver::flush);
        let Some(process) = &mut self.process else {
            return;
        };
        if std::mem::take(&mut process.driver.lacked_features) {
            for fault in &self.lacks_features {
                shared.agenda.took_effect(*fault);
            }
        }
        if process.aborted || process.driver.has_stopped() {
            self.end(shared, false);
        }
    }

    fn serve_deadlines(&mut self, shared: &mut Shared, published: &mut Vec<(usize, M::Event)>) {
        let local = self.clock.read(shared.agenda.now());
        let Some(process) = &self.process else {
            return;
        };
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= local);
        if is_due(process.driver.poll_timeout()) {
            self.with_driver(shared, Driver::handle_timeout);
            self.serve_machine(shared, published);
        }
        let machine = self.process.as_ref().map(|process| &process.machine);
        if is_due(machine.and_then(Machine::poll_timeout)) {
            for fault in self.wrong_clock.drain(..) {
                shared.agenda.took_effect(fault);
            }
            let node = self.index;
            let numbers = [node as u64, local.as_nanos(), 0];
            shared.agenda.note(What::Timeout, numbers);
            self.call(shared, published, |machine, cx| machine.handle_timeout(cx));
            let machine = self.process.as_ref().map(|process| &process.machine);
            let next = machine.and_then(Machine::poll_timeout);
            let now = local;
            shared
                .happenings
                .push(Happening::TimedOut { node, now, next });
        }
    }

    /// Has the machine do what there is to do on a core. Says whether there was anything.
    fn serve_turn(
        &mut self,
        shared: &mut Shared,
        published: &mut Vec<(usize, M::Event)>,
        core: usize,
    ) -> bool {
        let wants = self.wants_turn(core);
        if wants {
            self.call(shared, published, |machine, cx| {
                machine.handle_turn(cx, core)
            });
        }
        wants
    }

    /// Whether the machine has something to do on a core.
    pub(crate) fn wants_turn(&self, core: usize) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|it| it.machine.wants_turn(core))
    }

    /// Brings what came up from the links to the machine.
    fn serve_machine(&mut self, shared: &mut Shared, published: &mut Vec<(usize, M::Event)>) {
        while let Some(process) = &mut self.process
            && let Some(upward) = process.driver.next_upward()
        {
            self.call(shared, published, |machine, cx| match &upward {
                Upward::Message { from, body } => machine.handle_message(cx, from, body),
                Upward::News(news) => machine.handle_link(cx, news),
            });
        }
    }

    /// Calls the machine, and carries out what it wants.
    pub(crate) fn call(
        &mut self,
        shared: &mut Shared,
        published: &mut Vec<(usize, M::Event)>,
        call: impl FnOnce(&mut M, &mut Context<'_, M::Event>),
    ) {
        let node = self.index;
        let Some(process) = &mut self.process else {
            return;
        };
        let mut out = std::mem::take(&mut process.out);
        let mut cx = Context {
            now: self.clock.read(shared.agenda.now()),
            random: &mut process.random,
            out: &mut out,
        };
        call(&mut process.machine, &mut cx);
        let acts = out.len();
        shared.happenings.push(Happening::Acted { node, acts });
        for act in out.drain() {
            self.carry_out(shared, published, act);
        }
        if let Some(process) = &mut self.process {
            process.out = out;
        }
    }

    fn carry_out(
        &mut self,
        shared: &mut Shared,
        published: &mut Vec<(usize, M::Event)>,
        act: Act<M::Event>,
    ) {
        let node = self.index;
        match act {
            Act::Send { to, body } => {
                let sent = |driver: &mut Driver, env: &mut Surroundings<'_>| {
                    driver.send(env, &to, &body);
                };
                self.with_driver(shared, sent);
            }
            Act::Post { to, class, body } => {
                self.with_driver(shared, |it, env| it.post(env, to, class, body));
            }
            Act::Dial(address) => self.with_driver(shared, |it, env| it.dial(env, &address)),
            Act::DialOnce(address) => {
                self.with_driver(shared, |it, env| it.dial_once(env, &address));
            }
            Act::Identify(address, member) => {
                self.with_driver(shared, |it, env| it.identify(env, &address, member));
            }
            Act::ForgetPosts(members) => {
                self.with_driver(shared, |it, _| it.forget_posts(&members));
            }
            Act::Lease(ask) => {
                let Shared { agenda, store, .. } = shared;
                if let Some(process) = &self.process {
                    store.ask(agenda, (node, process.id.uid), ask);
                }
            }
            Act::Probe(peer) => self.with_driver(shared, |it, env| it.probe(env, &peer)),
            Act::Publish(event) => {
                let text = format!("{event:?}");
                let numbers = [node as u64, digest(text.as_bytes()), 0];
                shared.agenda.note(What::Published, numbers);
                published.push((node, event));
            }
            Act::Topology(version) => {
                for core in self.process.iter_mut().flat_map(|it| &mut it.cores) {
                    core.owed = Some(version);
                }
                self.post_owed(shared);
            }
            Act::Ring(core) => self.wake(&mut shared.agenda, core),
            Act::Quarantine(peer) => self.with_driver(shared, |it, env| it.quarantine(env, &peer)),
            Act::Stop => self.with_driver(shared, Driver::stop),
            Act::Abort => {
                if let Some(process) = &mut self.process {
                    process.aborted = true;
                }
            }
        }
    }

    /// Hands the topology to the cores that do not have it, as far as their inboxes have room.
    fn post_owed(&mut self, shared: &mut Shared) {
        let node = self.index;
        let cores = self.process.as_ref().map_or(0, |it| it.cores.len());
        for core in 0..cores {
            let Some(process) = &mut self.process else {
                return;
            };
            let place = &mut process.cores[core];
            let Some(version) = place.owed else {
                continue;
            };
            if core == 0 {
                place.owed = None;
                place.topology = version;
                let happening = Happening::Topology {
                    node,
                    core,
                    version,
                };
                shared.happenings.push(happening);
            } else if place.inbox.len() < INBOX_MAX {
                place.owed = None;
                place.inbox.push_back(Post::Topology(version));
                self.wake(&mut shared.agenda, core);
            } else {
                process.refused += 1;
                if let Some(fault) = place.full {
                    shared.agenda.took_effect(fault);
                }
            }
        }
    }

    /// What follows a turn: the next one, if something is left to do.
    fn settle(&mut self, shared: &mut Shared, core: usize) {
        let Some(process) = &self.process else {
            return;
        };
        let place = &process.cores[core];
        let is_ready = core == 0 && shared.network.is_ready(self.index);
        if is_ready || !place.inbox.is_empty() || process.machine.wants_turn(core) {
            self.wake(&mut shared.agenda, core);
        }
        if core == 0 {
            self.arm(&mut shared.agenda);
        }
    }

    /// Sets the timer to the earliest deadline of the process.
    pub(crate) fn arm(&mut self, agenda: &mut Agenda) {
        let Some(process) = &self.process else {
            return;
        };
        let links = process.driver.poll_timeout();
        let due = links
            .into_iter()
            .chain(process.machine.poll_timeout())
            .min();
        let due = due.map(|due| self.clock.when(due).max(agenda.now()));
        if due != self.timer {
            self.timer = due;
            if let Some(due) = due {
                let node = self.index;
                agenda.timeline.push(due, Event::Timer { node });
            }
        }
    }

    /// The timer may be due.
    pub(crate) fn handle_timer(&mut self, agenda: &mut Agenda) {
        if self.timer == Some(agenda.now()) {
            self.timer = None;
            self.wake(agenda, 0);
        }
    }

    /// The earliest deadline, by the world's time.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.timer
    }

    fn with_driver(
        &mut self,
        shared: &mut Shared,
        call: impl FnOnce(&mut Driver, &mut Surroundings<'_>),
    ) {
        let Some(process) = &mut self.process else {
            return;
        };
        let mut env = Surroundings {
            now: self.clock.read(shared.agenda.now()),
            agenda: &mut shared.agenda,
            network: &mut shared.network,
            random: &mut process.random,
            happenings: &mut shared.happenings,
            halves: &mut shared.halves,
            node: self.index,
        };
        call(&mut process.driver, &mut env);
    }

    /// The state of each core, for those who check it: what waits for it, whether it is to take a
    /// turn, and the version of the topology that it knows.
    pub(crate) fn core_states(&self) -> impl Iterator<Item = (usize, bool, u64)> {
        let cores = self.process.iter().flat_map(|process| &process.cores);
        cores.map(|core| (core.inbox.len(), core.turn_at.is_some(), core.topology))
    }
}

/// What befalls cores.
impl<M: Machine> Node<M> {
    pub(crate) fn slow_down(&mut self, core: usize, fault: FaultId, by: Duration) {
        let process = self.process.as_mut();
        if let Some(place) = process.and_then(|it| it.cores.get_mut(core)) {
            place.slow.push((fault, by));
        }
    }

    pub(crate) fn fill_queues(&mut self, agenda: &mut Agenda, fault: FaultId) {
        for place in self.process.iter_mut().flat_map(|it| &mut it.cores) {
            place.full = Some(fault);
            place.fill();
        }
        self.wake_all(agenda);
    }

    /// Whether a core is late, or its queue full.
    pub(crate) fn is_hindered(&self) -> bool {
        let mut cores = self.process.iter().flat_map(|process| &process.cores);
        cores.any(|core| !core.slow.is_empty() || core.full.is_some())
    }

    /// A fault of the cores is over.
    pub(crate) fn relieve(&mut self, fault: FaultId) {
        for place in self.process.iter_mut().flat_map(|it| &mut it.cores) {
            place.slow.retain(|(other, _)| *other != fault);
            if place.full == Some(fault) {
                place.full = None;
            }
        }
    }
}

impl Core {
    fn fill(&mut self) {
        while self.inbox.len() < INBOX_MAX {
            self.inbox.push_back(Post::Work);
        }
    }
}
