//! Large warm buffers that one connection fills upwards with plain receives.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use super::{Buffer, Chunk, Mapping, Origin};
use crate::ring::Completion;

/// A small bounded number of large buffers.
pub(crate) struct BulkPool {
    buffers: Vec<Rc<Buffer>>,
}

impl BulkPool {
    /// `count` buffers of `capacity` bytes each; a page of them costs memory from its first use.
    ///
    /// # Errors
    /// When the memory could not be mapped.
    pub(crate) fn new(count: usize, capacity: usize) -> io::Result<Self> {
        let mut buffers = Vec::with_capacity(count);
        for _ in 0..count {
            let memory = Rc::new(Mapping::zeroed(capacity)?);
            let is_filling = Cell::new(false);
            let origin = Origin::Bulk {
                is_filling,
                _memory: Rc::clone(&memory),
            };
            buffers.push(Rc::new(Buffer::mapped(&memory, 0, capacity, origin)));
        }
        Ok(Self { buffers })
    }

    /// A buffer that nobody fills and no chunk covers. Prefers the lowest, the warmest one.
    pub(crate) fn acquire(&self) -> Option<BulkBuffer> {
        let free = self
            .buffers
            .iter()
            .find(|buffer| Rc::strong_count(buffer) == 1)?;
        set_filling(free, true);
        Some(BulkBuffer {
            buffer: Rc::clone(free),
            filled: 0,
            lent_for: None,
        })
    }

    /// How many buffers there are.
    pub(crate) fn count(&self) -> usize {
        self.buffers.len()
    }

    /// Buffers that chunks cover.
    pub(crate) fn pinned(&self) -> usize {
        let is_pinned = |buffer: &&Rc<Buffer>| {
            let own = if is_filling(buffer) { 2 } else { 1 };
            Rc::strong_count(buffer) > own
        };
        self.buffers.iter().filter(is_pinned).count()
    }
}

/// The one writer of a bulk buffer. The pool holds one count of the buffer and hands out another
/// only when it is the last one left, so no two writers of a buffer exist.
pub(crate) struct BulkBuffer {
    buffer: Rc<Buffer>,
    /// Chunks lie below this mark, the kernel writes above it.
    filled: usize,
    /// The user data of the receive that may write above the mark now.
    lent_for: Option<u64>,
}

impl BulkBuffer {
    /// The bytes above the mark.
    pub(crate) fn room(&self) -> usize {
        self.buffer.capacity - self.filled
    }

    /// Whether a receive may write above the mark now.
    pub(crate) fn is_lent(&self) -> bool {
        self.lent_for.is_some()
    }

    /// Lends the bytes above the mark to the receive with this user data, which the caller submits.
    ///
    /// # Panics
    /// If they are lent already.
    pub(crate) fn lend(&mut self, user_data: u64) -> (*mut u8, usize) {
        assert!(
            self.lent_for.is_none(),
            "a bulk buffer is lent to one receive at a time"
        );
        self.lent_for = Some(user_data);
        (
            self.buffer.bytes.as_ptr().wrapping_add(self.filled),
            self.room(),
        )
    }

    /// Takes the bytes back and raises the mark over those that `completion` says were received;
    /// `None` when there are none.
    ///
    /// # Panics
    /// If the completion is not the one of the receive they are lent to, or says that it wrote past
    /// the end.
    pub(crate) fn take(&mut self, completion: Completion) -> Option<Chunk> {
        assert_eq!(
            self.lent_for,
            Some(completion.user_data()),
            "completion of another receive"
        );
        assert!(!completion.more(), "a plain receive completes once");
        self.lent_for = None;
        let received = usize::try_from(completion.result()).unwrap_or(0);
        assert!(
            received <= self.room(),
            "the kernel wrote past a bulk buffer"
        );
        if received == 0 {
            return None;
        }
        let start = self.filled;
        self.filled += received;
        // SAFETY: the range was checked against the room, the completion proves that the kernel is
        // done with it, and later receives write only above the raised mark.
        Some(unsafe { Chunk::covering(Rc::clone(&self.buffer), start, received) })
    }
}

impl Drop for BulkBuffer {
    fn drop(&mut self) {
        if self.is_lent() {
            // The kernel may still write: keep the memory, and never hand the buffer out again.
            std::mem::forget(Rc::clone(&self.buffer));
        }
        set_filling(&self.buffer, false);
    }
}

fn set_filling(buffer: &Buffer, filling: bool) {
    if let Origin::Bulk { is_filling, .. } = &buffer.origin {
        is_filling.set(filling);
    }
}

fn is_filling(buffer: &Buffer) -> bool {
    matches!(&buffer.origin, Origin::Bulk { is_filling, .. } if is_filling.get())
}
