//! Changes of trust: entries of the ledger like any other, and read back from there. There is no
//! second copy that could say something else.

use crate::error::StoreError;
use crate::store::Store;
use crate::tiles::to_u64;
use countersign_core::Timestamp;
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
        // The type stands in the text, as it does in the index: a bound one would not find it.
        let rows = sqlx::query(
            "SELECT idx, time, envelope FROM entries WHERE kind = 'urn:countersign:trust:v1' \
             ORDER BY idx",
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        rows.iter()
            .map(|row| {
                let envelope: Vec<u8> = self.get(row, 2)?;
                let statement = self.statement(&envelope)?;
                Ok(TrustEntry {
                    index: to_u64(self.get(row, 0)?, &self.paths().database())?,
                    time: Timestamp(self.get(row, 1)?),
                    predicate: statement.value().get("predicate").cloned().unwrap_or_default(),
                })
            })
            .collect()
    }
}
