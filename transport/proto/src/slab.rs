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
use std::ptr::NonNull;

use shares::Shares;

mod shares;

/// What the models of [`shares`] put their own in place of.
mod sync {
    pub(super) use std::sync::atomic::{AtomicI64, Ordering, fence};
}

#[cfg(test)]
mod models;

/// The memory of a slab, shared by its writer and its slices.
struct Memory {
    home: Home,
    bytes: Box<[UnsafeCell<u8>]>,
}

/// On lines of its own: other cores write to it.
#[repr(align(128))]
struct Home(Shares);

// SAFETY: bytes below the writer's `frozen` mark are only read, and bytes at or above it are only
// touched through the unique `Slab` (`Slab::tail_mut` takes `&mut self`); `Slab::reclaim` moves the
// mark back only when `home` has shown that no slice exists. That is an atomic.
unsafe impl Sync for Memory {}

impl Memory {
    fn zeroed(capacity: usize) -> NonNull<Self> {
        let memory = Box::new(Self {
            home: Home(Shares::new()),
            bytes: (0..capacity).map(|_| UnsafeCell::new(0)).collect(),
        });
        NonNull::from(Box::leak(memory))
    }
}

/// One count of a memory, which keeps it alive. The slab's own and that of each slice.
struct Share(NonNull<Memory>);

// SAFETY: a share gives `&Memory` and nothing more, and `Memory` is `Sync`; the last one frees it,
// on whatever thread, and boxed bytes may be freed anywhere.
unsafe impl Send for Share {}
// SAFETY: as for `Send`.
unsafe impl Sync for Share {}

impl Share {
    #[inline]
    fn memory(&self) -> &Memory {
        // SAFETY: the memory is freed by `free` alone, behind the last count, and `self` is one.
        unsafe { self.0.as_ref() }
    }

    /// Frees the memory, when nobody is left.
    #[cold]
    fn free(&self) {
        // SAFETY: `zeroed` leaked this box. `home` says once that nobody is left: the slab has
        // gone, for the count is far above zero before, and so has every slice, for each that is
        // out keeps it one below, and makes another only while it is out itself. Its fence has
        // brought what all of them read before.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The unique writer of an append-only buffer of fixed capacity.
pub struct Slab {
    memory: Share,
    /// Slices handed out since the slab was empty.
    handed_out: i64,
    /// Bytes below this mark belong to slices and no longer change.
    frozen: usize,
    /// Bytes in `frozen..tail` are written and not yet frozen.
    tail: usize,
}

impl Slab {
    /// A slab of `capacity` bytes, allocated and zeroed once.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            memory: Share(Memory::zeroed(capacity)),
            handed_out: 0,
            frozen: 0,
            tail: 0,
        }
    }

    /// The bytes the slab can hold.
    pub fn capacity(&self) -> usize {
        self.memory.memory().bytes.len()
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
    #[inline]
    pub fn room(&self) -> usize {
        self.capacity() - self.tail
    }

    /// The whole unwritten rest. What is written here counts only after [`advance`](Self::advance).
    #[inline]
    pub fn tail_mut(&mut self) -> &mut [u8] {
        let rest = &self.memory.memory().bytes[self.tail..];
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
        let start = std::mem::replace(&mut self.frozen, self.tail);
        self.hand_out(start, self.tail)
    }

    /// The bytes that are frozen.
    pub fn frozen(&self) -> &[u8] {
        let bytes = &self.memory.memory().bytes[..self.frozen];
        // SAFETY: bytes below `frozen` are written no more until `reclaim` moves the mark back, and
        // `tail_mut` reaches only bytes above it; both take `&mut self`, which this view excludes.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), bytes.len()) }
    }

    /// A slice over bytes `start..end` that are already frozen.
    ///
    /// # Panics
    /// If the range is reversed or reaches past what was frozen.
    pub fn frozen_slice(&mut self, start: usize, end: usize) -> SlabSlice {
        assert!(
            start <= end && end <= self.frozen,
            "slice of bytes that are not frozen"
        );
        self.hand_out(start, end)
    }

    #[inline]
    fn hand_out(&mut self, start: usize, end: usize) -> SlabSlice {
        self.handed_out += 1;
        let memory = Share(self.memory.0);
        SlabSlice { memory, start, end }
    }

    /// Empties the slab for reuse if no slice of it is left; says whether it did.
    pub fn reclaim(&mut self) -> bool {
        let unshared = self.memory.memory().home.0.all_home(self.handed_out);
        if unshared {
            self.handed_out = 0;
            self.frozen = 0;
            self.tail = 0;
        }
        unshared
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        if self.memory.memory().home.0.slab_gone(self.handed_out) {
            self.memory.free();
        }
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
pub struct SlabSlice {
    memory: Share,
    start: usize,
    end: usize,
}

impl Clone for SlabSlice {
    fn clone(&self) -> Self {
        self.memory.memory().home.0.split();
        Self {
            memory: Share(self.memory.0),
            start: self.start,
            end: self.end,
        }
    }
}

impl Drop for SlabSlice {
    #[inline]
    fn drop(&mut self) {
        if self.memory.memory().home.0.slice_gone() {
            self.memory.free();
        }
    }
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
        let mut part = self.clone();
        part.end = part.start + range.end;
        part.start += range.start;
        part
    }
}

impl Deref for SlabSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes = &self.memory.memory().bytes[self.start..self.end];
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

    /// Whoever goes last frees the memory; a sanitizer sees when two do, or nobody.
    #[test]
    fn a_slice_outlives_its_slab_and_slices_are_dropped_anywhere() {
        for round in 0..200 {
            let mut slab = Slab::with_capacity(64);
            let mut slices = Vec::new();
            for byte in 0..8 {
                append(&mut slab, &[byte; 8]);
                slices.push(slab.freeze());
            }
            let copies = slices.clone();
            let reader = |slices: Vec<SlabSlice>| {
                for (byte, slice) in (0..).zip(slices) {
                    assert_eq!(&*slice.slice(2..6), [byte; 4]);
                }
            };
            std::thread::scope(|scope| {
                scope.spawn(move || reader(slices));
                scope.spawn(move || reader(copies));
                if round % 2 == 0 {
                    drop(slab);
                } else {
                    while !slab.reclaim() {
                        std::thread::yield_now();
                    }
                    append(&mut slab, b"again");
                    assert_eq!(&*slab.freeze(), b"again");
                }
            });
        }
    }

    #[test]
    fn a_slab_comes_back_however_often_it_was_lent() {
        let mut slab = Slab::with_capacity(4);
        for _ in 0..3 {
            append(&mut slab, b"ab");
            let first = slab.freeze();
            let part = first.slice(0..1);
            drop(first);
            assert!(!slab.reclaim());
            assert_eq!(&*part, b"a");
            drop(part);
            assert!(slab.reclaim());
        }
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
