//! Invariant 17: no queue, buffer or table is over its bound.

use super::Invariant;
use crate::happening::Happening;
use crate::machine::{ACTS_MAX, Machine};
use crate::network::BACKLOG;
use crate::node::INBOX_MAX;
use crate::world::World;

/// Events that wait, per node: a world that is left alone has a few dozen.
const EVENTS_PER_NODE: usize = 10_000;

/// Connections of a node, for each other node: one that is used, and those on their way out.
const CONNECTIONS_PER_PEER: usize = 64;

/// Whatever waits, anywhere, is within its bound.
#[derive(Debug)]
pub struct Bounds;

fn within(what: &str, node: usize, found: usize, bound: usize) -> Result<u64, String> {
    match found <= bound {
        true => Ok(1),
        false => Err(format!(
            "node {node}: {what}: {found}, the bound is {bound}"
        )),
    }
}

impl<M: Machine> Invariant<M> for Bounds {
    fn name(&self) -> &'static str {
        "bounds"
    }

    fn observe(&mut self, _: &World<M>, happening: &Happening) -> Result<u64, String> {
        match *happening {
            Happening::Acted { node, acts } => within("acts of a call", node, acts, ACTS_MAX),
            _ => Ok(0),
        }
    }

    fn check(&mut self, world: &World<M>) -> Result<u64, String> {
        let nodes = world.nodes();
        let mut checked = within("events", 0, world.events_waiting(), EVENTS_PER_NODE * nodes)?;
        let (bytes, bound) = world.fullest_buffer();
        checked += within("bytes of a connection", 0, bytes, bound)?;
        for node in world.running() {
            for (waiting, ..) in world.core_states(node) {
                checked += within("an inbox", node, waiting, INBOX_MAX)?;
            }
            let (backlog, connections) = world.kernel_queues(node);
            checked += within("the backlog", node, backlog, BACKLOG)?;
            let most = CONNECTIONS_PER_PEER * nodes;
            checked += within("connections", node, connections, most)?;
            let (retained, window) = world.most_retained(node);
            checked += within("a window", node, retained as usize, window as usize)?;
        }
        Ok(checked)
    }
}
