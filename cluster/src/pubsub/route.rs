//! Where what is published to one topic goes, from one core.

use std::sync::Arc;

use ringmesh_proto::address::{CoreId, Uid};

use super::cache::Basis;
use super::choice::{Candidate, Candidates};
use super::cores::Cores;
use super::key::Meaning;
use super::limits::GROUPS_OF_TOPIC_MAX;
use super::name::Topic;
use super::shape::mix;
use super::topics::{Owner, Topics};
use crate::registry::{Entry, EntryId, Standing};

/// Another node with subscribers of the topic: it gets one frame for each publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The node.
    pub node: Uid,
    /// The core that the frame goes to. It stays the same as long as it has any subscribers, so
    /// that what is published first arrives first.
    pub core: CoreId,
    /// How many subscriptions without a group there are on the node.
    pub subscribers: u32,
    /// The one entry of the node for the topic, if it is of this very name and in no group: the
    /// frame may name it instead of the topic. With several of them it may not, for one that was
    /// withdrawn meanwhile must not hide the others.
    pub(super) only: Option<EntryId>,
}

/// A group, and where its members are.
#[derive(Clone, Debug)]
pub(super) struct GroupRoute {
    pub(super) name: Arc<str>,
    pub(super) members: Candidates,
}

/// Subscriptions that a publish does not reach because their nodes cannot be, or come or go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unreached {
    /// How many nodes.
    pub nodes: u32,
    /// How many subscriptions, those in groups among them.
    pub subscribers: u32,
}

/// Where what is published to one topic goes, from one core.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    /// Other nodes, by uid.
    pub(super) stops: Vec<Stop>,
    /// The other cores of the own node with subscriptions in no group.
    pub(super) cores: Cores,
    /// By name.
    pub(super) groups: Vec<GroupRoute>,
    pub(super) unreached: Unreached,
    /// How many subscribe with another message type, on all nodes.
    pub(super) other_type: u32,
    /// How many announced members of groups are left out, because the topic has too many groups.
    pub(super) over: u32,
}

/// What is found of one node.
struct Found {
    node: Uid,
    open: Cores,
    grouped: Cores,
    subscribers: u32,
    entries: u32,
    only: Option<EntryId>,
}

/// What a route is made of.
struct Builder<'a> {
    own: (Uid, CoreId),
    topic: Topic<'a>,
    protocol: u64,
    route: Route,
    found: Vec<Found>,
    unreached: Vec<Uid>,
}

impl Route {
    /// The route of a topic and message type as it is now. Of the one before it keeps the cores and
    /// whose turn it is.
    pub(super) fn build(
        topics: &Topics,
        core: CoreId,
        (topic, protocol): (Topic<'_>, u64),
        before: Option<&Self>,
    ) -> (Self, Basis) {
        let mut builder = Builder {
            own: (topics.own(), core),
            topic,
            protocol,
            route: Self::default(),
            found: Vec::new(),
            unreached: Vec::new(),
        };
        let basis = topics.visit(topic, |owner, entry, meaning| {
            builder.add(owner, entry, meaning);
        });
        (builder.finish(before), basis)
    }

    /// How many receivers it names.
    pub(super) fn cost(&self) -> usize {
        let members = self.groups.iter().map(|it| 2 + it.members.len());
        2 + self.stops.len() + members.sum::<usize>()
    }

    /// Which of the groups has that name.
    pub(super) fn group(&self, name: &str) -> Option<usize> {
        self.groups.binary_search_by(|it| (*it.name).cmp(name)).ok()
    }

    /// Which of the stops is that node.
    pub(super) fn stop(&self, node: Uid) -> Option<usize> {
        self.stops.binary_search_by_key(&node, |it| it.node).ok()
    }
}

impl Builder<'_> {
    fn add(&mut self, owner: Owner, entry: &Entry, meaning: Meaning<'_>) {
        let weight = entry.weight;
        if owner.standing != Standing::Reachable {
            self.add_unreached(owner.uid, weight);
            return;
        }
        if entry.key.protocol() != self.protocol {
            self.route.other_type = self.route.other_type.saturating_add(weight);
            return;
        }
        let core = entry.place.core;
        if let Some(group) = meaning.group {
            let candidate = Candidate {
                node: owner.uid,
                place: entry.place,
                weight,
            };
            let Some(members) = self.group(group) else {
                self.route.over = self.route.over.saturating_add(weight);
                return;
            };
            members.add(candidate);
        }
        if owner.uid != self.own.0 {
            let only = (meaning.text == self.topic.as_str()).then_some(entry.id);
            self.add_found(owner.uid, core, (meaning.group, weight), only);
        } else if core != self.own.1 && meaning.group.is_none() {
            self.route.cores.insert(core);
        }
    }

    fn add_unreached(&mut self, node: Uid, weight: u32) {
        let unreached = &mut self.route.unreached;
        unreached.subscribers = unreached.subscribers.saturating_add(weight);
        if !self.unreached.contains(&node) {
            self.unreached.push(node);
            unreached.nodes += 1;
        }
    }

    fn add_found(
        &mut self,
        node: Uid,
        core: CoreId,
        (group, weight): (Option<&str>, u32),
        only: Option<EntryId>,
    ) {
        let place = self.found.binary_search_by_key(&node, |it| it.node);
        let place = place.unwrap_or_else(|place| {
            let found = Found {
                node,
                open: Cores::default(),
                grouped: Cores::default(),
                subscribers: 0,
                entries: 0,
                only: None,
            };
            self.found.insert(place, found);
            place
        });
        let found = &mut self.found[place];
        found.entries += 1;
        match group {
            None => {
                found.open.insert(core);
                found.subscribers = found.subscribers.saturating_add(weight);
                found.only = only;
            }
            Some(_) => found.grouped.insert(core),
        }
    }

    fn group(&mut self, name: &str) -> Option<&mut Candidates> {
        let groups = &mut self.route.groups;
        let place = match groups.binary_search_by(|it| (*it.name).cmp(name)) {
            Ok(place) => place,
            Err(_) if groups.len() >= GROUPS_OF_TOPIC_MAX => return None,
            Err(place) => {
                let name = name.into();
                let members = Candidates::default();
                groups.insert(place, GroupRoute { name, members });
                place
            }
        };
        Some(&mut groups[place].members)
    }

    fn finish(mut self, before: Option<&Route>) -> Route {
        for found in std::mem::take(&mut self.found) {
            let known = before.and_then(|it| Some(it.stops[it.stop(found.node)?].core));
            let stop = Stop {
                node: found.node,
                core: self.receiving_core(&found, known),
                subscribers: found.subscribers,
                only: found.only.filter(|_| found.entries == 1),
            };
            self.route.stops.push(stop);
        }
        for group in &mut self.route.groups {
            let mut known = before.iter().flat_map(|it| it.groups.iter());
            let known = known.find(|it| it.name == group.name);
            group.members.finish(known.map(|it| &it.members));
        }
        self.route
    }

    /// The core that takes what this core publishes to the topic: the one that did, while it has
    /// subscribers, and else one that is the same for the same cores: the highest of numbers that
    /// are drawn for each (Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit
    /// Rates", 1998), so a route that was forgotten comes back as it was.
    fn receiving_core(&self, found: &Found, known: Option<CoreId>) -> CoreId {
        let has = |it: &CoreId| found.open.contains(*it) || found.grouped.contains(*it);
        if let Some(known) = known.filter(has) {
            return known;
        }
        let cores = if found.open.is_empty() {
            &found.grouped
        } else {
            &found.open
        };
        let own = mix(self.own.0.as_u64() ^ u64::from(self.own.1.0));
        let route = mix(own ^ self.topic.hash() ^ found.node.as_u64());
        let draw = |it: &CoreId| mix(route ^ u64::from(it.0));
        cores.iter().max_by_key(draw).unwrap_or(CoreId(0))
    }
}
