//! Actors under paths, and what the cores send there.

use std::cell::RefCell;

use ringmesh_cluster::pubsub::{
    Announce, AnnouncementId, Candidate, Interests, Nodes, Path, SendError, SubscriberId,
    SubscriptionId, Whom,
};
use ringmesh_cluster::registry::{Key, Kind, Place, Standing};
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::link::Target;

use super::journal::{Actor, At, Entry, Exercise, PATHS, Role, Sent, Shared};
use super::publishing::owners;
use super::users::{ACTORS_MAX, Errand, Put};
use super::{Core, Parcel, Room, TOLD_TAG};
use crate::canary::Canary;
use crate::machine::Outbox;
use crate::random::mix;
use crate::trace::digest;

/// The most messages that wait at an actor.
const MAILBOX: usize = 4;

/// Actors are no subscribers: their numbers as such are others.
const FIRST_ACTOR: u64 = 100;

/// An actor that is put under a path.
#[derive(Debug)]
struct Living {
    id: SubscriptionId,
    actor: Actor,
    /// How much waits for it.
    waiting: usize,
}

/// All actors of a core that are under paths.
#[derive(Debug)]
pub(super) struct Actors {
    at: At,
    all: Vec<Living>,
    last: u64,
}

impl Actors {
    pub(super) fn new(at: At) -> Self {
        let (all, last) = (Vec::new(), 0);
        Self { at, all, last }
    }

    /// Puts one under a path, if there is room. By what it is announced, and its number.
    pub(super) fn put(
        &mut self,
        put: &Put,
        interests: &mut Interests,
        journal: &Shared,
        out: &mut Vec<Announce>,
    ) -> Option<(AnnouncementId, usize)> {
        if self.all.len() >= ACTORS_MAX {
            return None;
        }
        self.last += 1;
        let target = Target {
            slot: self.all.len() as u32,
            generation: self.last,
        };
        let path = Path::new(PATHS[put.path]).expect("a path");
        let subscriber = (SubscriberId(FIRST_ACTOR + self.last), target);
        let begun = interests.put(&path, put.kind, subscriber, out);
        let begun = begun.expect("few are held");
        let actor = (self.at.0, self.at.1, self.last);
        let number = journal.borrow_mut().put(actor, put.path, put.kind);
        self.all.push(Living {
            id: begun.id,
            actor,
            waiting: 0,
        });
        Some((begun.announcement, number))
    }

    /// One of them ends.
    pub(super) fn end_one(
        &mut self,
        which: u64,
        interests: &mut Interests,
        journal: &Shared,
        out: &mut Vec<Announce>,
    ) {
        let Some(place) = which.checked_rem(self.all.len() as u64) else {
            return;
        };
        let id = self.all[place as usize].id;
        assert!(interests.unsubscribe(id, out), "it has not ended");
        self.end(id, journal);
    }

    /// One has ended, if it is one of them.
    pub(super) fn end(&mut self, id: SubscriptionId, journal: &Shared) {
        if let Some(place) = self.all.iter().position(|it| it.id == id) {
            let ended = self.all.swap_remove(place);
            let mut journal = journal.borrow_mut();
            journal.write(Entry::ActorEnded(ended.actor));
        }
    }

    /// All take some of what waits for them.
    pub(super) fn take(&mut self, count: usize) {
        for it in &mut self.all {
            it.waiting = it.waiting.saturating_sub(count);
        }
    }

    fn living(&mut self, actor: Actor) -> Option<&mut Living> {
        self.all.iter_mut().find(|it| it.actor == actor)
    }
}

/// What is sent to an actor, on its way.
#[derive(Clone, Copy, Debug)]
pub(in crate::members) struct Told {
    send: u64,
    actor: Actor,
    /// By which frame, if it comes from another node.
    frame: Option<u64>,
}

/// What a send sees of the nodes it may go to, and what it has found out of actors there.
struct View {
    own: Uid,
    role: Option<Role>,
    crowded: Option<u64>,
    /// Those of this core that had ended, or to whom there was no room.
    ended: RefCell<Vec<Actor>>,
    full: RefCell<Vec<Actor>>,
    /// Nodes to which there is no way.
    lost: RefCell<Vec<Uid>>,
}

fn actor_of(it: Candidate) -> Actor {
    let Place { core, target } = it.place;
    (it.node, core.0, target.generation)
}

impl View {
    fn is_crowded(&self, node: Uid) -> bool {
        let crowded = self.crowded;
        crowded.is_some_and(|salt| mix(salt ^ node.as_u64()).is_multiple_of(3))
    }
}

impl Nodes for View {
    fn has_credit(&self, node: Uid, _: CoreId) -> bool {
        !self.is_crowded(node)
    }

    fn has_room(&self, actor: Candidate) -> bool {
        let is_full = self.full.borrow().contains(&actor_of(actor));
        !is_full && self.has_credit(actor.node, actor.place.core)
    }

    fn is_there(&self, actor: Candidate) -> bool {
        let has_ended = self.ended.borrow().contains(&actor_of(actor));
        !has_ended && !self.lost.borrow().contains(&actor.node)
    }

    fn is_in_role(&self, node: Uid) -> bool {
        self.role.is_none_or(|it| it.has(node))
    }
}

impl Room {
    /// Sends to whoever is under a path, as the engine does: of one that has ended, or has no room,
    /// the core finds out as it tells it, and then looks for another one.
    pub(super) fn send_to_path<E>(&mut self, core: usize, errand: &Errand, out: &mut Outbox<E>) {
        let send = self.journal.borrow_mut().next_send();
        let view = View {
            own: self.own.uid,
            role: errand.role,
            crowded: errand.crowded,
            ended: RefCell::default(),
            full: RefCell::default(),
            lost: RefCell::default(),
        };
        let (mut told, mut why) = (Vec::new(), None);
        let is_one = matches!(errand.whom, Whom::One { .. });
        while told.is_empty() && why.is_none() {
            let chosen = match self.choose(core, errand, &view) {
                Ok(chosen) => chosen,
                Err(nobody) => {
                    why = Some(nobody);
                    break;
                }
            };
            told = chosen;
            told.retain(|it| self.can_tell(core, *it, &view));
            if !is_one {
                break;
            }
        }
        let known = self.known_under(core, errand);
        let sent = (&*known, &*told, why);
        self.write_sent((core, send), errand, &view, sent);
        for actor in told {
            self.tell((core, send), actor, out);
            if is_one
                && self.is_wrong(Canary::TellTwo)
                && let Some(fellow) = known.iter().copied().find(|it| *it != actor)
            {
                self.tell((core, send), fellow, out);
            }
        }
    }

    fn choose(
        &mut self,
        core: usize,
        errand: &Errand,
        view: &View,
    ) -> Result<Vec<Actor>, SendError> {
        let Core {
            mediator, random, ..
        } = &mut self.cores[core];
        let path = Path::new(PATHS[errand.path]).expect("a path");
        let chosen = mediator.send((&path, errand.kind), errand.whom, view, random)?;
        Ok(chosen.iter().map(|it| actor_of(*it)).collect())
    }

    /// Whether an actor can be told something, as far as the core can find out. It is noted if not.
    fn can_tell(&mut self, core: usize, actor: Actor, view: &View) -> bool {
        let (node, of, _) = actor;
        let place = &mut self.cores[core];
        if node != view.own {
            let is_known = place.snapshot.listing(node).is_some();
            if !is_known {
                view.lost.borrow_mut().push(node);
            }
            return is_known;
        }
        if usize::from(of) != core {
            // Another core finds out.
            return true;
        }
        match place.actors.living(actor) {
            None => view.ended.borrow_mut().push(actor),
            Some(it) if it.waiting >= MAILBOX => view.full.borrow_mut().push(actor),
            Some(_) => return true,
        }
        false
    }

    /// Who is under a path on nodes that count, as the snapshot of a core says.
    fn known_under(&self, core: usize, errand: &Errand) -> Box<[Actor]> {
        let key = Key::new(Kind::PATH, PATHS[errand.path], errand.kind).expect("a key");
        let actor = |owner: Uid, place: Place| (owner, place.core.0, place.target.generation);
        let known = self.cores[core].snapshot.find(&key);
        known.map(|it| actor(it.0.uid, it.1.place)).collect()
    }

    fn write_sent(
        &mut self,
        (core, number): (usize, u64),
        errand: &Errand,
        view: &View,
        (known, told, why): (&[Actor], &[Actor], Option<SendError>),
    ) {
        let snapshot = &self.cores[core].snapshot;
        let full = |it: &&Actor| view.is_crowded(it.0) || view.full.borrow().contains(*it);
        let sent = Sent {
            number,
            at: (view.own, core as u16),
            path: errand.path,
            kind: errand.kind,
            whom: errand.whom,
            role: errand.role,
            full: known.iter().filter(full).copied().collect(),
            known: known.into(),
            reachable: owners(snapshot, |it| it == Standing::Reachable),
            ended: view.ended.borrow().as_slice().into(),
            told: told.into(),
            is_to_nobody: why == Some(SendError::Nobody),
        };
        let exercise = match (why, errand.whom) {
            (Some(SendError::Nobody), _) => Exercise::SentToNobody,
            (Some(_), _) => Exercise::SentToFull,
            (None, Whom::All { .. }) => Exercise::SentToAll,
            (None, Whom::One { .. }) => Exercise::SentToOne,
        };
        let is_near = told.iter().any(|it| it.0 == view.own);
        self.count(exercise, 1);
        self.count(Exercise::SentLocally, is_near.into());
        self.write(Entry::Sent(Box::new(sent)));
    }

    /// Tells an actor what was sent.
    fn tell<E>(&mut self, (core, send): (usize, u64), actor: Actor, out: &mut Outbox<E>) {
        let (node, of, generation) = actor;
        let from = self.own.uid;
        if node == from {
            let told = Told {
                send,
                actor,
                frame: None,
            };
            return match usize::from(of) == core {
                true => self.take_told(core, told),
                false => self.put(of.into(), Parcel::Told(told), out),
            };
        }
        let listing = self.cores[core].snapshot.listing(node);
        let to = listing.expect("there is a way").owner().clone();
        let frame = self.journal.borrow_mut().next_frame();
        let mut body = vec![TOLD_TAG];
        [frame, send, generation]
            .iter()
            .for_each(|it| body.extend(it.to_le_bytes()));
        body.extend(of.to_le_bytes());
        self.write(Entry::Carried {
            frame,
            from,
            to: node,
            digest: digest(&body),
        });
        out.send(to, body);
    }

    /// A link brought what is sent to an actor.
    pub(super) fn receive_told<E>(&mut self, bytes: &[u8], out: &mut Outbox<E>) {
        let number = |at: usize| {
            let bytes = bytes[8 * at..].first_chunk().expect("a number");
            u64::from_le_bytes(*bytes)
        };
        let core = bytes[24..].first_chunk().expect("its core");
        let (frame, core) = (number(0), u16::from_le_bytes(*core));
        let by = self.own.uid;
        self.write(Entry::Received { frame, by });
        let told = Told {
            send: number(1),
            actor: (by, core, number(2)),
            frame: Some(frame),
        };
        self.put(core.into(), Parcel::Told(told), out);
    }

    /// An actor of a core is told something, if it is still there and has room: else it is a dead
    /// letter.
    pub(super) fn take_told(&mut self, core: usize, told: Told) {
        let Told { send, actor, frame } = told;
        let living = self.cores[core].actors.living(actor);
        let room = living.filter(|it| it.waiting < MAILBOX);
        let exercise = match room {
            Some(living) => {
                living.waiting += 1;
                Exercise::Told
            }
            None => Exercise::ActorGone,
        };
        self.count(exercise, 1);
        self.write(Entry::Told { send, actor, frame });
    }
}
