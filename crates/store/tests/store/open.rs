//! Opening: nothing is made anew, nothing of a later version is touched, a rollback is seen.

use super::{ORIGIN, admission, new_store, reopen};
use countersign_store::{OpenMode, Store, StoreError, init_key};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Changes the database behind the store's back.
pub(crate) async fn sql(dir: &Path, text: &'static str) {
    let options = SqliteConnectOptions::new().filename(dir.join("store.sqlite"));
    let mut conn = options.foreign_keys(false).connect().await.unwrap();
    sqlx::query(text).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

async fn open_error(dir: &Path, mode: OpenMode) -> StoreError {
    Store::open(dir, mode).await.expect_err("the store opened")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn folders_and_the_private_key_are_for_the_owner_alone() {
    let (dir, store) = new_store().await;
    store.record(vec![admission(0)]).await.unwrap();
    for sub in ["blobs", "staging", "ledger", "keys"] {
        assert_eq!(mode(&dir.path().join(sub)), 0o700, "{sub}");
    }
    assert_eq!(mode(&dir.path().join("keys/ledger.pem")), 0o600);
    assert!(!format!("{store:?}").contains("PRIVATE"));
}

#[tokio::test]
async fn a_missing_store_is_created_only_on_request() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [OpenMode::Existing, OpenMode::ReadOnly] {
        let error = open_error(dir.path(), mode).await;
        assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    Store::open(dir.path(), OpenMode::Create).await.unwrap();
    Store::open(dir.path(), OpenMode::ReadOnly).await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused_and_left_alone() {
    let (dir, store) = new_store().await;
    store.close().await.unwrap();
    sql(dir.path(), "PRAGMA user_version = 7").await;
    let file = dir.path().join("store.sqlite");
    let before = std::fs::read(&file).unwrap();
    for mode in [OpenMode::Create, OpenMode::Existing, OpenMode::ReadOnly] {
        let error = open_error(dir.path(), mode).await;
        assert!(matches!(error, StoreError::FromTheFuture { found: 7, known: 3, .. }), "{error}");
        assert!(error.to_string().contains("later one"), "{error}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn what_is_no_store_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("store.sqlite"), vec![b'x'; 8192]).unwrap();
    let error = open_error(dir.path(), OpenMode::Create).await;
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let options = SqliteConnectOptions::new().filename(dir.path().join("store.sqlite"));
    let mut conn = options.create_if_missing(true).connect().await.unwrap();
    sqlx::query("CREATE TABLE songs (title TEXT)").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let error = open_error(dir.path(), OpenMode::Create).await;
    assert!(error.to_string().contains("another program"), "{error}");
}

#[tokio::test]
async fn a_rolled_back_database_is_refused() {
    let (dir, store) = new_store().await;
    store.record((0..3).map(admission).collect()).await.unwrap();
    store.close().await.unwrap();
    let file = dir.path().join("store.sqlite");
    let backup = std::fs::read(&file).unwrap();
    let store = reopen(dir.path()).await;
    store.record((3..9).map(admission).collect()).await.unwrap();
    store.close().await.unwrap();
    let newer = std::fs::read(&file).unwrap();

    std::fs::write(&file, &backup).unwrap();
    for mode in [OpenMode::Existing, OpenMode::ReadOnly] {
        let error = open_error(dir.path(), mode).await;
        let same = matches!(error, StoreError::RolledBack { published: 9, database: 3 });
        assert!(same, "{error}");
    }
    std::fs::remove_file(&file).unwrap();
    let error = open_error(dir.path(), OpenMode::Create).await;
    assert!(matches!(error, StoreError::RolledBack { database: 0, .. }), "{error}");
    assert!(!file.exists(), "no empty database was made");

    std::fs::write(&file, &newer).unwrap();
    assert!(reopen(dir.path()).await.fsck(false).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_database_that_goes_back_while_open_gets_no_more_entries() {
    let (dir, store) = new_store().await;
    store.record((0..3).map(admission).collect()).await.unwrap();
    sql(dir.path(), "UPDATE ledger_state SET size = 2").await;
    let error = store.record(vec![admission(3)]).await.unwrap_err();
    assert!(matches!(error, StoreError::RolledBack { published: 3, database: 2 }), "{error}");

    let (dir, store) = new_store().await;
    store.record((0..3).map(admission).collect()).await.unwrap();
    sql(dir.path(), "UPDATE ledger_state SET root = zeroblob(32)").await;
    let error = store.record(vec![admission(3)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Forked { size: 3 }), "{error}");
}

#[tokio::test]
async fn another_history_under_the_published_checkpoint_is_a_fork() {
    let (dir, store) = new_store().await;
    store.record((0..3).map(admission).collect()).await.unwrap();
    store.close().await.unwrap();
    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir(other.path().join("keys")).unwrap();
    for name in ["keys/ledger.pem", "keys/ledger.vkey"] {
        std::fs::copy(dir.path().join(name), other.path().join(name)).unwrap();
    }
    let store = Store::open(other.path(), OpenMode::Create).await.unwrap();
    store.record((5..9).map(admission).collect()).await.unwrap();
    store.close().await.unwrap();
    std::fs::copy(other.path().join("store.sqlite"), dir.path().join("store.sqlite")).unwrap();
    let error = open_error(dir.path(), OpenMode::Existing).await;
    assert!(matches!(error, StoreError::Forked { size: 3 }), "{error}");
}

#[tokio::test]
async fn a_key_is_made_once_and_never_anew() {
    let (dir, store) = new_store().await;
    store.record(vec![admission(0)]).await.unwrap();
    store.close().await.unwrap();
    let error = init_key(dir.path(), ORIGIN).await.unwrap_err();
    assert!(matches!(error, StoreError::KeyExists { .. }), "{error}");

    let pem = dir.path().join("keys/ledger.pem");
    let kept = std::fs::read(&pem).unwrap();
    std::fs::remove_file(&pem).unwrap();
    let error = open_error(dir.path(), OpenMode::Create).await;
    assert!(matches!(error, StoreError::NoLedgerKey { .. }), "{error}");
    assert!(error.to_string().contains("backup"), "{error}");
    assert!(
        init_key(dir.path(), ORIGIN).await.is_err(),
        "a ledger without its key gets no new one"
    );
    std::fs::remove_file(dir.path().join("ledger/checkpoint")).unwrap();
    assert!(init_key(dir.path(), ORIGIN).await.is_err(), "the database still knows the ledger");
    let read_only = Store::open(dir.path(), OpenMode::ReadOnly).await.unwrap();
    assert_eq!(read_only.ledger_size().await.unwrap(), 1);
    assert!(matches!(read_only.record(vec![admission(1)]).await, Err(StoreError::ReadOnly)));
    assert!(matches!(read_only.meta_put("a", "b").await, Err(StoreError::ReadOnly)));
    drop(read_only);

    let other = tempfile::tempdir().unwrap();
    init_key(other.path(), ORIGIN).await.unwrap();
    std::fs::copy(other.path().join("keys/ledger.pem"), &pem).unwrap();
    let error = open_error(dir.path(), OpenMode::Existing).await;
    assert!(matches!(error, StoreError::WrongKey { .. }), "half of a key: {error}");
    let vkey = dir.path().join("keys/ledger.vkey");
    std::fs::copy(other.path().join("keys/ledger.vkey"), &vkey).unwrap();
    let error = open_error(dir.path(), OpenMode::Existing).await;
    assert!(matches!(error, StoreError::WrongKey { .. }), "another ledger's key: {error}");
    assert!(!error.to_string().contains("PRIVATE"));
    std::fs::write(&pem, kept).unwrap();
}

#[tokio::test]
async fn a_name_that_signed_notes_do_not_allow_is_no_origin() {
    let dir = tempfile::tempdir().unwrap();
    for bad in ["", "a b", "a+b", "a\nb", "é"] {
        assert!(init_key(dir.path(), bad).await.is_err(), "{bad:?}");
    }
    assert!(!dir.path().join("keys/ledger.pem").exists());
}

#[tokio::test]
async fn lost_or_damaged_files_are_published_again() {
    let (dir, store) = new_store().await;
    store.record((0..300).map(admission).collect()).await.unwrap();
    store.close().await.unwrap();
    let ledger = dir.path().join("ledger");
    let checkpoint = std::fs::read(ledger.join("checkpoint")).unwrap();

    // Power loss may leave files that were never synced empty.
    for name in ["tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1", "checkpoint"] {
        let whole = std::fs::read(ledger.join(name)).unwrap();
        std::fs::write(ledger.join(name), b"").unwrap();
        std::fs::write(ledger.join(".tmp-checkpoint"), b"half").unwrap();
        reopen(dir.path()).await.close().await.unwrap();
        assert_eq!(std::fs::read(ledger.join(name)).unwrap(), whole, "{name}");
        assert!(!ledger.join(".tmp-checkpoint").exists());
    }
    std::fs::remove_dir_all(&ledger).unwrap();
    let store = reopen(dir.path()).await;
    assert_eq!(std::fs::read(ledger.join("checkpoint")).unwrap(), checkpoint);
    assert!(store.fsck(false).await.unwrap().is_clean());

    std::fs::write(ledger.join("tile/0/000"), b"").unwrap();
    let report = store.fsck(false).await.unwrap();
    assert!(report.problems.iter().any(|p| p.contains("tile/0/000")), "{report:?}");
    assert!(store.fsck(true).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_checkpoint_of_another_key_is_not_overwritten() {
    let (dir, store) = new_store().await;
    store.record(vec![admission(0)]).await.unwrap();
    store.close().await.unwrap();
    let (other, store) = new_store().await;
    store.record(vec![admission(1)]).await.unwrap();
    let theirs = other.path().join("ledger/checkpoint");
    let ours = dir.path().join("ledger/checkpoint");
    std::fs::copy(&theirs, &ours).unwrap();
    let error = open_error(dir.path(), OpenMode::Existing).await;
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert_eq!(std::fs::read(&ours).unwrap(), std::fs::read(&theirs).unwrap());
}
