//! What members tell each other of their cluster.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringmesh_tests::fuzz::cluster(bytes));
