//! The answers of those who are asked about a dialler.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringmesh_tests::fuzz::verifier(bytes));
