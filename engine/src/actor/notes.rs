//! What the loop of an actor sees to besides its next message.

use std::cell::Cell;

/// What a loop sees to besides its next message. There is nothing for almost every message, and
/// finding that out is one look at all of it.
#[derive(Default)]
pub(super) struct Notes(Cell<u16>);

impl Notes {
    /// Messages may wait in the mailbox.
    pub(super) const WAITING: u16 = 1;
    /// The actor asked to be stopped.
    pub(super) const WANTS_STOP: u16 = 1 << 1;
    /// The core stops the actor.
    pub(super) const STOPPING: u16 = 1 << 2;
    /// The actor panicked.
    pub(super) const PANICKED: u16 = 1 << 3;
    /// Something else than a message is to be handled.
    pub(super) const ASIDE: u16 = 1 << 4;
    /// The actor ends behind the handler that runs.
    pub(super) const LINGERS: u16 = 1 << 5;
    /// The actor ends when no more messages wait.
    pub(super) const DRAINS: u16 = 1 << 6;
    /// The message that was handed over reached no handler.
    pub(super) const REFUSED: u16 = 1 << 7;
    /// The message that is being handled brought something besides its bytes.
    pub(super) const EXTRA: u16 = 1 << 8;

    #[inline]
    pub(super) fn are_none(&self) -> bool {
        self.0.get() == 0
    }

    #[inline]
    pub(super) fn have(&self, note: u16) -> bool {
        self.0.get() & note != 0
    }

    pub(super) fn add(&self, note: u16) {
        self.0.set(self.0.get() | note);
    }

    pub(super) fn remove(&self, note: u16) {
        self.0.set(self.0.get() & !note);
    }

    /// Leaves these and no others.
    pub(super) fn reset(&self, notes: u16) {
        self.0.set(notes);
    }
}
