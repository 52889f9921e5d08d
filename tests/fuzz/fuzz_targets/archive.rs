//! A payload of a peer, read as each kind of message.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringmesh_tests::fuzz::archive(bytes));
