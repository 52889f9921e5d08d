//! What the tests of Ringmesh as a whole share: the fixtures of the live tests.
//!
//! It is no library for others, and no test itself: the tests stand in `tests/tests`.
#![forbid(unsafe_code)]

pub mod live;
