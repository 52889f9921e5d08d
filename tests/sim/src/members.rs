//! The machines of a cluster, as the engine runs them, on every node of a world.

mod addresses;
mod agreement;
mod converged;
mod courses;
mod follower;
mod leaders;
mod numbers;
mod rows;
mod seen;
mod severed;
mod silence;
mod views;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_cluster::context::Context as ClusterContext;
use ringmesh_cluster::control::{Control, ControlSettings};
use ringmesh_cluster::effect::{Effect, Outbox};
use ringmesh_cluster::evidence::{Ending, Evidence};
use ringmesh_cluster::membership::command::Command;
use ringmesh_cluster::membership::event::{Event, Numbered};
use ringmesh_cluster::membership::machine::{ContactFailure, Identity};
use ringmesh_cluster::membership::memory::Memory;
use ringmesh_cluster::membership::{AppVersion, Profile, Roles, Settings, Status};
use ringmesh_cluster::resolver::{Split, Strategy, Verdict};
use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::time::Instant;

pub use self::addresses::Addresses;
pub use self::agreement::Agreement;
pub use self::converged::Converged;
pub use self::courses::Courses;
pub use self::follower::Follower;
pub use self::leaders::Leaders;
pub use self::numbers::Numbers;
pub use self::rows::Rows;
pub use self::seen::Seen;
pub use self::severed::Severed;
pub use self::silence::Silence;
use crate::canary::Canary;
use crate::invariant::Invariant;
use crate::machine::{Act, Context, LinkNews, Machine};
use crate::run::Subject;
use crate::swarm::Plan;
use crate::world::{Birth, Maker};

/// What the nodes of a world wrote down where it outlives their processes.
pub type Disks = Rc<RefCell<BTreeMap<usize, Memory>>>;

/// One node's part in a cluster.
#[derive(Debug)]
pub struct Participant {
    node: usize,
    control: Control,
    seeds: Vec<Address>,
    /// When it asks to join, until it did.
    begins: Option<Instant>,
    /// Who is at the other end of each link that has a connection, or rests.
    links: BTreeMap<Address, Uid>,
    /// What became of the connections with each address.
    evidence: BTreeMap<Address, Evidence>,
    /// Addresses at which somebody is being looked for.
    contacts: BTreeMap<Address, Wanted>,
    /// What is to be carried out, and whether that is going on: what follows from one thing comes
    /// behind what the machines wanted before.
    effects: VecDeque<Effect>,
    is_busy: bool,
    disks: Disks,
}

/// What is wanted of whoever is at an address.
#[derive(Debug, Default)]
struct Wanted {
    /// The latest word for it.
    word: Option<Arc<[u8]>>,
    /// Its name.
    is_to_identify: bool,
}

type Cx<'a> = Context<'a, Numbered>;

impl Participant {
    /// The part of a process that begins, whose seeds are the first nodes of its world.
    ///
    /// # Panics
    /// If the settings cannot be.
    pub fn new(birth: &Birth<'_>, settings: ControlSettings, seeds: usize, disks: Disks) -> Self {
        let own = Profile {
            node: birth.id.clone(),
            roles: Roles::default(),
            app_version: AppVersion::default(),
        };
        let memory = disks.borrow().get(&birth.node).cloned();
        let addresses = birth.addresses.iter().take(seeds).cloned();
        Self {
            node: birth.node,
            control: Control::new(settings, own, memory).expect("settings that can be"),
            seeds: addresses.collect(),
            begins: Some(birth.now),
            links: BTreeMap::new(),
            evidence: BTreeMap::new(),
            contacts: BTreeMap::new(),
            effects: VecDeque::new(),
            is_busy: false,
            disks,
        }
    }

    /// Another strategy decides which side of a split cluster goes on.
    #[must_use]
    pub fn with_strategy(mut self, strategy: Box<dyn Strategy>) -> Self {
        self.control = self.control.with_strategy(strategy);
        self
    }

    /// The machines.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Calls the machines, and carries out what they want, and what follows from that.
    fn call(&mut self, cx: &mut Cx<'_>, call: impl FnOnce(&mut Control, &mut ClusterContext<'_>)) {
        let mut out = Outbox::default();
        let seed = cx.random.number();
        let mut inner = ClusterContext::new(cx.now, seed, &mut out);
        call(&mut self.control, &mut inner);
        while let Some(effect) = out.pop() {
            self.effects.push_back(effect);
        }
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
                None => self.look_for(cx, address, |wanted| wanted.word = Some(body)),
            },
            Effect::Identify { address } => match self.links.get(&address) {
                Some(uid) => {
                    let found = Identity::Found(*uid);
                    self.call(cx, |control, inner| {
                        control.handle_identified(inner, &address, found);
                    });
                }
                None => self.look_for(cx, address, |wanted| wanted.is_to_identify = true),
            },
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
            Effect::Topology(topology) => cx.out.push(Act::Topology(topology.version())),
            Effect::Quarantine { node } => cx.out.push(Act::Quarantine(node)),
            Effect::Remember(memory) => {
                self.disks.borrow_mut().insert(self.node, memory);
            }
            Effect::Forget => {
                self.disks.borrow_mut().remove(&self.node);
            }
            Effect::Stop { .. } => cx.out.push(Act::Stop),
        }
    }

    fn command(&mut self, cx: &mut Cx<'_>, command: Command) {
        // What cannot be done is not: who asks at random asks for that too.
        self.call(cx, |control, inner| {
            drop(control.handle_command(inner, command))
        });
    }

    fn look_for(&mut self, cx: &mut Cx<'_>, address: Address, want: impl FnOnce(&mut Wanted)) {
        cx.out.push(Act::Dial(address.clone()));
        want(self.contacts.entry(address).or_default());
    }

    /// Somebody answers at an address.
    fn found(&mut self, cx: &mut Cx<'_>, peer: &NodeId) {
        self.links.insert(peer.address.clone(), peer.uid);
        let evidence = self.evidence.entry(peer.address.clone());
        evidence.or_default().handle_connected(peer.uid);
        let Some(wanted) = self.contacts.remove(&peer.address) else {
            return;
        };
        if let Some(word) = wanted.word {
            cx.out.send(peer.clone(), word.to_vec());
        }
        if wanted.is_to_identify {
            let found = Identity::Found(peer.uid);
            self.call(cx, |it, inner| {
                it.handle_identified(inner, &peer.address, found)
            });
        }
    }

    /// A link has no connection any more: it lost that, rests, or is over.
    fn parted(&mut self, cx: &mut Cx<'_>, peer: &NodeId, reason: CloseReason) {
        let ending = match reason {
            CloseReason::PeerClosed | CloseReason::Broken => Ending::Abrupt,
            _ => Ending::InOrder,
        };
        let evidence = self.evidence.entry(peer.address.clone()).or_default();
        if evidence.handle_disconnected(peer.uid, ending) {
            // A fresh dial tells whether it has crashed.
            cx.out.push(Act::Dial(peer.address.clone()));
        }
    }

    /// Nobody answers.
    fn not_found(&mut self, cx: &mut Cx<'_>, address: &Address, reason: CloseReason) {
        let evidence = self.evidence.get(address);
        if reason == CloseReason::DialRefused
            && let Some(uid) = evidence.and_then(Evidence::handle_refused)
        {
            self.call(cx, |control, inner| control.handle_crashed(inner, uid));
        }
        let Some(wanted) = self.contacts.remove(address) else {
            return;
        };
        let why = match reason {
            CloseReason::DialRefused => ContactFailure::Refused,
            CloseReason::Refused(_) => ContactFailure::Rejected,
            _ => ContactFailure::Silent,
        };
        if wanted.word.is_some() {
            self.call(cx, |it, inner| {
                it.handle_contact_failed(inner, address, why)
            });
        }
        if wanted.is_to_identify {
            let identity = match why {
                ContactFailure::Refused => Identity::Refused,
                _ => Identity::Silent,
            };
            self.call(cx, |it, inner| {
                it.handle_identified(inner, address, identity)
            });
        }
    }
}

impl Machine for Participant {
    type Command = Command;
    type Event = Numbered;

    fn handle_message(&mut self, cx: &mut Cx<'_>, from: &NodeId, body: &[u8]) {
        self.call(cx, |control, inner| {
            control.handle_message(inner, from, body)
        });
    }

    fn handle_link(&mut self, cx: &mut Cx<'_>, news: &LinkNews) {
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
            LinkNews::DialFailed { address, reason } => self.not_found(cx, address, *reason),
            LinkNews::QuarantinedBy(peer) => {
                self.call(cx, |control, inner| control.handle_quarantined(inner, peer));
            }
            LinkNews::Restarted { old, .. } => {
                self.call(cx, |control, inner| control.handle_restarted(inner, *old));
            }
        }
    }

    fn handle_command(&mut self, cx: &mut Cx<'_>, command: &Command) {
        self.command(cx, command.clone());
    }

    fn handle_timeout(&mut self, cx: &mut Cx<'_>) {
        if self.begins.take().is_some() {
            let seeds = self.seeds.clone();
            return self.command(cx, Command::Join { seeds });
        }
        self.call(cx, |control, inner| control.handle_timeout(inner));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.begins.or_else(|| self.control.poll_timeout())
    }
}

/// Members of a cluster, put through random courses of events.
#[derive(Clone, Debug)]
pub struct Members {
    /// The settings of every node.
    pub settings: ControlSettings,
}

impl Default for Members {
    /// They remember each other over restarts: whoever does not may found a second cluster when all
    /// seeds were gone at a time.
    fn default() -> Self {
        let membership = Settings {
            remembers: true,
            ..Settings::default()
        };
        let settings = membership.into();
        Self { settings }
    }
}

/// How many nodes of a world are seeds.
const SEEDS: usize = 3;

/// A strategy by which each side of a split cluster goes on: what must never be, and what the
/// invariants have to find.
#[derive(Clone, Copy, Debug)]
pub struct KeepYourself;

impl Strategy for KeepYourself {
    fn name(&self) -> &'static str {
        "keep-yourself"
    }

    fn is_voted(&self) -> bool {
        false
    }

    fn decide(&self, _: &Split, _: &BTreeSet<Uid>) -> Verdict {
        Verdict::Stay
    }
}

impl Subject for Members {
    type Machine = Participant;

    fn maker(&self, plan: &Plan) -> Maker<Participant> {
        let (settings, disks) = (self.settings.clone(), Disks::default());
        let is_naive = plan.settings.canary == Some(Canary::KeepYourself);
        Box::new(move |birth| {
            let made = Participant::new(birth, settings.clone(), SEEDS, disks.clone());
            match is_naive {
                true => made.with_strategy(Box::new(KeepYourself)),
                false => made,
            }
        })
    }

    fn invariants(&self, _: &Plan) -> Vec<Box<dyn Invariant<Participant>>> {
        vec![
            Box::new(Courses::default()),
            Box::new(Follower::default()),
            Box::new(Severed::default()),
            Box::new(Silence::default()),
            Box::new(Seen),
            Box::new(Converged),
            Box::new(Leaders),
            Box::new(Numbers),
            Box::new(Addresses),
            Box::new(Rows),
            Box::new(Agreement),
        ]
    }
}

#[cfg(test)]
mod tests;
