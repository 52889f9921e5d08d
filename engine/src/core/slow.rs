//! How long user code held the core, told by a clock that is read between batches and not per
//! message.
//!
//! A batch is measured by the first reading behind it, which the next batch, the tasks or the end
//! of the turn need in any case: so a core that handles one message at a time reads its clock once
//! for each.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::Core;
use super::budget::Budget;
use super::link::Link;
use crate::actor::ActorCell;

/// The batch that is not measured yet, and since when it may have run.
#[derive(Debug, Default)]
pub(super) struct LatestBatch {
    began: Cell<Instant>,
    batch: RefCell<Option<Batch>>,
}

/// Messages that were dispatched together.
#[derive(Debug)]
struct Batch {
    messages: u32,
    last: Last,
}

/// The last message of a batch.
#[derive(Debug)]
pub(super) enum Last {
    /// By the target and type numbers on its link.
    Archived(Rc<Link>, (u32, u16)),
    Local {
        slot: u32,
        generation: u64,
        index: u16,
    },
}

impl Core {
    /// Reads the clock, and measures what ran since the last time.
    pub(super) fn look_at_clock(&self) -> Instant {
        let now = self.clock.read();
        let began = self.latest_batch.began.replace(now);
        let batch = self.latest_batch.batch.take();
        let took = now.saturating_since(began);
        if took >= self.settings.slow_handler
            && let Some(batch) = batch
        {
            self.note_slow(&batch, took);
        }
        now
    }

    /// Measures the latest batch, if that is still to be done.
    pub(super) fn measure_batch(&self) {
        if self.latest_batch.batch.borrow().is_some() {
            self.look_at_clock();
        }
    }

    /// How many messages may be dispatched before the next look at the budget; zero ends the turn.
    pub(super) fn next_stride(&self, budget: &mut Budget) -> u32 {
        if self.latest_batch.batch.borrow().is_some() {
            budget.look(self.look_at_clock());
        }
        budget.stride()
    }

    /// Takes a batch off the turn's budget.
    pub(super) fn spend(
        &self,
        budget: &mut Budget,
        link: &Rc<Link>,
        messages: u32,
        last: (u32, u16),
    ) {
        if messages > 0 {
            let last = Last::Archived(Rc::clone(link), last);
            self.spend_on(budget, messages, last);
        }
    }

    /// The same of one or more messages of either sort.
    pub(super) fn spend_on(&self, budget: &mut Budget, messages: u32, last: Last) {
        budget.spend(messages);
        *self.latest_batch.batch.borrow_mut() = Some(Batch { messages, last });
    }

    /// The names of an actor, if it still lives, and of a message for it.
    fn name(&self, last: &Last) -> Option<(String, &'static str)> {
        let named = |actor: &Rc<ActorCell>, index| (actor.to_string(), actor.message_name(index));
        match last {
            Last::Archived(link, (target, message)) => {
                let routes = link.routes.borrow();
                let known = routes.known(*target, *message);
                known.map(|(actor, index)| named(actor, index))
            }
            Last::Local {
                slot,
                generation,
                index,
            } => {
                let actors = self.actors.borrow();
                let actor = actors.at(*slot, *generation);
                actor.map(|actor| named(actor, *index))
            }
        }
    }

    /// Counts a batch that took too long, and says so now and then: with at most a few dozen
    /// messages in it, one handler was slow, or the core was pre-empted. Which of them it was is
    /// known of a batch of one; of others the last is named.
    #[cold]
    fn note_slow(&self, batch: &Batch, took: Duration) {
        self.tally.slow_handlers.add(1);
        if !self.slow_log_budget.borrow_mut().take(self.clock.now()) {
            return;
        }
        let (actor, message) = self
            .name(&batch.last)
            .unwrap_or_else(|| ("one that stopped".to_owned(), "?"));
        tracing::warn!(
            ?took,
            messages = batch.messages,
            last_actor = %actor,
            last_message = message,
            "handlers held their core for too long, or it was pre-empted",
        );
    }
}
