//! [`Msg`]: the one place that trusts a validation done earlier.

use std::any::TypeId;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

use ringmesh_proto::archive::{AccessError, Archived, access, deserialize};
use ringmesh_proto::message::Message;

use ringmesh_transport::buffer::Chunk;

use crate::core::Payload;

/// A lease on one received message: reads like `M`'s archived form, where the bytes arrived.
///
/// It was validated when it was made, once. It may be kept across an `.await`, stored and cloned;
/// a clone is a lease on the same bytes and costs one non-atomic increment. It stays on its core.
///
/// # Invariant
/// `archived` is what [`access`] returned for the bytes of `bytes`.
pub struct Msg<M: Message> {
    /// Being a pointer, it also keeps the lease from being sent or shared between threads.
    archived: NonNull<Archived<M>>,
    bytes: Chunk,
}

impl<M: Message> Msg<M> {
    /// Validates `bytes` as one whole archive of `M`.
    ///
    /// # Errors
    /// Gives the bytes back with the reason when they are not one.
    #[inline]
    pub(crate) fn new(bytes: Chunk) -> Result<Self, (AccessError, Chunk)> {
        match access::<M>(&bytes).map(NonNull::from) {
            Ok(archived) => Ok(Self { archived, bytes }),
            Err(error) => Err((error, bytes)),
        }
    }

    /// Validates the bytes of a payload in place, and takes a view of them that keeps their buffer.
    ///
    /// # Errors
    /// When they are not one whole archive of `M`.
    #[inline(always)]
    pub(crate) fn within(payload: &Payload<'_>) -> Result<Self, AccessError> {
        // The view covers the very bytes that were validated, at the same place.
        let archived = NonNull::from(access::<M>(payload.bytes())?);
        Ok(Self {
            archived,
            bytes: payload.view(),
        })
    }

    /// What [`Validated::new`] validated, if it was an `M`.
    pub(crate) fn from_validated(validated: Validated) -> Option<Self> {
        let is_one = validated.of == TypeId::of::<M>();
        is_one.then(|| Self {
            archived: validated.archived.cast(),
            bytes: validated.bytes,
        })
    }

    /// The archive as it was received.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A plain value, copied out of the archive.
    pub fn deserialize(&self) -> M {
        deserialize::<M>(self)
    }
}

impl<M: Message> Deref for Msg<M> {
    type Target = Archived<M>;

    #[inline]
    fn deref(&self) -> &Archived<M> {
        // SAFETY: `new` or `within` got this pointer from `access`, which validated the bytes as an
        // `Archived<M>` and returned a reference into them; `from_validated` takes one that `new`
        // made for the same `M`, by its `TypeId`. The bytes are still there and still the
        // same: the bytes under a `Chunk` lie in a buffer that does not move when the chunk does,
        // and nobody writes to them while a chunk covers them; `self.bytes` covers them, or, after
        // `clone`, the clone of it that `self` holds. An archived type has no interior mutability
        // (`Portable`), so reading through shared references is all that ever happens to it.
        unsafe { self.archived.as_ref() }
    }
}

impl<M: Message> Clone for Msg<M> {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            archived: self.archived,
            bytes: self.bytes.clone(),
        }
    }
}

impl<M: Message<Archived: fmt::Debug>> fmt::Debug for Msg<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// A lease for a table that holds those of many message types: validated, and to be turned back
/// into the [`Msg`] it was made as.
///
/// # Invariant
/// `archived` and `bytes` are those of a [`Msg`] of the type that `of` names.
pub(crate) struct Validated {
    archived: NonNull<()>,
    bytes: Chunk,
    of: TypeId,
}

impl Validated {
    /// Validates `bytes` as one whole archive of `M`.
    ///
    /// # Errors
    /// When they are not one.
    pub(crate) fn new<M: Message>(bytes: Chunk) -> Result<Self, AccessError> {
        let Msg { archived, bytes } = Msg::<M>::new(bytes).map_err(|(error, _)| error)?;
        Ok(Self {
            archived: archived.cast(),
            bytes,
            of: TypeId::of::<M>(),
        })
    }

    /// The archive as it was received.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Validated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Validated")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
