//! libFuzzer's entry to [`countersign_fuzz::rotations`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::rotations(data));
