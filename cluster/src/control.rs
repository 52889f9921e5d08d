//! What runs on the control core of a node in a cluster: its machines, put together.
//!
//! The first byte of a body names the room it is for: 1 to 31 are of membership, 32 to 47 of the
//! monitor, 48 to 63 of the resolver and 64 to 79 of the registry. Whatever follows from one
//! machine and concerns another is passed on within the same call, so a driver sees one machine
//! alone.

mod announcing;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

pub use self::settings::ControlSettings;
use crate::codec::CodecError;
use crate::context::Context;
use crate::effect::{Class, Effect};
use crate::lease::{Answer, Token};
use crate::membership::command::{Command, CommandError};
use crate::membership::event::Event;
use crate::membership::machine::{ContactFailure, Identity, Membership, Observation, Revision};
use crate::membership::member::Profile;
use crate::membership::memory::Memory;
use crate::membership::message;
use crate::membership::reachability::Reason;
use crate::membership::settings::SettingsError;
use crate::membership::topology::Topology;
use crate::monitor::{self, Monitor, MonitorOutput};
use crate::registry::{self, Registry, RegistryOutput};
use crate::resolver::{
    self, Decision, Explanation, KeepMajority, LeaseTerms, Resolver, ResolverOutput,
    ResolverSettings, Strategy,
};

/// How often all machines are asked in one turn what is due.
const TIMEOUT_ROUNDS: usize = 4;

/// What runs on the control core of a node in a cluster.
#[derive(Debug)]
pub struct Control {
    membership: Membership,
    monitor: Monitor,
    /// What the machines were shown last.
    shown: Revision,
    findings: Vec<MonitorOutput>,
    resolver: Resolver,
    /// For another strategy.
    resolver_settings: ResolverSettings,
    verdicts: Vec<ResolverOutput>,
    registry: Registry,
    /// The version of the topology that it was shown last.
    shown_topology: u64,
    tables: Vec<RegistryOutput>,
    refused: Refused,
}

/// Bodies that no machine took. Each only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// For rooms that this version does not have.
    pub unknown: u64,
    /// That are not what their first byte says.
    pub malformed: u64,
    /// While this node was in no cluster.
    pub untimely: u64,
}

impl Control {
    /// The machines of the node that `own` describes; `memory` is what the last process start at
    /// its address wrote down.
    ///
    /// # Errors
    /// [`SettingsError`] if the settings cannot be.
    pub fn new(
        settings: impl Into<ControlSettings>,
        own: Profile,
        memory: Option<Memory>,
    ) -> Result<Self, SettingsError> {
        let settings = settings.into();
        settings.check()?;
        let monitor = Monitor::new(settings.monitor, own.node.uid);
        let strategy = Box::new(KeepMajority::default());
        let resolver = Resolver::new(settings.resolver, strategy, own.node.uid);
        let registry = Registry::new(settings.registry, own.node.clone());
        let mut membership = Membership::new(settings.membership, own, memory)?;
        membership.set_settling(settings.monitor.far.settling());
        Ok(Self {
            membership,
            monitor,
            shown: Revision::default(),
            findings: Vec::new(),
            resolver,
            resolver_settings: settings.resolver,
            verdicts: Vec::new(),
            registry,
            shown_topology: 0,
            tables: Vec::new(),
            refused: Refused::default(),
        })
    }

    /// Another strategy than the default, [`KeepMajority`], decides which side goes on. All members
    /// have to have the same. To be called before this node joins.
    #[must_use]
    pub fn with_strategy(mut self, strategy: Box<dyn Strategy>) -> Self {
        let own = self.membership.profile().node.uid;
        self.membership.set_electorate(strategy.electorate());
        self.resolver = Resolver::new(self.resolver_settings, strategy, own);
        self
    }

    /// Which lease the strategy needs, if it needs one.
    pub fn lease_terms(&self) -> Option<&LeaseTerms> {
        self.resolver.lease_terms()
    }

    /// A store may keep that lease from others for so long when whoever has it dies, in place of
    /// the time for which it is given.
    pub fn set_lease_free_after(&mut self, time: Duration) {
        self.resolver.set_lease_free_after(time);
    }

    /// This node joins only when the [version](Command::SetAppVersion) of its program was set. To
    /// be called before it is asked to join.
    #[must_use]
    pub fn with_version_later(mut self) -> Self {
        self.membership.postpone();
        self
    }

    /// The body of a frame of kind `cluster` came over the control link with that node.
    pub fn handle_message(&mut self, cx: &mut Context<'_>, from: &NodeId, body: &[u8]) {
        let tag = body.first().copied().unwrap_or(0);
        if message::is_of_membership(tag) {
            self.membership.handle_message(cx, from, body);
        } else if self.membership.gossip().is_none() {
            self.refused.untimely += 1;
        } else if self.membership.answer_removed(cx, from) {
            // It hears that instead of an answer.
        } else if monitor::TAGS.contains(&tag) {
            let findings = &mut self.findings;
            let heard = self.monitor.handle_message(cx.now, from, body, findings);
            self.note(heard);
        } else if resolver::TAGS.contains(&tag)
            && let Some(view) = self.membership.gossip()
        {
            let (now, verdicts) = (cx.now, &mut self.verdicts);
            let heard = self
                .resolver
                .handle_message(now, view, from, body, verdicts);
            self.note(heard);
        } else if registry::TAGS.contains(&tag) {
            let (now, tables) = (cx.now, &mut self.tables);
            let heard = self.registry.handle_message(now, from, body, tables);
            self.note(heard);
        } else {
            self.refused.unknown += 1;
        }
        self.monitor
            .handle_heard(cx.now, from.uid, &mut self.findings);
        self.follow(cx);
    }

    /// Nobody answered at an address that was to be contacted.
    pub fn handle_contact_failed(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
        why: ContactFailure,
    ) {
        self.membership.handle_contact_failed(cx, address, why);
        self.follow(cx);
    }

    /// What a fresh dial found at an address that was to be identified.
    pub fn handle_identified(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
        identity: Identity,
    ) {
        self.membership.handle_identified(cx, address, identity);
        self.follow(cx);
    }

    /// The process behind a member crashed, by the [evidence](crate::evidence) of its connections.
    pub fn handle_crashed(&mut self, cx: &mut Context<'_>, uid: Uid) {
        self.monitor.handle_crashed(cx.now, uid, &mut self.findings);
        self.follow(cx);
    }

    /// Another process start was met at the address of that one.
    pub fn handle_restarted(&mut self, cx: &mut Context<'_>, uid: Uid) {
        let (now, findings) = (cx.now, &mut self.findings);
        self.monitor
            .handle_lost(now, uid, Reason::Restarted, findings);
        self.follow(cx);
    }

    /// This node has quarantined that one, though it was not removed.
    pub fn handle_parted(&mut self, cx: &mut Context<'_>, uid: Uid) {
        let (now, findings) = (cx.now, &mut self.findings);
        self.monitor
            .handle_lost(now, uid, Reason::Quarantined, findings);
        self.follow(cx);
    }

    /// The link with that node was refused because it has quarantined this process start. From a
    /// member that means: this node was removed.
    pub fn handle_quarantined(&mut self, cx: &mut Context<'_>, by: &NodeId) {
        self.membership.handle_removed_by(cx, by);
        self.follow(cx);
    }

    /// The same of whoever is at that address, when it is not known which process start that is.
    pub fn handle_quarantined_at(&mut self, cx: &mut Context<'_>, address: &Address) {
        self.membership.handle_removed_at(cx, address);
        self.follow(cx);
    }

    /// What was to be [remembered](crate::effect::Effect::Remember) up to that number is written
    /// down. To be called as well if that cannot be: the node goes on without.
    pub fn handle_remembered(&mut self, cx: &mut Context<'_>, number: u64) {
        self.membership.handle_remembered(cx, number);
        self.follow(cx);
    }

    /// What [`Effect::Remember`] or [`Effect::Forget`] asked for could not be done, and why; the
    /// driver goes on trying.
    ///
    /// [`Effect::Remember`]: crate::effect::Effect::Remember
    /// [`Effect::Forget`]: crate::effect::Effect::Forget
    pub fn handle_unwritten(&mut self, cx: &mut Context<'_>, why: &str) {
        if !self.membership.is_ended() {
            let event = Event::StateUnwritten { why: why.into() };
            self.membership.publish_event(cx, event);
        }
        self.follow(cx);
    }

    /// What came of an [`Effect::Lease`], which its number names. If nothing comes of one, nothing
    /// is to be called: it is asked again.
    pub fn handle_lease(&mut self, cx: &mut Context<'_>, number: u64, answer: Answer) {
        let (now, verdicts) = (cx.now, &mut self.verdicts);
        self.resolver.handle_lease(now, number, answer, verdicts);
        self.follow(cx);
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
        let result = self.membership.handle_command(cx, command);
        self.follow(cx);
        result
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) named has come.
    pub fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        // What one machine does may be due for another at once, as the first heartbeats are.
        for _ in 0..TIMEOUT_ROUNDS {
            if self.poll_timeout().is_none_or(|due| due > cx.now) {
                return;
            }
            self.membership.handle_timeout(cx);
            self.follow(cx);
            self.monitor.handle_timeout(cx.now, &mut self.findings);
            self.follow(cx);
            self.resolver.handle_timeout(cx.now, &mut self.verdicts);
            self.follow(cx);
            let (now, tables) = (cx.now, &mut self.tables);
            self.registry.handle_timeout(now, &mut cx.random, tables);
            self.follow(cx);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.membership.is_ended() {
            return None;
        }
        let deadlines = [
            self.membership.poll_timeout(),
            self.monitor.poll_timeout(),
            self.resolver.poll_timeout(),
            self.registry.poll_timeout(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Passes on what follows from one machine for another, until nothing more does.
    fn follow(&mut self, cx: &mut Context<'_>) {
        while self.show(cx.now) | self.take_up(cx) {}
        self.announce(cx);
        if !self.membership.is_ended() {
            let has_quorum = self.resolver.has_quorum(cx.now);
            self.membership.set_quorum(cx, has_quorum);
        }
    }

    /// Shows the view to the machines that judge by it, if it changed. Says whether it did.
    fn show(&mut self, now: Instant) -> bool {
        let revision = self.membership.revision();
        let shown = std::mem::replace(&mut self.shown, revision);
        let Some(view) = self.membership.gossip().filter(|_| revision != shown) else {
            return false;
        };
        if revision.view != shown.view {
            self.monitor.handle_view(now, view, &mut self.findings);
        }
        self.resolver.handle_view(now, view, &mut self.verdicts);
        true
    }

    /// Does what the machines that judge want done. Says whether there was anything.
    fn take_up(&mut self, cx: &mut Context<'_>) -> bool {
        let verdicts = std::mem::take(&mut self.verdicts);
        let findings = std::mem::take(&mut self.findings);
        let is_idle = verdicts.is_empty() && findings.is_empty();
        for verdict in verdicts {
            self.carry_out(cx, verdict);
        }
        for finding in findings {
            self.note_finding(cx, finding);
        }
        !is_idle
    }

    fn carry_out(&mut self, cx: &mut Context<'_>, verdict: ResolverOutput) {
        if self.membership.is_ended() {
            return;
        }
        match verdict {
            ResolverOutput::Send { to, body } => cx.out.send(&to, Class::Message, body),
            ResolverOutput::Decided(decision) => {
                let event = Event::Decision(Arc::from(decision));
                self.membership.publish_event(cx, event);
            }
            ResolverOutput::Down { uids, warrant } => self.membership.down(cx, &uids, warrant),
            ResolverOutput::Ask(ask) => cx.out.push(Effect::Lease(ask)),
            ResolverOutput::Note { warrant } => self.membership.note_warrant(cx, warrant),
            ResolverOutput::Refresh => self.membership.renew_version(cx),
            ResolverOutput::Fallen { lease, known, last } => {
                let event = Event::TokensFell { lease, known, last };
                self.membership.publish_event(cx, event);
            }
        }
    }

    fn note_finding(&mut self, cx: &mut Context<'_>, finding: MonitorOutput) {
        if self.membership.is_ended() {
            return;
        }
        match finding {
            MonitorOutput::Send { to, body } => cx.out.send(&to, Class::Heartbeat, body),
            MonitorOutput::Accuse { subject, record } => {
                let observation = Observation::Unreachable(record);
                self.membership.observe(cx, subject, observation);
            }
            MonitorOutput::Clear { subject } => {
                self.membership.observe(cx, subject, Observation::Reachable);
            }
            MonitorOutput::Probe { node } => cx.out.push(Effect::Probe { node }),
            MonitorOutput::Stalled { gap } => {
                self.membership.publish_event(cx, Event::Stalled { gap });
                let (now, verdicts) = (cx.now, &mut self.verdicts);
                self.resolver.handle_stalled(now, gap, verdicts);
            }
        }
    }

    fn note(&mut self, heard: Result<(), CodecError>) {
        self.refused.malformed += u64::from(heard.is_err());
    }

    /// Who is in the cluster, as this node knows.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Who lives, as this node can tell.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// Which side goes on if somebody is lost, and why.
    pub fn explain(&self, now: Instant) -> Explanation {
        self.resolver.explain(now)
    }

    /// What was decided last, and why.
    pub fn last_decision(&self) -> Option<&Decision> {
        self.resolver.last_decision()
    }

    /// The token of the lease that the strategy needs, if this member holds it at that time.
    pub fn holds_lease(&self, now: Instant) -> Option<Token> {
        self.resolver.holds(now)
    }

    /// Whether this member has agreed to that proposal of another one, or its own, of which side
    /// goes on, and is held to it.
    pub fn has_agreed(&self, proposer: Uid, number: u32) -> bool {
        self.resolver.has_agreed(proposer, number)
    }

    #[cfg(test)]
    pub(crate) fn membership_mut(&mut self) -> &mut Membership {
        &mut self.membership
    }

    /// The cluster as the cores of this node see it.
    pub fn topology(&self) -> &Arc<Topology> {
        self.membership.topology()
    }

    /// Bodies that no machine took.
    pub fn refused(&self) -> Refused {
        self.refused
    }
}

#[cfg(test)]
mod tests;
