//! The bytes of one message, on their way from the chunk they arrived in to whoever takes them.

use ringmesh_proto::limits::{EXTENSION_BYTES, HEADER_BYTES};
use ringmesh_transport::buffer::Chunk;

use super::Core;

/// The payload of a message, still in the chunk it arrived in.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    pub(super) front: &'a Chunk,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Too many receive buffers are held: what may be kept is copied.
    pub(super) copy_out: bool,
}

impl<'a> Payload<'a> {
    /// A payload that was not received as it is, and has its memory to itself.
    pub(crate) fn whole(bytes: &'a Chunk) -> Self {
        Self {
            front: bytes,
            start: 0,
            end: bytes.len(),
            copy_out: false,
        }
    }

    /// The bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        &self.front[self.start..self.end]
    }

    /// Whether the payload is to be copied out of its receive buffer.
    #[inline]
    pub(crate) fn must_be_copied(&self) -> bool {
        self.copy_out && self.front.is_pooled()
    }

    /// A view of the payload that keeps its buffer.
    #[inline]
    pub(crate) fn view(&self) -> Chunk {
        self.front.slice(self.start..self.end)
    }

    /// A copy of the payload with a buffer of its own.
    #[cold]
    pub(crate) fn copied(&self, core: &Core) -> Chunk {
        core.tally.frames_copied_pinned.add(1);
        core.copies.copy(self.bytes())
    }

    /// A copy of the payload for a message that waits for its actor.
    #[cold]
    pub(crate) fn copied_to_wait(&self, core: &Core) -> Chunk {
        core.tally.frames_copied_other.add(1);
        core.copies.copy(self.bytes())
    }

    /// The length of the frame it came in, in bytes.
    pub(crate) fn frame_bytes(&self, has_extension: bool) -> usize {
        let extension_bytes = if has_extension { EXTENSION_BYTES } else { 0 };
        HEADER_BYTES + extension_bytes + (self.end - self.start)
    }

    /// The payload as a chunk of its own: a view, or a copy while receive buffers are short.
    #[inline]
    pub(crate) fn take(&self, core: &Core) -> Chunk {
        if self.must_be_copied() {
            self.copied(core)
        } else {
            self.view()
        }
    }
}
