//! The pass: reads each file once, in windows, for all scanners.

use super::{ContentScanner, FileInfo, FileKind, Package, Window};
use countersign_core::{Check, Finding, FindingKind, Severity};
use countersign_ecosystem::archive::Entry;
use std::io::{self, Read};

/// Bytes of a window; what a pass holds in memory of a file, whatever its size.
pub(super) const WINDOW: usize = 2 << 20;
/// Bytes that two windows share. What is longer and lies across their border may be missed.
pub(super) const OVERLAP: usize = 8 << 10;

struct Slot {
    scanner: Box<dyn ContentScanner>,
    /// Why it ended before its time.
    failed: Option<String>,
    wants: bool,
}

/// All scanners, on their way through one artifact.
pub(crate) struct Pass {
    slots: Vec<Slot>,
    buffer: Vec<u8>,
}

impl Pass {
    pub(crate) fn new(scanners: Vec<Box<dyn ContentScanner>>) -> Self {
        let slots = scanners.into_iter();
        let slots = slots.map(|scanner| Slot { scanner, failed: None, wants: false }).collect();
        Self { slots, buffer: Vec::new() }
    }

    /// Shows one file to every scanner that wants it. What nobody wants is left unread.
    pub(crate) fn file(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        let buffer = &mut self.buffer;
        buffer.clear();
        let mut ended = fill(content, 64 << 10, buffer)?;
        let kind = FileKind::of(&entry.path, buffer);
        let file = FileInfo { path: &entry.path, kind, mode: entry.mode, size: entry.size };
        for slot in &mut self.slots {
            slot.wants = slot.failed.is_none() && slot.scanner.wants(&file);
        }
        let (mut offset, mut lines_before) = (0, 0);
        while self.slots.iter().any(|s| s.wants) {
            if !ended {
                ended = fill(content, WINDOW, buffer)?;
            }
            let keep = if ended { buffer.len() } else { WINDOW - OVERLAP };
            let window = Window { bytes: buffer, offset, lines_before, keep };
            for slot in self.slots.iter_mut().filter(|s| s.wants) {
                if let Err(because) = slot.scanner.window(&file, &window) {
                    slot.failed = Some(format!("{because}, in `{}`", entry.path));
                    slot.wants = false;
                }
            }
            if ended {
                break;
            }
            let done = buffer.get(..keep).unwrap_or_default();
            lines_before += memchr::memchr_iter(b'\n', done).count() as u64;
            offset += keep as u64;
            buffer.drain(..keep);
        }
        Ok(())
    }

    /// Ends the pass. `cut` says why not all of the artifact was seen.
    pub(crate) fn finish(
        self,
        package: &Package<'_>,
        cut: Option<&str>,
    ) -> (Vec<Finding>, Vec<Check>) {
        let (mut findings, mut checks) = (Vec::new(), Vec::new());
        for slot in self.slots {
            let name = slot.scanner.name();
            let mut because = slot.failed.or_else(|| cut.map(str::to_owned));
            let found = slot.scanner.finish(package).unwrap_or_else(|e| {
                because.get_or_insert(e);
                Vec::new()
            });
            let worst = found
                .iter()
                .filter(|f| f.kind == FindingKind::Suspicious && f.severity >= Severity::High)
                .max_by_key(|f| f.severity);
            checks.push(match (worst, because) {
                (Some(worst), _) => Check::failed(name, worst.title.clone()),
                (None, Some(because)) => Check::not_done(name, because),
                (None, None) => Check::passed(name),
            });
            findings.extend(found);
        }
        (findings, checks)
    }
}

/// Fills the buffer up to `len` bytes; whether the content ended.
fn fill(content: &mut dyn Read, len: usize, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let want = len.saturating_sub(buffer.len());
    let got = content.take(want as u64).read_to_end(buffer)?;
    Ok(got < want)
}
