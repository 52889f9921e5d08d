//! What tests of actors are written with.
//!
//! [`TestProbe`] is an actor that is the test: it speaks any protocol, and takes message by message
//! what it expects. [`DeadLetterProbe`] does the same with what reaches nobody. [`VirtualTime`]
//! passes when a test says so, so that a test of an hour takes no time. Everything here runs with
//! real nodes: what a test sees is what production does.

mod letters;
mod patience;
mod probe;
mod virtual_time;

pub use letters::DeadLetterProbe;
pub use probe::{Caught, TestProbe};
pub(crate) use virtual_time::Timekeeper;
pub use virtual_time::VirtualTime;
