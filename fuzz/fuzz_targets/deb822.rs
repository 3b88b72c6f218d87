//! libFuzzer's entry to [`countersign_fuzz::deb822`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::deb822(data));
