//! Changes of trust: entries of the ledger like any other, and read back from there. There is no
//! second copy that could say something else.

use crate::error::StoreError;
use crate::search::StoredEntry;
use crate::store::Store;
use countersign_core::Timestamp;
use countersign_ledger::statement::TRUST_TYPE;
use serde_json::Value;

/// A change of trust as it stands in the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustEntry {
    /// Its place.
    pub index: u64,
    /// When it was made.
    pub time: Timestamp,
    /// What it says: the predicate of its statement.
    pub predicate: Value,
}

impl Store {
    /// Every change of trust, oldest first, each with its signature checked.
    ///
    /// # Errors
    /// When the database fails, or an entry is not the ledger key's.
    pub async fn trust_entries(&self) -> Result<Vec<TrustEntry>, StoreError> {
        let (always, ever) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
        let entries = self.events_of(TRUST_TYPE, always, ever).await?;
        let change = |e: StoredEntry| TrustEntry {
            index: e.index,
            time: e.time,
            predicate: e.statement.value().get("predicate").cloned().unwrap_or_default(),
        };
        Ok(entries.into_iter().map(change).collect())
    }
}
