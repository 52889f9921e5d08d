//! Membership machines that speak with each other in a small world.

mod data_centres;
mod ending;
mod estranged;
mod forming;
mod graves;
mod laws;
mod leaving;
mod memory;
mod replacing;
mod speakers;
mod spreading;
mod strangers;
mod warrants;
pub(crate) mod world;
