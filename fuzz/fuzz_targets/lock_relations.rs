//! libFuzzer's entry to [`countersign_fuzz::lock_relations`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::lock_relations(data));
