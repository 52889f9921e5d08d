//! One seed, from its plan to its verdict.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ringmesh_proto::time::Instant;

use crate::fault::Class;
use crate::invariant::{Checks, Invariant, Violation};
use crate::machine::Machine;
use crate::outcome::Outcomes;
use crate::swarm::{Plan, Swarm};
use crate::trace::Trace;
use crate::world::{Maker, World};

/// What is put through random courses of events.
pub trait Subject {
    /// What runs on the nodes.
    type Machine: Machine;

    /// Makes the machines of a world.
    fn maker(&self, plan: &Plan) -> Maker<Self::Machine>;

    /// What has to hold, besides what holds for any machine.
    fn invariants(&self, plan: &Plan) -> Vec<Box<dyn Invariant<Self::Machine>>>;

    /// By what a user has a node leave in good order.
    fn leave(&self) -> Option<<Self::Machine as Machine>::Command> {
        None
    }

    /// The strategy by which it is decided which side of a split cluster goes on, if it is one.
    fn strategy(&self, plan: &Plan) -> Option<&'static str> {
        let _ = plan;
        None
    }

    /// What the users of the nodes did, and how often.
    fn exercises(&self, world: &World<Self::Machine>) -> Vec<(&'static str, u64)> {
        let _ = world;
        Vec::new()
    }
}

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Which.
    pub seed: u64,
    /// The hash of all that happened.
    pub hash: u64,
    /// How much that was.
    pub events: u64,
    /// The faults that took effect, in the order of [`Class::ALL`].
    pub faults: [u64; Class::ALL.len()],
    /// Some nodes did not hear others for as long as it takes to act on that.
    pub was_partitioned: bool,
    /// How many nodes it had.
    pub nodes: usize,
    /// How many data centres they were in.
    pub data_centres: usize,
    /// How often nothing passed between two data centres for as long as it takes to notice.
    pub borders_cut: u64,
    /// What became of the sides of the cluster, if it is one.
    pub outcomes: Option<Outcomes>,
    /// What the users of the nodes did, and how often.
    pub exercises: Vec<(&'static str, u64)>,
    /// What was checked.
    pub checks: Vec<Checks>,
    /// What was broken first.
    pub violation: Option<Violation>,
}

/// How long a partition is that counts: longer than a silence is noticed, and acted on.
const LONG_PARTITION: Duration = Duration::from_secs(20);

impl Report {
    /// How many faults took effect.
    pub fn faults_total(&self) -> u64 {
        self.faults.iter().sum()
    }
}

/// Runs a seed to its end, or until something is broken. A panic of whatever runs there is a
/// violation as others are, and the report of such a seed says nothing else.
pub fn run<S: Subject>(subject: &S, swarm: &Swarm, seed: u64, trace: Trace) -> Report {
    let run = || run_to_the_end(subject, swarm, seed, trace);
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            seed,
            hash: 0,
            events: 0,
            faults: [0; Class::ALL.len()],
            was_partitioned: false,
            nodes: 0,
            data_centres: 0,
            borders_cut: 0,
            outcomes: None,
            exercises: Vec::new(),
            checks: Vec::new(),
            violation: Some(Violation {
                invariant: "panic",
                at: Instant::ZERO,
                message: text.unwrap_or_default(),
            }),
        }
    })
}

/// Whether nothing passed between two data centres for long.
fn is_border_cut(plan: &Plan, (paths, lasted): &(Vec<(usize, usize)>, Duration)) -> bool {
    let of = |place: usize| {
        let nodes = plan.data_centres.iter().enumerate();
        nodes
            .filter(move |(_, it)| **it == place)
            .map(|(node, _)| node)
    };
    let is_cut = |a: usize, b: usize| paths.contains(&(a, b)) && paths.contains(&(b, a));
    let are_apart = |one, other| of(one).all(|a| of(other).all(|b| is_cut(a, b)));
    let count = plan.data_centre_count();
    let mut pairs = (0..count).flat_map(|other| (0..other).map(move |one| (one, other)));
    *lasted >= LONG_PARTITION && pairs.any(|(one, other)| are_apart(one, other))
}

fn run_to_the_end<S: Subject>(subject: &S, swarm: &Swarm, seed: u64, trace: Trace) -> Report {
    let plan = swarm.plan(seed);
    let maker = subject.maker(&plan);
    let mut world = World::new(plan.settings.clone(), trace, maker);
    for invariant in subject.invariants(&plan) {
        world.hold_to(invariant);
    }
    world.follow(plan.script(subject.leave()));
    let outcome = world.run(plan.end).and_then(|()| world.finish());
    let outcomes = subject.strategy(&plan).map(|strategy| {
        let mut outcomes = world.outcomes().clone();
        outcomes.expect(strategy);
        outcomes
    });
    let faults = world.faults();
    Report {
        seed,
        hash: world.trace().hash(),
        events: world.trace().events(),
        faults: Class::ALL.map(|class| faults.count(class)),
        was_partitioned: faults.longest_partition() >= LONG_PARTITION,
        nodes: world.nodes(),
        data_centres: plan.data_centre_count(),
        borders_cut: world
            .cuts
            .iter()
            .filter(|cut| is_border_cut(&plan, cut))
            .count() as u64,
        outcomes,
        exercises: subject.exercises(&world),
        checks: world.checks(),
        violation: outcome.err(),
    }
}
