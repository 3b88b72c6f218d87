//! Every entry: its commitment, its signature, its record, and the tree that all of them make.

use super::FsckReport;
use crate::bundles::{self, Kept};
use crate::error::StoreError;
use crate::store::{Store, blocking};
use crate::tiles::{LedgerState, to_i64, to_u64};
use crate::waivers::{StoredWaiver, Waiver};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_ledger::statement::{VSA_TYPE, WAIVER_REVOKED_TYPE, WAIVER_TYPE, read_decision};
use countersign_ledger::{
    Commitment, Edge, Envelope, VerifiedStatement, VerifierKey, commitment, verify_envelope,
};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::collections::HashMap;
use std::sync::Arc;

/// Entries that are read at a time, which bounds the memory of a check.
const PAGE: u64 = 2048;

/// The kinds of entries that a waiver follows from.
const WAIVERS: [&str; 2] = [WAIVER_TYPE, WAIVER_REVOKED_TYPE];

/// The record of a decision, as far as its statement says the same.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    purl: String,
    file_name: String,
    sha256: Option<String>,
    verdict: String,
    time: i64,
    facts: Sha256Digest,
}

/// An entry with the record beside it, as the database has them.
struct Row {
    kept: Kept,
    record: Option<Record>,
}

/// What is kept of a checked entry.
struct Checked {
    index: u64,
    commitment: Commitment,
    /// The statement, where a waiver follows from it.
    waiver: Option<VerifiedStatement>,
    problem: Option<String>,
}

impl Store {
    /// Rebuilds the tree from the entries, page by page, and checks each of them, on all processors.
    pub(super) async fn check_entries(
        &self,
        conn: &mut SqliteConnection,
        state: &LedgerState,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let key = Arc::new(state.verifier.clone());
        let mut edge = Edge::empty();
        let mut granted = Vec::new();
        while edge.size() < state.size {
            let upto = state.size.min(edge.size().saturating_add(PAGE));
            let rows = match self.page(conn, edge.size(), upto).await {
                Ok(rows) => rows,
                Err(StoreError::Corrupt { because, .. }) => {
                    report.problem(because);
                    return Ok(());
                }
                Err(e) => return Err(e),
            };
            if !rows.iter().map(|r| r.kept.index).eq(edge.size()..upto) {
                report
                    .problem(format!("of the entries {} to {upto} some are missing", edge.size()));
                return Ok(());
            }
            let mut commitments = Vec::with_capacity(rows.len());
            for checked in check_page(rows, &key).await? {
                commitments.push(checked.commitment);
                match checked.problem {
                    None => report.verified = report.verified.saturating_add(1),
                    Some(because) => report.problem(format!("entry {}: {because}", checked.index)),
                }
                if let Some(statement) = checked.waiver {
                    replay_waiver(&mut granted, checked.index, &statement);
                }
            }
            let name = state.verifier.name();
            edge = edge.plan(&commitments, name).map_err(StoreError::ledger)?.edge;
        }
        if edge.root() != state.root {
            report.problem("the entries do not lead to the checkpoint's root");
        }
        self.check_waivers(conn, &granted, report).await
    }

    async fn page(
        &self,
        conn: &mut SqliteConnection,
        from: u64,
        upto: u64,
    ) -> Result<Vec<Row>, StoreError> {
        let path = self.paths().database();
        let kept = bundles::entries_in(conn, &path, from, upto).await?;
        let mut records = self.records(conn, from, upto).await?;
        let row = |kept: Kept| Row { record: records.remove(&kept.index), kept };
        Ok(kept.into_iter().map(row).collect())
    }

    /// The records of the decisions `from..upto`.
    async fn records(
        &self,
        conn: &mut SqliteConnection,
        from: u64,
        upto: u64,
    ) -> Result<HashMap<u64, Record>, StoreError> {
        let rows = sqlx::query(
            "SELECT idx, purl, file_name, sha256, verdict, time, facts FROM decisions \
             WHERE idx >= ? AND idx < ?",
        )
        .bind(to_i64(from))
        .bind(to_i64(upto))
        .fetch_all(conn)
        .await
        .map_err(|e| self.sql_error(e))?;
        let record = |row: &SqliteRow| {
            let facts: &str = self.get(row, 6)?;
            let record = Record {
                purl: self.get(row, 1)?,
                file_name: self.get(row, 2)?,
                sha256: self.get(row, 3)?,
                verdict: self.get(row, 4)?,
                time: self.get(row, 5)?,
                facts: Sha256Digest::of(facts.as_bytes()),
            };
            Ok((to_u64(self.get(row, 0)?, &self.paths().database())?, record))
        };
        rows.iter().map(record).collect()
    }

    async fn check_waivers(
        &self,
        conn: &mut SqliteConnection,
        granted: &[StoredWaiver],
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let recorded = self.waivers_in(conn).await?;
        for waiver in recorded.iter().filter(|w| !granted.contains(w)) {
            report.problem(format!("the waiver `{}` is not what was signed", waiver.waiver.id));
        }
        if recorded.len() != granted.len() {
            let (signed, kept) = (granted.len(), recorded.len());
            report.problem(format!("{signed} waivers are signed, and {kept} are recorded"));
        }
        Ok(())
    }
}

/// Checks a page in as many parts as there are processors.
async fn check_page(rows: Vec<Row>, key: &Arc<VerifierKey>) -> Result<Vec<Checked>, StoreError> {
    let parts = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let part = rows.len().div_ceil(parts).max(1);
    let mut rows = rows.into_iter();
    let mut tasks = Vec::new();
    loop {
        let some: Vec<Row> = rows.by_ref().take(part).collect();
        if some.is_empty() {
            break;
        }
        let key = Arc::clone(key);
        tasks.push(tokio::spawn(blocking(move || {
            Ok(some.iter().map(|row| check_row(row, &key)).collect::<Vec<_>>())
        })));
    }
    let mut out = Vec::new();
    for task in tasks {
        out.extend(task.await.map_err(|_| StoreError::Closed)??);
    }
    Ok(out)
}

fn check_row(row: &Row, key: &VerifierKey) -> Checked {
    let (index, commitment) = (row.kept.index, row.kept.commitment());
    let of_waiver = |s: &VerifiedStatement| WAIVERS.contains(&s.predicate_type());
    match check_entry(row, commitment, key) {
        Ok(statement) => {
            Checked { index, commitment, waiver: statement.filter(of_waiver), problem: None }
        }
        Err(because) => Checked { index, commitment, waiver: None, problem: Some(because) },
    }
}

/// Checks an entry, and gives its statement; `None` of one whose content was forgotten.
fn check_entry(
    row: &Row,
    stored: Commitment,
    key: &VerifierKey,
) -> Result<Option<VerifiedStatement>, String> {
    let Some((salt, envelope)) = row.kept.content() else { return Ok(None) };
    if stored != commitment(&salt, envelope) {
        return Err("its commitment is not that of its envelope".into());
    }
    let envelope = Envelope::parse(envelope).map_err(|e| e.to_string())?;
    let statement = verify_envelope(&envelope, key).map_err(|e| e.to_string())?;
    if row.kept.entry.kind != statement.predicate_type() {
        return Err("its kind is not that of its statement".into());
    }
    if statement.predicate_type() == VSA_TYPE && row.record != Some(signed_record(&statement)?) {
        return Err("its record is not what was signed".into());
    }
    Ok(Some(statement))
}

/// The record that belongs to a signed decision.
fn signed_record(statement: &VerifiedStatement) -> Result<Record, String> {
    let signed = read_decision(statement.value()).map_err(|e| e.to_string())?;
    let facts = statement.value().pointer("/predicate/countersign/factsDigest/sha256");
    let facts = facts.and_then(Value::as_str).and_then(|hex| hex.parse().ok());
    Ok(Record {
        purl: signed.purl.to_string(),
        file_name: signed.file_name,
        sha256: signed.sha256.map(Sha256Digest::to_hex),
        verdict: signed.verdict.to_string(),
        time: signed.time_verified.0,
        facts: facts.ok_or("the digest of its facts is missing")?,
    })
}

/// Builds up, from the signed entries alone, what the waivers should be.
fn replay_waiver(granted: &mut Vec<StoredWaiver>, index: u64, statement: &VerifiedStatement) {
    let Some(predicate) = statement.value().get("predicate") else { return };
    if statement.predicate_type() == WAIVER_TYPE {
        let waiver = serde_json::from_value::<Waiver>(predicate.clone()).ok();
        granted.extend(waiver.map(|waiver| StoredWaiver {
            waiver,
            index,
            revoked: None,
            revoked_index: None,
        }));
        return;
    }
    let text = |name: &str| predicate.get(name).and_then(Value::as_str);
    let named = granted.iter_mut().find(|w| Some(w.waiver.id.as_str()) == text("id"));
    if let Some(waiver) = named {
        waiver.revoked = text("revoked").and_then(Timestamp::parse);
        waiver.revoked_index = Some(index);
    }
}
