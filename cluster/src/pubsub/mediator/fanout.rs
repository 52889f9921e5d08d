//! Who gets what this core publishes.

use ringmesh_proto::address::{CoreId, Uid};

use super::{Mediator, Selection, route_of};
use crate::context::Random;
use crate::pubsub::choice::{Candidate, Nodes, Policy};
use crate::pubsub::cores::Cores;
use crate::pubsub::frame::{AnswerTo, Draft, FrameTopic, NoRoom};
use crate::pubsub::interests::{Plan, Recipient};
use crate::pubsub::name::Topic;
use crate::pubsub::route::{Route, Stop, Unreached};

/// Which subscribers get a publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// All without a group, and one member of each group.
    #[default]
    All,
    /// One member of each group.
    GroupsOnly,
    /// All without a group.
    UngroupedOnly,
}

/// What happens when there is no room on the way to some node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pressure {
    /// It does not get the publish, and that is counted.
    Lose,
    /// Nobody gets it, and the publisher is told for whom there is no room.
    #[default]
    Refuse,
}

/// How something is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// For whom.
    pub audience: Audience,
    /// Which member of a group.
    pub policy: Policy,
    /// What happens without room.
    pub pressure: Pressure,
    /// By which number each core that is reached says so, if any is to.
    pub answer: Option<u64>,
}

/// Nothing was published: there is no room on the way to these nodes.
#[derive(Debug, thiserror::Error)]
#[error("there is no room on the way to {} of the nodes with subscribers", nodes.len())]
pub struct Full<'a> {
    /// The nodes.
    pub nodes: &'a [Uid],
}

/// Whether a stop gets a frame, and for whom.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    is_open: bool,
    is_grouped: bool,
}

/// The core on which a member of a group is to get it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pick {
    /// Which group of the route.
    pub(super) group: usize,
    /// Which stop of the route; `None` for the own node.
    pub(super) stop: Option<usize>,
    pub(super) core: CoreId,
}

/// Who gets a publish.
#[derive(Debug)]
pub struct Fanout<'a> {
    plan: &'a Plan,
    route: &'a Route,
    selection: &'a Selection,
    topic: Topic<'a>,
    protocol: u64,
    is_open: bool,
    is_broadcast: bool,
    answer_to: Option<AnswerTo>,
}

impl<'a> Fanout<'a> {
    /// Those on this core: each subscription once, but who stands for many once for each pattern.
    pub fn recipients(&self) -> impl Iterator<Item = Recipient> + use<'a> {
        self.selection.recipients(self.plan, self.is_open)
    }

    /// The other cores of this node that get it, as one slab.
    pub fn cores(&self) -> Cores {
        self.selection.cores
    }

    /// The other nodes that get it, a frame each, to one core there.
    pub fn stops(&self) -> impl Iterator<Item = Stop> + use<'a> {
        let stops = self.route.stops.iter().zip(&self.selection.marks);
        let stops = stops.filter(|it| it.1.is_open || it.1.is_grouped);
        stops.map(|it| *it.0)
    }

    /// Writes the head of what the other cores of this node get. How many bytes it takes.
    ///
    /// # Errors
    /// [`NoRoom`] if there is less room.
    pub fn write_for_cores(&self, bytes: &mut [u8]) -> Result<usize, NoRoom> {
        self.write(self.named(), (None, self.is_open), bytes)
    }

    /// Writes the head of the frame for another node. How many bytes it takes.
    ///
    /// # Errors
    /// [`NoRoom`] if there is less room.
    pub fn write_for(&self, stop: &Stop, bytes: &mut [u8]) -> Result<usize, NoRoom> {
        let at = self.route.stop(stop.node);
        let mark = at.and_then(|at| self.selection.marks.get(at));
        let is_open = mark.is_some_and(|it| it.is_open);
        let topic = stop.only.map_or_else(|| self.named(), FrameTopic::Entry);
        self.write(topic, (at, is_open), bytes)
    }

    /// Subscriptions that it does not reach, although they are there.
    pub fn unreached(&self) -> Unreached {
        self.route.unreached
    }

    /// Nodes that it does not reach because there is no room on the way.
    pub fn without_credit(&self) -> &'a [Uid] {
        &self.selection.blocked
    }

    /// How many subscribe to the topic with another message type, as far as it is announced.
    pub fn other_type(&self) -> u32 {
        self.route.other_type
    }

    /// How many nodes it goes to, this one among them.
    pub fn nodes(&self) -> usize {
        let is_here = self.recipients().next().is_some() || !self.cores().is_empty();
        usize::from(is_here) + self.stops().count()
    }

    /// Whether nobody gets it.
    pub fn is_dead_letter(&self) -> bool {
        self.nodes() == 0
    }

    /// Whether the next publish alike, to the same topic and for the same audience, goes the same
    /// way as long as the [`Moment`](super::Moment) is the same, nodes keep their roles and there
    /// is room; nothing is to be counted of it then.
    pub fn is_steady(&self) -> bool {
        let Route {
            unreached,
            other_type,
            over,
            ..
        } = self.route;
        self.selection.is_steady()
            && [
                unreached.subscribers,
                *other_type,
                *over,
                self.plan.other_type(),
            ] == [0; 4]
            && self.answer_to.is_none()
            && !self.is_dead_letter()
    }

    fn named(&self) -> FrameTopic<'a> {
        FrameTopic::Named {
            topic: self.topic,
            protocol: self.protocol,
        }
    }

    fn write(
        &self,
        topic: FrameTopic<'_>,
        (stop, is_open): (Option<usize>, bool),
        bytes: &mut [u8],
    ) -> Result<usize, NoRoom> {
        let picks = self.selection.picks.iter().filter(|it| it.stop == stop);
        let groups = picks.map(|it| (it.core, &*self.route.groups[it.group].name));
        let draft = Draft {
            topic,
            is_open,
            // Each place with members has a copy of its own: that of one that has emptied is no
            // other's.
            is_forwarded: self.is_broadcast,
            groups,
            answer_to: self.answer_to,
            publisher: None,
        };
        draft.write(bytes)
    }
}

impl Mediator {
    /// Says who gets a message of that type which is published to a topic. Once that is known of a
    /// topic nothing is allocated.
    ///
    /// # Errors
    /// [`Full`] under [`Pressure::Refuse`], if there is no room on the way to a node: nobody gets
    /// it.
    pub fn publish<'a>(
        &'a mut self,
        (topic, protocol): (Topic<'a>, u64),
        publish: &Publish,
        nodes: &impl Nodes,
        random: &mut Random,
    ) -> Result<Fanout<'a>, Full<'a>> {
        let plan = self.interests.plan(topic, protocol);
        let route = route_of(&mut self.routes, &self.topics, self.core, (topic, protocol));
        let own = self.topics.own();
        let (Some(plan_at), Some(route_at)) =
            (self.interests.plan_at(plan), self.routes.value_mut(route))
        else {
            // Both were just put there.
            return Err(Full { nodes: &[] });
        };
        let is_open = publish.audience != Audience::GroupsOnly;
        let mut choosing = Choosing {
            own,
            core: self.core,
            publish,
            nodes,
            random,
            plan: plan_at,
            route: route_at,
            selection: &mut self.selection,
        };
        choosing
            .selection
            .begin(plan, route, choosing.route.stops.len());
        let is_let = choosing.choose_open(is_open);
        if is_let && publish.audience != Audience::UngroupedOnly {
            choosing.choose_groups();
        }
        if publish.pressure == Pressure::Refuse && !self.selection.blocked.is_empty() {
            return Err(Full {
                nodes: &self.selection.blocked,
            });
        }
        let answer_to = publish.answer.map(|publish| AnswerTo {
            publish,
            node: own,
            core: self.core,
            is_besides: false,
        });
        let is_broadcast = publish.policy == Policy::Broadcast;
        self.finish_publish((topic, protocol), (is_open, is_broadcast), answer_to)
    }

    fn finish_publish<'a>(
        &'a mut self,
        (topic, protocol): (Topic<'a>, u64),
        (is_open, is_broadcast): (bool, bool),
        answer_to: Option<AnswerTo>,
    ) -> Result<Fanout<'a>, Full<'a>> {
        let selection = &self.selection;
        let plan = self
            .interests
            .plan_at(selection.plan)
            .map(|it| it.other_type());
        self.interests.count_other_type(plan.unwrap_or(0));
        let (Some(plan), Some(route)) = (
            self.interests.plan_known(selection.plan),
            self.routes.value(selection.route),
        ) else {
            return Err(Full { nodes: &[] });
        };
        let fanout = Fanout {
            plan,
            route,
            selection,
            topic,
            protocol,
            is_open,
            is_broadcast,
            answer_to,
        };
        let counters = &mut self.counters;
        counters.dead_letters += u64::from(fanout.is_dead_letter());
        counters.dead_groups += u64::from(selection.dead_groups);
        counters.without_credit += selection.blocked.len() as u64;
        counters.unreached += u64::from(route.unreached.subscribers);
        counters.over += u64::from(route.over);
        Ok(fanout)
    }
}

/// The choice of those who get one publish.
struct Choosing<'a, N> {
    own: Uid,
    core: CoreId,
    publish: &'a Publish,
    nodes: &'a N,
    random: &'a mut Random,
    plan: &'a mut Plan,
    route: &'a mut Route,
    selection: &'a mut Selection,
}

impl<N: Nodes> Choosing<'_, N> {
    /// Chooses the nodes and cores with subscribers in no group. Says whether to go on.
    fn choose_open(&mut self, is_open: bool) -> bool {
        if !is_open {
            return true;
        }
        let stops = self.route.stops.iter().zip(&mut self.selection.marks);
        for (stop, mark) in stops.filter(|it| it.0.subscribers > 0) {
            if !self.nodes.is_in_role(stop.node) {
                continue;
            }
            mark.is_open = self.nodes.has_credit(stop.node, stop.core);
            if !mark.is_open {
                self.selection.blocked.push(stop.node);
            }
        }
        self.selection.cores = self.route.cores;
        self.publish.pressure == Pressure::Lose || self.selection.blocked.is_empty()
    }

    fn choose_groups(&mut self) {
        for group in 0..self.route.groups.len() {
            if self.publish.policy == Policy::Broadcast {
                self.choose_all(group);
            } else {
                self.choose_one(group);
            }
        }
        // What began on this core is for those who know of it at once.
        let route = &self.route;
        for members in self.plan.groups() {
            if route.group(&members.group).is_none() {
                self.selection.members.extend(members.take());
            }
        }
    }

    fn choose_all(&mut self, group: usize) {
        let count = self.route.groups[group].members.len();
        (0..count).for_each(|at| self.broadcast(group, at));
        let (own, core) = (self.own, self.core);
        let is_here = |it: Candidate| it.node == own && it.place.core == core;
        if !self.route.groups[group].members.iter().any(is_here) {
            // If one began on this core, that is not announced yet.
            let member = self.plan.take_of(&self.route.groups[group].name);
            self.selection.members.extend(member);
        }
    }

    fn broadcast(&mut self, group: usize, at: usize) {
        let Some(candidate) = self.route.groups[group].members.get(at) else {
            return;
        };
        if self.can_be(candidate, false) {
            self.give(group, candidate);
        } else if self.nodes.is_in_role(candidate.node) {
            self.block(candidate.node);
        }
    }

    fn choose_one(&mut self, group: usize) {
        if let Some(candidate) = self.draw(group, false)
            && self.give(group, candidate)
        {
            return;
        }
        // Its last member on this core has ended, and that is not announced yet.
        if let Some(candidate) = self.draw(group, true) {
            self.give(group, candidate);
            return;
        }
        if let Some(member) = self.plan.take_of(&self.route.groups[group].name) {
            // It began on this core, and that is not announced yet.
            self.selection.members.push(member);
            return;
        }
        self.selection.dead_groups += 1;
        let members = self.route.groups[group].members.iter();
        let waiting = members.filter(|it| it.node != self.own && self.nodes.is_in_role(it.node));
        let waiting: Option<Uid> = waiting.map(|it| it.node).next();
        waiting.into_iter().for_each(|node| self.block(node));
    }

    fn draw(&mut self, group: usize, is_elsewhere: bool) -> Option<Candidate> {
        let Self {
            own,
            core,
            nodes,
            route,
            ..
        } = self;
        let Route { stops, groups, .. } = &mut **route;
        let members = &mut groups[group].members;
        let can_be = |it: Candidate| can_be((*own, *core), *nodes, stops, it, is_elsewhere);
        let at = members.choose(self.publish.policy, self.random, can_be)?;
        members.get(at)
    }

    fn can_be(&self, candidate: Candidate, is_elsewhere: bool) -> bool {
        let own = (self.own, self.core);
        can_be(own, self.nodes, &self.route.stops, candidate, is_elsewhere)
    }

    /// Has a member of a group get it there. Says whether there is one, as far as that is known.
    fn give(&mut self, group: usize, candidate: Candidate) -> bool {
        let core = candidate.place.core;
        let mut stop = None;
        if candidate.node == self.own {
            if core == self.core {
                let member = self.plan.take_of(&self.route.groups[group].name);
                self.selection.members.extend(member);
                return member.is_some();
            }
            self.selection.cores.insert(core);
        } else {
            stop = self.route.stop(candidate.node);
            let mark = stop.and_then(|at| self.selection.marks.get_mut(at));
            let Some(mark) = mark else {
                return false;
            };
            mark.is_grouped = true;
        }
        self.selection.picks.push(Pick { group, stop, core });
        true
    }

    fn block(&mut self, node: Uid) {
        if !self.selection.blocked.contains(&node) {
            self.selection.blocked.push(node);
        }
    }
}

/// Whether a place can be chosen: another core of the own node always, another node if it takes
/// part and there is room on the way.
pub(super) fn can_be(
    (own, core): (Uid, CoreId),
    nodes: &impl Nodes,
    stops: &[Stop],
    candidate: Candidate,
    is_elsewhere: bool,
) -> bool {
    let Candidate { node, place, .. } = candidate;
    if node == own {
        return !is_elsewhere || place.core != core;
    }
    let stop = stops.binary_search_by_key(&node, |it| it.node);
    let stop = stop.ok().and_then(|at| stops.get(at));
    nodes.is_in_role(node) && stop.is_some_and(|it| nodes.has_credit(node, it.core))
}
