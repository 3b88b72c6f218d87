//! libFuzzer's entry to [`countersign_fuzz::keyed_attestations`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::keyed_attestations(data));
