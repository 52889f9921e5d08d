//! The nodes that this one knows, by the index that refs carry.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

use ringmesh_proto::address::{Address, Uid};
use ringmesh_proto::association::{Association, Status};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::time::Instant;
use ringmesh_transport::timer::TimerKey;

use super::dial::Places;
use super::line::{Line, Place};
use super::link::Link;
use crate::error::{Refusal, ResolveError};
use crate::reference::Recipient;

/// A known node. A peer that was forgotten leaves its index to another one; a ref tells them apart
/// by the uid it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeIndex(u32);

impl NodeIndex {
    /// This node.
    pub(crate) const SELF: Self = Self(0);
}

/// Names the table of one core that node indices count in, for the life of the process: refs may be
/// carried to another node's core in the same process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableId(u32);

impl TableId {
    fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A node, and the table that knows it by that index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    pub(crate) table: TableId,
    pub(crate) node: NodeIndex,
}

/// What a look-up needs to know of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PeerState {
    /// A link is up, to this process start.
    Up(Uid),
    /// No link; with the last thing that went wrong.
    Down(Option<String>),
    /// No link, for its host name has no address; with what the look-up said.
    Unknown(String),
    /// It refuses this node, and will go on to.
    Refused(String),
    /// This node is stopping.
    Stopping,
}

/// The nodes that this one knows.
#[derive(Debug)]
pub(super) struct PeerTable {
    id: TableId,
    peers: Vec<Peer>,
    by_address: HashMap<Address, NodeIndex>,
    peers_max: usize,
}

/// One known node.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: Address,
    pub(super) link: Option<Rc<Link>>,
    pub(super) association: Association,
    /// When the association has something to do.
    pub(super) timer: Option<(Instant, TimerKey)>,
    /// Why there is no link, as far as something went wrong.
    pub(super) problem: Option<CloseReason>,
    pub(super) places: Places,
    /// Sends that wait for room.
    pub(super) line: Line,
    /// Tasks that wait for the link to come or go.
    watchers: Vec<Waker>,
}

impl Peer {
    fn new(address: Address, link: Option<Rc<Link>>) -> Self {
        let association = Association::new(address.clone());
        Self {
            address,
            link,
            association,
            timer: None,
            problem: None,
            places: Places::default(),
            line: Line::default(),
            watchers: Vec::new(),
        }
    }
}

impl PeerTable {
    /// A table that knows this node alone, and the link to itself.
    pub(super) fn new(address: Address, own_link: Rc<Link>, peers_max: usize) -> Self {
        let mut table = Self {
            id: TableId::next(),
            peers: Vec::new(),
            by_address: HashMap::new(),
            peers_max,
        };
        table.add(Peer::new(address, Some(own_link)));
        table
    }

    /// The index of the node at `address`, known from now on.
    pub(super) fn find_or_add(&mut self, address: &Address) -> Result<NodeIndex, ResolveError> {
        if let Some(&index) = self.by_address.get(address) {
            return Ok(index);
        }
        let peer = Peer::new(address.clone(), None);
        if self.peers.len() <= self.peers_max {
            return Ok(self.add(peer));
        }
        let limit = self.peers_max;
        let index = self
            .forgettable()
            .ok_or(ResolveError::TooManyPeers { limit })?;
        let former = std::mem::replace(self.at(index), peer);
        self.by_address.remove(&former.address);
        self.by_address.insert(address.clone(), index);
        Ok(index)
    }

    /// A peer that nobody needs to remember: without a link, without a wish for one, and without
    /// anybody who waits. Its index may stand for another one then, since a ref also carries the
    /// uid of its process start, and reaches no other.
    fn forgettable(&self) -> Option<NodeIndex> {
        self.others().find(|node| {
            let peer = &self.peers[node.0 as usize];
            peer.link.is_none()
                && peer.association.status() == Status::Idle
                && peer.watchers.is_empty()
                && peer.line.is_empty()
                && !peer.places.looking_up
        })
    }

    fn add(&mut self, peer: Peer) -> NodeIndex {
        let index = u32::try_from(self.peers.len()).expect("peers_max is below 2^32");
        self.by_address
            .insert(peer.address.clone(), NodeIndex(index));
        self.peers.push(peer);
        NodeIndex(index)
    }

    /// Every node but this one.
    pub(super) fn others(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (1..self.peers.len()).map(|index| NodeIndex(index as u32))
    }

    pub(super) fn at(&mut self, node: NodeIndex) -> &mut Peer {
        &mut self.peers[node.0 as usize]
    }

    pub(super) fn id(&self) -> TableId {
        self.id
    }

    pub(super) fn address(&self, home: Home) -> Option<&Address> {
        let peer = self.peers.get(home.node.0 as usize);
        peer.filter(|_| home.table == self.id)
            .map(|peer| &peer.address)
    }

    /// The link that reaches a recipient, and whether others have to be let go first.
    #[inline]
    pub(super) fn link_to(
        &self,
        to: Recipient,
        place: Option<&Place>,
    ) -> Result<(&Rc<Link>, bool), Refusal> {
        match self.peers.get(to.node.0 as usize) {
            Some(Peer {
                link: Some(link),
                line,
                ..
            }) if link.uid == to.uid && to.table == self.id => Ok((link, line.is_held_up(place))),
            peer => Err(self.no_link(peer, to)),
        }
    }

    #[cold]
    fn no_link(&self, peer: Option<&Peer>, to: Recipient) -> Refusal {
        if to.table != self.id {
            return Refusal::OtherCore;
        }
        let may_return = |peer: &Peer| {
            let association = &peer.association;
            association.uid() == Some(to.uid) && !association.is_over(to.uid)
        };
        match peer {
            Some(peer) if peer.link.is_none() && may_return(peer) => Refusal::Unreachable,
            _ => Refusal::NotRunning,
        }
    }

    /// Whether `waker`, or one like it, is woken when the link to that peer comes or goes.
    pub(super) fn is_watched_by(&mut self, node: NodeIndex, waker: &Waker) -> bool {
        let watchers = &self.at(node).watchers;
        watchers.iter().any(|known| known.will_wake(waker))
    }

    /// Wakes `waker` when the link to that peer comes or goes.
    pub(super) fn watch(&mut self, node: NodeIndex, waker: Waker) {
        self.at(node).watchers.push(waker);
    }

    /// Takes out whoever watches that peer.
    pub(super) fn take_watchers(&mut self, node: NodeIndex) -> Vec<Waker> {
        std::mem::take(&mut self.at(node).watchers)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use ringmesh_proto::link::{Inbound, Outbound};

    use super::*;
    use crate::core::LinkId;

    fn address(port: u16) -> Address {
        Address::new("demo", "127.0.0.1", port).unwrap()
    }

    fn link() -> Rc<Link> {
        let outbound = Outbound::new(64 << 10, 1 << 20, 1 << 20);
        let uid = Uid::new(7).unwrap();
        let inbound = Inbound::new(1 << 20);
        Rc::new(Link::new(
            LinkId(0),
            NodeIndex::SELF,
            uid,
            None,
            outbound,
            inbound,
        ))
    }

    #[test]
    fn one_over_the_limit_takes_the_place_of_a_peer_that_nobody_needs() {
        let mut table = PeerTable::new(address(1), link(), 2);
        let first = table.find_or_add(&address(2)).unwrap();
        let second = table.find_or_add(&address(3)).unwrap();
        assert_eq!(table.find_or_add(&address(2)).unwrap(), first);
        let third = table.find_or_add(&address(4)).unwrap();
        assert_eq!(third, first);
        let home = Home {
            table: table.id(),
            node: third,
        };
        assert_eq!(table.address(home), Some(&address(4)));
        assert_ne!(table.find_or_add(&address(3)).unwrap(), third);
        table.watch(second, Waker::noop().clone());
        table.watch(third, Waker::noop().clone());
        let refused = table.find_or_add(&address(5));
        assert!(matches!(
            refused,
            Err(ResolveError::TooManyPeers { limit: 2 })
        ));
    }
}
