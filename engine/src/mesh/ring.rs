//! A bounded ring of one producer and one consumer, for batches.
//!
//! Both indices only grow, and wrap; a value with index `i` lies in slot `i % capacity`. Each side
//! owns one index, keeps its true value to itself, and shows it to the other side once per batch:
//! the producer when it publishes, the consumer when it gives room back. Each side also remembers
//! the other's index as last read, so that a push or a pop normally touches no memory of the other
//! core but the slot. (Lamport's queue with the cached indices of `FastForward`'s successors: Lee,
//! Bu and Chandranmenon, "A lock-free, cache-efficient shared ring buffer for multi-core
//! architectures", ANCS 2009, known as `MCRingBuffer`.)
//!
//! This is the one file of the mesh with `unsafe`: which side may touch a slot is said by the
//! indices alone. Slots in `head..tail`, by the indices that are shown, are the consumer's; the
//! others are the producer's.

use std::fmt;
use std::mem::{self, MaybeUninit};

use super::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell};

/// Makes a ring that holds up to `capacity` values; those that are staged, and those whose room was
/// not given back, count.
///
/// # Panics
/// If `capacity` is not a power of two.
pub fn ring<T: Send>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    ring_from(capacity, 0)
}

/// A ring whose indices begin at `first`, as after so many values.
pub(super) fn ring_from<T: Send>(capacity: usize, first: usize) -> (Producer<T>, Consumer<T>) {
    assert!(
        capacity.is_power_of_two(),
        "the capacity of a ring is a power of two"
    );
    let slots = (0..capacity).map(|_| Slot(UnsafeCell::new(MaybeUninit::uninit())));
    let shared = Arc::new(Shared {
        tail: Side::new(first),
        head: Side::new(first),
        slots: slots.collect(),
    });
    let producer = Producer {
        shared: Arc::clone(&shared),
        tail: first,
        published: first,
        head_seen: first,
    };
    let consumer = Consumer {
        shared,
        head: first,
        released: first,
        tail_seen: first,
        gave_room: false,
    };
    (producer, consumer)
}

/// The end that puts values in.
///
/// Dropping it publishes what is staged: the consumer can still take it.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Index of the next value to push.
    tail: usize,
    /// The tail as the consumer may see it.
    published: usize,
    /// The consumer's head as last read.
    head_seen: usize,
}

/// The end that takes values out.
///
/// What it leaves in the ring is dropped with the ring, by whichever end goes last.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// Index of the next value to pop.
    head: usize,
    /// The head as the producer may see it.
    released: usize,
    /// The producer's tail as last read.
    tail_seen: usize,
    /// Whether `released` moved since it was last asked for.
    gave_room: bool,
}

struct Shared<T> {
    tail: Side,
    head: Side,
    slots: Box<[Slot<T>]>,
}

/// A place for a value, on a cache line of its own: one can be written while the other side reads
/// its neighbour.
#[repr(align(64))]
struct Slot<T>(UnsafeCell<MaybeUninit<T>>);

/// What one side shows the other, on cache lines of its own: two of them, because processors fetch
/// lines in pairs.
#[repr(align(128))]
struct Side {
    index: AtomicUsize,
    gone: AtomicBool,
}

// SAFETY: all that is not atomic is the slots. A slot is touched by one side at a time: by the
// producer while its index is outside `head..tail`, by the consumer while it is inside, and both
// indices are handed over by a release store that the other side reads with acquire. Values move
// from the one thread to the other, hence `T: Send`; they are never shared.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Producer<T> {
    /// Stages `value`: it is in the ring, and the consumer does not see it before the next
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    /// The value itself when there is no room. Staged values take room too: publish, or the
    /// consumer can never give any back.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if !self.has_room() {
            return Err(value);
        }
        self.shared.slot(self.tail).with_mut(|slot| {
            // SAFETY: `has_room` has shown that `tail` is less than one capacity ahead of a head
            // read with acquire, so the consumer is done with this slot, and it will not touch it
            // before `tail` is published behind it. `&mut self` excludes another writer. The slot
            // holds no value that would have to be dropped: the consumer took it out.
            unsafe { slot.cast::<T>().write(value) };
        });
        self.tail = self.tail.wrapping_add(1);
        Ok(())
    }

    /// Whether the next [`push`](Self::push) finds room.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        let capacity = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head_seen) < capacity {
            return true;
        }
        // Acquire: the consumer's reads of a slot come before our next write to it.
        self.head_seen = self.shared.head.index.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head_seen) < capacity
    }

    /// Shows the consumer everything that is staged, with one store. Says whether there was
    /// anything, that is, whether the consumer may have to be woken.
    #[inline]
    pub fn publish(&mut self) -> bool {
        if self.tail == self.published {
            return false;
        }
        self.published = self.tail;
        // Release: our writes to the slots come before the consumer's reads.
        self.shared.tail.index.store(self.tail, Ordering::Release);
        true
    }

    /// Has the cache fetch the next slot for writing. The consumer has read it a round ago, and who
    /// writes to it has to wait for its core to let go of it: better now than with a value in hand.
    #[inline]
    pub fn warm(&mut self) {
        if size_of::<T>() > 0 && self.has_room() {
            self.shared.slot(self.tail).with_mut(|slot| {
                // SAFETY: as in `push`, the consumer is done with this slot, it holds no value, and
                // `&mut self` excludes another writer. It has a first byte, and the bytes of what
                // is not yet a value may be anything.
                unsafe { slot.cast::<u8>().write(0) };
            });
        }
    }

    /// Whether the consumer is gone. What is pushed then is dropped with the ring.
    pub fn is_abandoned(&self) -> bool {
        self.shared.head.gone.load(Ordering::Acquire)
    }
}

impl<T> Consumer<T> {
    /// Takes the oldest published value. Its room is given back by [`release`](Self::release), or
    /// as soon as half the capacity waits for that.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.published();
            if self.head == self.tail_seen {
                return None;
            }
        }
        let value = self.shared.slot(self.head).with(|slot| {
            // SAFETY: `head` is before a tail read with acquire, so the producer wrote this slot,
            // and it will not touch it before a head behind it is released. `&mut self` excludes
            // another reader, and `head` moves on below, so the value is taken out once.
            unsafe { slot.cast::<T>().read() }
        });
        self.head = self.head.wrapping_add(1);
        if self.head.wrapping_sub(self.released) >= self.shared.slots.len().div_ceil(2) {
            self.give_room();
        }
        Some(value)
    }

    /// Gives the room of everything that was taken back to the producer, with one store. Says
    /// whether any was given back since the last call, that of [`pop`](Self::pop) included: whether
    /// a producer that waits for room may have to be woken.
    #[inline]
    pub fn release(&mut self) -> bool {
        if self.head != self.released {
            self.give_room();
        }
        mem::take(&mut self.gave_room)
    }

    /// Whether nothing is published that was not taken, by a fresh look at the producer's index.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head == self.shared.published()
    }

    /// Whether the producer is gone. Everything that it ever pushed is visible to a look that comes
    /// after this one.
    pub fn is_abandoned(&self) -> bool {
        self.shared.tail.gone.load(Ordering::Acquire)
    }

    #[inline]
    fn give_room(&mut self) {
        self.released = self.head;
        self.gave_room = true;
        // Release: our reads of the slots come before the producer's next writes.
        self.shared.head.index.store(self.head, Ordering::Release);
    }
}

impl<T> Shared<T> {
    #[inline]
    fn slot(&self, index: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[index & (self.slots.len() - 1)].0
    }

    /// The producer's tail. Acquire: its writes to the slots come before our reads.
    #[inline]
    fn published(&self) -> usize {
        self.tail.index.load(Ordering::Acquire)
    }
}

impl Side {
    fn new(first: usize) -> Self {
        Self {
            index: AtomicUsize::new(first),
            gone: AtomicBool::new(false),
        }
    }

    /// Shows the last index there will be.
    fn end(&self, index: usize) {
        self.index.store(index, Ordering::Release);
        self.gone.store(true, Ordering::Release);
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.tail.end(self.tail);
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.head.end(self.head);
    }
}

impl<T> Drop for Shared<T> {
    /// Runs when both ends are gone, and each has shown its true index.
    fn drop(&mut self) {
        let tail = self.tail.index.load(Ordering::Relaxed);
        let mut head = self.head.index.load(Ordering::Relaxed);
        while head != tail {
            self.slot(head).with_mut(|slot| {
                // SAFETY: slots in `head..tail` were written and not taken, `&mut self` shows that
                // nobody else can touch them, and each is visited once.
                unsafe { slot.cast::<T>().drop_in_place() };
            });
            head = head.wrapping_add(1);
        }
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("capacity", &self.shared.slots.len())
            .field("staged", &self.tail.wrapping_sub(self.published))
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("capacity", &self.shared.slots.len())
            .field("unreleased", &self.head.wrapping_sub(self.released))
            .finish_non_exhaustive()
    }
}
