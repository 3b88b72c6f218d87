//! Entries that are no decisions (first sight, evidence, scans, incidents, …), found by kind and by what
//! they are about.

use crate::bundles;
use crate::decisions::RecordedEvent;
use crate::entry::{Entry, EntryRow};
use crate::error::StoreError;
use crate::search::StoredEntry;
use crate::store::Store;
use crate::tiles::{to_i64, to_u64};
use countersign_core::{Sha256Digest, Timestamp};
use countersign_ledger::KeyHistory;
use serde_json::Value;

/// An entry that is to be recorded beside decisions.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// An in-toto statement with a predicate type of its own.
    pub statement: Value,
    /// When it happened.
    pub time: Timestamp,
    /// What it is about: purls, `sha256:…`, names of other things. It is found by these.
    pub about: Vec<String>,
    /// Names what it says: an event of the same name is not recorded a second time.
    pub once: Option<String>,
}

/// What entries are found by: 16 bytes of a hash, so that a long name costs no more than a short one.
pub(crate) fn subject_key(subject: &str) -> Vec<u8> {
    Sha256Digest::of(subject.as_bytes()).0[..16].to_vec()
}

/// Noted with a decision about bytes that the store keeps.
pub(crate) fn kept_here(sha256: &Sha256Digest) -> String {
    format!("kept sha256:{sha256}")
}

impl NewEvent {
    pub(crate) fn subjects(&self) -> Vec<Vec<u8>> {
        self.about.iter().chain(&self.once).map(|s| subject_key(s)).collect()
    }
}

impl Store {
    /// Records an event and what it is about.
    ///
    /// # Errors
    /// As [`Store::record_event`].
    pub async fn record_about(&self, event: NewEvent) -> Result<RecordedEvent, StoreError> {
        let about = event.subjects();
        let entry = Entry::new(
            &self.ledger()?.keys.current().signing,
            &event.statement,
            event.time,
            EntryRow::Event,
        )?;
        self.append_entry(Entry { about, ..entry }).await
    }

    /// Those of the events that are not recorded yet, by their names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new_ones(&self, events: Vec<NewEvent>) -> Result<Vec<NewEvent>, StoreError> {
        let mut conn = self.reader().await?;
        let mut out = Vec::with_capacity(events.len());
        for event in events {
            let known = match &event.once {
                None => None,
                Some(once) => {
                    sqlx::query_scalar::<_, i64>("SELECT idx FROM about WHERE subject = ? LIMIT 1")
                        .bind(subject_key(once))
                        .fetch_optional(&mut *conn)
                        .await
                        .map_err(|e| self.sql_error(e))?
                }
            };
            if known.is_none() {
                out.push(event);
            }
        }
        Ok(out)
    }

    /// The events about any of these subjects, newest first. What was forgotten is left out.
    ///
    /// # Errors
    /// When the database fails, or an entry is damaged.
    pub async fn events_about(
        &self,
        subjects: &[String],
        limit: u32,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let mut places = std::collections::BTreeSet::new();
        for subject in subjects {
            let found: Vec<i64> = sqlx::query_scalar(
                "SELECT idx FROM about WHERE subject = ? ORDER BY idx DESC LIMIT ?",
            )
            .bind(subject_key(subject))
            .bind(limit)
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| self.sql_error(e))?;
            places.extend(found);
        }
        let newest: Vec<i64> =
            places.into_iter().rev().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        self.entries_at(&newest).await
    }

    /// The events of a kind in a time, oldest first. What was forgotten is left out.
    ///
    /// # Errors
    /// When the database fails, or an entry is damaged.
    pub async fn events_of(
        &self,
        kind: &str,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        let places: Vec<i64> = sqlx::query_scalar(
            "SELECT idx FROM events WHERE kind = ? AND time >= ? AND time < ? ORDER BY idx",
        )
        .bind(kind)
        .bind(since.0)
        .bind(until.0)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        self.entries_at(&places).await
    }

    /// How many events of each kind there are in a time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_events(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT kind, count(*) FROM events WHERE time >= ? AND time < ? GROUP BY kind",
        )
        .bind(since.0)
        .bind(until.0)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        Ok(rows.into_iter().map(|(k, n)| (k, u64::try_from(n).unwrap_or(0))).collect())
    }

    async fn entries_at(&self, places: &[i64]) -> Result<Vec<StoredEntry>, StoreError> {
        let keys = self.key_history().await?;
        let mut out = Vec::with_capacity(places.len());
        for place in places {
            out.extend(self.content_at(*place, keys.as_ref()).await?);
        }
        Ok(out)
    }

    /// The entry at a place; `None` when there is none, or its content was forgotten.
    ///
    /// # Errors
    /// When the database fails, or the entry is damaged.
    pub async fn entry(&self, index: u64) -> Result<Option<StoredEntry>, StoreError> {
        let keys = self.key_history().await?;
        self.content_at(to_i64(index), keys.as_ref()).await
    }

    async fn content_at(
        &self,
        place: i64,
        keys: Option<&KeyHistory>,
    ) -> Result<Option<StoredEntry>, StoreError> {
        let path = self.paths().database();
        let mut conn = self.reader().await?;
        let kept = bundles::entry_at(&mut conn, &path, to_u64(place, &path)?).await?;
        let Some(kept) = kept else { return Ok(None) };
        Ok(self.raw_entry(&kept, keys)?.content)
    }
}
