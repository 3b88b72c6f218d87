//! What a crate says about its source. Nobody verified it, and it is shown as such.

use countersign_ecosystem::archive::{self, ArchiveKind, Limits};
use countersign_evidence::cargo_vcs::{self, VcsInfo};
use std::io::Read as _;
use std::path::Path;

/// The claim in a crate's file; nothing when it makes none that can be read.
#[must_use]
pub fn vcs_info(path: &Path) -> Option<VcsInfo> {
    let file = std::fs::File::open(path).ok()?;
    let mut found: Option<Vec<u8>> = None;
    let limits = Limits::default();
    let walked = archive::walk(file, ArchiveKind::TarGz, &limits, &mut |entry, content| {
        // The crate's own folder, and nothing below it.
        let own = entry.path.split_once('/').is_some_and(|(_, rest)| rest == cargo_vcs::FILE);
        if own && entry.is_file() && found.is_none() {
            let mut bytes = Vec::new();
            content.take(cargo_vcs::MAX as u64 + 1).read_to_end(&mut bytes)?;
            found = Some(bytes);
        }
        Ok(())
    });
    walked.ok().filter(|w| w.complete)?;
    cargo_vcs::read(&found?).ok()
}

/// The claim in words, a line each.
#[must_use]
pub fn explain_vcs(said: &VcsInfo) -> Vec<String> {
    let mut out = vec![
        "the crate claims about itself, and nobody verified:".to_owned(),
        format!("  commit:           {}", said.commit),
    ];
    out.extend(said.path.as_ref().map(|p| format!("  path:             {p}")));
    if said.dirty {
        out.push("  and changes that are in no commit".to_owned());
    }
    out
}
