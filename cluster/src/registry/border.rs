//! How registries of different data centres hear of each other.
//!
//! Only those that speak for a data centre have links with another, as in membership. So whatever a
//! registry says to one elsewhere is passed on by one that speaks here and one that speaks there,
//! and what an owner announces goes over the border once for each other data centre: whoever it
//! comes to tells the rest. Nothing else changes: owners answer for their tables themselves, and
//! whatever is lost on the way is asked for again, over another one.
//!
//! Nobody speaks for others but on such a way: from a member to one that speaks for its own data
//! centre, from there to one that speaks for the recipient's, from there to the recipient.

use std::collections::BTreeMap;
use std::sync::Arc;

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::message::{self, Body, Message};
use super::relayed::Relayed;
use super::{Registry, RegistryOutput};
use crate::codec::CodecError;
use crate::effect::Class;
use crate::membership::data_centres::speaking;
use crate::membership::topology::Topology;

/// Those that speak for each data centre.
#[derive(Debug, Default)]
pub(super) struct Border {
    /// For this one: those that can be reached from here, which this node itself can.
    here: Vec<Uid>,
    /// For each other one. Who lives in one has its name from here.
    there: BTreeMap<Arc<str>, Vec<Uid>>,
    /// Which of the ways this node's words take now.
    way: u8,
}

impl Border {
    /// That of a node. Where one begins is different for each, so that those that speak have all
    /// their share.
    pub(super) fn of(own: &NodeId) -> Self {
        Self {
            way: own.uid.as_u64().to_le_bytes()[0],
            ..Self::default()
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
        self.way = self.way.wrapping_add(1);
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

    /// Who passes on what takes that way: one of those that speak for a data centre.
    fn pick(&self, home: Option<&Arc<str>>, way: u8) -> Option<&NodeId> {
        let stays = |uid: &&Uid| self.remotes.get(uid).is_some_and(|it| !it.is_departing);
        let all = self.border.speaking(home).iter();
        let others: Vec<&Uid> = all.filter(stays).collect();
        let place = usize::from(way).checked_rem(others.len())?;
        self.remotes.get(others[place]).map(|it| &it.node)
    }

    /// Whom this node hands over what is for a member elsewhere.
    fn next_to(&self, (home, to): (&Arc<str>, Uid), way: u8) -> Option<&NodeId> {
        if !self.speaks(None, self.own.uid) {
            self.pick(None, way)
        } else if self.speaks(Some(home), to) {
            self.remotes.get(&to).map(|it| &it.node)
        } else {
            self.pick(Some(home), way)
        }
    }

    /// Sends a message of this node to a member elsewhere, by those that pass it on: over that way,
    /// or that which all it says takes now.
    pub(super) fn send_over(
        &self,
        to: (&Arc<str>, Uid),
        way: Option<u8>,
        (is_for_all, message): (bool, &[u8]),
        out: &mut Vec<RegistryOutput>,
    ) {
        let way = way.unwrap_or(self.border.way);
        if let Some(next) = self.next_to(to, way) {
            let relayed = Relayed {
                origin: self.own.uid,
                way,
                is_for_all,
                message,
            };
            out.push(relay(next, relayed));
        }
    }

    /// Tells each other data centre what is new in this node's table, once.
    pub(super) fn tell_elsewhere(
        &self,
        delta: impl Fn(bool) -> Body,
        out: &mut Vec<RegistryOutput>,
    ) {
        let latest = self.owned.told().counter;
        for name in self.border.there.keys() {
            let Some(ear) = self.pick(Some(name), self.border.way) else {
                continue;
            };
            let mut living = self
                .remotes
                .iter()
                .filter(|it| it.1.home.as_ref() == Some(name));
            let body = delta(living.any(|it| self.acknowledging.waits_for(*it.0)));
            let to = ear.uid;
            let message = Message { to, latest, body }.to_bytes();
            self.send_over((name, to), None, (true, &message), out);
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
        if !may_speak {
            self.counters.astray += 1;
        } else if to == self.own.uid {
            let origin = origin.node.clone();
            if relayed.is_for_all && has_come_over {
                self.pass_to_all(relayed, out);
            }
            let message = relayed.message;
            return self.hear_over(now, &origin, (message, Some(relayed.way)), out);
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
            Some(home) if begins_here && self.speaks(None, self.own.uid) => {
                self.next_to((home, to), relayed.way)
            }
            Some(_) => None,
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
