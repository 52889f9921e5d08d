//! Messages: what makes a type fit for the wire, and how it is known there.
//!
//! [`WireSafe`] says that a type may be a part of a message and what its archive looks like;
//! [`Message`] gives a whole message its id, version and reply. Both are written by the macros
//! `#[message]` and `#[wire]`, from the fields of a struct or the variants of an enum.
//!
//! A message is known on the wire by its [`MessageType`]: an id that is the hash of a name the
//! author chose (so moving or renaming the Rust type changes nothing), a version the author counts,
//! and the fingerprint of the layout. Peers exchange it once per link; equal id and version with
//! another fingerprint is an error, never an access.

use std::fmt;

use bytes::Bytes;

use crate::archive::rkyv::Archive;
use crate::archive::{Archivable, Archived, DEPTH_MAX};
use crate::fingerprint::{Fingerprint, Fnv1a};
use crate::shape::{MessageShape, Shape};
use crate::upgrade::Older;

/// A type that may cross the wire as a message or as a part of one.
///
/// Wire-safe are the fixed-width integers, floats, `bool`, `char`, `()`, arrays, tuples, `String`,
/// `Vec`, `Option`, boxed slices and strings, [`Bytes`], and what `#[wire]` or `#[message]` is
/// written on. Shared pointers, maps and recursive types are not: each was a way through the
/// archiver's validation in the past, and a sorted vector of pairs serves as well.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross the wire",
    label = "not wire-safe",
    note = "a struct or enum of your own: put `#[wire]` on it",
    note = "a map or set: use a sorted `Vec` of pairs; `Rc`, `Arc`, `Box<T>`: use the value itself",
    note = "`usize`, `isize`: use an integer of fixed width"
)]
pub trait WireSafe: Archive {
    /// What the layout is, see [`Fingerprint`].
    const FINGERPRINT: u64;

    /// The same layout in words, for a `messages.lock`.
    const SHAPE: &'static Shape;

    /// How many levels of out-of-line data hang below the value: none for a number, one for a
    /// string, two for a vector of strings.
    const DEPTH: u32;

    /// Whether every bit pattern of the right length is a valid value, and the value owns nothing
    /// out of line. Validating such a type is a check of the length.
    const POD: bool;

    /// Whether the archive is the root alone, so that its length is the size of the archived type.
    const FLAT: bool = Self::DEPTH == 0;
}

/// A message: a wire-safe type with an identity. Written by `#[message]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    label = "not a message",
    note = "put `#[message(id = \"...\", v = 1)]` on the type"
)]
pub trait Message: Archivable + 'static {
    /// What its handler answers: another message, or `()` for nothing.
    type Reply: Reply;

    /// The name its id is made of, such as `"demo.Hello"`.
    const NAME: &'static str;

    /// Counted up by the author when the layout changes.
    const VERSION: u32;

    /// The older versions that become this one where they are read.
    const OLDER: &'static [Older] = &[];

    /// Their layouts.
    #[doc(hidden)]
    const OLDER_SHAPES: &'static [MessageShape] = &[];

    /// The id on the wire.
    const ID: MessageId = MessageId::of(Self::NAME);

    /// The identity that peers exchange.
    const TYPE: MessageType = MessageType {
        id: Self::ID,
        version: Self::VERSION,
        fingerprint: Self::FINGERPRINT,
    };
}

/// What a handler returns: a [`Message`] is sent back, `()` is nothing to send.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a reply",
    label = "neither a message nor `()`",
    note = "put `#[message(id = \"...\", v = 1)]` on the type"
)]
pub trait Reply: 'static {
    /// The type of the reply, `None` for `()`.
    const MESSAGE_TYPE: Option<MessageType>;

    /// Its layout, `None` for `()`.
    fn message_shape() -> Option<MessageShape>;

    /// Gives the reply to `sink` if it is a message, and returns what the sink made of it.
    fn send_to<S: ReplySink>(&self, sink: S) -> Option<S::Output>;
}

/// Takes a reply whose message type is only known here.
pub trait ReplySink {
    /// What sending it returns.
    type Output;

    /// Sends `reply`.
    fn send<M: Message>(self, reply: &M) -> Self::Output;
}

impl Reply for () {
    const MESSAGE_TYPE: Option<MessageType> = None;

    fn message_shape() -> Option<MessageShape> {
        None
    }

    #[inline]
    fn send_to<S: ReplySink>(&self, _: S) -> Option<S::Output> {
        None
    }
}

#[diagnostic::do_not_recommend]
impl<M: Message> Reply for M {
    const MESSAGE_TYPE: Option<MessageType> = Some(<M as Message>::TYPE);

    fn message_shape() -> Option<MessageShape> {
        Some(MessageShape::of::<M>())
    }

    #[inline]
    fn send_to<S: ReplySink>(&self, sink: S) -> Option<S::Output> {
        Some(sink.send(self))
    }
}

/// The id of a message type: the 64-bit FNV-1a hash of its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

impl MessageId {
    /// The id of the message named `name`.
    pub const fn of(name: &str) -> Self {
        Self(Fnv1a::new().bytes(name.as_bytes()).finish())
    }

    /// The id with this value on the wire.
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }

    /// The value on the wire.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({:016x})", self.0)
    }
}

/// The id of a protocol: the 64-bit FNV-1a hash of its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProtocolId(u64);

impl ProtocolId {
    /// The id of the protocol named `name`.
    pub const fn of(name: &str) -> Self {
        Self(Fnv1a::new().bytes(name.as_bytes()).finish())
    }

    /// The id with this value on the wire.
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }

    /// The value on the wire.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for ProtocolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProtocolId({:016x})", self.0)
    }
}

/// The identity of a message type, as peers exchange it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageType {
    /// Which message.
    pub id: MessageId,
    /// Which version of it, as its author counts.
    pub version: u32,
    /// Which layout, see [`Fingerprint`].
    pub fingerprint: u64,
}

/// One message of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageInfo {
    /// Its name.
    pub name: &'static str,
    /// Its identity.
    pub message_type: MessageType,
    /// Its older versions that are read too.
    pub older: &'static [Older],
}

impl MessageInfo {
    /// The entry for `M`.
    pub const fn of<M: Message>() -> Self {
        Self {
            name: M::NAME,
            message_type: M::TYPE,
            older: M::OLDER,
        }
    }
}

/// Whether the id of `messages[index]` is not that of an earlier message. For the macros.
#[doc(hidden)]
pub const fn is_first_with_id(messages: &[MessageInfo], index: usize) -> bool {
    let id = messages[index].message_type.id.0;
    let mut earlier = 0;
    while earlier < index {
        if messages[earlier].message_type.id.0 == id {
            return false;
        }
        earlier += 1;
    }
    true
}

/// The deepest of `depths`. For the macros.
#[doc(hidden)]
pub const fn deepest(depths: &[u32]) -> u32 {
    let mut deepest = 0;
    let mut index = 0;
    while index < depths.len() {
        if depths[index] > deepest {
            deepest = depths[index];
        }
        index += 1;
    }
    deepest
}

/// Fails to compile where `T` breaks what the archive functions rely on. For the macros, which ask
/// where the type is defined, and not only where it is first used.
#[doc(hidden)]
pub const fn assert_wire_safe<T: WireSafe>() {
    assert!(
        align_of::<Archived<T>>() == 1,
        "an archived type has alignment 1"
    );
    // Strictly less: the root is a level too.
    assert!(
        T::DEPTH < DEPTH_MAX,
        "the type nests vectors more than 31 levels deep"
    );
    // Computing it runs the assertions of the parts.
    _ = T::FINGERPRINT;
}

macro_rules! plain {
    ($($ty:ident pod = $pod:literal;)*) => { $(
        impl WireSafe for $ty {
            const FINGERPRINT: u64 = Fingerprint::primitive(stringify!($ty)).finish();
            const SHAPE: &'static Shape = &Shape::Plain(stringify!($ty));
            const DEPTH: u32 = 0;
            const POD: bool = $pod;
        }
    )* };
}

plain! {
    u8 pod = true;
    u16 pod = true;
    u32 pod = true;
    u64 pod = true;
    u128 pod = true;
    i8 pod = true;
    i16 pod = true;
    i32 pod = true;
    i64 pod = true;
    i128 pod = true;
    f32 pod = true;
    f64 pod = true;
    bool pod = false;
    char pod = false;
}

impl WireSafe for () {
    const FINGERPRINT: u64 = Fingerprint::primitive("()").finish();
    const SHAPE: &'static Shape = &Shape::Plain("()");
    const DEPTH: u32 = 0;
    const POD: bool = true;
}

impl WireSafe for String {
    const FINGERPRINT: u64 = Fingerprint::primitive("String").finish();
    const SHAPE: &'static Shape = &Shape::Plain("String");
    const DEPTH: u32 = 1;
    const POD: bool = false;
}

impl WireSafe for Box<str> {
    const FINGERPRINT: u64 = Fingerprint::primitive("Box<str>").finish();
    const SHAPE: &'static Shape = &Shape::Plain("Box<str>");
    const DEPTH: u32 = 1;
    const POD: bool = false;
}

/// The same on the wire as a `Vec<u8>`, so either may become the other without a new version.
impl WireSafe for Bytes {
    const FINGERPRINT: u64 = <Vec<u8>>::FINGERPRINT;
    const SHAPE: &'static Shape = <Vec<u8>>::SHAPE;
    const DEPTH: u32 = <Vec<u8>>::DEPTH;
    const POD: bool = false;
}

impl<T: WireSafe> WireSafe for Vec<T> {
    const FINGERPRINT: u64 = sequence::<T>("vec");
    const SHAPE: &'static Shape = &Shape::Vec(T::SHAPE);
    const DEPTH: u32 = 1 + T::DEPTH;
    const POD: bool = false;
}

impl<T: WireSafe> WireSafe for Box<[T]> {
    const FINGERPRINT: u64 = sequence::<T>("boxed slice");
    const SHAPE: &'static Shape = &Shape::BoxedSlice(T::SHAPE);
    const DEPTH: u32 = 1 + T::DEPTH;
    const POD: bool = false;
}

impl<T: WireSafe> WireSafe for Option<T> {
    const FINGERPRINT: u64 = Fingerprint::container("option")
        .element(T::FINGERPRINT)
        .finish();
    const SHAPE: &'static Shape = &Shape::Option(T::SHAPE);
    const DEPTH: u32 = T::DEPTH;
    const POD: bool = false;
}

impl<T: WireSafe, const N: usize> WireSafe for [T; N] {
    const FINGERPRINT: u64 = Fingerprint::container("array")
        .count(N as u64)
        .element(T::FINGERPRINT)
        .finish();
    const SHAPE: &'static Shape = &Shape::Array(T::SHAPE, N);
    const DEPTH: u32 = T::DEPTH;
    const POD: bool = T::POD;
}

/// The fingerprint of a container whose length is only known at run time.
const fn sequence<T: WireSafe>(name: &str) -> u64 {
    // Four bytes from a peer would make four thousand million elements, and every walk over them
    // as long.
    assert!(
        size_of::<Archived<T>>() > 0,
        "a vector of zero-sized elements has no bound"
    );
    Fingerprint::container(name)
        .element(T::FINGERPRINT)
        .finish()
}

macro_rules! tuples {
    ($(($($element:ident)+))*) => { $(
        impl<$($element: WireSafe),+> WireSafe for ($($element,)+) {
            const FINGERPRINT: u64 =
                Fingerprint::tuple()$(.element($element::FINGERPRINT))+.finish();
            const SHAPE: &'static Shape = &Shape::Tuple(&[$($element::SHAPE),+]);
            const DEPTH: u32 = deepest(&[$($element::DEPTH),+]);
            const POD: bool = $($element::POD)&&+;
        }
    )* };
}

tuples! {
    (A)
    (A B)
    (A B C)
    (A B C D)
    (A B C D E)
    (A B C D E F)
    (A B C D E F G)
    (A B C D E F G H)
    (A B C D E F G H I)
    (A B C D E F G H I J)
    (A B C D E F G H I J K)
    (A B C D E F G H I J K L)
}

#[cfg(test)]
mod tests;
