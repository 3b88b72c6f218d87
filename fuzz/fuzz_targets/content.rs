//! libFuzzer's entry to [`countersign_fuzz::content`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::content(data));
