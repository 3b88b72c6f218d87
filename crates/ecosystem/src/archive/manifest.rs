//! The manifest of an archive: each file's digest, to compare with what was installed.

use super::{ArchiveError, ArchiveKind, Entry, EntryKind, Limits, Summary, Visitor, walk, watch};
use countersign_core::Sha256Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::io::{self, Read, Seek};

/// One file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Its normalized path. A path that occurs twice in the archive is listed twice.
    pub path: String,
    /// The SHA-256 digest of its content.
    pub sha256: Sha256Digest,
    /// The size of its content in bytes.
    pub size: u64,
}

/// Hashes what passes.
struct Hashing<'a> {
    inner: &'a mut dyn Read,
    hasher: Sha256,
    size: u64,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(buf.get(..n).unwrap_or_default());
        self.size = self.size.saturating_add(n as u64);
        Ok(n)
    }
}

/// Walks an archive as [`walk`] does and takes each file's digest on the way. A hard link is
/// listed with the content of the file it links to; directories and symlinks are not listed.
///
/// # Errors
/// As [`walk`].
pub fn walk_with_manifest<R: Read + Seek>(
    reader: R,
    kind: ArchiveKind,
    limits: &Limits,
    visitor: &mut Visitor<'_>,
) -> Result<(Summary, Vec<ManifestEntry>), ArchiveError> {
    let mut manifest = Vec::new();
    let mut links = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let summary = walk(reader, kind, limits, &mut |entry, content| {
        if let EntryKind::Hardlink { target } = &entry.kind {
            links.push((entry.path.clone(), hardlink_target(kind, entry, target)));
        }
        if !entry.is_file() {
            return visitor(entry, content);
        }
        let mut hashing = Hashing { inner: content, hasher: Sha256::new(), size: 0 };
        visitor(entry, &mut hashing)?;
        loop {
            match hashing.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        let sha256 = Sha256Digest(hashing.hasher.finalize().into());
        manifest.push(ManifestEntry { path: entry.path.clone(), sha256, size: hashing.size });
        Ok(())
    })?;
    add_links(&mut manifest, links);
    Ok((summary, manifest))
}

fn hardlink_target(kind: ArchiveKind, entry: &Entry, target: &str) -> String {
    let prefix = match (kind, entry.path.split_once('/')) {
        (ArchiveKind::Deb, Some((member, _))) => format!("{member}/"),
        _ => String::new(),
    };
    watch::link_target(&prefix, target)
}

fn add_links(manifest: &mut Vec<ManifestEntry>, links: Vec<(String, String)>) {
    if links.is_empty() {
        return;
    }
    let mut contents: HashMap<String, (Sha256Digest, u64)> =
        manifest.iter().map(|e| (e.path.clone(), (e.sha256, e.size))).collect();
    for (path, target) in links {
        if let Some((sha256, size)) = contents.get(&target).copied() {
            contents.insert(path.clone(), (sha256, size));
            manifest.push(ManifestEntry { path, sha256, size });
        }
    }
}
