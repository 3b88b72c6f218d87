//! libFuzzer's entry to [`countersign_fuzz::cargo_config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::cargo_config(data));
