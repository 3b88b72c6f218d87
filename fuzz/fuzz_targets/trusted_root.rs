//! libFuzzer's entry to [`countersign_fuzz::trusted_root`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::trusted_root(data));
