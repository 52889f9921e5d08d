//! The questions of a core that wait for their answers.

use std::rc::Rc;
use std::task::Waker;

use ringmesh_proto::message::MessageType;
use ringmesh_transport::buffer::Chunk;
use ringmesh_transport::timer::TimerKey;

use super::{Link, LinkId};
use crate::error::{AskError, AskPhase};

/// Names one question of a core; travels in the frame and comes back with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Correlation {
    slot: u32,
    generation: u32,
}

impl Correlation {
    pub(crate) fn to_wire(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half is taken by itself"
    )]
    pub(crate) fn from_wire(number: u64) -> Self {
        Self {
            slot: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

/// What came for a question, and the type its sender gave it.
pub(crate) type TypedAnswer = Result<(MessageType, Chunk), AskError>;

/// What a question came to.
pub(crate) type Answer = Result<Chunk, AskError>;

#[derive(Debug)]
enum State {
    Free,
    Waiting(Option<Waker>),
    Answered(Answer),
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    state: State,
    /// Where it was sent, until it is answered.
    link: Option<Rc<Link>>,
    /// The position of the question's first byte on its link.
    position: u64,
    /// What an answer has to be.
    reply: Option<MessageType>,
    deadline: Option<TimerKey>,
}

/// Questions and their answers, in slots that are reused with another generation.
#[derive(Debug, Default)]
pub(crate) struct AskTable {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

impl AskTable {
    /// Questions one core may have outstanding.
    pub(crate) const ASKS_MAX: usize = 1 << 16;

    /// The place of the next question, `None` when there are [`Self::ASKS_MAX`] already. Nothing is
    /// taken until [`occupy`](Self::occupy).
    pub(crate) fn next(&self) -> Option<Correlation> {
        if let Some(&slot) = self.free.last() {
            let generation = self.entries[slot as usize].generation;
            return Some(Correlation { slot, generation });
        }
        let slot = u32::try_from(self.entries.len()).ok()?;
        (self.entries.len() < Self::ASKS_MAX).then_some(Correlation {
            slot,
            generation: 0,
        })
    }

    /// Takes the place that [`next`](Self::next) named, for a question that was just sent.
    pub(crate) fn occupy(
        &mut self,
        link: &Rc<Link>,
        position: u64,
        reply: Option<MessageType>,
        deadline: Option<TimerKey>,
    ) {
        let slot = self.free.pop().unwrap_or_else(|| {
            let state = State::Free;
            self.entries.push(Entry {
                generation: 0,
                state,
                link: None,
                position,
                reply,
                deadline: None,
            });
            u32::try_from(self.entries.len() - 1).expect("ASKS_MAX fits 32 bits")
        });
        let entry = &mut self.entries[slot as usize];
        entry.state = State::Waiting(None);
        entry.link = Some(Rc::clone(link));
        entry.position = position;
        entry.reply = reply;
        entry.deadline = deadline;
    }

    /// Records what a question came to; gives back its timer, to be cancelled. `None` when nobody
    /// waits for it any more, or `link` is not the one it was sent on.
    pub(crate) fn resolve(
        &mut self,
        correlation: Correlation,
        link: Option<LinkId>,
        answer: TypedAnswer,
    ) -> Option<(Option<TimerKey>, Option<Waker>)> {
        let entry = self.entry(correlation)?;
        let sent_on = entry.link.as_ref()?;
        if link.is_some_and(|link| link != sent_on.id) {
            return None;
        }
        let State::Waiting(waker) = &mut entry.state else {
            return None;
        };
        let waker = waker.take();
        sent_on.asks.set(sent_on.asks.get() - 1);
        entry.link = None;
        entry.state = State::Answered(answer.and_then(|(message, payload)| {
            let expected = entry.reply == Some(message);
            if expected {
                Ok(payload)
            } else {
                Err(AskError::ReplyMismatch)
            }
        }));
        Some((entry.deadline.take(), waker))
    }

    /// Takes the answer out and frees the place, or notes whom to wake.
    pub(crate) fn take(&mut self, correlation: Correlation, waker: &Waker) -> Option<Answer> {
        let entry = self.entry(correlation)?;
        match std::mem::replace(&mut entry.state, State::Free) {
            State::Answered(answer) => {
                self.release(correlation);
                Some(answer)
            }
            State::Waiting(known) => {
                let known = known.filter(|known| known.will_wake(waker));
                entry.state = State::Waiting(Some(known.unwrap_or_else(|| waker.clone())));
                None
            }
            State::Free => None,
        }
    }

    /// Forgets a question nobody waits for; gives back its timer, to be cancelled.
    pub(crate) fn forget(&mut self, correlation: Correlation) -> Option<TimerKey> {
        let entry = self.entry(correlation)?;
        let deadline = entry.deadline.take();
        if let Some(link) = entry.link.take() {
            link.asks.set(link.asks.get() - 1);
        }
        self.release(correlation);
        deadline
    }

    /// The questions sent on a link that has ended, with how far each got: what was at or beyond
    /// `sent` never left.
    pub(crate) fn on_link(&self, link: LinkId, sent: u64) -> Vec<(Correlation, AskPhase)> {
        let waiting = self.entries.iter().enumerate().filter(|(_, entry)| {
            entry
                .link
                .as_ref()
                .is_some_and(|sent_on| sent_on.id == link)
        });
        waiting
            .map(|(slot, entry)| {
                let slot = u32::try_from(slot).expect("ASKS_MAX fits 32 bits");
                let phase = if entry.position < sent {
                    AskPhase::Sent
                } else {
                    AskPhase::Queued
                };
                (
                    Correlation {
                        slot,
                        generation: entry.generation,
                    },
                    phase,
                )
            })
            .collect()
    }

    fn entry(&mut self, correlation: Correlation) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(correlation.slot as usize)?;
        let live =
            entry.generation == correlation.generation && !matches!(entry.state, State::Free);
        live.then_some(entry)
    }

    fn release(&mut self, correlation: Correlation) {
        let entry = &mut self.entries[correlation.slot as usize];
        entry.state = State::Free;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(correlation.slot);
    }
}
