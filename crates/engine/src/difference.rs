//! Two versions of a package, as they were judged, side by side.

use countersign_core::{ArtifactFacts, Purl};
use countersign_ecosystem::archive::ManifestEntry;
use countersign_scan::diff::{self, Change, Side};
use countersign_store::{Store, StoreError, StoredDecision};

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
    NotJudged(Purl),
    /// The versions have no two files of one sort.
    #[error("the files of {0} and {1} are of different sorts: {2}")]
    NothingAlike(Purl, Purl, String),
    /// What was stored cannot be understood.
    #[error("what was recorded about {0} cannot be read: {1}")]
    Facts(Purl, String),
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
        return Err(Incomparable::NothingAlike(old.clone(), new.clone(), names.join(", ")));
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
        true => Err(Incomparable::NotJudged(purl.clone())),
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
        .map_err(|e| Incomparable::Facts(decision.purl.clone(), e.to_string()))
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
