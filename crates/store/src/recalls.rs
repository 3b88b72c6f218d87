//! Recalls: what was admitted and is not any more, found by judging it again.
//!
//! A recall is *running* from its first row to its last. Its rows are written in this order, so
//! that a crash anywhere costs no more than a page that is judged again:
//!
//! 1. the recall itself, with the grounds that it judges under;
//! 2. for each page, what is about to be recalled, without a new decision yet;
//! 3. the new decisions, in the ledger;
//! 4. their places, beside what was announced in 2;
//! 5. the place up to which all is done.
//!
//! Whoever finds a running recall settles what step 3 has recorded and step 4 has not, forgets
//! what step 2 announced and step 3 never reached, and goes on from 5.

use crate::error::StoreError;
use crate::store::Store;
use crate::tiles::{to_i64, to_u64};
use countersign_core::{Decision, Purl, Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite};
use std::fs::File;

/// Rows of one statement: 9 columns times this stays below SQLite's 32,766 parameters.
const CHUNK: usize = 512;

/// Held by whoever recalls: one at a time, across processes. Freed when it is dropped.
#[derive(Debug)]
pub struct RecallLock {
    _file: File,
}

/// Where a recall stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecallState {
    /// Under way, or cut off: the next one takes it up.
    Running,
    /// Everything was looked at.
    Done,
    /// The grounds changed before its end; another recall looked at the rest.
    Superseded,
}

impl RecallState {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Superseded => "superseded",
        }
    }
}

/// What a recall has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecallCounts {
    /// Admitted artifacts that were looked at.
    pub looked: u64,
    /// Those that the change may concern.
    pub affected: u64,
    /// Those that were judged again.
    pub judged: u64,
    /// Those that should have been and could not be.
    pub not_done: u64,
    /// Those whose evidence rests on trust roots that changed, and was not verified anew.
    pub not_anew: u64,
}

/// A recall that begins.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRecall {
    /// When.
    pub started: Timestamp,
    /// What changed, in words.
    pub why: Vec<String>,
    /// What was judged under before, where that is known.
    pub old_grounds: Option<Value>,
    /// What is judged under now.
    pub new_grounds: Value,
    /// The ledger's size when it began: what is older is judged when the recall is done.
    pub horizon: u64,
}

/// A recall as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecall {
    /// Its number, from 1.
    pub id: i64,
    /// How it began.
    pub new: NewRecall,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Where it stands.
    pub state: RecallState,
    /// The place in the ledger from which on artifacts are still to be looked at.
    pub next: u64,
    /// What it counted.
    pub counts: RecallCounts,
    /// How many artifacts it recalled.
    pub recalled: u64,
    /// The place of its own entry in the ledger.
    pub index: Option<u64>,
}

/// An artifact whose latest decision admits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedRow {
    /// The place of that decision in the ledger.
    pub index: u64,
    /// The version.
    pub purl: Purl,
    /// The file.
    pub file_name: String,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    /// When it was made.
    pub time: Timestamp,
    /// The facts' member `version.advised_as`, as JSON, where it is there.
    pub advised_as: Option<String>,
}

/// A decision and the facts that it rests on, as they were recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactsRow {
    /// Its place in the ledger.
    pub index: u64,
    /// The version, as text.
    pub purl: String,
    /// The decision.
    pub decision: Decision,
    /// The facts, as JSON.
    pub facts: String,
    /// When it was made.
    pub time: Timestamp,
}

/// One artifact that a recall recalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecalledRow {
    /// The place of the decision that admitted it.
    pub old_index: u64,
    /// When that was.
    pub old_time: Timestamp,
    /// The place of the decision that does not; `None` until it is recorded.
    pub new_index: Option<u64>,
    /// The version.
    pub purl: Purl,
    /// The file.
    pub file_name: String,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    /// The new verdict.
    pub verdict: String,
    /// The leading rule.
    pub rule: String,
    /// The leading reason.
    pub reason: String,
    /// What the rule fired on.
    pub detail: String,
    /// The findings that stand against it.
    pub ids: Vec<String>,
    /// The version that fixes them, where one does.
    pub fixed: Option<String>,
}

impl Store {
    /// Waits until no other recall is under way on this store, for at most a minute.
    ///
    /// # Errors
    /// When another one takes longer, or the file system fails.
    pub async fn recall_lock(&self) -> Result<RecallLock, StoreError> {
        let path = self.paths().dir.join("recall.lock");
        Ok(RecallLock { _file: crate::lock::exclusive(path).await? })
    }

    /// Begins a recall; returns its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_recall(&self, new: &NewRecall) -> Result<i64, StoreError> {
        let why = serde_json::to_string(&new.why).map_err(StoreError::invalid)?;
        let mut writer = self.writer().await?;
        let done = sqlx::query(
            "INSERT INTO recalls (started, state, why, old_grounds, new_grounds, horizon, next, \
             looked, affected, judged, not_done, not_anew) \
             VALUES (?, 'running', ?, ?, ?, ?, 0, 0, 0, 0, 0, 0)",
        )
        .bind(new.started.0)
        .bind(why)
        .bind(new.old_grounds.as_ref().map(Value::to_string))
        .bind(new.new_grounds.to_string())
        .bind(to_i64(new.horizon))
        .execute(&mut writer.durable)
        .await
        .map_err(|e| self.sql_error(e))?;
        Ok(done.last_insert_rowid())
    }

    /// Notes how far a recall is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn advance_recall(
        &self,
        id: i64,
        next: u64,
        counts: &RecallCounts,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query(
            "UPDATE recalls SET next = ?, looked = ?, affected = ?, judged = ?, not_done = ?, \
             not_anew = ? WHERE id = ?",
        )
        .bind(to_i64(next))
        .bind(to_i64(counts.looked))
        .bind(to_i64(counts.affected))
        .bind(to_i64(counts.judged))
        .bind(to_i64(counts.not_done))
        .bind(to_i64(counts.not_anew))
        .bind(id)
        .execute(&mut writer.durable)
        .await
        .map(drop)
        .map_err(|e| self.sql_error(e))
    }

    /// Ends a recall. `index` is the place of its entry in the ledger.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_recall(
        &self,
        id: i64,
        state: RecallState,
        now: Timestamp,
        index: Option<u64>,
    ) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query("UPDATE recalls SET state = ?, finished = ?, idx = ? WHERE id = ?")
            .bind(state.name())
            .bind(now.0)
            .bind(index.map(to_i64))
            .bind(id)
            .execute(&mut writer.durable)
            .await
            .map(drop)
            .map_err(|e| self.sql_error(e))
    }

    /// Notes that everything below `horizon` is judged under the grounds of a recall that is done.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn move_horizon(&self, id: i64, horizon: u64) -> Result<(), StoreError> {
        let mut writer = self.writer().await?;
        sqlx::query("UPDATE recalls SET horizon = max(horizon, ?) WHERE id = ?")
            .bind(to_i64(horizon))
            .bind(id)
            .execute(&mut writer.durable)
            .await
            .map(drop)
            .map_err(|e| self.sql_error(e))
    }

    /// The newest recalls, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recalls(&self, limit: u32) -> Result<Vec<StoredRecall>, StoreError> {
        self.recalls_where("true", limit).await
    }

    /// The recall of that number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recall(&self, id: i64) -> Result<Option<StoredRecall>, StoreError> {
        Ok(self.recalls_where(&format!("id = {id}"), 1).await?.pop())
    }

    /// The newest recall in a state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_recall(
        &self,
        state: RecallState,
    ) -> Result<Option<StoredRecall>, StoreError> {
        Ok(self.recalls_where(&format!("state = '{}'", state.name()), 1).await?.pop())
    }

    async fn recalls_where(
        &self,
        condition: &str,
        limit: u32,
    ) -> Result<Vec<StoredRecall>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT id, started, finished, state, why, old_grounds, new_grounds, horizon, next, \
             looked, affected, judged, not_done, not_anew, idx, \
             (SELECT count(*) FROM recalled WHERE recall = recalls.id) FROM recalls WHERE ",
        );
        query.push(condition).push(" ORDER BY id DESC LIMIT ").push_bind(limit);
        let rows = query
            .build()
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| self.sql_error(e))?;
        rows.iter().map(|row| self.stored_recall(row)).collect()
    }

    fn stored_recall(&self, row: &SqliteRow) -> Result<StoredRecall, StoreError> {
        let json = |text: &str| serde_json::from_str(text).map_err(|e| self.corrupt(e));
        let number = |at: usize| to_u64(self.get(row, at)?, &self.paths().database());
        let old: Option<String> = self.get(row, 5)?;
        let state = Value::String(self.get(row, 3)?);
        Ok(StoredRecall {
            id: self.get(row, 0)?,
            new: NewRecall {
                started: Timestamp(self.get(row, 1)?),
                why: serde_json::from_str(&self.get::<String>(row, 4)?)
                    .map_err(|e| self.corrupt(e))?,
                old_grounds: old.as_deref().map(json).transpose()?,
                new_grounds: json(&self.get::<String>(row, 6)?)?,
                horizon: number(7)?,
            },
            finished: self.get::<Option<i64>>(row, 2)?.map(Timestamp),
            state: serde_json::from_value(state).map_err(|e| self.corrupt(e))?,
            next: number(8)?,
            counts: RecallCounts {
                looked: number(9)?,
                affected: number(10)?,
                judged: number(11)?,
                not_done: number(12)?,
                not_anew: number(13)?,
            },
            recalled: number(15)?,
            index: self
                .get::<Option<i64>>(row, 14)?
                .map(|i| to_u64(i, &self.paths().database()))
                .transpose()?,
        })
    }

    /// Artifacts whose latest decision admits them, from a place in the ledger on, oldest decision
    /// first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn admitted_from(
        &self,
        from: u64,
        limit: u32,
    ) -> Result<Vec<AdmittedRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT idx, purl, file_name, sha256, time, CASE WHEN ecosystem = 'debian' \
             THEN json_extract(facts, '$.version.advised_as') END FROM decisions d \
             WHERE verdict = 'admit' AND idx >= ? AND NOT EXISTS (SELECT 1 FROM decisions l \
             WHERE l.sha256 = d.sha256 AND l.idx > d.idx AND l.purl = d.purl \
             AND l.file_name = d.file_name) ORDER BY idx LIMIT ?",
        )
        .bind(to_i64(from))
        .bind(limit)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        let path = self.paths().database();
        let read = |row: &SqliteRow| -> Result<AdmittedRow, StoreError> {
            Ok(AdmittedRow {
                index: to_u64(self.get(row, 0)?, &path)?,
                purl: self.get::<String>(row, 1)?.parse().map_err(|e| self.corrupt(e))?,
                file_name: self.get(row, 2)?,
                sha256: self.digest(&self.get::<String>(row, 3)?)?,
                time: Timestamp(self.get(row, 4)?),
                advised_as: self.get(row, 5)?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// The facts of decisions as their JSON text, in the order of their places. What is not there
    /// is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn facts_at(&self, indexes: &[u64]) -> Result<Vec<(u64, String)>, StoreError> {
        let mut out = Vec::with_capacity(indexes.len());
        let mut conn = self.reader().await?;
        for chunk in indexes.chunks(CHUNK) {
            let mut query =
                QueryBuilder::<Sqlite>::new("SELECT idx, facts FROM decisions WHERE idx IN (");
            let mut list = query.separated(", ");
            chunk.iter().for_each(|i| {
                list.push_bind(to_i64(*i));
            });
            query.push(") ORDER BY idx");
            let rows = query.build().persistent(chunk.len() == CHUNK).fetch_all(&mut *conn).await;
            for row in rows.map_err(|e| self.sql_error(e))? {
                let index: i64 = row.try_get(0).map_err(|e| self.sql_error(e))?;
                let facts: String = row.try_get(1).map_err(|e| self.sql_error(e))?;
                out.push((to_u64(index, &self.paths().database())?, facts));
            }
        }
        Ok(out)
    }

    /// Decisions with the facts that they rest on, from place `from` and time `since` on, in order.
    ///
    /// # Errors
    /// When the database fails or a record is damaged.
    pub async fn facts_from(
        &self,
        from: u64,
        since: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<FactsRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT idx, purl, decision, facts, time FROM decisions \
             WHERE idx >= ? AND time >= ? ORDER BY idx LIMIT ?",
        )
        .bind(to_i64(from))
        .bind(since.map_or(i64::MIN, |t| t.0))
        .bind(limit)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        let mut out = Vec::with_capacity(rows.len());
        for row in &rows {
            let decision: String = self.get(row, 2)?;
            out.push(FactsRow {
                index: to_u64(self.get(row, 0)?, &self.paths().database())?,
                purl: self.get(row, 1)?,
                decision: serde_json::from_str(&decision).map_err(|e| self.corrupt(e))?,
                facts: self.get(row, 3)?,
                time: Timestamp(self.get(row, 4)?),
            });
        }
        Ok(out)
    }

    /// Writes what a recall is about to recall, or has found recalled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan_recalled(&self, id: i64, rows: &[RecalledRow]) -> Result<(), StoreError> {
        for chunk in rows.chunks(CHUNK) {
            let mut query = QueryBuilder::<Sqlite>::new(
                "INSERT OR REPLACE INTO recalled (recall, old_idx, new_idx, verdict, rule, \
                 reason, detail, ids, fixed) ",
            );
            query.push_values(chunk, |mut to, r| {
                to.push_bind(id);
                to.push_bind(to_i64(r.old_index));
                to.push_bind(r.new_index.map(to_i64));
                to.push_bind(r.verdict.as_str());
                to.push_bind(r.rule.as_str());
                to.push_bind(r.reason.as_str());
                to.push_bind(r.detail.as_str());
                to.push_bind(serde_json::json!(r.ids).to_string());
                to.push_bind(r.fixed.as_deref());
            });
            let mut writer = self.writer().await?;
            let done = query.build().persistent(false).execute(&mut writer.durable).await;
            done.map_err(|e| self.sql_error(e))?;
        }
        Ok(())
    }

    /// Notes the new decisions of what was announced: pairs of the old and the new place.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle_recalled(&self, id: i64, pairs: &[(u64, u64)]) -> Result<(), StoreError> {
        for chunk in pairs.chunks(CHUNK) {
            let mut query =
                QueryBuilder::<Sqlite>::new("UPDATE recalled SET new_idx = p.column2 FROM (");
            query.push_values(chunk, |mut to, (old, new)| {
                to.push_bind(to_i64(*old));
                to.push_bind(to_i64(*new));
            });
            query.push(") p WHERE recalled.old_idx = p.column1 AND recalled.recall = ");
            query.push_bind(id);
            let mut writer = self.writer().await?;
            let done = query.build().persistent(false).execute(&mut writer.durable).await;
            done.map_err(|e| self.sql_error(e))?;
        }
        Ok(())
    }

    /// Takes up a recall that was cut off: what was recorded is settled, what was only announced is
    /// forgotten and will be judged again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recover_recall(&self, id: i64) -> Result<(), StoreError> {
        let settle = "UPDATE recalled SET new_idx = (SELECT max(l.idx) FROM decisions l \
             JOIN decisions o ON o.idx = recalled.old_idx WHERE l.sha256 = o.sha256 \
             AND l.purl = o.purl AND l.file_name = o.file_name AND l.idx > o.idx \
             AND l.verdict IN ('hold', 'refuse')) WHERE recall = ? AND new_idx IS NULL";
        let forget = "DELETE FROM recalled WHERE recall = ? AND new_idx IS NULL";
        let mut writer = self.writer().await?;
        for statement in [settle, forget] {
            let done = sqlx::query(statement).bind(id).execute(&mut writer.durable).await;
            done.map_err(|e| self.sql_error(e))?;
        }
        Ok(())
    }

    /// What a recall recalled, in the order of the old decisions.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recalled(&self, id: i64) -> Result<Vec<RecalledRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT r.old_idx, d.time, r.new_idx, d.purl, d.file_name, d.sha256, r.verdict, \
             r.rule, r.reason, r.detail, r.ids, r.fixed FROM recalled r \
             JOIN decisions d ON d.idx = r.old_idx WHERE r.recall = ? ORDER BY r.old_idx",
        )
        .bind(id)
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        rows.iter().map(|row| self.recalled_row(row)).collect()
    }

    /// Artifacts that were admitted, were refused when they were asked for since the ledger had
    /// `since` entries, and that no recall has named yet. Their findings are left out here.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refused_since(&self, since: u64) -> Result<Vec<RecalledRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT o.idx, o.time, n.idx, n.purl, n.file_name, n.sha256, n.verdict, \
             coalesce(json_extract(n.decision, '$.fired[0].rule'), ''), coalesce(n.reason, ''), \
             coalesce(json_extract(n.decision, '$.fired[0].detail'), ''), '[]', NULL \
             FROM decisions n JOIN decisions o ON o.idx = (SELECT max(p.idx) FROM decisions p \
             WHERE p.sha256 = n.sha256 AND p.idx < n.idx AND p.purl = n.purl \
             AND p.file_name = n.file_name) WHERE n.idx >= ? AND n.verdict IN ('hold', 'refuse') \
             AND o.verdict = 'admit' AND NOT EXISTS \
             (SELECT 1 FROM recalled r WHERE r.old_idx = o.idx) AND NOT EXISTS \
             (SELECT 1 FROM decisions l WHERE l.sha256 = n.sha256 AND l.idx > n.idx \
             AND l.purl = n.purl AND l.file_name = n.file_name AND l.verdict = 'admit') \
             ORDER BY o.idx",
        )
        .bind(to_i64(since))
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| self.sql_error(e))?;
        rows.iter().map(|row| self.recalled_row(row)).collect()
    }

    fn recalled_row(&self, row: &SqliteRow) -> Result<RecalledRow, StoreError> {
        let path = self.paths().database();
        let new: Option<i64> = self.get(row, 2)?;
        Ok(RecalledRow {
            old_index: to_u64(self.get(row, 0)?, &path)?,
            old_time: Timestamp(self.get(row, 1)?),
            new_index: new.map(|i| to_u64(i, &path)).transpose()?,
            purl: self.get::<String>(row, 3)?.parse().map_err(|e| self.corrupt(e))?,
            file_name: self.get(row, 4)?,
            sha256: self.digest(&self.get::<String>(row, 5)?)?,
            verdict: self.get(row, 6)?,
            rule: self.get(row, 7)?,
            reason: self.get(row, 8)?,
            detail: self.get(row, 9)?,
            ids: serde_json::from_str(&self.get::<String>(row, 10)?)
                .map_err(|e| self.corrupt(e))?,
            fixed: self.get(row, 11)?,
        })
    }
}
