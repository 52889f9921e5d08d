//! The pure half of Ringmesh's wire: everything two nodes agree on, as values and state machines.
//!
//! What it is: addresses, the preface and the handshake, frames, links with positions and credit,
//! the association of two nodes, and every limit of the wire. What it is not: it has no socket, no
//! clock, no thread and no random source. Bytes, time and random numbers are arguments; bytes to
//! send and effects to carry out are results. So the engine's driver and a simulator run the same
//! code, and a failure is replayed from its inputs.
//!
//! The two types that matter: a [`Frame`](frame::Frame) is what a peer sent, checked and read in
//! place; an [`Outbound`](link::Outbound) is where this side's frames are written in place, and
//! kept until the peer took them over.
//!
//! ```text
//!  push --> Outbound --gather--> (bytes) --parse--> Frame --accept--> Inbound
//!              ^                                                         |
//!              +-----handle_grant <--------- Grant <--------- poll_grant +
//!
//!  preface, hello --> Acceptor --introduction--> Association --effects--> driver
//! ```
//!
//! # Invariants
//! - Nothing from the network panics, and nothing is allocated by a declared length.
//! - Every table and queue is bounded, in number and where it matters in bytes: see [`limits`].
//! - A frame is delivered whole and undamaged or not at all.
//! - A refused push leaves no trace; an accepted one is acknowledged, or shown when its link ends.
//! - Nothing that takes a position is sent before the handshake is done.
#![deny(unsafe_code)]

pub mod address;
pub mod archive;
pub mod association;
pub mod checksum;
pub mod close_reason;
pub mod door;
pub mod effect;
pub mod fingerprint;
pub mod frame;
pub mod handshake;
pub mod kind;
pub mod lane;
pub mod limits;
pub mod link;
pub mod matrix;
pub mod message;
pub mod piece;
pub mod preface;
pub mod quarantine;
pub mod reader;
pub mod shape;
#[allow(unsafe_code)]
pub mod slab;
pub mod slab_pool;
pub mod time;
pub mod token_bucket;
pub mod upgrade;
