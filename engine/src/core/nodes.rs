//! The nodes that the cores of one node know: their numbers, and what is known of them.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use ringmesh_cluster::evidence::{Ending, Evidence};
use ringmesh_proto::address::{Address, NodeId, Uid};
use ringmesh_proto::limits::FORMER_UIDS_MAX;
use ringmesh_proto::matrix::LinkMatrix;

/// A node as all cores name it: their refs carry the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeIndex(pub(crate) u32);

/// What a handshake told of a node: the process start, the links that this node may have with it,
/// and whether it is a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Met {
    pub(crate) uid: Uid,
    pub(crate) matrix: LinkMatrix,
    /// It came as one, first.
    pub(crate) is_client: bool,
}

impl NodeIndex {
    /// This node.
    pub(crate) const SELF: Self = Self(0);

    /// No node.
    pub(crate) const NOWHERE: Self = Self(u32::MAX);
}

/// The nodes that the cores know, numbered, so that a ref means the same on each.
///
/// A number is used again for another node when no core knows the first one any more. A ref of it
/// reaches nobody then: it carries the uid of its process start besides.
#[derive(Debug)]
pub(super) struct Nodes {
    entries: Vec<Entry>,
    by_address: HashMap<Address, NodeIndex>,
    /// The process starts in `met`.
    by_uid: HashMap<Uid, NodeIndex>,
    free: Vec<NodeIndex>,
    nodes_max: usize,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    /// How many cores know it.
    cores: usize,
    met: Option<Met>,
    /// Links of all cores with it.
    links: usize,
    /// The process start that had a link last, and where it was on the network.
    proven: Option<(Uid, IpAddr)>,
    /// Process starts that are known to be over, latest last.
    over: VecDeque<Uid>,
    /// Whether its process has crashed.
    evidence: Evidence,
}

impl Nodes {
    pub(super) fn new(nodes_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            by_address: HashMap::new(),
            by_uid: HashMap::new(),
            free: Vec::new(),
            nodes_max,
        }
    }

    /// The node itself is number 0, known by all cores for ever.
    pub(super) fn add_self(&mut self, address: Address) {
        debug_assert!(self.entries.is_empty(), "the node itself comes first");
        self.by_address.insert(address.clone(), NodeIndex::SELF);
        self.entries.push(Entry {
            address,
            cores: 1,
            met: None,
            links: 0,
            proven: None,
            over: VecDeque::new(),
            evidence: Evidence::default(),
        });
    }

    pub(super) fn meet(&mut self, address: &Address) -> Option<NodeIndex> {
        if let Some(&node) = self.by_address.get(address) {
            self.entries[node.0 as usize].cores += 1;
            return Some(node);
        }
        let entry = Entry {
            address: address.clone(),
            cores: 1,
            met: None,
            links: 0,
            proven: None,
            over: VecDeque::new(),
            evidence: Evidence::default(),
        };
        let node = if let Some(node) = self.free.pop() {
            self.entries[node.0 as usize] = entry;
            node
        } else {
            if self.entries.len() > self.nodes_max {
                return None;
            }
            self.entries.push(entry);
            NodeIndex(u32::try_from(self.entries.len() - 1).ok()?)
        };
        self.by_address.insert(address.clone(), node);
        Some(node)
    }

    pub(super) fn address(&self, node: NodeIndex) -> Option<&Address> {
        let entry = self.entries.get(node.0 as usize)?;
        (entry.cores > 0).then_some(&entry.address)
    }

    /// The address of a node that is known, unless that process start of it is over.
    pub(super) fn address_of_start(&self, node: NodeIndex, uid: Uid) -> Option<&Address> {
        let address = self.address(node)?;
        let over = &self.entries[node.0 as usize].over;
        (!over.contains(&uid)).then_some(address)
    }

    /// A process start of a node is over. Says whether that is news.
    pub(super) fn end_start(&mut self, node: NodeIndex, uid: Uid) -> bool {
        let over = &mut self.entries[node.0 as usize].over;
        if over.contains(&uid) {
            return false;
        }
        if over.len() == FORMER_UIDS_MAX {
            over.pop_front();
        }
        over.push_back(uid);
        true
    }

    pub(super) fn met(&self, address: &Address) -> Option<(NodeIndex, Option<Met>)> {
        let node = *self.by_address.get(address)?;
        Some((node, self.entries[node.0 as usize].met))
    }

    pub(super) fn met_start(&self, node: NodeIndex) -> Option<Uid> {
        Some(self.entries.get(node.0 as usize)?.met?.uid)
    }

    /// Whether a process start is the one that was met last at its address. Before any was, what is
    /// said of a known address cannot be told from the truth.
    pub(super) fn check_start(&self, id: &NodeId) -> Result<(), Option<Uid>> {
        let (_, met) = self.met(&id.address).ok_or(None)?;
        match met {
            Some(met) if met.uid != id.uid => Err(Some(met.uid)),
            _ => Ok(()),
        }
    }

    pub(super) fn learn(&mut self, node: NodeIndex, met: Met) -> Met {
        let known = &mut self.entries[node.0 as usize].met;
        if let Some(known) = known.filter(|known| known.uid == met.uid) {
            return known;
        }
        let former = known.replace(met);
        self.forget_uid(former, node);
        self.by_uid.insert(met.uid, node);
        met
    }

    /// What was known of a node holds no more.
    fn forget_uid(&mut self, former: Option<Met>, node: NodeIndex) {
        if let Some(Met { uid, .. }) = former
            && self.by_uid.get(&uid) == Some(&node)
        {
            self.by_uid.remove(&uid);
        }
    }

    pub(super) fn is_elsewhere(&self, id: &NodeId) -> bool {
        let found = self.by_uid.get(&id.uid);
        found.is_some_and(|node| {
            let entry = &self.entries[node.0 as usize];
            entry.links > 0 && entry.address != id.address
        })
    }

    /// Whether a process start of a node is one that came as a client.
    pub(super) fn is_client(&self, node: NodeIndex, uid: Uid) -> bool {
        let met = self.entries.get(node.0 as usize).and_then(|it| it.met);
        met.is_some_and(|met| met.uid == uid && met.is_client)
    }

    /// Whether a process start may come in a role: in the one that it came in first. What another
    /// address says of the same uid counts for nothing: anybody could say so.
    pub(super) fn may_be(&self, id: &NodeId, is_client: bool) -> bool {
        let met = self.met(&id.address).and_then(|(_, met)| met);
        let met = met.filter(|met| met.uid == id.uid);
        met.is_none_or(|met| met.is_client == is_client)
    }

    pub(super) fn linked(&mut self, node: NodeIndex, uid: Uid, from: Option<IpAddr>) {
        let entry = &mut self.entries[node.0 as usize];
        entry.links += 1;
        entry.proven = from.map(|from| (uid, from));
    }

    pub(super) fn connected(&mut self, node: NodeIndex, uid: Uid) {
        let entry = &mut self.entries[node.0 as usize];
        entry.evidence.handle_connected(uid);
        // Whatever was heard of it, it runs: a link that comes back says so as much as a new one.
        entry.over.retain(|over| *over != uid);
    }

    pub(super) fn disconnected(&mut self, node: NodeIndex, uid: Uid, ending: Ending) -> bool {
        let entry = &mut self.entries[node.0 as usize];
        entry.evidence.handle_disconnected(uid, ending)
    }

    pub(super) fn dial_refused(&self, node: NodeIndex) -> Option<Uid> {
        self.entries[node.0 as usize].evidence.handle_refused()
    }

    pub(super) fn unlinked(&mut self, node: NodeIndex) {
        self.entries[node.0 as usize].links -= 1;
    }

    pub(super) fn is_proven(&self, id: &NodeId, from: IpAddr) -> bool {
        let node = self.by_address.get(&id.address);
        let proven = node.and_then(|node| self.entries[node.0 as usize].proven);
        proven == Some((id.uid, from))
    }

    pub(super) fn forget(&mut self, node: NodeIndex) {
        let entry = &mut self.entries[node.0 as usize];
        entry.cores -= 1;
        if entry.cores == 0 {
            self.by_address.remove(&entry.address);
            let former = entry.met.take();
            self.forget_uid(former, node);
            self.free.push(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        Address::new("demo", "127.0.0.1", port).unwrap()
    }

    fn met(uid: u64, cores: u16) -> Met {
        Met {
            uid: Uid::new(uid).unwrap(),
            matrix: LinkMatrix::new(1, cores, 64),
            is_client: false,
        }
    }

    fn nodes(nodes_max: usize) -> Nodes {
        let mut nodes = Nodes::new(nodes_max);
        nodes.add_self(address(1));
        nodes
    }

    #[test]
    fn a_node_keeps_its_number_while_a_core_knows_it() {
        let mut nodes = nodes(2);
        let met = nodes.meet(&address(2)).unwrap();
        assert_eq!(nodes.meet(&address(2)), Some(met));
        nodes.forget(met);
        assert_eq!(nodes.address(met), Some(&address(2)));
        nodes.forget(met);
        assert_eq!(nodes.address(met), None);
        assert_eq!(nodes.meet(&address(3)), Some(met), "the number is free");
        assert_eq!(nodes.meet(&address(1)), Some(NodeIndex::SELF));
    }

    #[test]
    fn what_a_process_start_told_first_holds_until_another_is_met() {
        let mut nodes = nodes(2);
        let node = nodes.meet(&address(2)).unwrap();
        assert_eq!(nodes.met(&address(2)), Some((node, None)));
        assert_eq!(nodes.learn(node, met(1, 2)), met(1, 2));
        assert_eq!(nodes.learn(node, met(1, 3)), met(1, 2));
        assert_eq!(nodes.learn(node, met(2, 3)), met(2, 3));
        assert_eq!(nodes.met(&address(2)), Some((node, Some(met(2, 3)))));
        let check = |nodes: &Nodes, port, uid| {
            let (address, uid) = (address(port), Uid::new(uid).unwrap());
            nodes.check_start(&NodeId { address, uid })
        };
        assert_eq!(check(&nodes, 2, 2), Ok(()));
        assert_eq!(check(&nodes, 2, 1), Err(Uid::new(2)));
        assert_eq!(check(&nodes, 3, 1), Err(None));
        nodes.forget(node);
        assert_eq!(nodes.met(&address(2)), None);
        nodes.meet(&address(2)).unwrap();
        assert_eq!(nodes.met(&address(2)), Some((node, None)));
    }

    #[test]
    fn a_uid_is_elsewhere_as_long_as_another_address_has_it() {
        let mut nodes = nodes(3);
        let [one, other] = [2, 3].map(|port| nodes.meet(&address(port)).unwrap());
        let id = |port, uid| NodeId {
            address: address(port),
            uid: Uid::new(uid).unwrap(),
        };
        let met = |uid| met(uid, 1);
        nodes.learn(one, met(7));
        assert!(!nodes.is_elsewhere(&id(3, 7)), "it has no link");
        nodes.linked(one, id(2, 7).uid, None);
        nodes.linked(other, id(3, 9).uid, None);
        assert!(!nodes.is_elsewhere(&id(2, 7)) && nodes.is_elsewhere(&id(3, 7)));
        nodes.learn(one, met(8));
        assert!(!nodes.is_elsewhere(&id(3, 7)) && nodes.is_elsewhere(&id(3, 8)));
        nodes.unlinked(one);
        assert!(!nodes.is_elsewhere(&id(3, 8)), "its link is over");
        nodes.learn(other, met(9));
        nodes.forget(one);
        assert!(!nodes.is_elsewhere(&id(3, 8)) && nodes.is_elsewhere(&id(2, 9)));
    }

    #[test]
    fn a_process_start_is_proven_where_it_was_found_until_another_is() {
        let mut nodes = nodes(2);
        let node = nodes.meet(&address(2)).unwrap();
        let [here, there] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let [id, next] = [1, 2].map(|uid| NodeId {
            address: address(2),
            uid: Uid::new(uid).unwrap(),
        });
        assert!(!nodes.is_proven(&id, here));
        nodes.linked(node, id.uid, Some(here));
        assert!(nodes.is_proven(&id, here));
        assert!(!nodes.is_proven(&id, there) && !nodes.is_proven(&next, here));
        nodes.linked(node, next.uid, Some(here));
        assert!(nodes.is_proven(&next, here) && !nodes.is_proven(&id, here));
        nodes.forget(node);
        nodes.meet(&address(2)).unwrap();
        assert!(!nodes.is_proven(&next, here), "it was forgotten");
    }

    #[test]
    fn one_over_the_starts_that_are_remembered_as_ended_forgets_the_first() {
        let mut nodes = nodes(2);
        let node = nodes.meet(&address(2)).unwrap();
        let uids: Vec<Uid> = (1..=FORMER_UIDS_MAX as u64 + 1)
            .map(|uid| Uid::new(uid).unwrap())
            .collect();
        for uid in &uids {
            assert_eq!(nodes.address_of_start(node, *uid), Some(&address(2)));
            assert!(nodes.end_start(node, *uid) && !nodes.end_start(node, *uid));
            assert_eq!(nodes.address_of_start(node, *uid), None);
        }
        assert!(nodes.address_of_start(node, uids[0]).is_some());
        assert!(nodes.address_of_start(node, uids[1]).is_none());
        nodes.connected(node, uids[1]);
        assert!(nodes.address_of_start(node, uids[1]).is_some(), "it runs");
        assert!(nodes.end_start(node, uids[1]), "which is news then");
        nodes.forget(node);
        nodes.meet(&address(3)).unwrap();
        assert_eq!(nodes.address_of_start(node, uids[1]), Some(&address(3)));
    }

    #[test]
    fn one_over_the_bound_is_not_met() {
        let mut nodes = nodes(1);
        assert!(nodes.meet(&address(2)).is_some());
        assert_eq!(nodes.meet(&address(3)), None);
    }
}
