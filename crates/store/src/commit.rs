//! The ledger's commit: one writer task a process, group commit, and no fork between processes.
//!
//! # Steps, and what a crash after each costs
//!
//! 1. **Sign.** The caller signs its statement and waits. A crash loses it; nobody was told.
//! 2. **Begin.** `BEGIN IMMEDIATE` takes the database's one write lock, across processes. A crash
//!    gives the lock back.
//! 3. **Compare.** The state row is read under the lock. If another process appended, the edge is
//!    read again from there. A state behind what this process saw, or another history, is an error.
//! 4. **Write.** Entries, records, tiles and the new signed checkpoint, then the swap: the state row
//!    is replaced only where it still has the size compared in step 3. Bundles that are complete now
//!    are folded (`bundles`). A crash leaves the transaction without its commit record, and SQLite
//!    forgets it: the entries of a bundle are then rows as before. The signed checkpoint existed in memory only:
//!    no one can have seen two checkpoints of one size.
//! 5. **Commit.** SQLite appends the commit record and syncs (`synchronous=FULL`). From here the
//!    entries are in the ledger for good. A crash now means that callers never heard of it: the
//!    entries stay, nothing was released on their account, and the caller decides anew.
//! 6. **Publish.** The publisher, a task of its own, copies what is new to files: tiles by write and
//!    rename, the checkpoint last, so that a checkpoint is never visible before the tiles it needs. A
//!    crash leaves files behind the database, and a temporary one; the next commit or open publishes
//!    from the database again (`publish`).
//! 7. **Resolve.** Callers get their [`Durable`]. A failure of step 6 does not withhold it: the
//!    database is the truth, and the files are its copy. When few wait, they wait for step 6 too, so
//!    that what a person sees recorded is published; when many do, step 6 runs beside the next
//!    commits and takes several of them at once.
//!
//! While nobody waits, the task folds complete bundles that lie as rows: those of a database that an
//! earlier version made. Each few of them are a transaction of their own, after which they are folded,
//! and before which they are not.
//!
//! An error in step 5 may, rarely, hide a commit that did happen. The callers are told it failed,
//! and refuse: an entry without an admission harms nobody, an admission without an entry must not be.

use crate::bundles::{self, WIDTH};
use crate::entry::{Durable, Entry};
use crate::error::StoreError;
use crate::keyring::Keyring;
use crate::publish::Publisher;
use crate::rows;
use crate::steps::{Step, Steps};
use crate::store::{Paths, Writer};
use crate::tiles::{LedgerState, ledger_state, load_edge, root_at, save, to_i64};
use countersign_ledger::{Edge, Hash, Plan};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, oneshot};

/// Most entries in one commit, which bounds the transaction and its memory.
const MAX_BATCH: usize = 1024;

/// Callers that may wait in line before the next one waits for a place.
const QUEUE: usize = 4096;

/// Jobs in one commit up to which their callers also wait for the publication. More of them are a
/// load under which waiting for files would only make the next commit larger and later.
const FEW: usize = 4;

/// Bundles of an earlier version that are folded in one transaction. Whoever comes meanwhile waits for
/// it: some milliseconds.
const FOLDS: u64 = 4;

/// Entries that are to be appended together, and who waits for them.
pub(crate) struct Job {
    pub(crate) entries: Vec<Entry>,
    pub(crate) done: oneshot::Sender<Result<Appended, StoreError>>,
}

/// Where a job's entries are: consecutive places from `first`.
#[derive(Debug, Clone)]
pub(crate) struct Appended {
    pub(crate) first: u64,
    pub(crate) durable: Durable,
}

/// The writer task's state.
pub(crate) struct Committer {
    database: PathBuf,
    paths: Paths,
    steps: Steps,
    keys: Keyring,
    publisher: Publisher,
    writer: Arc<Mutex<Option<Writer>>>,
    /// The edge after the last commit that this process knows to have happened.
    edge: Option<Edge>,
    /// Size and root of the newest checkpoint that this process has seen.
    seen: (u64, Hash),
    /// From which bundle on there may be some that are complete and not folded.
    unfolded: Option<u64>,
}

impl Committer {
    /// Starts the writer task. It ends when the last sender is gone.
    pub(crate) fn spawn(
        paths: &Paths,
        keys: Keyring,
        publisher: Publisher,
        writer: Arc<Mutex<Option<Writer>>>,
        state: &LedgerState,
    ) -> mpsc::Sender<Job> {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let seen = (state.size, state.root);
        let database = paths.database();
        let steps = paths.steps.clone();
        let paths = paths.clone();
        let (edge, unfolded) = (None, Some(0));
        let committer =
            Self { database, paths, steps, keys, publisher, writer, edge, seen, unfolded };
        tokio::spawn(committer.run(jobs));
        sender
    }

    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = self.next(&mut jobs).await {
            // Whoever was woken by the last commit gets to line up; nobody waits for a clock.
            tokio::task::yield_now().await;
            let mut size = first.entries.len();
            let mut batch = vec![first];
            while size < MAX_BATCH {
                let Ok(job) = jobs.try_recv() else { break };
                size = size.saturating_add(job.entries.len());
                batch.push(job);
            }
            self.commit_batch(batch).await;
        }
    }

    /// The next job; while there is none, what was left unfolded is folded.
    async fn next(&mut self, jobs: &mut mpsc::Receiver<Job>) -> Option<Job> {
        while let Some(from) = self.unfolded {
            match jobs.try_recv() {
                Ok(job) => return Some(job),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            self.unfolded = self.fold_some(from).await.unwrap_or_else(|e| {
                if !matches!(e, StoreError::Closed) {
                    tracing::warn!(error = %e, "older entries stay unfolded until the next start");
                }
                None
            });
            tokio::task::yield_now().await;
        }
        jobs.recv().await
    }

    /// Folds a few bundles from `from` on, and gives the one to go on from.
    async fn fold_some(&self, from: u64) -> Result<Option<u64>, StoreError> {
        let mut guard = self.writer.lock().await;
        let writer = guard.as_mut().ok_or(StoreError::Closed)?;
        writer.heal(&self.database).await?;
        let path = &self.database;
        let size = self.seen.0;
        let Some(first) = bundles::unfolded_from(&mut writer.durable, path, from, size).await?
        else {
            return Ok(None);
        };
        let err = |e| StoreError::sql(path, e);
        self.steps.at(Step::Begin, path)?;
        let mut tx = writer.durable.begin_with("BEGIN IMMEDIATE").await.map_err(err)?;
        let upto = (size / WIDTH).min(first.saturating_add(FOLDS));
        for bundle in first..upto {
            bundles::fold(&mut tx, path, bundle).await?;
            self.steps.at(Step::Folded, path)?;
        }
        tx.commit().await.map_err(err)?;
        Ok(Some(upto))
    }

    /// Commits a batch. A record that the database refuses spoils only its own job.
    async fn commit_batch(&mut self, batch: Vec<Job>) {
        let entries: Vec<&Entry> = batch.iter().flat_map(|j| &j.entries).collect();
        let outcome = self.commit(&entries).await;
        let refused = matches!(
            outcome,
            Err(StoreError::Exists { .. }
                | StoreError::NotFound { .. }
                | StoreError::PinChanged { .. })
        );
        if matches!(outcome, Err(StoreError::KeyRotated)) || refused && batch.len() > 1 {
            for mut job in batch {
                let outcome = self.commit_alone(&mut job.entries).await;
                drop(job.done.send(outcome));
            }
            return self.publisher.publish(self.seen.0);
        }
        if outcome.is_ok() {
            self.publisher.publish(self.seen.0);
            if batch.len() <= FEW {
                self.publisher.reached(self.seen.0).await;
            }
        }
        drop(self.steps.at(Step::Resolve, &self.database));
        let mut first = outcome.as_ref().map_or(0, |a| a.first);
        for job in batch {
            let places = u64::try_from(job.entries.len()).unwrap_or(u64::MAX);
            let answer = outcome.clone().map(|a| Appended { first, ..a });
            first = first.saturating_add(places);
            // A caller that went away is no error: its entries are in the ledger all the same.
            drop(job.done.send(answer));
        }
    }

    /// Commits one job, signed anew when the ledger's key was rotated since it was signed.
    async fn commit_alone(&mut self, entries: &mut [Entry]) -> Result<Appended, StoreError> {
        let outcome = self.commit(&entries.iter().collect::<Vec<_>>()).await;
        let rotates = entries.iter().any(Entry::is_rotation);
        if rotates || !matches!(outcome, Err(StoreError::KeyRotated)) {
            return outcome;
        }
        let keys = self.keys.current();
        entries.iter_mut().try_for_each(|e| e.sign_anew(&keys.signing))?;
        self.commit(&entries.iter().collect::<Vec<_>>()).await
    }

    async fn commit(&mut self, entries: &[&Entry]) -> Result<Appended, StoreError> {
        let writer = Arc::clone(&self.writer);
        let mut guard = writer.lock().await;
        let writer = guard.as_mut().ok_or(StoreError::Closed)?;
        writer.heal(&self.database).await?;
        let conn = &mut writer.durable;
        let (plan, checkpoint) = self.transaction(conn, entries).await?;
        // From here on the entries are in the ledger, whatever fails: an error must not say otherwise.
        self.seen = (plan.new_size, plan.root);
        if let Err(e) = self.steps.at(Step::Committed, &self.database) {
            tracing::warn!(error = %e, "a step after the commit failed");
        }
        let durable = Durable::new(plan.new_size, checkpoint.into());
        let appended = Appended { first: plan.old_size, durable };
        self.edge = Some(plan.edge);
        Ok(appended)
    }

    /// Steps 2 to 5. Dropping the transaction on any error rolls it back.
    async fn transaction(
        &self,
        conn: &mut SqliteConnection,
        entries: &[&Entry],
    ) -> Result<(Plan, String), StoreError> {
        let err = |e| StoreError::sql(&self.database, e);
        let step = |step| self.steps.at(step, &self.database);
        step(Step::Begin)?;
        let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.map_err(err)?;
        let edge = self.compare(&mut tx).await?;
        step(Step::Compared)?;
        let commitments: Vec<_> = entries.iter().map(|e| e.commitment).collect();
        let keys = self.keys.current();
        // What the old key signed cannot follow a rotation, also in the rotation's own commit.
        let rotates = entries.len() > 1 && entries.iter().any(|e| e.is_rotation());
        if rotates || entries.iter().any(|e| e.signer != keys.signing.verifier().id()) {
            return Err(StoreError::KeyRotated);
        }
        let plan = edge.plan(&commitments, keys.signing.name()).map_err(StoreError::ledger)?;
        let checkpoint = plan.checkpoint.sign_all(&keys.all()).map_err(StoreError::ledger)?;
        rows::insert(&mut tx, &self.database, plan.old_size, entries).await?;
        step(Step::Rows)?;
        let mut folded = Vec::new();
        for bundle in plan.old_size / WIDTH..plan.new_size / WIDTH {
            if bundles::fold(&mut tx, &self.database, bundle).await? {
                folded.push(bundle);
            }
            step(Step::Folded)?;
        }
        save(&mut tx, &self.database, &plan.tiles, &folded).await?;
        step(Step::Tiles)?;
        let swapped = sqlx::query(
            "UPDATE ledger_state SET size = ?, root = ?, checkpoint = ? WHERE size = ? AND root = ?",
        )
        .bind(to_i64(plan.new_size))
        .bind(&plan.root.0[..])
        .bind(&checkpoint)
        .bind(to_i64(plan.old_size))
        .bind(&edge.root().0[..])
        .execute(&mut *tx)
        .await
        .map_err(err)?;
        if swapped.rows_affected() != 1 {
            return Err(StoreError::Forked { size: plan.old_size });
        }
        step(Step::Swapped)?;
        tx.commit().await.map_err(err)?;
        Ok((plan, checkpoint))
    }

    /// Step 3: the edge to append to, after comparing the state with what was seen before.
    async fn compare(&self, tx: &mut SqliteConnection) -> Result<Edge, StoreError> {
        let state = ledger_state(tx, &self.database).await?;
        let state =
            state.ok_or(StoreError::corrupt(&self.database, "the ledger's state is gone"))?;
        let (seen_size, seen_root) = self.seen;
        if state.size < seen_size {
            return Err(StoreError::RolledBack { published: seen_size, database: state.size });
        }
        self.keys.follow(&self.paths, &state)?;
        if let Some(edge) = self.edge.as_ref().filter(|e| e.size() == state.size) {
            return if state.root == seen_root {
                Ok(edge.clone())
            } else {
                Err(StoreError::Forked { size: state.size })
            };
        }
        // Another process was here: its history must continue ours.
        if root_at(tx, &self.database, seen_size).await? != seen_root {
            return Err(StoreError::Forked { size: seen_size });
        }
        let edge = load_edge(tx, &self.database, state.size).await?;
        if edge.root() != state.root {
            return Err(StoreError::corrupt(&self.database, "the tiles do not lead to the root"));
        }
        Ok(edge)
    }
}
