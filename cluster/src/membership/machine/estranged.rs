//! Members that others of their cluster have never heard of.
//!
//! Whoever let a member in may have died before it told anybody else. Then the newcomer knows all
//! of them, none knows it, and what it says is a stranger's. Whoever hears a stranger of its own
//! cluster says so, and the stranger asks that one to let it in as well. That it is let in twice
//! harms nobody: both views name one process start, and merge into that which is further on.

use ringmesh_proto::address::{NodeId, Uid};

use super::{Membership, Phase};
use crate::context::Context;
use crate::effect::StopReason;
use crate::membership::gossip::ClusterId;
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
        let other = other.map(|it| it.status());
        let Some(other) = other.filter(|_| active.view.cluster() == cluster) else {
            self.counters.strangers += 1;
            return;
        };
        let own = active.own_status();
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
