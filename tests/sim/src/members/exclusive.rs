//! What is done under a lease is done by one at a time: whoever holds it has stopped, by its own
//! clock, before it is given to another one.

use ringmesh_cluster::lease::{LeaseName, Token};

use super::data_centres::NAMES;
use super::downing::lease;
use super::worker::work;
use super::{Downing, Participant};
use crate::happening::Happening;
use crate::invariant::Invariant;
use crate::world::World;

/// At no time do two nodes hold a lease as they say themselves, nor does one by a token that is not
/// the last that was given out. Processes that stand still count, for their clocks do not.
#[derive(Debug, Default)]
pub struct Exclusive;

/// By which token a node holds a lease now, as it says.
fn held(world: &World<Participant>, node: usize, name: &LeaseName) -> Option<Token> {
    let machine = world.machine(node)?;
    machine.holds(world.clock(node).read(world.now()), name)
}

fn judge(world: &World<Participant>, name: &LeaseName) -> Result<u64, String> {
    let running = world.running();
    let holders: Vec<(usize, Token)> = running
        .filter_map(|node| Some((node, held(world, node, name)?)))
        .collect();
    if holders.len() > 1 {
        return Err(format!("nodes and tokens {holders:?} hold {name}"));
    }
    let last = world.store().last_token(name);
    match holders.first() {
        Some((node, token)) if Some(*token) != last => Err(format!(
            "node {node} holds {name} by {token}, and {last:?} was given out"
        )),
        Some(_) => Ok(1),
        None => Ok(0),
    }
}

impl Invariant<Participant> for Exclusive {
    fn name(&self) -> &'static str {
        "exclusive"
    }

    fn observe(
        &mut self,
        world: &World<Participant>,
        happening: &Happening,
    ) -> Result<u64, String> {
        match happening {
            Happening::Granted { number } => judge(world, &world.store().grants()[*number].name),
            _ => Ok(0),
        }
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let all = NAMES.map(lease).into_iter().chain([work()]);
        all.map(|name| judge(world, &name)).sum()
    }
}

impl Exclusive {
    /// What has to hold where that decides which side goes on.
    pub fn by(downing: Downing) -> Option<Box<dyn Invariant<Participant>>> {
        (downing == Downing::LeaseMajority).then(|| Box::new(Self) as _)
    }
}
