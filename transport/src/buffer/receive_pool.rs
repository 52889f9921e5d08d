//! The receive buffers of a core, lent to the kernel through its ring of provided buffers.

use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::{Buffer, Chunk, Mapping, Origin, Returned};
use crate::ring::Completion;

/// The pool. A buffer is lent to the kernel, or covered by chunks, or on the list of returned ones.
pub(crate) struct ReceivePool {
    /// One count of each buffer stays here, so making a chunk allocates nothing.
    buffers: Vec<Rc<Buffer>>,
    lent: Vec<bool>,
    lent_count: usize,
    returned: Rc<Returned>,
    entries: Option<Rc<Mapping>>,
    memory: Rc<Mapping>,
    tail: u16,
}

impl ReceivePool {
    /// A pool of `count` buffers of `capacity` bytes. Nothing is lent until [`lend`](Self::lend).
    ///
    /// # Errors
    /// When the memory could not be mapped; `InvalidInput` when `count` is not a power of two up to
    /// 32,768.
    pub(crate) fn new(count: u16, capacity: u32) -> io::Result<Self> {
        if !count.is_power_of_two() || count > 1 << 15 || capacity == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (slots, bytes) = (usize::from(count), capacity as usize);
        let memory = Rc::new(Mapping::zeroed(slots * bytes)?);
        let entries = Mapping::zeroed(slots * size_of::<BufRingEntry>())?;
        let returned = Rc::new(Returned::with_room_for(slots));
        let buffers = (0..count).map(|index| {
            let origin = Origin::ReceivePool {
                index,
                returned: Rc::clone(&returned),
                _memory: Rc::clone(&memory),
            };
            Rc::new(Buffer::mapped(
                &memory,
                usize::from(index) * bytes,
                bytes,
                origin,
            ))
        });
        let buffers = buffers.collect();
        // All start as returned, lowest index on top, so the first `lend` hands out all in order.
        (0..count).rev().for_each(|index| returned.push(index));
        Ok(Self {
            buffers,
            lent: vec![false; slots],
            lent_count: 0,
            returned,
            entries: Some(Rc::new(entries)),
            memory,
            tail: 0,
        })
    }

    /// Where the kernel reads which buffers it may fill.
    pub(crate) fn entries_address(&self) -> u64 {
        self.entries
            .as_ref()
            .map_or(0, |entries| entries.start.as_ptr() as u64)
    }

    /// How many buffers there are.
    pub(crate) fn count(&self) -> u16 {
        self.buffers.len() as u16
    }

    /// Buffers that chunks cover.
    pub(crate) fn pinned(&self) -> usize {
        self.buffers.len() - self.lent_count - self.returned.len()
    }

    /// Buffers that the kernel may fill.
    pub(crate) const fn lent(&self) -> usize {
        self.lent_count
    }

    /// Lends every returned buffer to the kernel; says whether there was one.
    pub(crate) fn lend_returned(&mut self) -> bool {
        let before = self.tail;
        while let Some(index) = self.returned.pop() {
            self.lend(index);
        }
        if self.tail == before {
            return false;
        }
        self.publish();
        true
    }

    /// Takes back the buffer that `completion` filled; `None` when it carries no buffer.
    ///
    /// # Panics
    /// If the kernel names a buffer that it was not lent, or says that it wrote past its end:
    /// memory can no longer be trusted then.
    pub(crate) fn take(&mut self, completion: Completion) -> Option<Chunk> {
        let index = usize::from(completion.buffer()?);
        let filled = usize::try_from(completion.result()).unwrap_or(0);
        assert!(
            self.lent[index],
            "the kernel filled a buffer that it was not lent"
        );
        self.lent[index] = false;
        self.lent_count -= 1;
        let buffer = Rc::clone(&self.buffers[index]);
        assert!(
            filled <= buffer.capacity,
            "the kernel wrote past a receive buffer"
        );
        // SAFETY: the completion proves that the kernel is done with this buffer, and `lent` that
        // no chunk covered it meanwhile. It is lent again only by way of `returned`, where the
        // drop of its last chunk puts it.
        Some(unsafe { Chunk::covering(buffer, 0, filled) })
    }

    /// Says that the kernel forgot the pool. Without it, dropping the pool leaks its memory rather
    /// than unmap what the kernel may still write to.
    pub(crate) fn unregistered(&mut self) {
        self.entries = None;
    }

    fn lend(&mut self, index: u16) {
        let slot = usize::from(index);
        assert!(!self.lent[slot], "a buffer was returned while it was lent");
        self.lent[slot] = true;
        self.lent_count += 1;
        let buffer = &self.buffers[slot];
        debug_assert_eq!(Rc::strong_count(buffer), 1, "a lent buffer has no chunk");
        let Some(entries) = &self.entries else { return };
        let place = usize::from(self.tail & (self.count() - 1));
        let ring = entries.start.as_ptr().cast::<BufRingEntry>();
        let entry = ring.wrapping_add(place);
        // SAFETY: `place` is below the count the mapping was sized for, the mapping is aligned to
        // a page, and the kernel does not read this entry before the tail is published: at most
        // `count` buffers are lent, so the place is free.
        let entry = unsafe { &mut *entry };
        entry.set_addr(buffer.bytes.as_ptr() as u64);
        entry.set_len(buffer.capacity as u32);
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        let Some(entries) = &self.entries else { return };
        let ring = entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `ring` points at the first entry of the mapping, which holds the tail.
        let tail = unsafe { BufRingEntry::tail(ring) };
        // SAFETY: the tail is aligned within the entry, lives as long as the mapping, and is
        // written only here; the kernel reads it.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for ReceivePool {
    fn drop(&mut self) {
        self.returned.close();
        if let Some(entries) = self.entries.take() {
            // The kernel was not made to forget these pages, so they are never given back.
            std::mem::forget(entries);
            std::mem::forget(Rc::clone(&self.memory));
        }
    }
}
