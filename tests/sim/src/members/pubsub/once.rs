//! Invariant 28: each subscription gets what is published once, in order, and nobody else does.

use std::collections::{BTreeMap, BTreeSet};

use ringmesh_cluster::pubsub::Audience;
use ringmesh_proto::address::Uid;

use super::journal::{At, Entry, Published, Reader, TOPICS, Wanted};
use crate::invariant::Invariant;
use crate::members::Participant;
use crate::world::World;

/// Whose subscription it is, and who knows of it.
#[derive(Debug)]
struct Subscription {
    wanted: Wanted,
    /// The nodes that know of it, and since which publish.
    known: BTreeMap<Uid, u64>,
    has_ended: bool,
}

/// What was published.
#[derive(Clone, Copy, Debug)]
struct Said {
    at: At,
    topic: usize,
    kind: u64,
    audience: Audience,
}

/// The way of what a core publishes to a topic with a message type.
type Route = (At, usize, u64);

/// To each subscription comes at most one copy of each publish, of the topic and the type that it
/// is to, at the process that it is of; what one core publishes to a topic comes in that order, and
/// the core that takes it from the links stays the same while it keeps subscribers.
#[derive(Debug, Default)]
pub struct Once {
    reader: Reader,
    subscriptions: Vec<Subscription>,
    /// By number, which is one more than the place.
    said: Vec<Said>,
    copies: BTreeSet<(u64, usize)>,
    /// The last publish that came to a subscription by a way.
    last: BTreeMap<(usize, Route, u16), u64>,
    /// The last publish on a route, and which core of each node took it.
    stops: BTreeMap<Route, (u64, Vec<(Uid, u16)>)>,
}

impl Once {
    fn publish(&mut self, it: &Published) -> Result<u64, String> {
        self.said.push(Said {
            at: it.at,
            topic: it.topic,
            kind: it.kind,
            audience: it.audience,
        });
        let route = (it.at, it.topic, it.kind);
        let (before, stops) = match self.stops.get(&route) {
            Some((before, stops)) => (*before, &stops[..]),
            None => (0, &[][..]),
        };
        let mut checked = 0;
        for (node, core) in &it.stops {
            let Some((_, known)) = stops.iter().find(|it| it.0 == *node) else {
                continue;
            };
            checked += 1;
            let keeps = |it: &Subscription| {
                let Wanted {
                    at, topics, kind, ..
                } = it.wanted;
                let is_of_it = topics & 1 << route.1 != 0 && kind == route.2;
                let since = it.known.get(&route.0.0);
                let is_known = since.is_some_and(|since| *since < before);
                at == (*node, *known) && is_of_it && is_known && !it.has_ended
            };
            if known != core && self.subscriptions.iter().any(keeps) {
                let (number, topic) = (it.number, TOPICS[it.topic]);
                return Err(format!(
                    "publish {number} to {topic} goes to core {core} of {node}, and the ones \
                     before went to {known}, which has subscribers"
                ));
            }
        }
        self.stops.insert(route, (it.number, it.stops.to_vec()));
        Ok(checked)
    }

    fn deliver(
        &mut self,
        (publish, by): (u64, u16),
        at: At,
        subscription: Option<usize>,
    ) -> Result<u64, String> {
        let what = || format!("publish {publish} at core {} of {}", at.1, at.0);
        let known = subscription.and_then(|it| Some((it, self.subscriptions.get(it)?)));
        let Some((number, subscription)) = known else {
            return Err(format!("{} came to nobody who subscribes", what()));
        };
        let place = usize::try_from(publish).unwrap_or(0).wrapping_sub(1);
        let Some(said) = self.said.get(place) else {
            return Err(format!("{} was never published", what()));
        };
        let Wanted {
            topics,
            kind,
            group,
            at: its,
            ..
        } = subscription.wanted;
        let is_wanted = topics & 1 << said.topic != 0 && kind == said.kind;
        if its != at || !is_wanted || subscription.has_ended {
            return Err(format!("{} came to {subscription:?}", what()));
        }
        if !self.copies.insert((publish, number)) {
            return Err(format!("{} came to {subscription:?} twice", what()));
        }
        if group.is_some() {
            return Ok(1);
        }
        if said.audience == Audience::GroupsOnly {
            return Err(format!("{} is for groups, and came to another", what()));
        }
        let way = (number, (said.at, said.topic, said.kind), by);
        match self.last.insert(way, publish) {
            Some(last) if last > publish => Err(format!("{} came behind {last}", what())),
            _ => Ok(1),
        }
    }

    pub(super) fn judge(&mut self, entry: &Entry) -> Result<u64, String> {
        match entry {
            Entry::Subscribed(wanted) => self.subscriptions.push(Subscription {
                wanted: *wanted,
                known: BTreeMap::new(),
                has_ended: false,
            }),
            Entry::Confirmed {
                subscription,
                nodes,
            } => {
                let since = self.said.len() as u64;
                let known = &mut self.subscriptions[*subscription].known;
                known.extend(nodes.iter().map(|it| (*it, since)));
            }
            Entry::Ended { subscription } => {
                self.subscriptions[*subscription].has_ended = true;
            }
            Entry::Departed(uid) => {
                let its = self.subscriptions.iter_mut();
                let its = its.filter(|it| it.wanted.at.0 == *uid);
                its.for_each(|it| it.known.clear());
            }
            Entry::Apart { at, nodes } => {
                let routes = self
                    .stops
                    .range_mut((*at, 0, 0)..=(*at, usize::MAX, u64::MAX));
                for (_, (_, stops)) in routes {
                    // A route that was made anew meanwhile has forgotten them.
                    stops.retain(|it| !nodes.contains(&it.0));
                }
            }
            Entry::Published(it) => return self.publish(it),
            Entry::Delivered {
                publish,
                at,
                by,
                subscription,
                ..
            } => return self.deliver((*publish, *by), *at, *subscription),
            _ => {}
        }
        Ok(0)
    }
}

impl Invariant<Participant> for Once {
    fn name(&self) -> &'static str {
        "once"
    }

    fn check(&mut self, world: &World<Participant>) -> Result<u64, String> {
        let mut reader = std::mem::take(&mut self.reader);
        let checked = reader.read(world, |entry| self.judge(entry));
        self.reader = reader;
        checked
    }
}
