//! libFuzzer's entry to [`countersign_fuzz::version_order`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::version_order(data));
