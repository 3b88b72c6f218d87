//! libFuzzer's entry to [`countersign_fuzz::policy_load`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::policy_load(data));
