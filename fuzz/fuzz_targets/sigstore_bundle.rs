//! libFuzzer's entry to [`countersign_fuzz::sigstore_bundle`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::sigstore_bundle(data));
