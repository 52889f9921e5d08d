//! Invariant 18: whoever is told that its time is up lets it pass.

use super::Invariant;
use crate::happening::Happening;
use crate::machine::Machine;
use crate::world::World;

/// Behind `handle_timeout(now)` nothing is due at `now` any more. That the world itself does not
/// stand still, it sees to by itself: after 10,000 steps in one instant a run has failed.
#[derive(Debug)]
pub struct Progress;

impl<M: Machine> Invariant<M> for Progress {
    fn name(&self) -> &'static str {
        "progress"
    }

    fn observe(&mut self, _: &World<M>, happening: &Happening) -> Result<u64, String> {
        let Happening::TimedOut { node, now, next } = *happening else {
            return Ok(0);
        };
        match next {
            Some(next) if next <= now => Err(format!(
                "node {node} was told that it is {now:?}, and wants to be told so at {next:?}"
            )),
            _ => Ok(1),
        }
    }
}
