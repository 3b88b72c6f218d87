//! Looking through the ledger's entries, of all kinds.

use crate::bundles::{self, Kept, WIDTH};
use crate::error::StoreError;
use crate::store::Store;
use crate::tiles::{to_i64, to_u64};
use countersign_core::Timestamp;
use countersign_ledger::statement::VSA_TYPE;
use countersign_ledger::{
    Commitment, Envelope, KeyHistory, Salt, VerifiedStatement, verify_envelope,
};
use sqlx::Connection as _;
use std::collections::VecDeque;

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

/// An entry as the tree has it, with its content where that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct RawEntry {
    /// Its place in the ledger.
    pub index: u64,
    /// Its predicate type.
    pub kind: String,
    /// When it was made.
    pub time: Timestamp,
    /// What the tree holds.
    pub commitment: Commitment,
    /// Its content; `None` when it was forgotten.
    pub content: Option<StoredEntry>,
}

/// Lines in descending order of their places, fetched some at a time.
struct Lines {
    ready: VecDeque<EntryLine>,
    /// Only what is below this place is still to be fetched.
    before: u64,
}

impl Lines {
    fn new() -> Self {
        Self { ready: VecDeque::new(), before: i64::MAX.unsigned_abs() }
    }

    fn next_place(&self) -> Option<u64> {
        self.ready.front().map(|line| line.index)
    }
}

impl Store {
    /// Entries that match, newest first.
    ///
    /// # Errors
    /// When the database fails or an entry is damaged.
    pub async fn search(&self, search: &Search) -> Result<Vec<EntryLine>, StoreError> {
        let keys = self.key_history().await?;
        let text = search.text.as_ref().map(|t| t.to_lowercase());
        let text = text.as_deref();
        // What decisions say is in their records; entries of other kinds are read one by one.
        let (mut decisions, mut events) = (Lines::new(), Lines::new());
        let is_kind = |kind: &str| search.kind.as_ref().is_none_or(|k| k == kind);
        let mut more_decisions = !search.events_only && is_kind(VSA_TYPE);
        let mut more_events = search.verdict.is_none() && search.kind.as_deref() != Some(VSA_TYPE);
        let mut out = Vec::new();
        while out.len() < search.limit {
            while more_decisions && decisions.ready.is_empty() {
                more_decisions = self.more_decisions(search, text, &mut decisions).await?;
            }
            while more_events && events.ready.is_empty() {
                more_events = self.more_events(search, text, keys.as_ref(), &mut events).await?;
            }
            let newest = match decisions.next_place() > events.next_place() {
                true => &mut decisions,
                false => &mut events,
            };
            let Some(line) = newest.ready.pop_front() else { break };
            out.push(line);
        }
        Ok(out)
    }

    /// Fetches more decisions; `false` when there are no more.
    async fn more_decisions(
        &self,
        search: &Search,
        text: Option<&str>,
        lines: &mut Lines,
    ) -> Result<bool, StoreError> {
        let rows = sqlx::query(
            "SELECT idx, time, purl, file_name, sha256, verdict, reason FROM decisions \
             WHERE idx < ?1 AND (?2 IS NULL OR verdict = ?2) \
             AND (?3 IS NULL OR time >= ?3) AND (?4 IS NULL OR time < ?4) \
             AND (?5 IS NULL OR instr(lower(purl || ' ' || file_name || ' ' \
                  || coalesce(sha256, '') || ' ' || decision), ?5) > 0) \
             ORDER BY idx DESC LIMIT ?6",
        )
        .bind(to_i64(lines.before))
        .bind(search.verdict.as_deref())
        .bind(search.since.map(|t| t.0))
        .bind(search.until.map(|t| t.0))
        .bind(text)
        .bind(PAGE)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        for row in &rows {
            lines.before = to_u64(self.get(row, 0)?, &self.paths().database())?;
            lines.ready.push_back(EntryLine {
                index: lines.before,
                kind: VSA_TYPE.to_owned(),
                time: Timestamp(self.get(row, 1)?),
                purl: self.get(row, 2)?,
                file_name: self.get(row, 3)?,
                sha256: self.get(row, 4)?,
                verdict: self.get(row, 5)?,
                reason: self.get(row, 6)?,
                subject: None,
            });
        }
        Ok(!rows.is_empty())
    }

    /// Fetches more entries of other kinds: the rows above the next folded bundle that may hold some,
    /// or else that bundle. `false` when there are no more.
    async fn more_events(
        &self,
        search: &Search,
        text: Option<&str>,
        keys: Option<&KeyHistory>,
        lines: &mut Lines,
    ) -> Result<bool, StoreError> {
        let path = self.paths().database();
        let wanted = bundles::Wanted {
            kind: search.kind.as_deref(),
            since: search.since,
            until: search.until,
        };
        let mut conn = self.reader().await?;
        let mut tx = conn.begin().await.map_err(|e| self.sql_error(e))?;
        let bundle = bundles::folded_before(&mut tx, &path, lines.before, &wanted).await?;
        let floor = bundle.as_ref().map_or(0, |(place, _)| (place + 1).saturating_mul(WIDTH));
        let rows = bundles::wanted_rows(&mut tx, &path, floor, lines.before, &wanted, PAGE).await?;
        let (before, kept) = match (rows.last().map(|row| row.index), bundle) {
            (Some(last), _) => (last, rows),
            (None, Some((place, data))) => {
                let mut kept = bundles::all(&path, place, data).await?;
                kept.reverse();
                (place.saturating_mul(WIDTH), kept)
            }
            (None, None) => return Ok(false),
        };
        for kept in kept.iter().filter(|k| k.index < lines.before && wanted.has(k)) {
            lines.ready.extend(self.line(kept, text, keys)?);
        }
        lines.before = before;
        Ok(true)
    }

    /// The line of an entry that is no decision; `None` when it does not hold the text.
    fn line(
        &self,
        kept: &Kept,
        text: Option<&str>,
        keys: Option<&KeyHistory>,
    ) -> Result<Option<EntryLine>, StoreError> {
        let mut subject = Some("(forgotten)".to_owned());
        if let Some((_, envelope)) = kept.content() {
            let statement = self.statement(kept.index, envelope, keys)?;
            let holds = |t| statement.value().to_string().to_lowercase().contains(t);
            if text.is_some_and(|t| !holds(t)) {
                return Ok(None);
            }
            let name = statement.value().pointer("/subject/0/name");
            subject = name.and_then(|n| n.as_str()).map(str::to_owned);
        } else if text.is_some() {
            return Ok(None);
        }
        Ok(Some(EntryLine {
            index: kept.index,
            kind: kept.entry.kind.clone(),
            time: kept.entry.time,
            purl: None,
            file_name: None,
            sha256: None,
            verdict: None,
            reason: None,
            subject,
        }))
    }

    pub(crate) fn statement(
        &self,
        index: u64,
        envelope: &[u8],
        keys: Option<&KeyHistory>,
    ) -> Result<VerifiedStatement, StoreError> {
        let keys = keys.ok_or_else(|| self.corrupt("entries without a ledger"))?;
        let envelope = Envelope::parse(envelope).map_err(|e| self.corrupt(e))?;
        verify_envelope(&envelope, keys.at(index)).map_err(|e| self.corrupt(e))
    }

    /// Entries in order, from place `from` on, at most `limit` of them, with their content where it was
    /// not forgotten.
    ///
    /// # Errors
    /// When the database fails, or an entry is damaged or not signed by the ledger's key.
    pub async fn entries(&self, from: u64, limit: u32) -> Result<Vec<RawEntry>, StoreError> {
        let keys = self.key_history().await?;
        let upto = from.saturating_add(u64::from(limit));
        let mut conn = self.reader().await?;
        let mut tx = conn.begin().await.map_err(|e| self.sql_error(e))?;
        let kept = bundles::entries_in(&mut tx, &self.paths().database(), from, upto).await?;
        kept.iter().map(|kept| self.raw_entry(kept, keys.as_ref())).collect()
    }

    /// An entry with its content, whose signature is verified.
    pub(crate) fn raw_entry(
        &self,
        kept: &Kept,
        keys: Option<&KeyHistory>,
    ) -> Result<RawEntry, StoreError> {
        let (index, time) = (kept.index, kept.entry.time);
        let mut content = None;
        if let Some((salt, bytes)) = kept.content() {
            let envelope = Envelope::parse(bytes).map_err(|e| self.corrupt(e))?;
            let statement = self.statement(index, bytes, keys)?;
            content = Some(StoredEntry { index, time, salt, envelope, statement });
        }
        let (kind, commitment) = (kept.entry.kind.clone(), kept.commitment());
        Ok(RawEntry { index, kind, time, commitment, content })
    }
}
