//! One frame out of pieces.

use super::decoder::{FrameError, Parse, parse};
use crate::limits::HEADER_BYTES;

/// Joins the one frame that straddles two or more receive buffers.
///
/// Its memory grows with the bytes that really arrived, never by a declared length. It stays below
/// twice the longest frame that came, and is kept for the next one until
/// [`release`](Self::release).
#[derive(Debug, Default)]
pub struct Assembler {
    bytes: Vec<u8>,
}

impl Assembler {
    /// Whether no frame is under way.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes of the frame under way are here.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes from the start of `bytes` what still belongs to the frame under way, and says how much
    /// that was. Less than all of it means that the frame is whole: [`parse`](Self::parse) it, then
    /// [`clear`](Self::clear).
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as the length is here; what is wrong otherwise shows when
    /// the whole frame is parsed.
    pub fn push(&mut self, bytes: &[u8], body_cap: u32) -> Result<usize, FrameError> {
        let mut taken = 0;
        loop {
            let missing = self.frame_bytes(body_cap)?.unwrap_or(LENGTH_BYTES) - self.bytes.len();
            let rest = &bytes[taken..];
            if missing == 0 || rest.is_empty() {
                return Ok(taken);
            }
            let piece = &rest[..missing.min(rest.len())];
            self.bytes.extend_from_slice(piece);
            taken += piece.len();
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// What the bytes so far hold.
    ///
    /// # Errors
    /// As the function [`parse`](super::parse).
    pub fn parse(&self, body_cap: u32) -> Result<Parse<'_>, FrameError> {
        parse(&self.bytes, body_cap)
    }

    /// Makes room for the next frame and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Makes room for the next frame and gives the memory back.
    pub fn release(&mut self) {
        self.bytes = Vec::new();
    }

    /// The length of the frame under way, once its bytes say it.
    fn frame_bytes(&self, cap: u32) -> Result<Option<usize>, FrameError> {
        let Some(length) = self.bytes.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let declared = u32::from_le_bytes(*length);
        if declared > cap {
            return Err(FrameError::TooLong { declared, cap });
        }
        Ok(Some(HEADER_BYTES + declared as usize))
    }
}

/// The field that says how long the body is.
const LENGTH_BYTES: usize = 4;
