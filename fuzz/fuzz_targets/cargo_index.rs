//! libFuzzer's entry to [`countersign_fuzz::cargo_index`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::cargo_index(data));
