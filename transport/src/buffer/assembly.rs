//! Putting together a frame that arrived in several chunks.

use std::rc::Rc;

use super::{Buffer, Chunk, Origin};

/// The first allocation of an assembly: most straddling frames are smaller.
const CAPACITY_MIN: usize = 4096;

/// A growing heap buffer that becomes one [`Chunk`], and uses its memory again once that chunk and
/// its clones are gone. Holds no memory until the first byte.
#[derive(Default)]
pub struct Assembly {
    buffer: Option<Rc<Buffer>>,
    filled: usize,
}

impl Assembly {
    /// An empty assembly without memory.
    pub const fn new() -> Self {
        Self {
            buffer: None,
            filled: 0,
        }
    }

    /// The bytes pushed since the last [`finish`](Self::finish).
    pub const fn len(&self) -> usize {
        self.filled
    }

    /// Whether nothing was pushed since the last [`finish`](Self::finish).
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Appends a copy of `bytes`. Memory grows with what has arrived, at most to twice of it; the
    /// caller bounds that.
    pub fn push(&mut self, bytes: &[u8]) {
        let (start, end) = (self.filled, self.filled + bytes.len());
        self.writable(end)[start..end].copy_from_slice(bytes);
        self.filled = end;
    }

    /// The bytes pushed so far.
    pub fn bytes(&self) -> &[u8] {
        self.buffer
            .as_ref()
            .map_or(&[], |buffer| &buffer.bytes()[..self.filled])
    }

    /// Everything pushed so far, as one chunk. The assembly is empty afterwards.
    pub fn finish(&mut self) -> Chunk {
        let filled = std::mem::take(&mut self.filled);
        let Some(buffer) = &self.buffer else {
            return Chunk::copied_from(&[]);
        };
        // SAFETY: `push` wrote up to `filled` within the buffer; from now on `writable` gets no
        // exclusive access to it until the chunk and its clones are gone.
        unsafe { Chunk::covering(Rc::clone(buffer), 0, filled) }
    }

    /// Forgets what was pushed, and keeps the memory.
    pub const fn clear(&mut self) {
        self.filled = 0;
    }

    /// Forgets what was pushed and gives the memory back, for a link that falls idle.
    pub fn release(&mut self) {
        *self = Self::new();
    }

    /// The whole buffer, at least `needed` bytes long, with the pushed bytes at its start.
    fn writable(&mut self, needed: usize) -> &mut [u8] {
        let fits = self
            .buffer
            .as_mut()
            .and_then(Rc::get_mut)
            .is_some_and(|buffer| buffer.capacity >= needed);
        if !fits {
            self.replace(needed);
        }
        let buffer = self.buffer.as_mut().and_then(Rc::get_mut);
        buffer
            .expect("a buffer that was just made has one owner")
            .bytes_mut()
    }

    fn replace(&mut self, needed: usize) {
        let before = self.buffer.as_mut().and_then(Rc::get_mut);
        let capacity = needed.next_power_of_two().max(CAPACITY_MIN);
        let mut larger = Buffer::zeroed(capacity, Origin::Heap);
        if let Some(before) = before {
            larger.bytes_mut()[..self.filled].copy_from_slice(&before.bytes_mut()[..self.filled]);
        } else {
            // A shared buffer means that a chunk of it lives, and `finish` left nothing behind.
            debug_assert_eq!(self.filled, 0);
        }
        self.buffer = Some(Rc::new(larger));
    }
}
