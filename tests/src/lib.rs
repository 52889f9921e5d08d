//! What the tests of Ringmesh as a whole share: the bodies of the fuzz targets.
//!
//! It is no library for others, and no test itself: the tests stand in `tests/tests`, the entry
//! points of the fuzzer in `tests/fuzz`.
#![forbid(unsafe_code)]

pub mod fuzz;
