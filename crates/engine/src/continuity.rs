//! Continuity: an artifact's evidence beside that of the version before it, from what was recorded.
//!
//! The baseline of a release line is the nearest lower version of it that was admitted from the same
//! upstream, which by its own decision stands for those before it. There is no other list to keep:
//! what was recorded about it is in the ledger.

use crate::engine::Engine;
use crate::http_client::Failure;
use crate::index::FileRef;
use crate::pipeline::store_failure;
use countersign_core::{Change, Evidence, Purl, Verdict};
use countersign_ecosystem::version;
use countersign_evidence::continuity::{Earlier, changes, metadata_repository};
use countersign_store::StoredDecision;
use std::cmp::Ordering;
use std::sync::Arc;

/// Decisions of a package that are looked at, the newest first.
pub(crate) const LOOKED_AT: u32 = 64;

impl Engine {
    /// What differs from the version before.
    pub(crate) async fn changes(
        &self,
        file: &Arc<FileRef>,
        evidence: &[Evidence],
    ) -> Result<Vec<Change>, Failure> {
        let purl = file.purl();
        let Some(current) = purl.version() else { return Ok(Vec::new()) };
        let history = self.inner.store.history(purl, LOOKED_AT).await.map_err(store_failure)?;
        let comparable: Vec<&StoredDecision> = history
            .iter()
            .filter(|d| d.decision.verdict == Verdict::Admit && is_of(d, file))
            .filter(|d| d.purl.version().is_some_and(|v| is_earlier(purl, v, current)))
            .collect();
        let newer = |a: &&&StoredDecision, b: &&&StoredDecision| {
            let version = |d: &StoredDecision| d.purl.version().unwrap_or("").to_owned();
            version::compare(purl.ecosystem(), &version(a), &version(b)).unwrap_or(Ordering::Equal)
        };
        let claimed = file.facts.claimed_repository.as_deref();
        let Some(nearest) = comparable.iter().max_by(newer) else {
            return Ok(claimed
                .and_then(|c| metadata_repository(c, evidence, None))
                .into_iter()
                .collect());
        };
        let earlier: Vec<Evidence> = comparable
            .iter()
            .filter(|d| d.purl == nearest.purl)
            .flat_map(|d| recorded_evidence(d))
            .filter(|e| can_be_lost(e, self, evidence))
            .collect();
        let version = nearest.purl.version().unwrap_or("");
        let earlier = Earlier { version, evidence: &earlier };
        let mut found = changes(evidence, &earlier);
        let then = nearest.facts.pointer("/version/claimed_repository").and_then(|c| c.as_str());
        found
            .extend(claimed.and_then(|c| metadata_repository(c, evidence, Some((&earlier, then)))));
        Ok(found)
    }
}

/// Whether a decision was about a file of the same kind from the same upstream: a project may attest
/// its wheels and not its source archives.
pub(crate) fn is_of(d: &StoredDecision, file: &FileRef) -> bool {
    let upstream = d.facts.pointer("/version/upstream").and_then(|u| u.as_str());
    let kind = |name: &str| name.rsplit_once('.').map(|(_, kind)| kind.to_owned());
    upstream == Some(file.facts.upstream.as_str()) && kind(&d.file_name) == kind(&file.file_name)
}

/// Whether `other` is lower than `current` and of the same release line: the first part of the
/// version, and of those below 1 the second as well, which then breaks as a major one does.
pub(crate) fn is_earlier(purl: &Purl, other: &str, current: &str) -> bool {
    line(other) == line(current)
        && version::compare(purl.ecosystem(), other, current) == Some(Ordering::Less)
}

fn line(version: &str) -> Vec<&str> {
    let version = version.trim_start_matches(['v', '=']);
    let mut parts = version.split(|c: char| !c.is_ascii_alphanumeric());
    let first = parts.next().unwrap_or("");
    match first {
        "0" => vec![first, parts.next().unwrap_or("")],
        _ => vec![first],
    }
}

fn recorded_evidence(d: &StoredDecision) -> Vec<Evidence> {
    let list = d.facts.get("evidence").cloned().unwrap_or_default();
    serde_json::from_value(list).unwrap_or_default()
}

/// Whether evidence of an earlier version is missed when it is not there now. What came from the
/// index or the upstream is; what came from a source of evidence only while that source is asked.
fn can_be_lost(earlier: &Evidence, engine: &Engine, now: &[Evidence]) -> bool {
    let of_upstream = matches!(earlier.source.as_str(), "index" | "upstream");
    let is_asked = || engine.grounds().evidence.iter().any(|s| s.to_string() == earlier.source);
    let is_there = || now.iter().any(|e| e.kind == earlier.kind && e.claim().is_some());
    of_upstream || is_there() || is_asked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::Ecosystem;

    #[test]
    fn release_lines_are_kept_apart() {
        let npm = Purl::new(Ecosystem::Npm, "n", None);
        for (other, current, earlier) in [
            ("1.0.0", "1.0.1", true),
            ("1.0.0", "1.9.0", true),
            ("1.9.0", "1.0.0", false),
            ("1.0.0", "1.0.0", false),
            // A fix of an old line is not compared with the new line, nor the new with the old.
            ("2.0.0", "1.9.9", false),
            ("1.9.9", "2.0.0", false),
            ("0.1.0", "0.1.1", true),
            ("0.1.0", "0.2.0", false),
            ("1.0.0-rc.1", "1.0.0", true),
        ] {
            assert_eq!(is_earlier(&npm, other, current), earlier, "{other} {current}");
        }
        let pypi = Purl::new(Ecosystem::Pypi, "n", None);
        assert!(is_earlier(&pypi, "2024.1", "2024.2"));
        assert!(!is_earlier(&pypi, "2024.2", "2025.1"));
        assert!(is_earlier(&pypi, "1.0rc1", "1.0"));
    }
}
