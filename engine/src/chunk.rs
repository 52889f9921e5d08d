//! Stands in for `ringmesh_transport::buffer::Chunk` until that lands; the same shape.

use std::ops::{Deref, Range};
use std::rc::Rc;

/// A view of bytes that neither move nor change while it exists.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    buffer: Rc<[u8]>,
    range: Range<usize>,
}

impl Chunk {
    /// A chunk with a buffer of its own that holds a copy of `bytes`.
    pub(crate) fn copied_from(bytes: &[u8]) -> Self {
        Self {
            buffer: bytes.into(),
            range: 0..bytes.len(),
        }
    }

    #[cfg(test)]
    /// The view of `range` within this one.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "range past the chunk"
        );
        Self {
            buffer: Rc::clone(&self.buffer),
            range: self.range.start + range.start..self.range.start + range.end,
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}
