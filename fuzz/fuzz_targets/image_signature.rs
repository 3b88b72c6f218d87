//! libFuzzer's entry to [`countersign_fuzz::image_signature`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::image_signature(data));
