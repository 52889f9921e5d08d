//! How a node finds its cluster, or founds it.

mod founding;
mod in_use;
mod letting_in;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::{Address, NodeId};
use ringmesh_proto::time::Instant;

#[cfg(test)]
pub(crate) use self::in_use::IN_USE;
use self::in_use::Taken;
use self::letting_in::Target;
use super::{Active, Membership, Phase};
use crate::context::Context;
use crate::effect::{Effect, StopReason};
use crate::membership::command::CommandError;
use crate::membership::configuration::Configuration;
use crate::membership::event::Event;
use crate::membership::gossip::{ClusterId, Gossip, MEMBERS_MAX};
use crate::membership::member::Member;
use crate::membership::memory::{Memory, Remembered};
use crate::membership::message::Message;
use crate::membership::settings::{self, Settings};

/// How long the answer to a question counts, from when it was asked: less than
/// [`PROMISE`](super::answering::PROMISE), so whoever counts on one has it still.
pub(super) const ANSWER: Duration = Duration::from_millis(1500);

/// The most addresses that are asked: those of two clusters of the largest size.
pub(crate) const CONTACTS_MAX: usize = 2 * MEMBERS_MAX;

/// How much more seldom is asked after the [`seed_timeout`](Settings::seed_timeout).
const LATE: u32 = 5;

/// Why nobody answered at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactFailure {
    /// The host refused the connection: no process listens there.
    Refused,
    /// Nothing came back, or the network is not there. Says nothing about the process.
    Silent,
    /// A process listens and does not want to speak to this one.
    Rejected,
    /// A process listens, has dialled the address of this node, and another one answered there.
    AddressInUse,
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
#[derive(Clone, Debug, Default)]
struct Contact {
    is_seed: bool,
    answer: Option<Answer>,
    /// What it said with that of its cluster, unless this node remembers the very same.
    told: Option<Memory>,
    /// It said that it is in a cluster, and has not taken that back.
    is_member: bool,
    /// When anything came from there last.
    heard: Option<Instant>,
    /// Dials that were refused one after the other, and when the first was.
    refusals: Option<(u32, Instant)>,
    /// It says that this node's address is another's.
    taken: Option<Taken>,
}

/// It is in no cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) asked: Instant,
    /// Whether this node may found one.
    pub(super) consent: bool,
    /// Whether it would do so itself.
    pub(super) candidate: bool,
    /// Whether it remembers one.
    pub(super) remembers: bool,
}

impl Seeking {
    pub(super) fn poll_timeout(&self) -> Instant {
        let due = self.ask_due.min(self.waiting_due);
        match &self.target {
            Some(target) => target.due().min(self.waiting_due),
            None => due,
        }
    }

    /// Whether a member is to let this node in, or another one than `asker` said that it is in a
    /// cluster when it was asked last.
    pub(super) fn knows_member_but(&self, asker: &Address) -> bool {
        let hears = |heard: Instant| self.asked - heard < ANSWER;
        let says_so = |it: &Contact| it.is_member && it.heard.is_some_and(hears);
        let mut others = self.contacts.iter().filter(|it| it.0 != asker);
        self.target.is_some() || others.any(|(_, it)| says_so(it))
    }

    /// Whoever is at an address is asked as well, as far as there is room.
    pub(super) fn get_to_know(&mut self, own: &Address, address: &Address) {
        get_to_know(&mut self.contacts, own, address);
    }

    /// What whoever is at an address answered last, if it is in no cluster.
    pub(super) fn answer_of(&self, address: &Address) -> Option<Answer> {
        self.contacts.get(address)?.answer
    }

    /// How long it is from one question to the next.
    fn interval(&self, settings: &Settings, now: Instant) -> Duration {
        let is_late = now - self.began >= settings.seed_timeout;
        settings.ask_interval * if is_late { LATE } else { 1 }
    }

    /// Who did not answer when they were asked last. While one is to let this node in the others
    /// are not asked.
    fn silent(&self) -> Vec<Address> {
        let hears = |heard: Instant| self.asked - heard < ANSWER;
        let says = |contact: &Contact| contact.says_in_use(self.asked);
        let is_silent = |contact: &Contact| !(contact.heard.is_some_and(hears) || says(contact));
        let contacts = self.contacts.iter().filter(|(_, it)| is_silent(it));
        contacts.map(|(address, _)| address.clone()).collect()
    }
}

impl Contact {
    fn fresh(&self, now: Instant) -> Option<Answer> {
        self.answer.filter(|it| now - it.asked < ANSWER)
    }
}

/// Whoever is remembered is asked as well, as far as there is room: who is not asked agrees to
/// nothing.
fn get_to_know_all(contacts: &mut BTreeMap<Address, Contact>, own: &Address, memory: &Memory) {
    for Remembered { node, .. } in &*memory.members {
        get_to_know(contacts, own, &node.address);
    }
}

fn get_to_know(contacts: &mut BTreeMap<Address, Contact>, own: &Address, address: &Address) {
    let is_known = address == own || contacts.contains_key(address);
    if !is_known && contacts.len() < CONTACTS_MAX {
        contacts.insert(address.clone(), Contact::default());
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
        let seed = Contact {
            is_seed: true,
            ..Contact::default()
        };
        let seeds = seeds.into_iter().map(|address| (address, seed.clone()));
        let mut contacts: BTreeMap<Address, Contact> = seeds.collect();
        if let Some(memory) = &self.memory {
            get_to_know_all(&mut contacts, own, memory);
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
        if self.postponed.is_some() {
            return Err(CommandError::NoVersion);
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
        let electorate = self.electorate.clone();
        let mut active = Active::new(cx.now, settings, own, electorate, view);
        active.note_change();
        self.phase = Phase::Active(Box::new(active));
        self.memory = None;
        // As a member it tells them that it is one.
        self.foreign.clear();
        let event = match by {
            Some(by) => Event::Welcomed { cluster, by },
            None => Event::Founded { cluster },
        };
        self.publish_event(cx, event);
    }

    /// Asks whoever is to be asked, and founds a cluster if nobody is in one.
    pub(super) fn seek(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        if self.give_way(cx) {
            return;
        }
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

    fn ask(&mut self, cx: &mut Context<'_>) {
        // Who lets another one found it would not: the word of others is better kept for that one.
        let is_free = !self.has_promised(cx.now);
        let Phase::Seeking(seeking) = &mut self.phase else {
            return;
        };
        if cx.now < seeking.ask_due {
            return;
        }
        seeking.ask_due = cx.now + seeking.interval(&self.settings, cx.now);
        seeking.asked = cx.now;
        let question = Message::InitJoin {
            asked: cx.now.as_nanos(),
            candidate: seeking.may_found && is_free,
            configuration: self.settings.compared(),
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
        contact.told = None;
        contact.heard = None;
        if why == ContactFailure::AddressInUse {
            contact.note_in_use(now);
        }
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

    /// Whether this node can have asked the question at that time to which an answer came.
    fn can_have_asked(&self, now: Instant, asked: Instant) -> bool {
        match &self.phase {
            Phase::Seeking(seeking) => seeking.began <= asked && asked <= now,
            _ => false,
        }
    }

    pub(super) fn handle_in_cluster(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        (asked, cluster): (u64, ClusterId),
        configuration: &Configuration,
    ) {
        if matches!(&self.phase, Phase::Active(it) if it.view.cluster() != cluster) {
            return self.refuse_foreign(cx, from, cluster);
        }
        if !self.can_have_asked(cx.now, Instant::from_nanos(asked)) {
            self.counters.untimely += 1;
            return;
        }
        let differing = self.settings.configuration.differing(configuration);
        if !differing.is_empty() && self.settings.enforces_configuration {
            self.give_up_incompatible(cx, from, differing);
            return;
        }
        let (now, timeout) = (cx.now, self.settings.join_timeout);
        let Phase::Seeking(seeking) = &mut self.phase else {
            return;
        };
        if let Some(contact) = seeking.contacts.get_mut(&from.address) {
            contact.hear(now);
            contact.answer = None;
            contact.told = None;
            contact.is_member = true;
        }
        if self.is_bound_to_another(now, from) {
            return;
        }
        let Phase::Seeking(seeking) = &mut self.phase else {
            return;
        };
        let target = seeking.target.as_ref();
        if target.is_some_and(|it| it.cluster != cluster) {
            return self.refuse_foreign(cx, from, cluster);
        }
        let others_first = |(node, until): &(NodeId, Instant)| node == from && now < *until;
        if seeking.target.is_none() && !seeking.passed_over.as_ref().is_some_and(others_first) {
            seeking.target = Some(Target::new(from.clone(), cluster, now, timeout));
            self.press(cx);
            if !differing.is_empty() {
                let (by, names) = (from.clone(), differing);
                self.publish_event(cx, Event::ConfigurationDiffers { by, names });
            }
        }
    }

    /// It is in no cluster, and this node may be the one that founds it.
    pub(super) fn handle_not_in_cluster(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        answer: Answer,
        memory: Option<Memory>,
    ) {
        let now = cx.now;
        let was_asked = self.can_have_asked(now, answer.asked);
        let Phase::Seeking(seeking) = &mut self.phase else {
            self.counters.untimely += 1;
            return;
        };
        if !was_asked {
            self.counters.untimely += 1;
            return;
        }
        if let Some(contact) = seeking.contacts.get_mut(&from.address) {
            contact.refusals = None;
            contact.hear(now);
            contact.is_member = false;
            contact.answer = Some(answer);
            contact.told = memory.filter(|it| self.memory.as_ref() != Some(it));
            if let Some(told) = contact.told.clone() {
                get_to_know_all(&mut seeking.contacts, &self.own.node.address, &told);
            }
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
        self.is_sought_at(&from.address)
    }

    /// Whether this node seeks a cluster, and asks for it there.
    pub(super) fn is_sought_at(&self, address: &Address) -> bool {
        match &self.phase {
            Phase::Seeking(seeking) => seeking.contacts.contains_key(address),
            _ => false,
        }
    }
}
