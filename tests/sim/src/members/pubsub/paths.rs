//! What is sent to a path comes to one actor there, or to each once, and to none out of reach.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_cluster::pubsub::Whom;
use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::journal::{Actor, Entry, PATHS, Reader, Sent};
use crate::invariant::Invariant;
use crate::members::Participant;
use crate::world::World;

/// So long something is on its way between the cores of a node at most when nothing is wrong.
const UNDER_WAY: Duration = Duration::from_secs(10);

/// An actor that has not ended.
#[derive(Debug)]
struct Put {
    actor: Actor,
    path: usize,
    kind: u64,
    /// The nodes that know of it.
    known: Vec<Uid>,
}

/// Who is still to be told what was sent.
#[derive(Debug)]
struct Open {
    own: Uid,
    told: Vec<Actor>,
    since: Instant,
}

/// What is sent to one comes to one actor at most, and what is sent to all to each once. Each of
/// them is under the path as the core of the sender knows, on a node that it knows as reachable,
/// and none was left out: of one alone another was there or none had room, and one of the own node
/// was preferred if that was asked for. Whoever is confirmed to be known is known. What is for
/// actors of the own node comes to the core of each.
#[derive(Debug, Default)]
pub struct Paths {
    reader: Reader,
    /// Of each that was put, if it has not ended.
    puts: Vec<Option<Put>>,
    open: BTreeMap<u64, Open>,
}

impl Paths {
    fn send(&mut self, now: Instant, it: &Sent) -> Result<u64, String> {
        let own = it.at.0;
        let what = || format!("send {} to {} by {:?}", it.number, PATHS[it.path], it.at);
        let stray = it.told.iter().find(|to| !it.known.contains(to));
        if let Some(stray) = stray.or_else(|| it.told.iter().find(|to| !is_in_reach(it, to))) {
            return Err(format!("{} goes to {stray:?}, who is not there", what()));
        }
        let mut told = it.told.to_vec();
        told.sort_unstable();
        let count = told.len();
        told.dedup();
        let missed = self.puts.iter().flatten().find(|put| {
            let is_under = (put.path, put.kind) == (it.path, it.kind);
            let is_known = put.known.contains(&own) && it.reachable.contains(&put.actor.0);
            is_under && is_known && !it.known.contains(&put.actor)
        });
        if let Some(missed) = missed {
            return Err(format!("{} does not know of {missed:?}", what()));
        }
        let is_right = told.len() == count
            && match it.whom {
                Whom::One {
                    is_local_preferred, ..
                } => is_right_one(it, is_local_preferred),
                Whom::All { is_self_excluded } => is_right_all(it, &told, is_self_excluded),
            };
        if !is_right {
            return Err(format!("{} goes to the wrong actors: {it:?}", what()));
        }
        if !told.is_empty() {
            let since = now;
            self.open.insert(it.number, Open { own, told, since });
        }
        Ok(1)
    }

    fn tell(&mut self, send: u64, actor: Actor) -> Result<u64, String> {
        let open = self.open.get_mut(&send);
        let place = open.as_ref().and_then(|it| {
            let mut told = it.told.iter();
            told.position(|it| *it == actor)
        });
        let Some((open, place)) = open.zip(place) else {
            return Err(format!("send {send} came to {actor:?}, for whom it is not"));
        };
        open.told.swap_remove(place);
        if open.told.is_empty() {
            self.open.remove(&send);
        }
        Ok(1)
    }

    pub(super) fn judge(&mut self, now: Instant, entry: &Entry) -> Result<u64, String> {
        match *entry {
            Entry::Put { actor, path, kind } => self.puts.push(Some(Put {
                actor,
                path,
                kind,
                known: Vec::new(),
            })),
            Entry::PutConfirmed { number, ref nodes } => {
                if let Some(Some(put)) = self.puts.get_mut(number) {
                    put.known.extend_from_slice(nodes);
                }
            }
            Entry::ActorEnded(actor) => self.end(|it| it == actor),
            Entry::Departed(uid) => self.end(|it| it.0 == uid),
            Entry::Sent(ref it) => return self.send(now, it),
            Entry::Told { send, actor, .. } => return self.tell(send, actor),
            _ => {}
        }
        Ok(0)
    }

    fn end(&mut self, has_ended: impl Fn(Actor) -> bool) {
        for place in &mut self.puts {
            place.take_if(|it| has_ended(it.actor));
        }
    }
}

/// Whether an actor is on a node that takes part, and has not ended, as far as the core knows.
fn takes_part(it: &Sent, actor: &Actor) -> bool {
    let is_in_role = actor.0 == it.at.0 || it.role.is_none_or(|role| role.has(actor.0));
    is_in_role && !it.ended.contains(actor)
}

/// Whether what was sent may go to an actor: it can be reached, takes part, and has room.
fn is_in_reach(it: &Sent, actor: &Actor) -> bool {
    it.reachable.contains(&actor.0) && takes_part(it, actor) && !it.full.contains(actor)
}

fn is_right_one(it: &Sent, is_local_preferred: bool) -> bool {
    let all = || it.known.iter().filter(|known| takes_part(it, known));
    let is_own = |known: &&Actor| known.0 == it.at.0;
    let is_near = is_local_preferred && all().any(|known| is_own(&known));
    let mut fit = all().filter(|known| !is_near || is_own(known));
    match &*it.told {
        [] if it.is_to_nobody => all().next().is_none(),
        [] => all().next().is_some() && fit.all(|known| it.full.contains(known)),
        [one] => fit.any(|known| known == one),
        _ => false,
    }
}

fn is_right_all(it: &Sent, told: &[Actor], is_self_excluded: bool) -> bool {
    let is_for =
        |known: &&Actor| takes_part(it, known) && !(is_self_excluded && known.0 == it.at.0);
    let all = || it.known.iter().filter(is_for);
    if it.is_to_nobody && all().next().is_some() {
        return false;
    }
    let mut fit: Vec<Actor> = all()
        .filter(|known| !it.full.contains(known))
        .copied()
        .collect();
    fit.sort_unstable();
    fit == told
}

impl Invariant<Participant> for Paths {
    fn name(&self) -> &'static str {
        "paths"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut reader = std::mem::take(&mut self.reader);
        let checked = reader.read(world, |entry| self.judge(world.now(), entry));
        self.reader = reader;
        let running: Vec<Uid> = world.running().filter_map(|it| world.uid(it)).collect();
        self.end(|it| !running.contains(&it.0));
        self.open.retain(|_, it| {
            it.told.retain(|to| running.contains(&to.0));
            !it.told.is_empty()
        });
        checked
    }

    fn finish(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let checked = self.check(world)?;
        let now = world.now();
        // What is for another node is under way, or lost with its link, which frames say.
        let is_own = |it: &Open| it.told.iter().any(|to| to.0 == it.own);
        let is_lost = |it: &Open| is_own(it) && now - it.since >= UNDER_WAY;
        match self.open.iter().find(|(_, it)| is_lost(it)) {
            Some((send, it)) => Err(format!("send {send} is nowhere: {it:?}")),
            None => Ok(checked),
        }
    }
}
