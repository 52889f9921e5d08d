//! Messages that wait for an actor whose handler waits.
//!
//! They wait in the order they came, whatever link they came on. The bound is kept in three steps,
//! because what was on its way when it was reached cannot be refused without being lost:
//! 1. at the bound, each link that sends more is told that the actor is busy, and its sends to this
//!    actor fail there with `Full`, while others on the link go on;
//! 2. what comes beyond the bound all the same is charged to its link: that gets less credit, so a
//!    peer makes this side hold one and a half windows per link at most;
//! 3. below half of the bound, each link that was told busy is told ready.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Arrived;
use crate::core::{Extra, Link};

/// One message that waits, or that is handed to its actor's loop.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) arrived: Arrived,
    pub(crate) link: Rc<Link>,
    /// What it brought besides its bytes.
    pub(crate) extra: Extra,
    /// What it takes of the mailbox: the bytes of its frame.
    pub(crate) bytes: usize,
    /// It is beyond the mailbox's bound, and its bytes were taken off the credit of its link.
    pub(crate) charged: bool,
    /// It was delivered before, and laid aside.
    pub(crate) again: bool,
}

/// A link that was told that the actor is busy, and the actor's number there.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) link: Rc<Link>,
    pub(crate) target_number: u32,
}

/// The messages that wait for one actor.
#[derive(Debug)]
pub(crate) struct Mailbox {
    letters: VecDeque<Letter>,
    bytes: usize,
    bound: Bound,
    told: Vec<Told>,
}

/// How much may wait before senders are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// What follows from a letter that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// There is room for more.
    Room,
    /// There is none: the letter's link is to be told.
    Full,
}

impl Mailbox {
    pub(crate) fn new(bound: Bound) -> Self {
        Self {
            letters: VecDeque::new(),
            bytes: 0,
            bound,
            told: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// Puts a letter behind the others, marked as charged when it is beyond the bound.
    pub(crate) fn put(&mut self, mut letter: Letter) -> Filled {
        let Bound { messages, bytes } = self.bound;
        self.bytes += letter.bytes;
        letter.charged = self.letters.len() + 1 > messages || self.bytes > bytes;
        self.letters.push_back(letter);
        if self.letters.len() >= messages || self.bytes >= bytes {
            Filled::Full
        } else {
            Filled::Room
        }
    }

    /// Puts letters that were laid aside in front of the others, in their order. They have bounds
    /// of their own, and are no reason to take off credit.
    pub(crate) fn put_back(&mut self, letters: VecDeque<Letter>) {
        for letter in letters.into_iter().rev() {
            self.bytes += letter.bytes;
            self.letters.push_front(letter);
        }
    }

    /// Whether the letter that was put in last is beyond the bound.
    pub(crate) fn charges_last(&self) -> bool {
        self.letters.back().is_some_and(|letter| letter.charged)
    }

    /// Takes the oldest letter.
    pub(crate) fn take(&mut self) -> Option<Letter> {
        let letter = self.letters.pop_front()?;
        self.bytes -= letter.bytes;
        if self.letters.is_empty() && self.letters.capacity() > self.bound.messages {
            // A flood's memory goes with it.
            self.letters = VecDeque::new();
        }
        Some(letter)
    }

    /// Notes a link that was told busy.
    pub(crate) fn note_told(&mut self, told: Told) {
        self.told.push(told);
    }

    /// The links to be told ready, once there is room for half of the bound.
    pub(crate) fn take_told(&mut self) -> Vec<Told> {
        let Bound { messages, bytes } = self.bound;
        if self.letters.len() <= messages / 2 && self.bytes <= bytes / 2 {
            std::mem::take(&mut self.told)
        } else {
            Vec::new()
        }
    }
}
