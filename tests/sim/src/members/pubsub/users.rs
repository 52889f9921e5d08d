//! Users of the cores of a node who subscribe, publish and end.

use std::time::Duration;

use ringmesh_cluster::pubsub::{Audience, Level, OnFull, Policy, Pressure, Whom};
use ringmesh_proto::time::Instant;

use super::journal::{GROUPS, PATHS, Role, TOPICS};
use crate::random::Random;

/// For so long of the life of a process its users are busy. Then nothing changes any more.
const BUSY: Duration = Duration::from_secs(60);

/// The most subscriptions of a core.
pub(super) const HELD_MAX: usize = 12;

/// What is subscribed to: some more often than others.
pub(super) const PATTERNS: [&str; 9] =
    ["a", "a.b", "a.b", "a.c", "a.*", "**", "a.**", "*.b", "b.b"];

/// The most actors of a core that are put under paths.
pub(super) const ACTORS_MAX: usize = 6;

/// How many subscribers a core has, each with any number of subscriptions.
const SUBSCRIBERS: u64 = 4;

/// In how many of a thousand cases others subscribe as somebody does, if they would share a feed.
const COMPANY_SHARE: u64 = 250;

/// Something that a user of a core does.
#[derive(Clone, Copy, Debug)]
pub(in crate::members) enum Deed {
    /// Begins a subscription.
    Subscribe(Wish),
    /// Begins and ends so many, one after the other.
    Burst(Wish, u32),
    /// Ends one, as the number says.
    Unsubscribe(u64),
    /// A subscriber ends, and all its subscriptions.
    End(u64),
    /// Publishes, so often.
    Publish(Order, u32),
    /// All subscribers and actors take a few of what waits for them.
    Take(usize),
    /// Puts an actor under a path.
    Put(Put),
    /// An actor ends, as the number says.
    EndActor(u64),
    /// Sends to a path, so often.
    Send(Errand, u32),
}

/// A subscription that is wanted.
#[derive(Clone, Copy, Debug)]
pub(in crate::members) struct Wish {
    /// Which of [`PATTERNS`].
    pub(super) pattern: usize,
    /// Which of [`GROUPS`].
    pub(super) group: Option<usize>,
    pub(super) kind: u64,
    pub(super) subscriber: u64,
    pub(super) level: Level,
    pub(super) on_full: OnFull,
    /// How long it is waited for, if it is.
    pub(super) patience: Duration,
}

impl Wish {
    /// Whether it shares a feed with others like it, as in the engine: it loses the oldest, and is
    /// in no group.
    pub(super) fn shares_feed(&self) -> bool {
        self.on_full == OnFull::DropOldest && self.group.is_none()
    }
}

/// An actor that is to be put under a path.
#[derive(Clone, Copy, Debug)]
pub(in crate::members) struct Put {
    /// Which of [`PATHS`].
    pub(super) path: usize,
    pub(super) kind: u64,
    pub(super) level: Level,
}

/// What is sent to a path.
#[derive(Clone, Copy, Debug)]
pub(in crate::members) struct Errand {
    /// Which of [`PATHS`].
    pub(super) path: usize,
    pub(super) kind: u64,
    pub(super) whom: Whom,
    pub(super) role: Option<Role>,
    /// To some nodes there is no room, as the number says.
    pub(super) crowded: Option<u64>,
}

/// How something is published.
#[derive(Clone, Copy, Debug)]
pub(in crate::members) struct Order {
    /// Which of [`TOPICS`].
    pub(super) topic: usize,
    pub(super) kind: u64,
    pub(super) audience: Audience,
    pub(super) policy: Policy,
    pub(super) pressure: Pressure,
    pub(super) role: Option<Role>,
    /// Some nodes have no room, as the number says.
    pub(super) crowded: Option<u64>,
    /// For how long its publisher waits for subscribers of its core that want that, if it does.
    pub(super) patience: Option<Duration>,
    /// For how long it waits for the answers of all whom it reaches, if it does.
    pub(super) answers: Option<Duration>,
}

/// Users of a node.
#[derive(Debug)]
pub(super) struct Users {
    next: Instant,
    ends: Instant,
    random: Random,
}

impl Users {
    /// Those of a process that begins now.
    pub(super) fn new(now: Instant, random: Random) -> Self {
        Self {
            next: now + Duration::from_millis(500),
            ends: now + BUSY,
            random,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (self.next < self.ends).then_some(self.next)
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.poll_timeout().is_some_and(|due| due <= now)
    }

    /// What they do now, and on which of so many cores.
    pub(super) fn act(&mut self, now: Instant, cores: usize) -> Vec<(usize, Deed)> {
        let random = &mut self.random;
        self.next = now + random.span(Duration::from_millis(200), Duration::from_millis(10_000));
        let count = random.within(1..=12);
        let mut deeds = Vec::new();
        for _ in 0..count {
            let (core, deed) = (random.index(cores), deed(random));
            deeds.push((core, deed));
            if let Deed::Subscribe(wish) = deed
                && wish.shares_feed()
                && random.chance(COMPANY_SHARE)
            {
                let others = 1..=random.within(1..=3);
                let others = others.map(|it| Wish {
                    // As much may wait for those.
                    subscriber: (wish.subscriber + 2 * it) % SUBSCRIBERS,
                    ..wish
                });
                deeds.extend(others.map(|it| (core, Deed::Subscribe(it))));
            }
        }
        deeds
    }
}

fn deed(random: &mut Random) -> Deed {
    match random.below(116) {
        0..22 => Deed::Subscribe(wish(random)),
        22..25 => Deed::Burst(wish(random), random.within(2..=6) as u32),
        25..38 => Deed::Unsubscribe(random.number()),
        38..41 => Deed::End(random.below(SUBSCRIBERS)),
        41..50 => Deed::Take(random.index(20)),
        100..105 => Deed::Put(Put {
            path: random.index(PATHS.len()),
            kind: kind(random),
            level: level(random),
        }),
        105..108 => Deed::EndActor(random.number()),
        108..116 => Deed::Send(errand(random), random.within(1..=4) as u32),
        _ => {
            let often = if random.chance(50) { 8 } else { 2 };
            Deed::Publish(order(random), random.within(1..=often) as u32)
        }
    }
}

fn kind(random: &mut Random) -> u64 {
    1 + u64::from(random.chance(150))
}

fn level(random: &mut Random) -> Level {
    [Level::Local, Level::Quorum, Level::AllReachable][random.index(3)]
}

fn role(random: &mut Random) -> Option<Role> {
    let has_role = random.chance(60);
    has_role.then(|| Role(random.chance(500)))
}

fn errand(random: &mut Random) -> Errand {
    let policy = match random.chance(500) {
        true => Policy::RoundRobin,
        false => Policy::Random,
    };
    let whom = match random.below(10) {
        0..2 => Whom::All {
            is_self_excluded: false,
        },
        2..4 => Whom::All {
            is_self_excluded: true,
        },
        rest => Whom::One {
            policy,
            is_local_preferred: rest < 7,
        },
    };
    let is_crowded = random.chance(60);
    Errand {
        path: random.index(PATHS.len()),
        kind: kind(random),
        whom,
        role: role(random),
        crowded: is_crowded.then(|| random.number()),
    }
}

fn wish(random: &mut Random) -> Wish {
    let group = random.chance(400);
    let on_full = match random.below(20) {
        0..2 => OnFull::Fail,
        2..7 => OnFull::DropNewest,
        7..11 => OnFull::Wait,
        _ => OnFull::DropOldest,
    };
    Wish {
        pattern: random.index(PATTERNS.len()),
        group: group.then(|| random.index(GROUPS.len())),
        kind: kind(random),
        subscriber: random.below(SUBSCRIBERS),
        level: level(random),
        on_full,
        patience: random.span(Duration::from_millis(5), Duration::from_millis(400)),
    }
}

fn order(random: &mut Random) -> Order {
    let audience = match random.below(6) {
        0 => Audience::GroupsOnly,
        1 => Audience::UngroupedOnly,
        _ => Audience::All,
    };
    let policy = match random.below(8) {
        0 => Policy::Broadcast,
        1..4 => Policy::RoundRobin,
        _ => Policy::Random,
    };
    let is_crowded = random.chance(60);
    let (waits, asks) = (random.chance(300), random.chance(200));
    let mut time = || random.span(Duration::from_millis(20), Duration::from_secs(4));
    let (patience, answers) = (waits.then(&mut time), asks.then(&mut time));
    Order {
        topic: random.index(TOPICS.len()),
        kind: kind(random),
        audience,
        policy,
        pressure: [Pressure::Lose, Pressure::Refuse][random.index(2)],
        role: role(random),
        crowded: is_crowded.then(|| random.number()),
        patience,
        answers,
    }
}
