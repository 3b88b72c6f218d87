//! libFuzzer's entry to [`countersign_fuzz::cargo_vcs_info`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::cargo_vcs_info(data));
