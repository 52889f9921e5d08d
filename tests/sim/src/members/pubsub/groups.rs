//! Invariant 29: one member of a group gets what is published, wherever the members are.

use std::collections::BTreeSet;

use ringmesh_cluster::pubsub::{Audience, Policy};

use super::journal::{At, Entry, GROUPS, Reader};
use crate::invariant::Invariant;
use crate::members::Participant;
use crate::world::World;

/// Of each group at most one member gets a publish, or one on each core if that was asked for.
#[derive(Debug, Default)]
pub struct Groups {
    reader: Reader,
    /// Of each subscription the group.
    groups: Vec<Option<usize>>,
    /// Of each publish how it was published. They are numbered from 1 on.
    said: Vec<(Audience, Policy)>,
    /// Which groups got which publish, and on which core if that matters.
    got: BTreeSet<(u64, usize, Option<At>)>,
}

impl Groups {
    pub(super) fn judge(&mut self, entry: &Entry) -> Result<u64, String> {
        match entry {
            Entry::Subscribed(wanted) => self.groups.push(wanted.group),
            Entry::Published(it) => self.said.push((it.audience, it.policy)),
            Entry::Delivered {
                publish,
                at,
                subscription: Some(subscription),
                ..
            } => {
                let place = usize::try_from(*publish).unwrap_or(0).wrapping_sub(1);
                let said = self.said.get(place);
                let group = self.groups.get(*subscription).copied().flatten();
                let Some((group, (audience, policy))) = group.zip(said) else {
                    return Ok(0);
                };
                let name = GROUPS[group];
                if *audience == Audience::UngroupedOnly {
                    return Err(format!("publish {publish} for no group came to {name}"));
                }
                let core = (*policy == Policy::Broadcast).then_some(*at);
                if !self.got.insert((*publish, group, core)) {
                    return Err(format!("publish {publish} came to group {name} twice"));
                }
                return Ok(1);
            }
            _ => {}
        }
        Ok(0)
    }
}

impl Invariant<Participant> for Groups {
    fn name(&self) -> &'static str {
        "groups"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut reader = std::mem::take(&mut self.reader);
        let checked = reader.read(world, |entry| self.judge(entry));
        self.reader = reader;
        checked
    }
}
