//! Process starts that this node will have nothing to do with, and those that will have nothing to
//! do with it.
//!
//! A node is quarantined by address and uid: for as long as both processes run no message passes
//! between them, either way, and the next start at the address is another node. To be told of a
//! quarantine is not to quarantine: whoever was told sends nothing there and lets the other in
//! again, should that come back.

use std::collections::VecDeque;
use std::fmt;

use crate::address::{NodeId, Uid};
use crate::limits::QUARANTINES_MAX;

/// Which side of a quarantine said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// This node.
    Us,
    /// The node at the other end.
    Peer,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "this node",
            Self::Peer => "the peer",
        })
    }
}

/// What came of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It is new.
    New {
        /// The oldest, which made room for it.
        forgotten: Option<NodeId>,
    },
    /// It was there.
    Known,
}

/// The quarantines of one node, both ways.
///
/// Bounded, each way by itself: the oldest entry makes room for a new one.
#[derive(Debug, Default)]
pub struct Quarantines {
    ours: VecDeque<NodeId>,
    theirs: VecDeque<NodeId>,
}

impl Quarantines {
    /// This node has nothing to do with a process start from now on.
    pub fn quarantine(&mut self, node: &NodeId) -> Entered {
        enter(&mut self.ours, node)
    }

    /// A process start said that it has quarantined this node.
    pub fn handle_told(&mut self, node: &NodeId) -> Entered {
        enter(&mut self.theirs, node)
    }

    /// There is a link with a process start: whatever it said before, it talks; and what ran at its
    /// address before is no more.
    pub fn handle_link_up(&mut self, node: &NodeId) {
        self.theirs.retain(|other| other.address != node.address);
    }

    /// Whether this node has quarantined a process start: its hellos are refused, and its answers
    /// not taken.
    pub fn is_quarantined(&self, node: &NodeId) -> bool {
        has(&self.ours, node)
    }

    /// Who has parted this node from a process start, if anybody has.
    pub fn parted(&self, uid: Uid) -> Option<By> {
        let is_in = |nodes: &VecDeque<NodeId>| nodes.iter().any(|node| node.uid == uid);
        if is_in(&self.ours) {
            return Some(By::Us);
        }
        is_in(&self.theirs).then_some(By::Peer)
    }

    /// Whether nobody is quarantined, by either side.
    pub fn is_empty(&self) -> bool {
        self.ours.is_empty() && self.theirs.is_empty()
    }
}

fn has(nodes: &VecDeque<NodeId>, node: &NodeId) -> bool {
    // The uids differ where the nodes do, nearly always.
    nodes
        .iter()
        .any(|other| other.uid == node.uid && other.address == node.address)
}

fn enter(nodes: &mut VecDeque<NodeId>, node: &NodeId) -> Entered {
    if has(nodes, node) {
        return Entered::Known;
    }
    let is_full = nodes.len() >= QUARANTINES_MAX;
    let forgotten = is_full.then(|| nodes.pop_front()).flatten();
    nodes.push_back(node.clone());
    Entered::New { forgotten }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;

    fn node(port: u16, uid: u64) -> NodeId {
        NodeId {
            address: Address::new("demo", "127.0.0.1", port).unwrap(),
            uid: Uid::new(uid).unwrap(),
        }
    }

    const FIRST: Entered = Entered::New { forgotten: None };

    #[test]
    fn one_over_the_quarantines_max_takes_the_place_of_the_oldest_each_way_by_itself() {
        let mut all = Quarantines::default();
        for uid in 1..=QUARANTINES_MAX as u64 {
            assert_eq!(all.quarantine(&node(1, uid)), FIRST);
            assert_eq!(all.quarantine(&node(1, uid)), Entered::Known);
            assert_eq!(all.handle_told(&node(2, uid + (1 << 32))), FIRST);
        }
        let forgotten = Some(node(1, 1));
        let over = all.quarantine(&node(1, 1 << 20));
        assert_eq!(over, Entered::New { forgotten });
        assert!(!all.is_quarantined(&node(1, 1)) && all.is_quarantined(&node(1, 2)));
        assert_eq!(all.parted(node(1, 1).uid), None);
        assert_eq!(all.parted(node(2, 1 + (1 << 32)).uid), Some(By::Peer));
        assert_eq!(all.ours.len(), QUARANTINES_MAX);
    }

    #[test]
    fn a_quarantine_is_of_an_address_and_a_uid() {
        let mut all = Quarantines::default();
        all.quarantine(&node(1, 7));
        assert!(all.is_quarantined(&node(1, 7)));
        assert!(!all.is_quarantined(&node(1, 8)), "the next start");
        assert!(!all.is_quarantined(&node(2, 7)), "another node");
    }

    #[test]
    fn whoever_was_told_quarantines_nobody_and_forgets_it_when_the_other_talks() {
        let mut all = Quarantines::default();
        assert!(all.is_empty());
        assert_eq!(all.handle_told(&node(1, 7)), FIRST);
        assert_eq!(all.handle_told(&node(1, 7)), Entered::Known);
        assert!(!all.is_quarantined(&node(1, 7)) && !all.is_empty());
        assert_eq!(all.parted(node(1, 7).uid), Some(By::Peer));
        all.quarantine(&node(1, 7));
        assert_eq!(all.parted(node(1, 7).uid), Some(By::Us));
        all.handle_link_up(&node(1, 7));
        assert_eq!(all.parted(node(1, 7).uid), Some(By::Us), "its own stays");
        assert_eq!(all.handle_told(&node(1, 7)), FIRST);
        all.handle_link_up(&node(1, 8));
        assert_eq!(
            all.handle_told(&node(1, 7)),
            FIRST,
            "the next start took its place"
        );
    }
}
