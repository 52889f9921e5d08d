//! How a member lets others in.
//!
//! A process start at the address of a member takes its place only after a dial to that address
//! reached the new one: then the old one is gone for certain, and is given up. If the old one
//! answers, the new one is refused.

use std::sync::Arc;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::{Active, Membership, Phase};
use crate::context::Context;
use crate::effect::{Class, Effect};
use crate::membership::configuration::Configuration;
use crate::membership::gossip::MEMBERS_MAX;
use crate::membership::member::{Member, Profile};
use crate::membership::message::{self, Message, Refusal};
use crate::membership::reachability::{Reason, Record};
use crate::membership::status::Status;

/// The most claims on addresses of members that are looked into at once.
pub(crate) const CLAIMS_MAX: usize = 64;

/// So long may a view be for another member to be let in: half of what a message may be, the rest
/// is for who was removed, and who cannot reach whom.
pub(super) const VIEW_BYTES_MAX: usize = message::BODY_BYTES_MAX / 2;

/// What a view may grow by for a member besides its profile: its status and number, its place among
/// those who have seen the view, its changes, and its word on who can be reached.
const MEMBER_BYTES: usize = 5 + 2 + 10 + 12;

/// A process start that wants the address of a member.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) node: NodeId,
    pub(super) since: Instant,
    /// The members that were at the address when it was dialled: of those that came later the dial
    /// says nothing.
    former: Vec<Uid>,
}

/// What a fresh dial found at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// This process start.
    Found(Uid),
    /// No process: the host refused the connection.
    Refused,
    /// Nothing came back.
    Silent,
}

impl Membership {
    pub(super) fn handle_join(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        profile: Profile,
        configuration: &Configuration,
    ) {
        if profile.node != *from {
            self.counters.illegal += 1;
            return;
        }
        let refusal = match &mut self.phase {
            Phase::Active(active) => active.let_in(cx, profile, configuration).err(),
            _ => Some(Refusal::NotMember),
        };
        if let Some(refusal) = refusal {
            self.counters.refused_joins += u64::from(refusal != Refusal::Wait);
            self.send(cx, from, &Message::JoinRefused(refusal));
            return;
        }
        // As it is after the leader did what it has to do: the newcomer may be up already.
        if let Phase::Active(active) = &mut self.phase {
            active.lead(cx);
            let body = message::encode_gossip(&active.view, true, cx.now);
            if body.len() <= message::BODY_BYTES_MAX {
                let body = message::addressed(&body, from.uid);
                cx.out.send(from, Class::Message, body);
            } else {
                self.counters.too_long += 1;
            }
        }
    }

    /// A dial to an address that two process starts want has found this.
    pub(super) fn judge_claim(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
        identity: Identity,
    ) {
        let Phase::Active(active) = &mut self.phase else {
            return;
        };
        active.looked_at.take_if(|it| it == address);
        let claim = active.claims.remove(address);
        let Identity::Found(found) = identity else {
            return;
        };
        let Some(claim) = claim else {
            return active.greet(cx, address, found, &mut self.counters);
        };
        if found == claim.node.uid {
            active.replace(&claim);
        } else if active.view.member(found).is_some() {
            self.counters.refused_joins += 1;
            let refusal = Message::JoinRefused(Refusal::AddressInUse);
            self.send(cx, &claim.node, &refusal);
        }
    }
}

impl Active {
    /// Lets a node in, if it may.
    fn let_in(
        &mut self,
        cx: &mut Context<'_>,
        profile: Profile,
        configuration: &Configuration,
    ) -> Result<(), Refusal> {
        let uid = profile.node.uid;
        let is_ready = |it: &Member| {
            matches!(
                it.status(),
                Status::PreparingForShutdown | Status::ReadyForShutdown
            )
        };
        if self.own_status().is_departing() || self.ending.is_some() {
            return Err(Refusal::NotMember);
        }
        if self.view.tombstone(uid).is_some() {
            return Err(Refusal::Removed);
        }
        if let Some(known) = self.view.member(uid) {
            let is_over = known.status().is_departing();
            return if is_over {
                Err(Refusal::Removed)
            } else {
                Ok(())
            };
        }
        if self.view.members().any(is_ready) {
            return Err(Refusal::ShuttingDown);
        }
        let differing = self.settings.compared().differing(configuration);
        if !differing.is_empty() {
            return Err(Refusal::Incompatible);
        }
        if self.view.members_at(&profile.node.address).next().is_some() {
            self.look_into(cx, &profile.node);
            return Err(Refusal::Wait);
        }
        self.check_room(cx.now, &profile)?;
        let member = Member::joining(Arc::new(profile));
        let admitted = self.view.admit(member);
        admitted.map_err(|_| Refusal::Full)?;
        self.touch();
        Ok(())
    }

    /// Whether a message would hold the view with another member.
    fn check_room(&self, now: Instant, profile: &Profile) -> Result<(), Refusal> {
        let members = self.view.members().len();
        let body = message::encode_gossip(&self.view, false, now).len();
        let roles: usize = profile.roles.iter().map(|role| role.len() + 1).sum();
        let texts = profile.node.address.host().len() + profile.app_version.as_str().len();
        let grown = body + MEMBER_BYTES + 16 + texts + roles;
        let is_full = members >= MEMBERS_MAX || grown > VIEW_BYTES_MAX;
        if is_full { Err(Refusal::Full) } else { Ok(()) }
    }

    /// A process start wants the address of a member: who is there?
    ///
    /// While that is being asked already, be it for another claim or for none, the answer says
    /// nothing of whoever claims it now: the dial may be older than that one. It asks again.
    fn look_into(&mut self, cx: &mut Context<'_>, node: &NodeId) {
        let address = &node.address;
        let is_going = |it: &Member| it.status().is_departing() && self.accuses(it.uid());
        let is_asked = self.claims.contains_key(address) || self.looks_at(cx.now, address);
        if is_asked || self.view.members_at(address).all(is_going) {
            return;
        }
        if self.claims.len() >= CLAIMS_MAX {
            return;
        }
        let (node, since) = (node.clone(), cx.now);
        let address = address.clone();
        cx.out.push(Effect::Identify {
            address: address.clone(),
        });
        let former = self.view.members_at(&address).map(Member::uid).collect();
        let claim = Claim {
            node,
            since,
            former,
        };
        self.claims.insert(address, claim);
    }

    /// Another process start is at the address: those before it will not come back.
    fn replace(&mut self, claim: &Claim) {
        let members = self.view.members_at(&claim.node.address);
        let old: Vec<Uid> = members
            .map(Member::uid)
            .filter(|uid| *uid != claim.node.uid && claim.former.contains(uid))
            .collect();
        for uid in &old {
            let record = Record {
                reason: Reason::Restarted,
                witnesses: Vec::new(),
            };
            let own = self.uid();
            self.view.reachability_mut().accuse(own, *uid, record);
            // Whoever was leaving in good order has left: it need not be given up.
            let status = self.view.member(*uid).map(Member::status);
            if status.is_some_and(|it| it < Status::Exiting) {
                self.view.give_up(*uid);
            }
        }
        if !old.is_empty() {
            self.touch();
        }
    }
}
