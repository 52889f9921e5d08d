//! Who still holds the memory of a slab.
//!
//! Slices are often dropped on another core than the writer's, so they are not counted in one place
//! by both: the writer counts what it hands out in a field of its own, and slices count themselves
//! back in here. So handing a slice out touches no line that the other core writes to, and the
//! writer looks here only when it wants the slab back.

use super::sync::{AtomicI64, Ordering, fence};

/// How many slices came back, less those that were made of others. [`WRITTEN`] more while the slab
/// lives; after that less by what it had handed out, so that zero says: nobody is left.
pub(super) struct Shares(AtomicI64);

/// Keeps the count of a living slab from being zero. No slab hands out as many slices.
const WRITTEN: i64 = 1 << 62;

impl Shares {
    /// Those of a slab that has handed out nothing.
    pub(super) fn new() -> Self {
        Self(AtomicI64::new(WRITTEN))
    }

    /// A slice was made of another.
    #[inline]
    pub(super) fn split(&self) {
        // Relaxed: the other one is out for as long as it takes, so nobody concludes anything.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// A slice goes. Says whether nobody is left, who may free the memory then.
    #[inline]
    pub(super) fn slice_gone(&self) -> bool {
        self.settle(1)
    }

    /// The slab goes, having handed out so many slices. Says the same.
    #[inline]
    pub(super) fn slab_gone(&self, handed_out: i64) -> bool {
        self.settle(-(WRITTEN + handed_out))
    }

    /// Adds what the last act of a holder changes.
    #[inline]
    fn settle(&self, change: i64) -> bool {
        // Release: what this holder read comes before the bytes are written again, or freed.
        let nobody_left = self.0.fetch_add(change, Ordering::Release) + change == 0;
        if nobody_left {
            // Acquire: what all others read comes before.
            fence(Ordering::Acquire);
        }
        nobody_left
    }

    /// Whether all slices of a living slab that handed out so many came back; if so, it begins
    /// anew.
    pub(super) fn all_home(&self, handed_out: i64) -> bool {
        // Acquire: what the slices read comes before what is written next.
        let all_home = self.0.load(Ordering::Acquire) == WRITTEN + handed_out;
        if all_home {
            // Nobody else counts: a slice comes from the slab, or from another slice.
            self.0.store(WRITTEN, Ordering::Relaxed);
        }
        all_home
    }
}
