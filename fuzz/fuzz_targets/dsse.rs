//! libFuzzer's entry to [`countersign_fuzz::dsse`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::dsse(data));
