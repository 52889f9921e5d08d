//! Dead letters of a core: counted, logged now and then, and posted to whoever subscribed.
//!
//! All of it is off the path of messages that arrive. What a letter says is only put together for
//! the log or a subscription.

use std::cell::RefCell;
use std::rc::Rc;

use ringmesh_proto::link::Target;
use ringmesh_proto::message::{MessageId, MessageType};
use ringmesh_proto::time::Instant;
use ringmesh_proto::token_bucket::TokenBucket;

use super::link::Link;
use super::{Core, NoRoute};
use crate::actor::{ActorCell, Mismatch};
use crate::counters::Count;
use crate::dead_letter::{DeadLetter, DeadLetterReason, DeadLetters, DeadRecipient};

/// Lines that a core logs at once about the dead letters of one reason, and in the long run.
const LOGS_BURST: u32 = 4;
const LOGS_PER_SECOND: u32 = 1;

/// How often a core may log dead letters, for each reason by itself: a flood for one hides no
/// other.
#[derive(Debug)]
pub(super) struct LetterLog(RefCell<[LogPace; DeadLetterReason::ALL.len()]>);

#[derive(Clone, Copy, Debug)]
struct LogPace {
    budget: TokenBucket,
    /// Messages that were not logged since the last line.
    suppressed: u64,
}

impl Default for LetterLog {
    fn default() -> Self {
        let pace = LogPace {
            budget: TokenBucket::new(LOGS_BURST, LOGS_PER_SECOND),
            suppressed: 0,
        };
        Self(RefCell::new([pace; DeadLetterReason::ALL.len()]))
    }
}

impl LetterLog {
    /// Whether `count` messages may be logged now: how many were not, since the last line.
    fn take(&self, reason: DeadLetterReason, count: u64, now: Instant) -> Option<u64> {
        let pace = &mut self.0.borrow_mut()[reason as usize];
        if pace.budget.take(now) {
            return Some(std::mem::take(&mut pace.suppressed));
        }
        pace.suppressed += count;
        None
    }

    /// What was not logged, by reason.
    fn rest(&self) -> Vec<(DeadLetterReason, u64)> {
        let mut paces = self.0.borrow_mut();
        let all = DeadLetterReason::ALL.into_iter().zip(paces.iter_mut());
        let rest = all.map(|(reason, pace)| (reason, std::mem::take(&mut pace.suppressed)));
        rest.filter(|(_, suppressed)| *suppressed > 0).collect()
    }
}

/// What is known of a message that reached nobody.
#[derive(Debug, Default)]
pub(super) struct Described {
    message: Option<MessageId>,
    message_name: Option<&'static str>,
    recipient: Option<DeadRecipient>,
    /// Nothing went wrong that somebody should look into.
    in_order: bool,
}

impl Described {
    /// Messages that were given up with their link.
    pub(super) fn with_its_link(in_order: bool) -> Self {
        Self {
            in_order,
            ..Self::default()
        }
    }

    /// An answer; of an error that stands for one, nothing.
    pub(super) fn answer(message: Option<MessageType>) -> Self {
        Self {
            message: message.map(|message| message.id),
            ..Self::default()
        }
    }

    /// A message for an actor of another core.
    pub(super) fn of_target(message: MessageType, target: Target) -> Self {
        Self {
            message: Some(message.id),
            ..Self::for_place(target)
        }
    }

    /// A message for an actor of which only its place is known.
    pub(super) fn for_place(target: Target) -> Self {
        let Target { slot, generation } = target;
        Self {
            recipient: Some(DeadRecipient {
                name: None,
                slot,
                generation,
            }),
            ..Self::default()
        }
    }

    /// Message number `index` of the protocol of `actor`, local or not.
    pub(super) fn of_actor(actor: &ActorCell, index: u16) -> Self {
        let info = actor.message(index);
        Self {
            message: info.map(|info| info.message_type.id),
            message_name: actor.name_at(index),
            recipient: Some(DeadRecipient {
                name: actor.name.clone(),
                slot: actor.slot,
                generation: actor.generation,
            }),
            in_order: false,
        }
    }
}

impl Core {
    /// Subscribes to the dead letters of all cores.
    pub(crate) fn dead_letters(&self) -> DeadLetters {
        DeadLetters(self.shared.letters.subscribe())
    }

    /// Counts messages that reached nobody, and says so to whom it concerns. No cell of the core
    /// may be borrowed.
    #[cold]
    pub(super) fn bury(
        &self,
        reason: DeadLetterReason,
        count: u64,
        link: &Link,
        describe: impl FnOnce(&Self) -> Described,
    ) {
        self.counter_of(reason).add(count);
        self.report(reason, count, link, describe);
    }

    /// Says of messages that were counted why they reached nobody.
    #[cold]
    pub(super) fn report(
        &self,
        reason: DeadLetterReason,
        count: u64,
        link: &Link,
        describe: impl FnOnce(&Self) -> Described,
    ) {
        let logged = self.letter_log.take(reason, count, self.clock.now());
        let is_read = self.shared.letters.is_read();
        if logged.is_none() && !is_read {
            return;
        }
        let Described {
            message,
            message_name,
            recipient,
            in_order,
        } = describe(self);
        let letter = DeadLetter {
            reason,
            count,
            core: self.id,
            peer: link.node.clone(),
            message,
            message_name,
            recipient,
        };
        if let Some(suppressed) = logged {
            let label = reason.label();
            if in_order {
                tracing::info!(%letter, label, suppressed, "dead letters");
            } else {
                tracing::warn!(%letter, label, suppressed, "dead letters");
            }
        }
        if is_read {
            let woken = self.shared.letters.post(letter);
            woken.into_iter().for_each(|(_, waker)| self.wake(waker));
        }
    }

    /// The same of a message that has no route, by the peer's numbers.
    pub(super) fn bury_unrouted(&self, no_route: NoRoute, link: &Rc<Link>, numbers: (u32, u16)) {
        let reason = match no_route {
            NoRoute::NoRecipient => DeadLetterReason::NoRecipient,
            NoRoute::NotForClients => DeadLetterReason::NotForClients,
            NoRoute::Mismatch(Mismatch::UnknownMessage) => DeadLetterReason::UnknownMessage,
            NoRoute::Mismatch(Mismatch::Schema) => DeadLetterReason::SchemaMismatch,
        };
        self.bury(reason, 1, link, |core| core.describe(link, numbers));
    }

    /// What a message is and whom it was for, by the peer's numbers.
    pub(super) fn describe(&self, link: &Link, (target, message): (u32, u16)) -> Described {
        let inbound = link.inbound.borrow();
        let message = inbound.message_type(message).ok().map(|known| known.id);
        let Ok(Target { slot, generation }) = inbound.target(target) else {
            return Described {
                message,
                ..Described::default()
            };
        };
        let actors = self.actors.borrow();
        let actor = actors.at(slot, generation);
        Described {
            message,
            message_name: actor.zip(message).and_then(|(actor, id)| actor.name_of(id)),
            recipient: Some(DeadRecipient {
                name: actor.and_then(|actor| actor.name.clone()),
                slot,
                generation,
            }),
            in_order: false,
        }
    }

    fn counter_of(&self, reason: DeadLetterReason) -> &Count {
        let tally = &self.tally;
        match reason {
            DeadLetterReason::Unsent => &tally.dead_unsent,
            DeadLetterReason::Maybe => &tally.dead_maybe,
            DeadLetterReason::NoRecipient => &tally.dead_no_recipient,
            DeadLetterReason::UnknownMessage => &tally.dead_unknown_message,
            DeadLetterReason::SchemaMismatch => &tally.dead_schema_mismatch,
            DeadLetterReason::Expired => &tally.dead_expired,
            DeadLetterReason::Invalid => &tally.dead_invalid,
            DeadLetterReason::LateAnswer => &tally.dead_late_answer,
            DeadLetterReason::NotUpgraded => &tally.dead_not_upgraded,
            DeadLetterReason::NotForClients => &tally.dead_not_for_clients,
            DeadLetterReason::Stashed => &tally.dead_stashed,
        }
    }

    /// Says at the core's end what the log did not.
    pub(super) fn log_unsaid_letters(&self) {
        for (reason, suppressed) in self.letter_log.rest() {
            tracing::warn!(label = reason.label(), suppressed, "more dead letters");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_reason_is_logged_at_its_own_pace_and_no_message_goes_unsaid() {
        let log = LetterLog::default();
        let (flooded, rare) = (DeadLetterReason::NoRecipient, DeadLetterReason::Maybe);
        let now = Instant::ZERO;
        let said = (0..100).filter_map(|_| log.take(flooded, 1, now));
        assert_eq!(said.collect::<Vec<_>>(), [0; LOGS_BURST as usize]);
        assert_eq!(log.take(rare, 7, now), Some(0));
        let suppressed = 100 - u64::from(LOGS_BURST);
        let later = now + Duration::from_secs(1);
        assert_eq!(log.take(flooded, 1, later), Some(suppressed));
        assert_eq!(log.take(flooded, 5, later), None);
        assert_eq!(log.rest(), [(flooded, 5)]);
        assert_eq!(log.rest(), []);
    }
}
