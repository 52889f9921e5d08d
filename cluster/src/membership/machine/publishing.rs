//! How what changed in the view becomes events and a topology.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ringmesh_proto::address::Uid;
use ringmesh_proto::time::Instant;

use super::{Active, Membership, Phase};
use crate::context::Context;
use crate::effect::Effect;
use crate::membership::convergence::Part;
use crate::membership::data_centres::concerned;
use crate::membership::event::{self, Event, Numbered};
use crate::membership::gossip::Gossip;
use crate::membership::status::Status;
use crate::membership::topology::Topology;

/// Members whose word on other data centres counts only since a while, or of whom it is said only
/// since then: they were let in, or took the place of one of those that speak for a data centre, or
/// can be reached again. That none of them says that a data centre is out of reach, and nobody says
/// it of them, means nothing: there may not have been the time to find out.
#[derive(Debug, Default)]
pub(super) struct Newcomers {
    /// For how long they are new.
    pub(super) span: Duration,
    until: BTreeMap<Uid, Instant>,
    /// Those whom it concerned in the last view.
    known: BTreeSet<Uid>,
}

impl Newcomers {
    /// Whom it concerned before this node was a member is not new, though it is new to this one.
    fn update(&mut self, now: Instant, before: &Topology, view: &Gossip) {
        let own = before.own().uid;
        let home = Part::new(view, before.data_centre());
        let concerned = concerned(view, &home, own);
        let is_late = |uid: &Uid| *uid == own || before.cluster().is_some();
        let new = concerned.difference(&self.known).copied();
        let until = now + self.span;
        self.until
            .extend(new.filter(is_late).map(|uid| (uid, until)));
        self.until
            .retain(|uid, until| *until > now && concerned.contains(uid));
        self.known = concerned;
    }

    /// When one of them is not new any more, if anybody waits for that.
    pub(super) fn poll_timeout(&self, topology: &Topology) -> Option<Instant> {
        let is_dark = !topology.dark_data_centres().is_empty();
        let until = self.until.values().copied().filter(|_| is_dark);
        until.min()
    }
}

impl Membership {
    /// How long whoever begins to watch other data centres is given to find out which it reaches.
    /// To be called before this node joins.
    pub fn set_settling(&mut self, span: Duration) {
        self.newcomers.span = span;
    }

    /// Publishes what changed in the view since it was published last.
    pub(super) fn publish(&mut self, cx: &mut Context<'_>) {
        let Phase::Active(active) = &mut self.phase else {
            return;
        };
        if !std::mem::take(&mut active.is_news) {
            return;
        }
        let before = Arc::clone(&self.topology);
        self.newcomers.update(cx.now, &before, &active.view);
        let is_new = |uid| self.newcomers.until.contains_key(&uid);
        let after = Topology::after(&before, &active.view, is_new);
        let events = event::difference(&before, &after, &active.view);
        active.bury(cx, &before);
        for event in events {
            self.publish_event(cx, event);
        }
        if after != *before {
            self.publish_topology(cx, after);
        }
    }

    pub(super) fn publish_topology(&mut self, cx: &mut Context<'_>, mut topology: Topology) {
        topology.version = self.topology.version + 1;
        topology.events = self.events;
        self.topology = Arc::new(topology);
        cx.out.push(Effect::Topology(Arc::clone(&self.topology)));
    }

    /// Publishes an event, of this machine or of a sibling.
    pub(crate) fn publish_event(&mut self, cx: &mut Context<'_>, event: Event) {
        self.events += 1;
        let number = self.events;
        cx.out.push(Effect::Publish(Numbered { number, event }));
    }

    /// The last events, and the last topology.
    pub(super) fn publish_end(&mut self, cx: &mut Context<'_>, previous: Option<Status>) {
        if let Some(previous) = previous {
            self.publish_event(cx, Event::SelfRemoved { previous });
        }
        self.publish_event(cx, Event::Shutdown);
        let mut topology = Topology::clone(&self.topology);
        topology.clear();
        self.publish_topology(cx, topology);
    }
}

impl Active {
    /// Bans whoever was given up and is removed now; whoever left is banned later.
    fn bury(&mut self, cx: &mut Context<'_>, before: &Topology) {
        for gone in before.members() {
            let (uid, node) = (gone.uid(), gone.node().clone());
            if self.view.member(uid).is_some() || uid == self.uid() {
                continue;
            }
            match self.view.tombstone(uid).map(|it| it.previous) {
                Some(Status::Exiting) => {
                    self.departed.insert(uid, (node, cx.now));
                }
                _ => cx.out.push(Effect::Quarantine { node }),
            }
        }
    }
}
