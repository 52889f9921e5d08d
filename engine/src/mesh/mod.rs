//! What cores hand to each other: bounded rings of one producer and one consumer, and the protocol
//! by which a core that parks is woken for what lies in them.
//!
//! A core has one ring to each other core. It stages values through a turn and publishes them at
//! its end, all at once; then it asks the other core's [`Sleep`](sleep::Sleep), once, whether to
//! ring its doorbell. What is to be used again, such as a buffer, goes home through a second ring
//! in the other direction.
//!
//! The orderings are checked by models that run with the other tests: see `tests/models.rs`.

#[allow(unsafe_code)]
mod ring;
pub(crate) mod sleep;
mod sync;
#[cfg(test)]
mod tests;

pub use ring::{Consumer, Producer, ring};
