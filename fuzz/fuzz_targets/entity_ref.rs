#![no_main]
//! See `tests/support/fuzzed_catalog.rs`.

#[path = "../../tests/support/fuzzed_catalog.rs"]
mod fuzzed_catalog;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    fuzzed_catalog::entity_ref(data);
});
