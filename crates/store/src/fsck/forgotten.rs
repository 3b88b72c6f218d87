//! What was forgotten: each erasure against the entry that records it.

use super::FsckReport;
use crate::bundles;
use crate::error::StoreError;
use crate::keyring::history_in;
use crate::store::Store;
use crate::tiles::ledger_state;
use countersign_ledger::event::FORGOTTEN_TYPE;
use countersign_ledger::{Envelope, VerifiedStatement, verify_envelope};
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;

impl Store {
    /// Every body that is gone was forgotten by a signed entry that names it, and so was every artifact
    /// that counts as forgotten.
    pub(super) async fn check_forgotten(
        &self,
        conn: &mut SqliteConnection,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let rows: Result<Vec<(String, String, i64)>, sqlx::Error> = sqlx::query_as(
            "SELECT 'entry', CAST(idx AS TEXT), by_idx FROM forgotten UNION ALL \
             SELECT 'blob', sha256, by_idx FROM forgotten_blobs",
        )
        .fetch_all(&mut *conn)
        .await;
        let rows = match rows {
            Err(e) if bundles::is_of_an_earlier_version(&e) => Vec::new(),
            rows => rows.map_err(|e| self.sql_error(e))?,
        };
        if rows.is_empty() {
            return Ok(());
        }
        let path = self.paths().database();
        let Some(state) = ledger_state(conn, &path).await? else { return Ok(()) };
        let keys = history_in(conn, &path, &state).await?;
        for (what, which, by) in rows {
            let index = u64::try_from(by).unwrap_or(0);
            let kept = bundles::entry_at(conn, &path, index).await?;
            let envelope = kept.as_ref().and_then(|k| k.content());
            let signed = envelope.and_then(|(_, b)| Envelope::parse(b).ok());
            let signed = signed.and_then(|e| verify_envelope(&e, keys.at(index)).ok());
            if !signed.is_some_and(|s| names(&s, &what, &which)) {
                report.problem(format!("{what} {which} is gone, and entry {by} does not say so"));
            }
        }
        Ok(())
    }
}

/// Whether a statement records that this was forgotten.
fn names(statement: &VerifiedStatement, what: &str, which: &str) -> bool {
    let named = statement.value().get("predicate").and_then(|p| p.get(what));
    let named = match named {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => return false,
    };
    statement.predicate_type() == FORGOTTEN_TYPE && named == which
}
