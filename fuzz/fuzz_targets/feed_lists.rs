//! libFuzzer's entry to [`countersign_fuzz::feed_lists`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::feed_lists(data));
