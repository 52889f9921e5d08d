//! What a publisher is told that its publish has reached is what it has reached.

use std::collections::BTreeMap;
use std::time::Duration;

use ringmesh_cluster::pubsub::Outcome;
use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::journal::{Entry, Leg, Published, Reader};
use crate::invariant::Invariant;
use crate::members::Participant;
use crate::world::World;

/// So long a publisher waits at most, and its core for its turn.
const ASKED: Duration = Duration::from_secs(15);

/// A publish whose publisher waits for answers.
#[derive(Debug)]
struct Asked {
    own: Uid,
    since: Instant,
    /// The nodes that a frame went to.
    stops: Vec<Uid>,
    /// Of each node how many subscribers have it in their queues.
    taken: BTreeMap<Uid, u64>,
    /// Whether another node sent it on, whose answers nobody waits for.
    is_sent_on: bool,
    /// In how many ways it is under way on the own node.
    legs_here: u32,
}

/// The answer to a publish never says more subscribers, or nodes, than have it; if it is complete
/// it says all of them, unless another node has sent it on. Whom it names as missing or lost the
/// publish went to, and the own node is neither once all its cores are done. A publisher that still
/// runs is told in time.
#[derive(Debug, Default)]
pub struct Answered {
    reader: Reader,
    asked: BTreeMap<u64, Asked>,
}

impl Answered {
    fn publish(&mut self, now: Instant, it: &Published) {
        if it.is_asked {
            let asked = Asked {
                own: it.at.0,
                since: now,
                stops: it.stops.iter().map(|it| it.0).collect(),
                taken: BTreeMap::new(),
                is_sent_on: false,
                legs_here: 1,
            };
            self.asked.insert(it.number, asked);
        }
    }

    pub(super) fn judge(&mut self, now: Instant, entry: &Entry) -> Result<u64, String> {
        match *entry {
            Entry::Published(ref it) => self.publish(now, it),
            Entry::Handed {
                publish,
                group: Some(_),
                ..
            } => {
                if let Some(it) = self.asked.get_mut(&publish) {
                    it.is_sent_on = true;
                }
            }
            Entry::Shared { publish, node } => {
                if let Some(it) = self.asked.get_mut(&publish) {
                    it.legs_here += u32::from(it.own == node);
                }
            }
            Entry::Taken(taken) => {
                if let Some(it) = self.asked.get_mut(&taken.publish) {
                    let is_here = it.own == taken.at.0 && !matches!(taken.leg, Leg::Frame(_));
                    it.legs_here -= u32::from(is_here);
                }
            }
            Entry::Delivered {
                publish,
                at,
                subscription: Some(_),
                is_taken: true,
                ..
            } => {
                if let Some(it) = self.asked.get_mut(&publish) {
                    *it.taken.entry(at.0).or_default() += 1;
                }
            }
            Entry::Answered {
                publish,
                ref outcome,
            } => {
                let Some(asked) = self.asked.remove(&publish) else {
                    return Err(format!("publish {publish} is answered, and not asked"));
                };
                return match asked.judge(outcome) {
                    Ok(()) => Ok(1),
                    Err(why) => {
                        let what = format!("the answer to publish {publish} {why}");
                        Err(format!("{what}: {outcome:?}, {asked:?}"))
                    }
                };
            }
            _ => {}
        }
        Ok(0)
    }
}

impl Asked {
    fn judge(&self, outcome: &Outcome) -> Result<(), &'static str> {
        let (nodes, subscribers) = (self.taken.len() as u64, self.taken.values().sum::<u64>());
        let said = (u64::from(outcome.nodes), outcome.subscribers);
        if said.0 > nodes || said.1 > subscribers {
            return Err("says more than have it");
        }
        let is_all = said == (nodes, subscribers);
        if outcome.is_complete() && !self.is_sent_on && !is_all {
            return Err("is complete, and says fewer than have it");
        }
        let mut apart = outcome.missing.iter().chain(&outcome.lost);
        if apart.any(|it| *it != self.own && !self.stops.contains(it)) {
            return Err("names a node that it did not go to");
        }
        if self.legs_here == 0 && outcome.missing.contains(&self.own) {
            return Err("misses its own node, which is done");
        }
        Ok(())
    }
}

impl Invariant<Participant> for Answered {
    fn name(&self) -> &'static str {
        "answered"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut reader = std::mem::take(&mut self.reader);
        let checked = reader.read(world, |entry| self.judge(world.now(), entry));
        self.reader = reader;
        let running: Vec<Uid> = world.running().filter_map(|it| world.uid(it)).collect();
        self.asked.retain(|_, it| running.contains(&it.own));
        checked
    }

    fn finish(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let checked = self.check(world)?;
        let now = world.now();
        match self.asked.iter().find(|(_, it)| now - it.since >= ASKED) {
            Some((publish, it)) => Err(format!("publish {publish} is not answered: {it:?}")),
            None => Ok(checked),
        }
    }
}
