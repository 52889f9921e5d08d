//! Invariant 20: what goes over a link arrives once, in order, and at the process that it is for.

use std::collections::{BTreeMap, VecDeque};

use ringmesh_proto::address::Uid;
use ringmesh_proto::effect::ConnKey;

use super::Invariant;
use crate::happening::{HalfId, Happening, Place};
use crate::machine::Machine;
use crate::world::World;

/// An account of every message of every link.
///
/// A half of a link that receives is tied to the one that sends by the connection that brings its
/// first message, and from then on receives exactly what that one sends, from its first byte on:
/// nothing is lost, repeated or brought in another order, however often the link goes on over
/// another connection, and nothing reaches another process than the one the link leads to. When a
/// half ends, what it gave up is what its peer had not acknowledged: sent is acknowledged and given
/// up.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The process start that runs on each node, as far as was told.
    running: BTreeMap<usize, Uid>,
    halves: BTreeMap<HalfId, Half>,
    /// The half whose bytes an end of a connection carries.
    carried: BTreeMap<ConnKey, HalfId>,
    /// Which half each receiving one hears, and the other way about.
    sources: BTreeMap<HalfId, HalfId>,
    sinks: BTreeMap<HalfId, HalfId>,
}

#[derive(Debug)]
struct Half {
    node: usize,
    uid: Uid,
    peer: Uid,
    /// Sent and not delivered yet.
    under_way: VecDeque<Place>,
    /// The ends of messages that were sent.
    ends: VecDeque<u64>,
    over: bool,
}

impl Ledger {
    fn deliver(
        &mut self,
        (to, from): (Uid, Uid),
        place: Place,
        conn: ConnKey,
    ) -> Result<(), String> {
        let sender = *self
            .carried
            .get(&conn)
            .ok_or("a message came over a connection that carries no link")?;
        let source = *self.sources.entry(place.half).or_insert(sender);
        let sink = *self.sinks.entry(sender).or_insert(place.half);
        if (source, sink) != (sender, place.half) {
            return Err(format!(
                "{:?} hears {sender:?}, and is tied to {source:?}; that one to {sink:?}",
                place.half
            ));
        }
        let half = self
            .halves
            .get_mut(&sender)
            .ok_or("a message of nobody was delivered")?;
        if half.uid != from || half.peer != to {
            return Err(format!(
                "a message of {} for {} was delivered to {to} as one of {from}",
                half.uid, half.peer
            ));
        }
        let expected = half.under_way.pop_front();
        match expected {
            Some(sent)
                if (sent.start, sent.end, sent.digest)
                    == (place.start, place.end, place.digest) =>
            {
                Ok(())
            }
            sent => Err(format!(
                "{sent:?} was to be delivered next, and {place:?} was"
            )),
        }
    }

    fn end(&mut self, half: HalfId, acknowledged: u64, given_up: u64) -> Result<(), String> {
        let Some(account) = self.halves.get_mut(&half) else {
            return Err("a link ended that never began".to_owned());
        };
        account.over = true;
        let left = account.ends.iter().filter(|end| **end > acknowledged);
        let left = left.count() as u64;
        if left != given_up {
            return Err(format!(
                "{half:?} gave {given_up} messages up, and {left} were not acknowledged"
            ));
        }
        // What was acknowledged was delivered.
        match account.under_way.front() {
            Some(next) if next.end <= acknowledged => Err(format!(
                "{half:?}: acknowledged to {acknowledged}, and {next:?} was never delivered"
            )),
            _ => Ok(()),
        }
    }

    /// Forgets what can make no difference any more: what was delivered of a process that is gone.
    fn forget(&mut self, uid: Uid) {
        for half in self.halves.values_mut().filter(|half| half.uid == uid) {
            half.over = true;
            half.ends.clear();
        }
    }
}

impl<M: Machine> Invariant<M> for Ledger {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn observe(&mut self, _: &World<M>, happening: &Happening) -> Result<u64, String> {
        match *happening {
            Happening::LinkUp {
                node,
                uid,
                half,
                peer,
            } => {
                let account = Half {
                    node,
                    uid,
                    peer,
                    under_way: VecDeque::new(),
                    ends: VecDeque::new(),
                    over: false,
                };
                self.halves.insert(half, account);
                Ok(0)
            }
            Happening::Carried { half, conn } => {
                self.carried.insert(conn, half);
                Ok(0)
            }
            Happening::Sent(place) => {
                let half = self.halves.get_mut(&place.half);
                let half = half.filter(|half| !half.over);
                let half = half.ok_or("something was sent on a link that is over")?;
                half.under_way.push_back(place);
                half.ends.push_back(place.end);
                Ok(1)
            }
            Happening::Delivered {
                node,
                uid,
                from,
                place,
                conn,
            } => {
                if self.running.get(&node) != Some(&uid) {
                    return Err(format!("node {node} is not {uid} any more"));
                }
                self.deliver((uid, from), place, conn)?;
                Ok(1)
            }
            Happening::LinkDown {
                half,
                acknowledged,
                given_up,
            } => {
                self.end(half, acknowledged, given_up)?;
                Ok(1)
            }
            Happening::Started { node, uid } => {
                self.running.insert(node, uid);
                Ok(0)
            }
            Happening::Ended { node, uid } => {
                self.running.remove(&node);
                self.forget(uid);
                Ok(0)
            }
            _ => Ok(0),
        }
    }

    fn check(&mut self, world: &World<M>) -> Result<u64, String> {
        let mut checked = 0;
        for (id, half) in self.halves.iter_mut().filter(|(_, half)| !half.over) {
            if world.uid(half.node) != Some(half.uid) {
                continue;
            }
            let Some((acknowledged, tail)) = world.positions(half.node, *id) else {
                return Err(format!("{id:?} is gone, and nobody said so"));
            };
            checked += 1;
            while half.ends.front().is_some_and(|end| *end <= acknowledged) {
                half.ends.pop_front();
            }
            if half.ends.back().is_some_and(|end| *end != tail) {
                return Err(format!(
                    "{id:?} ends at {tail}, and {:?} was sent",
                    half.ends
                ));
            }
            if half
                .under_way
                .front()
                .is_some_and(|next| next.end <= acknowledged)
            {
                return Err(format!("{id:?}: what was acknowledged was not delivered"));
            }
        }
        Ok(checked)
    }
}
