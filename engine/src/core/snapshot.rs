//! The counters of a core, brought to where they are read.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmesh_transport::contract::Transport;

use super::Core;
use super::link::{Connection, Stage};
use crate::counters::Counters;

impl Core {
    /// What the core counted up to now.
    pub(crate) fn counters(&self) -> Counters {
        self.publish_counters();
        self.tally.read()
    }

    /// Takes what others count for this core into its page, where any thread reads it. About twenty
    /// moves between lines that are this core's own; the clock is not read.
    pub(crate) fn publish_counters(&self) {
        self.tally.set_transport(self.io.borrow().counters());
        self.tally.actors.set(self.actors.borrow().len() as u64);
        self.tally.tasks.set(self.tasks.live() as u64);
    }

    pub(crate) fn close_reasons(&self) -> BTreeMap<&'static str, u64> {
        self.tally.closes.all()
    }

    /// The links to other nodes.
    pub(super) fn linked(&self) -> impl Iterator<Item = Rc<super::Link>> {
        let mut connections: Vec<Rc<Connection>> = self
            .connections
            .borrow()
            .iter()
            .flatten()
            .cloned()
            .collect();
        connections.extend(self.draining.borrow().iter().cloned());
        connections
            .into_iter()
            .filter_map(|connection| match &*connection.stage.borrow() {
                Stage::Linked(link) if !link.ended.get() => Some(Rc::clone(link)),
                _ => None,
            })
    }
}
