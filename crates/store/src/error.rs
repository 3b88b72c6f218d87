//! Why the store could not do something. Each message names what to do next, on its second line.

use countersign_core::{Sha256Digest, Timestamp};
use std::io;
use std::path::{Path, PathBuf};

/// Why the store could not do something. Cloned to every waiter of a failed group commit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// There is no store, and the caller did not ask to create one.
    #[error("there is no store in `{}`\nrun `countersign init`, or name another folder", dir.display())]
    Missing {
        /// The store's folder.
        dir: PathBuf,
    },
    /// The disk, or the user's quota, is full.
    #[error("the disk is full while writing `{}`\nfree some space and try again; nothing that was recorded is lost", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The operating system denies access.
    #[error("no permission for `{}`: {because}\ngive the user that runs countersign access to the store's folder", path.display())]
    Permission {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        because: String,
    },
    /// Another failure of the file system.
    #[error("cannot use `{}`: {because}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        because: String,
    },
    /// The database, or something in it, is damaged.
    #[error("the store `{}` is damaged: {because}\nrun `countersign fsck`, and restore the store from a backup", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What is damaged.
        because: String,
    },
    /// A file of a version was to be admitted with another digest than the one that is pinned.
    #[error("{what} was admitted with sha256 {first} on {first_seen}, and is to be admitted with other bytes now\ndo not install it; ask the registry's operator what changed", first_seen = first_seen.date())]
    PinChanged {
        /// The file and its version.
        what: String,
        /// The digest that was admitted first.
        first: Sha256Digest,
        /// When it was.
        first_seen: Timestamp,
    },
    /// The database was written by a later version of countersign.
    #[error("the store `{}` has schema version {found}, and this countersign knows versions up to {known}\nuse the countersign that wrote it, or a later one; nothing was changed", path.display())]
    FromTheFuture {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// Another process holds the database or the lock for too long.
    #[error("another process keeps `{}` locked\nwait for it to end, or see which process has it open", path.display())]
    Busy {
        /// The file that is locked.
        path: PathBuf,
    },
    /// The database refused a value that is there already.
    #[error("{what} exists already")]
    Exists {
        /// What exists.
        what: String,
    },
    /// What was asked for is not there.
    #[error("{what} is not in the store")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// A value that the store does not take.
    #[error("{because}")]
    Invalid {
        /// What is wrong with it.
        because: String,
    },
    /// Another failure of the database.
    #[error("the database `{}` failed: {because}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// The database's words.
        because: String,
    },
    /// The ledger has no key here.
    #[error("the ledger's key `{}` is missing\n{next}", path.display())]
    NoLedgerKey {
        /// Where the key should be.
        path: PathBuf,
        /// What to do.
        next: &'static str,
    },
    /// A key exists where one was to be made.
    #[error("`{}` exists already: a ledger's key is made once, and rotated later\nuse it as it is, or name another folder for a new ledger", path.display())]
    KeyExists {
        /// The key or the ledger that exists.
        path: PathBuf,
    },
    /// The key cannot be used, or is not the ledger's.
    #[error("the ledger's key `{}` cannot be used: {because}\nrestore the key that the ledger was begun with", path.display())]
    WrongKey {
        /// The key.
        path: PathBuf,
        /// Why.
        because: String,
    },
    /// The database is older than what was published from it.
    #[error(
        "the database holds {database} ledger entries, and the published checkpoint covers {published}: the database was rolled back or lost\nrestore the newer `store.sqlite`; appending to this one would fork the ledger"
    )]
    RolledBack {
        /// Entries that the published checkpoint covers.
        published: u64,
        /// Entries in the database.
        database: u64,
    },
    /// The database and what was published, or seen before, have different histories.
    #[error(
        "the ledger has forked: its first {size} entries are not those of the checkpoint seen before\nrestore the database that the published checkpoint belongs to"
    )]
    Forked {
        /// The size at which the roots differ.
        size: u64,
    },
    /// The ledger's own code refused.
    #[error("the ledger cannot go on: {because}")]
    Ledger {
        /// Why.
        because: String,
    },
    /// Bytes that are not those of the digest.
    #[error("the bytes have the digest sha256:{found}, not sha256:{wanted}")]
    DigestMismatch {
        /// The digest that was expected.
        wanted: String,
        /// The digest that was computed.
        found: String,
    },
    /// The system has no randomness to give.
    #[error("the system gives no random bytes: {because}")]
    Random {
        /// The system's words.
        because: String,
    },
    /// The content was forgotten.
    #[error(
        "the content of {what} was forgotten\n`countersign ledger search --kind forgotten` says why"
    )]
    Forgotten {
        /// What was forgotten.
        what: String,
    },
    /// The ledger's key was rotated while something was being recorded; it is signed anew.
    #[error("the ledger's key was rotated by another process\ntry again")]
    KeyRotated,
    /// The store was opened for reading only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The store was closed while the call was under way.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(crate) fn io(path: &Path, e: &io::Error) -> Self {
        let path = path.to_owned();
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permission { path, because: e.to_string() }
            }
            _ => Self::Io { path, because: e.to_string() },
        }
    }

    pub(crate) fn corrupt(path: &Path, because: impl ToString) -> Self {
        Self::Corrupt { path: path.to_owned(), because: because.to_string() }
    }

    pub(crate) fn ledger(because: impl ToString) -> Self {
        Self::Ledger { because: because.to_string() }
    }

    pub(crate) fn invalid(because: impl ToString) -> Self {
        Self::Invalid { because: because.to_string() }
    }

    /// A database error, told apart by SQLite's primary result code (sqlite.org/rescode.html).
    pub(crate) fn sql(path: &Path, e: sqlx::Error) -> Self {
        let path = path.to_owned();
        let because = e.to_string();
        let code = e.as_database_error().and_then(|d| d.code()).and_then(|c| c.parse::<u32>().ok());
        match (code.map(|c| c & 0xff), &e) {
            (Some(5 | 6), _) => Self::Busy { path },
            (Some(3 | 8 | 23), _) => Self::Permission { path, because },
            (Some(11 | 26), _) => Self::Corrupt { path, because },
            (Some(13), _) => Self::DiskFull { path },
            (Some(14), _) => Self::Io { path, because },
            (Some(19), _) => Self::Exists { what: format!("a record ({because})") },
            (None, sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed) => Self::Closed,
            (None, sqlx::Error::PoolTimedOut) => Self::Busy { path },
            (None, sqlx::Error::Io(e)) => Self::io(&path, e),
            (None, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_)) => {
                Self::Corrupt { path, because }
            }
            _ => Self::Database { path, because },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::Connection as _;
    use sqlx::sqlite::SqliteConnection;

    async fn failing(setup: &'static str, statement: &'static str) -> StoreError {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(setup).execute(&mut conn).await.unwrap();
        let error = sqlx::query(statement).execute(&mut conn).await.unwrap_err();
        StoreError::sql(Path::new("store.sqlite"), error)
    }

    #[tokio::test]
    async fn database_failures_are_told_apart() {
        let table =
            "CREATE TABLE t (k INTEGER PRIMARY KEY, b BLOB); INSERT INTO t VALUES (1, x'');";
        let full = "CREATE TABLE t (k, b); PRAGMA max_page_count = 3;";
        let e = failing(full, "INSERT INTO t VALUES (1, zeroblob(100000))").await;
        assert!(matches!(e, StoreError::DiskFull { .. }), "{e:?}");
        assert!(e.to_string().contains("free some space"), "{e}");
        let e = failing(table, "INSERT INTO t VALUES (1, x'')").await;
        assert!(matches!(e, StoreError::Exists { .. }), "{e:?}");
        let read_only = "CREATE TABLE t (k, b); PRAGMA query_only = on;";
        let e = failing(read_only, "INSERT INTO t VALUES (1, x'')").await;
        assert!(matches!(e, StoreError::Permission { .. }), "{e:?}");
        let e = failing(table, "SELECT nothing FROM t").await;
        assert!(matches!(e, StoreError::Database { .. }), "{e:?}");
    }

    #[test]
    fn file_failures_are_told_apart() {
        let of = |kind: io::ErrorKind| StoreError::io(Path::new("/x"), &io::Error::from(kind));
        assert!(matches!(of(io::ErrorKind::StorageFull), StoreError::DiskFull { .. }));
        assert!(matches!(of(io::ErrorKind::QuotaExceeded), StoreError::DiskFull { .. }));
        assert!(matches!(of(io::ErrorKind::PermissionDenied), StoreError::Permission { .. }));
        assert!(matches!(of(io::ErrorKind::ReadOnlyFilesystem), StoreError::Permission { .. }));
        assert!(matches!(of(io::ErrorKind::NotFound), StoreError::Io { .. }));
    }
}
