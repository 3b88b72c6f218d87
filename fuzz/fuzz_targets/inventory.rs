//! libFuzzer's entry to [`countersign_fuzz::inventory`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::inventory(data));
