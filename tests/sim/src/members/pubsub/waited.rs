//! Whoever waits for room does so for as long as it may, and no longer.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::journal::{Entry, Reader};
use crate::invariant::Invariant;
use crate::members::Participant;
use crate::world::World;

/// So long something waits at most, and its core for its turn.
const WAITS: Duration = Duration::from_secs(15);

/// Nothing that waits for room at a core or a subscriber is given up before its time is over, and
/// nothing waits for much longer. The machines do not wait, those that drive them do: here that is
/// the simulated core, so this judges whether what it says of the other judges is sound.
#[derive(Debug, Default)]
pub struct Waited {
    reader: Reader,
    /// Who waits, and since when.
    waiting: BTreeMap<u64, (Uid, Instant)>,
}

impl Waited {
    pub(super) fn judge(&mut self, now: Instant, entry: &Entry) -> Result<u64, String> {
        match *entry {
            Entry::Waits { number, node } => {
                self.waiting.insert(number, (node, now));
                Ok(0)
            }
            Entry::Waited {
                number,
                left,
                is_given_up,
            } => {
                if self.waiting.remove(&number).is_none() {
                    return Err(format!("wait {number} is over, and did not begin"));
                }
                match is_given_up && !left.is_zero() {
                    true => Err(format!("wait {number} is given up {left:?} too early")),
                    false => Ok(1),
                }
            }
            _ => Ok(0),
        }
    }
}

impl Invariant<Participant> for Waited {
    fn name(&self) -> &'static str {
        "waited"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut reader = std::mem::take(&mut self.reader);
        let checked = reader.read(world, |entry| self.judge(world.now(), entry));
        self.reader = reader;
        let running: Vec<Uid> = world.running().filter_map(|it| world.uid(it)).collect();
        self.waiting.retain(|_, it| running.contains(&it.0));
        checked
    }

    fn finish(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let checked = self.check(world)?;
        let now = world.now();
        match self.waiting.iter().find(|(_, it)| now - it.1 >= WAITS) {
            Some((number, it)) => Err(format!("wait {number} does not end: {it:?}")),
            None => Ok(checked),
        }
    }
}
