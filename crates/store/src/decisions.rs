//! Decisions: recorded in the ledger, and looked up by digest, purl or place.

use crate::commit::{Appended, Job};
use crate::entry::{Durable, Entry, EntryRow};
use crate::error::StoreError;
use crate::events::{NewEvent, kept_here, subject_key};
use crate::rows::package;
use crate::store::Store;
use crate::tiles::{to_i64, to_u64};
use countersign_core::{
    Decision, Ecosystem, ExpectedDigest, Purl, Sha256Digest, Timestamp, Verdict,
};
use countersign_ledger::event::FORGOTTEN_TYPE;
use countersign_ledger::statement::{DecisionRecord, VSA_TYPE, WAIVER_REVOKED_TYPE, WAIVER_TYPE};
use countersign_ledger::{KEY_RETIRED_TYPE, KEY_ROTATED_TYPE, verify_receipt};
use serde_json::Value;
use sqlx::Row as _;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow};
use tokio::sync::oneshot;

/// A decision that is to be recorded. Its statement is made from it and signed by the store, so that
/// the record and the statement cannot say different things.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDecision {
    /// What the statement says. The store sets `facts_digest` itself.
    pub record: DecisionRecord,
    /// The facts that were judged, kept as they are for a replay.
    pub facts: Value,
}

/// A decision that is in the ledger, durably: what an admission may be made from. Only
/// [`Store::record`] makes one, and [`Store::recorded_at`], which verifies the whole proof again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    index: u64,
    purl: Purl,
    file_name: String,
    sha256: Option<Sha256Digest>,
    verdict: Verdict,
    durable: Durable,
}

impl Recorded {
    /// The entry's place in the ledger, from 0; also the decision's id.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The version that was judged.
    #[must_use]
    pub fn purl(&self) -> &Purl {
        &self.purl
    }

    /// The file that was judged.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The digest that the verdict is bound to; `None` only for a hold or refusal without bytes.
    #[must_use]
    pub fn sha256(&self) -> Option<&Sha256Digest> {
        self.sha256.as_ref()
    }

    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The checkpoint that covers it.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }
}

/// An entry of another kind that is in the ledger, durably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    index: u64,
    durable: Durable,
}

impl RecordedEvent {
    /// The entry's place in the ledger, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The checkpoint that covers it.
    #[must_use]
    pub fn durable(&self) -> &Durable {
        &self.durable
    }
}

/// A decision as it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDecision {
    /// Its place in the ledger, from 0; also its id.
    pub index: u64,
    /// The version.
    pub purl: Purl,
    /// The file.
    pub file_name: String,
    /// The digest of the bytes, where all had arrived.
    pub sha256: Option<Sha256Digest>,
    /// The decision.
    pub decision: Decision,
    /// The facts that were judged.
    pub facts: Value,
    /// When it was made.
    pub time: Timestamp,
}

/// A query of decisions: the columns that [`Store::decision`] reads, then the given rest.
macro_rules! select {
    ($rest:literal) => {
        sqlx::query(concat!(
            "SELECT idx, purl, file_name, sha256, decision, facts, time FROM decisions ",
            $rest
        ))
    };
}

impl Store {
    /// Records decisions and returns when they are durable. Concurrent calls share one commit.
    ///
    /// # Errors
    /// When an admission has no digest, the store has no ledger key, or the commit fails; then none
    /// of them may be acted upon.
    pub async fn record(&self, new: Vec<NewDecision>) -> Result<Vec<Recorded>, StoreError> {
        self.record_all(Vec::new(), new, false).await
    }

    /// Records an admission and pins the digest of this file of this version with it, in one commit:
    /// both are there or neither. The first digest wins, as in [`Store::pin_identity`].
    ///
    /// # Errors
    /// [`StoreError::PinChanged`] when another digest is pinned, and as [`Store::record`].
    pub async fn record_pinned(&self, new: NewDecision) -> Result<Recorded, StoreError> {
        let mut recorded = self.record_all(Vec::new(), vec![new], true).await?;
        recorded.pop().ok_or(StoreError::Closed)
    }

    /// Records an artifact's decision with the events that led to it, before it and in the same commit.
    /// With `pins` as [`Store::record_pinned`], and otherwise as [`Store::record`].
    ///
    /// # Errors
    /// As those.
    pub async fn record_with(
        &self,
        events: Vec<NewEvent>,
        new: NewDecision,
        pins: bool,
    ) -> Result<Recorded, StoreError> {
        let mut recorded = self.record_all(events, vec![new], pins).await?;
        recorded.pop().ok_or(StoreError::Closed)
    }

    async fn record_all(
        &self,
        events: Vec<NewEvent>,
        new: Vec<NewDecision>,
        pins: bool,
    ) -> Result<Vec<Recorded>, StoreError> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let key = &self.ledger()?.keys.current().signing;
        let mut kept = Vec::with_capacity(new.len());
        let before = u64::try_from(events.len()).unwrap_or(u64::MAX);
        let mut entries = Vec::with_capacity(new.len().saturating_add(events.len()));
        for event in events {
            let about = event.subjects();
            let entry = Entry::new(key, &event.statement, event.time, EntryRow::Event)?;
            entries.push(Entry { about, ..entry });
        }
        for new in new {
            let r = &new.record;
            let sha256 = r.digests.as_ref().map(|d| d.sha256);
            kept.push((r.purl.clone(), r.file_name.clone(), sha256, r.decision.verdict));
            let kept_blob = sha256.filter(|d| pins && self.blob_file(d).is_some());
            let about = kept_blob.iter().map(|d| subject_key(&kept_here(d))).collect();
            entries.push(Entry { about, ..Entry::decision(key, new, pins)? });
        }
        let Appended { first, durable } = self.append(entries).await?;
        let first = first.saturating_add(before);
        let recorded = (first..).zip(kept).map(|(index, (purl, file_name, sha256, verdict))| {
            Recorded { index, purl, file_name, sha256, verdict, durable: durable.clone() }
        });
        Ok(recorded.collect())
    }

    /// The proof for a decision that was recorded before, by this process or another; `None` when
    /// another kind of entry is there. Everything in it comes from the signed statement, whose
    /// signature, inclusion and checkpoint are verified; the records beside it are not believed.
    ///
    /// # Errors
    /// When there is no such entry, or it does not verify.
    pub async fn recorded_at(&self, index: u64) -> Result<Option<Recorded>, StoreError> {
        let key = self.verifier_key();
        let missing = || StoreError::NotFound { what: format!("ledger entry {index}") };
        let receipt = self.receipt_for(index).await?;
        let verified = verify_receipt(&receipt, key.ok_or_else(missing)?, None);
        let verified = verified.map_err(|e| self.corrupt(e))?;
        let size = verified.checkpoint().size();
        Ok(verified.decision().map(|signed| Recorded {
            index,
            purl: signed.purl.clone(),
            file_name: signed.file_name.clone(),
            sha256: signed.sha256,
            verdict: signed.verdict,
            durable: Durable::new(size, receipt.checkpoint().into()),
        }))
    }

    /// Records an act of the gate that is neither decision nor waiver: `statement` is an in-toto
    /// statement with a predicate type of its own (see `countersign_ledger::statement::event`).
    ///
    /// # Errors
    /// When the predicate type is missing or reserved, there is no ledger key, or the commit fails.
    pub async fn record_event(
        &self,
        statement: &Value,
        time: Timestamp,
    ) -> Result<RecordedEvent, StoreError> {
        let kind = statement.get("predicateType").and_then(Value::as_str).unwrap_or_default();
        let own = [KEY_ROTATED_TYPE, KEY_RETIRED_TYPE, FORGOTTEN_TYPE];
        if [VSA_TYPE, WAIVER_TYPE, WAIVER_REVOKED_TYPE].contains(&kind) || own.contains(&kind) {
            // Such an entry has a record beside it, which only its own call writes.
            return Err(StoreError::invalid(format!("`{kind}` is not an event")));
        }
        self.append_one(statement, time, EntryRow::Event).await
    }

    pub(crate) async fn append_one(
        &self,
        statement: &Value,
        time: Timestamp,
        row: EntryRow,
    ) -> Result<RecordedEvent, StoreError> {
        self.append_entry(Entry::new(&self.ledger()?.keys.current().signing, statement, time, row)?)
            .await
    }

    pub(crate) async fn append_entry(&self, entry: Entry) -> Result<RecordedEvent, StoreError> {
        let Appended { first, durable } = self.append(vec![entry]).await?;
        Ok(RecordedEvent { index: first, durable })
    }

    async fn append(&self, entries: Vec<Entry>) -> Result<Appended, StoreError> {
        let (done, answer) = oneshot::channel();
        let ledger = self.ledger()?;
        ledger.jobs.send(Job { entries, done }).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// The latest decision about these bytes under this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn latest_decision(
        &self,
        sha256: &Sha256Digest,
        purl: &Purl,
        file_name: &str,
    ) -> Result<Option<StoredDecision>, StoreError> {
        let query =
            select!("WHERE sha256 = ? AND purl = ? AND file_name = ? ORDER BY idx DESC LIMIT 1")
                .bind(sha256.to_hex())
                .bind(purl.to_string())
                .bind(file_name);
        Ok(self.decisions(query).await?.pop())
    }

    /// The latest decision about a file of a version that was made without its bytes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn latest_without_bytes(
        &self,
        purl: &Purl,
        file_name: &str,
    ) -> Result<Option<StoredDecision>, StoreError> {
        let query = select!(
            "WHERE purl = ? AND file_name = ? AND sha256 IS NULL ORDER BY idx DESC LIMIT 1"
        )
        .bind(purl.to_string())
        .bind(file_name);
        Ok(self.decisions(query).await?.pop())
    }

    /// Every decision about a version, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn decisions_for_purl(&self, purl: &Purl) -> Result<Vec<StoredDecision>, StoreError> {
        self.decisions(select!("WHERE purl = ? ORDER BY idx DESC").bind(purl.to_string())).await
    }

    /// Every decision about these bytes, under any name, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn decisions_for_digest(
        &self,
        sha256: &Sha256Digest,
    ) -> Result<Vec<StoredDecision>, StoreError> {
        self.decisions(select!("WHERE sha256 = ? ORDER BY idx DESC").bind(sha256.to_hex())).await
    }

    /// The decision at a place of the ledger; `None` when another kind of entry is there, or none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn decision_at(&self, index: u64) -> Result<Option<StoredDecision>, StoreError> {
        Ok(self.decisions(select!("WHERE idx = ?").bind(to_i64(index))).await?.pop())
    }

    /// Decisions about all versions of a package, newest first; the purl's version is not looked at.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history(
        &self,
        purl: &Purl,
        limit: u32,
    ) -> Result<Vec<StoredDecision>, StoreError> {
        let query = select!("WHERE package = ? ORDER BY idx DESC LIMIT ?");
        self.decisions(query.bind(package(purl)).bind(limit)).await
    }

    /// Decisions of all kinds, newest first, from below place `before` (all, when `None`).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recent(
        &self,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<StoredDecision>, StoreError> {
        let query = select!("WHERE idx < ? ORDER BY idx DESC LIMIT ?");
        self.decisions(query.bind(before.map_or(i64::MAX, to_i64)).bind(limit)).await
    }

    /// Decisions that did not admit, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recent_not_admitted(&self, limit: u32) -> Result<Vec<StoredDecision>, StoreError> {
        let query = select!("WHERE verdict IN ('hold', 'refuse') ORDER BY idx DESC LIMIT ?");
        self.decisions(query.bind(limit)).await
    }

    /// The artifacts of a version whose latest decision admits: digest and file name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn admitted_by_purl(
        &self,
        purl: &Purl,
    ) -> Result<Vec<(Sha256Digest, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT sha256, file_name, verdict, max(idx) FROM decisions \
             WHERE purl = ? AND sha256 IS NOT NULL GROUP BY sha256, file_name ORDER BY max(idx)",
        )
        .bind(purl.to_string())
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        let mut out = Vec::new();
        for row in rows {
            // SQLite takes bare columns from the row that holds the maximum (sqlite.org/quirks.html).
            let verdict: String = self.get(&row, 2)?;
            if verdict == Verdict::Admit.to_string() {
                out.push((self.digest(&self.get::<String>(&row, 0)?)?, self.get(&row, 1)?));
            }
        }
        Ok(out)
    }

    /// Whether the latest decision about these bytes, under any name, admits them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_admitted(&self, sha256: &Sha256Digest) -> Result<bool, StoreError> {
        let verdict: Option<String> = sqlx::query_scalar(
            "SELECT verdict FROM decisions WHERE sha256 = ? ORDER BY idx DESC LIMIT 1",
        )
        .bind(sha256.to_hex())
        .fetch_optional(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        Ok(verdict.is_some_and(|v| v == Verdict::Admit.to_string()))
    }

    /// The SHA-256 of judged bytes that have the digest `other`. A weak digest names nobody: two
    /// artifacts can be made to share it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn artifact_by_digest(
        &self,
        other: &ExpectedDigest,
    ) -> Result<Option<Sha256Digest>, StoreError> {
        let query = "SELECT sha256 FROM artifact_digests WHERE algorithm = ? AND hex = ?";
        let found: Option<String> = sqlx::query_scalar(query)
            .bind(other.algorithm().name())
            .bind(other.to_hex())
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| self.sql_error(e))?;
        found.map(|hex| self.digest(&hex)).transpose()
    }

    /// The names of an ecosystem's packages about which there are decisions, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn judged_names(&self, ecosystem: Ecosystem) -> Result<Vec<String>, StoreError> {
        let rows: Vec<String> =
            sqlx::query_scalar("SELECT DISTINCT package FROM decisions WHERE ecosystem = ?")
                .bind(ecosystem.to_string())
                .fetch_all(&mut *self.reader().await?)
                .await
                .map_err(|e| self.sql_error(e))?;
        let mut names: Vec<String> = rows
            .iter()
            .filter_map(|purl| Some(purl.parse::<Purl>().ok()?.name().to_owned()))
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Number of entries in the ledger, of all kinds; 0 while none was begun.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ledger_size(&self) -> Result<u64, StoreError> {
        let mut conn = self.reader().await?;
        let state = crate::tiles::ledger_state(&mut conn, &self.paths().database()).await?;
        Ok(state.map_or(0, |s| s.size))
    }

    async fn decisions(
        &self,
        query: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<Vec<StoredDecision>, StoreError> {
        let mut conn = self.reader().await?;
        let rows = query.fetch_all(&mut *conn).await.map_err(|e| self.sql_error(e))?;
        rows.iter().map(|row| self.decision(row)).collect()
    }

    pub(crate) fn decision(&self, row: &SqliteRow) -> Result<StoredDecision, StoreError> {
        let purl: String = self.get(row, 1)?;
        let sha256: Option<String> = self.get(row, 3)?;
        let (decision, facts): (String, String) = (self.get(row, 4)?, self.get(row, 5)?);
        Ok(StoredDecision {
            index: to_u64(self.get(row, 0)?, &self.paths().database())?,
            purl: purl.parse().map_err(|e| self.corrupt(e))?,
            file_name: self.get(row, 2)?,
            sha256: sha256.map(|hex| self.digest(&hex)).transpose()?,
            decision: serde_json::from_str(&decision).map_err(|e| self.corrupt(e))?,
            facts: serde_json::from_str(&facts).map_err(|e| self.corrupt(e))?,
            time: Timestamp(self.get(row, 6)?),
        })
    }

    pub(crate) fn get<'r, T>(&self, row: &'r SqliteRow, at: usize) -> Result<T, StoreError>
    where
        T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
    {
        row.try_get(at).map_err(|e| self.sql_error(e))
    }

    pub(crate) fn digest(&self, hex: &str) -> Result<Sha256Digest, StoreError> {
        hex.parse().map_err(|e| self.corrupt(e))
    }
}
