//! libFuzzer's entry to [`countersign_fuzz::packed_entries`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::packed_entries(data));
