//! The way to the mediators of other cores and nodes.

use std::cell::Cell;
use std::rc::Rc;

use ringmesh_cluster::pubsub::Nodes;
use ringmesh_proto::address::{CoreId, Uid};
use rustc_hash::FxHashMap;

use super::super::{Core, NodeIndex, Place};
use crate::pubsub::mediator;
use crate::reference::Recipient;

/// The most mediators that a core remembers the way to.
const WAYS_MAX: usize = 4096;

/// The mediators that this core has sent to.
#[derive(Debug, Default)]
pub(super) struct Ways(FxHashMap<(Uid, CoreId), Recipient>);

impl Ways {
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Some mediator of a node.
    pub(super) fn some_of(&self, node: Uid) -> Option<Recipient> {
        let mut known = self.0.iter().filter(|it| it.0.0 == node);
        known.next().map(|it| *it.1)
    }
}

/// What a publish sees of the nodes it may go to.
pub(super) struct View<'a> {
    pub(super) core: &'a Rc<Core>,
    /// What a frame takes, about.
    pub(super) bytes: usize,
    /// Nodes without that role are left out.
    pub(super) role: Option<&'a str>,
    /// Where the publisher stands in the line at one of them.
    pub(super) place: Option<(&'a Place, Uid)>,
    /// The first way on which there was no room.
    pub(super) full: Cell<Option<Recipient>>,
}

impl Nodes for View<'_> {
    fn has_credit(&self, node: Uid, core: CoreId) -> bool {
        let Some(way) = self.core.way_to(node, core) else {
            // The push finds out, and counts it.
            return true;
        };
        let place = self.place.filter(|it| it.1 == node).map(|it| it.0);
        let peers = self.core.peers.borrow();
        let Ok((link, is_held_up)) = peers.link_to(&way, place) else {
            return true;
        };
        let outbound = link.outbound.borrow();
        let positions = outbound.positions();
        let has_room = positions.tail + self.bytes as u64 <= positions.limit
            && outbound.deferred() == 0
            && !outbound.is_busy(way.target());
        if is_held_up || !has_room {
            self.full.set(self.full.get().or(Some(way)));
            return false;
        }
        true
    }

    fn is_in_role(&self, node: Uid) -> bool {
        let Some(role) = self.role else {
            return true;
        };
        let topology = self.core.topology();
        let member = topology.as_ref().and_then(|it| it.member(node));
        member.is_some_and(|it| it.roles().has(role))
    }
}

impl Core {
    /// Whether it is the mediator at the end of a way that has no room, and not the way.
    pub(crate) fn is_mediator_busy(&self, way: &Recipient) -> bool {
        let peers = self.peers.borrow();
        let link = peers.link_to(way, None);
        link.is_ok_and(|(link, _)| link.outbound.borrow().is_busy(way.target()))
    }

    /// The mediator of a core of a node; `None` of a node that is no member.
    pub(super) fn way_to(self: &Rc<Self>, node: Uid, core: CoreId) -> Option<Recipient> {
        if let Some(known) = self.pubsub.ways.borrow().0.get(&(node, core)) {
            return Some(*known);
        }
        let home = if self.is_own_start(node) {
            self.home(NodeIndex::SELF)
        } else {
            let snapshot = self.registry_snapshot();
            let listing = snapshot.listing(node)?;
            self.home_of(&listing.owner().address, node, core)
        };
        let way = mediator::of_core(node, home, core);
        let mut ways = self.pubsub.ways.borrow_mut();
        if ways.0.len() >= WAYS_MAX {
            ways.0.clear();
        }
        ways.0.insert((node, core), way);
        Some(way)
    }
}
