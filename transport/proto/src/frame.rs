//! Frames: the unit of everything that follows the preface.
//!
//! ```text
//!  0        4        8    9       10       12            16
//!  +--------+--------+----+-------+--------+-------------+---------------------+
//!  | body   | crc32  |kind| flags | type   | target      | body: extension     |
//!  | length |        |    |       | number | number      | (16 bytes), payload |
//!  +--------+--------+----+-------+--------+-------------+---------------------+
//! ```
//! Numbers are little-endian, frames follow each other without padding. The checksum covers all of
//! the frame but itself. The extension is there exactly for ask, reply, error and cancel, and flag
//! bit 0 says so. Within a process a tell may have one too, see
//! [`SendHead::TellFor`](crate::link::SendHead::TellFor).
//!
//! [`parse`] finds a frame at the start of bytes and reads it in place. [`frame`] makes one in
//! place around a payload that is already where it belongs, and [`seal`] adds the checksums of
//! many. [`front`] and [`seal_front`] do so for a frame whose payload stays elsewhere.
//! [`Assembler`] joins a frame whose bytes came in pieces. The bodies of frames that the engine
//! itself sends are in [`body`].

pub mod body;

mod assembler;
mod decoder;
mod encoder;
mod header;

pub use assembler::Assembler;
pub use decoder::{
    Checksums, Frame, FrameError, Parse, Parsed, Tell, parse, parse_tell, parse_with,
};
pub(crate) use encoder::stage;
pub use encoder::{Head, encode, frame, front, seal, seal_front};
pub use header::{Extension, Header};

#[cfg(test)]
mod tests;
