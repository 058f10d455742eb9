//! See [`kith_fuzz::operations`]. Without `cargo fuzz` this is an empty program.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kith_fuzz::operations(bytes));

#[cfg(not(fuzzing))]
fn main() {}
