//! The questions of a core that wait for their answers.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use ringmesh_proto::archive::AccessError;

use ringmesh_proto::message::{Message, MessageType};
use ringmesh_proto::time::Instant;
use ringmesh_proto::upgrade::Older;
use ringmesh_transport::buffer::Chunk;
use ringmesh_transport::timer::TimerKey;

use super::{Asked, Link, LinkId};
use crate::error::{AskError, AskPhase};
use crate::message::Validated;

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

/// What a question came to.
pub(crate) type Answer = Result<Validated, AskError>;

/// What an answer has to be, for a table that does not know its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) message: MessageType,
    /// Validates the answer when it arrives, which is the only time.
    pub(crate) validate: fn(Chunk) -> Result<Validated, AccessError>,
    /// What may come in its place.
    pub(crate) older: &'static [Older],
}

impl Expected {
    pub(crate) fn of<M: Message>() -> &'static Self {
        const {
            &Self {
                message: M::TYPE,
                validate: Validated::new::<M>,
                older: M::OLDER,
            }
        }
    }
}

/// What a question leaves behind that is not waited for any more. It is for the caller to deal
/// with, because wakers are user code and the table is borrowed here.
#[derive(Debug, Default)]
#[must_use = "a timer, a waker and a link wait for what follows"]
pub(crate) struct Settled {
    /// Where it was sent, if no answer came: it is still owed.
    pub(crate) owed_on: Option<Rc<Link>>,
    pub(crate) timer: Option<TimerKey>,
    pub(crate) waker: Option<Waker>,
    /// Who asked a question that was passed on, and what is to be told: an answer of this type, or
    /// an error.
    pub(crate) relayed: Option<(Asked, MessageType, Answer)>,
}

#[derive(Debug)]
enum State {
    Free,
    Waiting(Option<Waker>),
    /// It was passed on, for this asker.
    Relayed(Asked),
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
    expected: &'static Expected,
    overdue: Instant,
    deadline: Option<TimerKey>,
}

/// Questions and their answers, in slots that are reused with another generation.
#[derive(Debug, Default)]
pub(crate) struct AskTable {
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Those that were passed on and not cancelled yet, by the link and the number of whoever asked
    /// first. Not hashed, because a peer chooses the numbers; of equal ones, the last.
    relayed: BTreeMap<(LinkId, u64), Correlation>,
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

    /// Takes the place that [`next`](Self::next) named, for a question that was just sent, or
    /// passed on for another asker.
    pub(crate) fn occupy(
        &mut self,
        link: &Rc<Link>,
        position: u64,
        expected: &'static Expected,
        (overdue, deadline): (Instant, Option<TimerKey>),
        relayed: Option<Asked>,
    ) {
        let slot = self.free.pop().unwrap_or_else(|| {
            let state = State::Free;
            self.entries.push(Entry {
                generation: 0,
                state,
                link: None,
                position,
                expected,
                overdue,
                deadline: None,
            });
            u32::try_from(self.entries.len() - 1).expect("ASKS_MAX fits 32 bits")
        });
        let entry = &mut self.entries[slot as usize];
        if let Some(asked) = &relayed {
            let generation = entry.generation;
            let correlation = Correlation { slot, generation };
            self.relayed.insert(asked.origin(), correlation);
        }
        entry.state = relayed.map_or(State::Waiting(None), State::Relayed);
        entry.link = Some(Rc::clone(link));
        entry.position = position;
        entry.expected = expected;
        entry.overdue = overdue;
        entry.deadline = deadline;
    }

    /// What an answer that comes on `link` has to be; `None` when nobody waits for it any more, or
    /// `link` is not the one its question was sent on.
    pub(crate) fn expected(
        &self,
        correlation: Correlation,
        link: LinkId,
    ) -> Option<&'static Expected> {
        let entry = self.entries.get(correlation.slot as usize)?;
        let waits = entry.generation == correlation.generation
            && matches!(entry.state, State::Waiting(_) | State::Relayed(_))
            && entry
                .link
                .as_ref()
                .is_some_and(|sent_on| sent_on.id == link);
        waits.then_some(entry.expected)
    }

    /// How long somebody waits for the answer to a question from `now` on; `None` when nobody does.
    pub(crate) fn left(&self, correlation: Correlation, now: Instant) -> Option<Duration> {
        let entry = self.entries.get(correlation.slot as usize)?;
        let waits = entry.generation == correlation.generation
            && matches!(entry.state, State::Waiting(_) | State::Relayed(_));
        let left = entry.overdue.saturating_since(now);
        (waits && !left.is_zero()).then_some(left)
    }

    /// Records what a question came to. `None` when nobody waits for it any more.
    pub(crate) fn resolve(&mut self, correlation: Correlation, answer: Answer) -> Option<Settled> {
        let entry = self.entry(correlation)?;
        let mut settled = Settled::default();
        match std::mem::replace(&mut entry.state, State::Free) {
            State::Waiting(waker) => {
                settled.waker = waker;
                entry.state = State::Answered(answer);
            }
            State::Relayed(asked) => {
                settled.relayed = Some((asked, entry.expected.message, answer));
            }
            other => {
                entry.state = other;
                return None;
            }
        }
        settled.owed_on = entry.link.take();
        settled.timer = entry.deadline.take();
        if let Some((asked, ..)) = &settled.relayed {
            let origin = asked.origin();
            if self.relayed.get(&origin) == Some(&correlation) {
                self.relayed.remove(&origin);
            }
            self.release(correlation);
        }
        Some(settled)
    }

    /// The question that was passed on for question `number` of a link, and where to. Once: it is
    /// cancelled then.
    pub(crate) fn take_relayed(
        &mut self,
        link: LinkId,
        number: u64,
    ) -> Option<(Correlation, Rc<Link>)> {
        let correlation = self.relayed.remove(&(link, number))?;
        let sent_on = self.entry(correlation)?.link.clone()?;
        Some((correlation, sent_on))
    }

    /// Takes the answer out, if it is there, and frees the place.
    pub(crate) fn take(&mut self, correlation: Correlation) -> Option<Answer> {
        let entry = self.entry(correlation)?;
        match std::mem::replace(&mut entry.state, State::Free) {
            State::Answered(answer) => {
                self.release(correlation);
                Some(answer)
            }
            other => {
                entry.state = other;
                None
            }
        }
    }

    /// Whether `waker`, or one like it, is woken by the answer.
    pub(crate) fn knows(&mut self, correlation: Correlation, waker: &Waker) -> bool {
        self.entry(correlation).is_some_and(
            |entry| matches!(&entry.state, State::Waiting(Some(known)) if known.will_wake(waker)),
        )
    }

    /// Notes whom the answer wakes; gives back the one it woke before.
    pub(crate) fn note(&mut self, correlation: Correlation, waker: Waker) -> Option<Waker> {
        match self.entry(correlation).map(|entry| &mut entry.state) {
            Some(State::Waiting(known)) => known.replace(waker),
            _ => Some(waker),
        }
    }

    /// Forgets a question nobody waits for, and frees the place.
    pub(crate) fn forget(&mut self, correlation: Correlation) -> Settled {
        let Some(entry) = self.entry(correlation) else {
            return Settled::default();
        };
        let waker = match &mut entry.state {
            State::Waiting(waker) => waker.take(),
            State::Free | State::Relayed(_) | State::Answered(_) => None,
        };
        let settled = Settled {
            owed_on: entry.link.take(),
            timer: entry.deadline.take(),
            waker,
            relayed: None,
        };
        self.release(correlation);
        settled
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
