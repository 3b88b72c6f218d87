//! libFuzzer's entry to [`countersign_fuzz::referrers`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::referrers(data));
