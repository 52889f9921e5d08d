//! Append-only byte slabs: frames are encoded in place at the tail while earlier bytes are being
//! sent.
//!
//! A [`Slab`] is the one writer of its memory. [`Slab::freeze`] hands out a [`SlabSlice`] of bytes
//! that are already written; those bytes never change again until [`Slab::reclaim`] proves that no
//! slice is left. So a slice can be read (by the kernel, by a resend) while the writer goes on
//! behind it, without a copy and without a lock.
//!
//! This is the one file of the crate with `unsafe`: the writer's exclusive view and the slices'
//! shared views are of one allocation, and only the split at `frozen` keeps them apart.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The memory of a slab, shared by its writer and its slices.
struct Memory(Box<[UnsafeCell<u8>]>);

// SAFETY: bytes below the writer's `frozen` mark are only read, and bytes at or above it are only
// touched through the unique `Slab` (`Slab::tail_mut` takes `&mut self`); `Slab::reclaim` moves the
// mark back only when `Arc::get_mut` has shown that no slice exists.
unsafe impl Sync for Memory {}

impl Memory {
    fn zeroed(capacity: usize) -> Self {
        Self((0..capacity).map(|_| UnsafeCell::new(0)).collect())
    }
}

/// The unique writer of an append-only buffer of fixed capacity.
pub struct Slab {
    memory: Arc<Memory>,
    /// Bytes below this mark belong to slices and no longer change.
    frozen: usize,
    /// Bytes in `frozen..tail` are written and not yet frozen.
    tail: usize,
}

impl Slab {
    /// A slab of `capacity` bytes, allocated and zeroed once.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            memory: Arc::new(Memory::zeroed(capacity)),
            frozen: 0,
            tail: 0,
        }
    }

    /// The bytes the slab can hold.
    pub fn capacity(&self) -> usize {
        self.memory.0.len()
    }

    /// The bytes written so far, frozen or not.
    pub fn len(&self) -> usize {
        self.tail
    }

    /// Whether nothing was written since the slab was made or reclaimed.
    pub fn is_empty(&self) -> bool {
        self.tail == 0
    }

    /// The bytes that can still be written.
    pub fn room(&self) -> usize {
        self.capacity() - self.tail
    }

    /// The whole unwritten rest. What is written here counts only after [`advance`](Self::advance).
    pub fn tail_mut(&mut self) -> &mut [u8] {
        let rest = &self.memory.0[self.tail..];
        // SAFETY: `rest` lies at or above `tail >= frozen`. Slices cover only bytes below `frozen`
        // (`freeze` is the one place that makes them), and `&mut self` excludes another writer.
        unsafe { std::slice::from_raw_parts_mut(rest.as_ptr().cast::<u8>().cast_mut(), rest.len()) }
    }

    /// Counts the first `written` bytes of the tail as written.
    ///
    /// # Panics
    /// If `written` is more than [`room`](Self::room).
    pub fn advance(&mut self, written: usize) {
        assert!(written <= self.room(), "advanced past the end of a slab");
        self.tail += written;
    }

    /// The bytes written since the last freeze; from now on they never change.
    pub fn freeze(&mut self) -> SlabSlice {
        let slice = SlabSlice {
            memory: Arc::clone(&self.memory),
            start: self.frozen,
            end: self.tail,
        };
        self.frozen = self.tail;
        slice
    }

    /// A slice over bytes `start..end` that are already frozen.
    ///
    /// # Panics
    /// If the range is reversed or reaches past what was frozen.
    pub fn frozen_slice(&self, start: usize, end: usize) -> SlabSlice {
        assert!(
            start <= end && end <= self.frozen,
            "slice of bytes that are not frozen"
        );
        SlabSlice {
            memory: Arc::clone(&self.memory),
            start,
            end,
        }
    }

    /// Empties the slab for reuse if no slice of it is left; says whether it did.
    pub fn reclaim(&mut self) -> bool {
        let unshared = Arc::get_mut(&mut self.memory).is_some();
        if unshared {
            self.frozen = 0;
            self.tail = 0;
        }
        unshared
    }
}

impl fmt::Debug for Slab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab")
            .field("capacity", &self.capacity())
            .field("frozen", &self.frozen)
            .field("tail", &self.tail)
            .finish()
    }
}

/// Frozen bytes of a slab; keeps their memory alive.
#[derive(Clone)]
pub struct SlabSlice {
    memory: Arc<Memory>,
    start: usize,
    end: usize,
}

impl SlabSlice {
    /// Drops the first `count` bytes from the view.
    ///
    /// # Panics
    /// If `count` is more than the length.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "advanced past the end of a slice");
        self.start += count;
    }

    /// The view of `range` within this slice.
    ///
    /// # Panics
    /// If the range is reversed or reaches past the end.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "range past the slice"
        );
        Self {
            memory: Arc::clone(&self.memory),
            start: self.start + range.start,
            end: self.start + range.end,
        }
    }
}

impl Deref for SlabSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes = &self.memory.0[self.start..self.end];
        // SAFETY: `end` was at or below `frozen` when the slice was made (`freeze`,
        // `frozen_slice`), and `reclaim` cannot lower the mark while this slice holds a count of
        // the memory, so no one writes these bytes for as long as the borrow lives.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), bytes.len()) }
    }
}

impl fmt::Debug for SlabSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlabSlice({}..{})", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(slab: &mut Slab, bytes: &[u8]) {
        slab.tail_mut()[..bytes.len()].copy_from_slice(bytes);
        slab.advance(bytes.len());
    }

    #[test]
    fn frozen_bytes_stay_while_the_writer_goes_on() {
        let mut slab = Slab::with_capacity(8);
        append(&mut slab, b"abc");
        let first = slab.freeze();
        append(&mut slab, b"de");
        let second = slab.freeze();
        assert_eq!((&*first, &*second), (&b"abc"[..], &b"de"[..]));
        assert_eq!(&*slab.frozen_slice(1, 4), b"bcd");
        assert_eq!(slab.room(), 3);
    }

    #[test]
    fn reclaim_waits_for_the_last_slice() {
        let mut slab = Slab::with_capacity(4);
        append(&mut slab, b"abcd");
        let slice = slab.freeze();
        let copy = slice.clone();
        drop(slice);
        assert!(!slab.reclaim());
        assert_eq!(&*copy, b"abcd");
        drop(copy);
        assert!(slab.reclaim());
        assert_eq!((slab.len(), slab.room()), (0, 4));
    }

    #[test]
    #[should_panic(expected = "past the end")]
    fn one_over_the_room_panics() {
        let mut slab = Slab::with_capacity(4);
        slab.advance(5);
    }

    #[test]
    #[should_panic(expected = "not frozen")]
    fn unfrozen_bytes_cannot_be_sliced() {
        let mut slab = Slab::with_capacity(4);
        append(&mut slab, b"ab");
        let _ = slab.frozen_slice(0, 1);
    }
}
