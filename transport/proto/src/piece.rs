//! What is given to the wire: bytes of slabs, and bytes that lie elsewhere and leave as they are.

use std::fmt;
use std::ops::Deref;

use bytes::{Buf, Bytes};

use crate::slab::{Slab, SlabSlice};

/// A counted view of bytes that never change while it lives. Its clones view the same bytes.
pub trait SharedBytes: Clone + Deref<Target = [u8]> + fmt::Debug {
    /// Drops the first `count` bytes from the view.
    ///
    /// # Panics
    /// If `count` is more than the length.
    fn advance(&mut self, count: usize);
}

impl SharedBytes for Bytes {
    fn advance(&mut self, count: usize) {
        Buf::advance(self, count);
    }
}

/// Bytes to send, in one piece. Several are sent together, in order.
#[derive(Clone, Debug)]
pub enum Piece<B = Bytes> {
    /// Frames, or parts of frames, where they were written.
    Slab(SlabSlice),
    /// A payload that was not written here, or a part of one.
    Shared(B),
}

impl<B: SharedBytes> Piece<B> {
    /// Drops the first `count` bytes from the view.
    ///
    /// # Panics
    /// If `count` is more than the length.
    pub fn advance(&mut self, count: usize) {
        match self {
            Self::Slab(slice) => slice.advance(count),
            Self::Shared(bytes) => bytes.advance(count),
        }
    }

    /// The same bytes for another thread: those of a slab as they are, and a copy of others, whose
    /// count may be of this thread alone.
    pub fn into_slab(self) -> SlabSlice {
        match self {
            Self::Slab(slice) => slice,
            Self::Shared(bytes) => {
                let mut slab = Slab::with_capacity(bytes.len());
                slab.tail_mut().copy_from_slice(&bytes);
                slab.advance(bytes.len());
                slab.freeze()
            }
        }
    }
}

impl<B: SharedBytes> Deref for Piece<B> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Slab(slice) => slice,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl<B> From<SlabSlice> for Piece<B> {
    fn from(slice: SlabSlice) -> Self {
        Self::Slab(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_lose_their_front_and_go_to_another_thread() {
        let shared: Piece = Piece::Shared(Bytes::from_static(b"shared"));
        let slab = Piece::from(shared.clone().into_slab());
        for mut piece in [shared, slab] {
            assert_eq!(&*piece, b"shared");
            piece.advance(2);
            assert_eq!(&*piece, b"ared");
            assert_eq!(&*piece.into_slab(), b"ared");
        }
    }
}
