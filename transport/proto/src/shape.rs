//! Shapes: what a layout is, in words that people read.
//!
//! A [fingerprint](crate::fingerprint) says that two layouts differ, a [`Shape`] says in what. Both
//! are made of the same parts by the same macros, while compiling. Shapes are data that nothing
//! refers to but the test of a `messages.lock`, so programs do not contain them.

use crate::message::{Message, Reply};

/// The layout of one wire-safe type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// Known by its name alone, such as `u64`.
    Plain(&'static str),
    /// Some or none of the element.
    Option(&'static Self),
    /// Any number of the element.
    Vec(&'static Self),
    /// Any number of the element, without a capacity.
    BoxedSlice(&'static Self),
    /// A fixed number of the element.
    Array(&'static Self, usize),
    /// The elements, in order.
    Tuple(&'static [&'static Self]),
    /// A ref to an actor of the protocol with this name.
    Ref(&'static str),
    /// A struct or an enum with `#[wire]` or `#[message]`.
    Part(&'static Part),
}

/// A struct or an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The name of the Rust type.
    pub name: &'static str,
    /// The module it stands in.
    pub module: &'static str,
    /// What it holds.
    pub layout: Layout,
}

/// What a struct or an enum holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The fields of a struct, in order.
    Structure(&'static [Field]),
    /// The variants of an enum, in order.
    Enumeration(&'static [Variant]),
}

/// A field. One without a name is named by its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The layout of its type.
    pub shape: &'static Shape,
}

/// A variant of an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its name.
    pub name: &'static str,
    /// Its fields, in order.
    pub fields: &'static [Field],
}

/// A message with its layout.
#[derive(Clone, Copy, Debug)]
pub struct MessageShape {
    /// The name its id is made of.
    pub name: &'static str,
    /// Its version.
    pub version: u32,
    /// The fingerprint that peers compare.
    pub fingerprint: u64,
    /// Its fields.
    pub shape: &'static Shape,
    /// Its older versions that are read too.
    pub older: &'static [Self],
    /// Its reply. A function, because a message may be its own reply.
    pub reply: fn() -> Option<Self>,
}

impl MessageShape {
    /// The layout of `M`.
    pub const fn of<M: Message>() -> Self {
        Self {
            name: M::NAME,
            version: M::VERSION,
            fingerprint: M::FINGERPRINT,
            shape: M::SHAPE,
            older: M::OLDER_SHAPES,
            reply: <M::Reply as Reply>::message_shape,
        }
    }
}
