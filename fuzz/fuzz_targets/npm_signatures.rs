//! libFuzzer's entry to [`countersign_fuzz::npm_signatures`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::npm_signatures(data));
