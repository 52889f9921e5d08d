//! Members that others of their cluster have never heard of.
//!
//! Whoever let a member in may have died before it told anybody else. Then the newcomer knows all
//! of them, none knows it, and what it says is a stranger's. Whoever hears a stranger of its own
//! cluster says so, and the stranger asks that one to let it in as well. That it is let in twice
//! harms nobody: both views name one process start, and merge into that which is further on.
//!
//! Members of two data centres may be strangers though all of them were up for long: while the two
//! were cut off from each other, all members of one were replaced by others, or those of both. So
//! whoever is told by a member of another data centre that it is a stranger shows its view, which
//! names it. And while none is heard of those that are known over there, it is asked now and then
//! who is at their addresses by now. A view of another data centre's member is taken over though
//! nobody here has heard of that one: it is of this cluster, and names who was removed.

use std::collections::BTreeSet;
use std::slice;

use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::time::Instant;

use super::{Active, Counters, Membership, Phase};
use crate::context::Context;
use crate::effect::{Effect, StopReason};
use crate::membership::convergence::Part;
use crate::membership::data_centres::{speakers, speaking};
use crate::membership::gossip::{ClusterId, Gossip};
use crate::membership::member::Member;
use crate::membership::message::Message;
use crate::membership::status::Status;

impl Membership {
    /// Tells whoever speaks as a member of this cluster that it is none here.
    pub(super) fn answer_stranger(&mut self, cx: &mut Context<'_>, from: &NodeId) {
        let Phase::Active(active) = &mut self.phase else {
            return;
        };
        let may_answer = !active.own_status().is_departing() && active.ending.is_none();
        if may_answer && active.is_first_word(cx.now, from.uid) {
            let cluster = active.view.cluster();
            self.send(cx, from, &Message::Stranger { cluster });
        }
    }

    /// A member has never heard of this one.
    ///
    /// The news of a newcomer is on its way for a while, and whoever was let in by somebody that
    /// lives needs no second one: so this is heeded only once that should have arrived. And only
    /// while one of the two is a newcomer: all know a member that was up when they came. A newcomer
    /// that was asked to leave meanwhile has left by that.
    pub(super) fn handle_stranger(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        cluster: ClusterId,
    ) {
        let Phase::Active(active) = &mut self.phase else {
            self.counters.untimely += 1;
            return;
        };
        let other = active.view.member(from.uid).filter(|it| it.node() == from);
        let Some(member) = other.filter(|_| active.view.cluster() == cluster) else {
            self.counters.strangers += 1;
            return;
        };
        let other = member.status();
        let own = active.own_status();
        if active.is_elsewhere(member) && !own.is_entering() && !own.is_departing() {
            return active.show_view(cx, from, &mut self.counters);
        }
        // Those that know of its leaving, if any do, are gone.
        let is_gone = |it: &Uid| *it == active.uid() || active.accuses(*it);
        let is_unknown = active.view.seen().iter().all(is_gone);
        let may_go = own == Status::Leaving && is_unknown && active.was_never_up();
        if may_go && cx.now >= active.rejoin_due {
            // It needs nobody's knowledge to leave.
            return self.end(cx, StopReason::Left);
        }
        let is_new = own.is_entering() || other.is_entering();
        let stays = |status: Status| status <= Status::Up;
        if !is_new || !stays(own) || !stays(other) || cx.now < active.rejoin_due {
            self.counters.untimely += 1;
            return;
        }
        active.rejoin_due = cx.now + self.settings.join_retry;
        self.ask_to_join(cx, from);
    }
}

impl Membership {
    /// Whether a view is that of a member of another data centre which nobody here has heard of.
    pub(super) fn introduces(&self, from: &NodeId, view: &Gossip) -> bool {
        let Phase::Active(active) = &self.phase else {
            return false;
        };
        let (known, own) = (&active.view, active.uid());
        let is_new = known.node(from.uid).is_none() && known.tombstone(from.uid).is_none();
        let is_ours = view.cluster() == known.cluster() && view.tombstone(own).is_none();
        let member = view.member(from.uid).filter(|it| it.node() == from);
        let stays = member.filter(|it| !it.status().is_departing());
        is_new && is_ours && stays.is_some_and(|it| active.is_elsewhere(it))
    }
}

impl Active {
    fn is_elsewhere(&self, member: &Member) -> bool {
        member.roles().data_centre() != self.own.roles.data_centre()
    }

    /// Shows the view to somebody of another data centre, who may have heard of nobody in it.
    fn show_view(&mut self, cx: &mut Context<'_>, to: &NodeId, counters: &mut Counters) {
        if cx.now >= self.rejoin_due {
            self.rejoin_due = cx.now + self.settings.join_retry;
            self.send_view(cx, slice::from_ref(to), counters);
        }
    }

    /// Asks now and then who is at the address of somebody that speaks for another data centre,
    /// while this member speaks for its own and reaches none of those that do for that one; or
    /// while nobody here is a member in full, for then nobody watches those. Where a process start
    /// claims the address that is asked already, and the answer is for the claim.
    pub(super) fn look_elsewhere(&mut self, cx: &mut Context<'_>) {
        if cx.now < self.look_due {
            return;
        }
        self.look_due = cx.now + self.inquiry_timeout();
        self.looked_at = None;
        let home = self.part();
        let is_own = |it: &&Member| it.uid() == self.uid();
        if !speaking(|| home.members()).iter().any(is_own) {
            return;
        }
        let is_watched = !speakers(home.members()).is_empty();
        let names = self.view.members().filter(|it| self.is_elsewhere(it));
        let names: BTreeSet<&str> = names.map(|it| it.roles().data_centre()).collect();
        let there = names.into_iter();
        let there = there.map(|name| speakers(Part::new(&self.view, name).members()));
        let is_lost = |it: &Member| !is_watched || self.accuses(it.uid());
        let lost = there.filter(|all| all.iter().all(|it| is_lost(it)));
        let lost = lost.flatten();
        let lost = lost.filter(|it| !self.claims.contains_key(it.address()));
        let one = cx.random.pick(lost.collect(), 1).pop();
        self.looked_at = one.map(|it| it.address().clone());
        if let Some(address) = self.looked_at.clone() {
            cx.out.push(Effect::Identify { address });
        }
    }

    /// Whether it is being asked who is at an address, and for nobody who claims it.
    pub(super) fn looks_at(&self, now: Instant, address: &Address) -> bool {
        now < self.look_due && self.looked_at.as_ref() == Some(address)
    }

    /// Somebody is at an address of a member, and it is not known who.
    pub(super) fn greet(
        &mut self,
        cx: &mut Context<'_>,
        address: &Address,
        found: Uid,
        counters: &mut Counters,
    ) {
        let is_known = self.view.member(found).is_some() || self.view.tombstone(found).is_some();
        let mut former = self.view.members_at(address);
        if is_known || !former.any(|it| self.is_elsewhere(it)) {
            return;
        }
        let (address, uid) = (address.clone(), found);
        self.send_view(cx, &[NodeId { address, uid }], counters);
    }
}
