//! What was forgotten: each erasure against the entry that records it.

use super::FsckReport;
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
        let err = |e| self.sql_error(e);
        let rows: Vec<(String, String, i64, Option<Vec<u8>>)> = sqlx::query_as(
            "SELECT 'entry', CAST(f.idx AS TEXT), f.by_idx, e.envelope FROM forgotten f \
             LEFT JOIN entries e ON e.idx = f.by_idx UNION ALL \
             SELECT 'blob', b.sha256, b.by_idx, e.envelope FROM forgotten_blobs b \
             LEFT JOIN entries e ON e.idx = b.by_idx",
        )
        .fetch_all(&mut *conn)
        .await
        .map_err(err)?;
        if rows.is_empty() {
            return Ok(());
        }
        let path = self.paths().database();
        let Some(state) = ledger_state(conn, &path).await? else { return Ok(()) };
        let keys = history_in(conn, &path, &state).await?;
        for (what, which, by, envelope) in rows {
            let index = u64::try_from(by).unwrap_or(0);
            let signed = envelope.as_deref().and_then(|b| Envelope::parse(b).ok());
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
