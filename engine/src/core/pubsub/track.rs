//! Ways that are known: most of what is published, or comes, goes where the last one went.
//!
//! What the [machine](ringmesh_cluster::pubsub::Mediator) calls steady is remembered here until
//! its moment is another one. A known way is taken only by what the machine would send there, and
//! if there is room; of whatever else the machine decides anew.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use ringmesh_cluster::pubsub::limits::HEAD_BYTES_MAX;
use ringmesh_cluster::pubsub::{
    Arrival, Audience, Fanout, Hop, Moment, OWN_ORIGIN, Policy, Recipient,
};
use ringmesh_proto::address::CoreId;
use ringmesh_proto::lane::Lane;
use ringmesh_proto::message::Message as _;

use super::super::{Core, NodeIndex};
use super::Publisher;
use super::publishing::{HEAD_BYTES_USUAL, Order, Reach};
use crate::pubsub::mediator::{Parts, Published, ROOT_BYTES, Shared, SharedParts};
use crate::reference::Recipient as Actor;

/// A way to more receivers is found anew each time: that is little beside what they cost, and each
/// publisher remembers a way of its own.
const RECEIVERS_MAX: usize = 64;

/// The way that the last message of a publisher took.
#[derive(Debug, Default)]
pub(crate) struct Track(RefCell<Way>);

#[derive(Debug, Default)]
struct Way {
    /// When it was found, and for whom.
    found: Option<(Moment, Audience, Policy)>,
    /// Those on this core.
    recipients: Vec<Recipient>,
    legs: Vec<Leg>,
    /// The heads of the frames.
    heads: Vec<u8>,
}

/// The way to one mediator.
#[derive(Debug)]
struct Leg {
    to: Actor,
    is_to_node: bool,
    /// Where its head is.
    head: Range<usize>,
}

impl Way {
    fn begin(&mut self) {
        self.found = None;
        self.recipients.clear();
        self.legs.clear();
        self.heads.clear();
    }

    /// Adds a leg whose head was written to the front of `head`. `None` if the way is too long, or
    /// there is no way.
    fn add(&mut self, to: Option<Actor>, is_to_node: bool, head: &[u8]) -> Option<()> {
        // One that leads nowhere now may lead somewhere soon.
        let to = to.filter(|it| it.node != NodeIndex::NOWHERE)?;
        let start = self.heads.len();
        self.heads.extend_from_slice(head);
        self.legs.push(Leg {
            to,
            is_to_node,
            head: start..self.heads.len(),
        });
        (self.legs.len() <= RECEIVERS_MAX).then_some(())
    }
}

impl Order<'_> {
    /// Whether it goes to all whom its publisher publishes to, and nobody waits for anything.
    fn is_plain(&self) -> bool {
        self.role.is_none() && self.answers.is_none() && self.place.is_none()
    }
}

impl Core {
    /// Sends a message the known way, and says who gets it here. `None` if that may be another one
    /// now, or somebody has to wait: then nothing was sent.
    pub(super) fn publish_again(
        self: &Rc<Self>,
        order: &Order<'_>,
        archive: &[u8],
        recipients: &mut Vec<Recipient>,
    ) -> Option<Reach> {
        let way = order.track.0.borrow();
        let (moment, audience, policy) = way.found?;
        let is_for = (order.publish.audience, order.publish.policy);
        let is_it = order.is_plain() && is_for == (audience, policy);
        if !is_it || self.pubsub.mediator.borrow().as_ref()?.moment() != moment {
            return None;
        }
        let bytes = HEAD_BYTES_USUAL + archive.len() + ROOT_BYTES;
        let is_long = bytes > self.settings.of_lane(Lane::Ordinary).body_cap as usize;
        if is_long || self.who_must_wait(&way.recipients, archive.len()).is_some() {
            return None;
        }
        // All get it or none; whether the only one does shows when it is sent.
        let has_room = |it: &Leg| self.room_on(&it.to, bytes, None).is_ok();
        if way.legs.len() > 1 && !way.legs.iter().all(has_room) {
            return None;
        }
        let mut reach = Reach::default();
        for leg in &way.legs {
            let head = &way.heads[leg.head.clone()];
            let is_sent = self.send_on_leg(leg, &Parts { head, archive });
            if !is_sent && way.legs.len() == 1 {
                return None;
            }
            reach.add(leg.is_to_node, is_sent);
        }
        self.tally.published_frames.add(reach.nodes as u64);
        recipients.extend_from_slice(&way.recipients);
        Some(reach)
    }

    fn send_on_leg(self: &Rc<Self>, leg: &Leg, parts: &Parts<'_>) -> bool {
        if leg.is_to_node {
            return self.send_parts(&leg.to, &Published::TYPE, parts, None);
        }
        let origin = OWN_ORIGIN;
        self.send_parts(&leg.to, &Shared::TYPE, &SharedParts { origin, parts }, None)
    }

    /// Remembers the way that something was published on at that moment, if the next one alike goes
    /// there too.
    pub(super) fn remember_way(
        self: &Rc<Self>,
        order: &Order<'_>,
        moment: Moment,
        fanout: &Fanout<'_>,
    ) {
        if !order.is_plain() || !fanout.is_steady() {
            return;
        }
        // Whoever was woken by room may publish from within a publish of the same publisher.
        let Ok(mut way) = order.track.0.try_borrow_mut() else {
            return;
        };
        way.begin();
        if self.find_legs(fanout, &mut way).is_some() {
            way.found = Some((moment, order.publish.audience, order.publish.policy));
        }
    }

    fn find_legs(self: &Rc<Self>, fanout: &Fanout<'_>, way: &mut Way) -> Option<()> {
        way.recipients
            .extend(fanout.recipients().take(RECEIVERS_MAX + 1));
        if way.recipients.len() > RECEIVERS_MAX {
            return None;
        }
        let mut head = [0; HEAD_BYTES_MAX];
        if !fanout.cores().is_empty() {
            let length = fanout.write_for_cores(&mut head).ok()?;
            for core in fanout.cores().iter() {
                let to = self.way_to(self.identity().uid, core);
                way.add(to, false, &head[..length])?;
            }
        }
        for stop in fanout.stops() {
            let length = fanout.write_for(&stop, &mut head).ok()?;
            way.add(self.way_to(stop.node, stop.core), true, &head[..length])?;
        }
        Some(())
    }
}

/// The way that the last frame took which came to this core.
#[derive(Debug, Default)]
pub(super) struct LastFrame {
    head: Vec<u8>,
    hop: Option<Hop>,
    /// When its way was found. Unknown of one that the frame before was not like: where frames of
    /// several topics come by turns, no way is remembered.
    found: Option<Moment>,
    /// Those on this core.
    recipients: Vec<Recipient>,
    /// Other cores of this node.
    cores: Vec<CoreId>,
}

impl LastFrame {
    fn remember(&mut self, (head, hop): (&[u8], Hop), moment: Moment, arrival: &Arrival<'_>) {
        self.found = None;
        if self.head != head || self.hop != Some(hop) {
            self.head.clear();
            self.head.extend_from_slice(head);
            self.hop = Some(hop);
            return;
        }
        self.recipients.clear();
        self.recipients
            .extend(arrival.recipients().take(RECEIVERS_MAX + 1));
        self.cores.clear();
        self.cores.extend(arrival.cores().iter());
        let is_short = self.recipients.len() <= RECEIVERS_MAX;
        self.found = (is_short && arrival.is_steady()).then_some(moment);
    }
}

impl Core {
    /// Passes on a frame that goes the way of the one before, and says who gets it here. Its
    /// message, and to how many other cores it went; `None` if its way may be another one: then
    /// nothing was sent.
    pub(super) fn pass_on_again<'a>(
        self: &Rc<Self>,
        frame: &'a [u8],
        (publisher, hop): (&Publisher, Hop),
        (recipients, full): (&mut Vec<Recipient>, &mut Vec<CoreId>),
    ) -> Option<(&'a [u8], u16)> {
        let last = self.pubsub.last_frame.borrow();
        let moment = last.found?;
        // Where a head ends follows from itself.
        let archive = frame.strip_prefix(&last.head[..])?;
        let is_it = last.hop == Some(hop) && self.pubsub.wild.get() == 0;
        if !is_it || self.pubsub.mediator.borrow().as_ref()?.moment() != moment {
            return None;
        }
        let to = (last.cores.iter().copied(), publisher);
        let shared = self.share_with(to, frame, full);
        recipients.extend_from_slice(&last.recipients);
        Some((archive, shared))
    }

    /// Remembers the way that a frame has taken which came at that moment, if the next one alike
    /// takes it too.
    pub(super) fn remember_frame(&self, head: (&[u8], Hop), moment: Moment, arrival: &Arrival<'_>) {
        let mut last = self.pubsub.last_frame.borrow_mut();
        last.remember(head, moment, arrival);
    }
}

#[cfg(test)]
mod tests {
    use ringmesh_proto::address::Uid;

    use super::super::super::{Home, TableId};
    use super::*;
    use crate::pubsub::mediator::of_node;

    #[test]
    fn one_over_the_receivers_max_is_no_way_to_remember() {
        let to = |node| {
            let (uid, table) = (Uid::new(1).expect("not zero"), TableId::default());
            Some(of_node(uid, Home { table, node }, CoreId(0)))
        };
        let mut way = Way::default();
        assert_eq!(way.add(to(NodeIndex::NOWHERE), true, b"head"), None);
        assert!(way.legs.is_empty() && way.heads.is_empty());
        for _ in 0..RECEIVERS_MAX {
            assert_eq!(way.add(to(NodeIndex::SELF), false, b"head"), Some(()));
        }
        assert_eq!(way.add(to(NodeIndex::SELF), false, b"head"), None);
        way.begin();
        assert!(way.legs.is_empty() && way.heads.is_empty());
    }
}
