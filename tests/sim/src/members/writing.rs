//! What a member writes into its view by itself, seen from outside of its machines.
//!
//! Whatever the view of a member says that it did not say before, and that the message at hand did
//! not say either, the member itself has written. So two views, and what was heard between them,
//! tell who moved whom on, and in what state of things, whatever the machines say of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringmesh_cluster::control::Control;
use ringmesh_cluster::effect::Effect;
use ringmesh_cluster::membership::clock::VersionVector;
use ringmesh_cluster::membership::convergence::Part;
use ringmesh_cluster::membership::event::Event;
use ringmesh_cluster::membership::message::Message;
use ringmesh_cluster::membership::{ClusterId, Gossip, Member, Status, Topology};
use ringmesh_cluster::resolver::Decision;
use ringmesh_proto::address::{Address, Uid};
use ringmesh_proto::time::Instant;

use super::Participant;
use crate::happening::Happening;
use crate::world::World;

/// What a member wrote into its view in one call of its machines.
#[derive(Clone, Debug)]
pub struct Writing {
    /// Of which cluster the view is.
    pub cluster: ClusterId,
    /// Whom it moved on.
    pub moves: Vec<Move>,
    /// The members of its data centre before that.
    pub members: Vec<Standing>,
    /// Those of others, with the name of their data centre.
    pub elsewhere: Vec<(Box<str>, Standing)>,
    /// The version of its view before that.
    pub version: VersionVector,
    /// What was decided of a split cluster in the same call.
    pub decision: Option<Arc<Decision>>,
    /// What it was told in that call.
    pub told: Told,
}

/// What a member is told in a call, as far as it may change its view by that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Told {
    /// Nothing of that sort.
    #[default]
    Nothing,
    /// This message.
    Message(Vec<u8>),
    /// Its user wants the member at this address given up.
    Down(Address),
    /// Who is at this address.
    Identity(Address),
}

/// A member that was moved on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Who.
    pub uid: Uid,
    /// Where it is.
    pub address: Address,
    /// To where in its life.
    pub to: Status,
}

/// How a member stood before others, or it, were moved on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Who.
    pub uid: Uid,
    /// Where it is.
    pub address: Address,
    /// Where it was in its life.
    pub status: Status,
    /// Whether somebody whose word counts says that it cannot be reached.
    pub is_accused: bool,
    /// Whether it gave itself up, and nobody else has, not in this call either.
    pub has_resigned: bool,
}

/// What a member knew before a call, what it is told in it, and what it says of it.
#[derive(Debug)]
pub(super) struct Before {
    topology: Arc<Topology>,
    /// How many changes of its own its view had.
    changes: u64,
    /// Who had given itself up, and had been given up by nobody else.
    resigned: BTreeSet<Uid>,
    told: Told,
    moves: Vec<Move>,
    /// Whether it showed its view after it had moved somebody on last.
    is_shown: bool,
    /// Whom somebody cannot reach only since then.
    accused_since: BTreeSet<Uid>,
    decision: Option<Arc<Decision>>,
}

fn is_noted(status: Status) -> bool {
    use Status::{Down, Exiting, ReadyForShutdown, Up};
    matches!(status, Up | ReadyForShutdown | Exiting | Down)
}

impl Before {
    pub(super) fn of(control: &Control, told: Told) -> Self {
        let topology = Arc::clone(control.topology());
        let own = topology.own().uid;
        let view = control.membership().gossip();
        let resigned = view.into_iter().flat_map(|view| {
            let members = view.members().map(Member::uid);
            members.filter(|uid| view.has_resigned(*uid))
        });
        Self {
            changes: view.map_or(0, |view| view.version().of(own)),
            resigned: resigned.collect(),
            topology,
            told,
            moves: Vec::new(),
            is_shown: false,
            accused_since: BTreeSet::new(),
            decision: None,
        }
    }

    /// What the member wants done, as it says so in the call.
    pub(super) fn note(&mut self, effect: &Effect) {
        match effect {
            Effect::Publish(numbered) => self.note_event(&numbered.event),
            Effect::Topology(_) => self.is_shown = !self.moves.is_empty(),
            _ => {}
        }
    }

    fn note_event(&mut self, event: &Event) {
        let (node, to) = match event {
            Event::Member(member) if is_noted(member.status()) => (member.node(), member.status()),
            Event::Removed { node, .. } => (node, Status::Removed),
            Event::Decision(decision) => {
                self.note_decision(decision);
                return;
            }
            Event::Unreachable { node, .. } if self.is_shown => {
                self.accused_since.insert(node.uid);
                return;
            }
            _ => return,
        };
        let uid = node.uid;
        if self.status(uid) == Some(to) {
            return;
        }
        self.is_shown = false;
        self.accused_since.clear();
        // Whoever is given up and removed in one call is both.
        self.moves
            .retain(|it| it.uid != uid || it.to == Status::Down);
        let down = matches!(event, Event::Removed { previous, .. } if *previous == Status::Down);
        let was_down = self.moves.iter().any(|it| it.uid == uid);
        let is_downed = down && !was_down && self.status(uid) != Some(Status::Down);
        for to in is_downed.then_some(Status::Down).into_iter().chain([to]) {
            let address = node.address.clone();
            self.moves.push(Move { uid, address, to });
        }
    }

    /// Of whoever was down already nothing else tells that it is given up.
    fn note_decision(&mut self, decision: &Arc<Decision>) {
        self.decision = Some(Arc::clone(decision));
        let down = decision.down.iter();
        let again = down.filter(|node| self.resigned.contains(&node.uid));
        self.moves.extend(again.map(|node| Move {
            uid: node.uid,
            address: node.address.clone(),
            to: Status::Down,
        }));
    }

    fn status(&self, uid: Uid) -> Option<Status> {
        self.topology.member(uid).map(Member::status)
    }

    /// What the member wrote, now that the call is over. Nothing can be said of one that ended.
    pub(super) fn writing(mut self, control: &Control, now: Instant) -> Option<Writing> {
        if self.moves.is_empty() {
            return None;
        }
        let view = control.membership().gossip()?;
        let heard = self.heard(now);
        let is_written = |it: &Move| {
            let Some(heard) = &heard else {
                return true;
            };
            let told = heard.member(it.uid).map(Member::status);
            heard.tombstone(it.uid).is_none() && told.is_none_or(|told| told < it.to)
        };
        self.moves.retain(is_written);
        if self.moves.is_empty() {
            return None;
        }
        let own = self.topology.own().uid;
        let before = |(uid, changes)| (uid, if uid == own { self.changes } else { changes });
        Some(Writing {
            cluster: view.cluster(),
            members: self.members(view, heard.as_ref()),
            elsewhere: self.elsewhere(heard.as_ref()),
            version: view.version().iter().map(before).collect(),
            decision: self.decision,
            told: self.told,
            moves: self.moves,
        })
    }

    /// The view that the message at hand holds, if it does.
    fn heard(&self, now: Instant) -> Option<Gossip> {
        let Told::Message(body) = &self.told else {
            return None;
        };
        let system = self.topology.own().address.system();
        match Message::decode(body, system, now).ok()?.1 {
            Message::Gossip(view) | Message::Welcome(view) => Some(*view),
            _ => None,
        }
    }

    fn is_given_up(&self, uid: Uid) -> bool {
        let mut moves = self.moves.iter();
        moves.any(|it| it.uid == uid && it.to == Status::Down)
    }

    /// Whether it was lost by its own word alone, as far as was known and heard in the call.
    fn has_resigned(&self, standing: &Standing, heard: Option<&Gossip>) -> bool {
        let uid = standing.uid;
        let is_told = heard.is_some_and(|it| {
            let is_member = it.member(uid).is_some();
            it.tombstone(uid).is_some() || (is_member && !it.has_resigned(uid))
        });
        let is_wanted = matches!(&self.told, Told::Down(at) if *at == standing.address);
        self.resigned.contains(&uid) && !self.is_given_up(uid) && !is_told && !is_wanted
    }

    fn last_move(&self, uid: Uid) -> Option<Status> {
        let mut moves = self.moves.iter().rev();
        moves.find(|it| it.uid == uid).map(|it| it.to)
    }

    /// Where a member was in its life before the leader moved it on: as it was before the call, or
    /// as was heard in it, but for those that were given up in it.
    fn was(&self, uid: Uid, heard: Option<&Gossip>) -> Status {
        let told = heard.and_then(|it| it.member(uid)).map(Member::status);
        let was = self.status(uid).max(told).unwrap_or(Status::Joining);
        match self.last_move(uid) {
            _ if self.is_given_up(uid) => Status::Down,
            // Nobody is who did not leave before, be it in the same call.
            Some(Status::Exiting) => was.max(Status::Leaving),
            _ => was,
        }
    }

    /// The data centre of a member that was known before the call, or is by it.
    fn data_centre<'a>(&'a self, uid: Uid, heard: Option<&'a Gossip>) -> Option<&'a str> {
        let told = heard.and_then(|it| it.member(uid));
        let member = self.topology.member(uid).or(told);
        member.map(|it| it.roles().data_centre())
    }

    /// The members of other data centres as they were.
    fn elsewhere(&self, heard: Option<&Gossip>) -> Vec<(Box<str>, Standing)> {
        let home = self.topology.data_centre();
        let told = heard.into_iter().flat_map(Gossip::members);
        let known: BTreeMap<Uid, &Member> = self
            .topology
            .members()
            .iter()
            .chain(told)
            .map(|it| (it.uid(), it))
            .collect();
        let others = known.into_values();
        let others = others.filter(|it| it.roles().data_centre() != home);
        // Whoever was heard to be removed is none any more.
        let is_gone = |uid| heard.is_some_and(|it| it.tombstone(uid).is_some());
        let standing = |it: &Member| Standing {
            uid: it.uid(),
            address: it.address().clone(),
            status: self.was(it.uid(), heard),
            is_accused: false,
            has_resigned: false,
        };
        let others = others.filter(|it| !is_gone(it.uid()));
        others
            .map(|it| (it.roles().data_centre().into(), standing(it)))
            .collect()
    }

    /// The members of the own data centre as they were before the leader moved any of them on.
    fn members(&self, view: &Gossip, heard: Option<&Gossip>) -> Vec<Standing> {
        let home = self.topology.data_centre();
        let part = Part::new(view, home);
        let accused = part.accused();
        let was = |uid| self.was(uid, heard);
        let standing = |uid: Uid, address: &Address, status| Standing {
            uid,
            address: address.clone(),
            status,
            is_accused: accused.contains(&uid) && !self.accused_since.contains(&uid),
            has_resigned: false,
        };
        let staying = part.members().map(|it| match self.last_move(it.uid()) {
            Some(_) => standing(it.uid(), it.address(), was(it.uid())),
            // That is no move, and the leader's word as well.
            None if it.status() == Status::WeaklyUp => {
                standing(it.uid(), it.address(), was(it.uid()))
            }
            None => standing(it.uid(), it.address(), it.status()),
        });
        let is_home = |it: &&Move| {
            let place = self.data_centre(it.uid, heard);
            place.is_none_or(|place| place == home)
        };
        let removed = self.moves.iter().filter(|it| it.to == Status::Removed);
        let removed = removed.filter(is_home);
        let removed = removed.map(|it| standing(it.uid, &it.address, was(it.uid)));
        let judged = staying.chain(removed).map(|it| Standing {
            has_resigned: self.has_resigned(&it, heard),
            ..it
        });
        judged.collect()
    }
}

/// Reads what members wrote, each writing once.
#[derive(Debug, Default)]
pub(super) struct Writings(BTreeMap<Uid, usize>);

impl Writings {
    /// What the member of a node has written since it was asked last: where it runs, who it is, and
    /// what it wrote.
    pub(super) fn read<'a>(
        &mut self,
        world: &'a World<Participant>,
        happening: &Happening,
    ) -> Option<(usize, Uid, &'a [Writing])> {
        let Happening::Acted { node, .. } = *happening else {
            return None;
        };
        let (uid, machine) = world.uid(node).zip(world.machine(node))?;
        let writings = machine.writings();
        if writings.is_empty() {
            return None;
        }
        let read = self.0.entry(uid).or_default();
        let fresh = &writings[*read..];
        *read = writings.len();
        (!fresh.is_empty()).then_some((node, uid, fresh))
    }
}
