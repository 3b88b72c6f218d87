//! What a recall says: which artifacts, why, since when, and who has them.

use countersign_core::{Purl, Sha256Digest, Timestamp};
use countersign_store::{FetchNote, RecallCounts, RecallState, RecalledRow, Store, StoreError};
use serde::Serialize;
use serde_json::Value;

/// One recall, for people and machines.
#[derive(Debug, Clone, Serialize)]
pub struct RecallReport {
    /// Its number; `None` when it found nothing that is worth one, and for a dry run.
    pub id: Option<i64>,
    /// How it ended.
    pub state: RecallState,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// What changed, in words.
    pub why: Vec<String>,
    /// The identities of what was judged under before.
    pub old_grounds: Option<Value>,
    /// The identities of what is judged under now.
    pub new_grounds: Value,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// How many artifacts were looked at, concerned, judged, and not.
    #[serde(flatten)]
    pub counts: RecallCounts,
    /// What is no longer admitted.
    pub recalled: Vec<Recalled>,
    /// What could not be judged again and stays as it is. Only in the report of the recall itself.
    pub unjudged: Vec<UnjudgedArtifact>,
    /// Its entry in the ledger.
    pub ledger_index: Option<u64>,
    /// Whom it could not be told to.
    pub problems: Vec<String>,
}

/// An artifact that was admitted and is not any more.
#[derive(Debug, Clone, Serialize)]
pub struct Recalled {
    /// The version.
    pub purl: Purl,
    /// The file.
    pub file_name: String,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    /// The place of the decision that admitted it.
    pub admitted_index: u64,
    /// When that was.
    pub admitted: Timestamp,
    /// The place of the decision that does not; `None` in a dry run.
    pub index: Option<u64>,
    /// `hold` or `refuse`.
    pub verdict: String,
    /// The leading rule.
    pub rule: String,
    /// The leading reason.
    pub reason: String,
    /// What the rule fired on.
    pub detail: String,
    /// Advisories that stand against it.
    pub ids: Vec<String>,
    /// The lowest version that none of them affects.
    pub fixed: Option<String>,
    /// Who has it.
    pub fetched: Vec<Fetcher>,
}

/// Somebody who fetched an artifact.
#[derive(Debug, Clone, Serialize)]
pub struct Fetcher {
    /// The name of the token, or the user.
    pub token: Option<String>,
    /// The address, or the machine's name.
    pub address: Option<String>,
    /// The client's name for itself.
    pub agent: Option<String>,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// How often.
    pub count: u64,
}

impl From<FetchNote> for Fetcher {
    fn from(n: FetchNote) -> Self {
        let FetchNote { token, address, agent, first, last, count, .. } = n;
        Self { token, address, agent, first, last, count }
    }
}

/// An artifact that could not be judged again.
#[derive(Debug, Clone, Serialize)]
pub struct UnjudgedArtifact {
    /// The place of the decision that admits it.
    pub index: u64,
    /// The version.
    pub purl: Purl,
    /// Why not.
    pub because: String,
}

impl RecallReport {
    /// The report of a recall of that number, as far as it is kept; `None` when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn kept(store: &Store, id: i64) -> Result<Option<Self>, StoreError> {
        let Some(kept) = store.recall(id).await? else { return Ok(None) };
        let rows = store.recalled(id).await?;
        Ok(Some(Self {
            id: Some(kept.id),
            state: kept.state,
            dry_run: false,
            why: kept.new.why,
            old_grounds: kept.new.old_grounds,
            new_grounds: kept.new.new_grounds,
            started: kept.new.started,
            finished: kept.finished,
            counts: kept.counts,
            recalled: with_fetchers(store, rows).await?,
            unjudged: Vec::new(),
            ledger_index: kept.index,
            problems: Vec::new(),
        }))
    }
}

/// Adds to each artifact who fetched it.
pub(super) async fn with_fetchers(
    store: &Store,
    rows: Vec<RecalledRow>,
) -> Result<Vec<Recalled>, StoreError> {
    let mut out = Vec::with_capacity(rows.len());
    for r in rows {
        let fetched = store.who_fetched(&r.sha256).await?.into_iter().map(Fetcher::from).collect();
        out.push(Recalled {
            purl: r.purl,
            file_name: r.file_name,
            sha256: r.sha256,
            admitted_index: r.old_index,
            admitted: r.old_time,
            index: r.new_index,
            verdict: r.verdict,
            rule: r.rule,
            reason: r.reason,
            detail: r.detail,
            ids: r.ids,
            fixed: r.fixed,
            fetched,
        });
    }
    Ok(out)
}
