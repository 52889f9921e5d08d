//! Pub-sub on every core of a member: the production machines, driven as the engine does.
//!
//! Each core has a mediator, and takes in each of its turns what came from links and other cores in
//! the order in which it came, and reads what the registry published last only then. What cores
//! announce goes to the control core as words, and what they publish as frames over the links of
//! the member, all of which lead to the control core there: it hands them to the core that they are
//! for, in the order in which they came.

mod accounted;
mod frames;
mod groups;
mod held;
mod journal;
mod once;
mod reached;
mod users;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_cluster::context::Random as ClusterRandom;
use ringmesh_cluster::pubsub::limits::HEAD_BYTES_MAX;
use ringmesh_cluster::pubsub::{
    Announce, AnnouncementId, Announcer, Arrival, Cores, Destination, Fanout, Head, Hop,
    InterestSettings, Interests, Mediator, MediatorCounters, Nodes, Publish, Recipient, Topic,
    Topics,
};
use ringmesh_cluster::registry::{
    Acknowledgement, EntryId, Extent, Publication, Snapshot, Standing,
};
use ringmesh_proto::address::{CoreId, NodeId, Uid};
use ringmesh_proto::time::Instant;

pub use self::accounted::Accounted;
pub use self::frames::Frames;
pub use self::groups::Groups;
use self::held::Held;
pub(super) use self::journal::Shared;
use self::journal::{Entry, Exercise, GROUPS, Leg, Published, Role, TOPICS, Taken};
pub use self::once::Once;
pub use self::reached::Reached;
use self::users::{Deed, Order, Users};
use crate::canary::Canary;
use crate::machine::{Act, Outbox};
use crate::random::{Random, mix};
use crate::trace::digest;
use crate::world::Birth;

/// The first byte of a frame between nodes: no message of the cluster begins with it.
const TAG: u8 = 0xf5;

/// What is in front of a frame between nodes: that byte, its number, and for which core it is.
const ENVELOPE_BYTES: usize = 11;

/// The most frames that wait for a core of the own node.
const FRAMES_MAX: usize = 1024;

/// What a core takes of what waits for it in one turn.
pub(super) const TURN: usize = 256;

/// In how many of a thousand cases a canary does something wrong.
const CANARY_SHARE: u64 = 300;

/// Something that waits for a core, in the order in which it was said.
#[derive(Debug)]
pub(in crate::members) enum Parcel {
    /// What was published elsewhere.
    Frame { leg: Leg, hop: Hop, bytes: Rc<[u8]> },
    /// Its users do something.
    Deed(Deed),
    /// What it announced was refused.
    Refused(AnnouncementId),
    /// A core announces something: for the control core.
    Announced(CoreId, Vec<Announce>),
    /// A core waits until others know of what it announced: for the control core.
    Confirm(Confirm),
}

/// A subscription that is to be confirmed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirm {
    pub(super) core: CoreId,
    pub(super) id: AnnouncementId,
    pub(super) extent: Extent,
    /// Its number in the journal.
    pub(super) subscription: usize,
}

/// What one core has.
#[derive(Debug)]
struct Core {
    mediator: Mediator,
    random: ClusterRandom,
    /// What it read last of what all announce.
    snapshot: Arc<Snapshot>,
    parcels: VecDeque<Parcel>,
    frames: usize,
    held: Held,
}

/// What the control core has besides.
#[derive(Debug, Default)]
struct Desk {
    announcer: Announcer,
    last_ticket: u64,
    /// Which subscription waits to be confirmed, and how, by ticket.
    waiting: BTreeMap<u64, (usize, Extent)>,
    /// What not all cores have read.
    unread: VecDeque<Arc<Snapshot>>,
}

/// Pub-sub on all cores of a process.
#[derive(Debug)]
pub(super) struct Room {
    own: NodeId,
    cores: Vec<Core>,
    /// What the registry published last, for all cores to read.
    latest: Arc<Snapshot>,
    topics: Arc<Topics>,
    desk: Desk,
    users: Users,
    random: Random,
    canary: Option<Canary>,
    journal: Shared,
    has_departed: bool,
}

/// What a publish sees of the nodes it may go to.
struct View {
    role: Option<Role>,
    crowded: Option<u64>,
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
struct Message {
    publish: u64,
    by: u16,
}

impl Message {
    fn write(self, into: &mut Vec<u8>) {
        into.extend(self.publish.to_le_bytes());
        into.extend(self.by.to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (publish, by) = bytes.split_first_chunk()?;
        Some(Self {
            publish: u64::from_le_bytes(*publish),
            by: u16::from_le_bytes(by.try_into().ok()?),
        })
    }
}

/// What leaves a core: to which core of which node, the own one if none is named, and for which
/// group if for one alone that had emptied.
struct Leaving {
    node: Option<Uid>,
    core: CoreId,
    group: Option<usize>,
    bytes: Vec<u8>,
}

/// Which of the groups are named in a head, one bit each.
fn groups_in(bytes: &[u8]) -> u8 {
    let names = Head::parse(bytes)
        .ok()
        .into_iter()
        .flat_map(|it| it.0.groups);
    let bits = names.filter_map(|(_, name)| GROUPS.iter().position(|it| *it == name));
    bits.fold(0, |all, it| all | 1 << it)
}

/// A frame: what writes its head, and its message.
fn frame(write: impl FnOnce(&mut [u8]) -> Option<usize>, message: Message) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_BYTES_MAX.min(512)];
    let length = write(&mut bytes).unwrap_or(0);
    bytes.truncate(length);
    message.write(&mut bytes);
    bytes
}

impl Room {
    /// That of a process that begins.
    pub(super) fn new(birth: &Birth<'_>, journal: Shared, canary: Option<Canary>) -> Self {
        let own = birth.id.uid;
        let mut random = Random::split(own.as_u64(), "pub-sub", 0);
        let mut core = |core| {
            let interests = Interests::new(CoreId(core), InterestSettings::default());
            Core {
                mediator: Mediator::new(own, birth.cores, interests),
                random: ClusterRandom::new(random.number()),
                snapshot: Arc::default(),
                parcels: VecDeque::new(),
                frames: 0,
                held: Held::new((own, core)),
            }
        };
        let cores = (0..birth.cores).map(&mut core).collect();
        Self {
            own: birth.id.clone(),
            cores,
            latest: Arc::default(),
            topics: Arc::new(Topics::new(own)),
            desk: Desk::default(),
            users: Users::new(birth.now, Random::split(own.as_u64(), "users", 0)),
            random,
            canary,
            journal,
            has_departed: false,
        }
    }

    pub(super) fn journal(&self) -> &Shared {
        &self.journal
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.users.poll_timeout();
        due.filter(|_| !self.has_departed)
    }

    /// The users of the cores do something, if it is time.
    pub(super) fn handle_timeout<E>(&mut self, now: Instant, out: &mut Outbox<E>) {
        if self.users.is_due(now) && !self.has_departed {
            for (core, deed) in self.users.act(now, self.cores.len()) {
                self.put(core, Parcel::Deed(deed), out);
            }
        }
    }

    /// Whether a core has something to do in its next turn.
    pub(super) fn wants_turn(&self, core: usize) -> bool {
        let is_read = |it: &Core| it.snapshot.version() == self.latest.version();
        let Some(place) = self.cores.get(core) else {
            return false;
        };
        !place.parcels.is_empty() || !is_read(place) || core == 0 && self.are_all_read()
    }

    fn are_all_read(&self) -> bool {
        let read = self.cores.iter().map(|it| it.snapshot.version()).min();
        let first = self.desk.unread.front();
        first.is_some_and(|it| read.is_some_and(|read| it.version() <= read))
    }

    fn write(&self, entry: Entry) {
        self.journal.borrow_mut().write(entry);
    }

    fn count(&self, exercise: Exercise, often: u64) {
        self.journal.borrow_mut().count(exercise, often);
    }

    /// Hands something to a core, behind what it was handed before.
    fn put<E>(&mut self, core: usize, parcel: Parcel, out: &mut Outbox<E>) {
        if let Some(place) = self.cores.get_mut(core) {
            place.frames += usize::from(matches!(parcel, Parcel::Frame { .. }));
            place.parcels.push_back(parcel);
            out.push(Act::Ring(core));
        }
    }

    /// Takes what waits for a core next.
    pub(super) fn next(&mut self, core: usize) -> Option<Parcel> {
        let place = self.cores.get_mut(core)?;
        let parcel = place.parcels.pop_front()?;
        place.frames -= usize::from(matches!(parcel, Parcel::Frame { .. }));
        Some(parcel)
    }

    /// A core has something for the control core, which hears all in order. It itself does at once.
    fn tell_control<E>(&mut self, core: usize, parcels: Vec<Parcel>, out: &mut Outbox<E>) {
        if core > 0 {
            parcels.into_iter().for_each(|it| self.put(0, it, out));
        } else if let Some(place) = self.cores.first_mut() {
            let parcels = parcels.into_iter().rev();
            parcels.for_each(|it| place.parcels.push_front(it));
        }
    }

    /// A link brought bytes. Says whether they are a frame.
    pub(super) fn receive<E>(&mut self, bytes: &[u8], out: &mut Outbox<E>) -> bool {
        let Some((&TAG, rest)) = bytes.split_first() else {
            return false;
        };
        let (number, rest) = rest.split_first_chunk().expect("its number");
        let (core, bytes) = rest.split_first_chunk().expect("its core");
        let (frame, core) = (u64::from_le_bytes(*number), u16::from_le_bytes(*core));
        let by = self.own.uid;
        self.write(Entry::Received { frame, by });
        if self.is_wrong(Canary::LoseFrame) {
            return true;
        }
        let (leg, hop, bytes) = (Leg::Frame(frame), Hop::Link, Rc::from(bytes));
        self.put(core.into(), Parcel::Frame { leg, hop, bytes }, out);
        true
    }

    /// Whether a canary does something wrong now.
    fn is_wrong(&mut self, canary: Canary) -> bool {
        self.canary == Some(canary) && self.random.chance(CANARY_SHARE)
    }

    /// A core does what it was handed; only the control core is handed words.
    pub(super) fn take<E>(&mut self, core: usize, parcel: Parcel, out: &mut Outbox<E>) {
        match parcel {
            Parcel::Frame { leg, hop, bytes } => self.arrive(core, (leg, hop, &bytes), out),
            Parcel::Deed(deed) => self.act(core, deed, out),
            Parcel::Refused(id) => {
                let Core { mediator, held, .. } = &mut self.cores[core];
                let mut ended = Vec::new();
                mediator.interests().handle_refused(id, &mut ended);
                for it in ended {
                    held.end(it.subscription, &self.journal);
                }
            }
            Parcel::Announced(..) | Parcel::Confirm(_) => {}
        }
    }

    fn act<E>(&mut self, core: usize, deed: Deed, out: &mut Outbox<E>) {
        let number = CoreId(core as u16);
        let Core { mediator, held, .. } = &mut self.cores[core];
        let interests = mediator.interests();
        let mut announced = Vec::new();
        let mut confirm = None;
        match deed {
            Deed::Publish(order, often) => {
                return (0..often).for_each(|_| self.publish(core, order, out));
            }
            Deed::Take(count) => return held.take(count, &self.journal),
            Deed::Subscribe(wish) => {
                let begun = held.subscribe(&wish, interests, &self.journal, &mut announced);
                let extent = wish.level.extent();
                confirm = begun
                    .zip(extent)
                    .map(|((id, subscription), extent)| Confirm {
                        core: number,
                        id,
                        extent,
                        subscription,
                    });
            }
            Deed::Burst(wish, often) => {
                self.journal.borrow_mut().count(Exercise::Bursts, 1);
                for _ in 0..often {
                    held.subscribe(&wish, interests, &self.journal, &mut announced);
                    held.unsubscribe(u64::MAX, interests, &self.journal, &mut announced);
                }
            }
            Deed::Unsubscribe(which) => {
                held.unsubscribe(which, interests, &self.journal, &mut announced);
            }
            Deed::End(which) => {
                held.end_subscriber(which, interests, &self.journal, &mut announced);
            }
        }
        let mut parcels = Vec::new();
        if !announced.is_empty() {
            parcels.push(Parcel::Announced(number, announced));
        }
        parcels.extend(confirm.map(Parcel::Confirm));
        self.tell_control(core, parcels, out);
    }
}

/// What is published here.
impl Room {
    fn publish<E>(&mut self, core: usize, order: Order, out: &mut Outbox<E>) {
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
    fn share<E>(
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
    fn send<E>(&mut self, (core, publish): (usize, u64), it: Leaving, out: &mut Outbox<E>) {
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

/// What comes from elsewhere.
impl Room {
    fn arrive<E>(&mut self, core: usize, arrived: (Leg, Hop, &Rc<[u8]>), out: &mut Outbox<E>) {
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
    fn deliver(&mut self, core: usize, message: Message, recipients: &[Recipient]) -> u64 {
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
    fn finish(&self, (core, before): (usize, MediatorCounters), tell: impl FnOnce(Taken) -> Taken) {
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

/// Those whose entries stand so.
fn owners(snapshot: &Snapshot, is_one: impl Fn(Standing) -> bool) -> Box<[Uid]> {
    let listings = snapshot.listings();
    let found = listings.filter(|it| is_one(it.standing()));
    found.map(|it| it.owner().uid).collect()
}

/// The registry, as the cores see it.
impl Room {
    /// The registry has something to show: all cores read it, the control core now and the others
    /// in their next turn.
    pub(super) fn publish_registry<E>(&mut self, publication: &Publication, out: &mut Outbox<E>) {
        self.desk.unread.truncate(1);
        self.desk
            .unread
            .push_back(Arc::clone(&publication.snapshot));
        Arc::make_mut(&mut self.topics).apply(publication);
        self.latest = Arc::clone(&publication.snapshot);
        self.read(0, out);
        (1..self.cores.len()).for_each(|core| out.push(Act::Ring(core)));
    }

    /// A core reads what was published last, at the end of its turn.
    pub(super) fn read<E>(&mut self, core: usize, out: &mut Outbox<E>) {
        let place = &mut self.cores[core];
        if place.snapshot.version() == self.latest.version() {
            return;
        }
        place.snapshot = Arc::clone(&self.latest);
        place.mediator.handle_topics(Arc::clone(&self.topics));
        let nodes = owners(&self.latest, |it| it != Standing::Reachable);
        if !nodes.is_empty() {
            let at = (self.own.uid, core as u16);
            self.write(Entry::Apart { at, nodes });
        }
        if self.are_all_read() {
            out.push(Act::Ring(0));
        }
    }

    /// What all cores have read, if that is more than before.
    pub(super) fn take_read(&mut self) -> Option<Arc<Snapshot>> {
        let mut confirmed = None;
        while self.are_all_read() {
            confirmed = self.desk.unread.pop_front();
        }
        confirmed
    }

    pub(super) fn announcer(&mut self) -> &mut Announcer {
        &mut self.desk.announcer
    }

    /// Something that a core announced was refused.
    pub(super) fn refuse<E>(&mut self, core: CoreId, id: AnnouncementId, out: &mut Outbox<E>) {
        match core.0 {
            0 => self.take(0, Parcel::Refused(id), out),
            core => self.put(core.into(), Parcel::Refused(id), out),
        }
    }

    /// The entry that is to be confirmed, and by which ticket.
    pub(super) fn begin_confirming(&mut self, it: &Confirm) -> Option<(EntryId, u64)> {
        let entry = self.desk.announcer.entry(it.core, it.id)?;
        self.desk.last_ticket += 1;
        let ticket = self.desk.last_ticket;
        self.desk
            .waiting
            .insert(ticket, (it.subscription, it.extent));
        Some((entry, ticket))
    }

    /// Nobody confirms anything by that ticket.
    pub(super) fn stop_confirming(&mut self, ticket: u64) {
        self.desk.waiting.remove(&ticket);
    }

    /// The registry says who knows of an entry.
    pub(super) fn handle_acknowledged(&mut self, it: &Acknowledgement) {
        if let Some((subscription, extent)) = self.desk.waiting.remove(&it.ticket) {
            let nodes = it.confirmed.iter().map(|it| it.uid).collect();
            self.write(Entry::Confirmed {
                subscription,
                nodes,
            });
            let exercise = match extent {
                Extent::Quorum => Exercise::ConfirmedByQuorum,
                Extent::AllReachable => Exercise::ConfirmedByAll,
            };
            self.count(exercise, it.is_enough.into());
        }
    }

    /// The node leaves, or is no member any more: nothing of it is announced.
    pub(super) fn depart(&mut self) {
        if !std::mem::replace(&mut self.has_departed, true) {
            self.write(Entry::Departed(self.own.uid));
        }
    }
}

#[cfg(test)]
mod tests;
