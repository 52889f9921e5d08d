//! How long user code held the core, told by a clock that is read between batches and not per
//! message.
//!
//! A batch is measured by the first reading behind it, which the next batch, the tasks or the end
//! of the turn need in any case: so a core that handles one message at a time reads its clock once
//! for each.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringmesh_proto::time::Instant;

use super::Core;
use super::budget::Budget;
use super::link::Link;
use crate::actor::ActorCell;

/// The batch that is not measured yet, and since when it may have run.
///
/// What names its last message lies in cells of one word and not in one value: a lone message is
/// noted in front of the answer to it, and a value of three words would be moved through memory.
#[derive(Default)]
pub(super) struct LatestBatch {
    began: Cell<Instant>,
    /// Zero: there is no batch.
    messages: Cell<u32>,
    /// Of an archived message: where it came from, and its target and type numbers there.
    link: Cell<Option<Rc<Link>>>,
    target: Cell<u32>,
    message: Cell<u16>,
    /// Of a local one.
    local: Cell<Option<LocalPlace>>,
}

/// A local message that was handled: its actor's place, and its place in the protocol.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalPlace {
    pub(super) slot: u32,
    pub(super) generation: u64,
    pub(super) index: u16,
}

impl Core {
    /// Reads the clock, and measures what ran since the last time.
    pub(super) fn look_at_clock(&self) -> Instant {
        let now = self.clock.read();
        let began = self.latest_batch.began.replace(now);
        let messages = self.latest_batch.messages.replace(0);
        let link = self.latest_batch.link.take();
        let took = now.saturating_since(began);
        if took >= self.settings.slow_handler && messages > 0 {
            self.note_slow(link.as_ref(), messages, took);
        }
        now
    }

    /// How many messages may be dispatched before the next look at the budget; zero ends the turn.
    pub(super) fn next_stride(&self, budget: &mut Budget) -> u32 {
        if self.latest_batch.messages.get() > 0 {
            budget.look(self.look_at_clock());
        }
        budget.stride()
    }

    /// Takes a batch of archived messages off the turn's budget.
    #[inline]
    pub(super) fn spend(
        &self,
        budget: &mut Budget,
        link: &Rc<Link>,
        messages: u32,
        (target, message): (u32, u16),
    ) {
        if messages > 0 {
            budget.spend(messages);
            let latest = &self.latest_batch;
            latest.messages.set(messages);
            latest.link.set(Some(Rc::clone(link)));
            latest.target.set(target);
            latest.message.set(message);
        }
    }

    /// Takes a batch of local messages off the turn's budget.
    pub(super) fn spend_on_locals(&self, budget: &mut Budget, messages: u32, last: LocalPlace) {
        budget.spend(messages);
        let latest = &self.latest_batch;
        latest.messages.set(messages);
        latest.link.set(None);
        latest.local.set(Some(last));
    }

    /// The names of the last message's actor, if it still lives, and of the message.
    fn name_latest(&self, link: Option<&Rc<Link>>) -> Option<(String, &'static str)> {
        let named = |actor: &Rc<ActorCell>, index| (actor.to_string(), actor.message_name(index));
        let latest = &self.latest_batch;
        if let Some(link) = link {
            let routes = link.routes.borrow();
            let known = routes.known(latest.target.get(), latest.message.get());
            return known.map(|(actor, index)| named(actor, index));
        }
        let LocalPlace {
            slot,
            generation,
            index,
        } = latest.local.get()?;
        let actors = self.actors.borrow();
        actors.at(slot, generation).map(|actor| named(actor, index))
    }

    /// Counts a batch that took too long, and says so now and then: with at most a few dozen
    /// messages in it, one handler was slow, or the core was pre-empted. Which of them it was is
    /// known of a batch of one; of others the last is named.
    #[cold]
    fn note_slow(&self, link: Option<&Rc<Link>>, messages: u32, took: Duration) {
        self.tally.slow_handlers.add(1);
        if !self.slow_log_budget.borrow_mut().take(self.clock.now()) {
            return;
        }
        let (actor, message) = self
            .name_latest(link)
            .unwrap_or_else(|| ("one that stopped".to_owned(), "?"));
        tracing::warn!(
            ?took,
            messages,
            last_actor = %actor,
            last_message = message,
            "handlers held their core for too long, or it was pre-empted",
        );
    }
}
