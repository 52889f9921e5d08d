//! The counters of a core, brought to where they are read.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmesh_transport::contract::Transport;

use super::Core;
use super::link::Link;
use crate::counters::Counters;
use crate::pubsub::mediator;

impl Core {
    /// What the core counted up to now.
    pub(crate) fn counters(&self) -> Counters {
        self.publish_counters();
        self.tally.read()
    }

    /// Takes what others count for this core into its page, where any thread reads it. About thirty
    /// moves between lines that are this core's own; the clock is not read.
    pub(crate) fn publish_counters(&self) {
        self.tally.set_transport(self.io.borrow().counters());
        // Those that every core has for pub-sub are there from its start to its end.
        let actors = self.actors.borrow().len().saturating_sub(mediator::COUNT);
        self.tally.actors.set(actors as u64);
        let watches = self.lives.watches.borrow().len() + self.far.followed.borrow().len();
        self.tally.watches.set(watches as u64);
        self.tally.watches_far.set(self.far.watches() as u64);
        self.publish_pubsub_counters();
        self.publish_registry_counters();
        self.tally.tasks.set(self.tasks.live() as u64);
    }

    pub(crate) fn close_reasons(&self) -> BTreeMap<&'static str, u64> {
        self.tally.closes.all()
    }

    /// The links to other nodes.
    pub(super) fn linked(&self) -> impl Iterator<Item = Rc<Link>> + use<> {
        self.peers.borrow().links().into_iter()
    }
}
