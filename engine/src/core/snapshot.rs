//! The counters of a core, put together when someone asks.

use std::collections::BTreeMap;
use std::rc::Rc;

use ringmesh_transport::contract::Transport;

use super::Core;
use super::link::{Connection, Stage};
use crate::counters::Counters;

impl Core {
    pub(crate) fn counters(&self) -> Counters {
        let tally = &self.tally;
        let transport = self.io.borrow().counters();
        let sent = tally.sent.total();
        let dead_sent = tally.dead_unsent.total() + tally.dead_maybe.total();
        let acknowledged = tally.acknowledged.total();
        let received = tally.received.total();
        let dead_received = self.dead_received();
        Counters {
            sent,
            acknowledged,
            dead_sent,
            dead_unsent: tally.dead_unsent.total(),
            dead_maybe: tally.dead_maybe.total(),
            in_flight: sent - acknowledged - dead_sent,
            received,
            delivered: tally.delivered.total(),
            waiting: tally.waiting.total(),
            hopped: tally.hopped.total(),
            dead_received,
            dead_no_recipient: tally.dead_no_recipient.total(),
            dead_unknown_message: tally.dead_unknown_message.total(),
            dead_schema_mismatch: tally.dead_schema_mismatch.total(),
            dead_invalid: tally.dead_invalid.total(),
            dead_late_answer: tally.dead_late_answer.total(),
            dropped_unread: tally.dropped_unread.total(),
            replies_overloaded: tally.replies_overloaded.total(),
            asks_abandoned: tally.asks_abandoned.total(),
            cancels_sent: tally.cancels_sent.total(),
            replies_withdrawn: tally.replies_withdrawn.total(),
            panics: tally.panics.total(),
            slow_handlers: tally.slow_handlers.total(),
            frames_copied_straddled: tally.copied_straddled.total(),
            frames_copied_pinned: tally.copied_pinned.total(),
            frames_copied_other: tally.copied_other.total(),
            closed_for_fault: tally.closed_for_fault.total(),
            turns: tally.turns.total(),
            enters: transport.enters,
            parks: transport.parks,
            sends: transport.sends,
            receives: transport.receives,
            bytes_sent: transport.bytes_sent,
            bytes_received: transport.bytes_received,
            accepted: transport.accepted,
            dialled: transport.dialled,
            links: self.linked().count() as u64,
            actors: self.actors.borrow().len() as u64,
        }
    }

    fn dead_received(&self) -> u64 {
        let tally = &self.tally;
        [
            &tally.dead_no_recipient,
            &tally.dead_unknown_message,
            &tally.dead_schema_mismatch,
            &tally.dead_invalid,
            &tally.dead_late_answer,
        ]
        .into_iter()
        .map(crate::counters::Count::total)
        .sum()
    }

    pub(crate) fn close_reasons(&self) -> BTreeMap<&'static str, u64> {
        self.closes.borrow().all()
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
