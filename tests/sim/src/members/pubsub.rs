//! Pub-sub on every core of a member: the production machines, driven as the engine does.
//!
//! Each core has a mediator, and takes in each of its turns what came from links and other cores in
//! the order in which it came, and reads what the registry published last only then. What cores
//! announce goes to the control core as words, and what they publish as frames over the links of
//! the member, all of which lead to the control core there: it hands them to the core that they are
//! for, in the order in which they came.

mod accounted;
mod arriving;
mod desk;
mod frames;
mod groups;
mod held;
mod journal;
mod once;
mod publishing;
mod reached;
mod users;

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use ringmesh_cluster::context::Random as ClusterRandom;
use ringmesh_cluster::pubsub::{
    Announce, AnnouncementId, Hop, InterestSettings, Interests, Mediator, Topics,
};
use ringmesh_cluster::registry::{Extent, Snapshot};
use ringmesh_proto::address::{CoreId, NodeId};
use ringmesh_proto::time::Instant;

pub use self::accounted::Accounted;
use self::desk::Desk;
pub use self::frames::Frames;
pub use self::groups::Groups;
use self::held::Held;
pub(super) use self::journal::Shared;
use self::journal::{Entry, Exercise, Leg};
pub use self::once::Once;
pub use self::reached::Reached;
use self::users::{Deed, Users};
use crate::canary::Canary;
use crate::machine::{Act, Outbox};
use crate::random::Random;
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

#[cfg(test)]
mod tests;
