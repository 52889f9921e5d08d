//! The pure half of Ringmesh's wire.
#![deny(unsafe_code)]

pub mod address;
pub mod archive;
mod checksum;
pub mod fingerprint;
pub mod frame;
pub mod kind;
pub mod lane;
pub mod limits;
pub mod link;
pub mod message;
mod reader;
#[allow(unsafe_code)]
pub mod slab;
pub mod slab_pool;
pub mod time;
