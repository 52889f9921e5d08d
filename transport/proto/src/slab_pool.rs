//! The slabs of one core: bounded in bytes, and reused in the order that suits who reads them.

use std::collections::VecDeque;

use crate::limits::SLAB_BYTES;
use crate::slab::Slab;

/// Lends the slabs that a core's links write their frames into.
///
/// There are several sizes: 64 KiB, and one for the frames of each cap that do not fit there, which
/// holds the largest frame and 64 KiB of others behind it. Which free one is taken is up to who
/// will read it ([`Reader`]). What is allocated stays within the budget, whoever holds it, together
/// with the payloads that links keep elsewhere.
#[derive(Debug)]
pub struct SlabPool {
    /// Free slabs by their size, the smallest first.
    sizes: Vec<Size>,
    /// Given back while the kernel may still read them.
    draining: VecDeque<Slab>,
    budget_bytes: usize,
    allocated_bytes: usize,
    free_bytes: usize,
    /// What lies elsewhere and is kept for links as the slabs are.
    charged_bytes: usize,
    in_use_bytes_max: usize,
    refusals: u64,
    /// A slab was refused for want of budget, and nobody has asked about it since.
    short: bool,
}

/// Who reads what is written to a slab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The core that wrote it, or the kernel there: the slab given back last is taken first, for it
    /// is still in the caches of that core.
    SameCore,
    /// Another core: the slab given back first is taken first, and there are 2 MiB of them to take
    /// turns. A line that lies in the reader's own caches has to be fetched from there before it
    /// can be written again, which takes several times as long as from the cache that all cores
    /// share; by the time such a slab comes round again, it has left for that.
    OtherCore,
}

/// The free slabs of one size.
#[derive(Debug)]
struct Size {
    bytes: usize,
    /// The one given back last at the end.
    free: VecDeque<Slab>,
}

impl Size {
    /// The size for frames with bodies of up to `body_cap` bytes.
    fn of(body_cap: u32) -> Self {
        Self {
            bytes: (body_cap as usize + ORDINARY_BYTES).next_multiple_of(ORDINARY_BYTES),
            free: VecDeque::new(),
        }
    }
}

/// What a pool counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlabStats {
    /// Bytes of all slabs there are.
    pub allocated_bytes: usize,
    /// Bytes of the slabs that are lent, or still being read by the kernel, and of the payloads
    /// that are kept elsewhere.
    pub in_use_bytes: usize,
    /// The most that was ever in use.
    pub in_use_bytes_max: usize,
    /// How often a slab was wanted and not given.
    pub refusals: u64,
}

impl SlabPool {
    /// An empty pool that allocates at most `budget_bytes`, for frames with bodies of up to
    /// `body_cap` bytes.
    pub fn new(budget_bytes: usize, body_cap: u32) -> Self {
        Self::with_caps(budget_bytes, &[body_cap])
    }

    /// The same for links of several caps, in ascending order, each with slabs of a size for it.
    pub fn with_caps(budget_bytes: usize, body_caps: &[u32]) -> Self {
        let ordinary = Size {
            bytes: ORDINARY_BYTES,
            free: VecDeque::new(),
        };
        let mut sizes: Vec<Size> = vec![ordinary];
        sizes.extend(body_caps.iter().map(|cap| Size::of(*cap)));
        Self {
            sizes,
            draining: VecDeque::new(),
            budget_bytes,
            allocated_bytes: 0,
            free_bytes: 0,
            charged_bytes: 0,
            in_use_bytes_max: 0,
            refusals: 0,
            short: false,
        }
    }

    /// An empty slab with room for at least `bytes`, or `None` when the budget is spent or no slab
    /// is that large.
    pub fn take(&mut self, bytes: usize, reader: Reader) -> Option<Slab> {
        let Some(size) = self.sizes.iter().position(|size| bytes <= size.bytes) else {
            self.refusals += 1;
            return None;
        };
        self.settle(SETTLED_AT_ONCE);
        let slab = self.find(size, reader);
        if slab.is_none() {
            self.refusals += 1;
            self.short = true;
        }
        self.in_use_bytes_max = self.in_use_bytes_max.max(self.in_use_bytes());
        slab
    }

    /// Takes a slab back. One that slices still refer to becomes free once they are gone.
    pub fn give_back(&mut self, slab: Slab) {
        self.draining.push_back(slab);
        self.settle(SETTLED_AT_ONCE);
    }

    /// Counts bytes that lie elsewhere, and are kept until they are acknowledged, against the
    /// budget of the slabs. Says whether they fit.
    pub(crate) fn charge(&mut self, bytes: usize) -> bool {
        if self.held_bytes() + bytes > self.budget_bytes {
            self.settle(self.draining.len());
            self.shed(bytes, None);
        }
        let fits = self.held_bytes() + bytes <= self.budget_bytes;
        if fits {
            self.charged_bytes += bytes;
            self.in_use_bytes_max = self.in_use_bytes_max.max(self.in_use_bytes());
        } else {
            self.refusals += 1;
            self.short = true;
        }
        fits
    }

    /// Gives back what [`charge`](Self::charge) counted.
    pub(crate) fn discharge(&mut self, bytes: usize) {
        self.charged_bytes -= bytes;
    }

    /// Whether a slab was refused since the last [`take_shortage`](Self::take_shortage).
    #[inline]
    pub fn is_short(&self) -> bool {
        self.short
    }

    /// Whether a slab was refused since the last call: whoever was refused may be told that some
    /// came back.
    pub fn take_shortage(&mut self) -> bool {
        std::mem::take(&mut self.short)
    }

    /// What was counted so far, after freeing what the kernel has let go of.
    pub fn stats(&mut self) -> SlabStats {
        self.settle(self.draining.len());
        SlabStats {
            allocated_bytes: self.allocated_bytes,
            in_use_bytes: self.in_use_bytes(),
            in_use_bytes_max: self.in_use_bytes_max,
            refusals: self.refusals,
        }
    }

    fn in_use_bytes(&self) -> usize {
        self.held_bytes() - self.free_bytes
    }

    /// What counts against the budget.
    fn held_bytes(&self) -> usize {
        self.allocated_bytes + self.charged_bytes
    }

    /// From the free slabs, else a new one, else in place of free ones of other sizes.
    fn find(&mut self, size: usize, reader: Reader) -> Option<Slab> {
        let is_circle_full = self.allocated_bytes >= CIRCLING_BYTES.min(self.budget_bytes / 2);
        if (reader == Reader::SameCore || is_circle_full)
            && let Some(slab) = self.pop_free(size, reader)
        {
            return Some(slab);
        }
        let capacity = self.sizes[size].bytes;
        if self.held_bytes() + capacity > self.budget_bytes {
            self.settle(self.draining.len());
            if let Some(slab) = self.pop_free(size, reader) {
                return Some(slab);
            }
            self.shed(capacity, Some(size));
        }
        if self.held_bytes() + capacity > self.budget_bytes {
            return None;
        }
        self.allocated_bytes += capacity;
        Some(Slab::with_capacity(capacity))
    }

    fn pop_free(&mut self, size: usize, reader: Reader) -> Option<Slab> {
        let free = &mut self.sizes[size].free;
        let slab = match reader {
            Reader::SameCore => free.pop_back(),
            Reader::OtherCore => free.pop_front(),
        }?;
        self.free_bytes -= slab.capacity();
        Some(slab)
    }

    /// Gives free slabs back to the system, those of the size `kept` aside, until `bytes` more fit
    /// the budget.
    #[cold]
    fn shed(&mut self, bytes: usize, kept: Option<usize>) {
        for size in (0..self.sizes.len()).filter(|size| Some(*size) != kept) {
            while self.held_bytes() + bytes > self.budget_bytes
                && let Some(slab) = self.pop_free(size, Reader::OtherCore)
            {
                self.allocated_bytes -= slab.capacity();
            }
        }
    }

    fn put_free(&mut self, slab: Slab) {
        let capacity = slab.capacity();
        if let Some(size) = self.sizes.iter_mut().find(|size| size.bytes == capacity) {
            self.free_bytes += capacity;
            size.free.push_back(slab);
        }
    }

    /// Looks at up to `count` slabs given back, oldest first, and frees those nobody reads any
    /// more.
    fn settle(&mut self, count: usize) {
        for _ in 0..count {
            let Some(mut slab) = self.draining.pop_front() else {
                return;
            };
            if slab.reclaim() {
                self.put_free(slab);
            } else {
                self.draining.push_back(slab);
            }
        }
    }
}

const ORDINARY_BYTES: usize = SLAB_BYTES as usize;

/// Slabs that other cores read take turns as soon as there are this many bytes of them, if the
/// budget is at least twice that: more than the second-level caches of most processors.
const CIRCLING_BYTES: usize = 2 << 20;

/// Slabs looked at with every take and return: sends end in about the order they began.
const SETTLED_AT_ONCE: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: u32 = 256 << 10;

    #[test]
    fn the_slab_given_back_last_is_taken_first() {
        let mut pool = SlabPool::new(1 << 20, CAP);
        let [mut first, second] = [1, 1].map(|bytes| pool.take(bytes, Reader::SameCore).unwrap());
        first.tail_mut()[0] = 7;
        pool.give_back(second);
        pool.give_back(first);
        assert_eq!(pool.take(1, Reader::SameCore).unwrap().tail_mut()[0], 7);
        assert_eq!(pool.stats().allocated_bytes, 128 << 10);
    }

    #[test]
    fn slabs_that_another_core_reads_take_turns_within_half_the_budget() {
        for (budget, turns) in [(64 << 20, CIRCLING_BYTES / ORDINARY_BYTES), (512 << 10, 4)] {
            let mut pool = SlabPool::new(budget, CAP);
            let mut lap = || -> Vec<u8> {
                let marks = (0..turns).map(|turn| {
                    let mut slab = pool.take(1, Reader::OtherCore).unwrap();
                    let found = std::mem::replace(&mut slab.tail_mut()[0], turn as u8 + 1);
                    pool.give_back(slab);
                    found
                });
                marks.collect()
            };
            let all: Vec<u8> = (1..=turns as u8).collect();
            assert_eq!(lap(), vec![0; turns], "each is new");
            assert_eq!(lap(), all, "the one given back first comes first");
            assert_eq!(lap(), all);
            assert_eq!(pool.stats().allocated_bytes, turns * ORDINARY_BYTES);
        }
    }

    #[test]
    fn one_over_the_budget_is_refused_and_counted() {
        let mut pool = SlabPool::new(128 << 10, CAP);
        let held = [1, 1].map(|bytes| pool.take(bytes, Reader::SameCore).unwrap());
        assert!(pool.take(1, Reader::SameCore).is_none());
        assert_eq!(pool.stats().refusals, 1);
        held.into_iter().for_each(|slab| pool.give_back(slab));
        assert!(pool.take(1, Reader::SameCore).is_some());
        assert_eq!(pool.stats().in_use_bytes_max, 128 << 10);
    }

    #[test]
    fn the_largest_frame_has_a_slab_and_one_over_has_none() {
        let mut pool = SlabPool::new(1 << 20, CAP);
        let largest = crate::limits::HEADER_BYTES + CAP as usize + crate::limits::DEFINITIONS_BYTES;
        assert_eq!(
            pool.take(largest, Reader::SameCore).unwrap().capacity(),
            320 << 10
        );
        assert!(pool.take((320 << 10) + 1, Reader::SameCore).is_none());
    }

    #[test]
    fn each_cap_has_slabs_of_its_own_size_within_one_budget() {
        let mut pool = SlabPool::with_caps(3 << 20, &[CAP, 2 << 20]);
        let sizes =
            [1, CAP as usize, 1 << 20].map(|bytes| pool.take(bytes, Reader::SameCore).unwrap());
        let capacities = sizes.each_ref().map(Slab::capacity);
        assert_eq!(capacities, [64 << 10, 320 << 10, (2 << 20) + (64 << 10)]);
        assert!(
            pool.take(1 << 20, Reader::SameCore).is_none(),
            "the budget is that of all"
        );
        sizes.into_iter().for_each(|slab| pool.give_back(slab));
        assert!(pool.take(1 << 20, Reader::SameCore).is_some());
        assert!(
            pool.take((2 << 20) + (64 << 10) + 1, Reader::SameCore)
                .is_none()
        );
    }

    #[test]
    fn a_slab_that_is_read_waits_and_counts_as_in_use() {
        let mut pool = SlabPool::new(64 << 10, CAP);
        let mut slab = pool.take(1, Reader::SameCore).unwrap();
        slab.advance(1);
        let slice = slab.freeze();
        pool.give_back(slab);
        assert_eq!(pool.stats().in_use_bytes, 64 << 10);
        assert!(pool.take(1, Reader::SameCore).is_none());
        drop(slice);
        assert!(pool.take(1, Reader::SameCore).unwrap().is_empty());
    }

    #[test]
    fn what_is_kept_elsewhere_counts_and_one_over_the_budget_is_refused() {
        let mut pool = SlabPool::new(384 << 10, CAP);
        let slabs = [1, CAP as usize].map(|bytes| pool.take(bytes, Reader::SameCore).unwrap());
        assert!(!pool.charge(1) && pool.take_shortage());
        slabs.into_iter().for_each(|slab| pool.give_back(slab));
        // Free slabs of both sizes make room.
        assert!(pool.charge(384 << 10) && !pool.charge(1));
        assert_eq!(pool.stats().in_use_bytes, 384 << 10);
        assert_eq!(pool.stats().allocated_bytes, 0);
        assert!(pool.take(1, Reader::SameCore).is_none());
        pool.discharge(64 << 10);
        let slab = pool.take(1, Reader::SameCore).unwrap();
        pool.give_back(slab);
        pool.discharge(320 << 10);
        assert_eq!(pool.stats().in_use_bytes, 0);
    }

    #[test]
    fn free_slabs_of_one_size_make_room_for_the_other() {
        let mut pool = SlabPool::new(320 << 10, CAP);
        let small: Vec<_> = (0..5)
            .map(|_| pool.take(1, Reader::SameCore).unwrap())
            .collect();
        small.into_iter().for_each(|slab| pool.give_back(slab));
        let large = pool.take(CAP as usize, Reader::SameCore).unwrap();
        assert_eq!(pool.stats().allocated_bytes, 320 << 10);
        pool.give_back(large);
        assert!(pool.take(1, Reader::SameCore).is_some());
        assert_eq!(pool.stats().allocated_bytes, 64 << 10);
    }
}
