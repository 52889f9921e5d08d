//! What other nodes and cores publish, as it comes to a core.

use std::rc::Rc;

use ringmesh_cluster::pubsub::{
    Arrival, Cores, Destination, Head, Hop, MediatorCounters, Recipient,
};

use super::journal::{Entry, Exercise, GROUPS, Leg, Taken};
use super::publishing::{Leaving, Message, View, frame, groups_in};
use super::{Core, Room};
use crate::canary::Canary;
use crate::machine::Outbox;

impl Room {
    pub(super) fn arrive<E>(
        &mut self,
        core: usize,
        arrived: (Leg, Hop, &Rc<[u8]>),
        out: &mut Outbox<E>,
    ) {
        let (leg, hop, bytes) = arrived;
        let Core {
            mediator, random, ..
        } = &mut self.cores[core];
        let (head, message) = Head::parse(bytes).expect("it was written well");
        let message = Message::read(message).expect("it was written well");
        let view = View {
            role: None,
            crowded: None,
        };
        let before = mediator.counters();
        let publish = message.publish;
        let here = head.groups.filter(|it| usize::from(it.0.0) == core);
        let named = here.count() as u64;
        let Ok(arrival) = mediator.receive(&head, hop, &view, random) else {
            self.count(Exercise::OfEnded, 1);
            return self.finish((core, before), |taken| Taken {
                publish,
                leg,
                ..taken
            });
        };
        let recipients: Vec<Recipient> = arrival.recipients().collect();
        let cores = arrival.cores();
        let leaving = sent_on(&arrival, message);
        let shared = self.share(cores, Rc::clone(bytes), publish, out);
        let forwards = leaving.len() as u64;
        for it in leaving {
            match it.node {
                Some(_) => self.send((core, publish), it, out),
                None => {
                    let mut to = Cores::default();
                    to.insert(it.core);
                    self.share(to, it.bytes.into(), publish, out);
                }
            }
        }
        self.count(Exercise::SentOn, forwards);
        let members = self.deliver(core, message, &recipients);
        let delivered = recipients.len() as u64;
        self.finish((core, before), |taken| Taken {
            publish,
            leg,
            named,
            members,
            forwards,
            delivered,
            shared,
            ..taken
        });
    }

    /// Offers a message to subscribers of a core. How many of them are members of groups.
    pub(super) fn deliver(
        &mut self,
        core: usize,
        message: Message,
        recipients: &[Recipient],
    ) -> u64 {
        let mut members = 0;
        for recipient in recipients {
            let (id, is_lost) = (recipient.subscription, self.is_wrong(Canary::LoseCopy));
            let held = &mut self.cores[core].held;
            let is_member = held.group(id).is_some();
            members += u64::from(is_member);
            if is_lost && !is_member {
                continue;
            }
            let Message { publish, by } = message;
            held.offer(id, (publish, by), &self.journal);
            let held = &self.cores[core].held;
            let another = held.fellow(id);
            let wrong = [
                (Canary::DeliverTwice, (!is_member).then_some(id)),
                (Canary::DeliverToBoth, another),
            ];
            for (canary, to) in wrong {
                if let Some(to) = to
                    && self.is_wrong(canary)
                {
                    let held = &mut self.cores[core].held;
                    held.offer(to, (publish, by), &self.journal);
                }
            }
        }
        members
    }

    /// A core did what there was to do with a leg: writes by how much its counters rose.
    pub(super) fn finish(
        &self,
        (core, before): (usize, MediatorCounters),
        tell: impl FnOnce(Taken) -> Taken,
    ) {
        let after = self.cores[core].mediator.counters();
        let taken = tell(Taken {
            publish: 0,
            at: (self.own.uid, core as u16),
            leg: Leg::Publish,
            named: 0,
            members: 0,
            forwards: 0,
            delivered: 0,
            shared: 0,
            dead_groups: after.dead_groups - before.dead_groups,
            dead_letters: after.dead_letters - before.dead_letters,
            without_credit: after.without_credit - before.without_credit,
        });
        let mut journal = self.journal.borrow_mut();
        journal.count(Exercise::Emptied, taken.dead_groups);
        journal.count(Exercise::WithoutCredit, taken.without_credit);
        journal.write(Entry::Taken(taken));
    }
}

/// What is sent on because a group has emptied.
fn sent_on(arrival: &Arrival<'_>, message: Message) -> Vec<Leaving> {
    let forwards = arrival.forwards().iter().map(|forward| {
        let (node, core) = match forward.to {
            Destination::Core(core) => (None, core),
            Destination::Node(node, core) => (Some(node), core),
        };
        let message = Message {
            by: core.0,
            ..message
        };
        let bytes = frame(|it| arrival.write_for(forward, it).ok(), message);
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
