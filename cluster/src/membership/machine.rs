//! The machine that is one node's part in who is in the cluster.
//!
//! ```text
//!   idle ──▶ seeking ──▶ active ──▶ ended
//!     └──────▶└────────────────────▶  ▲      left before it had joined
//! ```
//!
//! While it is active it holds a view, and whatever comes in changes that view: a message of
//! another member, a command, the word of a sibling machine about who can be reached, the time.
//! After each of them the same follows (`settle`): what the leader has to do is done
//! if this node leads, what changed is published, and the others are told.

mod active;
mod admitting;
mod answering;
mod ending;
mod estranged;
mod foreign;
mod gossiping;
mod joining;
mod leading;
mod leaving;
mod postponing;
mod publishing;
mod remembering;

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

use self::active::Active;
pub(crate) use self::active::Revision;
#[cfg(test)]
pub(crate) use self::admitting::CLAIMS_MAX;
pub use self::admitting::Identity;
use self::answering::Promise;
#[cfg(test)]
pub(crate) use self::ending::{FOREIGN_MAX, TOLD_MAX};
#[cfg(test)]
pub(crate) use self::joining::CONTACTS_MAX;
pub use self::joining::ContactFailure;
#[cfg(test)]
pub(crate) use self::joining::IN_USE;
use self::joining::{Answer, Seeking};
pub use self::leading::WhyNotConverged;
use self::postponing::Postponed;
use super::command::{Command, CommandError};
use super::gossip::{Gossip, Warrant};
use super::member::{Member, Profile};
use super::memory::{Electorate, Memory};
use super::message::Message;
use super::reachability::Record;
use super::settings::{Settings, SettingsError};
use super::status::Status;
use super::topology::Topology;
use crate::context::Context;
use crate::effect::{Effect, StopReason};

/// What a sibling machine found of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It cannot be reached.
    Unreachable(Record),
    /// It can be reached again.
    Reachable,
}

/// One node's part in who is in the cluster.
///
/// Bounded: the view by [`MEMBERS_MAX`](super::gossip::MEMBERS_MAX) and
/// [`TOMBSTONES_MAX`](super::gossip::TOMBSTONES_MAX), contacts by seeds and memory, the rest by the
/// view or by constants of the files that hold it.
#[derive(Debug)]
pub struct Membership {
    settings: Arc<Settings>,
    own: Arc<Profile>,
    memory: Option<Memory>,
    electorate: Electorate,
    phase: Phase,
    /// While the version of its program is not known.
    postponed: Option<Postponed>,
    promise: Option<Promise>,
    /// When nodes of other clusters were last spoken of.
    foreign: BTreeMap<Uid, Instant>,
    topology: Arc<Topology>,
    /// The number of the last event.
    events: u64,
    counters: Counters,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Seeking(Box<Seeking>),
    Active(Box<Active>),
    Ended,
}

/// What was refused, by why. Each only rises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bodies that are no messages, by the label of what is wrong with them.
    pub malformed: BTreeMap<&'static str, u64>,
    /// Messages for another process start at this address.
    pub misdirected: u64,
    /// Messages of whoever is no member, where only one may speak.
    pub strangers: u64,
    /// Messages of members that this node cannot reach.
    pub unreachable: u64,
    /// Messages of another cluster.
    pub foreign: u64,
    /// Views that cannot be, judged by what this node knows.
    pub illegal: u64,
    /// Messages that mean nothing in the state that this node is in.
    pub untimely: u64,
    /// Messages of members that were removed.
    pub removed: u64,
    /// Views that were not sent because they are longer than a message may be.
    pub too_long: u64,
    /// Joins that were refused.
    pub refused_joins: u64,
}

impl Membership {
    /// A machine of the node that `own` describes, which is in no cluster yet. `memory` is what the
    /// last process start at its address wrote down.
    ///
    /// # Errors
    /// [`SettingsError`] if the settings cannot be.
    pub fn new(
        settings: Settings,
        own: Profile,
        memory: Option<Memory>,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        let topology = Topology::empty(own.node.clone(), own.roles.data_centre());
        Ok(Self {
            settings: Arc::new(settings),
            own: Arc::new(own),
            memory,
            electorate: Electorate::default(),
            phase: Phase::Idle,
            postponed: None,
            promise: None,
            foreign: BTreeMap::new(),
            topology: Arc::new(topology),
            events: 0,
            counters: Counters::default(),
        })
    }

    /// Not most of all members decide that some go on without others, but these. To be called
    /// before this node joins.
    pub fn set_electorate(&mut self, electorate: Electorate) {
        self.electorate = electorate;
    }

    /// A message of another node came, which the link names.
    pub fn handle_message(&mut self, cx: &mut Context<'_>, from: &NodeId, body: &[u8]) {
        let system = self.own.node.address.system();
        match Message::decode(body, system, cx.now) {
            Ok((to, message)) if self.is_for_this(to, &message) => {
                self.route(cx, from, message);
                self.settle(cx);
            }
            Ok(_) => self.counters.misdirected += 1,
            Err(error) => *self.counters.malformed.entry(error.label()).or_default() += 1,
        }
    }

    /// Only the first question to an address may be for whoever answers.
    fn is_for_this(&self, to: Option<Uid>, message: &Message) -> bool {
        match to {
            Some(to) => to == self.own.node.uid,
            None => matches!(message, Message::InitJoin { .. }),
        }
    }

    fn route(&mut self, cx: &mut Context<'_>, from: &NodeId, message: Message) {
        if self.answer_removed(cx, from) {
            return;
        }
        match message {
            Message::InitJoin {
                asked,
                candidate,
                configuration,
            } => self.answer_init_join(cx, from, asked, candidate, &configuration),
            Message::InCluster {
                asked,
                cluster,
                configuration,
            } => self.handle_in_cluster(cx, from, (asked, cluster), &configuration),
            Message::NotInCluster {
                asked,
                consent,
                candidate,
                memory,
            } => {
                let answer = Answer {
                    asked: Instant::from_nanos(asked),
                    consent,
                    candidate,
                    remembers: memory.is_some(),
                };
                self.handle_not_in_cluster(cx, from, answer, memory);
            }
            Message::Incompatible { names } => self.handle_incompatible(cx, from, names),
            Message::Join {
                profile,
                configuration,
            } => self.handle_join(cx, from, profile, &configuration),
            Message::Welcome(gossip) => self.handle_welcome(cx, from, *gossip),
            Message::JoinRefused(refusal) => self.handle_join_refused(cx, from, refusal),
            Message::Gossip(gossip) => self.handle_gossip(cx, from, &gossip),
            Message::Status(summary) => self.handle_status(cx, from, &summary),
            Message::ExitingConfirmed => self.handle_exiting_confirmed(from),
            Message::Removed { cluster } => self.handle_removed(cx, from, cluster),
            Message::Stranger { cluster } => self.handle_stranger(cx, from, cluster),
            Message::Foreign { cluster } => self.handle_foreign(cx, from, cluster),
        }
    }

    /// Nobody answered a message that was sent as [`Effect::Contact`].
    pub fn handle_contact_failed(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
        why: ContactFailure,
    ) {
        self.note_contact_failed(cx.now, address, why);
        self.seek(cx);
        self.settle(cx);
    }

    /// What was found at an address, as [`Effect::Identify`] asked.
    pub fn handle_identified(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
        identity: Identity,
    ) {
        self.judge_claim(cx, address, identity);
        self.settle(cx);
    }

    /// The user asks something.
    ///
    /// # Errors
    /// [`CommandError`]; nothing changed.
    pub fn handle_command(
        &mut self,
        cx: &mut Context<'_>,
        command: Command,
    ) -> Result<(), CommandError> {
        if matches!(self.phase, Phase::Ended) {
            return Err(CommandError::Ended);
        }
        match command {
            Command::Join { seeds } => self.join_when_known(cx, seeds)?,
            Command::Found => self.found_by_command(cx)?,
            Command::Leave { address } => self.leave(cx, address.as_ref())?,
            Command::Down { address } => self.down_at(cx, &address)?,
            Command::Exited => self.exited(cx)?,
            Command::PrepareForFullShutdown => self.prepare_for_full_shutdown(cx)?,
            Command::SetAppVersion(version) => self.set_app_version(cx, version)?,
        }
        self.settle(cx);
        Ok(())
    }

    /// A sibling machine found that a member can be reached, or cannot: this node says so to all.
    pub fn observe(&mut self, cx: &mut Context<'_>, subject: Uid, observation: Observation) {
        let own = self.own.node.uid;
        if let Phase::Active(active) = &mut self.phase {
            active.observe(cx.now, own, subject, observation);
        }
        self.settle(cx);
    }

    /// Gives members up, as was decided, in one step with the lease by which it was, if it was by
    /// one.
    pub fn down(&mut self, cx: &mut Context<'_>, uids: &[Uid], warrant: Option<Warrant>) {
        if let Phase::Active(active) = &mut self.phase {
            active.down(cx, uids, warrant);
        }
        self.settle(cx);
    }

    /// Nobody was given up by that lease, nor by any before it that is not in this node's view.
    pub fn note_warrant(&mut self, cx: &mut Context<'_>, warrant: Warrant) {
        self.down(cx, &[], Some(warrant));
    }

    /// Makes a version of the view that nobody has seen yet: whoever says that it holds it knows
    /// what was done before that.
    pub fn renew_version(&mut self, cx: &mut Context<'_>) {
        if let Phase::Active(active) = &mut self.phase {
            active.touch();
        }
        self.settle(cx);
    }

    /// How often the view changed.
    pub(crate) fn revision(&self) -> Revision {
        match &self.phase {
            Phase::Active(active) => active.revision,
            _ => Revision::default(),
        }
    }

    /// What was to be [remembered](Effect::Remember) up to that number is written down, or it
    /// cannot be.
    pub fn handle_remembered(&mut self, cx: &mut Context<'_>, number: u64) {
        if let Phase::Active(active) = &mut self.phase {
            active.handle_remembered(number);
        }
        self.settle(cx);
    }

    /// Whether this node sees a quorum of its cluster, as a sibling machine judges.
    pub fn set_quorum(&mut self, cx: &mut Context<'_>, has_quorum: bool) {
        if self.topology.has_quorum != has_quorum && matches!(self.phase, Phase::Active(_)) {
            let mut topology = Topology::clone(&self.topology);
            topology.has_quorum = has_quorum;
            self.publish_topology(cx, topology);
        }
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        self.seek(cx);
        if let Phase::Active(active) = &mut self.phase {
            active.handle_timeout(cx, &mut self.counters);
        }
        self.settle(cx);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle | Phase::Ended => None,
            Phase::Seeking(seeking) => Some(seeking.poll_timeout()),
            Phase::Active(active) => Some(active.poll_timeout()),
        }
    }

    /// What follows from a change of the view, whatever made it.
    fn settle(&mut self, cx: &mut Context<'_>) {
        if let Phase::Active(active) = &mut self.phase {
            active.lead(cx);
        }
        self.publish(cx);
        let Phase::Active(active) = &mut self.phase else {
            return;
        };
        active.depart(cx);
        active.push(cx, &mut self.counters);
        if let Some(why) = active.is_over(cx.now) {
            self.end(cx, why);
        }
    }

    /// What this node knows of its cluster, if it is in one.
    pub fn gossip(&self) -> Option<&Gossip> {
        match &self.phase {
            Phase::Active(active) => Some(active.view()),
            _ => None,
        }
    }

    /// The cluster as the cores of this node see it: the state behind all events so far.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// What this node says of itself.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.own
    }

    /// What was refused.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Whether it was a member, or tried to become one, and is done with it.
    pub fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Whether all members that count hold this node's view; if not, why.
    pub fn why_not_converged(&self) -> Option<WhyNotConverged> {
        match &self.phase {
            Phase::Active(active) => Some(active.why_not_converged()),
            _ => None,
        }
    }

    /// Whether somebody may have to be told who is in the cluster when this node has left it: that
    /// few may go on, and others know of none of them but this one.
    fn is_memory_needed(&self) -> bool {
        let own = self.own.node.uid;
        let mut members = self.gossip().into_iter().flat_map(Gossip::members);
        let goes_on = |it: &Member| it.uid() != own && it.status() != Status::Down;
        self.electorate == Electorate::Anybody && members.any(goes_on)
    }

    /// It has ended its part in the cluster.
    fn end(&mut self, cx: &mut Context<'_>, why: StopReason) {
        if matches!(self.phase, Phase::Ended) {
            return;
        }
        let status = self.topology.own_status();
        let previous = match why {
            StopReason::Left => status.map(|it| it.max(Status::Exiting)),
            _ => status.map(|it| it.max(Status::Down)),
        };
        let is_needed = self.is_memory_needed();
        self.phase = Phase::Ended;
        self.publish_end(cx, previous);
        if why == StopReason::Left && self.settings.remembers && !is_needed {
            cx.out.push(Effect::Forget);
        }
        cx.out.push(Effect::Stop { why });
    }
}
