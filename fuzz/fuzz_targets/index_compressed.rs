//! libFuzzer's entry to [`countersign_fuzz::index_compressed`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::index_compressed(data));
