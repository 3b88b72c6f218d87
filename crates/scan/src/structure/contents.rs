//! What one walk gathers: the manifest, the metadata files, and what else has a path.

use super::MetadataFile;
use crate::content::Pass;
use countersign_core::Ecosystem;
use countersign_ecosystem::archive::{ArchiveError, Entry, EntryKind, ManifestEntry};
use std::io::Read;

/// Bytes of one metadata file; a RECORD of 100,000 files has about 12 MiB.
const MAX_FILE: u64 = 16 << 20;
/// Bytes of all metadata files.
const MAX_ALL: u64 = 24 << 20;
/// Metadata files.
const MAX_FILES: usize = 64;

/// The archive's contents as far as the scan looks at them.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) manifest: Vec<ManifestEntry>,
    pub(super) metadata: Vec<MetadataFile>,
    /// Paths of links and other entries that are neither files nor directories.
    pub(super) others: Vec<String>,
    /// First components of all paths, at most two.
    pub(super) roots: Vec<String>,
    /// Whether metadata files were left out, by number or size.
    pub(super) overflowed: bool,
}

impl Contents {
    /// All paths of files and links, in the order of the archive.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.manifest.iter().map(|e| e.path.as_str()).chain(self.others.iter().map(String::as_str))
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.paths().any(|p| p == path)
    }

    /// The metadata files of that name in a top directory, with the directory.
    pub(super) fn in_top_directory<'a>(
        &'a self,
        name: &'a str,
    ) -> impl DoubleEndedIterator<Item = (&'a str, &'a MetadataFile)> {
        self.metadata.iter().filter_map(move |f| match f.path.split_once('/') {
            Some((top, rest)) if rest == name => Some((top, f)),
            _ => None,
        })
    }
}

/// The visitor of the walk.
pub(super) struct Gatherer {
    ecosystem: Ecosystem,
    is_wheel: bool,
    contents: Contents,
    pass: Pass,
    bytes: u64,
}

impl Gatherer {
    pub(super) fn new(file_name: &str, ecosystem: Ecosystem, pass: Pass) -> Self {
        let is_wheel = is_wheel(file_name);
        Self { ecosystem, is_wheel, contents: Contents::default(), pass, bytes: 0 }
    }

    pub(super) fn visit(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        self.note_root(&entry.path);
        match entry.kind {
            EntryKind::File if self.is_metadata(&entry.path) => self.keep(entry, content),
            EntryKind::File => Ok(self.pass.file(entry, content)?),
            // Hard links come back in the manifest.
            EntryKind::Dir | EntryKind::Hardlink { .. } => Ok(()),
            _ => {
                self.contents.others.push(entry.path.clone());
                Ok(())
            }
        }
    }

    fn note_root(&mut self, path: &str) {
        let top = path.split('/').next().unwrap_or_default();
        let roots = &mut self.contents.roots;
        if !top.is_empty() && roots.len() < 2 && !roots.iter().any(|r| r == top) {
            roots.push(top.to_owned());
        }
    }

    fn is_metadata(&self, path: &str) -> bool {
        let Some((top, name)) = path.split_once('/') else {
            return self.is_wheel && path.ends_with(".pth");
        };
        match self.ecosystem {
            Ecosystem::Pypi if self.is_wheel => {
                top.ends_with(".dist-info") && matches!(name, "METADATA" | "RECORD" | "WHEEL")
                    || super::pypi::is_startup_file(path)
            }
            Ecosystem::Pypi => matches!(name, "PKG-INFO" | "pyproject.toml"),
            Ecosystem::Npm => name == "package.json",
            Ecosystem::Cargo => matches!(name, "Cargo.toml" | ".cargo_vcs_info.json"),
            Ecosystem::Debian => path == "control/control",
            Ecosystem::Go | Ecosystem::Maven => false,
        }
    }

    fn keep(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let limit = MAX_FILE.min(MAX_ALL.saturating_sub(self.bytes));
        let mut bytes = Vec::new();
        content.take(limit + 1).read_to_end(&mut bytes)?;
        self.pass.file(entry, &mut bytes.as_slice().chain(content))?;
        let len = bytes.len() as u64;
        if len > limit || self.contents.metadata.len() >= MAX_FILES {
            self.contents.overflowed = true;
            return Ok(());
        }
        self.bytes += len;
        self.contents.metadata.push(MetadataFile { path: entry.path.clone(), content: bytes });
        Ok(())
    }

    pub(super) fn into_contents(self, manifest: Vec<ManifestEntry>) -> (Contents, Pass) {
        (Contents { manifest, ..self.contents }, self.pass)
    }
}

pub(super) fn is_wheel(file_name: &str) -> bool {
    file_name.to_ascii_lowercase().ends_with(".whl")
}

/// Text from an archive, fit to be shown: control characters would move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    let bidi = |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if c.is_control() || bidi(c) { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}
