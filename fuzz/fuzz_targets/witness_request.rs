//! libFuzzer's entry to [`countersign_fuzz::witness_request`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::witness_request(data));
