//! Writing entries and the records that belong to them, many rows a statement.

use crate::entry::{DecisionRow, Entry, EntryRow};
use crate::error::StoreError;
use crate::forget::forget;
use crate::tiles::to_i64;
use crate::waivers::Waiver;
use countersign_core::{ExpectedDigest, Purl, Sha256Digest, Timestamp};
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};
use std::path::Path;

/// Rows of one statement: 12 columns times this stays below SQLite's 32,766 parameters.
const CHUNK: usize = 512;

/// Writes `entries` at the places from `first`, with their records.
pub(crate) async fn insert(
    conn: &mut SqliteConnection,
    path: &Path,
    first: u64,
    entries: &[&Entry],
) -> Result<(), StoreError> {
    let placed: Vec<(i64, &Entry)> =
        (first..).zip(entries).map(|(idx, e)| (to_i64(idx), *e)).collect();
    let err = |e| StoreError::sql(path, e);
    for chunk in placed.chunks(CHUNK) {
        insert_entries(conn, chunk).await.map_err(err)?;
        insert_decisions(conn, chunk).await.map_err(err)?;
        insert_events(conn, chunk).await.map_err(err)?;
        insert_about(conn, chunk).await.map_err(err)?;
    }
    for (idx, entry) in &placed {
        match &entry.row {
            EntryRow::Waiver(waiver) => insert_waiver(conn, path, *idx, waiver).await?,
            EntryRow::Revocation { waiver } => {
                revoke_waiver(conn, path, *idx, waiver, entry.time).await?;
            }
            EntryRow::Decision(row) if row.pins => insert_pin(conn, path, row).await?,
            EntryRow::Rotation { keys } => set_keys(conn, keys).await.map_err(err)?,
            EntryRow::Retirement => {
                // The first line is the present key's.
                sqlx::query(
                    "UPDATE ledger_state SET vkey = substr(vkey, 1, instr(vkey, char(10)) - 1) \
                     WHERE instr(vkey, char(10)) > 0",
                )
                .execute(&mut *conn)
                .await
                .map_err(err)?;
            }
            EntryRow::Forget(what) => forget(conn, path, *idx, what).await?,
            EntryRow::Decision(_) | EntryRow::Event => {}
        }
    }
    Ok(())
}

async fn insert_entries(
    conn: &mut SqliteConnection,
    chunk: &[(i64, &Entry)],
) -> Result<(), sqlx::Error> {
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO entries (idx, kind, commitment, salt, envelope, time) ",
    );
    query.push_values(chunk, |mut row, (idx, entry)| {
        row.push_bind(*idx);
        row.push_bind(entry.kind.as_str());
        row.push_bind(&entry.commitment[..]);
        row.push_bind(&entry.salt[..]);
        row.push_bind(entry.envelope.as_slice());
        row.push_bind(entry.time.0);
    });
    // Not kept prepared: each batch size is another statement.
    query.build().persistent(false).execute(conn).await.map(drop)
}

/// Notes entries that are no decisions by their kind.
async fn insert_events(
    conn: &mut SqliteConnection,
    chunk: &[(i64, &Entry)],
) -> Result<(), sqlx::Error> {
    let mut events: Vec<(i64, &Entry)> = chunk.to_vec();
    events.retain(|(_, entry)| !matches!(entry.row, EntryRow::Decision(_)));
    if events.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO events (idx, kind, time) ");
    query.push_values(events, |mut row, (idx, entry)| {
        row.push_bind(idx);
        row.push_bind(entry.kind.as_str());
        row.push_bind(entry.time.0);
    });
    query.build().persistent(false).execute(conn).await.map(drop)
}

/// Notes what entries are about.
async fn insert_about(
    conn: &mut SqliteConnection,
    chunk: &[(i64, &Entry)],
) -> Result<(), sqlx::Error> {
    let mut subjects: Vec<(i64, &[u8])> = Vec::new();
    for (idx, entry) in chunk {
        for subject in &entry.about {
            subjects.push((*idx, subject));
        }
    }
    if subjects.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO about (subject, idx) ");
    query.push_values(subjects, |mut row, (idx, subject)| {
        row.push_bind(subject);
        row.push_bind(idx);
    });
    query.push(" ON CONFLICT DO NOTHING");
    query.build().persistent(false).execute(conn).await.map(drop)
}

async fn set_keys(conn: &mut SqliteConnection, keys: &str) -> Result<(), sqlx::Error> {
    let query = sqlx::query("UPDATE ledger_state SET vkey = ?").bind(keys);
    query.execute(conn).await.map(drop)
}

async fn insert_decisions(
    conn: &mut SqliteConnection,
    chunk: &[(i64, &Entry)],
) -> Result<(), sqlx::Error> {
    let rows: Vec<(i64, &DecisionRow)> = chunk
        .iter()
        .filter_map(|(idx, entry)| match &entry.row {
            EntryRow::Decision(row) => Some((*idx, row.as_ref())),
            _ => None,
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut query = QueryBuilder::<Sqlite>::new(
        "INSERT INTO decisions (idx, purl, package, ecosystem, file_name, sha256, verdict, reason, \
         decision, facts, policy, time) ",
    );
    query.push_values(&rows, |mut to, (idx, row)| {
        let record = &row.new.record;
        to.push_bind(*idx);
        to.push_bind(record.purl.to_string());
        to.push_bind(package(&record.purl));
        to.push_bind(record.purl.ecosystem().to_string());
        to.push_bind(record.file_name.as_str());
        to.push_bind(record.digests.as_ref().map(|d| d.sha256.to_hex()));
        to.push_bind(record.decision.verdict.to_string());
        to.push_bind(record.decision.leading().map(|f| f.reason.name()));
        to.push_bind(row.decision_json.as_str());
        to.push_bind(row.facts_json.as_str());
        to.push_bind(record.decision.policy.as_str());
        to.push_bind(record.time_verified.0);
    });
    query.build().persistent(false).execute(&mut *conn).await?;
    insert_digests(conn, &rows).await
}

/// Notes the other strong digests of judged bytes, for lookups by them. The first to be noted stays.
async fn insert_digests(
    conn: &mut SqliteConnection,
    rows: &[(i64, &DecisionRow)],
) -> Result<(), sqlx::Error> {
    let strong = |d: &&ExpectedDigest| !d.algorithm().is_weak();
    let digests = rows.iter().filter_map(|(_, row)| row.new.record.digests.as_ref());
    let pairs: Vec<(String, &ExpectedDigest)> = digests
        .flat_map(|d| d.others.iter().filter(strong).map(|o| (d.sha256.to_hex(), o)))
        .collect();
    if pairs.is_empty() {
        return Ok(());
    }
    let mut query =
        QueryBuilder::<Sqlite>::new("INSERT INTO artifact_digests (algorithm, hex, sha256) ");
    query.push_values(&pairs, |mut to, (sha256, other)| {
        to.push_bind(other.algorithm().name());
        to.push_bind(other.to_hex());
        to.push_bind(sha256.as_str());
    });
    query.push(" ON CONFLICT DO NOTHING");
    query.build().persistent(false).execute(conn).await.map(drop)
}

/// Pins the digest of an admitted file; another one that is there already spoils the commit.
async fn insert_pin(
    conn: &mut SqliteConnection,
    path: &Path,
    row: &DecisionRow,
) -> Result<(), StoreError> {
    let record = &row.new.record;
    let Some(sha256) = record.digests.as_ref().map(|d| d.sha256) else {
        return Err(StoreError::invalid("an admission without a digest cannot be pinned"));
    };
    let purl = record.purl.to_string();
    let pinned = pin(conn, &purl, &record.file_name, &sha256, record.time_verified);
    match pinned.await.map_err(|e| StoreError::sql(path, e))? {
        None => Ok(()),
        Some((hex, _)) if hex == sha256.to_hex() => Ok(()),
        Some((hex, time)) => Err(StoreError::PinChanged {
            what: format!("{} of {}", record.file_name, record.purl),
            first: hex.parse().map_err(|e| StoreError::corrupt(path, e))?,
            first_seen: Timestamp(time),
        }),
    }
}

/// Pins a digest; `Some` with what is pinned already.
pub(crate) async fn pin(
    conn: &mut SqliteConnection,
    purl: &str,
    file_name: &str,
    sha256: &Sha256Digest,
    now: Timestamp,
) -> Result<Option<(String, i64)>, sqlx::Error> {
    let added = sqlx::query(
        "INSERT INTO pins (purl, file_name, sha256, first_seen) VALUES (?, ?, ?, ?) \
         ON CONFLICT DO NOTHING",
    )
    .bind(purl)
    .bind(file_name)
    .bind(sha256.to_hex())
    .bind(now.0)
    .execute(&mut *conn)
    .await?;
    if added.rows_affected() == 1 {
        return Ok(None);
    }
    sqlx::query_as("SELECT sha256, first_seen FROM pins WHERE purl = ? AND file_name = ?")
        .bind(purl)
        .bind(file_name)
        .fetch_optional(conn)
        .await
}

async fn insert_waiver(
    conn: &mut SqliteConnection,
    path: &Path,
    idx: i64,
    waiver: &Waiver,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "INSERT INTO waivers (id, target, rule, reason, owner, created, until, idx) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&waiver.id)
    .bind(waiver.target.to_string())
    .bind(&waiver.rule)
    .bind(&waiver.reason)
    .bind(&waiver.owner)
    .bind(waiver.created.0)
    .bind(waiver.until.0)
    .bind(idx)
    .execute(conn)
    .await;
    match done.map_err(|e| StoreError::sql(path, e)) {
        Err(StoreError::Exists { .. }) => {
            Err(StoreError::Exists { what: format!("a waiver `{}`", waiver.id) })
        }
        other => other.map(drop),
    }
}

async fn revoke_waiver(
    conn: &mut SqliteConnection,
    path: &Path,
    idx: i64,
    waiver: &str,
    time: Timestamp,
) -> Result<(), StoreError> {
    let done = sqlx::query(
        "UPDATE waivers SET revoked = ?, revoked_idx = ? WHERE id = ? AND revoked IS NULL",
    )
    .bind(time.0)
    .bind(idx)
    .bind(waiver)
    .execute(conn)
    .await
    .map_err(|e| StoreError::sql(path, e))?;
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound { what: format!("an unrevoked waiver `{waiver}`") });
    }
    Ok(())
}

/// The purl of a package without version and qualifiers.
pub(crate) fn package(purl: &Purl) -> String {
    Purl::new(purl.ecosystem(), purl.name(), None).to_string()
}
