//! libFuzzer's entry to [`countersign_fuzz::yarn_lock`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::yarn_lock(data));
