//! The pure half of Ringmesh's wire.
#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod slab;
pub mod time;
