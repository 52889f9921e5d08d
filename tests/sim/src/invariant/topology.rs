//! Invariant 16: all cores of a node know the same topology, and never an older one than before.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::Invariant;
use crate::happening::Happening;
use crate::machine::Machine;
use crate::world::World;

/// What a version takes from the control core to another one.
const LATENESS: Duration = Duration::from_millis(10);

/// How long after a fault of its cores a node may still be busy with what that left behind.
const AFTERMATH: Duration = Duration::from_secs(5);

/// The version that a core knows never falls, and is that of the control core 10 ms after it
/// changed there, unless something keeps the core from taking its turns.
#[derive(Debug, Default)]
pub struct Topologies {
    known: BTreeMap<(usize, usize), u64>,
    /// When the control core of a node learned of its version.
    changed: BTreeMap<usize, Instant>,
    /// When something was seen to hinder a node.
    hindered: BTreeMap<usize, Instant>,
}

impl<M: Machine> Invariant<M> for Topologies {
    fn name(&self) -> &'static str {
        "topologies"
    }

    fn observe(&mut self, world: &World<M>, happening: &Happening) -> Result<u64, String> {
        match *happening {
            Happening::Started { node, .. } => {
                self.known.retain(|(of, _), _| *of != node);
                self.hindered.insert(node, world.now());
                Ok(0)
            }
            Happening::Topology {
                node,
                core,
                version,
            } => {
                if core == 0 {
                    self.changed.insert(node, world.now());
                }
                if world.is_hindered(node) {
                    self.hindered.insert(node, world.now());
                }
                let last = self.known.insert((node, core), version);
                match last.filter(|last| *last > version) {
                    None => Ok(1),
                    Some(last) => Err(format!(
                        "core {core} of node {node} knew version {last}, and now {version}"
                    )),
                }
            }
            _ => Ok(0),
        }
    }

    fn check(&mut self, world: &World<M>) -> Result<u64, String> {
        let mut checked = 0;
        let now = world.now();
        for node in world.running() {
            if world.is_hindered(node) {
                self.hindered.insert(node, now);
            }
            let hindered = self.hindered.get(&node);
            let changed = self.changed.get(&node);
            if hindered.is_some_and(|at| now - *at < AFTERMATH)
                || changed.is_none_or(|at| now - *at < LATENESS)
            {
                continue;
            }
            let versions = world.topologies(node);
            checked += versions.len() as u64;
            if versions.iter().any(|version| *version != versions[0]) {
                return Err(format!("the cores of node {node} know {versions:?}"));
            }
        }
        Ok(checked)
    }
}
