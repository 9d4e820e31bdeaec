#![no_main]
//! See `tests/support/fuzzed.rs`.

#[path = "../../tests/support/fuzzed.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzed::key_set(data);
});
