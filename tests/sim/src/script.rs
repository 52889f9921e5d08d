//! Scripts: what happens to a world, and when.

use std::fmt;
use std::time::Duration;

use crate::machine::Machine;
use crate::misfortune::Fault;
use crate::world::World;

/// Looks at a world.
pub type Check<M> = Box<dyn Fn(&World<M>) -> Result<(), String>>;

/// Does something to a world.
pub type Deed<M> = Box<dyn FnOnce(&mut World<M>)>;

/// One thing that happens to a world.
pub enum Step<M: Machine> {
    /// A process is started at a node.
    Start(usize),
    /// A fault begins; it is over after a while, or when the world is healed.
    Befall(Fault, Option<Duration>),
    /// All faults are over.
    Heal,
    /// The user of a node wants something.
    Command(usize, M::Command),
    /// Something has to be so by now: what, and whether it is.
    Expect(&'static str, Check<M>),
    /// Anything else: a fault of one's own is written with this.
    Do(Deed<M>),
}

impl<M: Machine> fmt::Debug for Step<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(node) => write!(f, "Start({node})"),
            Self::Befall(fault, lasts) => write!(f, "Befall({fault:?}, {lasts:?})"),
            Self::Heal => f.write_str("Heal"),
            Self::Command(node, command) => write!(f, "Command({node}, {command:?})"),
            Self::Expect(what, _) => write!(f, "Expect({what})"),
            Self::Do(_) => f.write_str("Do(..)"),
        }
    }
}

/// Steps, each with its time. Random courses of events are made of the same.
///
/// A regression is kept as a script: a seed means nothing once the code has changed.
#[derive(Debug)]
pub struct Script<M: Machine> {
    steps: Vec<(Duration, Step<M>)>,
    /// When the next step happens.
    at: Duration,
}

impl<M: Machine> Default for Script<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Machine> Script<M> {
    /// A script in which nothing happens.
    pub fn new() -> Self {
        Self {
            steps: Vec::new(),
            at: Duration::ZERO,
        }
    }

    /// What follows happens so long after the beginning.
    #[must_use]
    pub fn at(mut self, time: Duration) -> Self {
        self.at = time;
        self
    }

    /// What follows happens so much later.
    #[must_use]
    pub fn after(mut self, span: Duration) -> Self {
        self.at += span;
        self
    }

    /// Any step.
    #[must_use]
    pub fn step(mut self, step: Step<M>) -> Self {
        self.steps.push((self.at, step));
        self
    }

    /// Processes are started at these nodes.
    #[must_use]
    pub fn start(self, nodes: impl IntoIterator<Item = usize>) -> Self {
        let starts = nodes.into_iter().map(Step::Start);
        starts.fold(self, Self::step)
    }

    /// A fault begins, and stays until the world is healed.
    #[must_use]
    pub fn befall(self, fault: Fault) -> Self {
        self.step(Step::Befall(fault, None))
    }

    /// A fault begins, and is over after a while.
    #[must_use]
    pub fn befall_for(self, lasts: Duration, fault: Fault) -> Self {
        self.step(Step::Befall(fault, Some(lasts)))
    }

    /// All faults are over.
    #[must_use]
    pub fn heal(self) -> Self {
        self.step(Step::Heal)
    }

    /// The user of a node wants something.
    #[must_use]
    pub fn command(self, node: usize, command: M::Command) -> Self {
        self.step(Step::Command(node, command))
    }

    /// Something has to be so.
    #[must_use]
    pub fn expect(
        self,
        what: &'static str,
        check: impl Fn(&World<M>) -> Result<(), String> + 'static,
    ) -> Self {
        self.step(Step::Expect(what, Box::new(check)))
    }

    /// When the last step happens.
    pub fn end(&self) -> Duration {
        let times = self.steps.iter().map(|(at, _)| *at);
        times.max().unwrap_or_default()
    }

    /// The steps in the order in which they were written.
    pub fn into_steps(self) -> Vec<(Duration, Step<M>)> {
        self.steps
    }
}
