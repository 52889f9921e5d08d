//! How registries of different data centres hear of each other.
//!
//! Only those that speak for a data centre have links with another, as in membership. So whatever a
//! registry says to one elsewhere is passed on by one that speaks here and one that speaks there,
//! and what an owner announces goes over the border once for each other data centre: whoever it
//! comes to tells the rest. Nothing else changes: owners answer for their tables themselves, and
//! whatever is lost on the way is asked for again, over another one; also where there is a link,
//! for that may be the one that is broken.
//!
//! Nobody speaks for others but on such a way: from a member to one that speaks for its own data
//! centre, from there to one that speaks for the recipient's, from there to the recipient.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::limits::TURN_EVERY;
use super::message::{self, Body, Message};
use super::relayed::{Relayed, Way};
use super::remote::Remote;
use super::{Registry, RegistryOutput};
use crate::codec::CodecError;
use crate::effect::Class;
use crate::membership::data_centres::speaking;
use crate::membership::topology::Topology;

/// Those that speak for each data centre.
#[derive(Debug)]
pub(super) struct Border {
    /// For this one: those that can be reached from here, which this node itself can.
    here: Vec<Uid>,
    /// For each other one. Who lives in one has its name from here.
    there: BTreeMap<Arc<str>, Vec<Uid>>,
    /// Which way this node's words take now.
    way: Way,
    /// Since when its news take that.
    turned: Option<Instant>,
}

/// How a message for a member elsewhere is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sending {
    /// Over the link with it if there is one, and else by those that pass it on.
    Usual,
    /// By those that pass it on: what was sent before may be lost.
    Again,
    /// To a question that came so.
    Answer(Route),
}

impl Sending {
    /// To what came so, if not over a link.
    pub(super) fn answer(route: Option<Route>) -> Self {
        route.map_or(Self::Usual, Self::Answer)
    }

    pub(super) fn is_usual(self) -> bool {
        matches!(self, Self::Usual)
    }
}

/// How a message came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    /// Who handed it over, and so can be reached.
    by: Uid,
    /// The way back.
    way: Way,
}

impl Border {
    pub(super) fn of(own: &NodeId) -> Self {
        Self {
            here: Vec::new(),
            there: BTreeMap::new(),
            way: Way::of(own.uid),
            turned: None,
        }
    }

    /// Goes by who speaks for each data centre now.
    pub(super) fn follow(&mut self, topology: &Topology) {
        let own = topology.data_centre();
        let speaking = |name: &str| {
            let members = || {
                let members = topology.members().iter();
                members.filter(|it| it.roles().data_centre() == name)
            };
            let speaking = speaking(members).into_iter();
            let reached = speaking.filter(|it| !topology.is_unreachable(it.uid()));
            reached.map(|it| it.uid()).collect()
        };
        let mut there = BTreeMap::new();
        for member in topology.members() {
            let name = member.roles().data_centre();
            if name != own && !there.contains_key(name) {
                let known = self.there.get_key_value(name);
                let name = known.map_or_else(|| Arc::from(name), |it| Arc::clone(it.0));
                let speaking = speaking(&name);
                there.insert(name, speaking);
            }
        }
        self.here = match there.is_empty() {
            true => Vec::new(),
            false => speaking(own),
        };
        self.there = there;
    }

    /// The name of a data centre, if it is another one.
    pub(super) fn elsewhere(&self, name: &str) -> Option<Arc<str>> {
        let known = self.there.get_key_value(name)?;
        Some(Arc::clone(known.0))
    }

    /// What was lost is said again, over another way.
    pub(super) fn turn(&mut self) {
        self.way = self.way.next();
    }

    /// Those that speak for the data centre of whoever lives in `home`.
    fn speaking(&self, home: Option<&Arc<str>>) -> &[Uid] {
        match home {
            None => &self.here,
            Some(name) => self.there.get(name).map_or(&[], Vec::as_slice),
        }
    }
}

impl Registry {
    /// Whether this node and that one are linked: in one data centre all are.
    pub(super) fn is_near(&self, home: Option<&Arc<str>>, uid: Uid) -> bool {
        home.is_none() || (self.speaks(None, self.own.uid) && self.speaks(home, uid))
    }

    fn speaks(&self, home: Option<&Arc<str>>, uid: Uid) -> bool {
        self.border.speaking(home).contains(&uid)
    }

    /// Who passes on what takes that way: one of those that speak for a data centre, one that
    /// stays if there is any.
    fn pick(&self, home: Option<&Arc<str>>, place: usize) -> Option<&NodeId> {
        let all = self.border.speaking(home).iter();
        let all: Vec<&Remote> = all.filter_map(|uid| self.remotes.get(uid)).collect();
        let mut stay = all.clone();
        stay.retain(|it| !it.is_departing);
        let some = if stay.is_empty() { all } else { stay };
        let place = place.checked_rem(some.len())?;
        some.get(place).map(|it| &it.node)
    }

    /// Sends a message of this node to a member elsewhere, by those that pass it on. If there are
    /// none that is counted, and whoever lacks what it said asks again.
    pub(super) fn send_over(
        &mut self,
        home: &Arc<str>,
        sending: Sending,
        (is_for_all, message): (bool, &[u8]),
        out: &mut Vec<RegistryOutput>,
    ) {
        let way = match sending {
            Sending::Answer(route) => route.way,
            Sending::Usual | Sending::Again => self.border.way,
        };
        let next = match sending {
            Sending::Answer(route) => self.remotes.get(&route.by).map(|it| &it.node),
            _ if self.speaks(None, self.own.uid) => self.pick(Some(home), way.entering()),
            _ => self.pick(None, way.leaving()),
        };
        let Some(next) = next else {
            self.counters.wayless += 1;
            return;
        };
        let relayed = Relayed {
            origin: self.own.uid,
            way,
            is_for_all,
            message,
        };
        out.push(relay(next, relayed));
    }

    /// Tells each other data centre what is new in this node's table, once. What follows soon takes
    /// the same way, so that it stays behind it, and later ones another: if somebody on this one is
    /// gone, it is found out by them.
    pub(super) fn tell_elsewhere(
        &mut self,
        now: Instant,
        delta: impl Fn(bool) -> Body,
        out: &mut Vec<RegistryOutput>,
    ) {
        let turned = self.border.turned;
        if turned.is_none_or(|turned| now - turned >= TURN_EVERY) {
            self.border.turn();
            self.border.turned = Some(now);
        }
        let latest = self.owned.told().counter;
        let names: Vec<Arc<str>> = self.border.there.keys().cloned().collect();
        for name in &names {
            let Some(ear) = self.pick(Some(name), self.border.way.entering()) else {
                self.counters.wayless += 1;
                continue;
            };
            let to = ear.uid;
            let mut living = self
                .remotes
                .iter()
                .filter(|it| it.1.home.as_ref() == Some(name));
            let body = delta(living.any(|it| self.acknowledging.waits_for(*it.0)));
            let message = Message { to, latest, body }.to_bytes();
            self.send_over(name, Sending::Usual, (true, &message), out);
        }
    }

    /// Takes what one member says by another, or passes it on.
    pub(super) fn hear_relayed(
        &mut self,
        now: Instant,
        from: &NodeId,
        body: &[u8],
        out: &mut Vec<RegistryOutput>,
    ) -> Result<(), CodecError> {
        let (relayed, to) = Relayed::from_bytes(body)?;
        let by = self.remotes.get(&from.uid);
        let (Some(by), Some(origin)) = (by, self.remotes.get(&relayed.origin)) else {
            let unknown = if by.is_none() {
                from.uid
            } else {
                relayed.origin
            };
            self.parked.put(now, (unknown, from), body);
            return Ok(());
        };
        // Over the border it comes from one that speaks there, and from there on by one that
        // speaks here. On the way to it everybody speaks for itself.
        let has_come_over = by.home.is_some();
        let may_speak = match &origin.home {
            None => from.uid == relayed.origin,
            home => (!has_come_over || by.home == *home) && self.speaks(by.home.as_ref(), from.uid),
        };
        let is_for_all = relayed.is_for_all && has_come_over;
        if !may_speak {
            self.counters.astray += 1;
        } else if is_for_all || to == self.own.uid {
            if is_for_all {
                self.pass_to_all(relayed, out);
            }
            let (origin, by) = (origin.node.clone(), from.uid);
            let way = relayed.way.back();
            let message = message::readdressed(relayed.message, self.own.uid);
            return self.hear_over(now, &origin, (&message, Some(Route { by, way })), out);
        } else {
            self.pass(relayed, (has_come_over, to), out);
        }
        Ok(())
    }

    /// Passes it on to whom it is for: over the border what began here, and to here what came over.
    fn pass(
        &mut self,
        relayed: Relayed<'_>,
        (has_come_over, to): (bool, Uid),
        out: &mut Vec<RegistryOutput>,
    ) {
        let origin = self.remotes.get(&relayed.origin);
        let begins_here = origin.is_some_and(|it| it.home.is_none());
        let next = self.remotes.get(&to).and_then(|it| match &it.home {
            None => has_come_over.then_some(&it.node),
            Some(_) if !begins_here || !self.speaks(None, self.own.uid) => None,
            home if self.speaks(home.as_ref(), to) => Some(&it.node),
            home => self.pick(home.as_ref(), relayed.way.entering()),
        });
        match next {
            Some(next) => out.push(relay(next, relayed)),
            None => self.counters.astray += 1,
        }
    }

    /// Tells all of this data centre what came over the border for all of them.
    fn pass_to_all(&self, relayed: Relayed<'_>, out: &mut Vec<RegistryOutput>) {
        let here = self.remotes.values();
        let here = here.filter(|it| it.home.is_none() && !it.is_departing);
        for remote in here {
            let message = message::readdressed(relayed.message, remote.node.uid);
            let relayed = Relayed {
                is_for_all: false,
                message: &message,
                ..relayed
            };
            out.push(relay(&remote.node, relayed));
        }
    }
}

fn relay(next: &NodeId, relayed: Relayed<'_>) -> RegistryOutput {
    RegistryOutput::Send {
        to: next.clone(),
        class: Class::Relayed,
        body: relayed.to_bytes(),
    }
}
