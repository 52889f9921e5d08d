//! What this core publishes: to its own subscribers, to other cores, and one frame to each node.

use std::cell::Cell;
use std::rc::Rc;

use ringmesh_cluster::pubsub::limits::HEAD_BYTES_MAX;
use ringmesh_cluster::pubsub::{Pressure, Publish, Recipient, Topic};
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::archive::{self, EncodeError};
use ringmesh_proto::limits::HEADER_BYTES;
use ringmesh_proto::link::SendHead;
use ringmesh_proto::message::{Message, MessageType};
use ringmesh_transport::buffer::Chunk;

use super::super::{CONTROL_CORE, Core, Place};
use super::ways::View;
use super::{Arrived, Subscriber};
use crate::error::Refusal;
use crate::pubsub::mediator::{Parts, Published, Shared};
use crate::reference::Recipient as Way;

/// What is to be published, and how.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) topic: Topic<'a>,
    /// The number of the message type.
    pub(crate) protocol: u64,
    pub(crate) publish: Publish,
    /// Nodes without that role are left out.
    pub(crate) role: Option<&'a str>,
    /// Where the publisher stands in the line at a node.
    pub(crate) place: Option<(&'a Place, Uid)>,
}

/// Where a publish went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reach {
    /// Subscribers on this core.
    pub(crate) here: usize,
    /// Other cores of this node.
    pub(crate) cores: usize,
    /// Other nodes.
    pub(crate) nodes: usize,
    /// Nodes that did not get it, because there was no room on the way.
    pub(crate) lost: usize,
}

/// Why nothing was published.
pub(crate) enum Refused {
    /// There is no room on the way to these nodes.
    Full(Vec<(Uid, Option<Way>)>),
    /// A subscriber on this core wants to be waited for.
    Waits(Rc<dyn Subscriber>),
    /// It cannot be archived.
    Archive,
    /// The node is stopping.
    Stopping,
}

/// The scratch space for an archive of unknown length, at first.
const ARCHIVE_BYTES: usize = 4096;

impl Core {
    /// Archives a message once and has it go to all who are to get it.
    pub(crate) fn publish<M: Message>(
        self: &Rc<Self>,
        order: &Order<'_>,
        message: &M,
    ) -> Result<Reach, Refused> {
        if self.is_closing() {
            return Err(Refused::Stopping);
        }
        let mut archive = self.pubsub.archive.take();
        let encoded = encode(message, &mut archive);
        let published = match encoded {
            Ok(length) => self.publish_archive(order, &archive[..length]),
            Err(_) => Err(Refused::Archive),
        };
        self.pubsub.archive.replace(archive);
        published
    }

    fn publish_archive(
        self: &Rc<Self>,
        order: &Order<'_>,
        archive: &[u8],
    ) -> Result<Reach, Refused> {
        let mut recipients = self.pubsub.recipients.take();
        let sent = self.send_published(order, archive, &mut recipients);
        if let Ok(reach) = &sent {
            self.tally.published.add(1);
            let nobody = reach.here + reach.cores + reach.nodes == 0;
            self.tally.published_to_nobody.add(u64::from(nobody));
            self.tally.publishes_lost.add(reach.lost as u64);
            if !recipients.is_empty() {
                let mut arrived = Arrived {
                    bytes: Chunk::copied_from(archive),
                    validated: None,
                    topic: (self.pubsub.wild.get() > 0).then(|| Rc::from(order.topic.as_str())),
                };
                // Whoever wanted to be waited for was, or nobody was to wait.
                self.offer_all(&recipients, &mut arrived, |_| {
                    self.tally.subscribers_dropped.add(1);
                });
            }
        }
        recipients.clear();
        self.pubsub.recipients.replace(recipients);
        sent
    }

    /// Sends what goes elsewhere, and says who gets it here.
    fn send_published(
        self: &Rc<Self>,
        order: &Order<'_>,
        archive: &[u8],
        recipients: &mut Vec<Recipient>,
    ) -> Result<Reach, Refused> {
        let mut mediator = self.pubsub.mediator.borrow_mut();
        let mut random = self.pubsub.random.borrow_mut();
        let (Some(mediator), Some(random)) = (mediator.as_mut(), random.as_mut()) else {
            return Err(Refused::Stopping);
        };
        let view = View {
            core: self,
            bytes: HEADER_BYTES + HEAD_BYTES_MAX / 8 + archive.len(),
            role: order.role,
            place: order.place,
            full: Cell::default(),
        };
        let (topic, publish) = ((order.topic, order.protocol), &order.publish);
        let fanout = match mediator.publish(topic, publish, &view, random) {
            Ok(fanout) => fanout,
            Err(full) => {
                let nodes: Vec<Uid> = full.nodes.to_vec();
                let way = |node: Uid| {
                    let full = view.full.get().filter(|it| it.uid == node);
                    (node, full.or_else(|| self.known_way(node)))
                };
                return Err(Refused::Full(nodes.into_iter().map(way).collect()));
            }
        };
        recipients.extend(fanout.recipients());
        if publish.pressure == Pressure::Refuse
            && let Some(subscriber) = self.who_must_wait(recipients, archive.len())
        {
            return Err(Refused::Waits(subscriber));
        }
        let mut reach = Reach {
            here: recipients.len(),
            lost: fanout.without_credit().len(),
            ..Reach::default()
        };
        let mut head = self.pubsub.head.borrow_mut();
        head.resize(HEAD_BYTES_MAX, 0);
        if !fanout.cores().is_empty()
            && let Ok(length) = fanout.write_for_cores(&mut head)
        {
            let head = &head[..length];
            for core in fanout.cores().iter() {
                let is_sent = self.share(core, &Parts { head, archive });
                reach.cores += usize::from(is_sent);
                reach.lost += usize::from(!is_sent);
            }
        }
        for stop in fanout.stops() {
            let written = fanout.write_for(&stop, &mut head);
            let is_sent = written.is_ok_and(|length| {
                let head = &head[..length];
                let place = order.place.filter(|it| it.1 == stop.node);
                let to = (stop.node, stop.core);
                self.send_to_node(to, &Parts { head, archive }, place.map(|it| it.0))
            });
            reach.nodes += usize::from(is_sent);
            reach.lost += usize::from(!is_sent);
        }
        Ok(reach)
    }

    /// Some mediator of a node that this core has sent to.
    fn known_way(self: &Rc<Self>, node: Uid) -> Option<Way> {
        let known = self.pubsub.ways.borrow().some_of(node);
        known.or_else(|| self.way_to(node, CONTROL_CORE))
    }

    fn who_must_wait(&self, recipients: &[Recipient], bytes: usize) -> Option<Rc<dyn Subscriber>> {
        let subscribers = self.pubsub.subscribers.borrow();
        let mut all = recipients
            .iter()
            .filter_map(|it| subscribers.get(it.subscriber));
        all.find(|it| it.must_wait(bytes)).cloned()
    }

    /// Offers a message to subscribers of this core; `wait` is told of each that is to be waited
    /// for. Says how many got it.
    pub(super) fn offer_all(
        &self,
        recipients: &[Recipient],
        arrived: &mut Arrived,
        mut wait: impl FnMut(Rc<dyn Subscriber>),
    ) -> usize {
        let mut count = 0;
        for recipient in recipients {
            // Nobody's code runs meanwhile but the subscriber's own queue.
            let subscriber = {
                let subscribers = self.pubsub.subscribers.borrow();
                subscribers.get(recipient.subscriber).cloned()
            };
            let Some(subscriber) = subscriber else {
                continue;
            };
            if subscriber.offer(self, arrived) {
                count += 1;
            } else {
                wait(subscriber);
            }
        }
        count
    }

    /// Gives a frame to the mediator of another core of this node.
    pub(super) fn share(self: &Rc<Self>, core: CoreId, parts: &Parts<'_>) -> bool {
        let own = self.identity().uid;
        let way = self.way_to(own, core);
        way.is_some_and(|way| self.send_parts((way, None), &Shared::TYPE, parts))
    }

    /// Sends a frame to the mediator of a core of another node; `place` is that of whoever waited
    /// for room there.
    pub(super) fn send_to_node(
        self: &Rc<Self>,
        (node, core): (Uid, CoreId),
        parts: &Parts<'_>,
        place: Option<&Place>,
    ) -> bool {
        let way = self.way_to(node, core);
        let send = |way| self.send_parts((way, place), &Published::TYPE, parts);
        let is_sent = way.is_some_and(send);
        self.tally.published_frames.add(u64::from(is_sent));
        is_sent
    }

    fn send_parts(
        self: &Rc<Self>,
        (way, place): (Way, Option<&Place>),
        message: &MessageType,
        parts: &Parts<'_>,
    ) -> bool {
        let head = SendHead::Tell {
            message,
            target: way.target(),
        };
        let send = |way: &Way| match self.tell_as(way, head, parts, place.filter(|_| !way.large)) {
            Err(Refusal::Unreachable) => {
                self.reach(*way)?;
                self.tell_as(way, head, parts, None)
            }
            told => told,
        };
        let told = match send(&way) {
            Err(Refusal::ForLargeLane { .. }) => {
                let large = Way { large: true, ..way };
                send(&large)
            }
            told => told,
        };
        told.is_ok()
    }
}

/// Archives a message into `into`, which grows as needed.
fn encode<M: Message>(message: &M, into: &mut Vec<u8>) -> Result<usize, EncodeError> {
    if into.is_empty() {
        into.resize(ARCHIVE_BYTES, 0);
    }
    match archive::encode(message, into) {
        Err(EncodeError::NoRoom { needed }) if needed > into.len() => {
            into.resize(needed, 0);
            archive::encode(message, into)
        }
        encoded => encoded,
    }
}
