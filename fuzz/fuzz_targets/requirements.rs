//! libFuzzer's entry to [`countersign_fuzz::requirements`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::requirements(data));
