//! Prefaces, frames and the fates of connections, against the machines that judge them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringmesh_tests::fuzz::handshake(bytes));
