//! libFuzzer's entry to [`countersign_fuzz::pypi_release`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::pypi_release(data));
