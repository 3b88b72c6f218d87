//! libFuzzer's entry to [`countersign_fuzz::cyclonedx`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::cyclonedx(data));
