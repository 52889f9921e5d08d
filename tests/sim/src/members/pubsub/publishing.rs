//! What a core publishes: to its own subscribers, to other cores, and one frame to each node.

use std::rc::Rc;

use ringmesh_cluster::pubsub::limits::HEAD_BYTES_MAX;
use ringmesh_cluster::pubsub::{Cores, Fanout, Head, Hop, Nodes, Publish, Recipient, Topic};
use ringmesh_cluster::registry::{Snapshot, Standing};
use ringmesh_proto::address::{CoreId, Uid};

use super::journal::{Entry, Exercise, GROUPS, Leg, Published, Role, TOPICS, Taken};
use super::users::Order;
use super::{Core, ENVELOPE_BYTES, FRAMES_MAX, Parcel, Room, TAG};
use crate::canary::Canary;
use crate::machine::Outbox;
use crate::random::mix;
use crate::trace::digest;

/// What a publish sees of the nodes it may go to.
pub(super) struct View {
    pub(super) role: Option<Role>,
    pub(super) crowded: Option<u64>,
}

impl Nodes for View {
    fn has_credit(&self, node: Uid, _: CoreId) -> bool {
        let crowded = self.crowded;
        crowded.is_none_or(|salt| !mix(salt ^ node.as_u64()).is_multiple_of(3))
    }

    fn is_in_role(&self, node: Uid) -> bool {
        self.role.is_none_or(|it| it.has(node))
    }
}

/// The message of a publish: its number, and which core took it from the links.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    pub(super) publish: u64,
    pub(super) by: u16,
}

impl Message {
    pub(super) fn write(self, into: &mut Vec<u8>) {
        into.extend(self.publish.to_le_bytes());
        into.extend(self.by.to_le_bytes());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (publish, by) = bytes.split_first_chunk()?;
        Some(Self {
            publish: u64::from_le_bytes(*publish),
            by: u16::from_le_bytes(by.try_into().ok()?),
        })
    }
}

/// What leaves a core: to which core of which node, the own one if none is named, and for which
/// group if for one alone that had emptied.
pub(super) struct Leaving {
    pub(super) node: Option<Uid>,
    pub(super) core: CoreId,
    pub(super) group: Option<usize>,
    pub(super) bytes: Vec<u8>,
}

/// Which of the groups are named in a head, one bit each.
pub(super) fn groups_in(bytes: &[u8]) -> u8 {
    let names = Head::parse(bytes)
        .ok()
        .into_iter()
        .flat_map(|it| it.0.groups);
    let bits = names.filter_map(|(_, name)| GROUPS.iter().position(|it| *it == name));
    bits.fold(0, |all, it| all | 1 << it)
}

/// A frame: what writes its head, and its message.
pub(super) fn frame(write: impl FnOnce(&mut [u8]) -> Option<usize>, message: Message) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_BYTES_MAX.min(512)];
    let length = write(&mut bytes).unwrap_or(0);
    bytes.truncate(length);
    message.write(&mut bytes);
    bytes
}
impl Room {
    pub(super) fn publish<E>(&mut self, core: usize, order: Order, out: &mut Outbox<E>) {
        let Core {
            mediator,
            random,
            snapshot,
            ..
        } = &mut self.cores[core];
        let topic = Topic::new(TOPICS[order.topic]).expect("a topic");
        let view = View {
            role: order.role,
            crowded: order.crowded,
        };
        let publish = Publish {
            audience: order.audience,
            policy: order.policy,
            pressure: order.pressure,
            answer: None,
        };
        let before = mediator.counters();
        let Ok(fanout) = mediator.publish((topic, order.kind), &publish, &view, random) else {
            return self.count(Exercise::Refused, 1);
        };
        let number = self.journal.borrow_mut().next_publish();
        let (at, by) = ((self.own.uid, core as u16), core as u16);
        let recipients: Vec<Recipient> = fanout.recipients().collect();
        let message = Message {
            publish: number,
            by,
        };
        let (slab, leaving) = leaving(&fanout, message);
        let is_sent = |it: &Leaving| Some((it.node?, it.core.0));
        let named = slab.iter().chain(leaving.iter().map(|it| &it.bytes));
        let (blocked, cores) = (fanout.without_credit().into(), fanout.cores());
        let published = Published {
            number,
            at,
            topic: order.topic,
            kind: order.kind,
            audience: order.audience,
            policy: order.policy,
            role: order.role,
            stops: leaving.iter().filter_map(is_sent).collect(),
            cores,
            groups: named.fold(0, |all, it| all | groups_in(it)),
            reachable: owners(snapshot, |it| it == Standing::Reachable),
            apart: owners(snapshot, |it| it != Standing::Reachable),
            is_crowded: order.crowded.is_some(),
            blocked,
            unreached: fanout.unreached().nodes,
        };
        let unreached = published.unreached;
        self.write(Entry::Published(Box::new(published)));
        self.count(Exercise::Published, 1);
        self.count(Exercise::Unreached, unreached.into());
        let shared = self.share(cores, slab.unwrap_or_default().into(), number, out);
        for it in leaving {
            self.send((core, number), it, out);
        }
        let members = self.deliver(core, message, &recipients);
        let delivered = recipients.len() as u64;
        self.finish((core, before), |taken| Taken {
            publish: number,
            members,
            delivered,
            shared,
            ..taken
        });
    }

    /// Gives a frame to other cores. To how many.
    pub(super) fn share<E>(
        &mut self,
        cores: Cores,
        bytes: Rc<[u8]>,
        publish: u64,
        out: &mut Outbox<E>,
    ) -> u64 {
        let mut shared = 0;
        for core in cores.iter() {
            let has_room = |it: &Core| it.frames < FRAMES_MAX;
            let place = usize::from(core.0);
            if self.cores.get(place).is_some_and(has_room) {
                let node = self.own.uid;
                self.write(Entry::Shared { publish, node });
                let (leg, hop, bytes) = (Leg::Mesh, Hop::Mesh, Rc::clone(&bytes));
                self.put(place, Parcel::Frame { leg, hop, bytes }, out);
                shared += 1;
            }
        }
        self.count(Exercise::AcrossCores, shared);
        shared
    }

    /// Sends a frame to a core of another node.
    pub(super) fn send<E>(
        &mut self,
        (core, publish): (usize, u64),
        it: Leaving,
        out: &mut Outbox<E>,
    ) {
        let listing = it.node.and_then(|to| self.cores[core].snapshot.listing(to));
        let Some(to) = listing.map(|it| it.owner().clone()) else {
            return self.count(Exercise::GivenUp, 1);
        };
        let often = 1 + u64::from(self.is_wrong(Canary::SendTwice));
        for _ in 0..often {
            let frame = self.journal.borrow_mut().next_frame();
            let mut body = Vec::with_capacity(ENVELOPE_BYTES + it.bytes.len());
            body.push(TAG);
            body.extend(frame.to_le_bytes());
            body.extend(it.core.0.to_le_bytes());
            body.extend_from_slice(&it.bytes);
            self.write(Entry::Handed {
                frame,
                publish,
                from: self.own.uid,
                to: to.uid,
                group: it.group,
                digest: digest(&body),
            });
            out.send(to.clone(), body);
        }
    }
}

/// What a publish has go elsewhere: what the other cores of the node get, and other nodes.
fn leaving(fanout: &Fanout<'_>, message: Message) -> (Option<Vec<u8>>, Vec<Leaving>) {
    let has_cores = !fanout.cores().is_empty();
    let slab = has_cores.then(|| frame(|it| fanout.write_for_cores(it).ok(), message));
    let stops = fanout.stops().map(|stop| {
        let by = stop.core.0;
        let bytes = frame(
            |it| fanout.write_for(&stop, it).ok(),
            Message { by, ..message },
        );
        Leaving {
            node: Some(stop.node),
            core: stop.core,
            group: None,
            bytes,
        }
    });
    (slab, stops.collect())
}
/// Those whose entries stand so.
pub(super) fn owners(snapshot: &Snapshot, is_one: impl Fn(Standing) -> bool) -> Box<[Uid]> {
    let listings = snapshot.listings();
    let found = listings.filter(|it| is_one(it.standing()));
    found.map(|it| it.owner().uid).collect()
}
