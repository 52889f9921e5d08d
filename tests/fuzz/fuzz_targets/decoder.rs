//! A stream of frames in any split.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringmesh_tests::fuzz::decoder(bytes));
