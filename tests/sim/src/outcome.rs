//! What became of the sides of split clusters.

use std::collections::BTreeMap;

/// What a machine decided of a split cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// By which strategy.
    pub strategy: &'static str,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of whoever decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It goes on, without others.
    Kept,
    /// It goes down itself.
    DownedSelf,
    /// It goes down because all do, on whichever side they are.
    DownAll,
}

/// How often each came about, by strategy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes(BTreeMap<&'static str, [u64; 3]>);

impl Outcomes {
    /// A strategy by which things are decided, though nothing has been yet.
    pub fn expect(&mut self, strategy: &'static str) {
        self.0.entry(strategy).or_default();
    }

    /// Something was decided.
    pub fn count(&mut self, outcome: Outcome) {
        self.0.entry(outcome.strategy).or_default()[outcome.fate as usize] += 1;
    }

    /// Adds others.
    pub fn add(&mut self, others: &Self) {
        for (strategy, counts) in &others.0 {
            let known = self.0.entry(strategy).or_default();
            known
                .iter_mut()
                .zip(counts)
                .for_each(|(it, more)| *it += more);
        }
    }

    /// How much was decided.
    pub fn total(&self) -> u64 {
        self.0.values().flatten().sum()
    }

    /// Each strategy by name, with how often some were kept, some went down themselves, and all
    /// went down.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, [u64; 3])> {
        self.0.iter().map(|(strategy, counts)| (*strategy, *counts))
    }
}
