//! The commands of the control port.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringmesh_tests::fuzz::control(bytes));
