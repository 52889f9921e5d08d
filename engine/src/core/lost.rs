//! Nodes that count as gone on no word of theirs, and may be found to live on.

use std::cell::RefCell;
use std::collections::VecDeque;

use ringmesh_cluster::watch::NodeEnd;
use ringmesh_proto::address::{NodeId, Uid};

use super::Core;
use crate::event::{NodeEvent, NodeLoss};

/// Process starts that are remembered as lost; the oldest makes room for another.
pub(super) const LOST_MAX: usize = 256;

/// The process starts that were lost last, the latest last. The control core's.
#[derive(Debug, Default)]
pub(super) struct Lost(RefCell<VecDeque<Uid>>);

impl Lost {
    fn add(&self, uid: Uid) {
        let mut uids = self.0.borrow_mut();
        uids.retain(|other| *other != uid);
        if uids.len() >= LOST_MAX {
            uids.pop_front();
        }
        uids.push_back(uid);
    }

    /// Says whether it was one of them.
    fn take(&self, uid: Uid) -> bool {
        let mut uids = self.0.borrow_mut();
        let place = uids.iter().position(|other| *other == uid);
        place.is_some_and(|place| uids.remove(place).is_some())
    }
}

impl Core {
    /// The watches of a node are over. An event if that is what this side made of its silence.
    pub(super) fn note_lost(&self, node: NodeId, end: NodeEnd) {
        let why = match end {
            NodeEnd::Silent => NodeLoss::Silent,
            NodeEnd::Crashed => NodeLoss::Crashed,
            // Those have events of their own, and do not come back.
            _ => return,
        };
        self.far.lost.add(node.uid);
        let core = self.id();
        self.tell_of_node(NodeEvent::NodeLost { core, node, why });
    }

    /// There is a control link with a node.
    pub(super) fn note_found(&self, node: &NodeId) {
        if self.far.lost.take(node.uid) {
            let (core, node) = (self.id(), node.clone());
            self.tell_of_node(NodeEvent::NodeFound { core, node });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_over_those_who_are_remembered_as_lost_takes_the_place_of_the_first() {
        let lost = Lost::default();
        let uid = |number: usize| Uid::new(number as u64).expect("not zero");
        (1..=LOST_MAX).for_each(|number| lost.add(uid(number)));
        // It is lost again, and the latest now.
        lost.add(uid(1));
        assert_eq!(lost.0.borrow().len(), LOST_MAX);
        lost.add(uid(LOST_MAX + 1));
        assert_eq!(lost.0.borrow().len(), LOST_MAX);
        assert!(!lost.take(uid(2)), "it made room");
        assert!(lost.take(uid(1)) && !lost.take(uid(1)), "found once");
        assert!(lost.take(uid(LOST_MAX + 1)));
    }
}
