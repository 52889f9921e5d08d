//! The first bytes of a connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringmesh_tests::fuzz::preface(bytes));
