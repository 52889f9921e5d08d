//! The nodes that this one knows, by the index that refs carry.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use ringmesh_proto::address::{Address, CoreId, Uid};
use ringmesh_proto::association::{Association, Status};
use ringmesh_proto::close_reason::CloseReason;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::limits::CORES_MAX;
use ringmesh_proto::time::Instant;
use ringmesh_transport::timer::TimerKey;

use super::CONTROL_CORE;
use super::dial::Places;
use super::line::{Line, Place};
use super::link::Link;
use super::nodes::{Met, NodeIndex};
use super::quarantine::Parted;
use super::rows::{Row, Way};
use super::shared::{Shared, TableId};
use crate::error::{Refusal, ResolveError};
use crate::reference::Recipient;

/// One core of a known node and one lane, in the table of this core. A peer that was forgotten
/// leaves its index to another one; a ref names the node by its [`NodeIndex`], and carries a uid
/// besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PeerIndex(u32);

impl PeerIndex {
    /// A core of this node: they come first in every table.
    pub(crate) fn of_core(core: CoreId) -> Self {
        Self(core.0.into())
    }
}

/// The nodes that this one knows.
#[derive(Debug)]
pub(super) struct PeerTable {
    /// Where the numbers of nodes count.
    table: TableId,
    /// The core whose table it is.
    me: CoreId,
    peers: Vec<Peer>,
    /// The indices of a node's cores, by the node's number and the core's.
    rows: Vec<Row>,
    by_address: HashMap<Address, NodeIndex>,
    /// The last one that was found, for the next send most often goes there too.
    latest: Cell<(Way, PeerIndex)>,
    /// Cores of this node, the first of `peers`.
    own: usize,
    /// Peers of other nodes, by lane.
    known: [usize; Lane::ALL.len()],
    peers_max: usize,
    parted: Arc<Parted>,
    /// Gave its link up for another peer, which may have its place although sends wait: those were
    /// told.
    giving_way: Option<PeerIndex>,
    /// Lost its place to another peer, which nobody was told yet.
    forgotten: Option<(Address, CoreId)>,
}

/// One known node.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: Address,
    pub(super) node: NodeIndex,
    pub(super) core: CoreId,
    pub(super) lane: Lane,
    pub(super) link: Option<Rc<Link>>,
    pub(super) association: Association,
    /// When the association has something to do.
    pub(super) timer: Option<(Instant, TimerKey)>,
    /// Why there is no link, as far as something went wrong.
    pub(super) problem: Option<CloseReason>,
    /// How often a link came up, or went on.
    pub(super) meetings: u64,
    /// How often sends waited for its first link in vain.
    pub(super) given_up: u64,
    pub(super) places: Places,
    /// Sends that wait for room.
    pub(super) line: Line,
    /// Tasks that wait for the link to come or go.
    watchers: Vec<Waker>,
}

impl Peer {
    fn new(address: Address, node: NodeIndex, (core, lane): (CoreId, Lane)) -> Self {
        let association = Association::with_core(address.clone(), core);
        Self {
            address,
            node,
            core,
            lane,
            link: None,
            association,
            timer: None,
            problem: None,
            meetings: 0,
            given_up: 0,
            places: Places::default(),
            line: Line::default(),
            watchers: Vec::new(),
        }
    }
}

impl PeerTable {
    /// A table that knows this node alone, by the links to its cores.
    pub(super) fn new(
        address: &Address,
        (shared, me): (&Shared, CoreId),
        links: impl Iterator<Item = Rc<Link>>,
        peers_max: usize,
    ) -> Self {
        let mut table = Self {
            table: shared.table,
            me,
            peers: Vec::new(),
            rows: vec![Row::default()],
            by_address: HashMap::from([(address.clone(), NodeIndex::SELF)]),
            latest: Cell::new(((NodeIndex::SELF, CoreId(0), false), PeerIndex(0))),
            own: 0,
            known: [0; Lane::ALL.len()],
            peers_max,
            parted: Arc::clone(&shared.parted),
            giving_way: None,
            forgotten: None,
        };
        for link in links {
            let at = (link.to_core, Lane::Ordinary);
            table.add(Peer {
                link: Some(link),
                ..Peer::new(address.clone(), NodeIndex::SELF, at)
            });
            table.own += 1;
        }
        table
    }

    /// The number of a node that this core knows.
    pub(super) fn number(&self, address: &Address) -> Option<NodeIndex> {
        self.by_address.get(address).copied()
    }

    /// The index of a core of a node that this core knows.
    pub(super) fn find(&self, node: NodeIndex, core: CoreId, lane: Lane) -> Option<PeerIndex> {
        self.rows.get(node.0 as usize)?.at(core, lane)
    }

    /// The links that what goes to a core of a process start takes, by way of another core or not.
    pub(super) fn links_towards(&self, node: NodeIndex, core: CoreId, uid: Uid) -> Vec<Rc<Link>> {
        let Some(row) = self.rows.get(node.0 as usize) else {
            return Vec::new();
        };
        let ways = [false, true].map(|large| row.way(core, large));
        let links = ways
            .iter()
            .flatten()
            .filter_map(|way| self.peers[way.0 as usize].link.clone());
        links.filter(|link| link.uid == uid).collect()
    }

    /// Every peer that is a core of that node, on whatever lane.
    pub(super) fn of_node(&self, node: NodeIndex) -> Vec<PeerIndex> {
        let row = self.rows.get(node.0 as usize);
        row.into_iter().flat_map(Row::all).collect()
    }

    #[inline]
    fn find_again(&self, way: Way) -> Option<PeerIndex> {
        let (latest, index) = self.latest.get();
        if latest == way {
            return Some(index);
        }
        let (node, core, large) = way;
        let index = self.rows.get(node.0 as usize)?.way(core, large)?;
        self.latest.set((way, index));
        Some(index)
    }

    /// Notes what a handshake told of a node that this core knows.
    pub(super) fn learn(&mut self, node: NodeIndex, met: Met) {
        if let Some(row) = self.rows.get_mut(node.0 as usize)
            && row.met != Some(met)
        {
            row.met = Some(met);
            self.change_ways(node);
        }
    }

    /// The row of a node has changed.
    fn change_ways(&mut self, node: NodeIndex) {
        let own = (NodeIndex::SELF, CoreId(0), false);
        self.latest.set((own, PeerIndex(0)));
        self.rows[node.0 as usize].find_ways(self.me, node == NodeIndex::SELF);
    }

    /// The peer that what goes to a core of a process start is sent to, as far as this core knows
    /// of both.
    pub(super) fn towards(
        &self,
        address: &Address,
        uid: Uid,
        (core, large): (CoreId, bool),
    ) -> Option<PeerIndex> {
        let row = self.rows.get(self.number(address)?.0 as usize)?;
        let is_met = row.met.is_some_and(|met| met.uid == uid);
        is_met.then(|| row.way(core, large))?
    }

    /// The peer whose link a send to `to` waits for: of a node that this core has not met, the
    /// control core.
    pub(super) fn awaited(&self, to: Recipient) -> Option<PeerIndex> {
        let row = self.rows.get(to.node.0 as usize)?;
        let is_met = row.met.is_some_and(|met| met.uid == to.uid);
        if is_met || to.node == NodeIndex::SELF {
            row.way(to.core, to.large)
        } else {
            row.ordinary.at(CONTROL_CORE)
        }
    }

    /// The index of a core of the node at `address`, known from now on. Nodes met for the first
    /// time get their number from the cores' `shared` state.
    pub(super) fn find_or_add(
        &mut self,
        address: &Address,
        (core, lane): (CoreId, Lane),
        shared: &Shared,
    ) -> Result<PeerIndex, ResolveError> {
        let known = self.number(address);
        if let Some(index) = known.and_then(|node| self.find(node, core, lane)) {
            return Ok(index);
        }
        let limit = self.peers_max;
        let too_many = ResolveError::TooManyPeers { limit };
        if self.is_nowhere(address, core) {
            return Err(too_many);
        }
        let full = self.is_full(lane);
        let place = if full { self.forgettable(lane) } else { None };
        if full && place.is_none() {
            return Err(too_many);
        }
        let Some(node) = shared.meet(address) else {
            return Err(too_many);
        };
        if let Some(place) = place {
            self.forget(place, shared);
        }
        if self.by_address.insert(address.clone(), node).is_some() {
            // It counts once for this core, which knows others of its cores.
            shared.forget(node);
        }
        let peer = Peer::new(address.clone(), node, (core, lane));
        Ok(match place {
            Some(place) => self.put(place, peer),
            None => {
                self.known[lane.index()] += 1;
                self.add(peer)
            }
        })
    }

    /// Forgets a peer that is [`forgettable`](Self::forgettable).
    fn forget(&mut self, place: PeerIndex, shared: &Shared) {
        let Peer {
            node, core, lane, ..
        } = self.peers[place.0 as usize];
        let row = &mut self.rows[node.0 as usize];
        row.set(core, lane, None);
        let is_empty = row.is_empty();
        if is_empty {
            row.met = None;
        }
        self.change_ways(node);
        let address = self.peers[place.0 as usize].address.clone();
        if is_empty {
            self.by_address.remove(&address);
            shared.forget(node);
        }
        self.forgotten = Some((address, core));
    }

    /// Says which peer gave its link up for the next one that needs a place, or that none did.
    pub(super) fn give_way(&mut self, peer: Option<PeerIndex>) {
        self.giving_way = peer;
    }

    /// The core of a node that was forgotten last, once.
    pub(super) fn take_forgotten(&mut self) -> Option<(Address, CoreId)> {
        self.forgotten.take()
    }

    /// A peer that nobody needs to remember: without a link, without a wish for one unless it was
    /// out of reach for long, and without anybody who waits. Its index may stand for another one
    /// then, since a ref also carries the uid of its process start, and reaches no other.
    fn forgettable(&self, lane: Lane) -> Option<PeerIndex> {
        self.others().find(|node| {
            let peer = &self.peers[node.0 as usize];
            let association = &peer.association;
            let dials_in_vain =
                association.is_out_of_reach() && matches!(association.status(), Status::BackOff);
            peer.lane == lane
                && peer.link.is_none()
                && (association.status() == Status::Idle || dials_in_vain)
                && peer.watchers.is_empty()
                && (peer.line.is_empty() || self.giving_way == Some(*node) && peer.line.is_woken())
                && !peer.places.looking_up
        })
    }

    fn add(&mut self, peer: Peer) -> PeerIndex {
        let index = u32::try_from(self.peers.len()).expect("peers_max is below 2^32");
        let index = PeerIndex(index);
        self.list(index, &peer);
        self.peers.push(peer);
        index
    }

    fn put(&mut self, place: PeerIndex, mut peer: Peer) -> PeerIndex {
        self.list(place, &peer);
        let former = self.at(place);
        peer.line = former.line.follower();
        *former = peer;
        place
    }

    fn list(&mut self, index: PeerIndex, peer: &Peer) {
        let row = peer.node.0 as usize;
        if self.rows.len() <= row {
            self.rows.resize_with(row + 1, Row::default);
        }
        self.rows[row].set(peer.core, peer.lane, Some(index));
        self.change_ways(peer.node);
    }

    /// Every core of every node, but those of this one.
    pub(super) fn others(&self) -> impl Iterator<Item = PeerIndex> + use<> {
        (self.own..self.peers.len()).map(|index| PeerIndex(index as u32))
    }

    /// The links to other nodes, those without a connection among them.
    pub(super) fn links(&self) -> Vec<Rc<Link>> {
        let others = self.peers[self.own..].iter();
        others.filter_map(|peer| peer.link.clone()).collect()
    }

    /// The links of the peers from number `first` on, of so many of them; and the number to go on
    /// with, if there are more.
    pub(super) fn links_from(&self, first: usize, count: usize) -> (Vec<Rc<Link>>, Option<usize>) {
        let others = &self.peers[self.own..];
        let first = first.min(others.len());
        let end = first.saturating_add(count).min(others.len());
        let links = others[first..end].iter();
        let links = links.filter_map(|peer| peer.link.clone()).collect();
        (links, (end < others.len()).then_some(end))
    }

    /// Whether this node, or every node, has no such core.
    fn is_nowhere(&self, address: &Address, core: CoreId) -> bool {
        self.number(address) == Some(NodeIndex::SELF) || core.0 >= CORES_MAX
    }

    /// Whether a core of a node would be known if another were forgotten.
    pub(super) fn lacks_room(&self, address: &Address, (core, lane): (CoreId, Lane)) -> bool {
        self.is_full(lane) && !self.is_nowhere(address, core)
    }

    /// Whether another peer on a lane takes the place of one.
    fn is_full(&self, lane: Lane) -> bool {
        self.known[lane.index()] >= self.peers_max
    }

    /// Every core of every node.
    pub(super) fn all(&self) -> impl Iterator<Item = PeerIndex> + use<> {
        (0..self.peers.len()).map(|index| PeerIndex(index as u32))
    }

    pub(super) fn at(&mut self, node: PeerIndex) -> &mut Peer {
        &mut self.peers[node.0 as usize]
    }

    pub(super) fn address(&self, node: PeerIndex) -> Option<&Address> {
        self.peers.get(node.0 as usize).map(|peer| &peer.address)
    }

    /// The link that reaches a recipient, and whether others have to be let go first.
    #[inline(always)]
    pub(super) fn link_to(
        &self,
        to: &Recipient,
        place: Option<&Place>,
    ) -> Result<(&Rc<Link>, bool), Refusal> {
        let peer = self.find_again((to.node, to.core, to.large));
        match peer.map(|index| &self.peers[index.0 as usize]) {
            Some(Peer {
                link: Some(link),
                line,
                ..
            }) if link.uid == to.uid && to.table == self.table => {
                Ok((link, line.is_held_up(place)))
            }
            peer => Err(self.no_link(peer, to)),
        }
    }

    #[cold]
    fn no_link(&self, peer: Option<&Peer>, to: &Recipient) -> Refusal {
        if to.table != self.table {
            return Refusal::OtherCore;
        }
        if let Some(by) = self.parted.of(to.uid) {
            return Refusal::Quarantined(by);
        }
        let may_return = |peer: &Peer| {
            let association = &peer.association;
            let met = association.uid();
            met.is_none_or(|uid| uid == to.uid) && !association.is_over(to.uid)
        };
        match peer {
            // A core of this node that ended does not come back.
            _ if to.node == NodeIndex::SELF => Refusal::NotRunning,
            None if self.has_no_such_core(to) => Refusal::NotRunning,
            _ if self.is_being_met(*to) => Refusal::Busy,
            // Another lane met the process start, and this one has yet to.
            Some(peer) if self.is_met(to) && !peer.association.is_over(to.uid) => {
                Refusal::Unreachable
            }
            Some(peer) if peer.link.is_none() && may_return(peer) => Refusal::Unreachable,
            None => Refusal::Unreachable,
            Some(_) => Refusal::NotRunning,
        }
    }

    /// Whether a recipient is of the process start that was met last.
    fn is_met(&self, to: &Recipient) -> bool {
        let row = self.rows.get(to.node.0 as usize);
        row.and_then(|row| row.met)
            .is_some_and(|met| met.uid == to.uid)
    }

    /// Whether a first link is on its way to the node of a recipient, and will tell which link
    /// leads there; unless the recipient is known to be of another start.
    fn is_being_met(&self, to: Recipient) -> bool {
        let awaited = self.awaited(to).map(|index| &self.peers[index.0 as usize]);
        awaited.is_some_and(|peer| {
            let forms = peer.link.as_ref().filter(|link| link.forming.get());
            let is_known = |link: &Rc<Link>| link.uid == to.uid;
            forms.is_some_and(|link| is_known(link) || peer.association.uid().is_none())
        })
    }

    /// Whether a node is known to be smaller than a ref says.
    fn has_no_such_core(&self, to: &Recipient) -> bool {
        let row = self.rows.get(to.node.0 as usize);
        row.and_then(|row| row.met)
            .is_some_and(|met| met.uid == to.uid && !met.matrix.reaches(to.core))
    }

    /// Whether `waker`, or one like it, is woken when the link to that peer comes or goes.
    pub(super) fn is_watched_by(&mut self, node: PeerIndex, waker: &Waker) -> bool {
        let watchers = &self.at(node).watchers;
        watchers.iter().any(|known| known.will_wake(waker))
    }

    /// Wakes `waker` when the link to that peer comes or goes.
    pub(super) fn watch(&mut self, node: PeerIndex, waker: Waker) {
        self.at(node).watchers.push(waker);
    }

    /// Takes out whoever watches that peer.
    pub(super) fn take_watchers(&mut self, node: PeerIndex) -> Vec<Waker> {
        std::mem::take(&mut self.at(node).watchers)
    }
}

#[cfg(test)]
mod tests;
