//! Membership machines that speak with each other in a small world.

mod forming;
mod world;
