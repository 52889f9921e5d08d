//! What a link can send.

use crate::archive::{self, Archivable, EncodeError};

/// Something that writes itself into a frame: a message, or bytes that are archived already.
pub trait Payload {
    /// The exact length, where it is known without encoding.
    fn exact_bytes(&self) -> Option<usize>;

    /// Writes itself at the start of `into` and returns the bytes written. Bytes behind them may be
    /// overwritten too.
    ///
    /// # Errors
    /// [`EncodeError::NoRoom`] with the whole length when `into` is too short;
    /// [`EncodeError::Failed`] when no length would do.
    fn write(&self, into: &mut [u8]) -> Result<usize, EncodeError>;
}

impl<T: Archivable> Payload for T {
    #[inline]
    fn exact_bytes(&self) -> Option<usize> {
        T::FLAT.then_some(size_of::<T::Archived>())
    }

    #[inline]
    fn write(&self, into: &mut [u8]) -> Result<usize, EncodeError> {
        archive::encode(self, into)
    }
}

/// Bytes of an archive, sent on as they are.
impl Payload for [u8] {
    #[inline]
    fn exact_bytes(&self) -> Option<usize> {
        Some(self.len())
    }

    #[inline]
    fn write(&self, into: &mut [u8]) -> Result<usize, EncodeError> {
        let room = into
            .get_mut(..self.len())
            .ok_or(EncodeError::NoRoom { needed: self.len() })?;
        room.copy_from_slice(self);
        Ok(self.len())
    }
}

/// A payload whose length may be known from having tried to write it.
#[derive(Debug)]
pub struct Measured<'a, P: ?Sized> {
    /// The payload.
    pub payload: &'a P,
    /// Its exact length, if that is known.
    pub bytes: Option<usize>,
}

impl<P: Payload + ?Sized> Payload for Measured<'_, P> {
    fn exact_bytes(&self) -> Option<usize> {
        self.bytes.or_else(|| self.payload.exact_bytes())
    }

    fn write(&self, into: &mut [u8]) -> Result<usize, EncodeError> {
        self.payload.write(into)
    }
}
