//! Every entry: its commitment, its signature, its record, and the tree that all of them make.

use super::FsckReport;
use crate::error::StoreError;
use crate::keyring::history_in;
use crate::store::{Store, blocking};
use crate::tiles::{LedgerState, to_i64};
use crate::waivers::{StoredWaiver, Waiver};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_ledger::statement::{VSA_TYPE, WAIVER_REVOKED_TYPE, WAIVER_TYPE, read_decision};
use countersign_ledger::{
    Commitment, Edge, Envelope, KeyHistory, Salt, VerifiedStatement, commitment, verify_envelope,
};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row as _};
use std::sync::Arc;

/// Entries that are read at a time, which bounds the memory of a check.
const PAGE: u64 = 2048;

/// An entry with the record beside it, as the database has them.
struct Row {
    idx: i64,
    kind: String,
    commitment: Vec<u8>,
    salt: Vec<u8>,
    envelope: Vec<u8>,
    purl: Option<String>,
    file_name: Option<String>,
    sha256: Option<String>,
    verdict: Option<String>,
    facts: Option<String>,
    time: Option<i64>,
    forgotten_by: Option<i64>,
}

impl FromRow<'_, SqliteRow> for Row {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            idx: row.try_get(0)?,
            kind: row.try_get(1)?,
            commitment: row.try_get(2)?,
            salt: row.try_get(3)?,
            envelope: row.try_get(4)?,
            purl: row.try_get(5)?,
            file_name: row.try_get(6)?,
            sha256: row.try_get(7)?,
            verdict: row.try_get(8)?,
            facts: row.try_get(9)?,
            time: row.try_get(10)?,
            forgotten_by: row.try_get(11)?,
        })
    }
}

/// What is kept of a checked entry.
struct Checked {
    index: i64,
    commitment: Commitment,
    /// The statement, where a waiver follows from it.
    waiver: Option<VerifiedStatement>,
    /// Whether its content was erased, as a record says.
    forgotten: bool,
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
        let key = Arc::new(history_in(conn, &self.paths().database(), state).await?);
        let mut edge = Edge::empty();
        let mut granted = Vec::new();
        while edge.size() < state.size {
            let upto = state.size.min(edge.size().saturating_add(PAGE));
            let rows = self.page(conn, edge.size(), upto).await?;
            if rows.is_empty() {
                report.problem(format!("entry {} is missing", edge.size()));
                return Ok(());
            }
            let mut commitments = Vec::with_capacity(rows.len());
            for checked in check_page(rows, &key).await? {
                commitments.push(checked.commitment);
                match checked.problem {
                    None if checked.forgotten => {
                        report.forgotten = report.forgotten.saturating_add(1);
                    }
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
        sqlx::query_as(
            "SELECT e.idx, e.kind, e.commitment, e.salt, e.envelope, d.purl, d.file_name, \
             d.sha256, d.verdict, d.facts, d.time, f.by_idx FROM entries e \
             LEFT JOIN decisions d ON d.idx = e.idx LEFT JOIN forgotten f ON f.idx = e.idx \
             WHERE e.idx >= ? AND e.idx < ? ORDER BY e.idx",
        )
        .bind(to_i64(from))
        .bind(to_i64(upto))
        .fetch_all(conn)
        .await
        .map_err(|e| self.sql_error(e))
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
async fn check_page(rows: Vec<Row>, key: &Arc<KeyHistory>) -> Result<Vec<Checked>, StoreError> {
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

fn check_row(row: &Row, key: &KeyHistory) -> Checked {
    let stored: Commitment = row.commitment.as_slice().try_into().unwrap_or_default();
    let (index, commitment) = (row.idx, stored);
    if row.forgotten_by.is_some() && row.envelope.is_empty() && row.salt.is_empty() {
        // Its commitment counts in the tree as ever; that it was forgotten is an entry of its own.
        return Checked { index, commitment, waiver: None, forgotten: true, problem: None };
    }
    match check_entry(row, key) {
        Ok(statement) => {
            let waiver = [WAIVER_TYPE, WAIVER_REVOKED_TYPE].contains(&statement.predicate_type());
            Checked {
                index,
                commitment,
                waiver: waiver.then_some(statement),
                forgotten: false,
                problem: None,
            }
        }
        Err(because) => {
            Checked { index, commitment, waiver: None, forgotten: false, problem: Some(because) }
        }
    }
}

fn check_entry(row: &Row, keys: &KeyHistory) -> Result<VerifiedStatement, String> {
    let salt: Salt =
        row.salt.as_slice().try_into().map_err(|_| "its salt has another length".to_owned())?;
    if row.commitment != commitment(&salt, &row.envelope) {
        return Err("its commitment is not that of its envelope".into());
    }
    let envelope = Envelope::parse(&row.envelope).map_err(|e| e.to_string())?;
    let key = keys.at(u64::try_from(row.idx).unwrap_or(0));
    let statement = verify_envelope(&envelope, key).map_err(|e| e.to_string())?;
    if row.kind != statement.predicate_type() {
        return Err("its kind is not that of its statement".into());
    }
    if statement.predicate_type() != VSA_TYPE {
        return Ok(statement);
    }
    let signed = read_decision(statement.value()).map_err(|e| e.to_string())?;
    let facts = row.facts.as_ref().map(|f| Sha256Digest::of(f.as_bytes()).to_hex());
    let signed_facts = statement.value().pointer("/predicate/countersign/factsDigest/sha256");
    let agree = row.purl == Some(signed.purl.to_string())
        && row.file_name == Some(signed.file_name)
        && row.sha256 == signed.sha256.map(Sha256Digest::to_hex)
        && row.verdict == Some(signed.verdict.to_string())
        && row.time == Some(signed.time_verified.0)
        && facts.as_deref() == signed_facts.and_then(|f| f.as_str());
    match agree {
        true => Ok(statement),
        false => Err("its record is not what was signed".into()),
    }
}

/// Builds up, from the signed entries alone, what the waivers should be.
fn replay_waiver(granted: &mut Vec<StoredWaiver>, index: i64, statement: &VerifiedStatement) {
    let Ok(index) = u64::try_from(index) else { return };
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
