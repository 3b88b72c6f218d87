//! Looking through the ledger's entries, of all kinds.

use crate::error::StoreError;
use crate::store::Store;
use crate::tiles::{to_i64, to_u64};
use countersign_core::Timestamp;
use countersign_ledger::statement::VSA_TYPE;
use countersign_ledger::{Envelope, Salt, VerifiedStatement, verify_envelope};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

/// Entries that are looked at in one query.
const PAGE: u32 = 1000;

/// What is looked for; everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// The predicate type.
    pub kind: Option<String>,
    /// A text that the statement holds, in any case of letters.
    pub text: Option<String>,
    /// The verdict of a decision: `admit`, `hold` or `refuse`.
    pub verdict: Option<String>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Decisions are left out.
    pub events_only: bool,
    /// Most entries that are returned.
    pub limit: usize,
}

/// An entry in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryLine {
    /// Its place in the ledger.
    pub index: u64,
    /// Its predicate type.
    pub kind: String,
    /// When it was made.
    pub time: Timestamp,
    /// The version, for a decision.
    pub purl: Option<String>,
    /// The file, for a decision.
    pub file_name: Option<String>,
    /// The digest, for a decision about bytes.
    pub sha256: Option<String>,
    /// The verdict, for a decision.
    pub verdict: Option<String>,
    /// The leading reason, for a decision that does not admit.
    pub reason: Option<String>,
    /// The subject's name, for an entry of another kind.
    pub subject: Option<String>,
}

/// An entry with its content, whose signature was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEntry {
    /// Its place in the ledger.
    pub index: u64,
    /// When it was made.
    pub time: Timestamp,
    /// The salt of its commitment.
    pub salt: Salt,
    /// The envelope.
    pub envelope: Envelope,
    /// The signed statement.
    pub statement: VerifiedStatement,
}

impl Store {
    /// Entries that match, newest first.
    ///
    /// # Errors
    /// When the database fails or an entry is damaged.
    pub async fn search(&self, search: &Search) -> Result<Vec<EntryLine>, StoreError> {
        let text = search.text.as_ref().map(|t| t.to_lowercase());
        let mut before = i64::MAX;
        let mut out = Vec::new();
        while out.len() < search.limit {
            let rows = self.search_page(search, text.as_deref(), before).await?;
            let Some(last) = rows.last() else { break };
            before = self.get(last, 0)?;
            for row in &rows {
                if let Some(line) = self.line(row, text.as_deref())?
                    && out.len() < search.limit
                {
                    out.push(line);
                }
            }
        }
        Ok(out)
    }

    async fn search_page(
        &self,
        search: &Search,
        text: Option<&str>,
        before: i64,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        // What decisions say is in their records; entries of other kinds are read one by one.
        sqlx::query(
            "SELECT e.idx, e.kind, e.time, d.purl, d.file_name, d.sha256, d.verdict, d.reason, \
             CASE WHEN d.idx IS NULL THEN e.envelope END \
             FROM entries e LEFT JOIN decisions d ON d.idx = e.idx \
             WHERE e.idx < ?1 AND (?2 IS NULL OR e.kind = ?2) AND (?3 IS NULL OR d.verdict = ?3) \
             AND (?4 IS NULL OR e.time >= ?4) AND (?5 IS NULL OR e.time < ?5) \
             AND (?6 = 0 OR e.kind <> ?8) \
             AND (?7 IS NULL OR d.idx IS NULL OR instr(lower(d.purl || ' ' || d.file_name || ' ' \
                  || coalesce(d.sha256, '') || ' ' || d.decision), ?7) > 0) \
             ORDER BY e.idx DESC LIMIT ?9",
        )
        .bind(before)
        .bind(search.kind.as_deref())
        .bind(search.verdict.as_deref())
        .bind(search.since.map(|t| t.0))
        .bind(search.until.map(|t| t.0))
        .bind(search.events_only)
        .bind(text)
        .bind(VSA_TYPE)
        .bind(PAGE)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))
    }

    /// The line of a row; `None` when it is an entry of another kind that does not hold the text.
    fn line(&self, row: &SqliteRow, text: Option<&str>) -> Result<Option<EntryLine>, StoreError> {
        let envelope: Option<Vec<u8>> = self.get(row, 8)?;
        let mut subject = None;
        if let Some(bytes) = envelope {
            let statement = self.statement(&bytes)?;
            let holds = |t| statement.value().to_string().to_lowercase().contains(t);
            if text.is_some_and(|t| !holds(t)) {
                return Ok(None);
            }
            let name = statement.value().pointer("/subject/0/name");
            subject = name.and_then(|n| n.as_str()).map(str::to_owned);
        }
        Ok(Some(EntryLine {
            index: to_u64(self.get(row, 0)?, &self.paths().database())?,
            kind: self.get(row, 1)?,
            time: Timestamp(self.get(row, 2)?),
            purl: self.get(row, 3)?,
            file_name: self.get(row, 4)?,
            sha256: self.get(row, 5)?,
            verdict: self.get(row, 6)?,
            reason: self.get(row, 7)?,
            subject,
        }))
    }

    pub(crate) fn statement(&self, envelope: &[u8]) -> Result<VerifiedStatement, StoreError> {
        let key = self.verifier_key().ok_or_else(|| self.corrupt("entries without a ledger"))?;
        let envelope = Envelope::parse(envelope).map_err(|e| self.corrupt(e))?;
        verify_envelope(&envelope, key).map_err(|e| self.corrupt(e))
    }

    /// Entries with their content, in order, from place `from` on, at most `limit` of them.
    ///
    /// # Errors
    /// When the database fails, or an entry is damaged or not signed by the ledger's key.
    pub async fn entries(&self, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let rows = sqlx::query(
            "SELECT idx, time, salt, envelope FROM entries WHERE idx >= ? ORDER BY idx LIMIT ?",
        )
        .bind(to_i64(from))
        .bind(limit)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        rows.iter().map(|row| self.stored_entry(row)).collect()
    }

    fn stored_entry(&self, row: &SqliteRow) -> Result<StoredEntry, StoreError> {
        let (salt, bytes): (Vec<u8>, Vec<u8>) = (self.get(row, 2)?, self.get(row, 3)?);
        let salt = salt.try_into().map_err(|_| self.corrupt("a salt has another length"))?;
        let envelope = Envelope::parse(&bytes).map_err(|e| self.corrupt(e))?;
        Ok(StoredEntry {
            index: to_u64(
                row.try_get(0).map_err(|e| self.sql_error(e))?,
                &self.paths().database(),
            )?,
            time: Timestamp(self.get(row, 1)?),
            salt,
            statement: self.statement(&bytes)?,
            envelope,
        })
    }
}
