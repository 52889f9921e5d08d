//! Archives: values encoded so that they are read where they lie.
//!
//! This is the one place that names the machinery of rkyv. It pins the format, writes a value into
//! bytes the caller owns ([`encode`]), and reads bytes as a value after validating them
//! ([`access`]). Nothing here trusts bytes: there is no unchecked way in.
//!
//! The format is rkyv 0.8 with little-endian numbers, 32-bit relative pointers and no alignment. A
//! value's out-of-line data (strings, vectors) comes first and its root last, so an archive is read
//! from its end: the root must end exactly where the payload ends. Whatever the root points at lies
//! before it, each part is claimed once, and parts follow one another; the validator checks that.
//!
//! The shape of a message is fixed while compiling ([`WireSafe`]): no recursion, no shared
//! pointers, no element of size zero. So validation is linear in the length of the archive, and
//! walking an accepted archive is too.

use std::error::Error;
use std::fmt;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;

use rkyv::api::{access_with_context, deserialize_using, serialize_using};
use rkyv::bytecheck::CheckBytes;
use rkyv::de::pooling::Unpool;
use rkyv::rancor::{BoxedError, Failure, Panic, ResultExt, Source, Strategy, Trace};
use rkyv::ser::allocator::SubAllocator;
use rkyv::ser::{Positional, Serializer, Writer};
use rkyv::validation::archive::ArchiveValidator;
use rkyv::{Archive, Deserialize, Portable, Serialize};

use crate::message::WireSafe;

#[doc(hidden)]
pub use rkyv;
/// The archived form of a type: `Archived<Hello>` is `ArchivedHello`.
pub use rkyv::Archived;

/// The longest archive, in bytes: positions within it must fit the 32-bit relative pointers, and
/// rkyv allows a string no more than this. The caps of the lanes are far below.
pub const ARCHIVE_BYTES_MAX: usize = (1 << 30) - 1;

/// How deeply out-of-line data may nest in one message type, the root included.
pub const DEPTH_MAX: u32 = 32;

/// The format by name; the generation is rkyv's major and minor version.
pub(crate) const FORMAT: &str = "rkyv-0.8 little_endian pointer_width_32 unaligned";

/// What the archive functions take: a wire-safe type with the archiver's derives.
///
/// Implemented for every type that qualifies; `#[message]` and `#[wire]` make one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be archived",
    label = "this type, or a part of it, is not wire-safe"
)]
pub trait Archivable:
    WireSafe
    + Archive<Archived: Validate + Deserialize<Self, Deserializer>>
    + for<'a> Serialize<FrameSerializer<'a>>
    + Sized
{
}

#[diagnostic::do_not_recommend]
impl<T> Archivable for T
where
    T: WireSafe + for<'a> Serialize<FrameSerializer<'a>>,
    Archived<T>: Validate + Deserialize<T, Deserializer>,
{
}

/// An archived form that can be validated, silently or with an explanation.
pub trait Validate:
    Portable
    + for<'a> CheckBytes<Validator<'a, Failure>>
    + for<'a> CheckBytes<Validator<'a, BoxedError>>
{
}

impl<T> Validate for T where
    T: Portable
        + for<'a> CheckBytes<Validator<'a, Failure>>
        + for<'a> CheckBytes<Validator<'a, BoxedError>>
{
}

/// Validates one archive of bounded depth. It keeps no table of shared pointers, so a type that
/// has one does not compile.
pub type Validator<'a, E> = Strategy<ArchiveValidator<'a>, E>;

/// Writes one archive into borrowed bytes, with borrowed scratch space for the vectors under way.
pub type FrameSerializer<'a> = Strategy<Serializer<FrameWriter<'a>, SubAllocator<'a>, ()>, Refusal>;

/// Makes an owned value of an archived one.
pub type Deserializer = Strategy<Unpool, Panic>;

/// Encodes `value` at the start of `into` and returns the bytes written.
///
/// Bytes past that length may have been written too, when the encoding failed.
///
/// Nothing is allocated, except for a value with a vector of more than a few hundred elements that
/// themselves hold strings, vectors, options or enums: then the scratch space for them is.
///
/// # Errors
/// [`EncodeError::NoRoom`] when `into` is too short, with the length that would do.
/// [`EncodeError::Failed`] when no length would.
#[inline]
pub fn encode<T: Archivable>(value: &T, into: &mut [u8]) -> Result<usize, EncodeError> {
    let room = into.len();
    if T::FLAT && room < size_of::<Archived<T>>() {
        return Err(EncodeError::NoRoom {
            needed: size_of::<Archived<T>>(),
        });
    }
    let length = if T::FLAT {
        serialize(value, into, &mut []).map_err(|_| EncodeError::Failed)?
    } else {
        // Positions past the longest archive would not fit its pointers.
        let into = &mut into[..room.min(ARCHIVE_BYTES_MAX)];
        let mut scratch = [MaybeUninit::uninit(); STACK_SCRATCH_BYTES];
        match serialize(value, into, &mut scratch) {
            Ok(length) => length,
            Err(refusal) => serialize_with_heap_scratch(value, into, refusal)?,
        }
    };
    if length <= room {
        Ok(length)
    } else {
        Err(EncodeError::NoRoom { needed: length })
    }
}

/// The length of `value`'s archive, in bytes, without storing any of it.
///
/// # Errors
/// [`EncodeError::Failed`] when it cannot be archived.
pub fn measure<T: Archivable>(value: &T) -> Result<usize, EncodeError> {
    match encode(value, &mut []) {
        Err(EncodeError::NoRoom { needed }) => Ok(needed),
        result => result,
    }
}

/// Validates `bytes` as the archive of a `T` and returns its archived form, in place.
///
/// # Errors
/// [`AccessError`]; see [`explain`] for the long answer.
#[inline]
pub fn access<T: Archivable>(bytes: &[u8]) -> Result<&Archived<T>, AccessError> {
    const { crate::message::assert_wire_safe::<T>() };
    let root = size_of::<Archived<T>>();
    // A flat archive is its root and nothing else; a longer one is somebody else's layout.
    if bytes.len() < root || (T::FLAT && bytes.len() != root) {
        return Err(AccessError::Length {
            bytes: bytes.len(),
            root,
        });
    }
    access_with_context::<_, _, Failure>(bytes, &mut validator(bytes))
        .map_err(|Failure| AccessError::Invalid)
}

/// Why [`access`] refuses `bytes`, in words for a log; `None` when it does not. Slow: it allocates.
#[cold]
pub fn explain<T: Archivable>(bytes: &[u8]) -> Option<String> {
    match access::<T>(bytes) {
        Ok(_) => None,
        Err(AccessError::Invalid) => {
            access_with_context::<Archived<T>, _, BoxedError>(bytes, &mut validator(bytes))
                .err()
                .map(|error| error.to_string())
        }
        Err(error) => Some(error.to_string()),
    }
}

/// An owned copy of an archived value.
pub fn deserialize<T: Archivable>(archived: &Archived<T>) -> T {
    // `Panic` cannot be made: an archived value has a length that fits memory, and copying it has
    // no other way to fail.
    deserialize_using::<T, Unpool, Panic>(archived, &mut Unpool).always_ok()
}

/// Why a value was not encoded. Nothing was sent and the value is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The bytes to write into are too short. With `needed` bytes it would have succeeded.
    #[error("the archive needs {needed} bytes, more than there is room for")]
    NoRoom {
        /// The length of the whole archive, in bytes.
        needed: usize,
    },
    /// The value cannot be archived: it is longer than [`ARCHIVE_BYTES_MAX`].
    #[error("the value cannot be archived: it is longer than {ARCHIVE_BYTES_MAX} bytes")]
    Failed,
}

/// Why bytes are not the archive of the expected type: the sender is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Shorter than the root of the type, or, for a flat type, of another length.
    #[error("the archive is {bytes} bytes long, its root {root}")]
    Length {
        /// The length of the archive, in bytes.
        bytes: usize,
        /// The length of the type's root, in bytes.
        root: usize,
    },
    /// Something in it is not valid: a tag, a character, a length, a pointer.
    #[error("the archive is not valid")]
    Invalid,
}

/// The end of the archive under way: stores while there is room and only counts from then on, so
/// one pass answers how much room it takes.
#[derive(Debug)]
pub struct FrameWriter<'a> {
    into: &'a mut [u8],
    /// The bytes written or counted so far.
    length: usize,
}

impl FrameWriter<'_> {
    /// Counts up to `end` without storing.
    #[cold]
    fn count(&mut self, end: usize) -> Result<(), Refusal> {
        if end > ARCHIVE_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        self.length = end;
        Ok(())
    }
}

impl Positional for FrameWriter<'_> {
    #[inline]
    fn pos(&self) -> usize {
        self.length
    }
}

impl Writer<Refusal> for FrameWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        // No overflow: `length` is at most `ARCHIVE_BYTES_MAX`, a slice at most `isize::MAX`.
        let end = self.length + bytes.len();
        let Some(room) = self.into.get_mut(self.length..end) else {
            return self.count(end);
        };
        copy(bytes, room);
        self.length = end;
        Ok(())
    }
}

/// Copies short bytes as two words that may overlap. Most strings and vectors of a message are
/// short, and a copy of unknown length is a call.
#[inline(always)]
fn copy(bytes: &[u8], room: &mut [u8]) {
    match bytes.len() {
        16..=32 => copy_ends::<16>(bytes, room),
        33..=64 => copy_ends::<32>(bytes, room),
        _ => room.copy_from_slice(bytes),
    }
}

#[inline(always)]
fn copy_ends<const BYTES: usize>(bytes: &[u8], room: &mut [u8]) {
    if let (Some(from), Some(to)) = (bytes.first_chunk::<BYTES>(), room.first_chunk_mut()) {
        *to = *from;
    }
    if let (Some(from), Some(to)) = (bytes.last_chunk::<BYTES>(), room.last_chunk_mut()) {
        *to = *from;
    }
}

/// Why the serializer stopped. It costs nothing to make; [`EncodeError`] is what callers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The archive would pass [`ARCHIVE_BYTES_MAX`].
    TooLong,
    /// The archiver refused: it is out of scratch space, or one string is too long.
    Archiver,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the archive is too long",
            Self::Archiver => "the archiver refused the value",
        })
    }
}

impl Error for Refusal {}

impl Trace for Refusal {
    fn trace<R>(self, _: R) -> Self
    where
        R: fmt::Debug + fmt::Display + Send + Sync + 'static,
    {
        self
    }
}

impl Source for Refusal {
    fn new<E: Error + Send + Sync + 'static>(_: E) -> Self {
        Self::Archiver
    }
}

/// Scratch space that costs nothing until it is used; half a page, so no stack probe.
const STACK_SCRATCH_BYTES: usize = 2 << 10;

/// Scratch space when the stack's does not do. A vector takes a few bytes for each of its elements
/// that is not plain data, less than their archives; so the last is enough for any lane's cap.
const HEAP_SCRATCH_BYTES: [usize; 3] = [64 << 10, 2 << 20, 64 << 20];

fn serialize<T: Archivable>(
    value: &T,
    into: &mut [u8],
    scratch: &mut [MaybeUninit<u8>],
) -> Result<usize, Refusal> {
    let writer = FrameWriter { into, length: 0 };
    let mut serializer = Serializer::new(writer, SubAllocator::new(scratch), ());
    serialize_using::<_, Refusal>(value, &mut serializer)?;
    Ok(serializer.writer.length)
}

#[cold]
fn serialize_with_heap_scratch<T: Archivable>(
    value: &T,
    into: &mut [u8],
    mut refusal: Refusal,
) -> Result<usize, EncodeError> {
    for bytes in HEAP_SCRATCH_BYTES {
        if refusal == Refusal::TooLong {
            break;
        }
        let mut scratch = Vec::<u8>::with_capacity(bytes);
        match serialize(value, into, scratch.spare_capacity_mut()) {
            Ok(length) => return Ok(length),
            Err(again) => refusal = again,
        }
    }
    Err(EncodeError::Failed)
}

fn validator(bytes: &[u8]) -> ArchiveValidator<'_> {
    // One level below zero is how the validator says "too deep", hence the one more.
    const LEVELS: NonZeroUsize = NonZeroUsize::new(DEPTH_MAX as usize + 1).unwrap();
    ArchiveValidator::with_max_depth(bytes, Some(LEVELS))
}

/// Pins the archived form of each type to the exact type of the wire, its size, and alignment 1;
/// collects sizes and alignments for the format fingerprint.
macro_rules! pin_format {
    ($($archived:ty => $wire:ty, $bytes:literal;)*) => {
        $(
            const _: fn(Archived<$archived>) -> $wire = |same| same;
            const _: () = assert!(
                size_of::<Archived<$archived>>() == $bytes
                    && align_of::<Archived<$archived>>() == 1,
                "the archive format was changed: another crate of the build turns on format \
                 features of rkyv other than little_endian, pointer_width_32 and unaligned",
            );
        )*

        /// Size and alignment of each pinned archived type, in bytes.
        pub(crate) const LAYOUTS: &[[usize; 2]] =
            &[$([size_of::<Archived<$archived>>(), align_of::<Archived<$archived>>()]),*];
    };
}

pin_format! {
    () => (), 0;
    bool => bool, 1;
    u8 => u8, 1;
    i8 => i8, 1;
    u16 => rkyv::rend::unaligned::u16_ule, 2;
    i16 => rkyv::rend::unaligned::i16_ule, 2;
    u32 => rkyv::rend::unaligned::u32_ule, 4;
    i32 => rkyv::rend::unaligned::i32_ule, 4;
    u64 => rkyv::rend::unaligned::u64_ule, 8;
    i64 => rkyv::rend::unaligned::i64_ule, 8;
    u128 => rkyv::rend::unaligned::u128_ule, 16;
    i128 => rkyv::rend::unaligned::i128_ule, 16;
    f32 => rkyv::rend::unaligned::f32_ule, 4;
    f64 => rkyv::rend::unaligned::f64_ule, 8;
    char => rkyv::rend::unaligned::char_ule, 4;
    usize => rkyv::rend::unaligned::u32_ule, 4;
    isize => rkyv::rend::unaligned::i32_ule, 4;
    String => rkyv::string::ArchivedString, 8;
    Box<str> => rkyv::boxed::ArchivedBox<str>, 8;
    Box<[u8]> => rkyv::boxed::ArchivedBox<[u8]>, 8;
    Vec<u8> => rkyv::vec::ArchivedVec<u8>, 8;
    Vec<u64> => rkyv::vec::ArchivedVec<rkyv::rend::unaligned::u64_ule>, 8;
    Option<u8> => rkyv::option::ArchivedOption<u8>, 2;
    Option<u64> => rkyv::option::ArchivedOption<rkyv::rend::unaligned::u64_ule>, 9;
    (u8, u64) => rkyv::tuple::ArchivedTuple2<u8, rkyv::rend::unaligned::u64_ule>, 9;
    [u16; 3] => [rkyv::rend::unaligned::u16_ule; 3], 6;
    bytes::Bytes => rkyv::vec::ArchivedVec<u8>, 8;
}

#[cfg(test)]
mod tests;
