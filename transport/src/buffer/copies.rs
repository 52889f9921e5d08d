//! Where messages that wait are copied to: small buffers that are used again.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::{Buffer, Chunk, Origin, Returned};

/// The capacity of the smallest buffers, as a power of two; those of the next size are twice as
/// long.
const SMALLEST_POWER: u32 = 6;

const SIZES: usize = 6;

/// Bytes of the buffers of one size.
const BYTES_OF_SIZE: usize = 128 * 1024;

/// How many buffers there are of all sizes: each has half as many as the one before.
const BUFFERS: usize = (2 * BYTES_OF_SIZE - (BYTES_OF_SIZE >> (SIZES - 1))) >> SMALLEST_POWER;

/// What a buffer takes besides its bytes: counts, place in the lists, and the allocator's part.
const OVERHEAD: usize = size_of::<Buffer>() + 64;

/// Copies of bytes, in buffers that are used again when their last [`Chunk`] is gone.
///
/// A buffer is at most twice as long as what is copied into it, or 64 bytes. What is longer than
/// 2 KiB, or finds all buffers of its size in use, gets a buffer of its own. Holds no memory until
/// the first copy, and then [`BYTES_MAX`](Self::BYTES_MAX) at most, which it keeps. Chunks may
/// outlive it.
pub struct Copies([Size; SIZES]);

/// The buffers of one size.
struct Size {
    capacity: usize,
    /// One count of each stays here.
    buffers: RefCell<Vec<Rc<Buffer>>>,
    returned: Rc<Returned>,
}

impl Copies {
    /// The memory of all buffers there may be, in bytes.
    pub const BYTES_MAX: usize = SIZES * BYTES_OF_SIZE + BUFFERS * OVERHEAD;

    /// None yet.
    pub fn new() -> Self {
        Self(std::array::from_fn(|size| {
            let capacity = 1 << (SMALLEST_POWER as usize + size);
            Size {
                capacity,
                buffers: RefCell::default(),
                returned: Rc::new(Returned::with_room_for(0)),
            }
        }))
    }

    /// A chunk that holds a copy of `bytes`.
    ///
    /// # Panics
    /// If `bytes` is 4 GiB long or longer.
    #[inline]
    pub fn copy(&self, bytes: &[u8]) -> Chunk {
        let power = bytes.len().saturating_sub(1).checked_ilog2().unwrap_or(0);
        let size = self
            .0
            .get((power + 1).saturating_sub(SMALLEST_POWER) as usize);
        let copied = size.and_then(|it| it.copy(bytes));
        copied.unwrap_or_else(|| Chunk::copied_from(bytes))
    }
}

impl Size {
    #[inline]
    fn copy(&self, bytes: &[u8]) -> Option<Chunk> {
        let mut buffers = self.buffers.borrow_mut();
        let index = match self.returned.pop() {
            Some(index) => index,
            None => self.add(&mut buffers)?,
        };
        let buffer = buffers.get_mut(usize::from(index))?;
        let own = Rc::get_mut(buffer);
        debug_assert!(own.is_some(), "it was returned by its last chunk");
        let own = own?;
        own.bytes_mut()
            .get_mut(..bytes.len())?
            .copy_from_slice(bytes);
        // SAFETY: the line above found room for as many bytes in the buffer. From now on `get_mut`
        // finds the count of a chunk, so nobody writes to it until the last of them is gone.
        Some(unsafe { Chunk::covering(Rc::clone(buffer), 0, bytes.len()) })
    }

    /// One more, unless there are as many as may be.
    #[cold]
    fn add(&self, buffers: &mut Vec<Rc<Buffer>>) -> Option<u16> {
        let most = BYTES_OF_SIZE / self.capacity;
        if buffers.len() == most {
            return None;
        }
        if buffers.is_empty() {
            self.returned.reserve(most);
        }
        let index = u16::try_from(buffers.len()).ok()?;
        let returned = Rc::clone(&self.returned);
        let origin = Origin::Copies { index, returned };
        buffers.push(Rc::new(Buffer::zeroed(self.capacity, origin)));
        Some(index)
    }
}

impl Default for Copies {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Size {
    fn drop(&mut self) {
        self.returned.close();
    }
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_use = |it: &Size| it.buffers.borrow().len() - it.returned.len();
        f.debug_struct("Copies")
            .field("in_use", &self.0.iter().map(in_use).sum::<usize>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_its_last_chunk_is_gone() {
        let copies = Copies::new();
        let first = copies.copy(&[1; 100]);
        let (address, view) = (first.as_ptr(), first.slice(50..60));
        drop(first);
        let second = copies.copy(&[2; 100]);
        assert_ne!(second.as_ptr(), address);
        assert_eq!((&*view, &*second), (&[1; 10][..], &[2; 100][..]));
        drop(view);
        let third = copies.copy(&[3; 65]);
        assert_eq!((third.as_ptr(), &*third), (address, &[3; 65][..]));
        assert_eq!((third.held_bytes(), third.is_pooled()), (128, false));
    }

    #[test]
    fn a_buffer_is_no_longer_than_twice_of_what_is_in_it() {
        let copies = Copies::new();
        for length in 0..=5000 {
            let chunk = copies.copy(&vec![7; length]);
            let held = chunk.held_bytes();
            assert!(chunk.len() == length && chunk.iter().all(|it| *it == 7));
            let is_own = length > 2048 && held == length;
            let is_of_size = (length..(2 * length).max(65)).contains(&held);
            assert!(
                is_own || is_of_size && held.is_power_of_two(),
                "{length}: {held}"
            );
        }
    }

    #[test]
    fn there_are_as_many_buffers_as_are_counted() {
        let all = (0..SIZES).map(|size| BYTES_OF_SIZE >> SMALLEST_POWER >> size);
        assert_eq!(all.sum::<usize>(), BUFFERS);
    }

    #[test]
    fn one_over_the_bytes_of_a_size_has_a_buffer_of_its_own() {
        let copies = Copies::new();
        let most = BYTES_OF_SIZE / 2048;
        let held: Vec<_> = (0..=most).map(|_| copies.copy(&[5; 1500])).collect();
        let own = held.iter().filter(|it| it.held_bytes() == 1500).count();
        assert_eq!(own, 1);
        drop(held);
        assert_eq!(copies.copy(&[5; 1500]).held_bytes(), 2048);
    }

    #[test]
    fn a_copy_outlives_what_it_was_made_by() {
        let copies = Copies::new();
        let chunk = copies.copy(b"later");
        let Origin::Copies { returned, .. } = &chunk.buffer.origin else {
            panic!("it is one of those used again");
        };
        let returned = Rc::clone(returned);
        drop(copies);
        for _ in 0..3 {
            drop(chunk.clone());
        }
        assert_eq!((&*chunk, returned.len()), (&b"later"[..], 0));
    }
}
