//! How long user code held the core, told by a clock that is read between batches and not per
//! message.
//!
//! A batch is measured by the first reading behind it, which the next batch, the tasks or the next
//! turn need in any case: so a core that handles one message at a time reads its clock once for
//! each.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::Core;
use super::budget::Budget;
use super::link::Link;

/// The batch that is not measured yet, and since when it may have run.
#[derive(Debug, Default)]
pub(super) struct LatestBatch {
    began: Cell<Instant>,
    batch: RefCell<Option<Batch>>,
}

/// Messages that were dispatched together.
#[derive(Debug)]
struct Batch {
    link: Rc<Link>,
    messages: u32,
    /// The target and type numbers of the last one.
    last: (u32, u16),
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
            budget.spend(messages);
            let link = Rc::clone(link);
            let batch = Batch {
                link,
                messages,
                last,
            };
            *self.latest_batch.batch.borrow_mut() = Some(batch);
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
        let named = {
            let routes = batch.link.routes.borrow();
            let known = routes.known(batch.last.0, batch.last.1);
            known.map(|(actor, index)| (actor.to_string(), actor.message_name(index)))
        };
        let (actor, message) = named.unwrap_or_else(|| ("one that stopped".to_owned(), "?"));
        tracing::warn!(
            ?took,
            messages = batch.messages,
            last_actor = %actor,
            last_message = message,
            "handlers held their core for too long, or it was pre-empted",
        );
    }
}
