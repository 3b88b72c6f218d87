//! libFuzzer's entry to [`countersign_fuzz::receipt`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::receipt(data));
