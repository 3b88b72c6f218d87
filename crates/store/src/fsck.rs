//! Checking a store: does everything that is derived still follow from what it is derived from?

use crate::error::StoreError;
use crate::publish::{changed_tiles, published_size};
use crate::store::{Store, blocking};
use crate::tiles::{LedgerState, ledger_state, load, root_at, to_i64, to_u64};
use crate::waivers::{StoredWaiver, Waiver};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_ledger::statement::{VSA_TYPE, WAIVER_REVOKED_TYPE, WAIVER_TYPE, read_decision};
use countersign_ledger::{
    Edge, Envelope, Salt, TileId, TileKind, VerifiedStatement, commitment, verify_checkpoint,
    verify_envelope,
};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection as _, Row as _};
use std::path::PathBuf;

/// Entries that are read at a time.
const PAGE: u64 = 512;

/// Problems after which counting goes on and listing stops.
const MAX_PROBLEMS: usize = 100;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FsckReport {
    /// Entries in the ledger.
    pub entries: u64,
    /// Decisions among them.
    pub decisions: u64,
    /// Entries whose commitment, signature and record were checked; 0 for a quick check.
    pub verified: u64,
    /// What does not hold, in words for people; at most 100.
    pub problems: Vec<String>,
}

impl FsckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, text: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(text.into());
        }
    }
}

impl Store {
    /// Checks the store without changing it. Quick: SQLite's own check, the checkpoint's signature,
    /// the root from the tiles, and the counts. In full also every entry: its place in the root, its
    /// commitment and signature, its decision or waiver against the signed statement, and the
    /// published files.
    ///
    /// # Errors
    /// When the database cannot be read at all; what can be read and is wrong stands in the report.
    pub async fn fsck(&self, quick: bool) -> Result<FsckReport, StoreError> {
        let mut report = FsckReport::default();
        // Before the snapshot, so that the snapshot covers at least what is published.
        let published = published_size(&self.paths().checkpoint())?.unwrap_or(0);
        let mut conn = self.reader().await?;
        let mut tx = conn.begin().await.map_err(|e| self.sql_error(e))?;
        let words: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(10)")
            .fetch_all(&mut *tx)
            .await
            .map_err(|e| self.sql_error(e))?;
        words.iter().filter(|w| *w != "ok").for_each(|w| report.problem(format!("sqlite: {w}")));
        let Some(state) = ledger_state(&mut tx, &self.paths().database()).await? else {
            return Ok(report);
        };
        self.check_head(&mut tx, &state, &mut report).await?;
        self.check_counts(&mut tx, &state, &mut report).await?;
        if !quick {
            self.check_entries(&mut tx, &state, &mut report).await?;
            self.check_files(&mut tx, published.min(state.size), &mut report).await?;
        }
        Ok(report)
    }

    async fn check_head(
        &self,
        conn: &mut SqliteConnection,
        state: &LedgerState,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        match verify_checkpoint(&state.checkpoint, &state.verifier) {
            Ok(c) if (c.size(), c.root()) == (state.size, state.root) => {}
            Ok(_) => report.problem("the checkpoint is not that of the ledger's size and root"),
            Err(e) => report.problem(e.to_string()),
        }
        match root_at(conn, &self.paths().database(), state.size).await {
            Ok(root) if root == state.root => {}
            Ok(_) => report.problem("the tiles do not lead to the checkpoint's root"),
            Err(StoreError::Corrupt { because, .. }) => report.problem(because),
            Err(e) => return Err(e),
        }
        Ok(())
    }

    async fn check_counts(
        &self,
        conn: &mut SqliteConnection,
        state: &LedgerState,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let counts = "SELECT (SELECT count(*) FROM entries), \
            (SELECT coalesce(max(idx) + 1, 0) FROM entries), \
            (SELECT count(*) FROM entries WHERE kind = ?), (SELECT count(*) FROM decisions)";
        let row: (i64, i64, i64, i64) = sqlx::query_as(counts)
            .bind(VSA_TYPE)
            .fetch_one(conn)
            .await
            .map_err(|e| self.sql_error(e))?;
        let (entries, end, signed, decisions) = row;
        let path = self.paths().database();
        report.entries = to_u64(entries, &path)?;
        report.decisions = to_u64(decisions, &path)?;
        if (report.entries, to_u64(end, &path)?) != (state.size, state.size) {
            let size = state.size;
            report
                .problem(format!("the checkpoint covers {size} entries, and there are {entries}"));
        }
        if signed != decisions {
            report.problem(format!("{signed} decisions are signed, and {decisions} are recorded"));
        }
        Ok(())
    }

    /// Rebuilds the tree from the entries, page by page, and checks each of them.
    async fn check_entries(
        &self,
        conn: &mut SqliteConnection,
        state: &LedgerState,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let mut edge = Edge::empty();
        let mut granted = Vec::new();
        while edge.size() < state.size {
            let rows = sqlx::query(
                "SELECT e.idx, e.kind, e.commitment, e.salt, e.envelope, d.purl, d.file_name, \
                 d.sha256, d.verdict, d.facts, d.time FROM entries e \
                 LEFT JOIN decisions d ON d.idx = e.idx \
                 WHERE e.idx >= ? AND e.idx < ? ORDER BY e.idx",
            )
            .bind(to_i64(edge.size()))
            .bind(to_i64(state.size.min(edge.size().saturating_add(PAGE))))
            .fetch_all(&mut *conn)
            .await
            .map_err(|e| self.sql_error(e))?;
            if rows.is_empty() {
                report.problem(format!("entry {} is missing", edge.size()));
                return Ok(());
            }
            let mut commitments = Vec::with_capacity(rows.len());
            for row in &rows {
                let index: i64 = self.get(row, 0)?;
                match self.check_entry(row, state) {
                    Ok((commitment, statement)) => {
                        report.verified = report.verified.saturating_add(1);
                        commitments.push(commitment);
                        replay_waiver(&mut granted, index, &statement);
                    }
                    Err(because) => {
                        report.problem(format!("entry {index}: {because}"));
                        let stored: Vec<u8> = self.get(row, 2)?;
                        commitments.push(stored.try_into().unwrap_or_default());
                    }
                }
            }
            let name = state.verifier.name();
            edge = edge.plan(&commitments, name).map_err(StoreError::ledger)?.edge;
        }
        if edge.root() != state.root {
            report.problem("the entries do not lead to the checkpoint's root");
        }
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

    fn check_entry(
        &self,
        row: &SqliteRow,
        state: &LedgerState,
    ) -> Result<([u8; 32], VerifiedStatement), String> {
        let get = |at: usize| row.try_get::<Vec<u8>, _>(at).map_err(|e| e.to_string());
        let text = |at: usize| row.try_get::<Option<String>, _>(at).map_err(|e| e.to_string());
        let salt: Salt = get(3)?.try_into().map_err(|_| "its salt has another length")?;
        let bytes = get(4)?;
        let computed = commitment(&salt, &bytes);
        if get(2)? != computed {
            return Err("its commitment is not that of its envelope".into());
        }
        let envelope = Envelope::parse(&bytes).map_err(|e| e.to_string())?;
        let statement = verify_envelope(&envelope, &state.verifier).map_err(|e| e.to_string())?;
        if text(1)?.as_deref() != Some(statement.predicate_type()) {
            return Err("its kind is not that of its statement".into());
        }
        if statement.predicate_type() != VSA_TYPE {
            return Ok((computed, statement));
        }
        let signed = read_decision(statement.value()).map_err(|e| e.to_string())?;
        let time = row.try_get::<Option<i64>, _>(10).map_err(|e| e.to_string())?;
        let facts = text(9)?.map(|f| Sha256Digest::of(f.as_bytes()).to_hex());
        let signed_facts = statement.value().pointer("/predicate/countersign/factsDigest/sha256");
        let agree = text(5)? == Some(signed.purl.to_string())
            && text(6)? == Some(signed.file_name)
            && text(7)? == signed.sha256.map(Sha256Digest::to_hex)
            && text(8)? == Some(signed.verdict.to_string())
            && time == Some(signed.time_verified.0)
            && facts.as_deref() == signed_facts.and_then(|f| f.as_str());
        match agree {
            true => Ok((computed, statement)),
            false => Err("its record is not what was signed".into()),
        }
    }

    /// Compares full tiles that are published with the database. Partial ones are compared, and
    /// repaired, whenever the store is opened.
    async fn check_files(
        &self,
        conn: &mut SqliteConnection,
        published: u64,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let path = self.paths().database();
        let full = changed_tiles(0, published).into_iter().filter(TileId::is_full);
        let full: Vec<TileId> = full.collect();
        for page in full.chunks(64) {
            let mut tiles = load(conn, &path, page.iter().copied()).await?;
            let files: Vec<(TileId, PathBuf, Option<Vec<u8>>)> = page
                .iter()
                .map(|id| {
                    let wanted = tiles.remove(&(id.kind, id.index));
                    (*id, self.paths().ledger().join(id.path()), wanted)
                })
                .collect();
            let wrong = blocking(move || {
                let differs = |path: &PathBuf, wanted: &Option<Vec<u8>>| {
                    wanted.is_none() || std::fs::read(path).ok() != *wanted
                };
                let wrong = files.into_iter().filter(|(_, path, wanted)| differs(path, wanted));
                Ok(wrong.map(|(id, ..)| id).collect::<Vec<_>>())
            })
            .await?;
            for id in wrong {
                let what = if id.kind == TileKind::Entries { "bundle" } else { "tile" };
                report.problem(format!("the published {what} `{id}` differs from the database"));
            }
        }
        Ok(())
    }
}

/// Builds up, from the signed entries alone, what the waivers should be.
fn replay_waiver(granted: &mut Vec<StoredWaiver>, index: i64, statement: &VerifiedStatement) {
    let Ok(index) = u64::try_from(index) else { return };
    let Some(predicate) = statement.value().get("predicate") else { return };
    match statement.predicate_type() {
        WAIVER_TYPE => {
            let waiver = serde_json::from_value::<Waiver>(predicate.clone()).ok();
            granted.extend(waiver.map(|waiver| StoredWaiver {
                waiver,
                index,
                revoked: None,
                revoked_index: None,
            }));
        }
        WAIVER_REVOKED_TYPE => {
            let text = |name: &str| predicate.get(name).and_then(Value::as_str);
            let named = granted.iter_mut().find(|w| Some(w.waiver.id.as_str()) == text("id"));
            if let Some(waiver) = named {
                waiver.revoked = text("revoked").and_then(Timestamp::parse);
                waiver.revoked_index = Some(index);
            }
        }
        _ => {}
    }
}
