//! The database's schema and its versions (`PRAGMA user_version`).

use crate::error::StoreError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use std::path::Path;
use std::time::Duration;

/// The schema that this code writes: the number of steps that lead to it.
pub(crate) const VERSION: i64 = STEPS.len() as i64;

/// What brings a database from each version to the next. A step that was released is never changed:
/// databases that were made by it are out there.
const STEPS: [&str; 3] = [STEP_1, STEP_2, STEP_TRUST];

/// How long a statement waits for another process to finish its write.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// Version 1. `idx` is always the place in the ledger, from 0; times are seconds since 1970.
const STEP_1: &str = "
CREATE TABLE ledger_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    vkey TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    checkpoint TEXT NOT NULL
) STRICT;
CREATE TABLE entries (
    idx INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    commitment BLOB NOT NULL,
    salt BLOB NOT NULL,
    envelope BLOB NOT NULL,
    time INTEGER NOT NULL
) STRICT;
CREATE TABLE tiles (
    level INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    width INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT;
CREATE TABLE decisions (
    idx INTEGER PRIMARY KEY REFERENCES entries (idx),
    purl TEXT NOT NULL,
    package TEXT NOT NULL,
    ecosystem TEXT NOT NULL,
    file_name TEXT NOT NULL,
    sha256 TEXT,
    verdict TEXT NOT NULL,
    reason TEXT,
    decision TEXT NOT NULL,
    facts TEXT NOT NULL,
    policy TEXT NOT NULL,
    time INTEGER NOT NULL
) STRICT;
CREATE INDEX decisions_by_digest ON decisions (sha256, idx);
CREATE INDEX decisions_by_purl ON decisions (purl, idx);
CREATE INDEX decisions_by_package ON decisions (package, idx);
CREATE INDEX decisions_by_verdict ON decisions (verdict, idx);
CREATE TABLE artifact_digests (
    algorithm TEXT NOT NULL,
    hex TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    PRIMARY KEY (algorithm, hex)
) STRICT, WITHOUT ROWID;
CREATE TABLE pins (
    purl TEXT NOT NULL,
    file_name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (purl, file_name)
) STRICT, WITHOUT ROWID;
CREATE TABLE results (
    sha256 TEXT NOT NULL,
    kind TEXT NOT NULL,
    scanner TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (sha256, kind, scanner)
) STRICT;
CREATE TABLE manifests (
    sha256 TEXT PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;
CREATE TABLE waivers (
    id TEXT PRIMARY KEY,
    target TEXT NOT NULL,
    rule TEXT NOT NULL,
    reason TEXT NOT NULL,
    owner TEXT NOT NULL,
    created INTEGER NOT NULL,
    until INTEGER NOT NULL,
    idx INTEGER NOT NULL REFERENCES entries (idx),
    revoked INTEGER,
    revoked_idx INTEGER REFERENCES entries (idx)
) STRICT;
CREATE TABLE feeds (
    name TEXT PRIMARY KEY,
    location TEXT NOT NULL,
    kind TEXT NOT NULL,
    added INTEGER NOT NULL,
    last_synced INTEGER,
    sha256 TEXT,
    etag TEXT
) STRICT;
CREATE TABLE newest (
    key TEXT PRIMARY KEY,
    time INTEGER NOT NULL
) STRICT;
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
PRAGMA user_version = 1;
";

/// Version 2: who fetched what, and recalls. An empty text stands for what is not known of a client.
const STEP_2: &str = "
CREATE TABLE fetches (
    sha256 TEXT NOT NULL,
    purl TEXT NOT NULL,
    token TEXT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    file_name TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (sha256, purl, token, address, agent)
) STRICT, WITHOUT ROWID;
CREATE TABLE recalls (
    id INTEGER PRIMARY KEY,
    started INTEGER NOT NULL,
    finished INTEGER,
    state TEXT NOT NULL,
    why TEXT NOT NULL,
    old_grounds TEXT,
    new_grounds TEXT NOT NULL,
    horizon INTEGER NOT NULL,
    next INTEGER NOT NULL,
    looked INTEGER NOT NULL,
    affected INTEGER NOT NULL,
    judged INTEGER NOT NULL,
    not_done INTEGER NOT NULL,
    not_anew INTEGER NOT NULL,
    idx INTEGER REFERENCES entries (idx)
) STRICT;
CREATE TABLE recalled (
    recall INTEGER NOT NULL REFERENCES recalls (id),
    old_idx INTEGER NOT NULL REFERENCES decisions (idx),
    new_idx INTEGER REFERENCES decisions (idx),
    verdict TEXT NOT NULL,
    rule TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    ids TEXT NOT NULL,
    fixed TEXT,
    PRIMARY KEY (recall, old_idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX recalled_by_old ON recalled (old_idx);
PRAGMA user_version = 2;
";

/// Changes of trust are few, and read at every start.
const STEP_TRUST: &str = "
CREATE INDEX entries_of_trust ON entries (idx) WHERE kind = 'urn:countersign:trust:v1';
PRAGMA user_version = 3;
";

/// Refuses a database of a later version before anything of it is touched.
pub(crate) async fn check_version(path: &Path) -> Result<(), StoreError> {
    let found = match version_on_disk(path, true).await {
        Err(e) if wants_rollback(&e) => version_on_disk(path, false).await,
        found => found,
    };
    known(path, found.map_err(|e| StoreError::sql(path, e))?)
}

async fn version_on_disk(path: &Path, read_only: bool) -> Result<i64, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(read_only)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let mut conn = options.connect().await?;
    let found = user_version(&mut conn).await;
    conn.close().await?;
    found
}

/// Whether a process was cut off while it made the database: what it leaves is a journal that has to
/// be rolled back by somebody who may write (sqlite.org/rescode.html#readonly_rollback).
fn wants_rollback(e: &sqlx::Error) -> bool {
    const SQLITE_READONLY_ROLLBACK: &str = "776";
    e.as_database_error().and_then(|d| d.code()).as_deref() == Some(SQLITE_READONLY_ROLLBACK)
}

fn known(path: &Path, found: i64) -> Result<(), StoreError> {
    if (0..=VERSION).contains(&found) {
        return Ok(());
    }
    Err(StoreError::FromTheFuture { path: path.to_owned(), found, known: VERSION })
}

async fn user_version(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query("PRAGMA user_version").fetch_one(conn).await?.try_get(0)
}

/// Brings the database to [`VERSION`], step by step, in one transaction: after a crash it is of the
/// version that it was before.
pub(crate) async fn migrate(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let err = |e| StoreError::sql(path, e);
    let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(err)?;
    let found = user_version(&mut tx).await.map_err(err)?;
    known(path, found)?;
    if found == VERSION {
        return tx.rollback().await.map_err(err);
    }
    if found == 0 {
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
            .fetch_one(&mut *tx)
            .await
            .map_err(err)?;
        if tables > 0 {
            return Err(StoreError::corrupt(path, "it is a database of another program"));
        }
    }
    let done = usize::try_from(found).unwrap_or(STEPS.len());
    for step in STEPS.iter().skip(done) {
        sqlx::raw_sql(*step).execute(&mut *tx).await.map_err(err)?;
    }
    tx.commit().await.map_err(err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_whose_making_was_cut_off_is_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let (made, left) = (dir.path().join("made.sqlite"), dir.path().join("left.sqlite"));
        let options = SqliteConnectOptions::new().filename(&made).create_if_missing(true);
        let mut conn = options.connect().await.unwrap();
        // A cache of one page: the transaction is written to the database while it is open.
        let begun = "PRAGMA cache_size = 1; CREATE TABLE t (b BLOB); INSERT INTO t VALUES (1);
            BEGIN; PRAGMA user_version = 1; CREATE TABLE u (b BLOB);
            INSERT INTO u VALUES (zeroblob(100000)); INSERT INTO t VALUES (zeroblob(100000));";
        sqlx::raw_sql(begun).execute(&mut conn).await.unwrap();
        std::fs::copy(&made, &left).unwrap();
        let journal = |of: &Path| of.with_extension("sqlite-journal");
        std::fs::copy(journal(&made), journal(&left)).unwrap();

        let cut_off = version_on_disk(&left, true).await.unwrap_err();
        assert!(wants_rollback(&cut_off), "{cut_off:?}");
        check_version(&left).await.unwrap();
        assert_eq!(version_on_disk(&left, true).await.unwrap(), 0);
        assert!(!journal(&left).exists());
    }
}
