//! See [`kith_fuzz::wire`]. Without `cargo fuzz` this is an empty program.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kith_fuzz::wire(bytes));

#[cfg(not(fuzzing))]
fn main() {}
