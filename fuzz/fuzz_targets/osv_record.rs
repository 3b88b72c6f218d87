//! libFuzzer's entry to [`countersign_fuzz::osv_record`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| countersign_fuzz::osv_record(data));
