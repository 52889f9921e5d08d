//! What a core publishes: to its own subscribers, to other cores, and one frame to each node.

use std::rc::Rc;
use std::time::Duration;

use ringmesh_cluster::pubsub::limits::HEAD_BYTES_MAX;
use ringmesh_cluster::pubsub::{
    Cores, Fanout, Head, Hop, Nodes, Pressure, Publish, Recipient, Topic,
};
use ringmesh_cluster::registry::{Snapshot, Standing};
use ringmesh_proto::address::{CoreId, Uid};
use ringmesh_proto::time::Instant;

use super::journal::{At, Entry, Exercise, GROUPS, Leg, Published, Role, TOPICS, Taken};
use super::users::Order;
use super::waiting::Until;
use super::{Core, ENVELOPE_BYTES, Parcel, Room, Spot, TAG};
use crate::canary::Canary;
use crate::machine::Outbox;
use crate::random::mix;
use crate::trace::digest;

/// The most frames of other cores that wait at a core. Few, so that it is sometimes full.
const SHARED_MAX: usize = 6;

/// The most publishes of a core that wait for subscribers of it.
const PATIENTS_MAX: usize = 8;

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

/// Why nothing was published.
enum Refusal {
    /// There is no room on the way to some node, or some core of the own one.
    Full,
    /// A subscriber of the core is to be waited for so long.
    Waits(Duration),
}

/// A publish that waits for a subscriber of its core.
#[derive(Debug)]
pub(super) struct Patient {
    order: Order,
    until: Until,
}

/// What a core publishes.
impl Room {
    pub(super) fn publish<E>(&mut self, spot: Spot, order: Order, out: &mut Outbox<E>) {
        let has_room = self.cores[spot.core].patients.len() < PATIENTS_MAX;
        let is_patient = order.patience.is_some() && has_room;
        match self.try_publish(spot, &order, out) {
            Ok(()) => {}
            Err(Refusal::Waits(patience)) if is_patient => {
                let patience = order.patience.map_or(patience, |it| it.min(patience));
                let until = self.wait(spot, patience);
                let patient = Patient { order, until };
                self.cores[spot.core].patients.push_back(patient);
            }
            Err(_) => self.count(Exercise::Refused, 1),
        }
    }

    /// Publishes what waits, in the order in which it came, as far as there is room; whoever has
    /// waited for long enough has the others get it.
    pub(super) fn publish_patiently<E>(&mut self, spot: Spot, out: &mut Outbox<E>) {
        while let Some(patient) = self.cores[spot.core].patients.front() {
            let (mut order, until) = (patient.order, patient.until);
            let is_over = until.deadline <= spot.now;
            if is_over {
                order.pressure = Pressure::Lose;
            }
            match self.try_publish(spot, &order, out) {
                Err(Refusal::Waits(_)) => return,
                Err(Refusal::Full) => self.count(Exercise::Refused, 1),
                Ok(()) => self.count(Exercise::PublisherWaited, 1),
            }
            self.cores[spot.core].patients.pop_front();
            self.waited(spot.now, Some(until), is_over);
        }
    }

    /// When the one that waits first has waited for long enough.
    pub(super) fn patient_until(&self, core: usize) -> Option<Instant> {
        let first = self.cores[core].patients.front();
        first.map(|it| it.until.deadline)
    }

    fn try_publish<E>(
        &mut self,
        spot: Spot,
        order: &Order,
        out: &mut Outbox<E>,
    ) -> Result<(), Refusal> {
        let (own, core) = (self.own.uid, spot.core);
        let full = self.full_cores();
        let Core {
            mediator,
            random,
            snapshot,
            held,
            asked,
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
            answer: order.answers.and_then(|_| asked.reserve()),
        };
        let before = mediator.counters();
        let published = mediator.publish((topic, order.kind), &publish, &view, random);
        let fanout = published.map_err(|_| Refusal::Full)?;
        let recipients: Vec<Recipient> = fanout.recipients().collect();
        if order.pressure == Pressure::Refuse {
            if fanout.cores().iter().any(|it| full.contains(it)) {
                return Err(Refusal::Full);
            }
            if let Some(patience) = held.who_must_wait(&recipients) {
                return Err(Refusal::Waits(patience));
            }
        }
        let number = self.journal.borrow_mut().next_publish();
        let by = core as u16;
        let message = Message {
            publish: number,
            by,
        };
        let (slab, leaving) = leaving(&fanout, message);
        let named = slab.iter().chain(leaving.iter().map(|it| &it.bytes));
        let published = Published {
            stops: stops_of(&leaving),
            groups: named.fold(0, |all, it| all | groups_in(it)),
            is_asked: publish.answer.is_some(),
            ..record(order, (number, (own, by)), &fanout, snapshot)
        };
        let after = mediator.counters();
        let taken = Taken::of((own, by), (number, Leg::Publish), (before, after));
        let asked = publish.answer.zip(order.answers);
        let stops = published.stops.clone();
        let (shared, unsent) = self.leave(spot, (published, slab, leaving), out);
        if let Some((answer, time)) = asked {
            let all = (&*stops, &*unsent);
            let answer = (answer, order.policy);
            self.ask(spot, (answer, number), time, all);
        }
        let taken = Taken {
            shared: shared.into(),
            ..taken
        };
        self.offer_here(spot, (message, &recipients), (publish.answer, taken), out);
        Ok(())
    }

    /// Has a publish go elsewhere: to how many other cores, and to which nodes there is no way.
    fn leave<E>(
        &mut self,
        spot: Spot,
        (published, slab, leaving): (Published, Option<Vec<u8>>, Vec<Leaving>),
        out: &mut Outbox<E>,
    ) -> (u16, Vec<Uid>) {
        let (number, cores) = (published.number, published.cores);
        self.count(Exercise::Published, 1);
        self.count(Exercise::Unreached, published.unreached.into());
        self.count(Exercise::Asked, published.is_asked.into());
        self.write(Entry::Published(Box::new(published)));
        let slab: Rc<[u8]> = slab.unwrap_or_default().into();
        let mut shared = 0;
        for core in cores.iter() {
            match self.share(core, &slab, number, out) {
                true => shared += 1,
                false => self.lose_share(core, number),
            }
        }
        let mut unsent = Vec::new();
        for it in leaving {
            let node = it.node;
            if !self.send((spot.core, number), it, out) {
                unsent.extend(node);
            }
        }
        (shared, unsent)
    }

    /// Offers a publish to the subscribers of its own core, which nobody waits for any more.
    fn offer_here<E>(
        &mut self,
        spot: Spot,
        (message, recipients): (Message, &[Recipient]),
        (answer, taken): (Option<u64>, Taken),
        out: &mut Outbox<E>,
    ) {
        let offered = self.deliver(spot.core, message, recipients, out);
        for it in offered.waits {
            let Message { publish, by } = message;
            let held = &mut self.cores[spot.core].held;
            held.give_up(it, (publish, by), &self.journal);
        }
        if let Some(answer) = answer {
            let cores = taken.shared as u16;
            self.note_reached_here(spot, answer, (offered.taken, cores));
        }
        self.finish(Taken {
            members: offered.members,
            delivered: offered.copies,
            ..taken
        });
    }

    /// Whether there is room for a frame at a core, of the other cores of the node.
    pub(super) fn has_room(&self, core: CoreId) -> bool {
        let place = self.cores.get(usize::from(core.0));
        place.is_some_and(|it| it.shared < SHARED_MAX)
    }

    fn full_cores(&self) -> Cores {
        let mut full = Cores::default();
        let all = (0..self.cores.len() as u16).map(CoreId);
        all.filter(|it| !self.has_room(*it))
            .for_each(|it| full.insert(it));
        full
    }

    /// Gives a frame to another core, if there is room. Says whether there was.
    pub(super) fn share<E>(
        &mut self,
        core: CoreId,
        bytes: &Rc<[u8]>,
        publish: u64,
        out: &mut Outbox<E>,
    ) -> bool {
        let has_room = self.has_room(core);
        if has_room {
            let node = self.own.uid;
            self.write(Entry::Shared { publish, node });
            let (leg, hop, bytes) = (Leg::Mesh, Hop::Mesh, Rc::clone(bytes));
            self.put(core.0.into(), Parcel::Frame { leg, hop, bytes }, out);
        }
        self.count(Exercise::AcrossCores, has_room.into());
        has_room
    }

    /// There is no room for a frame at another core, and nobody waits for that any more.
    pub(super) fn lose_share(&mut self, core: CoreId, publish: u64) {
        let to = (self.own.uid, core.0);
        self.write(Entry::Unshared { publish, to });
        self.count(Exercise::Unshared, 1);
    }

    /// Sends a frame to a core of another node. Says whether there is a way there.
    pub(super) fn send<E>(
        &mut self,
        (core, publish): (usize, u64),
        it: Leaving,
        out: &mut Outbox<E>,
    ) -> bool {
        let listing = it.node.and_then(|to| self.cores[core].snapshot.listing(to));
        let Some(to) = listing.map(|it| it.owner().clone()) else {
            self.count(Exercise::GivenUp, 1);
            return false;
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
        true
    }
}

/// What is written down of a publish, but for where it went.
fn record(
    order: &Order,
    (number, at): (u64, At),
    fanout: &Fanout<'_>,
    snapshot: &Snapshot,
) -> Published {
    Published {
        number,
        at,
        topic: order.topic,
        kind: order.kind,
        audience: order.audience,
        policy: order.policy,
        role: order.role,
        stops: Box::default(),
        cores: fanout.cores(),
        groups: 0,
        reachable: owners(snapshot, |it| it == Standing::Reachable),
        apart: owners(snapshot, |it| it != Standing::Reachable),
        is_crowded: order.crowded.is_some(),
        blocked: fanout.without_credit().into(),
        unreached: fanout.unreached().nodes,
        is_asked: false,
    }
}

/// Which core of which node each frame is for.
fn stops_of(leaving: &[Leaving]) -> Box<[(Uid, u16)]> {
    let stop = |it: &Leaving| Some((it.node?, it.core.0));
    leaving.iter().filter_map(stop).collect()
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
