//! Several registries, of which each test says who is a member and who reaches whom.

mod acknowledging;
mod border;
mod hostile;
mod model;
mod spreading;
mod world;
