//! Two versions of a package, as they were judged, side by side; and what a version brings that the one
//! before it had not, as facts of its decision.

use crate::continuity::{LOOKED_AT, is_earlier, is_of};
use crate::engine::Engine;
use crate::http_client::Failure;
use crate::index::FileRef;
use crate::pipeline::store_failure;
use countersign_core::{ArtifactFacts, Purl, ReasonCode, Sha256Digest, Verdict};
use countersign_ecosystem::archive::ManifestEntry;
use countersign_ecosystem::version;
use countersign_scan::diff::{self, Change, Side};
use countersign_scan::structure::listing::Listing;
use countersign_store::{Store, StoreError, StoredDecision};
use std::cmp::Ordering;
use std::sync::Arc;

/// Under which what an artifact declares is kept: it does not depend on the scanners' version.
const LISTING: (&str, &str) = ("listing", "1");

impl Engine {
    /// Keeps what an artifact declares, for the versions after it.
    pub(crate) async fn keep_listing(
        &self,
        sha256: &Sha256Digest,
        listing: &Listing,
    ) -> Result<(), Failure> {
        let Ok(json) = serde_json::to_value(listing) else { return Ok(()) };
        let kept = self.inner.store.put_result(sha256, LISTING.0, LISTING.1, &json).await;
        kept.map_err(store_failure)
    }

    /// What a file brings that the like of it had not, of the nearest earlier version of its release
    /// line that was admitted from the same upstream.
    pub(crate) async fn brought(
        &self,
        file: &Arc<FileRef>,
        facts: &ArtifactFacts,
        own: Option<&Listing>,
    ) -> Result<Vec<countersign_core::Change>, Failure> {
        let store = &self.inner.store;
        let Some(before) = self.nearest_alike(file).await? else { return Ok(Vec::new()) };
        let Ok(old) = serde_json::from_value::<ArtifactFacts>(before.facts) else {
            return Ok(Vec::new());
        };
        let unkept = |e: Incomparable| Failure::new(ReasonCode::Internal, e.to_string());
        let was = manifest(store, &old).await.map_err(unkept)?;
        let is = manifest(store, facts).await.map_err(unkept)?;
        let kept = store.get_result(&old.sha256, LISTING.0, LISTING.1).await;
        let kept = kept.map_err(store_failure)?;
        let earlier = kept.and_then(|json| serde_json::from_value::<Listing>(json).ok());
        let ecosystem = file.purl().ecosystem();
        let dependencies = earlier
            .zip(own)
            .map(|(was, is)| (was.dependencies(ecosystem), is.dependencies(ecosystem)));
        Ok(diff::brought(
            Side { facts: &old, files: was.as_deref() },
            Side { facts, files: is.as_deref() },
            dependencies.as_ref().map(|(was, is)| (was.as_slice(), is.as_slice())),
        ))
    }

    /// The decision about a file of the same sort of the nearest earlier version.
    async fn nearest_alike(&self, file: &FileRef) -> Result<Option<StoredDecision>, Failure> {
        let purl = file.purl();
        let Some(current) = purl.version() else { return Ok(None) };
        let history = self.inner.store.history(purl, LOOKED_AT).await.map_err(store_failure)?;
        let sort = sort_of(&file.file_name, current);
        let of = |d: &StoredDecision| d.purl.version().unwrap_or("").to_owned();
        Ok(history
            .into_iter()
            .filter(|d| d.decision.verdict == Verdict::Admit && is_of(d, file))
            .filter(|d| is_earlier(purl, &of(d), current) && sort_of(&d.file_name, &of(d)) == sort)
            .max_by(|a, b| {
                version::compare(purl.ecosystem(), &of(a), &of(b)).unwrap_or(Ordering::Equal)
            }))
    }
}

/// One file of the older version against the like of it of the newer.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The older one's decision.
    pub old: StoredDecision,
    /// The newer one's.
    pub new: StoredDecision,
    /// What differs, the weightiest first.
    pub changes: Vec<Change>,
}

/// Why two versions cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum Incomparable {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No bytes of it were ever judged.
    #[error(
        "no file of {0} was judged here; let it pass the gate first (what is held or refused by its content will do)"
    )]
    NotJudged(String),
    /// The versions have no two files of one sort.
    #[error("the files of {0} and {1} are of different sorts: {2}")]
    NothingAlike(String, String, String),
    /// What was stored cannot be understood.
    #[error("what was recorded about {0} cannot be read: {1}")]
    Facts(String, String),
}

/// Compares the files of two versions that are of one sort, by what was recorded about them.
///
/// # Errors
/// See [`Incomparable`].
pub async fn compare(store: &Store, old: &Purl, new: &Purl) -> Result<Vec<Pair>, Incomparable> {
    let (before, after) = (judged(store, old).await?, judged(store, new).await?);
    let mut pairs = Vec::new();
    for new in &after {
        let sort = |d: &StoredDecision| sort_of(&d.file_name, d.purl.version().unwrap_or(""));
        let like = before.iter().find(|old| sort(old) == sort(new));
        // Where each has one file, there is no doubt what is to be compared.
        let only = || before.first().filter(|_| before.len() == 1 && after.len() == 1);
        if let Some(old) = like.or_else(only) {
            pairs.push(pair(store, old, new).await?);
        }
    }
    if pairs.is_empty() {
        let names: Vec<&str> = before.iter().chain(&after).map(|d| d.file_name.as_str()).collect();
        return Err(Incomparable::NothingAlike(old.to_string(), new.to_string(), names.join(", ")));
    }
    Ok(pairs)
}

/// The newest decision about each file of a version whose bytes were judged.
async fn judged(store: &Store, purl: &Purl) -> Result<Vec<StoredDecision>, Incomparable> {
    let mut files: Vec<StoredDecision> = Vec::new();
    for d in store.decisions_for_purl(purl).await? {
        let has_facts = d.sha256.is_some() && d.facts.get("sha256").is_some();
        if has_facts && !files.iter().any(|f| f.file_name == d.file_name) {
            files.push(d);
        }
    }
    match files.is_empty() {
        true => Err(Incomparable::NotJudged(purl.to_string())),
        false => Ok(files),
    }
}

/// A file's name without its version.
fn sort_of(file_name: &str, version: &str) -> String {
    file_name.replacen(version, "", 1)
}

async fn pair(
    store: &Store,
    old: &StoredDecision,
    new: &StoredDecision,
) -> Result<Pair, Incomparable> {
    let (before, after) = (facts(old)?, facts(new)?);
    let (was, is) = (manifest(store, &before).await?, manifest(store, &after).await?);
    let changes = diff::compare(
        Side { facts: &before, files: was.as_deref() },
        Side { facts: &after, files: is.as_deref() },
    );
    Ok(Pair { old: old.clone(), new: new.clone(), changes })
}

fn facts(decision: &StoredDecision) -> Result<ArtifactFacts, Incomparable> {
    serde_json::from_value(decision.facts.clone())
        .map_err(|e| Incomparable::Facts(decision.purl.to_string(), e.to_string()))
}

/// The manifest, where one is kept and can be read.
async fn manifest(
    store: &Store,
    facts: &ArtifactFacts,
) -> Result<Option<Vec<ManifestEntry>>, Incomparable> {
    let kept = store.get_manifest(&facts.sha256).await?;
    Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

#[cfg(test)]
mod tests {
    use super::sort_of;

    #[test]
    fn files_of_one_sort_differ_in_their_version_alone() {
        assert_eq!(
            sort_of("flask-3.0.0-py3-none-any.whl", "3.0.0"),
            sort_of("flask-3.1.0-py3-none-any.whl", "3.1.0")
        );
        assert_ne!(
            sort_of("flask-3.0.0.tar.gz", "3.0.0"),
            sort_of("flask-3.1.0-py3-none-any.whl", "3.1.0")
        );
    }
}
