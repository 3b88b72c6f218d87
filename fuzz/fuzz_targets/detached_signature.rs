//! libFuzzer's entry to [`countersign_fuzz::detached_signature`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::detached_signature(data));
