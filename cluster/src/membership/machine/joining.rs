//! How a node finds its cluster, or founds it.

mod founding;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId};
use ringmesh_proto::time::Instant;

use super::{Active, Membership, Phase};
use crate::context::Context;
use crate::effect::{Effect, StopReason};
use crate::membership::command::CommandError;
use crate::membership::configuration::Configuration;
use crate::membership::event::Event;
use crate::membership::gossip::{ClusterId, Gossip};
use crate::membership::member::Member;
use crate::membership::message::{Message, Refusal};
use crate::membership::settings;

/// How long the answer to a question counts, from when it was asked: less than
/// [`PROMISE`](super::answering::PROMISE), so whoever counts on one has it still.
const ANSWER: Duration = Duration::from_millis(1500);

/// How often the time after which a member is asked no more whoever is told to wait waits at most.
const PATIENCE: u32 = 2;

/// Why nobody answered at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactFailure {
    /// The host refused the connection: no process listens there.
    Refused,
    /// Nothing came back, or the network is not there. Says nothing about the process.
    Silent,
    /// A process listens and does not want to speak to this one.
    Rejected,
}

/// A node that seeks its cluster.
#[derive(Debug)]
pub(super) struct Seeking {
    /// Whether it founds one if there is none.
    pub(super) may_found: bool,
    began: Instant,
    contacts: BTreeMap<Address, Contact>,
    ask_due: Instant,
    /// When all were asked last.
    asked: Instant,
    waiting_due: Instant,
    target: Option<Target>,
    /// The last member that could not let this node in, and until when others go first.
    passed_over: Option<(NodeId, Instant)>,
}

/// Somebody who may know the cluster.
#[derive(Debug)]
struct Contact {
    is_seed: bool,
    is_remembered: bool,
    answer: Option<Answer>,
    /// When anything came from there last.
    heard: Option<Instant>,
    /// Dials that were refused one after the other, and when the first was.
    refusals: Option<(u32, Instant)>,
}

/// It is in no cluster.
#[derive(Clone, Copy, Debug)]
struct Answer {
    asked: Instant,
    consent: bool,
    candidate: bool,
}

/// A member that was asked to let this node in.
#[derive(Debug)]
struct Target {
    node: NodeId,
    retry_due: Instant,
    give_up: Instant,
    /// However often it says that this node is to wait.
    give_up_at_last: Instant,
}

impl Seeking {
    pub(super) fn poll_timeout(&self) -> Instant {
        let due = self.ask_due.min(self.waiting_due);
        match &self.target {
            Some(target) => target.retry_due.min(target.give_up).min(self.waiting_due),
            None => due,
        }
    }

    /// Who did not answer when they were asked last. While one is to let this node in the others
    /// are not asked.
    fn silent(&self) -> Vec<Address> {
        let hears = |heard: Instant| self.asked - heard < ANSWER;
        let is_silent = |contact: &Contact| !contact.heard.is_some_and(hears);
        let contacts = self.contacts.iter().filter(|(_, it)| is_silent(it));
        contacts.map(|(address, _)| address.clone()).collect()
    }
}

impl Contact {
    fn fresh(&self, now: Instant) -> Option<Answer> {
        self.answer.filter(|it| now - it.asked < ANSWER)
    }
}

impl Membership {
    pub(super) fn begin_to_join(
        &mut self,
        cx: &mut Context<'_>,
        seeds: &[Address],
    ) -> Result<(), CommandError> {
        if !matches!(self.phase, Phase::Idle) {
            return Err(CommandError::AlreadyJoined);
        }
        let own = &self.own.node.address;
        let (seeds, may_found) = settings::seeds(own, seeds)?;
        let contact = |is_seed| Contact {
            is_seed,
            is_remembered: false,
            answer: None,
            heard: None,
            refusals: None,
        };
        let seeds = seeds.into_iter().map(|seed| (seed, contact(true)));
        let mut contacts: BTreeMap<Address, Contact> = seeds.collect();
        for node in self.memory.iter().flat_map(|it| it.members.iter()) {
            if node.address != *own {
                let address = node.address.clone();
                let known = contacts.entry(address).or_insert_with(|| contact(false));
                known.is_remembered = true;
            }
        }
        self.phase = Phase::Seeking(Box::new(Seeking {
            may_found,
            began: cx.now,
            contacts,
            ask_due: cx.now,
            asked: cx.now,
            waiting_due: cx.now + self.settings.waiting_interval,
            target: None,
            passed_over: None,
        }));
        self.seek(cx);
        Ok(())
    }

    pub(super) fn found_by_command(&mut self, cx: &mut Context<'_>) -> Result<(), CommandError> {
        if matches!(self.phase, Phase::Active(_)) {
            return Err(CommandError::AlreadyJoined);
        }
        self.found(cx);
        Ok(())
    }

    fn found(&mut self, cx: &mut Context<'_>) {
        let cluster = ClusterId(cx.random.next_u64());
        let founder = Member::joining(Arc::clone(&self.own));
        self.enter(cx, Gossip::founded(cluster, founder), None);
    }

    fn enter(&mut self, cx: &mut Context<'_>, mut view: Gossip, by: Option<NodeId>) {
        let cluster = view.cluster();
        view.see(self.own.node.uid);
        let (settings, own) = (Arc::clone(&self.settings), Arc::clone(&self.own));
        let mut active = Active::new(cx.now, settings, own, view);
        active.note_change();
        self.phase = Phase::Active(Box::new(active));
        self.memory = None;
        let event = match by {
            Some(by) => Event::Welcomed { cluster, by },
            None => Event::Founded { cluster },
        };
        self.publish_event(cx, event);
    }

    /// Asks whoever is to be asked, and founds a cluster if nobody is in one.
    pub(super) fn seek(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let Phase::Seeking(seeking) = &mut self.phase else {
            return;
        };
        if now >= seeking.waiting_due {
            seeking.waiting_due = now + self.settings.waiting_interval;
            let silent = seeking.silent();
            self.publish_event(cx, Event::JoinWaiting { silent });
        }
        if !self.press(cx) {
            self.ask(cx);
        }
        if self.is_alone(now) {
            self.found(cx);
        }
    }

    /// Asks the member that is to let this node in again. Says whether there is one.
    fn press(&mut self, cx: &mut Context<'_>) -> bool {
        let Phase::Seeking(seeking) = &mut self.phase else {
            return false;
        };
        let Some(target) = &mut seeking.target else {
            return false;
        };
        if cx.now >= target.give_up {
            self.look_on(cx.now);
            return false;
        }
        if cx.now >= target.retry_due {
            target.retry_due = cx.now + self.settings.join_retry;
            let node = target.node.clone();
            self.ask_to_join(cx, &node);
        }
        true
    }

    pub(super) fn ask_to_join(&self, cx: &mut Context<'_>, node: &NodeId) {
        let join = Message::Join {
            profile: self.own.as_ref().clone(),
            configuration: self.settings.configuration.clone(),
        };
        self.send(cx, node, &join);
    }

    fn ask(&mut self, cx: &mut Context<'_>) {
        let Phase::Seeking(seeking) = &mut self.phase else {
            return;
        };
        if cx.now < seeking.ask_due {
            return;
        }
        let is_late = cx.now - seeking.began >= self.settings.seed_timeout;
        let interval = self.settings.ask_interval * if is_late { 5 } else { 1 };
        seeking.ask_due = cx.now + interval;
        seeking.asked = cx.now;
        let question = Message::InitJoin {
            asked: cx.now.as_nanos(),
            candidate: seeking.may_found,
            configuration: self.settings.configuration.clone(),
        };
        let body: Arc<[u8]> = question.encode(None, cx.now).into();
        for address in seeking.contacts.keys() {
            let (address, body) = (address.clone(), Arc::clone(&body));
            cx.out.push(Effect::Contact { address, body });
        }
    }

    pub(super) fn note_contact_failed(
        &mut self,
        now: Instant,
        address: &Address,
        why: ContactFailure,
    ) {
        let (most, span) = (self.settings.refusals, self.settings.refusals_span);
        let Phase::Seeking(seeking) = &mut self.phase else {
            return;
        };
        let Some(contact) = seeking.contacts.get_mut(address) else {
            return;
        };
        contact.answer = None;
        contact.heard = None;
        if why != ContactFailure::Refused {
            contact.refusals = None;
            return;
        }
        let (count, since) = contact.refusals.get_or_insert((0, now));
        // The last that is needed counts when the span is over.
        if *count + 1 < most || now - *since >= span {
            *count = count.saturating_add(1);
        }
    }

    /// When a question was asked to which an answer came, if this node can have asked it.
    fn asked_at(&self, now: Instant, asked: u64) -> Option<Instant> {
        let asked = Instant::from_nanos(asked);
        match &self.phase {
            Phase::Seeking(seeking) => (seeking.began <= asked && asked <= now).then_some(asked),
            _ => None,
        }
    }

    pub(super) fn handle_in_cluster(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        asked: u64,
        configuration: &Configuration,
    ) {
        if self.asked_at(cx.now, asked).is_none() {
            self.counters.untimely += 1;
            return;
        }
        let differing = self.settings.configuration.differing(configuration);
        if !differing.is_empty() {
            self.give_up_incompatible(cx, from, differing);
            return;
        }
        let (now, timeout) = (cx.now, self.settings.join_timeout);
        let Phase::Seeking(seeking) = &mut self.phase else {
            return;
        };
        if let Some(contact) = seeking.contacts.get_mut(&from.address) {
            contact.heard = Some(now);
        }
        let others_first = |(node, until): &(NodeId, Instant)| node == from && now < *until;
        if seeking.target.is_none() && !seeking.passed_over.as_ref().is_some_and(others_first) {
            seeking.target = Some(Target {
                node: from.clone(),
                retry_due: now,
                give_up: now + timeout,
                give_up_at_last: now + timeout * PATIENCE,
            });
            self.press(cx);
        }
    }

    /// It is in no cluster, and this node may be the one that founds it.
    pub(super) fn handle_not_in_cluster(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        asked: u64,
        consent: bool,
        candidate: bool,
    ) {
        let now = cx.now;
        let asked = self.asked_at(now, asked);
        let (Some(asked), Phase::Seeking(seeking)) = (asked, &mut self.phase) else {
            self.counters.untimely += 1;
            return;
        };
        if let Some(contact) = seeking.contacts.get_mut(&from.address) {
            contact.refusals = None;
            contact.heard = Some(now);
            contact.answer = Some(Answer {
                asked,
                consent,
                candidate,
            });
        }
        self.seek(cx);
    }

    pub(super) fn handle_incompatible(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        names: Vec<Box<str>>,
    ) {
        if self.is_asked(from) {
            self.give_up_incompatible(cx, from, names);
        } else {
            self.counters.untimely += 1;
        }
    }

    fn give_up_incompatible(&mut self, cx: &mut Context<'_>, by: &NodeId, names: Vec<Box<str>>) {
        let event = Event::Incompatible {
            by: by.clone(),
            names: names.clone(),
        };
        self.publish_event(cx, event);
        self.end(cx, StopReason::Incompatible { names });
    }

    /// Whether this node seeks a cluster, and asked that one for it.
    pub(super) fn is_asked(&self, from: &NodeId) -> bool {
        match &self.phase {
            Phase::Seeking(seeking) => seeking.contacts.contains_key(&from.address),
            _ => false,
        }
    }

    fn is_target(&self, from: &NodeId) -> bool {
        match &self.phase {
            Phase::Seeking(seeking) => seeking.target.as_ref().is_some_and(|it| it.node == *from),
            _ => false,
        }
    }

    pub(super) fn handle_welcome(&mut self, cx: &mut Context<'_>, from: &NodeId, view: Gossip) {
        if matches!(self.phase, Phase::Active(_)) {
            // Once more, or by another one: it is a view as others are.
            return self.handle_gossip(cx, from, &view);
        }
        let own = self.own.node.uid;
        let is_in = view
            .member(own)
            .is_some_and(|it| !it.status().is_departing());
        let are_both_in = is_in && view.node(from.uid) == Some(from);
        if !self.is_target(from) {
            self.counters.untimely += 1;
        } else if !are_both_in || view.node(own) != Some(&self.own.node) {
            self.counters.illegal += 1;
        } else {
            self.enter(cx, view, Some(from.clone()));
        }
    }

    pub(super) fn handle_join_refused(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        refusal: Refusal,
    ) {
        if !self.is_target(from) {
            self.counters.untimely += 1;
            return;
        }
        match refusal {
            Refusal::AddressInUse => {
                let by = from.clone();
                self.publish_event(cx, Event::AddressInUse { by });
                self.end(cx, StopReason::AddressInUse);
            }
            Refusal::Incompatible => self.give_up_incompatible(cx, from, Vec::new()),
            Refusal::Removed => self.end(cx, StopReason::Removed),
            Refusal::Wait => self.be_patient(cx.now),
            Refusal::Full | Refusal::ShuttingDown | Refusal::NotMember => {
                self.look_on(cx.now + self.settings.join_retry);
            }
        }
    }

    fn be_patient(&mut self, now: Instant) {
        let timeout = self.settings.join_timeout;
        if let Phase::Seeking(seeking) = &mut self.phase
            && let Some(target) = &mut seeking.target
        {
            target.give_up = (now + timeout).min(target.give_up_at_last);
        }
    }

    /// Asks all of them again, from `ask_due` on; whoever could not let this node in is heeded
    /// again when the others had the time to answer.
    fn look_on(&mut self, ask_due: Instant) {
        let others_first = ask_due + ANSWER;
        if let Phase::Seeking(seeking) = &mut self.phase {
            let target = seeking.target.take();
            seeking.passed_over = target.map(|it| (it.node, others_first));
            seeking.ask_due = ask_due;
        }
    }
}
