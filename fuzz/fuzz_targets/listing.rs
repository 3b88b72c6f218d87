//! libFuzzer's entry to [`countersign_fuzz::listing`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::listing(data));
