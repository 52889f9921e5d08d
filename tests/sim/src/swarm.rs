//! Random courses of events: what a seed stands for.
//!
//! Each seed draws the size of its world, the weather, and which classes of faults there are, how
//! often and how bad. Every class draws from a generator of its own, so switching one off leaves
//! the others as they were. First comes a time in which anything may happen and nothing may break
//! (safety); then everything is healed, and the world has to find back (liveness).

mod draw;

use std::ops::RangeInclusive;
use std::time::Duration;

use self::draw::Draw;
use crate::canary::Canary;
use crate::fault::Class;
use crate::machine::Machine;
use crate::misfortune::Fault;
use crate::network::Weather;
use crate::random::Random;
use crate::script::{Script, Step};
use crate::store::Troubles;
use crate::world::{Settings, World};

/// What random courses of events keep to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swarm {
    /// How many nodes there are.
    pub nodes: RangeInclusive<usize>,
    /// How many cores each has.
    pub cores: RangeInclusive<u16>,
    /// The only classes of faults that there may be; all, if none is named.
    pub only: Vec<Class>,
    /// What the simulator itself does wrong, on purpose.
    pub canary: Option<Canary>,
    /// How long anything may happen.
    pub safety: Duration,
    /// How long the world then has to find back.
    pub liveness: Duration,
}

impl Default for Swarm {
    fn default() -> Self {
        Self {
            nodes: 3..=9,
            cores: 1..=4,
            only: Vec::new(),
            canary: None,
            safety: Duration::from_secs(90),
            liveness: Duration::from_secs(90),
        }
    }
}

/// What a seed stands for.
#[derive(Debug)]
pub struct Plan {
    /// The world.
    pub settings: Settings,
    /// Which data centre each node is in.
    pub data_centres: Vec<usize>,
    /// When each fault begins, and how long it lasts.
    pub faults: Vec<(Duration, Fault, Duration)>,
    /// When each node is started.
    pub starts: Vec<Duration>,
    /// When the user of which node has it leave.
    pub leaves: Vec<(Duration, usize)>,
    /// How often a supervisor looks after the processes.
    pub supervised: Duration,
    /// When everything is healed.
    pub healed: Duration,
    /// When it is over.
    pub end: Duration,
}

/// Faults without which a seed shows too little: of some classes hardly a third takes effect.
const FAULTS_MIN: usize = 64;

/// Classes of faults with fewer than which a seed has resets besides.
const CLASSES_MIN: usize = 4;

/// How long before the end nobody is started any more.
const SETTLING: Duration = Duration::from_secs(30);

/// How long after everything was healed a cluster is whole again, as a rule.
const RECOVERED: Duration = Duration::from_secs(25);

/// How many of a thousand seeds have a class of faults.
fn share(class: Class) -> u64 {
    match class {
        Class::Crash => 680,
        _ => 500,
    }
}

impl Swarm {
    /// What a seed stands for.
    ///
    /// # Panics
    /// If it allows no node, or no core.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut random = Random::split(seed, "swarm", 0);
        let (fewest, most) = (*self.nodes.start() as u64, *self.nodes.end() as u64);
        // Small worlds are more likely: of three to nine nodes the median is five.
        let [one, other] = [0, 1].map(|_| random.within(fewest..=most));
        let nodes = one.min(other) as usize;
        let cores = |_| {
            let (fewest, most) = (*self.cores.start(), *self.cores.end());
            random.within(u64::from(fewest)..=u64::from(most)) as u16
        };
        let settings = Settings {
            seed,
            cores: (0..nodes).map(cores).collect(),
            weather: weather(&mut Random::split(seed, "weather", 0)),
            idle: Duration::from_secs(Random::split(seed, "idle", 0).within(1..=15)),
            store: Troubles::drawn(seed, nodes, self.safety),
            canary: self.canary,
        };
        let mut starts = Random::split(seed, "start", 0);
        let start = |_| starts.span(Duration::ZERO, Duration::from_secs(3));
        let data_centres = data_centres(seed, nodes);
        Plan {
            settings,
            faults: self.faults(seed, &data_centres),
            data_centres,
            starts: (0..nodes).map(start).collect(),
            leaves: self.leaves(seed, nodes),
            supervised: Duration::from_secs(Random::split(seed, "supervisor", 0).within(2..=8)),
            healed: self.safety,
            end: self.safety + self.liveness,
        }
    }

    /// Nodes leave in good order while anything may happen, and one more once all is well again.
    /// The first seed does only then: it forgets the cluster when it leaves, and founds another one
    /// when it is cut off as it comes back.
    fn leaves(&self, seed: u64, nodes: usize) -> Vec<(Duration, usize)> {
        let mut random = Random::split(seed, "leave", 0);
        let mut leaves = Vec::new();
        for _ in 0..random.below(3) {
            let last = self.safety.saturating_sub(Duration::from_secs(4));
            let at = random.span(Duration::from_secs(8).min(last), last);
            leaves.push((at, 1 + random.index(nodes - 1)));
        }
        let last = self.liveness.saturating_sub(SETTLING * 3 / 2);
        if random.chance(600) && last > RECOVERED {
            let at = self.safety + random.span(RECOVERED, last);
            leaves.push((at, random.index(nodes)));
        }
        leaves
    }

    fn faults(&self, seed: u64, data_centres: &[usize]) -> Vec<(Duration, Fault, Duration)> {
        let allowed = |class: &Class| self.only.is_empty() || self.only.contains(class);
        let mut random = Random::split(seed, "classes", 0);
        // All are drawn, whichever are allowed.
        let mut drawn: Vec<Class> = Class::ALL
            .into_iter()
            .filter(|class| random.chance(share(*class)))
            .collect();
        // A node that is down or stands still suffers nothing else: links do all the same.
        if drawn.len() < CLASSES_MIN && !drawn.contains(&Class::Reset) {
            drawn.push(Class::Reset);
        }
        let mut classes: Vec<Class> = drawn.into_iter().filter(allowed).collect();
        if classes.is_empty() {
            classes.extend(Class::ALL.into_iter().filter(allowed).take(1));
        }
        let mut draws: Vec<Draw> = classes
            .into_iter()
            .map(|class| Draw::new(seed, class, data_centres, self.safety))
            .collect();
        let mut faults = Vec::new();
        for draw in &mut draws {
            draw.some(&mut faults);
        }
        while faults.len() < FAULTS_MIN {
            for draw in &mut draws {
                draw.some(&mut faults);
            }
        }
        // Stable: what happens at one time happens in the order of the classes.
        faults.sort_by_key(|(at, ..)| *at);
        faults
    }
}

/// From how many nodes on there may be several data centres.
pub(crate) const SEVERAL_FROM: usize = 4;

/// Which data centre each node is in: in one of three worlds that are large enough there are two or
/// three, of one node at least.
fn data_centres(seed: u64, nodes: usize) -> Vec<usize> {
    let mut random = Random::split(seed, "data-centres", 0);
    let count = match random.chance(400) {
        true if nodes >= SEVERAL_FROM => 2 + usize::from(nodes >= 6 && random.chance(400)),
        _ => 1,
    };
    let mut place = |node| {
        if node < count {
            node
        } else {
            random.index(count)
        }
    };
    let mut all: Vec<usize> = (0..nodes).map(&mut place).collect();
    if count > 1 {
        random.shuffle(&mut all);
    }
    all
}

fn weather(random: &mut Random) -> Weather {
    let least = random.span(Duration::from_micros(20), Duration::from_millis(1));
    let most = match random.below(4) {
        0 => Duration::from_millis(50),
        1 => Duration::from_millis(10),
        _ => Duration::from_millis(2),
    };
    Weather {
        latency: (least, most),
        split: random.below(400),
        buffer: 1 << random.within(11..=17),
        patience: (
            Duration::from_secs(3),
            Duration::from_secs(random.within(5..=40)),
        ),
    }
}

impl Plan {
    /// The same as a script, in which nodes are told by `leave` to leave, if they can be.
    pub fn script<M: Machine>(&self, leave: Option<M::Command>) -> Script<M> {
        let mut script = Script::new();
        // A node lacks features before it is started.
        for (at, fault, lasts) in &self.faults {
            let lasts = (*lasts).min(self.healed.saturating_sub(*at));
            let step = Step::Befall(fault.clone(), Some(lasts));
            script = script.at(*at).step(step);
        }
        for (node, at) in self.starts.iter().enumerate() {
            script = script.at(*at).start([node]);
        }
        for (at, node) in &self.leaves {
            if let Some(leave) = &leave {
                script = script.at(*at).command(*node, leave.clone());
            }
        }
        // A supervisor starts again whoever ended by itself.
        let mut at = self.supervised;
        while at + SETTLING < self.end {
            script = script.at(at).step(Step::Do(Box::new(World::supervise)));
            at += self.supervised;
        }
        script.at(self.healed).heal()
    }

    /// How many data centres its nodes are in.
    pub fn data_centre_count(&self) -> usize {
        self.data_centres.iter().max().map_or(0, |last| last + 1)
    }

    /// How many nodes the largest of them has.
    pub fn data_centre_nodes(&self) -> usize {
        let count = |place| self.data_centres.iter().filter(|it| **it == place).count();
        let counts = (0..self.data_centre_count()).map(count);
        counts.max().unwrap_or(0)
    }

    /// Whether those are several.
    pub fn has_data_centres(&self) -> bool {
        self.data_centre_count() > 1
    }

    /// Whether some nodes do not hear others for so long.
    pub fn has_partition_of(&self, span: Duration) -> bool {
        let is_long = |(_, fault, lasts): &(Duration, Fault, Duration)| {
            matches!(fault, Fault::Blocked { .. }) && *lasts >= span
        };
        self.faults.iter().any(is_long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_is_switched_off_does_not_shift_the_others() {
        let all = Swarm::default();
        for seed in 0..20 {
            let plan = all.plan(seed);
            for class in Class::ALL {
                let only = Swarm {
                    only: vec![class],
                    ..Swarm::default()
                };
                let others = only.plan(seed);
                let of_class = |plan: &Plan| -> Vec<(Duration, Fault, Duration)> {
                    let faults = plan.faults.iter().cloned();
                    faults.filter(|(_, it, _)| it.class() == class).collect()
                };
                // Fewer classes draw more often each: what one run has is a part of the other's.
                let (here, alone) = (of_class(&plan), of_class(&others));
                assert!(!alone.is_empty() && here.len() <= alone.len());
                let lost = here.iter().find(|fault| !alone.contains(fault));
                assert_eq!(lost, None, "seed {seed}");
                assert_eq!(plan.settings.cores, others.settings.cores);
                assert_eq!(plan.starts, others.starts);
            }
        }
    }

    #[test]
    fn worlds_have_the_sizes_they_are_to_have_and_enough_faults() {
        let swarm = Swarm::default();
        let plans: Vec<Plan> = (0..400).map(|seed| swarm.plan(seed)).collect();
        let mut sizes: Vec<usize> = plans.iter().map(|it| it.settings.cores.len()).collect();
        sizes.sort_unstable();
        assert_eq!((sizes[0], sizes[200], sizes[399]), (3, 5, 9));
        assert!(plans.iter().all(|plan| plan.faults.len() >= FAULTS_MIN));
        let long = Duration::from_secs(20);
        let partitioned = plans.iter().filter(|plan| plan.has_partition_of(long));
        assert!(partitioned.count() > 220);
        let in_order = |plan: &Plan| plan.faults.is_sorted_by_key(|(at, ..)| *at);
        assert!(plans.iter().all(in_order));
        let several = plans.iter().filter(|plan| plan.has_data_centres());
        assert!((80..160).contains(&several.count()));
        let late = |plan: &Plan| plan.faults.iter().any(|(at, ..)| *at > plan.healed);
        assert!(!plans.iter().any(late));
    }
}
