//! `Cargo.lock`: what `crate::cargo` reads, as an inventory.

use super::SkipKind;
use super::lines::TableLines;
use super::reading::{Entry, Reading};
use crate::cargo::parse_lock;
use crate::error::IndexError;
use countersign_core::{Algorithm, Ecosystem, ExpectedDigest};

/// Reads a `Cargo.lock`.
pub(super) fn cargo_lock(text: &str, reading: &mut Reading) -> Result<(), IndexError> {
    let lines = TableLines::new(text, &["[root]", "[[package]]"]);
    for (index, krate) in parse_lock(text)?.into_iter().enumerate() {
        let line = lines.of(index, &krate.name);
        let skipped = match krate.source.as_deref() {
            None => Some((SkipKind::Own, "it is a folder of this machine")),
            Some(s) if s.starts_with("registry+") || s.starts_with("sparse+") => None,
            Some(s) if s.starts_with("git+") => Some((SkipKind::Elsewhere, "it is a git checkout")),
            Some(_) => Some((SkipKind::Unreadable, "its source is of an unknown kind")),
        };
        if let Some((kind, because)) = skipped {
            reading.skip(kind, &format!("{} {}", krate.name, krate.version), because, line);
            continue;
        }
        let (name, version) = (krate.name.as_str(), krate.version.as_str());
        let entry = Entry { ecosystem: Ecosystem::Cargo, name, version, line };
        let Some(listed) = reading.list(entry) else { continue };
        listed.from =
            krate.source.as_deref().and_then(|s| s.split_once('+')).map(|s| s.1.to_owned());
        let digest = krate
            .checksum
            .and_then(|d| ExpectedDigest::from_bytes(Algorithm::Sha256, d.0.to_vec()));
        listed.add_file(Some(&format!("{name}-{version}.crate")), digest.into_iter().collect());
    }
    Ok(())
}
