//! The reports of many seeds, as one: what was covered, and the verdict.

use std::collections::BTreeMap;

use ringmesh_proto::time::Instant;

use crate::fault::Class;
use crate::invariant::Violation;
use crate::outcome::Outcomes;
use crate::random::mix;
use crate::run::Report;
use crate::swarm::SEVERAL_FROM;

/// Seeds from which on too little coverage is a failure.
pub const COVERED_FROM: u64 = 500;

/// Faults that have to take effect in each seed.
pub const FAULTS_MIN: u64 = 20;

/// What share of all seeds, in percent, each class of faults takes effect in at least.
pub const CLASS_SHARE: u64 = 25;

/// The same for crashes, and for partitions that are long enough to be acted on.
pub const LARGE_SHARE: u64 = 50;

/// Of the seeds that have nodes enough for several data centres, the share in percent that has.
pub const SEVERAL_SHARE: u64 = 30;

/// Of those, the share in percent in which two data centres are cut off from each other for long.
pub const BORDER_SHARE: u64 = 10;

/// The share in percent of the seeds with users in which they do each thing that they do.
pub const EXERCISE_SHARE: u64 = 10;

/// What came of many seeds. They are added in any order.
#[derive(Debug, Default)]
pub struct Tally {
    hashes: BTreeMap<u64, u64>,
    /// Of each seed how many faults took effect.
    faults: BTreeMap<u64, u64>,
    classes: [ClassTally; Class::ALL.len()],
    partitioned: u64,
    /// Seeds with nodes enough for several data centres.
    large: u64,
    several: ClassTally,
    borders: ClassTally,
    outcomes: Outcomes,
    /// Of each seed with a cluster how much was decided in it.
    decisions: Vec<u64>,
    /// What users did, in the order in which it was told.
    exercises: Vec<(&'static str, ClassTally)>,
    /// Seeds in which there were users.
    used: u64,
    checks: Vec<(&'static str, u64, u64)>,
    violations: u64,
}

/// What came of one class of faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassTally {
    /// How many took effect.
    pub injected: u64,
    /// In how many seeds one did.
    pub seeds: u64,
}

impl ClassTally {
    fn add(&mut self, count: u64) {
        self.injected += count;
        self.seeds += u64::from(count > 0);
    }
}

/// The name of the invariant that one seed is one course of events.
const SAME_HASH: &str = "same-hash";

impl Tally {
    /// Adds what came of a seed.
    pub fn add(&mut self, report: &Report) {
        self.hashes.insert(report.seed, report.hash);
        self.faults.insert(report.seed, report.faults_total());
        for (class, count) in self.classes.iter_mut().zip(report.faults) {
            class.add(count);
        }
        self.partitioned += u64::from(report.was_partitioned);
        self.large += u64::from(report.nodes >= SEVERAL_FROM);
        self.several
            .add(report.data_centres.saturating_sub(1) as u64);
        self.borders.add(report.borders_cut);
        if let Some(outcomes) = &report.outcomes {
            self.outcomes.add(outcomes);
            self.decisions.push(outcomes.total());
        }
        self.used += u64::from(!report.exercises.is_empty());
        for (name, count) in &report.exercises {
            self.exercise(name, *count);
        }
        for checks in &report.checks {
            self.count(checks.name, checks.checks, checks.violations);
        }
        self.violations += u64::from(report.violation.is_some());
    }

    /// A seed was run again: what came of it the first time, and the second.
    ///
    /// # Errors
    /// When that is not the same.
    pub fn compare(&mut self, one: &Report, other: &Report) -> Result<(), Violation> {
        let differs = one != other;
        self.count(SAME_HASH, 1, differs.into());
        self.violations += u64::from(differs);
        if !differs {
            return Ok(());
        }
        Err(Violation {
            invariant: SAME_HASH,
            at: Instant::ZERO,
            message: format!("{:016x} first, then {:016x}", one.hash, other.hash),
        })
    }

    fn exercise(&mut self, name: &'static str, count: u64) {
        let place = self.exercises.iter().position(|(other, _)| *other == name);
        let place = place.unwrap_or_else(|| {
            self.exercises.push((name, ClassTally::default()));
            self.exercises.len() - 1
        });
        self.exercises[place].1.add(count);
    }

    fn count(&mut self, name: &'static str, checked: u64, wrong: u64) {
        let found = self.checks.iter_mut().find(|(other, ..)| *other == name);
        match found {
            Some((_, checks, violations)) => {
                *checks += checked;
                *violations += wrong;
            }
            None => self.checks.push((name, checked, wrong)),
        }
    }

    /// How many seeds there were.
    pub fn seeds(&self) -> u64 {
        self.faults.len() as u64
    }

    /// How many of them broke something, and how often one was another course of events than
    /// before.
    pub fn violations(&self) -> u64 {
        self.violations
    }

    /// What came of each class of faults.
    pub fn classes(&self) -> impl Iterator<Item = (Class, ClassTally)> {
        Class::ALL.into_iter().zip(self.classes)
    }

    /// What there was of data centres: those besides the first of each seed, and how often two were
    /// cut off from each other for as long as it takes to notice.
    pub fn data_centres(&self) -> [(&'static str, ClassTally); 2] {
        [("data-centres", self.several), ("border", self.borders)]
    }

    /// What the users of nodes did, how often, and in how many seeds; by name.
    pub fn exercises(&self) -> Vec<(&'static str, ClassTally)> {
        let mut exercises = self.exercises.clone();
        exercises.sort_unstable_by_key(|(name, _)| *name);
        exercises
    }

    /// In how many seeds there were users.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Each invariant, how much of it was checked, and how often it was broken; by name.
    pub fn checks(&self) -> Vec<(&'static str, u64, u64)> {
        let mut checks = self.checks.clone();
        checks.sort_unstable();
        checks
    }

    /// What became of the sides of split clusters.
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// The fewest faults of a seed, and the median.
    pub fn faults(&self) -> (u64, u64) {
        let mut faults: Vec<u64> = self.faults.values().copied().collect();
        faults.sort_unstable();
        let median = faults.get(faults.len() / 2);
        let both = faults.first().zip(median);
        both.map_or((0, 0), |(fewest, median)| (*fewest, *median))
    }

    /// The hash of all seeds, whatever the order in which they were added.
    pub fn hash(&self) -> u64 {
        let add = |hash: u64, (seed, trace): (&u64, &u64)| mix(mix(hash ^ seed) ^ trace);
        self.hashes.iter().fold(0, add)
    }

    /// What too few seeds showed, of those classes that there may be. Nothing is asked of fewer
    /// than [`COVERED_FROM`] seeds.
    pub fn gaps(&self, only: &[Class]) -> Vec<String> {
        let seeds = self.seeds();
        let mut gaps = Vec::new();
        if seeds < COVERED_FROM {
            return gaps;
        }
        let fewest = self.faults.iter().min_by_key(|(_, faults)| **faults);
        if let Some((seed, fewest)) = fewest.filter(|(_, faults)| **faults < FAULTS_MIN) {
            gaps.push(format!("seed {seed} had {fewest} faults, of {FAULTS_MIN}"));
        }
        let allowed = |class: &Class| only.is_empty() || only.contains(class);
        let mut ask_of = |what: &str, (found, of): (u64, u64), share: u64| {
            if found * 100 < of * share {
                gaps.push(format!("{what} in {found} of {of} seeds, not {share} %"));
            }
        };
        if only.is_empty() {
            let (several, cut) = (self.several.seeds, self.borders.seeds);
            ask_of("data centres", (several, self.large), SEVERAL_SHARE);
            ask_of("a cut between data centres", (cut, several), BORDER_SHARE);
        }
        let mut ask = |what: &str, found, share| ask_of(what, (found, seeds), share);
        for (class, tally) in self.classes().filter(|(class, _)| allowed(class)) {
            let share = match class {
                Class::Crash => LARGE_SHARE,
                _ => CLASS_SHARE,
            };
            ask(class.label(), tally.seeds, share);
        }
        if only.is_empty() {
            for (name, found) in self.exercises() {
                ask_of(name, (found.seeds, self.used), EXERCISE_SHARE);
            }
        }
        let mut ask = |what: &str, found, share| ask_of(what, (found, seeds), share);
        if only.is_empty() {
            ask("a long partition", self.partitioned, LARGE_SHARE);
            let deciding = self.decisions.iter().filter(|it| **it > 0).count() as u64;
            // The median is one at least where half of them are.
            if deciding * 2 < self.decisions.len() as u64 {
                let of = self.decisions.len();
                gaps.push(format!(
                    "decisions in {deciding} of {of} clusters, not half"
                ));
            }
        }
        gaps
    }
}

#[cfg(test)]
mod tests;
