//! libFuzzer's entry to [`countersign_fuzz::index_targets`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::index_targets(data));
