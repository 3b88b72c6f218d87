//! One pass over what is in an artifact: each file is read once, and every scanner that wants it sees
//! it on the way.
//!
//! A file is shown in windows of bounded size that overlap, so memory does not grow with it. A
//! scanner that fails is left out from then on, and its check says *not done, because*: never
//! passed. The pass knows nothing of what scanners look for.

mod kind;
mod pass;
#[cfg(test)]
mod tests;

pub use kind::{FileKind, Native};
pub(crate) use pass::Pass;

use countersign_core::{Ecosystem, Finding, Sha256Digest};
use countersign_ecosystem::archive::{Entry, EntryKind, ManifestEntry};

/// A file of the artifact, before its content is scanned.
#[derive(Debug, Clone, Copy)]
pub struct FileInfo<'a> {
    /// The normalized path in the archive.
    pub path: &'a str,
    /// What kind of file it is.
    pub kind: FileKind,
    /// Permission bits, 0 when the archive has none.
    pub mode: u32,
    /// The unpacked size that the archive announces, in bytes.
    pub size: u64,
}

/// A stretch of a file's content.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Where in the file they begin.
    pub offset: u64,
    /// Line feeds before them.
    pub lines_before: u64,
    /// What begins at this index or after it is shown again in the next window.
    pub keep: usize,
}

impl Window<'_> {
    /// Whether the file begins here.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// The line, from 1, of the byte at `at`.
    #[must_use]
    pub fn line_at(&self, at: usize) -> u64 {
        let before = self.bytes.get(..at).unwrap_or(self.bytes);
        1 + self.lines_before + memchr::memchr_iter(b'\n', before).count() as u64
    }
}

/// What is known of the artifact when all its files were seen.
#[derive(Debug, Clone, Copy)]
pub struct Package<'a> {
    /// The registry protocol that it comes from.
    pub ecosystem: Ecosystem,
    /// The artifact's file name.
    pub file_name: &'a str,
    /// All files, in the order of the archive.
    pub manifest: &'a [ManifestEntry],
    /// The metadata files with their content.
    pub metadata: &'a [crate::structure::MetadataFile],
    /// What runs code when it is installed or started, as the structure scan found it.
    pub hooks: &'a [Finding],
}

/// What all scanners say of one file of a package whose manifest (`package/package.json` in an npm
/// package, say) has this content.
#[must_use]
pub fn scan_file(
    ecosystem: Ecosystem,
    path: &str,
    mut content: &[u8],
    manifest: &[u8],
) -> Vec<Finding> {
    let entry = Entry {
        raw_path: path.as_bytes().to_vec(),
        path: path.to_owned(),
        kind: EntryKind::File,
        mode: 0o644,
        size: content.len() as u64,
    };
    let listed = ManifestEntry {
        path: path.to_owned(),
        sha256: Sha256Digest::of(content),
        size: entry.size,
    };
    crate::structure::scan_file(ecosystem, &entry, &mut content, listed, manifest)
}

/// A scanner of content.
pub trait ContentScanner {
    /// The name of its check in reports and policies.
    fn name(&self) -> &'static str;

    /// Whether it wants to see the file.
    fn wants(&self, file: &FileInfo<'_>) -> bool;

    /// Takes in a stretch of a file that it wants; those of one file come one after another.
    ///
    /// # Errors
    /// Why the scan cannot go on. The check is then *not done*.
    fn window(&mut self, file: &FileInfo<'_>, window: &Window<'_>) -> Result<(), String>;

    /// What was found, when all files were seen.
    ///
    /// # Errors
    /// Why it cannot be said. The check is then *not done*.
    fn finish(self: Box<Self>, package: &Package<'_>) -> Result<Vec<Finding>, String>;
}
