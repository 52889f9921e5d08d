//! What other nodes and cores publish, as it comes to this core.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use ringmesh_cluster::pubsub::limits::HEAD_BYTES_MAX;
use ringmesh_cluster::pubsub::{Destination, Head, Hop, Recipient};
use ringmesh_transport::buffer::Chunk;

use super::super::Core;
use super::ways::View;
use super::{Arrived, Subscriber};
use crate::pubsub::mediator::Parts;

impl Core {
    /// A frame has come, from another node or from another core of this one. Ready when all
    /// subscribers here that want to be waited for have it, or were waited for long enough.
    pub(crate) async fn receive_published(self: &Rc<Self>, frame: Chunk, from_node: bool) {
        let mut waiting: Vec<Rc<dyn Subscriber>> = Vec::new();
        let Some(mut arrived) = self.deliver_published(&frame, from_node, &mut waiting) else {
            return;
        };
        for subscriber in waiting {
            self.wait_for(&*subscriber, &mut arrived).await;
        }
    }

    /// Waits until a subscriber has room for a message, or was waited for long enough.
    async fn wait_for(self: &Rc<Self>, subscriber: &dyn Subscriber, arrived: &mut Arrived) {
        let mut patience = self.alarm(subscriber.patience());
        let has_taken = poll_fn(|context| {
            if subscriber.offer(self, arrived) {
                return Poll::Ready(true);
            }
            subscriber.wait_for_room(context.waker());
            patience.poll(context).map(|()| false)
        });
        if !has_taken.await {
            subscriber.give_up();
            self.tally.subscribers_dropped.add(1);
        }
    }

    fn deliver_published(
        self: &Rc<Self>,
        frame: &Chunk,
        from_node: bool,
        waiting: &mut Vec<Rc<dyn Subscriber>>,
    ) -> Option<Arrived> {
        let Ok((head, archive)) = Head::parse(frame) else {
            self.tally.published_malformed.add(1);
            return None;
        };
        let mut recipients = self.pubsub.recipients.take();
        let mut topic = None;
        let whole = (&head, &frame[..], archive);
        self.pass_published_on(whole, from_node, (&mut recipients, &mut topic));
        let arrived = (!recipients.is_empty()).then(|| {
            // A message that waits in a queue holds no buffer of others.
            let bytes = Chunk::copied_from(archive);
            let mut arrived = Arrived {
                bytes,
                validated: None,
                topic,
            };
            self.offer_all(&recipients, &mut arrived, |it| waiting.push(it));
            arrived
        });
        recipients.clear();
        self.pubsub.recipients.replace(recipients);
        arrived
    }

    /// Sends on what goes elsewhere, and says who gets it here, and by what topic.
    fn pass_published_on(
        self: &Rc<Self>,
        (head, frame, archive): (&Head<'_>, &[u8], &[u8]),
        from_node: bool,
        (recipients, topic): (&mut Vec<Recipient>, &mut Option<Rc<str>>),
    ) {
        let mut mediator = self.pubsub.mediator.borrow_mut();
        let mut random = self.pubsub.random.borrow_mut();
        let (Some(mediator), Some(random)) = (mediator.as_mut(), random.as_mut()) else {
            return;
        };
        let view = View {
            core: self,
            bytes: archive.len(),
            role: None,
            place: None,
            full: Cell::default(),
        };
        let hop = if from_node { Hop::Link } else { Hop::Mesh };
        let Ok(arrival) = mediator.receive(head, hop, &view, random) else {
            self.tally.published_to_nobody.add(1);
            return;
        };
        let mut room = self.pubsub.head.borrow_mut();
        room.resize(HEAD_BYTES_MAX, 0);
        for core in arrival.cores().iter() {
            // All cores of a node know what its entries are.
            let parts = Parts {
                head: frame,
                archive: &[],
            };
            let is_shared = self.share(core, &parts);
            self.tally.publishes_lost.add(u64::from(!is_shared));
        }
        for forward in arrival.forwards() {
            let is_sent = arrival.write_for(forward, &mut room).is_ok_and(|length| {
                let parts = Parts {
                    head: &room[..length],
                    archive,
                };
                match forward.to {
                    Destination::Core(core) => self.share(core, &parts),
                    Destination::Node(node, core) => self.send_to_node((node, core), &parts, None),
                }
            });
            self.tally.publishes_lost.add(u64::from(!is_sent));
        }
        if arrival.is_dead_letter() {
            self.tally.published_to_nobody.add(1);
        }
        recipients.extend(arrival.recipients());
        if self.pubsub.wild.get() > 0 {
            *topic = Some(Rc::from(arrival.topic().as_str()));
        }
    }
}
