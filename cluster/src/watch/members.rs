//! Nodes of the cluster, whose end is the membership's word.

use std::collections::{BTreeSet, VecDeque};

use ringmesh_proto::address::{NodeId, Uid};
use ringmesh_proto::frame::body::Watch;
use ringmesh_proto::time::Instant;

use super::node::Watching;
use super::{Effect, FORMER_MAX, NodeEnd, RemoteWatch};

/// The members, and those that were removed last.
#[derive(Debug, Default)]
pub(super) struct Members {
    current: BTreeSet<Uid>,
    /// Latest last. A link that goes on for a while brings none of them back.
    removed: VecDeque<Uid>,
}

impl Members {
    pub(super) fn contains(&self, uid: Uid) -> bool {
        self.current.contains(&uid)
    }

    pub(super) fn is_removed(&self, uid: Uid) -> bool {
        self.removed.contains(&uid)
    }

    fn remove(&mut self, uid: Uid) {
        self.current.remove(&uid);
        if self.is_removed(uid) {
            return;
        }
        if self.removed.len() >= FORMER_MAX {
            self.removed.pop_front();
        }
        self.removed.push_back(uid);
    }
}

impl RemoteWatch {
    /// These are the members of the cluster from now on. Whoever becomes one is judged by the
    /// membership; whoever is none any more, and was not [removed](NodeEnd::Removed), by its
    /// answers again.
    pub fn set_members(&mut self, now: Instant, members: impl IntoIterator<Item = Uid>) {
        self.members.current = members.into_iter().collect();
        for (uid, node) in &mut self.nodes {
            if self.members.contains(*uid) {
                node.end_pulse();
            } else if node.outgoing() > 0 {
                node.begin_pulse(now, &self.rules.judge);
            }
        }
    }

    /// Whether a node counts on, whatever was found: it is a member, and neither it nor a
    /// quarantine nor the membership has said that it is over.
    pub(super) fn is_left_to_membership(&mut self, uid: Uid, end: NodeEnd) -> bool {
        if end == NodeEnd::Removed {
            self.members.remove(uid);
        }
        if !self.members.contains(uid) {
            return false;
        }
        if end == NodeEnd::Restarted {
            // With that its link is over.
            self.handle_link_down(uid);
        }
        end.is_judged() || end == NodeEnd::Restarted
    }

    /// Somebody wants to watch an actor of a node that was removed.
    pub(super) fn lost_at_once(&mut self, node: &NodeId, watch: Watch, watching: Watching) {
        self.out.push_back(Effect::NodeEnded {
            uid: node.uid,
            address: node.address.clone(),
            end: NodeEnd::Removed,
            watches: [(watch, watching)].into(),
        });
    }
}
