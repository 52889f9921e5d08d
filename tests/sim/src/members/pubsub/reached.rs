//! Invariant 30: what is published reaches whoever has subscribed, as far as that is confirmed.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_cluster::pubsub::{Audience, Policy};
use ringmesh_proto::address::Uid;

use super::journal::{Entry, Exercise, GROUPS, Leg, Published, Reader, Taken, Wanted};
use crate::invariant::Invariant;
use crate::members::Participant;
use crate::world::World;

/// A subscription that has not ended.
#[derive(Debug)]
struct Subscription {
    wanted: Wanted,
    /// The nodes that know of it.
    known: Vec<Uid>,
}

/// What a node is to do with a publish.
#[derive(Debug, Default)]
struct Wait {
    /// How much of it is under way there.
    legs: u32,
    /// The subscriptions to which it is to come, by number.
    due: Vec<usize>,
}

/// The groups that are to get the publish that is being made, and those that do.
#[derive(Debug, Default)]
struct Due {
    groups: u8,
    found: u8,
    is_for_groups: bool,
    /// Those of which the core of the publisher is to have one, and has.
    groups_here: u8,
    found_here: u8,
}

/// What a core publishes comes to each subscription of which its node has confirmed that all its
/// cores know, and to each of that core: unless it ends meanwhile, or the publisher cannot reach
/// its node, has no room for it or leaves it out, which is counted; or the link ends. A group with
/// such a subscription is looked for. Whoever is given a publish has it come to all for whom it is.
#[derive(Debug, Default)]
pub struct Reached {
    reader: Reader,
    /// Of each that began; `None` if it has ended.
    subscriptions: Vec<Option<Subscription>>,
    /// Of each that began the group, for good: who leaves still gets what it publishes.
    groups: Vec<Option<usize>>,
    /// Those that have not.
    alive: BTreeSet<usize>,
    waits: BTreeMap<(u64, Uid), Wait>,
    now: Due,
    demanded: u64,
}

impl Reached {
    fn publish(&mut self, it: &Published) -> Result<u64, String> {
        let own = it.at.0;
        self.now = Due {
            found: it.groups,
            is_for_groups: it.audience != Audience::UngroupedOnly && !it.is_crowded,
            ..Due::default()
        };
        self.waits.entry((it.number, own)).or_default().legs += 1;
        for number in &self.alive {
            let Some(Some(Subscription { wanted, known })) = self.subscriptions.get(*number) else {
                continue;
            };
            let (node, core) = wanted.at;
            let is_here = wanted.at == it.at;
            let is_wanted = wanted.topics & 1 << it.topic != 0 && wanted.kind == it.kind;
            if !is_wanted || !(is_here || known.contains(&own)) {
                continue;
            }
            let is_apart = !is_here && !it.reachable.contains(&node);
            if is_apart && it.apart.contains(&node) && it.unreached == 0 {
                return Err(format!(
                    "publish {} does not count that {node} cannot be reached",
                    it.number
                ));
            }
            let is_left_out = node != own && it.role.is_some_and(|it| !it.has(node));
            if is_apart || is_left_out {
                continue;
            }
            if let Some(group) = wanted.group {
                self.now.groups |= 1 << group;
                let is_for_here = is_here && it.policy == Policy::Broadcast;
                self.now.groups_here |= u8::from(is_for_here) << group;
                continue;
            }
            if it.audience == Audience::GroupsOnly || it.blocked.contains(&node) {
                continue;
            }
            let core_gets_it = it.cores.iter().any(|it| it.0 == core);
            let is_given = match node == own {
                true => is_here || core_gets_it,
                false => it.stops.iter().any(|it| it.0 == node),
            };
            if !is_given {
                return Err(format!(
                    "publish {} of {:?} does not go to {:?}, who has a confirmed subscription",
                    it.number, it.at, wanted.at
                ));
            }
            let wait = self.waits.entry((it.number, node)).or_default();
            wait.due.push(*number);
        }
        Ok(0)
    }

    fn take(&mut self, taken: &Taken) -> Result<u64, String> {
        let (publish, at) = (taken.publish, taken.at);
        if taken.leg == Leg::Publish && self.now.is_for_groups {
            let lost_here = self.now.groups_here & !self.now.found_here;
            let lost = self.now.groups & !self.now.found | lost_here;
            if let Some(group) = (0..GROUPS.len()).find(|it| lost & 1 << it != 0) {
                let name = GROUPS[group];
                return Err(format!(
                    "publish {publish} of {at:?} is for no member of group {name}, which has some"
                ));
            }
        }
        let of = (publish, at.0);
        let Some(wait) = self.waits.get_mut(&of) else {
            return Err(format!("publish {publish} came to {at:?} by no way"));
        };
        wait.legs -= 1;
        if wait.legs > 0 {
            return Ok(1);
        }
        let due = self.waits.remove(&of).map(|it| it.due);
        let mut due = due.unwrap_or_default().into_iter();
        let missed = due.find_map(|it| self.subscriptions.get(it)?.as_ref());
        match missed {
            Some(it) => Err(format!(
                "publish {publish} came to {} and not to {it:?}",
                at.0
            )),
            None => Ok(1),
        }
    }

    fn end(&mut self, subscription: usize) {
        self.alive.remove(&subscription);
        if let Some(ended) = self.subscriptions.get_mut(subscription) {
            *ended = None;
        }
    }

    pub(super) fn judge(&mut self, entry: &Entry) -> Result<u64, String> {
        match entry {
            Entry::Subscribed(wanted) => {
                self.alive.insert(self.subscriptions.len());
                self.groups.push(wanted.group);
                self.subscriptions.push(Some(Subscription {
                    wanted: *wanted,
                    known: Vec::new(),
                }));
            }
            Entry::Confirmed {
                subscription,
                nodes,
            } => {
                let known = self.subscriptions.get_mut(*subscription);
                if let Some(Some(it)) = known {
                    it.known.extend_from_slice(nodes);
                }
            }
            Entry::Ended { subscription } => self.end(*subscription),
            Entry::Departed(uid) => self.end_all(|it| it != *uid),
            Entry::Published(it) => return self.publish(it),
            Entry::Handed { publish, to, .. } => {
                self.waits.entry((*publish, *to)).or_default().legs += 1;
            }
            Entry::Shared { publish, node } => {
                self.waits.entry((*publish, *node)).or_default().legs += 1;
            }
            Entry::Unshared { publish, to } => {
                let Self {
                    waits,
                    subscriptions,
                    ..
                } = self;
                if let Some(wait) = waits.get_mut(&(*publish, to.0)) {
                    wait.due.retain(|it| {
                        let known = subscriptions.get(*it).and_then(Option::as_ref);
                        known.is_some_and(|it| it.wanted.at != *to)
                    });
                }
            }
            Entry::Taken(taken) => return self.take(taken),
            Entry::Delivered {
                publish,
                at,
                subscription: Some(subscription),
                ..
            } => {
                let group = self.groups.get(*subscription).copied().flatten();
                let bit = group.map_or(0, |it| 1 << it);
                self.now.found |= bit;
                self.now.found_here |= bit;
                if let Some(wait) = self.waits.get_mut(&(*publish, at.0)) {
                    let before = wait.due.len();
                    wait.due.retain(|it| it != subscription);
                    self.demanded += (before - wait.due.len()) as u64;
                }
            }
            _ => {}
        }
        Ok(0)
    }

    /// The subscriptions of all other processes than these end.
    fn end_all(&mut self, goes_on: impl Fn(Uid) -> bool) {
        let Self {
            alive,
            subscriptions,
            ..
        } = self;
        alive.retain(|number| {
            let place = &mut subscriptions[*number];
            let stays = place.as_ref().is_some_and(|it| goes_on(it.wanted.at.0));
            if !stays {
                *place = None;
            }
            stays
        });
    }
}

impl Invariant<Participant> for Reached {
    fn name(&self) -> &'static str {
        "reached"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut reader = std::mem::take(&mut self.reader);
        let checked = reader.read(world, |entry| self.judge(entry));
        reader.count(Exercise::Demanded, std::mem::take(&mut self.demanded));
        self.reader = reader;
        let running: Vec<Uid> = world.running().filter_map(|it| world.uid(it)).collect();
        self.end_all(|uid| running.contains(&uid));
        checked
    }
}
