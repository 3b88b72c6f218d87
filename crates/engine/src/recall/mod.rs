//! Recall: when what decisions rest on changes, everything admitted that the change may concern is
//! judged again, and what is no longer admissible is named, with who fetched it.
//!
//! Serving does not wait for a recall: it judges anew whatever is asked for under new grounds. A
//! recall makes known what nobody asks for. New decisions are new entries of the ledger, and the
//! recall itself is one; old entries stay.
//!
//! Two numbers say what is left to do. Everything below the *horizon* of the last finished recall
//! was judged under its grounds; so what differs between those grounds and the present ones, and
//! all that was admitted since, is what has to be judged. A recall that was cut off goes on from
//! its own *next* (see `countersign_store`'s `recalls`).

mod affected;
mod identity;
mod judge;
mod notify;
mod page;
mod replay;
mod report;
mod watch;

#[cfg(test)]
mod tests;

pub use identity::GroundsId;
pub use notify::RecallConfig;
pub use replay::{ReplayExample, ReplayGroup, ReplayReport};
pub use report::{Fetcher, RecallReport, Recalled, UnjudgedArtifact};

use crate::engine::{Engine, EngineError};
use crate::grounds::Grounds;
use affected::Scope;
use countersign_ledger::statement::{RECALL_TYPE, event};
use countersign_store::{
    NewRecall, RecallCounts, RecallState, RecalledRow, StoreError, StoredRecall,
};
use identity::Change;
use serde_json::json;
use std::sync::Arc;

/// How to recall.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecallOptions {
    /// Judge everything that is admitted, whether a change concerns it or not.
    pub all: bool,
    /// Write nothing and tell nobody: only see what would be recalled.
    pub dry_run: bool,
}

/// Why nothing, or not everything, was judged again. What was recorded until then stays, and the
/// next recall goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The grounds cannot be read.
    #[error(transparent)]
    Grounds(#[from] EngineError),
    /// The feeds cannot be read: nothing was recalled or cleared on their account.
    #[error("nothing more can be judged again: {0}")]
    Feeds(String),
    /// The gate's own work failed.
    #[error("the recall was cut off: {0}")]
    Internal(String),
}

impl Engine {
    /// Judges again what is admitted and what a change since the last recall may concern. One
    /// recall at a time: another one that is under way is waited for, and one that was cut off is
    /// taken up.
    ///
    /// # Errors
    /// When the store fails, or the feeds cannot be read.
    pub async fn recall(&self, options: RecallOptions) -> Result<RecallReport, RecallError> {
        // The list of who fetched what shall be whole.
        self.fetches().flush().await?;
        let lock = match options.dry_run {
            true => None,
            false => Some(self.store().recall_lock().await?),
        };
        let mut work = Work::prepare(self, options).await?;
        let state = work.pages().await?;
        let report = work.finish(state).await?;
        drop(lock);
        Ok(report)
    }

    /// Whether the present grounds are those of the last finished recall.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recall_is_due(&self) -> Result<bool, RecallError> {
        let now = GroundsId::of(&self.grounds());
        if self.store().newest_recall(RecallState::Running).await?.is_some() {
            return Ok(true);
        }
        let last = self.store().newest_recall(RecallState::Done).await?;
        Ok(last.and_then(|l| grounds_of(&l)).is_none_or(|g| !now.changes(&g).is_empty()))
    }
}

fn grounds_of(recall: &StoredRecall) -> Option<GroundsId> {
    serde_json::from_value(recall.new.new_grounds.clone()).ok()
}

/// One recall under way.
struct Work {
    engine: Engine,
    grounds: Arc<Grounds>,
    scope: Arc<Scope>,
    options: RecallOptions,
    new: NewRecall,
    /// Whether evidence would have to be verified anew.
    roots_changed: bool,
    /// From which ledger size on a refusal of what was admitted is this recall's to name.
    since: u64,
    /// Its number in the store, once it is worth one.
    id: Option<i64>,
    /// The last finished recall, where this one only looks at what came after it.
    sweeping: Option<StoredRecall>,
    next: u64,
    counts: RecallCounts,
    /// What a dry run found.
    found: Vec<RecalledRow>,
    unjudged: Vec<UnjudgedArtifact>,
}

impl Work {
    async fn prepare(engine: &Engine, options: RecallOptions) -> Result<Self, RecallError> {
        let store = engine.store();
        let grounds = engine.grounds();
        let now = GroundsId::of(&grounds);
        let cut_off = match options.dry_run {
            true => None,
            false => take_up(engine, &now).await?,
        };
        let last = store.newest_recall(RecallState::Done).await?;
        let size = store.ledger_size().await?;
        let since = last.as_ref().or(cut_off.as_ref()).map_or(size, |l| l.new.horizon);
        let earlier = last.as_ref().and_then(grounds_of);
        let changes = earlier.as_ref().map(|e| now.changes(e));
        let scope = match options.all {
            true => Scope::All,
            false => Scope::of(&grounds, &now, earlier.as_ref(), since),
        };
        let json = |id: &GroundsId| {
            serde_json::to_value(id).map_err(|e| RecallError::Internal(e.to_string()))
        };
        let mut work = Self {
            engine: engine.clone(),
            new: NewRecall {
                started: engine.now(),
                why: words(changes.as_deref(), options.all),
                old_grounds: earlier.as_ref().map(json).transpose()?,
                new_grounds: json(&now)?,
                horizon: size,
            },
            roots_changed: changes
                .as_ref()
                .is_some_and(|c| c.contains(&Change::Roots) || c.contains(&Change::Keys)),
            sweeping: last.filter(|_| !options.all && changes.is_some_and(|c| c.is_empty())),
            next: scope.start(),
            scope: Arc::new(scope),
            grounds,
            options,
            since,
            id: None,
            counts: RecallCounts::default(),
            found: Vec::new(),
            unjudged: Vec::new(),
        };
        if let Some(cut_off) = cut_off {
            work.id = Some(cut_off.id);
            work.next = cut_off.next;
            work.counts = cut_off.counts;
            work.new = cut_off.new;
            work.sweeping = None;
        } else if work.sweeping.is_none() {
            work.begin().await?;
        }
        Ok(work)
    }

    /// Gives the recall a number. One that only looks at what is new gets it when it finds
    /// something.
    async fn begin(&mut self) -> Result<Option<i64>, RecallError> {
        if self.id.is_none() && !self.options.dry_run {
            self.id = Some(self.engine.store().begin_recall(&self.new).await?);
        }
        Ok(self.id)
    }

    /// Writes the end: the ledger's entry, the state, and what the report needs.
    async fn finish(mut self, state: RecallState) -> Result<RecallReport, RecallError> {
        let store = self.engine.store().clone();
        if state == RecallState::Done {
            self.add_refused_meanwhile().await?;
        }
        let mut index = None;
        if let Some(id) = self.id {
            let rows = store.recalled(id).await?;
            if state == RecallState::Done {
                let statement = event(RECALL_TYPE, &format!("recall {id}"), self.predicate(&rows));
                index = Some(store.record_event(&statement, self.engine.now()).await?.index());
            }
            store.finish_recall(id, state, self.engine.now(), index).await?;
            self.found = rows;
        }
        if let (Some(last), RecallState::Done, false) =
            (&self.sweeping, state, self.options.dry_run)
        {
            // Nothing stood against what is new: it counts as judged by the last recall.
            if self.id.is_none() {
                store.move_horizon(last.id, self.new.horizon).await?;
            }
        }
        let mut report = RecallReport {
            id: self.id,
            state,
            dry_run: self.options.dry_run,
            why: self.new.why.clone(),
            old_grounds: self.new.old_grounds.clone(),
            new_grounds: self.new.new_grounds.clone(),
            started: self.new.started,
            finished: Some(self.engine.now()),
            counts: self.counts,
            recalled: report::with_fetchers(&store, self.found).await?,
            unjudged: self.unjudged,
            ledger_index: index,
            problems: Vec::new(),
        };
        if !report.recalled.is_empty() && !report.dry_run && state == RecallState::Done {
            report.problems = self.engine.tell(&report).await;
        }
        Ok(report)
    }

    fn predicate(&self, rows: &[RecalledRow]) -> serde_json::Value {
        let lines: Vec<String> = rows
            .iter()
            .map(|r| {
                let new = r.new_index.map_or_else(String::new, |i| i.to_string());
                format!("{} {new} {} {}\n", r.old_index, r.sha256, r.purl)
            })
            .collect();
        json!({
            "why": self.new.why,
            "started": self.new.started,
            "oldGrounds": self.new.old_grounds,
            "newGrounds": self.new.new_grounds,
            "horizon": self.new.horizon,
            "counts": self.counts,
            "recalled": rows.len(),
            // Of lines `old-index new-index sha256 purl`, each ended by a newline, in this order.
            "recalledDigest": {
                "sha256": countersign_core::Sha256Digest::of(lines.concat().as_bytes()),
            },
        })
    }
}

/// A recall that was cut off, if it judged under the present grounds; any other is closed.
async fn take_up(engine: &Engine, now: &GroundsId) -> Result<Option<StoredRecall>, RecallError> {
    let store = engine.store();
    while let Some(running) = store.newest_recall(RecallState::Running).await? {
        store.recover_recall(running.id).await?;
        if grounds_of(&running).is_some_and(|g| now.changes(&g).is_empty()) {
            return Ok(Some(running));
        }
        store.finish_recall(running.id, RecallState::Superseded, engine.now(), None).await?;
    }
    Ok(None)
}

/// Why everything is judged again, for people.
fn words(changes: Option<&[Change]>, all: bool) -> Vec<String> {
    let mut words: Vec<String> = match changes {
        None => vec!["nothing was recalled before".to_owned()],
        Some([]) if !all => vec!["admitted since the last recall".to_owned()],
        Some(changes) => changes.iter().map(|c| c.words().to_owned()).collect(),
    };
    if all {
        words.push("everything was asked for".to_owned());
    }
    words
}
