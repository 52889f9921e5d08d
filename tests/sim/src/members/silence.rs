//! Invariants 12 and 13: who is silent is accused, and nobody else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringmesh_cluster::membership::Status;
use ringmesh_cluster::membership::event::{Event, Numbered};
use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::Participant;
use crate::invariant::Invariant;
use crate::misfortune::Fault;
use crate::world::World;

/// How long after a fault nobody may be accused for it any more.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// How long a silence lasts until whoever watches has to have said so.
const NOTICED: Duration = Duration::from_secs(10);

/// How long nothing else may have been wrong, for a silence to be noticed that soon: whoever was
/// heard of now and then is waited for longer.
const USUAL: Duration = Duration::from_secs(60);

/// A member that hears nothing of another that it watches for 10 s says so, if nothing else is
/// wrong with it; and it accuses nobody while both and the path between them were well for 10 s.
#[derive(Debug, Default)]
pub struct Silence {
    accused: BTreeSet<(Uid, Uid)>,
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
        let Some(other) = place(world, subject) else {
            return Ok(0);
        };
        let is_new = self.accused.insert((observer, subject));
        let is_calm = world.is_calm(FORGOTTEN, |fault| concerns(fault, node, other));
        match is_new && is_calm {
            true => Err(format!(
                "node {node} accuses node {other}, and nothing is wrong"
            )),
            false => Ok(1),
        }
    }

    /// Whether a node has to have noticed by now that another is silent.
    fn is_overdue(world: &World<Participant>, node: usize, other: usize) -> bool {
        let long = |(fault, began): (&Fault, _)| {
            fault.silences(other, node) && world.now() - began > NOTICED
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
        let mut checked = 0;
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
                let known = self.known.get(&(own, subject));
                if known.is_none_or(|since| world.now() - *since <= NOTICED) {
                    continue;
                }
                let addresses = world.addresses().iter();
                let other = addresses.zip(0..).find(|(it, _)| *it == member.address());
                let Some((_, other)) = other else {
                    continue;
                };
                if !Self::is_overdue(world, node, other) {
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
