//! Criterion benchmarks of Ringmesh's hot paths, in `benches/`; how to read them is in the README.
//!
//! They measure functions: what one step costs while everything is warm and nothing else runs. What
//! the engine does as a whole, between processes and beside the machine's own floor, is measured by
//! the load generator. This library is empty; it gives the benches a package of their own.

#![forbid(unsafe_code)]
