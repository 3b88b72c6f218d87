//! Retention: content is forgotten, and that it was is recorded.
//!
//! An entry's commitment stays in the tree for good, so that every proof keeps holding; what it commits
//! to can be erased, with the salt, after which nobody can even confirm a guess. Of an artifact the
//! bytes can be erased. Each erasure is an entry that says what, why and who, and it is recorded before
//! anything is gone: a crash leaves a recorded erasure that is not done, which asking again completes.

use crate::bundles;
use crate::decisions::RecordedEvent;
use crate::entry::{Entry, EntryRow};
use crate::error::StoreError;
use crate::events::subject_key;
use crate::store::{Store, blocking};
use crate::tiles::{to_i64, to_u64};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_ledger::event::{
    EVIDENCE_TYPE, FIRST_SEEN_TYPE, FORGOTTEN_TYPE, INCIDENT_CLOSED_TYPE, INCIDENT_TYPE, READ_TYPE,
    SCAN_TYPE,
};
use countersign_ledger::statement::{VSA_TYPE, event};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use std::path::Path;

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forget {
    /// The body and the salt of the entry at a place.
    Entry(u64),
    /// The bytes of an artifact.
    Blob(Sha256Digest),
}

/// Kinds whose bodies may be forgotten. The others say what holds for other entries: keys, waivers,
/// recalls, grounds, and what was forgotten.
const FORGETTABLE: [&str; 7] = [
    VSA_TYPE,
    FIRST_SEEN_TYPE,
    EVIDENCE_TYPE,
    SCAN_TYPE,
    READ_TYPE,
    INCIDENT_TYPE,
    INCIDENT_CLOSED_TYPE,
];

impl Store {
    /// Forgets content, and records who did and why. The bytes of a blob are removed after the record
    /// is durable; forgetting the same again removes what a crash left.
    ///
    /// # Errors
    /// When there is no such entry, it is of a kind that must stay or was forgotten before, a reason is
    /// missing, or the disk fails.
    pub async fn forget(
        &self,
        what: &Forget,
        owner: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<RecordedEvent, StoreError> {
        if owner.trim().is_empty() || reason.trim().is_empty() {
            return Err(StoreError::invalid(
                "forgetting needs a reason and somebody who answers for it",
            ));
        }
        let (name, mut predicate) = match what {
            Forget::Entry(index) => {
                let kind = self.forgettable(*index).await?;
                (format!("entry {index}"), json!({"entry": index, "kind": kind}))
            }
            Forget::Blob(digest) => (format!("sha256:{digest}"), json!({"blob": digest})),
        };
        for (member, value) in
            [("reason", json!(reason)), ("owner", json!(owner)), ("time", json!(now))]
        {
            if let Value::Object(map) = &mut predicate {
                map.insert(member.to_owned(), value);
            }
        }
        let statement = event(FORGOTTEN_TYPE, &name, predicate);
        let key = self.ledger()?.keys.current();
        let row = EntryRow::Forget(what.clone());
        let entry = Entry::new(&key.signing, &statement, now, row)?;
        let about = vec![subject_key(&name)];
        let recorded = self.append_entry(Entry { about, ..entry }).await?;
        self.erase(what).await?;
        Ok(recorded)
    }

    /// The kind of an entry, when it may be forgotten.
    async fn forgettable(&self, index: u64) -> Result<String, StoreError> {
        let path = self.paths().database();
        let mut conn = self.reader().await?;
        let missing = || StoreError::NotFound { what: format!("ledger entry {index}") };
        let kept = bundles::entry_at(&mut conn, &path, index).await?.ok_or_else(missing)?;
        if kept.content().is_none() {
            return Err(StoreError::invalid(format!("entry {index} was forgotten before")));
        }
        let kind = kept.entry.kind;
        if FORGETTABLE.contains(&kind.as_str()) {
            return Ok(kind);
        }
        Err(StoreError::invalid(format!(
            "entry {index} is a `{}`, which other entries rest on, and stays",
            countersign_ledger::event::short_kind(&kind)
        )))
    }

    /// Removes what the record's own transaction cannot: a file, and what the database's log still holds.
    async fn erase(&self, what: &Forget) -> Result<(), StoreError> {
        match what {
            Forget::Blob(digest) => {
                let Some(path) = self.blob_file(digest) else { return Ok(()) };
                blocking(move || match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        Err(StoreError::io(&path, &e))
                    }
                    _ => Ok(()),
                })
                .await
            }
            Forget::Entry(_) => {
                let mut writer = self.writer().await?;
                overwrite_free(&mut writer.durable).await.map_err(|e| self.sql_error(e))?;
                sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
                    .execute(&mut writer.durable)
                    .await
                    .map(drop)
                    .map_err(|e| self.sql_error(e))
            }
        }
    }

    /// Whether the erasure of an artifact's bytes is recorded.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_blob_forgotten(&self, sha256: &Sha256Digest) -> Result<bool, StoreError> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT by_idx FROM forgotten_blobs WHERE sha256 = ?")
                .bind(sha256.to_hex())
                .fetch_optional(&mut *self.reader().await?)
                .await
                .map_err(|e| self.sql_error(e))?;
        Ok(found.is_some())
    }
}

/// Overwrites the pages that nothing uses: a copy of the entry may lie there from before its bundle was
/// folded. They are taken for zeros, of which a row has as many as a few pages hold, and given back.
async fn overwrite_free(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    const PAGES: i64 = 100;
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await?;
    let page: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut *tx).await?;
    sqlx::raw_sql("CREATE TABLE blank (zeros BLOB) STRICT").execute(&mut *tx).await?;
    loop {
        let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *tx).await?;
        if free == 0 {
            break;
        }
        sqlx::query("INSERT INTO blank VALUES (zeroblob(?))")
            .bind(free.min(PAGES) * page)
            .execute(&mut *tx)
            .await?;
    }
    sqlx::raw_sql("DROP TABLE blank").execute(&mut *tx).await?;
    tx.commit().await
}

/// Erases within the transaction that records it. `by` is the place of the record.
pub(crate) async fn forget(
    conn: &mut SqliteConnection,
    path: &Path,
    by: i64,
    what: &Forget,
) -> Result<(), StoreError> {
    let err = |e| StoreError::sql(path, e);
    let index = match what {
        Forget::Blob(digest) => {
            return sqlx::query(
                "INSERT OR IGNORE INTO forgotten_blobs (sha256, by_idx) VALUES (?, ?)",
            )
            .bind(digest.to_hex())
            .bind(by)
            .execute(conn)
            .await
            .map(drop)
            .map_err(err);
        }
        Forget::Entry(index) => to_i64(*index),
    };
    // What is freed is overwritten (sqlite.org/pragma.html#pragma_secure_delete).
    sqlx::raw_sql("PRAGMA secure_delete = ON").execute(&mut *conn).await.map_err(err)?;
    if !bundles::forget(conn, path, to_u64(index, path)?).await? {
        return Err(StoreError::NotFound { what: format!("the body of ledger entry {index}") });
    }
    for statement in [
        "DELETE FROM recalled WHERE old_idx = ?",
        "UPDATE recalled SET new_idx = NULL WHERE new_idx = ?",
        "DELETE FROM decisions WHERE idx = ?",
        "DELETE FROM about WHERE idx = ?",
    ] {
        sqlx::query(statement).bind(index).execute(&mut *conn).await.map_err(err)?;
    }
    sqlx::query("INSERT INTO forgotten (idx, by_idx) VALUES (?, ?)")
        .bind(index)
        .bind(by)
        .execute(&mut *conn)
        .await
        .map_err(err)?;
    sqlx::raw_sql("PRAGMA secure_delete = FAST").execute(conn).await.map(drop).map_err(err)
}
