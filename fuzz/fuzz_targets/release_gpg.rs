//! libFuzzer's entry to [`countersign_fuzz::release_gpg`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::release_gpg(data));
