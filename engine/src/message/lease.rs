//! [`Msg`]: the one place that trusts a validation done earlier.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

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
/// [`access`] accepted the bytes of `bytes` as an archive of `M`.
pub struct Msg<M: Message> {
    /// Nothing else: where the archived form lies follows from it, and a lease of two words is
    /// moved in registers, also into the future of an asynchronous handler.
    bytes: Chunk,
    /// The pointer keeps the lease from being sent or shared between threads.
    archived: PhantomData<*const Archived<M>>,
}

impl<M: Message> Msg<M> {
    /// Validates `bytes` as one whole archive of `M`.
    ///
    /// # Errors
    /// When they are not one.
    #[inline]
    pub(crate) fn new(bytes: Chunk) -> Result<Self, AccessError> {
        access::<M>(&bytes)?;
        Ok(Self::of(bytes))
    }

    /// Validates the bytes of a payload in place, and takes a view of them that keeps their buffer.
    ///
    /// # Errors
    /// When they are not one whole archive of `M`.
    #[inline(always)]
    pub(crate) fn within(payload: &Payload<'_>) -> Result<Self, AccessError> {
        access::<M>(payload.bytes())?;
        // The view covers the very bytes that were validated.
        Ok(Self::of(payload.view()))
    }

    /// The lease on bytes that were validated as an archive of `M`.
    #[inline]
    fn of(bytes: Chunk) -> Self {
        Self {
            bytes,
            archived: PhantomData,
        }
    }

    /// What [`Validated::new`] validated, if it was an `M`.
    pub(crate) fn from_validated(validated: Validated) -> Option<Self> {
        let is_one = validated.of == TypeId::of::<M>();
        is_one.then(|| Self::of(validated.bytes))
    }

    /// The archive as it was received.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same with its hold on the buffer it was received in.
    pub(crate) fn chunk(&self) -> &Chunk {
        &self.bytes
    }

    /// The lease for a table of many types, on a copy of its bytes: it holds no buffer of others.
    pub(crate) fn into_validated(self) -> Validated {
        // An archive refers to its parts by where they stand from each other.
        let bytes = Chunk::copied_from(&self.bytes);
        let of = TypeId::of::<M>();
        Validated { bytes, of }
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
        const { assert!(align_of::<Archived<M>>() == 1) };
        let root = self.bytes.len() - size_of::<Archived<M>>();
        let archived = self.bytes[root..].as_ptr().cast::<Archived<M>>();
        // SAFETY: `new` and `within` let `access` validate these bytes as an archive of `M`, whose
        // root is the last of them, and `from_validated` takes what `new` validated for the same
        // `M`, by its `TypeId`, or what `into_validated` copied of it byte by byte. The slice above
        // is as long as the root, and a root may lie at any address (asserted). The bytes are still
        // the same: those under a `Chunk` lie in a buffer that does not move when the chunk does,
        // and nobody writes to them while a chunk covers them; `self.bytes` covers them, or, after
        // `clone`, the clone of it that `self` holds. An archived type has no interior mutability
        // (`Portable`), so reading through shared references is all that ever happens to it.
        unsafe { &*archived }
    }
}

impl<M: Message> Clone for Msg<M> {
    #[inline]
    fn clone(&self) -> Self {
        Self::of(self.bytes.clone())
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
/// `bytes` are those of a [`Msg`] of the type that `of` names.
pub(crate) struct Validated {
    bytes: Chunk,
    of: TypeId,
}

impl Validated {
    /// Validates `bytes` as one whole archive of `M`.
    ///
    /// # Errors
    /// When they are not one.
    pub(crate) fn new<M: Message>(bytes: Chunk) -> Result<Self, AccessError> {
        let Msg { bytes, .. } = Msg::<M>::new(bytes)?;
        let of = TypeId::of::<M>();
        Ok(Self { bytes, of })
    }

    /// The archive as it was received.
    pub(crate) fn chunk(&self) -> &Chunk {
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
