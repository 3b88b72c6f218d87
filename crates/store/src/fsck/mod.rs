//! Checking a store: does everything that is derived still follow from what it is derived from?
//!
//! - `entries`: every entry against its commitment, its signature, its record and what is published
//!   of it, and the tree that they make against the checkpoint;
//! - `tree`: the published files alone: every tile from the published entries, and the root;
//! - `blobs`: admitted artifacts against what lies under their digests.

mod blobs;
mod entries;
mod forgotten;
mod tree;

use crate::bundles;
use crate::error::StoreError;
use crate::publish::published_size;
use crate::store::Store;
use crate::tiles::{LedgerState, ledger_state, root_at, to_u64};
use countersign_ledger::verify_checkpoint;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

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
    /// Entries of the published files that were read, and from which every published tile was
    /// derived again; 0 for a quick check.
    pub published: u64,
    /// Artifacts whose last decision admits them.
    pub admitted: u64,
    /// Those of them whose bytes are not here: they were judged where they lay, or were forgotten.
    pub without_blob: u64,
    /// Artifacts whose bytes were forgotten, as an entry says.
    pub forgotten_blobs: u64,
    /// Entries whose content was forgotten, as an entry says; their commitments stay.
    pub forgotten: u64,
    /// Blobs that no entry names: a crash came before their decision.
    pub unnamed_blobs: u64,
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
    /// commitment and signature, its decision or waiver against the signed statement; the published
    /// files, of which every tile is derived again from the published entries; and that each admitted
    /// artifact's blob has the length and place of one (its bytes are hashed whenever it is used).
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
            let published = published.min(state.size);
            self.check_entries(&mut tx, &state, published, &mut report).await?;
            self.check_files(&mut report).await?;
            self.check_blobs(&mut tx, &mut report).await?;
            self.check_forgotten(&mut tx, &mut report).await?;
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
        let path = self.paths().database();
        let (entries, end, signed) = bundles::counts(conn, &path).await?;
        let decisions: i64 = sqlx::query_scalar("SELECT count(*) FROM decisions")
            .fetch_one(conn)
            .await
            .map_err(|e| self.sql_error(e))?;
        let decisions = to_u64(decisions, &path)?;
        (report.entries, report.decisions) = (entries, decisions);
        if (entries, end) != (state.size, state.size) {
            let size = state.size;
            report
                .problem(format!("the checkpoint covers {size} entries, and there are {entries}"));
        }
        if signed != decisions {
            report.problem(format!("{signed} decisions are signed, and {decisions} are recorded"));
        }
        Ok(())
    }
}
