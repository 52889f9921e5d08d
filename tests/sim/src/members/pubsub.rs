//! Pub-sub on every core of a member: the production machines, driven as the engine does.
//!
//! Each core has a mediator, and takes in each of its turns what came from links and other cores in
//! the order in which it came, and reads what the registry published last only then. What cores
//! announce goes to the control core as words, and what they publish as frames over the links of
//! the member, all of which lead to the control core there: it hands them to the core that they are
//! for, in the order in which they came.

mod accounted;
mod answered;
mod answering;
mod arriving;
mod desk;
mod feeds;
mod frames;
mod groups;
mod held;
mod journal;
mod once;
mod paths;
mod publishing;
mod reached;
mod sending;
mod users;
mod waited;
mod waiting;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_cluster::context::Random as ClusterRandom;
use ringmesh_cluster::pubsub::{
    ANSWER_BYTES, Announce, AnnouncementId, Hop, InterestSettings, Interests, Mediator, Topics,
};
use ringmesh_cluster::registry::{Extent, Snapshot};
use ringmesh_proto::address::{CoreId, NodeId, Uid};
use ringmesh_proto::time::Instant;

pub use self::accounted::Accounted;
pub use self::answered::Answered;
use self::answering::Asked;
use self::desk::Desk;
pub use self::frames::Frames;
pub use self::groups::Groups;
use self::held::Held;
pub(super) use self::journal::Shared;
use self::journal::{Entry, Exercise, Leg};
pub use self::once::Once;
pub use self::paths::Paths;
use self::publishing::Patient;
pub use self::reached::Reached;
use self::sending::{Actors, Told};
use self::users::{Deed, Users};
pub use self::waited::Waited;
use self::waiting::Line;
use crate::canary::Canary;
use crate::machine::{Act, Outbox};
use crate::random::Random;
use crate::world::Birth;

/// The first byte of a frame between nodes: no message of the cluster begins with it.
const TAG: u8 = 0xf5;

/// The first byte of an answer between nodes.
const ANSWER_TAG: u8 = 0xf6;

/// The first byte of what is sent to an actor of another node.
const TOLD_TAG: u8 = 0xf7;

/// What is in front of a frame between nodes: that byte, its number, and for which core it is.
const ENVELOPE_BYTES: usize = 11;

/// What a core takes of what waits for it in one turn.
pub(super) const TURN: usize = 256;

/// In how many of a thousand cases a canary does something wrong.
const CANARY_SHARE: u64 = 300;

/// Something that waits for a core, in the order in which it was said.
#[derive(Debug)]
pub(in crate::members) enum Parcel {
    /// What was published elsewhere.
    Frame { leg: Leg, hop: Hop, bytes: Rc<[u8]> },
    /// What a core says that a publish has reached there.
    Answer {
        from: Uid,
        bytes: [u8; ANSWER_BYTES],
    },
    /// What was sent to an actor of the core.
    Told(Told),
    /// Its users do something.
    Deed(Deed),
    /// What it announced was refused.
    Refused(AnnouncementId),
    /// A core announces something: for the control core.
    Announced(CoreId, Vec<Announce>),
    /// A core waits until others know of what it announced: for the control core.
    Confirm(Confirm),
}

/// What is to be confirmed, by its number in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Subscription(usize),
    Actor(usize),
}

/// A subscription, or an actor under a path, that is to be confirmed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirm {
    pub(super) core: CoreId,
    pub(super) id: AnnouncementId,
    pub(super) extent: Extent,
    pub(super) begun: Begun,
}

/// Which core has its turn, and what the clock of its node says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    core: usize,
    now: Instant,
}

/// What one core has.
#[derive(Debug)]
struct Core {
    mediator: Mediator,
    random: ClusterRandom,
    /// What it read last of what all announce.
    snapshot: Arc<Snapshot>,
    parcels: VecDeque<Parcel>,
    /// The frames of other cores that wait, before they are dealt with.
    shared: usize,
    /// What links and what other cores brought, by the [`Hop`].
    lines: [Line; 2],
    /// Publishes that wait for subscribers of the core.
    patients: VecDeque<Patient>,
    asked: Asked,
    held: Held,
    actors: Actors,
    /// Whether it is to look at what waits.
    is_due: bool,
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
                shared: 0,
                lines: Default::default(),
                patients: VecDeque::new(),
                asked: Asked::default(),
                held: Held::new((own, core)),
                actors: Actors::new((own, core)),
                is_due: false,
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
        let users = self.users.poll_timeout();
        let users = users.filter(|_| !self.has_departed);
        let cores = (0..self.cores.len()).filter_map(|it| self.core_timeout(it));
        cores.chain(users).min()
    }

    /// The users of the cores do something, if it is time.
    pub(super) fn handle_timeout<E>(&mut self, now: Instant, out: &mut Outbox<E>) {
        if self.users.is_due(now) && !self.has_departed {
            for (core, deed) in self.users.act(now, self.cores.len()) {
                self.put(core, Parcel::Deed(deed), out);
            }
        }
        for core in 0..self.cores.len() {
            if self.core_timeout(core).is_some_and(|due| due <= now) {
                self.cores[core].is_due = true;
                out.push(Act::Ring(core));
            }
        }
    }

    /// Whether a core has something to do in its next turn.
    pub(super) fn wants_turn(&self, core: usize) -> bool {
        let is_read = |it: &Core| it.snapshot.version() == self.latest.version();
        let Some(place) = self.cores.get(core) else {
            return false;
        };
        !place.parcels.is_empty()
            || place.is_due
            || !is_read(place)
            || core == 0 && self.are_all_read()
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
            let is_shared = matches!(parcel, Parcel::Frame { hop: Hop::Mesh, .. });
            place.shared += usize::from(is_shared);
            place.parcels.push_back(parcel);
            out.push(Act::Ring(core));
        }
    }

    /// Takes what waits for a core next.
    pub(super) fn next(&mut self, core: usize) -> Option<Parcel> {
        self.cores.get_mut(core)?.parcels.pop_front()
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

    /// What a core announces, the control core hears.
    fn announce<E>(&mut self, core: usize, announced: Vec<Announce>, out: &mut Outbox<E>) {
        if !announced.is_empty() {
            let parcel = Parcel::Announced(CoreId(core as u16), announced);
            self.tell_control(core, vec![parcel], out);
        }
    }

    /// A link brought bytes. Says whether they are of pub-sub.
    pub(super) fn receive<E>(&mut self, from: Uid, bytes: &[u8], out: &mut Outbox<E>) -> bool {
        let Some((&tag, rest)) = bytes.split_first() else {
            return false;
        };
        match tag {
            TAG => self.receive_frame(rest, out),
            ANSWER_TAG => self.receive_answer(from, rest, out),
            TOLD_TAG => self.receive_told(rest, out),
            _ => return false,
        }
        true
    }

    fn receive_frame<E>(&mut self, bytes: &[u8], out: &mut Outbox<E>) {
        let (number, rest) = bytes.split_first_chunk().expect("its number");
        let (core, bytes) = rest.split_first_chunk().expect("its core");
        let (frame, core) = (u64::from_le_bytes(*number), u16::from_le_bytes(*core));
        let by = self.own.uid;
        self.write(Entry::Received { frame, by });
        if self.is_wrong(Canary::LoseFrame) {
            return;
        }
        let (leg, hop, bytes) = (Leg::Frame(frame), Hop::Link, Rc::from(bytes));
        self.put(core.into(), Parcel::Frame { leg, hop, bytes }, out);
    }

    /// Whether a canary does something wrong now.
    fn is_wrong(&mut self, canary: Canary) -> bool {
        self.canary == Some(canary) && self.random.chance(CANARY_SHARE)
    }

    /// A core does what it was handed; only the control core is handed words.
    pub(super) fn take<E>(
        &mut self,
        (core, now): (usize, Instant),
        parcel: Parcel,
        out: &mut Outbox<E>,
    ) {
        match parcel {
            Parcel::Frame { leg, hop, bytes } => {
                self.take_frame(Spot { core, now }, (leg, hop, bytes), out);
            }
            Parcel::Answer { from, bytes } => self.hear(core, from, &bytes),
            Parcel::Told(told) => self.take_told(core, told),
            Parcel::Deed(deed) => self.act(Spot { core, now }, deed, out),
            Parcel::Refused(id) => self.end_refused(core, id),
            Parcel::Announced(..) | Parcel::Confirm(_) => {}
        }
    }

    /// What a core announced was refused: nobody else would ever find it.
    fn end_refused(&mut self, core: usize, id: AnnouncementId) {
        let Core {
            mediator,
            held,
            actors,
            ..
        } = &mut self.cores[core];
        let mut ended = Vec::new();
        mediator.interests().handle_refused(id, &mut ended);
        for it in ended {
            held.end(it.subscription, &self.journal);
            actors.end(it.subscription, &self.journal);
        }
    }

    fn act<E>(&mut self, spot: Spot, deed: Deed, out: &mut Outbox<E>) {
        let core = spot.core;
        if matches!(deed, Deed::Take(_)) && self.is_wrong(Canary::SkipOne) {
            self.cores[core].held.skip();
        }
        let Core {
            mediator,
            held,
            actors,
            ..
        } = &mut self.cores[core];
        let (interests, journal) = (mediator.interests(), &self.journal);
        let mut announced = Vec::new();
        let mut begun = None;
        match deed {
            Deed::Publish(order, often) => {
                return (0..often).for_each(|_| self.publish(spot, order, out));
            }
            Deed::Send(errand, often) => {
                return (0..often).for_each(|_| self.send_to_path(core, &errand, out));
            }
            Deed::Take(count) => {
                held.take(count, journal);
                actors.take(count);
            }
            Deed::Subscribe(wish) => {
                let subscribed = held.subscribe(&wish, interests, journal, &mut announced);
                let extent = wish.level.extent();
                begun = subscribed
                    .map(|(id, number)| (id, Begun::Subscription(number)))
                    .zip(extent);
            }
            Deed::Burst(wish, often) => {
                journal.borrow_mut().count(Exercise::Bursts, 1);
                for _ in 0..often {
                    held.subscribe(&wish, interests, journal, &mut announced);
                    held.unsubscribe(u64::MAX, interests, journal, &mut announced);
                }
            }
            Deed::Unsubscribe(which) => {
                held.unsubscribe(which, interests, journal, &mut announced);
            }
            Deed::End(which) => held.end_subscriber(which, interests, journal, &mut announced),
            Deed::Put(put) => {
                let is_put = actors.put(&put, interests, journal, &mut announced);
                let extent = put.level.extent();
                begun = is_put
                    .map(|(id, number)| (id, Begun::Actor(number)))
                    .zip(extent);
            }
            Deed::EndActor(which) => actors.end_one(which, interests, journal, &mut announced),
        }
        let number = CoreId(core as u16);
        let confirm = begun.map(|((id, begun), extent)| {
            Parcel::Confirm(Confirm {
                core: number,
                id,
                extent,
                begun,
            })
        });
        let is_new = !announced.is_empty();
        let announced = is_new.then_some(Parcel::Announced(number, announced));
        let parcels = announced.into_iter().chain(confirm).collect();
        self.tell_control(core, parcels, out);
    }
}

#[cfg(test)]
mod tests;
