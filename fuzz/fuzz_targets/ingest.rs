//! See [`kith_fuzz::ingest`]. Without `cargo fuzz` this is an empty program.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kith_fuzz::ingest(bytes));

#[cfg(not(fuzzing))]
fn main() {}
