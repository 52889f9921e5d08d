//! What other nodes and cores publish, as it comes to a core.

use std::collections::VecDeque;
use std::rc::Rc;

use ringmesh_cluster::pubsub::{
    AnswerTo, Arrival, Came, Destination, Head, Hop, Reached, Recipient, SubscriberId,
    SubscriptionId,
};
use ringmesh_proto::address::{CoreId, Uid};

use super::feeds::Feeds;
use super::held::Offer;
use super::journal::{Entry, Exercise, GROUPS, Leg, Taken};
use super::publishing::{Leaving, Message, View, frame, groups_in};
use super::waiting::Waiting;
use super::{Core, Room, Spot};
use crate::canary::Canary;
use crate::machine::Outbox;

/// What came of a message that was offered to subscriptions of a core.
#[derive(Debug, Default)]
pub(super) struct Offered {
    /// How many those are.
    pub(super) copies: u64,
    /// How many of them are members of groups.
    pub(super) members: u64,
    /// How many have it.
    pub(super) taken: u32,
    /// Those that are to be waited for.
    pub(super) waits: Vec<SubscriptionId>,
}

impl Room {
    /// A frame has come. What is still to be done with it, unless it is for nobody.
    pub(super) fn arrive<E>(
        &mut self,
        spot: Spot,
        (leg, hop, bytes): (Leg, Hop, &Rc<[u8]>),
        out: &mut Outbox<E>,
    ) -> Option<Waiting> {
        let core = spot.core;
        let Core {
            mediator, random, ..
        } = &mut self.cores[core];
        let (head, message) = Head::parse(bytes).expect("it was written well");
        let message = Message::read(message).expect("it was written well");
        let view = View {
            role: None,
            crowded: None,
        };
        let (at, publish) = ((self.own.uid, core as u16), message.publish);
        let before = mediator.counters();
        let here = head.groups.filter(|it| usize::from(it.0.0) == core);
        let named = here.count() as u64;
        let Ok(arrival) = mediator.receive(&head, hop, &view, random) else {
            let counters = (before, mediator.counters());
            self.count(Exercise::OfEnded, 1);
            self.finish(Taken::of(at, (publish, leg), counters));
            self.answer_nobody(spot, (head.answer_to, hop, head.is_forwarded), out);
            return None;
        };
        let recipients: Vec<Recipient> = arrival.recipients().collect();
        let cores: VecDeque<CoreId> = arrival.cores().iter().collect();
        // No user here looks at who published.
        let leaving = sent_on(&arrival, self.own.uid, message);
        let counters = (before, mediator.counters());
        let (shared, forwards) = (cores.len() as u64, leaving.len() as u64);
        let sent_on = self.pass_on((core, publish), leaving, out);
        let offered = self.deliver(core, message, &recipients, out);
        let is_forwarded = head.is_forwarded;
        let answer = head.answer_to.map(|to| {
            let reached = Reached {
                publish: to.publish,
                came: came(&to, hop, is_forwarded),
                sent_on,
                subscribers: offered.taken,
            };
            (to, reached)
        });
        Some(Waiting {
            message,
            bytes: Rc::clone(bytes),
            cores,
            subscriptions: offered.waits.into(),
            until: None,
            answer,
            taken: Taken {
                named,
                members: offered.members,
                forwards,
                delivered: offered.copies,
                shared,
                ..Taken::of(at, (publish, leg), counters)
            },
        })
    }

    /// What is for a subscription that has ended reaches nobody, and that is said.
    fn answer_nobody<E>(
        &mut self,
        spot: Spot,
        (to, hop, is_forwarded): (Option<AnswerTo>, Hop, bool),
        out: &mut Outbox<E>,
    ) {
        if let Some(to) = to {
            let reached = Reached {
                publish: to.publish,
                came: came(&to, hop, is_forwarded),
                sent_on: 0,
                subscribers: 0,
            };
            self.answer(spot, to, reached, out);
        }
    }

    /// Sends on what is for groups that have emptied. To how many other cores of the node.
    fn pass_on<E>(
        &mut self,
        (core, publish): (usize, u64),
        leaving: Vec<Leaving>,
        out: &mut Outbox<E>,
    ) -> u16 {
        let mut sent_on = 0;
        self.count(Exercise::SentOn, leaving.len() as u64);
        for it in leaving {
            if it.node.is_some() {
                self.send((core, publish), it, out);
            } else if self.share(it.core, &it.bytes.into(), publish, out) {
                sent_on += 1;
            } else {
                self.lose_share(it.core, publish);
            }
        }
        sent_on
    }

    /// Offers a message to subscriptions of a core.
    pub(super) fn deliver<E>(
        &mut self,
        core: usize,
        message: Message,
        recipients: &[Recipient],
        out: &mut Outbox<E>,
    ) -> Offered {
        let mut offered = Offered::default();
        let Message { publish, by } = message;
        for recipient in recipients {
            let (id, is_lost) = (recipient.subscription, self.is_wrong(Canary::LoseCopy));
            if Feeds::is_one(recipient.subscriber) {
                let weight = self.cores[core].held.weight(recipient.subscriber);
                offered.copies += u64::from(weight);
                if !is_lost {
                    offered.taken += self.feed(core, recipient.subscriber, (publish, by));
                }
                continue;
            }
            offered.copies += 1;
            let is_member = self.cores[core].held.group(id).is_some();
            offered.members += u64::from(is_member);
            if is_lost && !is_member {
                continue;
            }
            match self.offer(core, id, (publish, by), out) {
                Offer::Taken => offered.taken += 1,
                Offer::Waits(_) => offered.waits.push(id),
                Offer::Lost | Offer::Over => {}
            }
            let another = self.cores[core].held.fellow(id);
            let wrong = [
                (Canary::DeliverTwice, (!is_member).then_some(id)),
                (Canary::DeliverToBoth, another),
            ];
            for (canary, to) in wrong {
                if let Some(to) = to
                    && self.is_wrong(canary)
                {
                    self.offer(core, to, (publish, by), out);
                }
            }
        }
        offered
    }

    /// Offers a message to all who read of a feed. How many have it.
    fn feed(&mut self, core: usize, feed: SubscriberId, message: (u64, u16)) -> u32 {
        let held = &mut self.cores[core].held;
        let taken = held.feed(feed, message, &self.journal);
        if self.is_wrong(Canary::DeliverTwice) {
            let held = &mut self.cores[core].held;
            held.feed(feed, message, &self.journal);
        }
        match taken > 1 && self.is_wrong(Canary::CountOnce) {
            true => 1,
            false => taken,
        }
    }

    /// Offers a message to a subscription, which ends if its policy says so.
    pub(super) fn offer<E>(
        &mut self,
        core: usize,
        id: SubscriptionId,
        message: (u64, u16),
        out: &mut Outbox<E>,
    ) -> Offer {
        let Core { mediator, held, .. } = &mut self.cores[core];
        let offer = held.offer(id, message, &self.journal);
        if offer == Offer::Over {
            let mut announced = Vec::new();
            mediator.interests().unsubscribe(id, &mut announced);
            held.end(id, &self.journal);
            self.announce(core, announced, out);
        }
        offer
    }

    /// A core did what there was to do with a leg.
    pub(super) fn finish(&self, taken: Taken) {
        let mut journal = self.journal.borrow_mut();
        journal.count(Exercise::Emptied, taken.dead_groups);
        journal.count(Exercise::WithoutCredit, taken.without_credit);
        journal.write(Entry::Taken(taken));
    }
}

/// How a frame came that is to be answered, as the engine says it.
fn came(to: &AnswerTo, hop: Hop, is_forwarded: bool) -> Came {
    match hop {
        _ if to.is_besides => Came::Besides,
        Hop::Link => Came::Sent { cores: 0 },
        Hop::Mesh if is_forwarded => Came::SentOn,
        Hop::Mesh => Came::Shared,
    }
}

/// What is sent on because a group has emptied.
fn sent_on(arrival: &Arrival<'_>, publisher: Uid, message: Message) -> Vec<Leaving> {
    let forwards = arrival.forwards().iter().map(|forward| {
        let (node, core) = match forward.to {
            Destination::Core(core) => (None, core),
            Destination::Node(node, core) => (Some(node), core),
        };
        let message = Message {
            by: core.0,
            ..message
        };
        let head = |it: &mut [u8]| arrival.write_for(forward, publisher, it).ok();
        let bytes = frame(head, message);
        let groups = groups_in(&bytes);
        Leaving {
            node,
            core,
            group: (0..GROUPS.len()).find(|it| groups & 1 << it != 0),
            bytes,
        }
    });
    forwards.collect()
}
