//! Invariant 19: no core sleeps while something waits for it.

use super::Invariant;
use crate::machine::Machine;
use crate::world::World;

/// No core of a running process is idle with a non-empty inbox, or while its machine has something
/// to do there, nor its control core while the kernel has something to tell.
#[derive(Debug)]
pub struct Awake;

impl<M: Machine> Invariant<M> for Awake {
    fn name(&self) -> &'static str {
        "awake"
    }

    fn check(&mut self, world: &World<M>) -> Result<u64, String> {
        let mut checked = 0;
        for node in world.running() {
            for (core, (waiting, turns, _)) in world.core_states(node).enumerate() {
                checked += 1;
                let waits = waiting > 0
                    || world.wants_turn(node, core)
                    || core == 0 && world.is_ready(node);
                if waits && !turns {
                    return Err(format!("core {core} of node {node} sleeps over {waiting}"));
                }
            }
        }
        Ok(checked)
    }
}
