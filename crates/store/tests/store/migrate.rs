//! A database of version 1, made by the SQL of that time, becomes one of today's and loses nothing.

use super::{ORIGIN, admission, decision, new_store};
use countersign_core::{Sha256Digest, Verdict};
use countersign_store::{OpenMode, Store, StoreError, init_key};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::Path;

const TABLES: [&str; 12] = [
    "ledger_state",
    "entries",
    "tiles",
    "decisions",
    "artifact_digests",
    "pins",
    "results",
    "manifests",
    "waivers",
    "feeds",
    "newest",
    "meta",
];

async fn connect(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).foreign_keys(false);
    options.create_if_missing(true).connect().await.unwrap()
}

async fn version(file: &Path) -> i64 {
    let mut conn = connect(file).await;
    let found = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    found
}

/// A store whose database is of version 1, with a ledger of three entries.
async fn version_1() -> tempfile::TempDir {
    let (dir, store) = new_store().await;
    store.record(vec![admission(0), admission(1)]).await.unwrap();
    let refused = decision("pkg:npm/left-pad@1.3.0", "l.tgz", Some(b"l"), Verdict::Refuse);
    store.record(vec![refused]).await.unwrap();
    store.meta_put("clients", "{}").await.unwrap();
    store.close().await.unwrap();
    let (today, old) = (dir.path().join("store.sqlite"), dir.path().join("old.sqlite"));
    let mut conn = connect(&old).await;
    sqlx::raw_sql(include_str!("version_1.sql")).execute(&mut conn).await.unwrap();
    let attach = format!("ATTACH '{}' AS today", today.display());
    sqlx::raw_sql(sqlx::AssertSqlSafe(attach)).execute(&mut conn).await.unwrap();
    for table in TABLES {
        let copy = format!("INSERT INTO main.{table} SELECT * FROM today.{table}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(copy)).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
    std::fs::rename(&old, &today).unwrap();
    dir
}

#[tokio::test]
async fn a_database_of_version_1_is_migrated_and_keeps_everything() {
    let dir = version_1().await;
    let file = dir.path().join("store.sqlite");
    assert_eq!(version(&file).await, 1);
    for _ in 0..2 {
        let store = Store::open(dir.path(), OpenMode::Existing).await.unwrap();
        assert_eq!(store.ledger_size().await.unwrap(), 3);
        assert!(store.fsck(false).await.unwrap().is_clean());
        assert!(store.is_admitted(&Sha256Digest::of(b"flask-0.whl")).await.unwrap());
        assert_eq!(store.meta_get("clients").await.unwrap().as_deref(), Some("{}"));
        assert_eq!(store.admitted_from(0, 10).await.unwrap().len(), 2);
        assert!(store.recalls(10).await.unwrap().is_empty());
        assert!(store.who_fetched(&Sha256Digest::of(b"l")).await.unwrap().is_empty());
        store.close().await.unwrap();
        assert_eq!(version(&file).await, 3);
    }
    let store = Store::open(dir.path(), OpenMode::Existing).await.unwrap();
    store.record(vec![admission(7)]).await.unwrap();
    assert!(store.fsck(false).await.unwrap().is_clean());
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_old_version() {
    let dir = version_1().await;
    let file = dir.path().join("store.sqlite");
    // Something of the second step is there already: the step fails at its end, not its beginning.
    let mut conn = connect(&file).await;
    sqlx::query("CREATE TABLE recalled (x)").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let error = Store::open(dir.path(), OpenMode::Existing).await.unwrap_err();
    assert!(matches!(error, StoreError::Database { .. }), "{error}");
    assert_eq!(version(&file).await, 1);
    let mut conn = connect(&file).await;
    let half: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = 'fetches'")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(half, 0, "a step is done whole or not at all");
}

#[tokio::test]
async fn a_new_database_takes_all_steps() {
    let dir = tempfile::tempdir().unwrap();
    init_key(dir.path(), ORIGIN).await.unwrap();
    Store::open(dir.path(), OpenMode::Create).await.unwrap().close().await.unwrap();
    assert_eq!(version(&dir.path().join("store.sqlite")).await, 3);
}
