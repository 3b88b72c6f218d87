//! A database of an earlier version, made by the SQL of that time, becomes one of today's and loses
//! nothing.

use super::{NOW, ORIGIN, admission, decision, new_store, reopen};
use countersign_core::{Sha256Digest, Verdict};
use countersign_ledger::statement::event;
use countersign_ledger::{Envelope, Salt, leaf_hash, verify_receipt};
use countersign_store::{OpenMode, Search, Step, Store, StoreError, init_key};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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
        assert_eq!(version(&file).await, 4);
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
    assert_eq!(version(&dir.path().join("store.sqlite")).await, 4);
}

/// Entries of the store of version 2: two complete bundles, and most of a third.
const SIZE: u64 = 700;

/// What is in the ledger, by place.
type Content = Vec<(Salt, Envelope)>;

async fn content(store: &Store) -> Content {
    let entries = store.entries(0, 10_000).await.unwrap();
    assert!(entries.iter().map(|e| e.index).eq(0..store.ledger_size().await.unwrap()));
    let content = entries.into_iter().map(|e| e.content.unwrap());
    content.map(|e| (e.salt, e.envelope)).collect()
}

/// A store whose database is of version 2, in which every entry is a row of its own, with the tile
/// over it.
async fn version_2() -> (tempfile::TempDir, Content) {
    let (dir, store) = new_store().await;
    for from in (0..SIZE - 100).step_by(100) {
        store.record((from..from + 100).map(admission).collect()).await.unwrap();
    }
    for n in 0..100 {
        let seen = event("urn:countersign:seen:v1", &format!("seen-{n}"), json!({}));
        store.record_event(&seen, NOW).await.unwrap();
    }
    let entries = store.entries(0, 10_000).await.unwrap();
    let content = content(&store).await;
    store.close().await.unwrap();
    let (today, old) = (dir.path().join("store.sqlite"), dir.path().join("old.sqlite"));
    let mut conn = connect(&old).await;
    sqlx::raw_sql(include_str!("version_2.sql")).execute(&mut conn).await.unwrap();
    let attach = format!("ATTACH '{}' AS today", today.display());
    sqlx::raw_sql(sqlx::AssertSqlSafe(attach)).execute(&mut conn).await.unwrap();
    for table in TABLES.iter().filter(|t| **t != "entries") {
        let copy = format!("INSERT INTO main.{table} SELECT * FROM today.{table}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(copy)).execute(&mut conn).await.unwrap();
    }
    let mut leaves = Vec::new();
    for entry in entries.into_iter().map(|e| e.content.unwrap()) {
        let envelope = entry.envelope.to_bytes().unwrap();
        let commitment = countersign_ledger::commitment(&entry.salt, &envelope);
        leaves.extend(leaf_hash(&commitment).0);
        sqlx::query("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)")
            .bind(i64::try_from(entry.index).unwrap())
            .bind(entry.statement.predicate_type())
            .bind(&commitment[..])
            .bind(&entry.salt[..])
            .bind(envelope)
            .bind(entry.time.0)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    for (place, tile) in leaves.chunks(256 * 32).enumerate() {
        sqlx::query("INSERT OR REPLACE INTO tiles VALUES (0, ?, ?, ?)")
            .bind(i64::try_from(place).unwrap())
            .bind(i64::try_from(tile.len() / 32).unwrap())
            .bind(tile)
            .execute(&mut conn)
            .await
            .unwrap();
    }
    conn.close().await.unwrap();
    std::fs::rename(&old, &today).unwrap();
    (dir, content)
}

async fn count(file: &Path, what: &'static str) -> i64 {
    let mut conn = connect(file).await;
    let counted = sqlx::query_scalar(what).fetch_one(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    counted
}

/// How many entries lie as rows, and how many bundles are folded.
async fn rows_and_bundles(file: &Path) -> (i64, i64) {
    let rows = count(file, "SELECT count(*) FROM entries").await;
    (rows, count(file, "SELECT count(*) FROM bundles").await)
}

async fn until_folded(file: &Path) {
    for _ in 0..2000 {
        if rows_and_bundles(file).await.0 < 256 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("entries stay unfolded");
}

async fn is_whole(store: &Store, before: &Content) {
    assert_eq!(content(store).await, *before);
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.verified, report.decisions), (SIZE, SIZE - 100));
    let key = store.verifier_key().unwrap();
    for index in [0, 255, 256, 300, 511, 512, 650] {
        verify_receipt(&store.receipt_for(index).await.unwrap(), key, None).unwrap();
    }
    let events = Search { events_only: true, limit: 1000, ..Search::default() };
    let found = store.search(&events).await.unwrap();
    assert!(found.iter().map(|l| l.index).eq((SIZE - 100..SIZE).rev()));
}

#[tokio::test]
async fn a_database_of_version_2_is_folded_and_loses_no_entry() {
    let (dir, before) = version_2().await;
    let file = dir.path().join("store.sqlite");
    assert_eq!(version(&file).await, 2);
    let reading = Store::open(dir.path(), OpenMode::ReadOnly).await.unwrap();
    is_whole(&reading, &before).await;
    assert_eq!(version(&file).await, 2, "who only reads changes nothing");

    let store = reopen(dir.path()).await;
    until_folded(&file).await;
    assert_eq!(rows_and_bundles(&file).await, (188, 2));
    assert_eq!(count(&file, "SELECT count(*) FROM tiles WHERE level = 0").await, 1);
    is_whole(&store, &before).await;
    // What was open before and only reads goes on.
    is_whole(&reading, &before).await;
    for n in 0..80 {
        store.record(vec![admission(SIZE + n)]).await.unwrap();
    }
    assert_eq!(rows_and_bundles(&file).await, (12, 3));
    assert_eq!(content(&store).await[..700], before[..]);
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean() && report.verified == SIZE + 80, "{report:?}");
}

#[tokio::test]
async fn a_row_that_is_not_what_was_recorded_is_not_folded_away() {
    let (dir, _) = version_2().await;
    let file = dir.path().join("store.sqlite");
    super::open::sql(dir.path(), "UPDATE entries SET salt = zeroblob(32) WHERE idx = 3").await;
    let store = reopen(dir.path()).await;
    while rows_and_bundles(&file).await.1 < 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    store.record(vec![admission(9000)]).await.unwrap();
    assert_eq!(rows_and_bundles(&file).await, (256 + 189, 1));
    let report = store.fsck(false).await.unwrap();
    assert_eq!(report.problems, ["entry 3: its commitment is not that of its envelope"]);
}

#[tokio::test]
async fn nothing_refers_to_entries_which_leave_their_table() {
    let (dir, store) = new_store().await;
    store.close().await.unwrap();
    let refers = "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%REFERENCES entries%'";
    assert_eq!(count(&dir.path().join("store.sqlite"), refers).await, 0);
}

const DIR: &str = "COUNTERSIGN_TEST_STORE";
const WHEN: &str = "COUNTERSIGN_TEST_WHEN";

/// The child: opens the store of version 2, and waits until it is folded. At the given step it dies.
#[test]
#[ignore = "runs only as a child of the test below"]
fn child() {
    let dir = std::env::var(DIR).expect("this is a part of another test");
    let when: u64 = std::env::var(WHEN).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let turn = AtomicU64::new(0);
        let on_step = move |_: Step<'_>| {
            if turn.fetch_add(1, Ordering::SeqCst) == when {
                std::process::abort();
            }
            Ok(())
        };
        let store = Store::open_watched(&dir, Arc::new(on_step)).await.unwrap();
        until_folded(&Path::new(&dir).join("store.sqlite")).await;
        store.close().await.unwrap();
    });
}

#[tokio::test]
async fn each_step_of_the_folding_may_be_the_last_one() {
    let (image, before) = version_2().await;
    let mut points = 0;
    for when in 0.. {
        let dir = super::faults::fresh(image.path());
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["migrate::child", "--exact", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .env(WHEN, when.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if status.success() {
            break;
        }
        assert!(status.signal().is_some(), "step {when}: it ended by itself");
        let file = dir.path().join("store.sqlite");
        let left = rows_and_bundles(&file).await;
        assert!([(700, 0), (188, 2)].contains(&left), "step {when}: {left:?}");
        // It folds the rest while it is read.
        is_whole(&reopen(dir.path()).await, &before).await;
        until_folded(&file).await;
        points += 1;
    }
    assert!(points >= 3, "only {points} crash points");
}
