//! Who gets what arrives at this core.

use ringmesh_proto::address::{CoreId, Uid};

use super::fanout::can_be;
use super::{Mediator, Selection, route_of};
use crate::context::Random;
use crate::pubsub::choice::{Nodes, Policy};
use crate::pubsub::cores::Cores;
use crate::pubsub::frame::{AnswerTo, Draft, FrameTopic, Head, NoRoom};
use crate::pubsub::interests::{Plan, Recipient};
use crate::pubsub::name::Topic;
use crate::pubsub::route::Route;
use crate::pubsub::topics::Topics;
use crate::registry::Kind;

/// From where a frame came to this core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// From another node: this core gives it to the other cores.
    Link,
    /// From another core of this node: this core takes what is its own.
    Mesh,
}

/// A frame names an entry of this node that is not there any more: its subscription has ended, and
/// nobody gets the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame is for a subscription that has ended")]
pub struct UnknownEntry;

/// Where a group is looked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// At another core of this node.
    Core(CoreId),
    /// At another node, to whose core the frame goes.
    Node(Uid, CoreId),
}

/// A group that has emptied here, and is looked for elsewhere once.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Where.
    pub to: Destination,
    /// On which core there its members are.
    core: CoreId,
    /// Which group of the route.
    group: usize,
}

/// Who gets what arrived.
#[derive(Debug)]
pub struct Arrival<'a> {
    plan: &'a Plan,
    route: &'a Route,
    selection: &'a Selection,
    topic: Topic<'a>,
    protocol: u64,
    is_open: bool,
    answer_to: Option<AnswerTo>,
    /// This node.
    own: Uid,
}

impl<'a> Arrival<'a> {
    /// What it was published to.
    pub fn topic(&self) -> Topic<'a> {
        self.topic
    }

    /// Those on this core: each subscription once, but who stands for many once for each pattern.
    pub fn recipients(&self) -> impl Iterator<Item = Recipient> + use<'a> {
        self.selection.recipients(self.plan, self.is_open)
    }

    /// The other cores of this node that get the same bytes.
    pub fn cores(&self) -> Cores {
        self.selection.cores
    }

    /// Groups that have emptied here, each a frame of its own to somewhere else.
    pub fn forwards(&self) -> &'a [Forward] {
        &self.selection.forwards
    }

    /// Writes the head of the frame by which a group is looked for elsewhere. Another node is told
    /// which one published it. How many bytes it takes.
    ///
    /// # Errors
    /// [`NoRoom`] if there is less room.
    pub fn write_for(
        &self,
        forward: &Forward,
        publisher: Uid,
        bytes: &mut [u8],
    ) -> Result<usize, NoRoom> {
        let name = &*self.route.groups[forward.group].name;
        let is_besides = matches!(forward.to, Destination::Node(..));
        let draft = Draft {
            topic: FrameTopic::Named {
                topic: self.topic,
                protocol: self.protocol,
            },
            is_open: false,
            is_forwarded: true,
            groups: std::iter::once((forward.core, name)),
            answer_to: self.answer_to.map(|it| AnswerTo { is_besides, ..it }),
            publisher: (is_besides && publisher != self.own).then_some(publisher),
        };
        draft.write(bytes)
    }

    /// Who is to be told how many subscribers it reached here, and to how many other cores it went.
    pub fn answer_to(&self) -> Option<AnswerTo> {
        self.answer_to
    }

    /// Whether the next frame with the same head and from the same side goes the same way as long
    /// as the [`Moment`](super::Moment) is the same; nothing is to be counted of it then.
    pub fn is_steady(&self) -> bool {
        self.selection.is_steady()
            && self.plan.other_type() == 0
            && self.answer_to.is_none()
            && !self.is_dead_letter()
    }

    /// Whether nobody gets it, neither here nor elsewhere.
    pub fn is_dead_letter(&self) -> bool {
        let is_for_nobody = self.recipients().next().is_none() && self.cores().is_empty();
        is_for_nobody && self.forwards().is_empty()
    }
}

impl Mediator {
    /// Says who gets a frame that came to this core. Once that is known of a topic nothing is
    /// allocated.
    ///
    /// # Errors
    /// [`UnknownEntry`] if it names an entry that is not there: a dead letter.
    pub fn receive<'a>(
        &'a mut self,
        head: &Head<'a>,
        hop: Hop,
        nodes: &impl Nodes,
        random: &mut Random,
    ) -> Result<Arrival<'a>, UnknownEntry> {
        let known = topic_of(&self.topics, head.topic);
        self.counters.dead_letters += u64::from(known.is_none());
        let (topic, protocol) = known.ok_or(UnknownEntry)?;
        let plan = self.interests.plan(topic, protocol);
        let core = self.core;
        let route = route_of(&mut self.routes, &self.topics, core, (topic, protocol));
        let own = self.topics.own();
        let (Some(plan_at), Some(route_at)) =
            (self.interests.plan_at(plan), self.routes.value_mut(route))
        else {
            // Both were just put there.
            return Err(UnknownEntry);
        };
        let other_type = plan_at.other_type();
        let selection = &mut self.selection;
        selection.begin(plan, route, 0);
        if hop == Hop::Link && head.is_open {
            selection.cores = route_at.cores;
        }
        for (at, name) in head.groups {
            if at == core {
                let member = plan_at.take_of(name);
                selection.members.extend(member);
                if member.is_none() {
                    let group = (name, head.is_forwarded);
                    let to = send_on((own, core), group, route_at, nodes, random);
                    selection.dead_groups += u32::from(to.is_none());
                    selection.forwards.extend(to);
                }
            } else if hop == Hop::Link && at.0 < self.cores {
                selection.cores.insert(at);
            } else if hop == Hop::Link {
                selection.dead_groups += 1;
            }
        }
        self.interests.count_other_type(other_type);
        let selection = &self.selection;
        let (Some(plan), Some(route)) = (self.interests.plan_known(plan), self.routes.value(route))
        else {
            return Err(UnknownEntry);
        };
        let arrival = Arrival {
            plan,
            route,
            selection,
            topic,
            protocol,
            is_open: head.is_open,
            answer_to: head.answer_to,
            own,
        };
        let counters = &mut self.counters;
        counters.dead_letters += u64::from(arrival.is_dead_letter());
        counters.dead_groups += u64::from(selection.dead_groups);
        counters.forwarded += selection.forwards.len() as u64;
        Ok(arrival)
    }
}

/// What is published to, and the message type; `None` if it names an entry that is not there.
fn topic_of<'a>(topics: &'a Topics, topic: FrameTopic<'a>) -> Option<(Topic<'a>, u64)> {
    match topic {
        FrameTopic::Named { topic, protocol } => Some((topic, protocol)),
        FrameTopic::Entry(id) => {
            let key = &topics.own_entry(id)?.key;
            let is_topic = key.kind() == Kind::TOPIC;
            // This node announced no other patterns than sound ones.
            let topic = Topic::of_sound(key.name()).filter(|_| is_topic)?;
            Some((topic, key.protocol()))
        }
    }
}

/// Where a group that has emptied here is looked for, unless it was sent on before.
fn send_on(
    (own, core): (Uid, CoreId),
    (name, is_forwarded): (&str, bool),
    route: &mut Route,
    nodes: &impl Nodes,
    random: &mut Random,
) -> Option<Forward> {
    let group = route.group(name).filter(|_| !is_forwarded)?;
    let Route { stops, groups, .. } = route;
    let members = &mut groups[group].members;
    let at = members.choose(Policy::Random, random, |it| {
        can_be((own, core), nodes, stops, it, true)
    })?;
    let chosen = members.get(at)?;
    let to = if chosen.node == own {
        Destination::Core(chosen.place.core)
    } else {
        let stop = stops
            .binary_search_by_key(&chosen.node, |it| it.node)
            .ok()?;
        Destination::Node(chosen.node, stops.get(stop)?.core)
    };
    let core = chosen.place.core;
    Some(Forward { to, core, group })
}
