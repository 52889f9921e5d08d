//! What whoever asks whether this node is in a cluster is told.
//!
//! A node without a cluster that is asked by one that would found one lets it, and nobody else for
//! a while: so of nodes that remember their cluster, of which each needs the word of more than
//! half, two do not found one each. Of two that would found one and hear each other, that with the
//! lower address goes first.
//!
//! Whoever remembers its cluster tells the asker all of that: the cluster may have gone on without
//! the asker, and without this node ([`memory`](crate::membership::memory)).

use std::time::Duration;

use ringmesh_proto::address::NodeId;
use ringmesh_proto::time::Instant;

use super::joining::ANSWER;
use super::{Membership, Phase};
use crate::context::Context;
use crate::effect::Class;
use crate::membership::configuration::Configuration;
use crate::membership::message::{self, Message};

/// How long whoever was let found a cluster is the only one.
pub(super) const PROMISE: Duration = Duration::from_secs(2);

/// Whoever this node lets found a cluster.
#[derive(Clone, Debug)]
pub(super) struct Promise {
    to: NodeId,
    until: Instant,
}

impl Membership {
    pub(super) fn answer_init_join(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        asked: u64,
        candidate: bool,
        configuration: &Configuration,
    ) {
        let differing = self.settings.compared().differing(configuration);
        let answer = match &self.phase {
            Phase::Active(active) if !active.own_status().is_departing() => {
                if differing.is_empty() {
                    Message::InCluster {
                        asked,
                        cluster: active.view().cluster(),
                        configuration: self.settings.compared(),
                    }
                } else {
                    self.counters.refused_joins += 1;
                    Message::Incompatible { names: differing }
                }
            }
            Phase::Active(_) | Phase::Ended => Message::NotInCluster {
                asked,
                consent: false,
                candidate: false,
                memory: None,
            },
            Phase::Idle | Phase::Seeking(_) => Message::NotInCluster {
                asked,
                consent: candidate && self.promise_to(cx.now, from),
                candidate: self.is_candidate(),
                memory: self.memory.clone(),
            },
        };
        let body = answer.encode(Some(from.uid), cx.now);
        if body.len() <= message::BODY_BYTES_MAX {
            cx.out.send(from, Class::Message, body);
        } else {
            // No view is as long as that: it was not written by a member.
            self.counters.too_long += 1;
        }
    }

    /// Whether `asker` may found a cluster as far as this node is concerned: then nobody else may
    /// for a while, this node included. Whoever knows of a cluster lets nobody.
    fn promise_to(&mut self, now: Instant, asker: &NodeId) -> bool {
        if self.is_candidate() && self.own.node.address <= asker.address {
            return false;
        }
        if matches!(&self.phase, Phase::Seeking(it) if it.knows_member_but(&asker.address)) {
            return false;
        }
        let own = &self.own.node.address;
        let is_others = |it: &Promise| it.to != *asker && it.until > now;
        if self.promise.as_ref().is_some_and(is_others) {
            return false;
        }
        if let Phase::Seeking(seeking) = &mut self.phase {
            // To hear what comes of it.
            seeking.get_to_know(own, &asker.address);
        }
        let (to, until) = (asker.clone(), now + PROMISE);
        self.promise = Some(Promise { to, until });
        true
    }

    #[cfg(test)]
    pub(crate) fn has_consented(&self) -> bool {
        self.promise.is_some()
    }

    pub(super) fn has_promised(&self, now: Instant) -> bool {
        self.promise.as_ref().is_some_and(|it| it.until > now)
    }

    /// Whether this node is bound to somebody else than `by`, whom it let found a cluster, and of
    /// whom it does not know yet whether it did. Who found one with the word of this node may count
    /// on it: it must not go on with another that is as good as over.
    pub(super) fn is_bound_to_another(&self, now: Instant, by: &NodeId) -> bool {
        // Another start of it means that the one before is gone, and what it founded with it.
        let promise = self.promise.as_ref();
        let Some(promise) = promise.filter(|it| it.to.address != by.address) else {
            return false;
        };
        let Phase::Seeking(seeking) = &self.phase else {
            return false;
        };
        let answer = seeking.answer_of(&promise.to.address);
        let is_free = answer.is_some_and(|it| it.asked >= promise.until);
        !is_free && now < promise.until + ANSWER
    }

    fn is_candidate(&self) -> bool {
        match &self.phase {
            Phase::Seeking(seeking) => seeking.may_found,
            _ => false,
        }
    }

    pub(super) fn send(&self, cx: &mut Context<'_>, to: &NodeId, message: &Message) {
        let body = message.encode(Some(to.uid), cx.now);
        cx.out.send(to, Class::Message, body);
    }
}
