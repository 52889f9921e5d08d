//! What happened to everything that was published in a world, for those who judge it.
//!
//! All members of a world write into one journal, so its order is the order of the world.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_cluster::pubsub::{Audience, Cores, MediatorCounters, Outcome, Policy, Whom};
use ringmesh_proto::address::Uid;

use crate::members::Participant;
use crate::world::World;

/// A core of a process.
pub(super) type At = (Uid, u16);

/// What is published to.
pub(super) const TOPICS: [&str; 5] = ["a", "a.b", "a.c", "b.b", "a.b.c"];

/// The groups that there are.
pub(super) const GROUPS: [&str; 2] = ["g", "h"];

/// Under what actors are put.
pub(super) const PATHS: [&str; 2] = ["user/a", "user/b"];

/// Where what takes a publish further came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::members) enum Leg {
    /// The core that published it.
    Publish,
    /// Another node, by that frame.
    Frame(u64),
    /// Another core of the node.
    Mesh,
}

/// Something was published.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) number: u64,
    pub(super) at: At,
    /// Which of [`TOPICS`].
    pub(super) topic: usize,
    pub(super) kind: u64,
    pub(super) audience: Audience,
    pub(super) policy: Policy,
    /// Nodes without that role are left out.
    pub(super) role: Option<Role>,
    /// The nodes that get a frame, and which core of each.
    pub(super) stops: Box<[(Uid, u16)]>,
    /// The other cores of the node that get it.
    pub(super) cores: Cores,
    /// The groups that are named in what was sent.
    pub(super) groups: u8,
    /// Whose entries count, as the core knows, and whose do not although they are there.
    pub(super) reachable: Box<[Uid]>,
    pub(super) apart: Box<[Uid]>,
    /// Whether there was no room to some nodes.
    pub(super) is_crowded: bool,
    /// To whom there was no room.
    pub(super) blocked: Box<[Uid]>,
    /// How many nodes with subscribers the core said it cannot reach.
    pub(super) unreached: u32,
    /// Whether all whom it reaches are to say so.
    pub(super) is_asked: bool,
}

/// An actor under a path: its process, its core, and the number that it has there.
pub(super) type Actor = (Uid, u16, u64);

/// Something was sent to a path, or was to be.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) at: At,
    /// Which of [`PATHS`].
    pub(super) path: usize,
    pub(super) kind: u64,
    pub(super) whom: Whom,
    /// Nodes without that role are left out, but for the own one.
    pub(super) role: Option<Role>,
    /// Who is there on nodes that count, as the snapshot of the core says.
    pub(super) known: Box<[Actor]>,
    /// Whose entries count, as that says.
    pub(super) reachable: Box<[Uid]>,
    /// Those of them that had ended, as the core found out, or to whom there was no room.
    pub(super) ended: Box<[Actor]>,
    pub(super) full: Box<[Actor]>,
    /// Who is told it.
    pub(super) told: Box<[Actor]>,
    /// Whether the core said that nobody is there; if not and nobody is told, nobody had room.
    pub(super) is_to_nobody: bool,
}

/// Half of all processes have one role, the others another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Role(pub(super) bool);

impl Role {
    pub(super) fn has(self, uid: Uid) -> bool {
        (uid.as_u64() & 2 == 0) == self.0
    }
}

/// A core did with a leg of a publish what there was to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) publish: u64,
    pub(super) at: At,
    pub(super) leg: Leg,
    /// How many groups were to have a member here.
    pub(super) named: u64,
    /// How many members got it.
    pub(super) members: u64,
    /// How many groups were sent on.
    pub(super) forwards: u64,
    /// How many subscriptions got it, members among them.
    pub(super) delivered: u64,
    /// How many other cores it was given to.
    pub(super) shared: u64,
    /// By how much the counters rose meanwhile.
    pub(super) dead_groups: u64,
    pub(super) dead_letters: u64,
    pub(super) without_credit: u64,
}

impl Taken {
    /// That of a core which the mediator alone has been asked, with its counters before and after.
    pub(super) fn of(
        at: At,
        (publish, leg): (u64, Leg),
        (before, after): (MediatorCounters, MediatorCounters),
    ) -> Self {
        Self {
            publish,
            at,
            leg,
            named: 0,
            members: 0,
            forwards: 0,
            delivered: 0,
            shared: 0,
            dead_groups: after.dead_groups - before.dead_groups,
            dead_letters: after.dead_letters - before.dead_letters,
            without_credit: after.without_credit - before.without_credit,
        }
    }
}

/// Who subscribed to what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) at: At,
    /// Which of [`TOPICS`] match, one bit each.
    pub(super) topics: u8,
    pub(super) kind: u64,
    /// Which of [`GROUPS`].
    pub(super) group: Option<usize>,
}

#[derive(Debug)]
pub(super) enum Entry {
    /// A subscription began. They are numbered in the order in which they did.
    Subscribed(Wanted),
    /// On those nodes all cores know of it, as its own node was told.
    Confirmed {
        subscription: usize,
        nodes: Box<[Uid]>,
    },
    /// An actor was put under a path. They are numbered in the order in which they were.
    Put {
        actor: Actor,
        path: usize,
        kind: u64,
    },
    /// On those nodes all cores know of it.
    PutConfirmed {
        number: usize,
        nodes: Box<[Uid]>,
    },
    /// It ended.
    ActorEnded(Actor),
    Sent(Box<Sent>),
    /// What was sent was given to the links, for an actor of another node.
    Carried {
        frame: u64,
        from: Uid,
        to: Uid,
        digest: u64,
    },
    /// It came to the core of the actor that it is for.
    Told {
        send: u64,
        actor: Actor,
        /// By which frame, if from another node.
        frame: Option<u64>,
    },
    /// It ended.
    Ended {
        subscription: usize,
    },
    /// A core has read that those owners' entries do not count, or not now.
    Apart {
        at: At,
        nodes: Box<[Uid]>,
    },
    /// A node announces nothing any more.
    Departed(Uid),
    Published(Box<Published>),
    /// A frame was given to the links.
    Handed {
        frame: u64,
        publish: u64,
        from: Uid,
        to: Uid,
        /// For which group that had emptied, if for one.
        group: Option<usize>,
        /// The bytes, as a number.
        digest: u64,
    },
    /// A link brought a frame.
    Received {
        frame: u64,
        by: Uid,
    },
    /// A core gave a publish to another of its node.
    Shared {
        publish: u64,
        node: Uid,
    },
    /// A core did not, for there was no room at the other one.
    Unshared {
        publish: u64,
        to: At,
    },
    Taken(Taken),
    /// A copy came to a subscription; none is known there if that is not named.
    Delivered {
        publish: u64,
        at: At,
        /// The core of that node that took it from the links.
        by: u16,
        subscription: Option<usize>,
        /// Whether it is in its queue.
        is_taken: bool,
    },
    /// A process begins to wait for room, with that number.
    Waits {
        number: u64,
        node: Uid,
    },
    /// It waits no more: it had so much time left, and gave up or not.
    Waited {
        number: u64,
        left: Duration,
        is_given_up: bool,
    },
    /// A publisher was told what a publish has reached.
    Answered {
        publish: u64,
        outcome: Outcome,
    },
    /// The account of a subscriber's queue is wrong.
    Miscounted(String),
}

/// What was done, for those who ask whether it was enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exercise {
    Published,
    Delivered,
    AcrossCores,
    ToGroups,
    ByWildcards,
    ConfirmedByQuorum,
    ConfirmedByAll,
    Ended,
    Bursts,
    Demanded,
    SentOn,
    Emptied,
    OfEnded,
    WithoutCredit,
    Refused,
    Unreached,
    Lagged,
    GivenUp,
    DroppedNewest,
    Failed,
    Waited,
    WaitedInVain,
    PublisherWaited,
    Unshared,
    Asked,
    Answered,
    Unanswered,
    AnsweredLate,
    SentToOne,
    SentToAll,
    SentLocally,
    SentToNobody,
    SentToFull,
    Told,
    ActorGone,
    Fed,
    LeftUnread,
}

impl Exercise {
    pub(super) const ALL: [(Self, &'static str); 37] = [
        (Self::Published, "published"),
        (Self::Delivered, "delivered"),
        (Self::AcrossCores, "across-cores"),
        (Self::ToGroups, "to-groups"),
        (Self::ByWildcards, "by-wildcards"),
        (Self::ConfirmedByQuorum, "confirmed-by-quorum"),
        (Self::ConfirmedByAll, "confirmed-by-all"),
        (Self::Ended, "subscribers-ended"),
        (Self::Bursts, "bursts"),
        (Self::Demanded, "demanded"),
        (Self::SentOn, "sent-on"),
        (Self::Emptied, "emptied"),
        (Self::OfEnded, "of-ended"),
        (Self::WithoutCredit, "without-credit"),
        (Self::Refused, "refused"),
        (Self::Unreached, "unreached"),
        (Self::Lagged, "lagged"),
        (Self::GivenUp, "given-up"),
        (Self::DroppedNewest, "dropped-newest"),
        (Self::Failed, "failed"),
        (Self::Waited, "waited"),
        (Self::WaitedInVain, "waited-in-vain"),
        (Self::PublisherWaited, "publisher-waited"),
        (Self::Unshared, "unshared"),
        (Self::Asked, "asked"),
        (Self::Answered, "answered"),
        (Self::Unanswered, "unanswered"),
        (Self::AnsweredLate, "answered-late"),
        (Self::SentToOne, "sent-to-one"),
        (Self::SentToAll, "sent-to-all"),
        (Self::SentLocally, "sent-locally"),
        (Self::SentToNobody, "sent-to-nobody"),
        (Self::SentToFull, "sent-to-full"),
        (Self::Told, "told"),
        (Self::ActorGone, "actor-gone"),
        (Self::Fed, "fed"),
        (Self::LeftUnread, "left-unread"),
    ];
}

/// How often each thing was done.
#[derive(Debug)]
struct Exercised([u64; Exercise::ALL.len()]);

impl Default for Exercised {
    fn default() -> Self {
        Self([0; Exercise::ALL.len()])
    }
}

/// The journal of a world.
#[derive(Debug, Default)]
pub(in crate::members) struct Journal {
    entries: Vec<Entry>,
    exercised: Exercised,
    subscriptions: usize,
    actors: usize,
    publishes: u64,
    frames: u64,
    sends: u64,
    waits: u64,
}

/// The same in the hands of all who write it.
pub(in crate::members) type Shared = Rc<RefCell<Journal>>;

impl Journal {
    pub(super) fn write(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub(super) fn count(&mut self, exercise: Exercise, often: u64) {
        self.exercised.0[exercise as usize] += often;
    }

    /// Counts what a subscriber was told to have lost, or writes why that is wrong.
    pub(super) fn note_lagged(&mut self, lagged: Result<u64, String>) {
        match lagged {
            Ok(lagged) => self.count(Exercise::Lagged, lagged),
            Err(why) => self.write(Entry::Miscounted(why)),
        }
    }

    /// Writes that a subscription began. Its number.
    pub(super) fn subscribe(&mut self, wanted: Wanted) -> usize {
        self.entries.push(Entry::Subscribed(wanted));
        self.subscriptions += 1;
        self.subscriptions - 1
    }

    /// Writes that an actor was put under a path. Its number.
    pub(super) fn put(&mut self, actor: Actor, path: usize, kind: u64) -> usize {
        self.entries.push(Entry::Put { actor, path, kind });
        self.actors += 1;
        self.actors - 1
    }

    pub(super) fn next_publish(&mut self) -> u64 {
        self.publishes += 1;
        self.publishes
    }

    pub(super) fn next_frame(&mut self) -> u64 {
        self.frames += 1;
        self.frames
    }

    pub(super) fn next_send(&mut self) -> u64 {
        self.sends += 1;
        self.sends
    }

    /// Writes that a process begins to wait for room. The number of the wait.
    pub(super) fn wait(&mut self, node: Uid) -> u64 {
        self.waits += 1;
        let number = self.waits;
        self.entries.push(Entry::Waits { number, node });
        number
    }

    /// What was done, and how often.
    pub(in crate::members) fn exercised(&self) -> Vec<(&'static str, u64)> {
        let all = Exercise::ALL.iter();
        all.map(|(it, name)| (*name, self.exercised.0[*it as usize]))
            .collect()
    }
}

/// Reads a journal from its beginning on.
#[derive(Debug, Default)]
pub(super) struct Reader {
    journal: Option<Shared>,
    next: usize,
}

impl Reader {
    /// Reads what is new. How much was checked of it.
    pub(super) fn read(
        &mut self,
        world: &World<Participant>,
        mut judge: impl FnMut(&Entry) -> Result<u64, String>,
    ) -> Result<u64, String> {
        if self.journal.is_none() {
            let rooms = world.running().filter_map(|it| world.machine(it)?.pubsub());
            self.journal = rooms.map(|it| Rc::clone(it.journal())).next();
        }
        let Some(journal) = &self.journal else {
            return Ok(0);
        };
        let journal = journal.borrow();
        let mut checked = 0;
        while let Some(entry) = journal.entries.get(self.next) {
            self.next += 1;
            checked += judge(entry)?;
        }
        Ok(checked)
    }

    /// Counts something that a judge alone knows.
    pub(super) fn count(&self, exercise: Exercise, often: u64) {
        if let Some(journal) = &self.journal {
            journal.borrow_mut().count(exercise, often);
        }
    }
}
