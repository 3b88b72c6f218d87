//! libFuzzer's entry to [`countersign_fuzz::package_lock`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::package_lock(data));
