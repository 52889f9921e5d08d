//! The way to the mediators of other cores and nodes.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringmesh_cluster::pubsub::Nodes;
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::lane::Lane;
use ringmesh_proto::link::{Payload, PushError, SendHead};
use ringmesh_proto::message::{Message as _, MessageType};
use rustc_hash::FxHashMap;

use super::super::{Core, NodeIndex, Place};
use super::Publisher;
use crate::error::Refusal;
use crate::pubsub::mediator::{self, Parts, Shared, SharedParts};
use crate::reference::Recipient;

/// How long a frame that has come waits for room at another core of this node: longer than
/// subscribers there are usually waited for.
const SHARE_PATIENCE: Duration = Duration::from_secs(5);

/// The most mediators that a core remembers the way to.
const WAYS_MAX: usize = 4096;

/// The mediators that this core has sent to.
#[derive(Debug, Default)]
pub(super) struct Ways(FxHashMap<(Uid, CoreId), Recipient>);

impl Ways {
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Remembers a way. All others are found anew if there are too many.
    fn put(&mut self, of: (Uid, CoreId), way: Recipient) {
        if self.0.len() >= WAYS_MAX {
            self.forget();
        }
        self.0.insert(of, way);
    }
}

/// A way on which there is no room, and whether that is so because the mediator there is busy.
pub(crate) type Blocked = (Recipient, bool);

/// What a publish sees of the nodes it may go to.
pub(super) struct View<'a> {
    pub(super) core: &'a Rc<Core>,
    /// What a frame takes, at most.
    pub(super) bytes: usize,
    /// Nodes without that role are left out.
    pub(super) role: Option<&'a str>,
    /// Where the publisher stands in the line of a way.
    pub(super) place: Standing<'a>,
    /// The first way that has no room.
    pub(super) blocked: Cell<Option<Blocked>>,
}

/// Where a publisher stands in the line of a way, if it does.
pub(crate) type Standing<'a> = Option<(&'a Place, Recipient)>;

/// The place in the line of that way.
pub(super) fn place_on<'a>(standing: Standing<'a>, way: &Recipient) -> Option<&'a Place> {
    let (place, of) = standing?;
    let is_it = (of.uid, of.core, of.large) == (way.uid, way.core, way.large);
    is_it.then_some(place)
}

/// A place in the line of a way that has no room, of one that waits for that.
#[derive(Default)]
pub(crate) struct InLine(Option<(Place, Recipient)>);

impl InLine {
    pub(crate) fn standing(&self) -> Standing<'_> {
        self.0.as_ref().map(|it| (&it.0, it.1))
    }

    /// Has a task woken when there may be room, from the place that it has on that way or the last
    /// one. `false` of a way that this core does not know.
    pub(crate) fn wait(
        &mut self,
        core: &Rc<Core>,
        (way, is_busy): Blocked,
        context: &Context<'_>,
    ) -> bool {
        let known = place_on(self.standing(), &way);
        if known.is_none_or(|place| core.is_astray(place, way)) {
            self.0 = core.join_line(way).map(|place| (place, way));
        }
        match &self.0 {
            Some((place, _)) if is_busy => place.wait_aside(context.waker()),
            Some((place, _)) => place.wait(context.waker()),
            None => return false,
        }
        true
    }
}

impl Nodes for View<'_> {
    fn has_credit(&self, node: Uid, core: CoreId) -> bool {
        let Some(way) = self.core.way_for(node, core, self.bytes) else {
            // The push finds out, and counts it.
            return true;
        };
        let Err(is_busy) = self.core.room_on(&way, self.bytes, self.place) else {
            return true;
        };
        if self.blocked.get().is_none() {
            self.blocked.set(Some((way, is_busy)));
        }
        false
    }

    fn is_in_role(&self, node: Uid) -> bool {
        self.core.is_in_role(node, self.role)
    }
}

impl Core {
    /// Whether a node has a role, if there is one to have.
    pub(super) fn is_in_role(&self, node: Uid, role: Option<&str>) -> bool {
        let Some(role) = role else {
            return true;
        };
        let topology = self.topology();
        let member = topology.as_ref().and_then(|it| it.member(node));
        member.is_some_and(|it| it.roles().has(role))
    }

    /// The mediator of a core of a node; `None` of a node that is no member.
    pub(super) fn way_to(self: &Rc<Self>, node: Uid, core: CoreId) -> Option<Recipient> {
        if let Some(known) = self.pubsub.ways.borrow().0.get(&(node, core)) {
            return Some(*known);
        }
        if self.is_own_start(node) {
            return Some(mediator::of_core(node, self.home(NodeIndex::SELF), core));
        }
        let snapshot = self.registry_snapshot();
        let listing = snapshot.listing(node)?;
        let home = self.home_of(&listing.owner().address, node, core);
        let way = mediator::of_node(node, home, core);
        if home.node == NodeIndex::NOWHERE {
            // There may be room for another peer soon.
            return Some(way);
        }
        self.pubsub.ways.borrow_mut().put((node, core), way);
        Some(way)
    }

    /// The same for frames of so many bytes: long ones take the large lane to other nodes.
    pub(super) fn way_for(
        self: &Rc<Self>,
        node: Uid,
        core: CoreId,
        bytes: usize,
    ) -> Option<Recipient> {
        let way = self.way_to(node, core)?;
        let cap = self.settings.of_lane(Lane::Ordinary).body_cap as usize;
        let large = bytes > cap && !self.is_own_start(node);
        Some(Recipient { large, ..way })
    }

    /// Whether a frame of so many bytes finds room on a way; else whether the mediator there is
    /// busy. Where there is no link yet, one is made.
    pub(super) fn room_on(
        self: &Rc<Self>,
        way: &Recipient,
        bytes: usize,
        standing: Standing<'_>,
    ) -> Result<(), bool> {
        let known = self.room_of_link(way, bytes, standing);
        let Err(Refusal::Unreachable) = known else {
            return known.unwrap_or(Ok(()));
        };
        match self.reach(*way) {
            Ok(()) => self.room_of_link(way, bytes, standing).unwrap_or(Ok(())),
            Err(Refusal::Unreachable) => Err(false),
            Err(_) => Ok(()),
        }
    }

    /// The same where there is a link; whatever else is wrong the push says, and counts.
    fn room_of_link(
        &self,
        way: &Recipient,
        bytes: usize,
        standing: Standing<'_>,
    ) -> Result<Result<(), bool>, Refusal> {
        let peers = self.peers.borrow();
        let (link, is_held_up) = match peers.link_to(way, place_on(standing, way)) {
            Ok(found) => found,
            Err(Refusal::Busy) => return Ok(Err(true)),
            Err(refusal) => return Err(refusal),
        };
        if is_held_up {
            return Ok(Err(false));
        }
        let room = link.outbound.borrow_mut().room_for(way.target(), bytes);
        Ok(match room {
            Err(PushError::TargetBusy) => Err(true),
            Err(PushError::NoCredit) => {
                self.stir(link);
                Err(false)
            }
            // The cap of a link without a peer is not the last word.
            Err(PushError::TooLarge { .. }) if link.forming.get() => Err(false),
            _ => Ok(()),
        })
    }

    /// Gives a frame to another core of this node when there is room, within some time. Says
    /// whether there was.
    pub(super) async fn share_patiently(
        self: &Rc<Self>,
        core: CoreId,
        (publisher, frame): (&Publisher, &[u8]),
    ) -> bool {
        let parts = Parts {
            head: frame,
            archive: &[],
        };
        let parts = SharedParts {
            origin: &publisher.origin,
            parts: &parts,
        };
        let Some(way) = self.way_to(self.identity().uid, core) else {
            return false;
        };
        let mut patience = self.alarm(SHARE_PATIENCE);
        let mut line = InLine::default();
        poll_fn(|context| {
            let Err(is_busy) = self.room_on(&way, parts.bytes(), line.standing()) else {
                let is_sent = self.send_parts(&way, &Shared::TYPE, &parts, line.standing());
                return Poll::Ready(is_sent);
            };
            if patience.poll(context).is_ready() || !line.wait(self, (way, is_busy), context) {
                return Poll::Ready(false);
            }
            Poll::Pending
        })
        .await
    }

    /// Sends a frame on a way, whose place in the line the publisher may have.
    pub(super) fn send_parts<P: Payload>(
        self: &Rc<Self>,
        way: &Recipient,
        message: &MessageType,
        parts: &P,
        standing: Standing<'_>,
    ) -> bool {
        let head = SendHead::Tell {
            message,
            target: way.target(),
        };
        let place = place_on(standing, way);
        let told = match self.tell_as(way, head, parts, place) {
            Err(Refusal::Unreachable) => {
                let reached = self.reach(*way);
                reached.and_then(|()| self.tell_as(way, head, parts, place))
            }
            told => told,
        };
        told.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Home, TableId};
    use super::*;

    #[test]
    fn one_over_the_ways_max_begins_anew() {
        let home = Home {
            table: TableId::default(),
            node: NodeIndex::SELF,
        };
        let mut ways = Ways::default();
        for number in 1..=WAYS_MAX as u64 + 1 {
            let uid = Uid::new(number).expect("not zero");
            assert!(ways.0.len() <= WAYS_MAX);
            ways.put((uid, CoreId(0)), mediator::of_node(uid, home, CoreId(0)));
        }
        assert_eq!(ways.0.len(), 1);
    }
}
