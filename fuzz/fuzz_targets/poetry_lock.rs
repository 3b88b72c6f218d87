//! libFuzzer's entry to [`countersign_fuzz::poetry_lock`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::poetry_lock(data));
