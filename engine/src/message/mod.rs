//! Messages, as users write and read them.
//!
//! A message is a struct or an enum with [`#[message]`](macro@crate::message) on it. It is sent as
//! a plain value, encoded once straight into the buffer that goes to the socket, and arrives as a
//! [`Msg`]: a lease on the received bytes that reads like the archived form of the message, in
//! place. Nothing is decoded that is not looked at, and [`Msg::deserialize`] makes a plain value
//! again where one is wanted.
//!
//! ```
//! use ringmesh::{message, wire};
//!
//! #[wire]
//! struct Position {
//!     x: f32,
//!     y: f32,
//! }
//!
//! #[message(id = "demo.Moved", v = 1)]
//! struct Moved {
//!     name: String,
//!     to: Position,
//!     steps: u32,
//! }
//!
//! fn describe(moved: &ArchivedMoved) -> String {
//!     // Strings and slices read as they are; wide numbers say `to_native` when a plain one is
//!     // needed, and compare and print without.
//!     assert!(moved.steps > 0);
//!     let distance = moved.to.x.to_native().hypot(moved.to.y.to_native());
//!     format!("{} moved {distance} in {} steps", moved.name, moved.steps)
//! }
//! ```
//!
//! A wire type cannot contain itself, in a roundabout way neither; refer to elements by index.
//!
//! ```compile_fail,E0275
//! #[ringmesh::wire]
//! struct Folder {
//!     entries: Vec<Entry>,
//! }
//!
//! #[ringmesh::wire]
//! enum Entry {
//!     File(String),
//!     Folder(Folder),
//! }
//! ```

#[allow(unsafe_code)]
mod lease;
pub(crate) mod lock;
mod lock_text;

pub use lease::Msg;
pub(crate) use lease::Validated;
pub use ringmesh_proto::archive::{AccessError, Archived, EncodeError};
pub use ringmesh_proto::message::{
    Message, MessageId, MessageInfo, MessageType, ProtocolId, Reply, ReplySink, WireSafe,
};
pub use ringmesh_proto::upgrade::{Older, Upgrade};

#[cfg(test)]
mod tests;
