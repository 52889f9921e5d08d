//! What the tests of Ringmesh as a whole share: the fixtures of the live tests, and the bodies of
//! the fuzz targets.
//!
//! It is no library for others, and no test itself: the tests stand in `tests/tests`, the entry
//! points of the fuzzer in `tests/fuzz`.
#![forbid(unsafe_code)]

pub mod fuzz;
pub mod live;
