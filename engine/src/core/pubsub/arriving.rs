//! What other nodes and cores publish, as it comes to this core.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use ringmesh_cluster::pubsub::limits::HEAD_BYTES_MAX;
use ringmesh_cluster::pubsub::{AnswerTo, Came, Destination, Head, Hop, Reached, Recipient};
use ringmesh_proto::address::CoreId;
use ringmesh_transport::buffer::Chunk;

use super::super::Core;
use super::ways::View;
use super::{Arrived, Offer, Publisher, RoomWait, Subscriber};
use crate::pubsub::mediator::Parts;

/// What a frame that has come waits for, and what came of it so far.
#[derive(Default)]
struct Waiting {
    /// Other cores of this node without room for it.
    cores: Vec<CoreId>,
    /// It itself, if there are any.
    frame: Box<[u8]>,
    /// Subscribers of this core that want to be waited for.
    subscribers: Vec<Rc<dyn Subscriber>>,
    /// Who is told what it has reached.
    answer_to: Option<AnswerTo>,
    /// Whether nobody sends it on: it was, for a group that had emptied, or goes to all members.
    is_forwarded: bool,
    /// Where it went.
    passed: Passed,
    /// How many subscribers here have it.
    taken: usize,
}

/// To how many other cores of this node a frame went.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    /// As it came.
    shared: u16,
    /// For groups that have emptied here.
    sent_on: u16,
}

/// Where it is put who gets a frame here, by what topic, and which cores have no room for it.
type Found<'a> = (
    &'a mut Vec<Recipient>,
    &'a mut Option<Rc<str>>,
    &'a mut Vec<CoreId>,
);

impl Core {
    /// A frame has come, from another node or from another core of this one. Ready when all
    /// subscribers here that want to be waited for have it, or were waited for long enough.
    pub(crate) async fn receive_published(
        self: &Rc<Self>,
        frame: Chunk,
        mut publisher: Rc<Publisher>,
        hop: Hop,
    ) {
        let mut waiting = Waiting::default();
        let arrived = self.deliver_published(frame, (&mut publisher, hop), &mut waiting);
        for core in waiting.cores {
            let frame = (&*publisher, &*waiting.frame);
            let is_shared = self.share_patiently(core, frame).await;
            self.tally.publishes_lost.add(u64::from(!is_shared));
            waiting.passed.shared += u16::from(is_shared);
        }
        if let Some(mut arrived) = arrived {
            for subscriber in waiting.subscribers {
                let is_taken = self.wait_for(subscriber, &mut arrived).await;
                waiting.taken += usize::from(is_taken);
            }
        }
        if let Some(answer_to) = waiting.answer_to {
            let Passed { shared, sent_on } = waiting.passed;
            let reached = Reached {
                publish: answer_to.publish,
                came: match hop {
                    _ if answer_to.is_besides => Came::Besides,
                    Hop::Link => Came::Sent { cores: shared },
                    Hop::Mesh if waiting.is_forwarded => Came::SentOn,
                    Hop::Mesh => Came::Shared,
                },
                sent_on,
                // There are never as many on a core.
                subscribers: u32::try_from(waiting.taken).unwrap_or(u32::MAX),
            };
            self.answer_published(answer_to, reached);
        }
    }

    /// Waits until a subscriber has room for a message, or was waited for long enough. Says whether
    /// it has the message.
    async fn wait_for(
        self: &Rc<Self>,
        subscriber: Rc<dyn Subscriber>,
        arrived: &mut Arrived,
    ) -> bool {
        let mut patience = self.alarm(subscriber.patience());
        let mut room = RoomWait::at(&subscriber);
        let has_taken = poll_fn(|context| {
            let offer = subscriber.offer(self, arrived);
            if offer != Offer::Waits {
                return Poll::Ready(Some(offer == Offer::Taken));
            }
            room.wake(context.waker());
            patience.poll(context).map(|()| None)
        });
        let has_taken = has_taken.await;
        self.tally
            .subscribers_dropped
            .add(u64::from(has_taken.is_none()));
        has_taken.unwrap_or(false)
    }

    fn deliver_published(
        self: &Rc<Self>,
        frame: Chunk,
        (publisher, hop): (&mut Rc<Publisher>, Hop),
        waiting: &mut Waiting,
    ) -> Option<Arrived> {
        let mut recipients = self.pubsub.recipients.take();
        let mut topic = None;
        let found = (&mut recipients, &mut waiting.cores);
        let archive = match self.pass_on_again(&frame, (publisher, hop), found) {
            Some((archive, shared)) => {
                waiting.passed.shared = shared;
                archive
            }
            None => {
                let found = (&mut recipients, &mut topic);
                self.pass_on_anew(&frame, (publisher, hop), found, waiting)
            }
        };
        if !waiting.cores.is_empty() {
            waiting.frame = Box::from(&frame[..]);
        }
        let arrived = (!recipients.is_empty()).then(|| {
            // A message that waits in a queue holds no buffer of others.
            let bytes = self.copies.copy(archive);
            let mut arrived = Arrived::new(bytes, topic, Rc::clone(publisher));
            let wait = |it| waiting.subscribers.push(it);
            waiting.taken = self.offer_all(&recipients, &mut arrived, wait).taken;
            arrived
        });
        recipients.clear();
        self.pubsub.recipients.replace(recipients);
        arrived
    }

    /// The same of a frame of which the machine says who gets it. Its message.
    fn pass_on_anew<'a>(
        self: &Rc<Self>,
        frame: &'a [u8],
        (publisher, hop): (&mut Rc<Publisher>, Hop),
        (recipients, topic): (&mut Vec<Recipient>, &mut Option<Rc<str>>),
        waiting: &mut Waiting,
    ) -> &'a [u8] {
        let parsed = Head::parse(frame).ok();
        let Some((head, archive)) = parsed.filter(|it| is_honest(&it.0, publisher, hop)) else {
            self.tally.published_malformed.add(1);
            return &[];
        };
        if let (Hop::Link, Some(uid)) = (hop, head.publisher) {
            *publisher = self.publisher_of_sent_on(Rc::clone(publisher), uid);
        }
        waiting.answer_to = head.answer_to;
        waiting.is_forwarded = head.is_forwarded;
        let found = (recipients, topic, &mut waiting.cores);
        let whole = (&head, frame, archive);
        waiting.passed = self.pass_published_on(whole, (&**publisher, hop), found);
        archive
    }

    /// Gives a frame to other cores of this node, and says which have no room for it. How many
    /// have it.
    pub(super) fn share_with(
        self: &Rc<Self>,
        (cores, publisher): (impl Iterator<Item = CoreId>, &Publisher),
        frame: &[u8],
        full: &mut Vec<CoreId>,
    ) -> u16 {
        let mut shared = 0;
        for core in cores {
            // All cores of a node know what its entries are.
            let parts = Parts {
                head: frame,
                archive: &[],
            };
            match self.share((core, &publisher.origin), &parts, None) {
                true => shared += 1,
                false => full.push(core),
            }
        }
        shared
    }

    /// Sends on what goes elsewhere, and says who gets it here, and by what topic.
    fn pass_published_on(
        self: &Rc<Self>,
        (head, frame, archive): (&Head<'_>, &[u8], &[u8]),
        (publisher, hop): (&Publisher, Hop),
        (recipients, topic, cores): Found<'_>,
    ) -> Passed {
        let mut passed = Passed::default();
        let mut mediator = self.pubsub.mediator.borrow_mut();
        let mut random = self.pubsub.random.borrow_mut();
        let (Some(mediator), Some(random)) = (mediator.as_mut(), random.as_mut()) else {
            return passed;
        };
        let view = View {
            core: self,
            bytes: archive.len(),
            role: None,
            place: None,
            blocked: Cell::new(None),
        };
        let moment = mediator.moment();
        let Ok(arrival) = mediator.receive(head, hop, &view, random) else {
            self.tally.published_to_nobody.add(1);
            return passed;
        };
        let mut room = self.pubsub.head.borrow_mut();
        room.resize(HEAD_BYTES_MAX, 0);
        let to = (arrival.cores().iter(), publisher);
        passed.shared = self.share_with(to, frame, cores);
        for forward in arrival.forwards() {
            let written = arrival.write_for(forward, publisher.node.uid, &mut room);
            let is_sent = written.is_ok_and(|length| {
                let parts = Parts {
                    head: &room[..length],
                    archive,
                };
                match forward.to {
                    Destination::Core(core) => {
                        let is_shared = self.share((core, &publisher.origin), &parts, None);
                        passed.sent_on += u16::from(is_shared);
                        is_shared
                    }
                    Destination::Node(node, core) => self.send_to_node((node, core), &parts, None),
                }
            });
            self.tally.publishes_lost.add(u64::from(!is_sent));
        }
        if arrival.is_dead_letter() {
            self.tally.published_to_nobody.add(1);
        }
        recipients.extend(arrival.recipients());
        if head.publisher.is_none() {
            let head = (&frame[..frame.len() - archive.len()], hop);
            self.remember_frame(head, moment, &arrival);
        }
        if self.pubsub.wild.get() > 0 {
            *topic = Some(Rc::from(arrival.topic().as_str()));
        }
        passed
    }
}

/// Whether who is to be told what a frame reaches is who sent it; of a frame that another node sent
/// on, or that comes from another core, that was looked at before.
fn is_honest(head: &Head<'_>, sender: &Publisher, hop: Hop) -> bool {
    let asks = head.answer_to.filter(|it| !it.is_besides);
    asks.is_none_or(|it| hop == Hop::Mesh || sender.node.uid == it.node)
}
