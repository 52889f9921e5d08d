//! Received bytes: reference-counted views of buffers the kernel wrote into.
//!
//! A [`Chunk`] is what the transport hands out and [`Assembly`] is where a frame that straddles
//! chunks is put together. Neither leaves its core: counts are not atomic.
//!
//! # Why this is sound
//! Every byte of a buffer is initialised when the buffer is made. A byte is written later only
//! by the kernel or by an [`Assembly`], and only while no [`Chunk`] covers it:
//! * a buffer of the receive pool is either *lent* to the kernel or covered by chunks, never both:
//!   the pool takes it back from the kernel only against the completion that filled it, and lends
//!   it again only after its last chunk put it on the list of returned buffers;
//! * a bulk buffer is filled upwards: the kernel writes above the mark, chunks lie below it, and
//!   the mark goes back to zero only when no chunk is left;
//! * the bytes of a slab slice never change while the slice lives, and the buffer holds it;
//! * an assembly writes through `Rc::get_mut`, so only while it is the one owner, and so does who
//!   copies into a buffer that is used again.

mod assembly;
mod bulk;
mod copies;
mod receive_pool;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::rc::Rc;

use ringmesh_proto::piece::SharedBytes;
use ringmesh_proto::slab::SlabSlice;

pub use assembly::Assembly;
pub(crate) use bulk::{BulkBuffer, BulkPool};
pub use copies::Copies;
pub(crate) use receive_pool::ReceivePool;

/// A view of received bytes that keeps their buffer.
///
/// Cloning costs one non-atomic increment. A chunk of a pooled buffer withholds the whole buffer
/// from the kernel until it is dropped, see [`is_pooled`](Self::is_pooled); it may outlive the
/// transport it came from.
pub struct Chunk {
    buffer: Rc<Buffer>,
    span: Span,
}

/// Where a chunk lies in its buffer, in one word: a chunk is two words then, which the compiler
/// moves in registers. Three fields are moved through memory, and read back there in wider pieces
/// than they were written in, for which the processor waits until the writes are through.
#[derive(Clone, Copy)]
struct Span(u64);

impl Span {
    #[inline]
    fn new(start: u32, len: u32) -> Self {
        Self(u64::from(len) << 32 | u64::from(start))
    }

    #[inline]
    fn start(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    fn len(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl Chunk {
    /// A chunk with a buffer of its own that holds a copy of `bytes`.
    ///
    /// # Panics
    /// If `bytes` is 4 GiB long or longer.
    pub fn copied_from(bytes: &[u8]) -> Self {
        let buffer = Buffer::of_heap(Box::from(bytes), Origin::Heap);
        // SAFETY: the buffer is as long as `bytes` and moves into the chunk, so nothing can write
        // to it any more.
        unsafe { Self::covering(Rc::new(buffer), 0, bytes.len()) }
    }

    /// A chunk over bytes that another core, or this one, wrote into a slab: nothing is copied, and
    /// the slab stays with its writer's core until the chunk and its clones are gone.
    ///
    /// # Panics
    /// If the slice is 4 GiB long or longer.
    pub fn of_slab(slice: SlabSlice) -> Self {
        let len = slice.len();
        let buffer = Buffer::of_slab(slice);
        // SAFETY: the buffer is exactly the bytes of the slice, which never change while it lives,
        // and the buffer holds it.
        unsafe { Self::covering(Rc::new(buffer), 0, len) }
    }

    /// Whether the chunk withholds one of the core's receive buffers. Such a chunk should be short
    /// lived; [`copied_from`](Self::copied_from) frees the buffer for the kernel.
    #[inline]
    pub fn is_pooled(&self) -> bool {
        matches!(
            self.buffer.origin,
            Origin::Bulk { .. } | Origin::ReceivePool { .. }
        )
    }

    /// Whether the chunk lies in a slab, which it withholds from the core that writes there.
    #[inline]
    pub fn is_slab(&self) -> bool {
        matches!(self.buffer.origin, Origin::Slab { .. })
    }

    /// Whether the chunk lies in a large buffer that one connection fills alone, so that what it
    /// receives next may be its neighbour; see [`try_join`](Self::try_join).
    #[inline]
    pub fn is_bulk(&self) -> bool {
        matches!(self.buffer.origin, Origin::Bulk { .. })
    }

    /// The bytes of memory that the chunk keeps, be they its own or not: a frame that straddled
    /// buffers may lie in what a longer one before it was put together in.
    #[inline]
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity
    }

    /// The view of `range` within this one.
    ///
    /// # Panics
    /// If the range is reversed or reaches past the end.
    #[inline]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "range past the chunk"
        );
        Self {
            buffer: Rc::clone(&self.buffer),
            span: Span::new(
                self.span.start() + range.start as u32,
                (range.end - range.start) as u32,
            ),
        }
    }

    /// Drops the first `count` bytes from the view.
    ///
    /// # Panics
    /// If `count` is more than the length.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "advanced past the end of a chunk");
        let (start, len) = (self.span.start(), self.span.len());
        self.span = Span::new(start + count as u32, len - count as u32);
    }

    /// Splits off the first `count` bytes and keeps the rest.
    ///
    /// # Panics
    /// If `count` is more than the length.
    #[must_use = "the split-off bytes are in the chunk that is returned; `advance` drops them"]
    pub fn split_to(&mut self, count: usize) -> Self {
        let front = self.slice(0..count);
        self.advance(count);
        front
    }

    /// Appends `next` without copying when it starts exactly where this one ends, in the same
    /// buffer.
    ///
    /// # Errors
    /// Gives `next` back when the two are not neighbours.
    pub fn try_join(&mut self, next: Self) -> Result<(), Self> {
        let adjacent = Rc::ptr_eq(&self.buffer, &next.buffer)
            && self.span.start() as usize + self.len() == next.span.start() as usize;
        if !adjacent {
            return Err(next);
        }
        self.span = Span::new(self.span.start(), self.span.len() + next.span.len());
        Ok(())
    }

    /// A chunk over `len` bytes of `buffer` from `start`.
    ///
    /// # Safety
    /// `start + len` lies within the buffer, and nobody writes to these bytes while a chunk covers
    /// them.
    unsafe fn covering(buffer: Rc<Buffer>, start: usize, len: usize) -> Self {
        debug_assert!(start + len <= buffer.capacity);
        Self {
            buffer,
            span: Span::new(start as u32, len as u32),
        }
    }
}

/// What was received leaves again from where it lies.
impl SharedBytes for Chunk {
    fn advance(&mut self, count: usize) {
        self.advance(count);
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let first = self
            .buffer
            .bytes
            .as_ptr()
            .wrapping_add(self.span.start() as usize);
        // SAFETY: `covering` was promised that the range lies in the buffer and is not written to
        // while a chunk covers it, every other method only narrows the range or joins two covered
        // ones, and the buffer is alive and initialised for as long as `self.buffer` is held.
        unsafe { std::slice::from_raw_parts(first, self.span.len() as usize) }
    }
}

impl Clone for Chunk {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            buffer: Rc::clone(&self.buffer),
            span: self.span,
        }
    }
}

impl Drop for Chunk {
    #[inline]
    fn drop(&mut self) {
        // The pool itself holds one count of each of its buffers, so two means: the last chunk.
        // When the pool is gone the count of the last chunk is one, and the memory goes with it.
        if let Origin::Copies { index, returned }
        | Origin::ReceivePool {
            index, returned, ..
        } = &self.buffer.origin
            && Rc::strong_count(&self.buffer) == 2
        {
            returned.push(*index);
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.span.len())
    }
}

/// How much of a core's receive memory is held by chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferUse {
    /// Buffers that the kernel cannot fill because a [`Chunk`] of them lives.
    pub pinned: usize,
    /// All buffers.
    pub total: usize,
}

/// Memory that chunks view. All of it is initialised; see the module's head for who may write.
struct Buffer {
    bytes: NonNull<u8>,
    capacity: usize,
    origin: Origin,
}

/// Where a buffer's memory comes from, and what its last chunk has to do.
enum Origin {
    /// A boxed slice of its own.
    Heap,
    /// The same, used again; the last chunk puts it on the list.
    Copies { index: u16, returned: Rc<Returned> },
    /// Frozen bytes of a slab.
    Slab { _slice: SlabSlice },
    /// A whole mapping, which a connection may be filling.
    Bulk {
        is_filling: Cell<bool>,
        _memory: Rc<Mapping>,
    },
    /// A part of the receive pool; the last chunk puts it on the list.
    ReceivePool {
        index: u16,
        returned: Rc<Returned>,
        _memory: Rc<Mapping>,
    },
}

impl Origin {
    /// Whether the memory is a boxed slice, which the kernel never writes to.
    #[inline]
    fn is_heap(&self) -> bool {
        matches!(self, Self::Heap | Self::Copies { .. })
    }
}

impl Buffer {
    /// A buffer on the heap, of zeros.
    fn zeroed(capacity: usize, origin: Origin) -> Self {
        let bytes = vec![0; capacity].into_boxed_slice();
        Self::of_heap(bytes, origin)
    }

    /// The buffer of these bytes.
    fn of_heap(bytes: Box<[u8]>, origin: Origin) -> Self {
        assert!(
            origin.is_heap(),
            "whoever frees other memory knows how it was made"
        );
        let capacity = bytes.len();
        assert!(
            u32::try_from(capacity).is_ok(),
            "a buffer is shorter than 4 GiB"
        );
        Self {
            bytes: NonNull::from(Box::leak(bytes)).cast(),
            capacity,
            origin,
        }
    }

    /// The buffer over the bytes of a slice, which nobody writes to.
    fn of_slab(slice: SlabSlice) -> Self {
        assert!(
            u32::try_from(slice.len()).is_ok(),
            "a buffer is shorter than 4 GiB"
        );
        Self {
            bytes: NonNull::from(&*slice).cast(),
            capacity: slice.len(),
            origin: Origin::Slab { _slice: slice },
        }
    }

    /// The buffer over bytes `offset..offset + capacity` of a mapping.
    fn mapped(memory: &Mapping, offset: usize, capacity: usize, origin: Origin) -> Self {
        assert!(offset + capacity <= memory.len, "buffer past its mapping");
        assert!(
            u32::try_from(capacity).is_ok(),
            "a buffer is shorter than 4 GiB"
        );
        // SAFETY: the first assertion says that the offset lies within the mapping.
        let bytes = unsafe { memory.start.add(offset) };
        Self {
            bytes,
            capacity,
            origin,
        }
    }

    /// All bytes of a heap buffer.
    fn bytes(&self) -> &[u8] {
        assert!(self.origin.is_heap(), "the kernel may be writing to others");
        // SAFETY: the memory is alive and initialised for `capacity` bytes. A heap buffer is never
        // lent to the kernel and is written only through `bytes_mut`, which `&self` excludes.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), self.capacity) }
    }

    /// All bytes of a heap buffer, to write. Exclusive access to the buffer proves that no chunk
    /// covers any of them; that the kernel does not write them either holds for heap buffers, which
    /// are never lent.
    fn bytes_mut(&mut self) -> &mut [u8] {
        assert!(
            self.origin.is_heap(),
            "only heap buffers are written in place"
        );
        // SAFETY: the memory is alive and initialised for `capacity` bytes, and `&mut self` is the
        // only way to it: a chunk would hold a count of the `Rc` around `self`.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_ptr(), self.capacity) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.origin.is_heap() {
            let slice = NonNull::slice_from_raw_parts(self.bytes, self.capacity);
            // SAFETY: `of_heap`, the one place that makes heap buffers, leaked exactly this box.
            drop(unsafe { Box::from_raw(slice.as_ptr()) });
        }
    }
}

/// The indices of a pool's buffers whose last chunk is gone. Never grows beyond the pool.
struct Returned {
    indices: RefCell<Vec<u16>>,
    /// The pool is gone: nobody takes them.
    is_closed: Cell<bool>,
}

impl Returned {
    fn with_room_for(count: usize) -> Self {
        Self {
            indices: RefCell::new(Vec::with_capacity(count)),
            is_closed: Cell::new(false),
        }
    }

    fn reserve(&self, count: usize) {
        self.indices.borrow_mut().reserve_exact(count);
    }

    #[inline]
    fn push(&self, index: u16) {
        if !self.is_closed.get() {
            self.indices.borrow_mut().push(index);
        }
    }

    #[inline]
    fn pop(&self) -> Option<u16> {
        self.indices.borrow_mut().pop()
    }

    fn len(&self) -> usize {
        self.indices.borrow().len()
    }

    /// The pool goes. A buffer then counts only its chunks, and two of them are not the last.
    fn close(&self) {
        self.is_closed.set(true);
        self.indices.take();
    }
}

/// Zeroed pages of the process, given back on drop. A page costs memory once it was written to.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn zeroed(len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping at an address the kernel picks overlaps nothing.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `zeroed` mapped; every buffer in it holds this mapping,
        // and whoever lends it to the kernel leaks it instead of dropping it while it is lent.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
