//! libFuzzer's entry to [`countersign_fuzz::vex`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::vex(data));
