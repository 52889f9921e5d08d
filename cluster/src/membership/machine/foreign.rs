//! Nodes that are in another cluster, though this node and they know of each other.
//!
//! They never become one: each view is of one cluster, and what is said of another one is refused.
//! Somebody has to start the nodes of one of them anew; so both sides say whom they met.

use ringmesh_proto::address::NodeId;

use super::{Membership, Phase};
use crate::context::Context;
use crate::membership::event::Event;
use crate::membership::gossip::ClusterId;
use crate::membership::message::Message;

impl Membership {
    /// A node spoke of another cluster as its own: that is refused, and said.
    pub(super) fn refuse_foreign(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        cluster: ClusterId,
    ) {
        if self.note_foreign(cx, from, cluster)
            && let Phase::Active(active) = &self.phase
        {
            let cluster = active.view.cluster();
            self.send(cx, from, &Message::Foreign { cluster });
        }
    }

    /// A node says that it is in another cluster. It knows already that this one is, too.
    pub(super) fn handle_foreign(
        &mut self,
        cx: &mut Context<'_>,
        from: &NodeId,
        cluster: ClusterId,
    ) {
        let is_other = matches!(&self.phase, Phase::Active(it) if it.view.cluster() != cluster);
        if is_other {
            self.note_foreign(cx, from, cluster);
        } else {
            self.counters.untimely += 1;
        }
    }

    /// Publishes that a node is in another cluster. Says whether it did: it was not said lately.
    fn note_foreign(&mut self, cx: &mut Context<'_>, from: &NodeId, cluster: ClusterId) -> bool {
        self.counters.foreign += 1;
        let is_news = self.is_first_of_foreign(cx.now, from.uid);
        if is_news {
            let node = from.clone();
            self.publish_event(cx, Event::ForeignCluster { node, cluster });
        }
        is_news
    }
}
