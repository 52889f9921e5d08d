//! What this core publishes: to its own subscribers, to other cores, and one frame to each node.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_cluster::pubsub::limits::{HEAD_BYTES_MAX, ORIGIN_BYTES_MAX};
use ringmesh_cluster::pubsub::{
    Fanout, Nodes as _, OWN_ORIGIN, Pressure, Publish, Recipient, Topic,
};
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::archive::{self, EncodeError};
use ringmesh_proto::message::Message;

use super::super::Core;
use super::ways::{Blocked, Standing, View};
use super::{Arrived, Subscriber, Told, Track};
use crate::pubsub::mediator::{Parts, Published, ROOT_BYTES, Shared, SharedParts};

/// What is to be published, and how.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) topic: Topic<'a>,
    /// The number of the message type.
    pub(crate) protocol: u64,
    pub(crate) publish: Publish,
    /// Nodes without that role are left out.
    pub(crate) role: Option<&'a str>,
    /// Where the publisher stands in the line of a way.
    pub(crate) place: Standing<'a>,
    /// The way that the one before took.
    pub(crate) track: &'a Track,
    /// For how long it waits for the answers of all whom it reaches, if it does.
    pub(crate) answers: Option<Duration>,
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
    /// By which number answers come, if they do.
    pub(crate) answer: Option<u64>,
}

impl Reach {
    /// A frame for another node, or another core of this one, has left or is lost.
    pub(super) fn add(&mut self, is_to_node: bool, is_sent: bool) {
        let count = match (is_sent, is_to_node) {
            (false, _) => &mut self.lost,
            (true, true) => &mut self.nodes,
            (true, false) => &mut self.cores,
        };
        *count += 1;
    }
}

/// Why nothing was published.
pub(crate) enum Refused {
    /// There is no room on the way to these nodes; on one way to the first of them.
    Full(Vec<Uid>, Option<Blocked>),
    /// A subscriber on this core wants to be waited for.
    Waits(Rc<dyn Subscriber>),
    /// It cannot be archived, or is longer than any lane takes.
    TooLarge,
    /// Too many publishes wait for answers.
    TooManyWait,
    /// The node is stopping.
    Stopping,
}

/// What a head takes, unless its names are long or its groups many: then a way without room may
/// be found only when it is sent to.
pub(super) const HEAD_BYTES_USUAL: usize = 256;

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
            Err(_) => Err(Refused::TooLarge),
        };
        self.pubsub.archive.replace(archive);
        published
    }

    fn publish_archive(
        self: &Rc<Self>,
        order: &Order<'_>,
        archive: &[u8],
    ) -> Result<Reach, Refused> {
        let longest = self.settings.local_body_cap() as usize;
        if HEAD_BYTES_MAX + ORIGIN_BYTES_MAX + archive.len() + ROOT_BYTES > longest {
            return Err(Refused::TooLarge);
        }
        let mut recipients = self.pubsub.recipients.take();
        let published = match self.publish_again(order, archive, &mut recipients) {
            Some(mut reach) => {
                self.count_published(&reach);
                reach.here = self.offer_here(order, archive, &recipients).offered;
                Ok(reach)
            }
            None => self.publish_anew(*order, archive, &mut recipients),
        };
        recipients.clear();
        self.pubsub.recipients.replace(recipients);
        published
    }

    /// The same where the machine says who gets it.
    fn publish_anew(
        self: &Rc<Self>,
        mut order: Order<'_>,
        archive: &[u8],
        recipients: &mut Vec<Recipient>,
    ) -> Result<Reach, Refused> {
        if order.answers.is_some() {
            let number = self.pubsub.answers.reserve();
            order.publish.answer = Some(number.ok_or(Refused::TooManyWait)?);
        }
        let mut nodes = Vec::new();
        let mut reach = self.send_published(&order, archive, (recipients, &mut nodes))?;
        self.count_published(&reach);
        // What was lost on its way was for somebody.
        let nobody = recipients.is_empty() && reach.cores + reach.nodes + reach.lost == 0;
        self.tally.published_to_nobody.add(u64::from(nobody));
        reach.answer = order.publish.answer;
        if let (Some(number), Some(time)) = (reach.answer, order.answers) {
            let deadline = self.clock.peek() + time;
            let publish = (number, order.publish.policy);
            let answers = &self.pubsub.answers;
            answers.begin(publish, deadline, self.identity().uid, &nodes);
        }
        let told = self.offer_here(&order, archive, recipients);
        reach.here = told.offered;
        if let Some(number) = reach.answer {
            self.note_reached_here(number, told.taken, reach.cores);
        }
        Ok(reach)
    }

    fn count_published(&self, reach: &Reach) {
        self.tally.published.add(1);
        self.tally.publishes_lost.add(reach.lost as u64);
    }

    /// Offers what was published to those of this core. What runs then may publish as well.
    fn offer_here(
        self: &Rc<Self>,
        order: &Order<'_>,
        archive: &[u8],
        recipients: &[Recipient],
    ) -> Told {
        if recipients.is_empty() {
            return Told::default();
        }
        let topic = (self.pubsub.wild.get() > 0).then(|| Rc::from(order.topic.as_str()));
        let bytes = self.copies.copy(archive);
        let mut arrived = Arrived::new(bytes, topic, self.own_publisher());
        // Whoever wanted to be waited for was, or nobody was to wait.
        self.offer_all(recipients, &mut arrived, |_| {
            self.tally.subscribers_dropped.add(1);
        })
    }

    /// Sends what goes elsewhere, and says who gets it here.
    fn send_published(
        self: &Rc<Self>,
        order: &Order<'_>,
        archive: &[u8],
        (recipients, nodes): (&mut Vec<Recipient>, &mut Vec<(Uid, bool)>),
    ) -> Result<Reach, Refused> {
        let mut mediator = self.pubsub.mediator.borrow_mut();
        let mut random = self.pubsub.random.borrow_mut();
        let (Some(mediator), Some(random)) = (mediator.as_mut(), random.as_mut()) else {
            return Err(Refused::Stopping);
        };
        let view = View {
            core: self,
            bytes: HEAD_BYTES_USUAL + archive.len() + ROOT_BYTES,
            role: order.role,
            place: order.place,
            blocked: Cell::new(None),
        };
        let (topic, publish) = ((order.topic, order.protocol), &order.publish);
        let moment = mediator.moment();
        let fanout = match mediator.publish(topic, publish, &view, random) {
            Ok(fanout) => fanout,
            Err(full) => {
                let nodes = full.nodes.to_vec();
                return Err(Refused::Full(nodes, view.blocked.get()));
            }
        };
        let own = self.identity().uid;
        let refuses = publish.pressure == Pressure::Refuse;
        if refuses && !fanout.cores().iter().all(|core| view.has_credit(own, core)) {
            return Err(Refused::Full(vec![own], view.blocked.get()));
        }
        recipients.extend(fanout.recipients());
        if refuses && let Some(subscriber) = self.who_must_wait(recipients, archive.len()) {
            return Err(Refused::Waits(subscriber));
        }
        let reach = self.send_out(order, archive, &fanout, nodes);
        self.remember_way(order, moment, &fanout);
        Ok(reach)
    }

    /// Sends a frame to each core and node that gets one, and says to which nodes.
    fn send_out(
        self: &Rc<Self>,
        order: &Order<'_>,
        archive: &[u8],
        fanout: &Fanout<'_>,
        nodes: &mut Vec<(Uid, bool)>,
    ) -> Reach {
        let mut reach = Reach {
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
                let is_sent = self.share((core, OWN_ORIGIN), &Parts { head, archive }, order.place);
                reach.add(false, is_sent);
            }
        }
        for stop in fanout.stops() {
            let written = fanout.write_for(&stop, &mut head);
            let is_sent = written.is_ok_and(|length| {
                let head = &head[..length];
                self.send_to_node(
                    (stop.node, stop.core),
                    &Parts { head, archive },
                    order.place,
                )
            });
            if order.answers.is_some() {
                nodes.push((stop.node, is_sent));
            }
            reach.add(true, is_sent);
        }
        reach
    }

    /// Gives a frame to the mediator of another core of this node, and says who published it.
    pub(super) fn share(
        self: &Rc<Self>,
        (core, origin): (CoreId, &[u8]),
        parts: &Parts<'_>,
        standing: Standing<'_>,
    ) -> bool {
        let way = self.way_to(self.identity().uid, core);
        let shared = SharedParts { origin, parts };
        way.is_some_and(|way| self.send_parts(&way, &Shared::TYPE, &shared, standing))
    }

    /// Sends a frame to the mediator of a core of another node.
    pub(super) fn send_to_node(
        self: &Rc<Self>,
        (node, core): (Uid, CoreId),
        parts: &Parts<'_>,
        standing: Standing<'_>,
    ) -> bool {
        let way = self.way_for(node, core, parts.bytes());
        let is_sent =
            way.is_some_and(|way| self.send_parts(&way, &Published::TYPE, parts, standing));
        self.tally.published_frames.add(u64::from(is_sent));
        is_sent
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
