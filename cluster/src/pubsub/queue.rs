//! What waits for one subscriber, and what happens when that is too much.
//!
//! Items stay in order. Whatever is lost is counted, and told to the subscriber where it is
//! missing: [`Taken::Lagged`] comes before the item that it would have come before.
//!
//! At any time, as many items were offered as were taken, dropped and replaced, and still wait.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

/// What happens to an item for which a queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// The item is lost.
    DropNewest,
    /// The oldest that wait are lost, as many as take its room.
    #[default]
    DropOldest,
    /// The subscription ends: what waits can still be taken.
    Fail,
    /// The publisher is told to wait. It is the one policy by which a subscriber slows others.
    Wait,
}

/// How much may wait for a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// The most items. Too few lose some of each burst; many make what is read old.
    pub items_max: usize,
    /// The most bytes of those.
    pub bytes_max: usize,
    /// What happens beyond that.
    pub on_full: OnFull,
}

impl Default for QueueSettings {
    /// 1,024 items, 4 MiB, and the oldest make room.
    fn default() -> Self {
        Self {
            items_max: 1024,
            bytes_max: 4 << 20,
            on_full: OnFull::default(),
        }
    }
}

/// Counts of items. Each only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Items that were offered, but for those whose publisher was told to wait.
    pub offered: u64,
    /// Items that the subscriber took.
    pub taken: u64,
    /// Items that were lost.
    pub dropped: u64,
    /// Items in whose place a later one with the same key came.
    pub replaced: u64,
}

/// What became of an item that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Offered {
    /// It waits. So many others were lost for it.
    Queued {
        /// How many.
        dropped: usize,
    },
    /// It took the place of one with the same key. So many others were lost for it.
    Replaced {
        /// How many.
        dropped: usize,
    },
    /// It was lost.
    Dropped,
    /// It was lost, and the subscription has failed.
    Failed,
}

/// There is no room now, and the publisher is to wait: nothing changed, and the item comes back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue of a subscriber is full")]
pub struct QueueFull<T>(pub T);

/// What a subscriber takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// The next item.
    Item(T),
    /// So many were lost here.
    Lagged(u64),
    /// The queue failed, and nothing waits any more.
    Failed,
}

/// Small, for each message has one of these at each subscriber: what few have is kept apart.
#[derive(Debug)]
struct Waiting<T> {
    item: T,
    bytes: usize,
}

/// What waits for one subscriber.
#[derive(Debug)]
pub struct Queue<T> {
    settings: QueueSettings,
    waiting: VecDeque<Waiting<T>>,
    bytes: usize,
    /// The number of the first one that waits; they are numbered in the order in which they came.
    first: u64,
    /// How many were lost, by the number of what comes behind them.
    losses: VecDeque<(u64, u64)>,
    /// Which one has a key.
    keys: FxHashMap<u64, u64>,
    /// The numbers of those that came with a key, in their order.
    named: VecDeque<(u64, u64)>,
    is_failed: bool,
    counters: QueueCounters,
}

impl<T> Queue<T> {
    /// An empty one.
    pub fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            waiting: VecDeque::new(),
            bytes: 0,
            first: 0,
            losses: VecDeque::new(),
            keys: FxHashMap::default(),
            named: VecDeque::new(),
            is_failed: false,
            counters: QueueCounters::default(),
        }
    }

    /// Offers an item of that many bytes. With a key it takes the place of the one that waits with
    /// the same key, if there is one and it fits there; under [`OnFull::DropOldest`] it is made to,
    /// at the cost of others.
    ///
    /// # Errors
    /// [`QueueFull`] under [`OnFull::Wait`]: the item is not counted, and is to be offered again.
    pub fn offer(
        &mut self,
        item: T,
        bytes: usize,
        key: Option<u64>,
    ) -> Result<Offered, QueueFull<T>> {
        let is_fit = !self.is_failed && bytes <= self.settings.bytes_max;
        let place = key.and_then(|key| self.place_of(key)).filter(|_| is_fit);
        if let Some(place) = place {
            let makes_room = self.settings.on_full == OnFull::DropOldest;
            let (place, dropped) = match makes_room {
                true => self.make_room_beside(place, bytes),
                false => (place, 0),
            };
            let known = &mut self.waiting[place];
            let total = self.bytes - known.bytes + bytes;
            if total <= self.settings.bytes_max {
                known.item = item;
                known.bytes = bytes;
                self.bytes = total;
                self.counters.offered += 1;
                self.counters.replaced += 1;
                return Ok(Offered::Replaced { dropped });
            }
        }
        let mut dropped = 0;
        if !self.has_room(bytes) {
            match self.settings.on_full {
                // What would never fit does not wait until it does.
                OnFull::Wait if is_fit => return Err(QueueFull(item)),
                OnFull::DropOldest if is_fit => dropped = self.make_room(bytes),
                OnFull::Fail => self.is_failed = true,
                OnFull::DropNewest | OnFull::DropOldest | OnFull::Wait => {}
            }
        }
        self.counters.offered += 1;
        if self.is_failed || !self.has_room(bytes) {
            self.counters.dropped += 1;
            self.lose_newest();
            let is_failed = self.is_failed;
            return Ok(if is_failed {
                Offered::Failed
            } else {
                Offered::Dropped
            });
        }
        if let Some(key) = key {
            let number = self.next_number();
            self.keys.insert(key, number);
            self.named.push_back((number, key));
        }
        self.bytes += bytes;
        self.waiting.push_back(Waiting { item, bytes });
        Ok(Offered::Queued { dropped })
    }

    /// The same of an item without a key, if nothing has to be done for it: it is made where it
    /// waits, for moving it there from elsewhere costs more than all the rest. `false` when there
    /// is no room: nothing changed.
    #[inline]
    #[must_use]
    pub fn offer_with(&mut self, bytes: usize, make: impl FnOnce() -> T) -> bool {
        let has_room = self.has_room(bytes);
        if has_room {
            self.counters.offered += 1;
            self.bytes += bytes;
            let item = make();
            self.waiting.push_back(Waiting { item, bytes });
        }
        has_room
    }

    /// Takes what is next; `None` if nothing waits.
    #[inline]
    pub fn take(&mut self) -> Option<Taken<T>> {
        let is_plain = self.losses.is_empty() && self.named.is_empty();
        if is_plain && let Some(front) = self.waiting.pop_front() {
            self.bytes -= front.bytes;
            self.first += 1;
            self.counters.taken += 1;
            return Some(Taken::Item(front.item));
        }
        self.take_next()
    }

    fn take_next(&mut self) -> Option<Taken<T>> {
        if let Some((number, lost)) = self.losses.front().copied()
            && number == self.first
        {
            self.losses.pop_front();
            return Some(Taken::Lagged(lost));
        }
        let Some(front) = self.pop() else {
            return self.is_failed.then_some(Taken::Failed);
        };
        self.counters.taken += 1;
        Some(Taken::Item(front.item))
    }

    /// How many items wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The bytes of what waits.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether an item of that many bytes can be offered without a loss.
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        let is_fit = self.bytes + bytes <= self.settings.bytes_max;
        is_fit && self.waiting.len() < self.settings.items_max && !self.is_failed
    }

    /// How many were offered, and what became of them.
    pub fn counters(&self) -> QueueCounters {
        self.counters
    }

    fn place_of(&self, key: u64) -> Option<usize> {
        let number = self.keys.get(&key)?.checked_sub(self.first)?;
        let place = usize::try_from(number).ok()?;
        (place < self.waiting.len()).then_some(place)
    }

    /// The number of what is offered next.
    fn next_number(&self) -> u64 {
        self.first + self.waiting.len() as u64
    }

    fn make_room(&mut self, bytes: usize) -> usize {
        let mut dropped = 0;
        while !self.has_room(bytes) && self.pop().is_some() {
            self.lose_oldest();
            dropped += 1;
        }
        self.counters.dropped += dropped as u64;
        dropped
    }

    /// The oldest but for the one at a place are lost, until that may have so many bytes. Where it
    /// is then, and how many were.
    fn make_room_beside(&mut self, mut place: usize, bytes: usize) -> (usize, usize) {
        let mut dropped = 0;
        while self.bytes - self.waiting[place].bytes + bytes > self.settings.bytes_max {
            if place == 0 {
                // Alone it has room: there is one behind it.
                self.let_pass();
                place = 1;
            }
            self.pop();
            self.lose_oldest();
            place -= 1;
            dropped += 1;
        }
        self.counters.dropped += dropped as u64;
        (place, dropped)
    }

    /// The one behind the first, which has a key, goes before it.
    fn let_pass(&mut self) {
        let (first, second) = (self.first, self.first + 1);
        self.waiting.swap(0, 1);
        if self.named.get(1).is_some_and(|it| it.0 == second) {
            self.named.swap(0, 1);
            self.named[1].0 = second;
            let key = self.named[0].1;
            self.named[0].0 = first;
            if self.keys.get(&key) == Some(&second) {
                self.keys.insert(key, first);
            }
            let key = self.named[1].1;
            self.keys.insert(key, second);
        } else if let Some(named) = self.named.front_mut() {
            named.0 = second;
            self.keys.insert(named.1, second);
        }
    }

    /// The item that was popped last is lost: it adds to what was lost before the one behind it,
    /// and so does what was lost before it.
    fn lose_oldest(&mut self) {
        let mut lost = 1;
        while let Some((number, before)) = self.losses.front().copied()
            && number <= self.first
        {
            self.losses.pop_front();
            lost += before;
        }
        self.losses.push_front((self.first, lost));
    }

    /// An item is lost behind all that wait.
    fn lose_newest(&mut self) {
        let number = self.next_number();
        match self.losses.back_mut() {
            Some((last, lost)) if *last == number => *lost += 1,
            _ => self.losses.push_back((number, 1)),
        }
    }

    fn pop(&mut self) -> Option<Waiting<T>> {
        let front = self.waiting.pop_front()?;
        self.bytes -= front.bytes;
        if let Some((number, key)) = self.named.front().copied()
            && number == self.first
        {
            self.named.pop_front();
            if self.keys.get(&key) == Some(&number) {
                self.keys.remove(&key);
            }
        }
        self.first += 1;
        Some(front)
    }
}

#[cfg(test)]
mod tests;
