//! libFuzzer's entry to [`countersign_fuzz::purl_pattern`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::purl_pattern(data));
