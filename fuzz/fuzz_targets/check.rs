#![no_main]
//! See `tests/support/fuzzed_check.rs`.

#[path = "../../tests/support/fuzzed_check.rs"]
mod fuzzed_check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzed_check::check(data);
});
