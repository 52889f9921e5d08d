//! What a core counts: plain cells, touched by its own thread alone.

use std::cell::Cell;
use std::collections::BTreeMap;

/// Counts of one core since it started. Read with [`Node::counters`](crate::Node::counters).
///
/// The accounts of a core always close:
/// - outgoing: `sent` = `acknowledged` + `dead_sent` + in flight (`in_flight`);
/// - incoming: `received` = `delivered` + `dead_received` + `waiting` + `hopped`.
///
/// A message that arrives on another core than its recipient's, because two nodes share links, is
/// received, hopped and sent anew by that core, and received again and delivered by the
/// recipient's; so is its answer on the way back.
///
/// A message counts as received when its turn comes, and its grant follows. When a peer ends a
/// connection, what came on it before is received first. When this node ends one, messages that
/// still wait are not received but counted in `dropped_unread`: they are in flight for their
/// sender, who gives them up as `dead_maybe`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages (tells, asks and answers) accepted for sending.
    pub sent: u64,
    /// Of those, how many the receiving side has taken over.
    pub acknowledged: u64,
    /// Of those, how many were given up when their link ended; see `dead_unsent`, `dead_maybe`.
    pub dead_sent: u64,
    /// Part of `dead_sent`: never left this node.
    pub dead_unsent: u64,
    /// Part of `dead_sent`: left this node, and may or may not have been handled.
    pub dead_maybe: u64,
    /// Messages accepted and neither acknowledged nor given up.
    pub in_flight: u64,
    /// Messages that arrived whole and undamaged.
    pub received: u64,
    /// Of those, how many reached a handler or the asker they answer.
    pub delivered: u64,
    /// Of those, how many wait in the mailboxes of actors at the moment, or for room on their way
    /// to another core.
    pub waiting: u64,
    /// Of those, how many were passed on: to another core of this node, where their recipient
    /// lives, or from there back to the node that asked.
    pub hopped: u64,
    /// Of those, how many could not be delivered; the fields below say why.
    pub dead_received: u64,
    /// Part of `dead_received`: the recipient does not run, or not any more.
    pub dead_no_recipient: u64,
    /// Part of `dead_received`: the recipient's protocol has no such message.
    pub dead_unknown_message: u64,
    /// Part of `dead_received`: the message is known in another version or with other fields.
    pub dead_schema_mismatch: u64,
    /// Part of `dead_received`: the bytes are not a valid archive of the message, or of the answer.
    pub dead_invalid: u64,
    /// Part of `dead_received`: an answer to a question no longer asked.
    pub dead_late_answer: u64,
    /// Messages that had arrived whole behind what ended their connection, and were dropped with
    /// it; no part of `received`.
    pub dropped_unread: u64,
    /// Answers that found their queue full: the asker got an error in their place.
    pub replies_overloaded: u64,
    /// Questions that were dropped, or timed out, with their answer still owed.
    pub asks_abandoned: u64,
    /// Of those, how many were cancelled at the peer; for the others there was no credit.
    pub cancels_sent: u64,
    /// Answers that waited for credit and were dropped because their asker cancelled: it got an
    /// error in their place.
    pub replies_withdrawn: u64,
    /// Handlers, tasks, wakers and drops that panicked.
    pub panics: u64,
    /// Batches of messages that held their core longer than `slow_handler`: mostly one handler in
    /// each, or another program on the same CPU.
    pub slow_handlers: u64,
    /// Frames copied because they straddled two receive buffers.
    pub frames_copied_straddled: u64,
    /// Frames copied because too many receive buffers were pinned.
    pub frames_copied_pinned: u64,
    /// Frames copied for any other reason: their message waits for its actor.
    pub frames_copied_other: u64,
    /// Connections closed for a fault of the peer; see the log for each reason.
    pub closed_for_fault: u64,
    /// Turns of the core's loop.
    pub turns: u64,
    /// `io_uring_enter` calls of the core's own ring.
    pub enters: u64,
    /// How often the core slept.
    pub parks: u64,
    /// Send operations given to the kernel.
    pub sends: u64,
    /// Receive completions.
    pub receives: u64,
    /// Bytes given to the kernel.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections dialled.
    pub dialled: u64,
    /// Links up at the moment.
    pub links: u64,
    /// Actors alive at the moment.
    pub actors: u64,
}

/// One count. A core's thread is the only one that touches it.
#[derive(Debug, Default)]
pub(crate) struct Count(Cell<u64>);

impl Count {
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.0.set(self.0.get() + more);
    }

    #[inline]
    pub(crate) fn take(&self, less: u64) {
        self.0.set(self.0.get() - less);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.get()
    }
}

/// How often connections were closed, by reason. The reasons are a closed list.
#[derive(Debug, Default)]
pub(crate) struct CloseCounts(BTreeMap<&'static str, u64>);

impl CloseCounts {
    pub(crate) fn count(&mut self, label: &'static str) {
        *self.0.entry(label).or_default() += 1;
    }

    pub(crate) fn all(&self) -> BTreeMap<&'static str, u64> {
        self.0.clone()
    }
}

/// The counts that the core keeps itself; the rest of [`Counters`] is asked from the transport and
/// the links when a snapshot is taken.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: Count,
    pub(crate) dead_unsent: Count,
    pub(crate) dead_maybe: Count,
    pub(crate) received: Count,
    pub(crate) delivered: Count,
    pub(crate) waiting: Count,
    pub(crate) hopped: Count,
    pub(crate) dead_no_recipient: Count,
    pub(crate) dead_unknown_message: Count,
    pub(crate) dead_schema_mismatch: Count,
    pub(crate) dead_invalid: Count,
    pub(crate) dead_late_answer: Count,
    pub(crate) dropped_unread: Count,
    pub(crate) replies_overloaded: Count,
    pub(crate) acknowledged: Count,
    pub(crate) asks_abandoned: Count,
    pub(crate) cancels_sent: Count,
    pub(crate) replies_withdrawn: Count,
    pub(crate) panics: Count,
    pub(crate) slow_handlers: Count,
    pub(crate) copied_straddled: Count,
    pub(crate) copied_pinned: Count,
    pub(crate) copied_other: Count,
    pub(crate) closed_for_fault: Count,
    pub(crate) turns: Count,
}
