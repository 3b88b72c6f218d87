//! libFuzzer's entry to [`countersign_fuzz::waiver_file`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::waiver_file(data));
