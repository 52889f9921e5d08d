//! Invariant 31: a publish takes one frame to each node, and one more for a group that had emptied.

use std::collections::BTreeSet;

use ringmesh_cluster::pubsub::Policy;
use ringmesh_proto::address::Uid;

use super::journal::{Entry, GROUPS, Published, Reader};
use crate::invariant::Invariant;
use crate::members::Participant;
use crate::world::World;

/// To each node goes at most one frame of a publish, and to none that its publisher knows as
/// unreachable; each group is sent on once at most.
#[derive(Debug, Default)]
pub struct Frames {
    reader: Reader,
    /// Of each publish whether it was for members on all cores. They are numbered from 1 on.
    are_broadcast: Vec<bool>,
    sent: BTreeSet<(u64, Uid)>,
    sent_on: BTreeSet<(u64, usize)>,
}

impl Frames {
    fn publish(&mut self, it: &Published) -> Result<u64, String> {
        self.are_broadcast.push(it.policy == Policy::Broadcast);
        let is_wrong = |node: &Uid| *node == it.at.0 || !it.reachable.contains(node);
        let mut nodes = it.stops.iter().map(|it| it.0);
        match nodes.find(is_wrong) {
            Some(node) => {
                let number = it.number;
                Err(format!("publish {number} goes to {node}, out of reach"))
            }
            None => Ok(it.stops.len() as u64),
        }
    }

    pub(super) fn judge(&mut self, entry: &Entry) -> Result<u64, String> {
        match *entry {
            Entry::Published(ref it) => self.publish(it),
            Entry::Handed {
                publish,
                to,
                group: None,
                ..
            } => match self.sent.insert((publish, to)) {
                true => Ok(1),
                false => Err(format!("publish {publish} went to {to} in two frames")),
            },
            Entry::Handed {
                publish,
                group: Some(group),
                ..
            } => {
                let place = usize::try_from(publish).unwrap_or(0).wrapping_sub(1);
                let is_one = self.are_broadcast.get(place) == Some(&false);
                if is_one && !self.sent_on.insert((publish, group)) {
                    let name = GROUPS[group];
                    return Err(format!("publish {publish} was sent on for {name} twice"));
                }
                Ok(is_one.into())
            }
            _ => Ok(0),
        }
    }
}

impl Invariant<Participant> for Frames {
    fn name(&self) -> &'static str {
        "frames"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut reader = std::mem::take(&mut self.reader);
        let checked = reader.read(world, |entry| self.judge(entry));
        self.reader = reader;
        checked
    }
}
