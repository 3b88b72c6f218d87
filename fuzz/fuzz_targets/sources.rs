//! libFuzzer's entry to [`countersign_fuzz::sources`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::sources(data));
