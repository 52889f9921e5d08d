//! The pure half of Ringmesh's wire.
#![deny(unsafe_code)]

pub mod address;
pub mod archive;
pub mod association;
mod checksum;
pub mod close_reason;
pub mod effect;
pub mod fingerprint;
pub mod frame;
pub mod handshake;
pub mod kind;
pub mod lane;
pub mod limits;
pub mod link;
pub mod message;
pub mod preface;
mod reader;
#[allow(unsafe_code)]
pub mod slab;
pub mod slab_pool;
pub mod time;
pub mod token_bucket;
