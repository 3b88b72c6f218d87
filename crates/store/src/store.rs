//! Opening a store, and the handle to it.

use crate::commit::{Committer, Job};
use crate::error::StoreError;
use crate::keyring::Keyring;
use crate::publish::{Publisher, publish_range};
use crate::steps::Steps;
use crate::tiles::ledger_state;
use crate::{blobs, keys, lock, recover, schema};
use countersign_ledger::VerifierKey;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite};
use std::fmt;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, mpsc};

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// Create it where there is none.
    Create,
    /// It must exist.
    Existing,
    /// It must exist; nothing is written, repaired or published.
    ReadOnly,
}

/// A store. Clones share it; the last one to go ends the ledger's writer.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    paths: Paths,
    mode: OpenMode,
    readers: SqlitePool,
    writer: Arc<Mutex<Option<Writer>>>,
    verifier: Option<VerifierKey>,
    ledger: Option<Ledger>,
}

/// The way to the ledger's writer.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) keys: Keyring,
    pub(crate) jobs: mpsc::Sender<Job>,
    publisher: Publisher,
}

/// The connections that write. One lock for both: SQLite has one writer, and waiting for a mutex is
/// cheaper than its busy handler.
pub(crate) struct Writer {
    /// `synchronous=FULL`: what is committed here survives power loss.
    pub(crate) durable: SqliteConnection,
    /// `synchronous=NORMAL`: caches, which may lose their last moments and cost no sync.
    pub(crate) relaxed: SqliteConnection,
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
    pub(crate) steps: Steps,
}

impl Paths {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), steps: Steps::default() }
    }
    pub(crate) fn database(&self) -> PathBuf {
        self.dir.join("store.sqlite")
    }
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }
    pub(crate) fn ledger(&self) -> PathBuf {
        self.dir.join("ledger")
    }
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.dir.join("ledger/checkpoint")
    }
    pub(crate) fn cosigned(&self) -> PathBuf {
        self.dir.join("ledger/checkpoint.cosigned")
    }
    pub(crate) fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }
    pub(crate) fn staging(&self) -> PathBuf {
        self.dir.join("staging")
    }
    pub(crate) fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }
}

/// Creates a folder and its parents, for the owner alone.
pub(crate) fn private_dir(path: &Path) -> Result<(), StoreError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| StoreError::io(path, &e))
}

/// Runs blocking file work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Closed),
    }
}

impl Store {
    /// Opens the store in `dir`, repairs what a crash left half published, and removes abandoned
    /// staging files. Must be called within a tokio runtime, which then runs the ledger's writer.
    ///
    /// # Errors
    /// When there is no store (and `mode` does not create), it is of a later version, damaged,
    /// rolled back, or its ledger's key is missing or another.
    pub async fn open(dir: impl AsRef<Path>, mode: OpenMode) -> Result<Self, StoreError> {
        let paths = Paths::new(dir.as_ref());
        match mode {
            OpenMode::ReadOnly => Self::open_read_only(paths).await,
            _ => Self::open_writable(paths, mode).await,
        }
    }

    /// As [`Store::open`] for an existing store, with `on_step` called at each step of a commit and a
    /// publication: for tests that crash there, or let the step fail. It can delay and fail, and
    /// nothing else.
    ///
    /// # Errors
    /// As [`Store::open`].
    #[doc(hidden)]
    pub async fn open_watched(
        dir: impl AsRef<Path>,
        on_step: Arc<crate::steps::OnStep>,
    ) -> Result<Self, StoreError> {
        let paths = Paths { steps: Steps::watched(on_step), ..Paths::new(dir.as_ref()) };
        Self::open_writable(paths, OpenMode::Existing).await
    }

    /// Writes every published file again from the database, whether it is there or not: the remedy
    /// for lost or damaged ones.
    ///
    /// # Errors
    /// When the store is read-only, no ledger was begun, or the disk fails.
    pub async fn republish(&self) -> Result<(), StoreError> {
        self.ledger()?;
        let held = lock::exclusive(self.inner.paths.lock()).await?;
        let mut conn = self.reader().await?;
        let state = ledger_state(&mut conn, &self.inner.paths.database()).await?;
        if let Some(state) = state {
            publish_range(&self.inner.paths, &mut conn, 0, &state).await?;
            crate::keyring::publish_rotations(&self.inner.paths, &mut conn).await?;
        }
        drop(held);
        Ok(())
    }

    async fn open_writable(paths: Paths, mode: OpenMode) -> Result<Self, StoreError> {
        let database = paths.database();
        let exists = database.try_exists().map_err(|e| StoreError::io(&database, &e))?;
        if !exists && mode == OpenMode::Existing {
            return Err(StoreError::Missing { dir: paths.dir });
        }
        for dir in [paths.staging(), paths.blobs(), paths.ledger(), paths.keys()] {
            private_dir(&dir)?;
        }
        let held = lock::exclusive(paths.lock()).await?;
        if database.try_exists().map_err(|e| StoreError::io(&database, &e))? {
            schema::check_version(&database).await?;
        } else {
            recover::refuse_to_replace(&paths)?;
        }
        let mut writer = connect_writer(&database).await?;
        schema::migrate(&mut writer.durable, &database).await?;
        let mut previous = None;
        if let Some(state) = ledger_state(&mut writer.durable, &database).await? {
            keys::settle(&paths, &state)?;
            previous = keys::load_previous(&paths, &state)?;
        }
        let key = keys::load(&paths)?;
        let state = recover::recover(&paths, &mut writer.durable, key.as_ref()).await?;
        let staging = paths.staging();
        blocking(move || blobs::clean_staging(&staging)).await?;
        drop(held);

        let writer = Arc::new(Mutex::new(Some(writer)));
        let verifier = state.as_ref().map(|s| s.verifier.clone());
        let readers = connect_readers(&database);
        let ledger = key.zip(state).map(|(key, state)| {
            let keys = Keyring::new(key, previous);
            let publisher = Publisher::spawn(paths.clone(), readers.clone(), state.size);
            let jobs = Committer::spawn(
                &paths,
                keys.clone(),
                publisher.clone(),
                Arc::clone(&writer),
                &state,
            );
            Ledger { keys, jobs, publisher }
        });
        Ok(Self { inner: Arc::new(Inner { paths, mode, readers, writer, verifier, ledger }) })
    }

    async fn open_read_only(paths: Paths) -> Result<Self, StoreError> {
        let database = paths.database();
        if !database.try_exists().map_err(|e| StoreError::io(&database, &e))? {
            return Err(StoreError::Missing { dir: paths.dir });
        }
        schema::check_version(&database).await?;
        let readers = connect_readers(&database);
        let err = |e| StoreError::sql(&database, e);
        let mut conn = readers.acquire().await.map_err(err)?;
        let state = recover::check(&paths, &mut conn).await?;
        drop(conn);
        let writer = Arc::new(Mutex::new(None));
        let verifier = state.map(|s| s.verifier);
        let mode = OpenMode::ReadOnly;
        Ok(Self { inner: Arc::new(Inner { paths, mode, readers, writer, verifier, ledger: None }) })
    }

    /// Closes the database; calls that are under way, on any clone, fail with
    /// [`StoreError::Closed`]. Dropping the store without this loses nothing that was recorded.
    pub async fn close(self) -> Result<(), StoreError> {
        if let Some(ledger) = &self.inner.ledger {
            ledger.publisher.settle().await;
        }
        self.inner.readers.close().await;
        let writer = self.inner.writer.lock().await.take();
        if let Some(writer) = writer {
            writer.relaxed.close().await.map_err(|e| self.sql_error(e))?;
            writer.durable.close().await.map_err(|e| self.sql_error(e))?;
        }
        Ok(())
    }

    /// The store's folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.paths.dir
    }

    /// Waits until the published files were brought up to everything that was recorded before.
    pub async fn published(&self) {
        if let Some(ledger) = &self.inner.ledger {
            ledger.publisher.settle().await;
        }
    }

    /// The folder of the published ledger: `checkpoint` and `tile/…`, to be served as they are.
    #[must_use]
    pub fn ledger_dir(&self) -> PathBuf {
        self.inner.paths.ledger()
    }

    /// The ledger's public key; `None` while no ledger was begun.
    #[must_use]
    pub fn verifier_key(&self) -> Option<&VerifierKey> {
        self.inner.verifier.as_ref()
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.inner.paths
    }

    pub(crate) fn ledger(&self) -> Result<&Ledger, StoreError> {
        match (&self.inner.ledger, self.inner.mode) {
            (Some(ledger), _) => Ok(ledger),
            (None, OpenMode::ReadOnly) => Err(StoreError::ReadOnly),
            (None, _) => Err(StoreError::NoLedgerKey {
                path: keys::private_path(self.paths()),
                next: "run `countersign init` to begin a ledger",
            }),
        }
    }

    pub(crate) fn sql_error(&self, e: sqlx::Error) -> StoreError {
        StoreError::sql(&self.inner.paths.database(), e)
    }

    pub(crate) fn corrupt(&self, because: impl ToString) -> StoreError {
        StoreError::corrupt(&self.inner.paths.database(), because)
    }

    /// A connection that only reads.
    pub(crate) async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.inner.readers.acquire().await.map_err(|e| self.sql_error(e))
    }

    /// Whether the store may be written to.
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        match self.inner.mode {
            OpenMode::ReadOnly => Err(StoreError::ReadOnly),
            _ => Ok(()),
        }
    }

    /// The connections that write.
    pub(crate) async fn writer(&self) -> Result<MappedMutexGuard<'_, Writer>, StoreError> {
        self.check_writable()?;
        let guard = self.inner.writer.lock().await;
        let mut writer =
            MutexGuard::try_map(guard, Option::as_mut).map_err(|_| StoreError::Closed)?;
        writer.heal(&self.paths().database()).await?;
        Ok(writer)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.inner.paths.dir.display())
    }
}

fn options(database: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(database)
        .busy_timeout(schema::BUSY_TIMEOUT)
        .foreign_keys(true)
        .disable_statement_logging()
}

async fn connect_writer(database: &Path) -> Result<Writer, StoreError> {
    let connect = async |synchronous, fold: &'static str| {
        let wal = options(database).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        // Entries are somewhat below a kilobyte: on SQLite's usual pages of 4 KiB a fifth of each would
        // stay empty. A database that exists keeps its page size.
        let wal = wal.page_size(8192).pragma("wal_autocheckpoint", fold);
        // What is deleted within a page that is written anyway is overwritten: rows that are folded.
        let wal = wal.pragma("secure_delete", "FAST");
        let connected = wal.synchronous(synchronous).connect().await;
        connected.map_err(|e| StoreError::sql(database, e))
    };
    // The log that SQLite keeps beside the database is folded into it every 2048 pages (16 MiB): a
    // fold syncs twice, and the more it takes at once the fewer of its pages are written again.
    let durable = connect(SqliteSynchronous::Full, "2048").await?;
    let relaxed = connect(SqliteSynchronous::Normal, "1000").await?;
    Ok(Writer { durable, relaxed })
}

impl Writer {
    /// Makes sure that both connections can begin a transaction.
    ///
    /// SQLite ends a transaction by itself when the disk is full (sqlite.org/lang_transaction.html,
    /// "Response To Errors Within A Transaction"). Rolling it back then fails, and the library goes
    /// on to count it as open: it would never begin another. Such a connection is replaced.
    pub(crate) async fn heal(&mut self, database: &Path) -> Result<(), StoreError> {
        if is_stuck(&mut self.durable).await || is_stuck(&mut self.relaxed).await {
            tracing::warn!("the database's connections are opened again");
            *self = connect_writer(database).await?;
        }
        Ok(())
    }
}

/// Whether a connection that nobody uses counts as being in a transaction.
async fn is_stuck(conn: &mut SqliteConnection) -> bool {
    // A roll-back may still be under way; the answer to a ping comes after it.
    conn.is_in_transaction() && (conn.ping().await.is_err() || conn.is_in_transaction())
}

fn connect_readers(database: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(4)
        .test_before_acquire(false)
        .connect_lazy_with(options(database).read_only(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has both connections lose their transaction, as SQLite does on a full disk.
    async fn lose_transactions(store: &Store) {
        let mut guard = store.inner.writer.lock().await;
        let writer = guard.as_mut().unwrap();
        for conn in [&mut writer.durable, &mut writer.relaxed] {
            let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.unwrap();
            sqlx::raw_sql("ROLLBACK").execute(&mut *tx).await.unwrap();
            drop(tx);
            conn.ping().await.unwrap();
            assert!(conn.begin_with("BEGIN IMMEDIATE").await.is_err(), "nothing to heal");
        }
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_does_not_end_the_store() {
        let dir = tempfile::tempdir().unwrap();
        crate::init_key(dir.path(), "gate.example/ledger").await.unwrap();
        let store = Store::open(dir.path(), OpenMode::Create).await.unwrap();
        let scan = async |text: &str| {
            let digest = countersign_core::Sha256Digest::of(text.as_bytes());
            store.put_scan(&digest, "k", "1", &serde_json::json!({}), b"").await
        };
        lose_transactions(&store).await;
        scan("a").await.unwrap();
        lose_transactions(&store).await;
        let waiver = crate::Waiver {
            id: "W-1".into(),
            target: "pkg:pypi/a@1".parse().unwrap(),
            rule: "r".into(),
            reason: "x".into(),
            owner: "me".into(),
            created: countersign_core::Timestamp(1),
            until: countersign_core::Timestamp(2),
        };
        store.add_waiver(waiver).await.unwrap();
        assert_eq!(store.ledger_size().await.unwrap(), 1);
        let mut writer = store.writer().await.unwrap();
        drop(writer.durable.begin_with("BEGIN IMMEDIATE").await.unwrap());
    }
}
