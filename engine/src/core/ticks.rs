//! Timers of actors: messages that an actor has sent to itself later, once or again and again.
//!
//! A tick is told over the core's link to itself like any other message, so mailboxes, credit and
//! accounts hold for it. While there is no room, a message of [`Cx::after`](crate::Cx::after) is
//! tried again, with growing pauses; one of [`Cx::every`](crate::Cx::every) waits for its next
//! turn, and counts as merged with that. Timers end with their actor.

use std::fmt;
use std::time::Duration;

use ringmesh_proto::message::Message;
use ringmesh_proto::time::Instant;
use ringmesh_transport::timer::{RESOLUTION, TimerKey};
use rustc_hash::{FxHashMap, FxHashSet};

use super::watch::Place;
use super::{Core, Token};
use crate::error::{Refusal, TimerError};
use crate::reference::Recipient;

/// Timers that the actors of one core may have at one time.
pub(super) const TICKS_MAX: usize = 1 << 16;

/// The first pause before a message that found no room is tried again, and the longest; each is
/// twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// Names a timer of an actor, for [`Cx::cancel`](crate::Cx::cancel). It never names another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    /// The generation of the actor, which no other actor of the process has.
    owner: u64,
    key: TickKey,
}

/// The place of a timer in its core's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TickKey {
    slot: u32,
    generation: u32,
}

/// When a timer fires.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    Once(Duration),
    Every(Duration),
    /// Each time that the actor heard nothing for so long.
    Quiet(Duration),
}

/// A message of any type.
trait AnyMessage {
    fn tell(&self, core: &Core, to: Recipient) -> Result<(), Refusal>;
}

impl<M: Message> AnyMessage for M {
    fn tell(&self, core: &Core, to: Recipient) -> Result<(), Refusal> {
        core.tell(&to, self, None)
    }
}

/// One timer. Its message is another's code, which runs when it drops: never within the table.
struct Entry {
    to: Recipient,
    message: Box<dyn AnyMessage>,
    repeat: Repeat,
    /// It belongs to a watch, which an actor keeps when it begins anew.
    is_kept: bool,
    /// When it is due, and its place on the wheel; none while it is being told.
    due: Instant,
    timer: Option<TimerKey>,
}

/// Looks in the time after which an actor that hears nothing is told so.
const LOOKS: u32 = 4;

#[derive(Clone, Copy)]
enum Repeat {
    /// Until it is told, next after this pause.
    UntilTold(Duration),
    Every(Duration),
    /// When the actor heard nothing in so many looks, with this pause between two; and how often it
    /// had heard something at the last of them.
    Quiet {
        pause: Duration,
        looks: u32,
        heard: Option<u64>,
    },
}

/// The timers of a core's actors.
#[derive(Default)]
pub(crate) struct Ticks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The slots of each actor that has timers, by its generation.
    of: FxHashMap<u64, FxHashSet<u32>>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

impl Ticks {
    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The place of the next timer; `None` when there are [`TICKS_MAX`].
    fn next(&mut self) -> Option<TickKey> {
        if self.len() >= TICKS_MAX {
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("TICKS_MAX fits 32 bits")
        });
        let generation = self.slots[slot as usize].generation;
        Some(TickKey { slot, generation })
    }

    fn put(&mut self, key: TickKey, entry: Entry) {
        let owner = entry.to.generation;
        self.of.entry(owner).or_default().insert(key.slot);
        self.slots[key.slot as usize].entry = Some(entry);
    }

    fn at(&mut self, key: TickKey) -> Option<&mut Entry> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        let is_it = slot.generation == key.generation;
        slot.entry.as_mut().filter(|_| is_it)
    }

    /// Takes a timer out for good.
    fn remove(&mut self, key: TickKey) -> Option<Entry> {
        self.at(key)?;
        let slot = &mut self.slots[key.slot as usize];
        let entry = slot.entry.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.slot);
        let owner = entry.to.generation;
        if let Some(slots) = self.of.get_mut(&owner) {
            slots.remove(&key.slot);
            if slots.is_empty() {
                self.of.remove(&owner);
            }
        }
        Some(entry)
    }

    /// The timers of an actor.
    fn keys_of(&self, owner: u64) -> Vec<TickKey> {
        let slots = self.of.get(&owner).into_iter().flatten();
        slots
            .map(|&slot| TickKey {
                slot,
                generation: self.slots[slot as usize].generation,
            })
            .collect()
    }
}

impl Core {
    /// Has an actor of this core told `message` at a pace of its own.
    pub(crate) fn set_tick<M: Message>(
        &self,
        to: Recipient,
        pace: Pace,
        message: M,
    ) -> Result<TimerId, TimerError> {
        if self.is_closing() {
            return Err(TimerError::Stopping);
        }
        let (first, repeat) = match pace {
            Pace::Once(span) => (span, Repeat::UntilTold(PAUSE_MIN)),
            // Faster than the wheel turns it would only merge with itself.
            Pace::Every(period) => {
                let period = period.max(RESOLUTION);
                (period, Repeat::Every(period))
            }
            Pace::Quiet(span) => {
                let pause = (span / LOOKS).max(RESOLUTION);
                let (looks, heard) = (0, None);
                let repeat = Repeat::Quiet {
                    pause,
                    looks,
                    heard,
                };
                (pause, repeat)
            }
        };
        let key = self.put_tick(to, (repeat, false), message)?;
        // Read afresh: counted from the start of the turn, it would end too early.
        self.set_again(key, self.clock.peek() + first);
        let owner = to.generation;
        Ok(TimerId { owner, key })
    }

    /// Keeps a message for an actor of this core without a time of its own: it is told when
    /// [`tick`](Self::tick) is called, or as soon as there is room behind that.
    pub(crate) fn keep_tick<M: Message>(
        &self,
        to: Recipient,
        message: M,
    ) -> Result<TickKey, TimerError> {
        self.put_tick(to, (Repeat::UntilTold(PAUSE_MIN), true), message)
    }

    fn put_tick<M: Message>(
        &self,
        to: Recipient,
        (repeat, is_kept): (Repeat, bool),
        message: M,
    ) -> Result<TickKey, TimerError> {
        let message: Box<dyn AnyMessage> = Box::new(message);
        let mut ticks = self.ticks.borrow_mut();
        let Some(key) = ticks.next() else {
            // It drops behind the borrow.
            drop(ticks);
            let limit = TICKS_MAX;
            return Err(TimerError::TooManyTimers { limit });
        };
        let entry = Entry {
            to,
            message,
            repeat,
            is_kept,
            due: self.clock.now(),
            timer: None,
        };
        ticks.put(key, entry);
        Ok(key)
    }

    /// Drops a message that was kept.
    pub(crate) fn drop_tick_at(&self, key: TickKey) {
        self.end_tick(key);
    }

    /// Ends a timer of the actor of that generation. Says whether it was still to fire.
    pub(crate) fn cancel_tick(&self, owner: u64, timer: TimerId) -> bool {
        timer.owner == owner && self.end_tick(timer.key)
    }

    /// Ends the timers of an actor that is gone.
    pub(super) fn end_ticks(&self, owner: u64) {
        let keys = self.ticks.borrow().keys_of(owner);
        for key in keys {
            self.end_tick(key);
        }
    }

    /// The same of an actor that begins anew: the messages of its watches are kept.
    pub(super) fn end_timers(&self, owner: u64) {
        let mut keys = self.ticks.borrow().keys_of(owner);
        {
            let mut ticks = self.ticks.borrow_mut();
            keys.retain(|key| ticks.at(*key).is_some_and(|entry| !entry.is_kept));
        }
        for key in keys {
            self.end_tick(key);
        }
    }

    fn end_tick(&self, key: TickKey) -> bool {
        let entry = self.ticks.borrow_mut().remove(key);
        let Some(Entry { message, timer, .. }) = entry else {
            return false;
        };
        if let Some(timer) = timer {
            self.cancel_timer(timer);
        }
        self.drop_tick(message);
        true
    }

    fn drop_tick(&self, message: Box<dyn AnyMessage>) {
        self.contain("the message of a timer panicked in its drop", || {
            drop(message);
        });
    }

    /// A timer fired.
    pub(super) fn tick(&self, key: TickKey) {
        if let Some(due) = self.next_look(key) {
            return self.set_again(key, due);
        }
        let told = {
            let mut ticks = self.ticks.borrow_mut();
            let Some(entry) = ticks.at(key) else {
                return;
            };
            entry.timer = None;
            // Neither encoding nor the core's link to itself runs user code.
            entry.message.tell(self, entry.to)
        };
        let has_room = !matches!(told, Err(Refusal::NoRoom | Refusal::Busy));
        if let Err(refusal) = told
            && has_room
        {
            return self.lose_tick(key, refusal);
        }
        let next = self.next_of(key, has_room);
        match next {
            Some(due) => self.set_again(key, due),
            None => {
                self.end_tick(key);
            }
        }
    }

    /// When to look again whether an actor heard something; `None` when it is to be told that it
    /// did not, and of other timers.
    fn next_look(&self, key: TickKey) -> Option<Instant> {
        let to = {
            let mut ticks = self.ticks.borrow_mut();
            let entry = ticks.at(key)?;
            matches!(entry.repeat, Repeat::Quiet { .. }).then_some(entry.to)?
        };
        let Recipient {
            slot, generation, ..
        } = to;
        let cell = self.cell_at(Place { slot, generation })?;
        let count = cell.heard();
        let mut ticks = self.ticks.borrow_mut();
        let entry = ticks.at(key)?;
        let Repeat::Quiet {
            pause,
            looks,
            heard,
        } = &mut entry.repeat
        else {
            return None;
        };
        let is_quiet = heard.replace(count) == Some(count);
        *looks = if is_quiet { *looks + 1 } else { 0 };
        (*looks < LOOKS).then(|| self.clock.now() + *pause)
    }

    /// When a timer that just fired fires again.
    fn next_of(&self, key: TickKey, was_told: bool) -> Option<Instant> {
        let now = self.clock.now();
        let mut ticks = self.ticks.borrow_mut();
        let entry = ticks.at(key)?;
        match &mut entry.repeat {
            // Its own message is something that it hears.
            Repeat::Quiet { pause, looks, .. } => {
                *looks = if was_told { 0 } else { LOOKS };
                Some(now + *pause)
            }
            Repeat::UntilTold(_) if was_told => None,
            Repeat::UntilTold(pause) => {
                let due = now + *pause;
                *pause = (*pause * 2).min(PAUSE_MAX);
                Some(due)
            }
            Repeat::Every(period) => {
                // Those that a slow core missed come to one, in their old rhythm.
                let late = now.saturating_since(entry.due).as_nanos();
                let missed = u64::try_from(late / period.as_nanos()).unwrap_or(u64::MAX);
                let merged = missed + u64::from(!was_told);
                self.tally.ticks_merged.add(merged);
                let skipped = period.as_nanos().saturating_mul(u128::from(missed) + 1);
                let skipped = u64::try_from(skipped).unwrap_or(u64::MAX);
                Some(entry.due + Duration::from_nanos(skipped))
            }
        }
    }

    fn set_again(&self, key: TickKey, due: Instant) {
        let timer = self.set_timer(due, Token::Tick(key));
        if let Some(entry) = self.ticks.borrow_mut().at(key) {
            entry.due = due;
            entry.timer = timer;
        }
    }

    /// The message of a timer cannot be told, and never will be.
    #[cold]
    fn lose_tick(&self, key: TickKey, refusal: Refusal) {
        self.tally.ticks_lost.add(1);
        if refusal != Refusal::Stopping && self.log_budget.borrow_mut().take(self.clock.now()) {
            tracing::error!(?refusal, "the message of a timer cannot be sent; it ends");
        }
        self.end_tick(key);
    }
}

impl fmt::Debug for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticks")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
