//! What tests of actors are written with.
//!
//! [`VirtualTime`] passes when a test says so, so that a test of an hour takes no time.
//! Everything here runs with real nodes: what a test sees is what production does.

mod letters;
mod patience;
mod virtual_time;

pub use letters::DeadLetterProbe;
pub(crate) use virtual_time::Timekeeper;
pub use virtual_time::VirtualTime;
