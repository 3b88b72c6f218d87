//! libFuzzer's entry to [`countersign_fuzz::pypi_project`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::pypi_project(data));
