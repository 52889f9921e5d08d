//! Pub-sub on one core: who gets what this core publishes, and what arrives at it.
//!
//! ```text
//!   publish ──► Fanout ──► recipients of this core
//!                     ├──► other cores of this node: one slab, one head
//!                     └──► other nodes: one frame each, to one core there
//!   frame ────► Arrival ─► recipients, other cores, and groups that have emptied: sent on once
//! ```
//!
//! - **Inputs:** subscriptions, by [`Mediator::interests`]; [`Topics`]; publishes, frames, sends.
//! - **Outputs:** [`Fanout`], [`Arrival`] and [`Candidate`]s, which borrow what the core remembers:
//!   for a topic that it knows nothing is allocated.
//! - **Invariants:** a subscription gets one copy of a publish at most, and a group one in all; a
//!   node gets one frame, and one more for each group that had emptied elsewhere; what one core
//!   publishes to a topic takes one way to each subscription as long as its route lives.

mod arrival;
mod fanout;
mod send;

use std::sync::Arc;

use ringmesh_proto::address::{CoreId, Uid};

pub use self::arrival::{Arrival, Destination, Forward, Hop, UnknownEntry};
pub use self::fanout::{Audience, Fanout, Full, Pressure, Publish};
use self::fanout::{Mark, Pick};
pub use self::send::{SendError, Whom};
use super::cache::Cache;
use super::choice::{Candidate, Candidates};
use super::cores::Cores;
use super::interests::{Interests, Plan, Recipient};
use super::name::Topic;
use super::route::Route;
use super::topics::Topics;

/// What a core did not deliver, by why. Each only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediatorCounters {
    /// Publishes, frames and sends for which there was nobody.
    pub dead_letters: u64,
    /// Groups that had no member left where they were looked for, and none elsewhere.
    pub dead_groups: u64,
    /// Groups that were sent on because they had emptied here.
    pub forwarded: u64,
    /// Nodes that did not get a publish because there was no credit for them.
    pub without_credit: u64,
    /// Subscriptions that a publish did not reach because their nodes cannot be.
    pub unreached: u64,
    /// Members of groups that were left out because their topic has too many groups.
    pub over: u64,
}

/// What a mediator knows of subscriptions at some time. As long as it has the same moment, what is
/// [steady](Fanout::is_steady) goes the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// How often it was shown who subscribes in the cluster.
    shown: u64,
    /// How often subscriptions on its core began and ended.
    changed: u64,
    /// How many routes it has forgotten: one that is made anew may go by another core of a node.
    forgotten: u64,
}

/// What was chosen for one publish or frame. It is used again for the next.
#[derive(Debug, Default)]
struct Selection {
    plan: u32,
    route: u32,
    /// Of each stop of the route, whether it gets a frame.
    marks: Vec<Mark>,
    picks: Vec<Pick>,
    /// The members of groups on this core.
    members: Vec<Recipient>,
    cores: Cores,
    blocked: Vec<Uid>,
    forwards: Vec<Forward>,
    candidates: Vec<Candidate>,
    dead_groups: u32,
}

impl Selection {
    fn begin(&mut self, plan: u32, route: u32, stops: usize) {
        self.plan = plan;
        self.route = route;
        self.marks.clear();
        self.marks.resize(stops, Mark::default());
        self.picks.clear();
        self.members.clear();
        self.cores = Cores::default();
        self.blocked.clear();
        self.forwards.clear();
        self.dead_groups = 0;
    }

    /// Whether nothing of it was drawn or is somebody's turn, and nobody was left out.
    fn is_steady(&self) -> bool {
        self.picks.is_empty()
            && self.members.is_empty()
            && self.blocked.is_empty()
            && self.forwards.is_empty()
            && self.dead_groups == 0
    }

    /// Those on this core who get it: of a plan, if it is for those without a group, and members.
    fn recipients<'a>(
        &'a self,
        plan: &'a Plan,
        is_open: bool,
    ) -> impl Iterator<Item = Recipient> + use<'a> {
        let open = if is_open { plan.recipients() } else { &[] };
        open.iter().chain(&self.members).copied()
    }
}

/// Pub-sub on one core of a node.
#[derive(Debug)]
pub struct Mediator {
    core: CoreId,
    /// How many cores the node has.
    cores: u16,
    interests: Interests,
    topics: Arc<Topics>,
    shown: u64,
    routes: Cache<Route>,
    paths: Cache<Candidates>,
    selection: Selection,
    counters: MediatorCounters,
}

impl Mediator {
    /// That of a core of a node with so many cores, which knows of nobody else yet.
    pub fn new(own: Uid, cores: u16, interests: Interests) -> Self {
        Self {
            core: interests.core(),
            cores,
            interests,
            topics: Arc::new(Topics::new(own)),
            shown: 0,
            routes: Cache::default(),
            paths: Cache::default(),
            selection: Selection::default(),
            counters: MediatorCounters::default(),
        }
    }

    /// Who subscribes on this core.
    pub fn interests(&mut self) -> &mut Interests {
        &mut self.interests
    }

    /// Who subscribes in the cluster, from now on.
    pub fn handle_topics(&mut self, topics: Arc<Topics>) {
        if topics.version() < self.topics.version() {
            // They were made anew: nothing that is remembered rests on them.
            self.routes = Cache::default();
            self.paths = Cache::default();
        }
        self.topics = topics;
        self.shown += 1;
    }

    /// What it knows of subscriptions now.
    #[inline]
    pub fn moment(&self) -> Moment {
        Moment {
            shown: self.shown,
            changed: self.interests.version(),
            forgotten: self.routes.evicted(),
        }
    }

    /// Who subscribes in the cluster, as this core knows it.
    pub fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// What was not delivered.
    pub fn counters(&self) -> MediatorCounters {
        self.counters
    }

    /// How many topics this core remembers the routes of.
    pub fn known_topics(&self) -> usize {
        self.routes.size().0
    }
}

/// The number of the route of a topic, as it is now.
fn route_of(
    routes: &mut Cache<Route>,
    topics: &Topics,
    core: CoreId,
    (topic, protocol): (Topic<'_>, u64),
) -> u32 {
    let known = routes.find(topic, protocol);
    if let Some(number) = known
        && let Some(basis) = routes.basis(number)
        && topics.is_current(basis)
    {
        return number;
    }
    let before = known.map(|number| routes.take(number));
    let (route, basis) = Route::build(topics, core, (topic, protocol), before.as_ref());
    let cost = route.cost();
    routes.put(topic, protocol, (route, basis), cost)
}
