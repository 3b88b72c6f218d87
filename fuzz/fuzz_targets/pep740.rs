//! libFuzzer's entry to [`countersign_fuzz::pep740`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::pep740(data));
