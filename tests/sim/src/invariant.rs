//! What has to hold, whatever befalls a world.
//!
//! Each invariant hears of everything that happens, and looks at the whole world once in each
//! virtual second. One that is broken ends the run.

mod awake;
mod bounds;
mod ledger;
mod progress;
mod topology;

use ringmesh_proto::time::Instant;

use crate::happening::Happening;
use crate::machine::Machine;
use crate::world::World;

pub use self::awake::Awake;
pub use self::bounds::Bounds;
pub use self::ledger::Ledger;
pub use self::progress::Progress;
pub use self::topology::Topologies;

/// Something that has to hold. What is checked is counted: an invariant that never looked has shown
/// nothing.
pub trait Invariant<M: Machine> {
    /// Its name, in reports.
    fn name(&self) -> &'static str;

    /// Something happened. Returns how much was checked.
    ///
    /// # Errors
    /// What is wrong.
    fn observe(&mut self, world: &World<M>, happening: &Happening) -> Result<u64, String> {
        let _ = (world, happening);
        Ok(0)
    }

    /// The machine of a node published an event. Returns how much was checked.
    ///
    /// # Errors
    /// What is wrong.
    fn observe_event(
        &mut self,
        world: &World<M>,
        node: usize,
        event: &M::Event,
    ) -> Result<u64, String> {
        let _ = (world, node, event);
        Ok(0)
    }

    /// Looks at the whole world. Returns how much was checked.
    ///
    /// # Errors
    /// What is wrong.
    fn check(&mut self, world: &World<M>) -> Result<u64, String> {
        let _ = world;
        Ok(0)
    }

    /// The run is over, and nothing was wrong for a while. Returns how much was checked.
    ///
    /// # Errors
    /// What is wrong.
    fn finish(&mut self, world: &World<M>) -> Result<u64, String> {
        self.check(world)
    }
}

/// An invariant was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} is broken at {at:?}: {message}")]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// When.
    pub at: Instant,
    /// What is wrong.
    pub message: String,
}

/// What was checked of an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// Its name.
    pub name: &'static str,
    /// How much was checked.
    pub checks: u64,
    /// How much was wrong.
    pub violations: u64,
}

/// The invariants of a world, with what was checked of each.
pub(crate) struct Registry<M: Machine> {
    entries: Vec<(Box<dyn Invariant<M>>, Checks)>,
}

impl<M: Machine> Registry<M> {
    /// Those over bytes, queues and time, which hold for any machine.
    pub(crate) fn standard() -> Self {
        let mut registry = Self {
            entries: Vec::new(),
        };
        registry.add(Box::new(Bounds));
        registry.add(Box::new(Progress));
        registry.add(Box::new(Awake));
        registry.add(Box::new(Ledger::default()));
        registry.add(Box::new(Topologies::default()));
        registry
    }

    pub(crate) fn add(&mut self, invariant: Box<dyn Invariant<M>>) {
        let checks = Checks {
            name: invariant.name(),
            checks: 0,
            violations: 0,
        };
        self.entries.push((invariant, checks));
    }

    /// Has each invariant look; returns what the first found wrong.
    pub(crate) fn judge(
        &mut self,
        world: &World<M>,
        mut look: impl FnMut(&mut dyn Invariant<M>) -> Result<u64, String>,
    ) -> Option<Violation> {
        let mut first = None;
        for (invariant, checks) in &mut self.entries {
            match look(&mut **invariant) {
                Ok(checked) => checks.checks += checked,
                Err(message) => {
                    checks.checks += 1;
                    checks.violations += 1;
                    first.get_or_insert_with(|| Violation {
                        invariant: checks.name,
                        at: world.now(),
                        message,
                    });
                }
            }
        }
        first
    }

    pub(crate) fn checks(&self) -> Vec<Checks> {
        self.entries.iter().map(|(_, checks)| *checks).collect()
    }
}
