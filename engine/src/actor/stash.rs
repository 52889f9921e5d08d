//! Messages that an actor lays aside until it can handle them.
//!
//! Only a [`LaterHandler`](crate::LaterHandler) lays a message aside: it alone has both the message
//! and the promise of its answer in hand, and gives both away: nothing can be both handled and laid
//! aside, or answered twice. That an actor may is said by its type, in
//! [`Actor::STASH`](crate::Actor::STASH): such a one has a mailbox from its start, by way of which
//! the messages come back, and others pay nothing for it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;

use ringmesh_proto::message::Message;

use super::{Letter, ReplyTo};
use crate::message::Msg;

/// How much the actors of a type may lay aside, each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StashLimit {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl StashLimit {
    /// Nothing.
    pub const NONE: Self = Self::of(0, 0);

    /// 1024 messages and 1 MiB, which suits an actor that waits for what it needs to begin.
    pub const USUAL: Self = Self::of(1 << 10, 1 << 20);

    /// So many messages, and bytes of archived ones with their frames, whichever is reached first.
    ///
    /// Too little has messages come back while the actor cannot handle them; too much has their
    /// senders wait for long for what may never be handled.
    pub const fn of(messages: usize, bytes: usize) -> Self {
        Self { messages, bytes }
    }

    pub(crate) const fn is_none(self) -> bool {
        self.messages == 0
    }
}

/// The message was not laid aside, because as many are as may be. It comes back with the promise of
/// its answer, and is still to be handled, or answered, or passed on.
pub struct StashFull<M: Message> {
    /// The message.
    pub message: Msg<M>,
    /// Where its answer goes.
    pub reply: ReplyTo<M>,
}

impl<M: Message> fmt::Display for StashFull<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("as many messages are laid aside as may be")
    }
}

impl<M: Message> fmt::Debug for StashFull<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StashFull({self})")
    }
}

impl<M: Message> std::error::Error for StashFull<M> {}

/// What one actor has laid aside, in order.
#[derive(Debug, Default)]
pub(super) struct Stash {
    letters: RefCell<VecDeque<Letter>>,
    bytes: Cell<usize>,
}

impl Stash {
    /// Whether there is room for a message of so many bytes.
    pub(super) fn has_room(&self, bytes: usize, limit: StashLimit) -> bool {
        self.letters.borrow().len() < limit.messages
            && self.bytes.get().saturating_add(bytes) <= limit.bytes
    }

    pub(super) fn put(&self, letter: Letter) {
        self.bytes.set(self.bytes.get() + letter.bytes);
        self.letters.borrow_mut().push_back(letter);
    }

    pub(super) fn take_all(&self) -> VecDeque<Letter> {
        self.bytes.set(0);
        self.letters.take()
    }

    pub(super) fn len(&self) -> usize {
        self.letters.borrow().len()
    }
}
