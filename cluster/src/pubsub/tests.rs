//! Mediators of several nodes, of which each test says who is a member and who reaches whom.

mod hostile;
mod model;
mod scenes;
mod tracks;
mod world;
