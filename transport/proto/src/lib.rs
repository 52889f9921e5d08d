//! The pure half of Ringmesh's wire.
#![deny(unsafe_code)]

pub mod archive;
pub mod fingerprint;
pub mod message;
#[allow(unsafe_code)]
pub mod slab;
pub mod time;
