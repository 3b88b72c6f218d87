//! libFuzzer's entry to [`countersign_fuzz::dpkg_status`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::dpkg_status(data));
