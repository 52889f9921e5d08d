//! How the member that is asked to let this node in does so, or does not.

use std::time::Duration;

use ringmesh_proto::address::NodeId;
use ringmesh_proto::time::Instant;

use super::{ANSWER, Membership, Phase};
use crate::context::Context;
use crate::effect::StopReason;
use crate::membership::gossip::{ClusterId, Gossip};
use crate::membership::message::{Message, Refusal};

/// How often the time after which a member is asked no more whoever is told to wait waits at most.
const PATIENCE: u32 = 2;

/// A member that was asked to let this node in.
#[derive(Debug)]
pub(super) struct Target {
    node: NodeId,
    /// In which cluster it is.
    pub(super) cluster: ClusterId,
    retry_due: Instant,
    give_up: Instant,
    /// However often it says that this node is to wait.
    give_up_at_last: Instant,
}

impl Target {
    pub(super) fn new(node: NodeId, cluster: ClusterId, now: Instant, timeout: Duration) -> Self {
        Self {
            node,
            cluster,
            retry_due: now,
            give_up: now + timeout,
            give_up_at_last: now + timeout * PATIENCE,
        }
    }

    /// When it is asked again, or no more.
    pub(super) fn due(&self) -> Instant {
        self.retry_due.min(self.give_up)
    }
}

impl Membership {
    /// Asks the member that is to let this node in again. Says whether there is one.
    pub(super) fn press(&mut self, cx: &mut Context<'_>) -> bool {
        let Phase::Seeking(seeking) = &mut self.phase else {
            return false;
        };
        let Some(target) = &mut seeking.target else {
            return false;
        };
        if cx.now >= target.give_up {
            self.look_on(cx.now);
            return false;
        }
        if cx.now >= target.retry_due {
            target.retry_due = cx.now + self.settings.join_retry;
            let node = target.node.clone();
            self.ask_to_join(cx, &node);
        }
        true
    }

    pub(in crate::membership::machine) fn ask_to_join(&self, cx: &mut Context<'_>, node: &NodeId) {
        let join = Message::Join {
            profile: self.own.as_ref().clone(),
            configuration: self.settings.compared(),
        };
        self.send(cx, node, &join);
    }

    fn is_target(&self, from: &NodeId) -> bool {
        match &self.phase {
            Phase::Seeking(seeking) => seeking.target.as_ref().is_some_and(|it| it.node == *from),
            _ => false,
        }
    }

    pub(in crate::membership::machine) fn handle_welcome(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        mut view: Gossip,
    ) {
        if matches!(self.phase, Phase::Active(_)) {
            // Once more, or by another one: it is a view as others are.
            return self.handle_gossip(cx, from, &view);
        }
        let own = self.own.node.uid;
        let is_in = view
            .member(own)
            .is_some_and(|it| !it.status().is_departing());
        let are_both_in = is_in && view.node(from.uid) == Some(from);
        if !self.is_target(from) || self.is_bound_to_another(cx.now, from) {
            self.counters.untimely += 1;
        } else if !are_both_in || view.node(own) != Some(&self.own.node) {
            self.counters.illegal += 1;
        } else {
            let teller = view.member(from.uid).map(|it| it.roles().data_centre());
            let teller = teller.unwrap_or_default().to_owned();
            view.keep_told(&teller);
            self.enter(cx, view, Some(from.clone()));
        }
    }

    pub(in crate::membership::machine) fn handle_join_refused(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        refusal: Refusal,
    ) {
        if !self.is_target(from) {
            self.counters.untimely += 1;
            return;
        }
        match refusal {
            // It has links with both.
            Refusal::AddressInUse => self.end_in_use(cx, vec![from.address.clone()]),
            Refusal::Incompatible => self.give_up_incompatible(cx, from, Vec::new()),
            Refusal::Removed => self.end(cx, StopReason::Removed),
            Refusal::Wait => self.be_patient(cx.now),
            Refusal::Full | Refusal::ShuttingDown | Refusal::NotMember => {
                self.look_on(cx.now + self.settings.join_retry);
            }
        }
    }

    fn be_patient(&mut self, now: Instant) {
        let timeout = self.settings.join_timeout;
        if let Phase::Seeking(seeking) = &mut self.phase
            && let Some(target) = &mut seeking.target
        {
            target.give_up = (now + timeout).min(target.give_up_at_last);
        }
    }

    /// Asks all of them again, from `ask_due` on; whoever could not let this node in is heeded
    /// again when the others had the time to answer.
    fn look_on(&mut self, ask_due: Instant) {
        let others_first = ask_due + ANSWER;
        if let Phase::Seeking(seeking) = &mut self.phase {
            let target = seeking.target.take();
            seeking.passed_over = target.map(|it| (it.node, others_first));
            seeking.ask_due = ask_due;
        }
    }
}
