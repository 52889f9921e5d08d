//! How what changed in the view becomes events and a topology.

use std::sync::Arc;

use super::{Active, Membership, Phase};
use crate::context::Context;
use crate::effect::Effect;
use crate::membership::event::{self, Event, Numbered};
use crate::membership::status::Status;
use crate::membership::topology::Topology;

impl Membership {
    /// Publishes what changed in the view since it was published last.
    pub(super) fn publish(&mut self, cx: &mut Context<'_>) {
        let Phase::Active(active) = &mut self.phase else {
            return;
        };
        if !std::mem::take(&mut active.is_news) {
            return;
        }
        let before = Arc::clone(&self.topology);
        let after = Topology::after(&before, &active.view);
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
