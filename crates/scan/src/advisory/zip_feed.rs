//! Feeds as OSV distributes them: a zip archive with one JSON file a record.

use super::error::FeedError;
use super::osv::MAX_RECORD_BYTES;
use std::io::{Read, Seek};
use zip::ZipArchive;

/// Limits on a feed's archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedLimits {
    /// Largest record, unpacked, in bytes: stops a zip bomb in one file.
    pub record_bytes: u64,
    /// Most records: stops an archive of endlessly many small files.
    pub records: u64,
    /// Most bytes unpacked, over all records: stops a zip bomb in many files.
    pub total_bytes: u64,
}

impl Default for FeedLimits {
    /// 16 MiB a record, 2,000,000 records, 16 GiB in all: several times the largest real feed.
    fn default() -> Self {
        Self { record_bytes: MAX_RECORD_BYTES as u64, records: 2_000_000, total_bytes: 16 << 30 }
    }
}

/// Hands each `.json` file of the archive to `each`, with its name, in the archive's order. Other
/// files are passed over. Returns how many records there were.
///
/// # Errors
/// When the archive is malformed, or a record or the whole exceeds `limits`. Records before the
/// error were handed out already.
pub fn read_zip<R: Read + Seek>(
    reader: R,
    limits: &FeedLimits,
    each: &mut dyn FnMut(&str, &[u8]),
) -> Result<u64, FeedError> {
    let archive_error = |e: &dyn std::fmt::Display| FeedError::Archive { because: e.to_string() };
    let mut archive = ZipArchive::new(reader).map_err(|e| archive_error(&e))?;
    if archive.len() as u64 > limits.records {
        return Err(FeedError::Limit {
            what: "number of files in the feed",
            limit: limits.records,
        });
    }
    let (mut records, mut total) = (0u64, 0u64);
    let mut buffer = Vec::new();
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(|e| archive_error(&e))?;
        let name = String::from_utf8_lossy(file.name_raw()).into_owned();
        if !name.ends_with(".json") {
            continue;
        }
        buffer.clear();
        let allowed = limits.record_bytes.min(limits.total_bytes.saturating_sub(total));
        // One byte more than allowed tells "too large" from "just fits"; the size that the
        // archive announces is not believed.
        file.take(allowed.saturating_add(1))
            .read_to_end(&mut buffer)
            .map_err(|e| archive_error(&e))?;
        if buffer.len() as u64 > allowed {
            let (what, limit) = if allowed == limits.record_bytes {
                ("record in the feed", limits.record_bytes)
            } else {
                ("feed, unpacked,", limits.total_bytes)
            };
            return Err(FeedError::Limit { what, limit });
        }
        total += buffer.len() as u64;
        records += 1;
        each(&name, &buffer);
    }
    Ok(records)
}
