//! Invariants 12 and 13: who is silent is accused, and nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmesh_cluster::membership::Status;
use ringmesh_cluster::membership::event::{Event, Numbered};
use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::Participant;
use super::views::viewers;
use crate::invariant::Invariant;
use crate::misfortune::Fault;
use crate::world::World;

/// How long after a fault nobody may be accused for it any more.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// How long a silence lasts until whoever watches has to have said so.
const NOTICED: Duration = Duration::from_secs(10);

/// The same of one in another data centre, who is asked less often and waited for longer.
const NOTICED_FAR: Duration = Duration::from_secs(18);

/// How long nothing else may have been wrong, for a silence to be noticed that soon: whoever was
/// heard of now and then is waited for longer.
const USUAL: Duration = Duration::from_secs(60);

/// A member that hears nothing of another that it watches for 10 s says so, if nothing else is
/// wrong with it, or for 18 s if that is in another data centre; and it accuses nobody while both
/// and the path between them were well for 10 s.
#[derive(Debug, Default)]
pub struct Silence {
    accused: BTreeSet<(Uid, Uid)>,
    /// Whom those accuse that are in another data centre, of which no event tells.
    accused_far: BTreeSet<(Uid, Uid)>,
    /// Since when one watches another there.
    watched_far: BTreeMap<(Uid, Uid), Instant>,
    /// Since when a member knows of another: before that it cannot notice anything.
    known: BTreeMap<(Uid, Uid), Instant>,
}

/// The place of a process start that runs.
fn place(world: &World<Participant>, uid: Uid) -> Option<usize> {
    world.running().find(|node| world.uid(*node) == Some(uid))
}

/// Whether a fault is about two nodes, or what goes between them.
pub(super) fn concerns(fault: &Fault, one: usize, other: usize) -> bool {
    fault.is_of(one) || fault.is_of(other) || fault.is_between(one, other)
}

/// Whether a member says that it cannot reach another one. Its own word is asked for: in the view
/// of whoever was given up itself that counts for nothing any more.
fn says_so(machine: &Participant, subject: Uid) -> bool {
    let control = machine.control();
    let own = control.topology().own().uid;
    let view = control.membership().gossip();
    view.is_some_and(|view| view.reachability().record(own, subject).is_some())
}

impl Silence {
    fn accuse(
        &mut self,
        world: &World<Participant>,
        (node, observer): (usize, Uid),
        subject: Uid,
    ) -> Result<u64, String> {
        let is_new = self.accused.insert((observer, subject));
        judge_new(world, (node, subject), is_new, FORGOTTEN)
    }

    /// Looks at what members say of those in other data centres.
    fn look_far(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut checked = 0;
        let mut accused = BTreeSet::new();
        let mut watched = BTreeMap::new();
        for viewer in viewers(world) {
            let own = viewer.uid;
            let is_far = |uid: &Uid| {
                let member = viewer.view.member(*uid);
                member.is_some_and(|it| it.roles().data_centre() != viewer.data_centre())
            };
            for subject in viewer.control.monitor().subjects().filter(is_far) {
                let since = self.watched_far.get(&(own, subject)).copied();
                watched.insert((own, subject), since.unwrap_or_else(|| world.now()));
            }
            let row = viewer.view.reachability().row(own);
            let records = row.into_iter().flat_map(|it| it.records.keys().copied());
            for subject in records.filter(is_far) {
                let is_new = !self.accused_far.contains(&(own, subject));
                // It was said within the last second.
                let span = FORGOTTEN + Duration::from_secs(1);
                checked += judge_new(world, (viewer.node, subject), is_new, span)?;
                accused.insert((own, subject));
            }
        }
        (self.accused_far, self.watched_far) = (accused, watched);
        Ok(checked)
    }

    /// How long a silence may last, and since when the one can have noticed it.
    fn limit(&self, own: Uid, subject: Uid) -> (Duration, Option<Instant>) {
        let pair = (own, subject);
        match self.watched_far.get(&pair) {
            Some(since) => (NOTICED_FAR, Some(*since)),
            None => (NOTICED, self.known.get(&pair).copied()),
        }
    }
}

/// Says what a member's word of another one is worth that it says for the first time, or not.
fn judge_new(
    world: &World<Participant>,
    (node, subject): (usize, Uid),
    is_new: bool,
    span: Duration,
) -> Result<u64, String> {
    let Some(other) = place(world, subject) else {
        return Ok(0);
    };
    let is_calm = || world.is_calm(span, |fault| concerns(fault, node, other));
    match is_new && is_calm() {
        true => Err(format!(
            "node {node} accuses node {other}, and nothing is wrong"
        )),
        false => Ok(1),
    }
}

impl Silence {
    /// Whether a node has to have noticed by now that another is silent.
    fn is_overdue(
        world: &World<Participant>,
        (node, other): (usize, usize),
        limit: Duration,
    ) -> bool {
        let long = |(fault, began): (&Fault, _)| {
            fault.silences(other, node) && world.now() - began > limit
        };
        let mut silences = world.faults_now().filter(|it| concerns(it.0, node, other));
        let (Some(first), None) = (silences.next(), silences.next()) else {
            return false;
        };
        long(first) && world.was_calm(USUAL, |fault| concerns(fault, node, other))
    }
}

impl Invariant<Participant> for Silence {
    fn name(&self) -> &'static str {
        "silence"
    }

    fn observe_event(
        &mut self,
        world: &World<Participant>,
        node: usize,
        event: &Numbered,
    ) -> Result<u64, String> {
        let Some(observer) = world.uid(node) else {
            return Ok(0);
        };
        match &event.event {
            Event::Unreachable {
                node: subject, by, ..
            } if by.contains(&observer) => self.accuse(world, (node, observer), subject.uid),
            Event::Member(member) => {
                let pair = (observer, member.uid());
                self.known.entry(pair).or_insert_with(|| world.now());
                Ok(0)
            }
            Event::Reachable { node: subject } => {
                self.accused.remove(&(observer, subject.uid));
                Ok(0)
            }
            _ => Ok(0),
        }
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut checked = self.look_far(world)?;
        for node in world.running().filter(|node| !world.is_paused(*node)) {
            let Some(machine) = world.machine(node) else {
                continue;
            };
            let topology = machine.control().topology();
            let own = topology.own().uid;
            for subject in machine.control().monitor().subjects() {
                let Some(member) = topology.member(subject) else {
                    continue;
                };
                let (limit, known) = self.limit(own, subject);
                if known.is_none_or(|since| world.now() - since <= limit) {
                    continue;
                }
                let addresses = world.addresses().iter();
                let other = addresses.zip(0..).find(|(it, _)| *it == member.address());
                let Some((_, other)) = other else {
                    continue;
                };
                if !Self::is_overdue(world, (node, other), limit) {
                    continue;
                }
                checked += 1;
                if !says_so(machine, subject) && member.status() != Status::Down {
                    return Err(format!(
                        "node {node} has not noticed that {other} is silent"
                    ));
                }
            }
        }
        Ok(checked)
    }
}
