//! The steps of a commit and a publication, for tests that crash or fail at each of them.

use crate::error::StoreError;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A step that is about to be taken, or was just taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step<'a> {
    /// The database's write lock is about to be taken.
    Begin,
    /// The lock is held, the state was compared, and nothing is written yet.
    Compared,
    /// Entries and records are written.
    Rows,
    /// A bundle that is complete is folded; the transaction goes on.
    Folded,
    /// Tiles are written.
    Tiles,
    /// The checkpoint is swapped; the transaction is about to be committed.
    Swapped,
    /// The commit is synced, and nobody was told.
    Committed,
    /// Callers are about to be told.
    Resolve,
    /// A file of the published ledger was written under its temporary name, which is this.
    Written(&'a Path),
    /// It has its own name now.
    Named(&'a Path),
    /// Everything is published.
    Published,
}

/// Called at each step. An error makes the step fail as if the file system had said so.
pub type OnStep = dyn Fn(Step<'_>) -> io::Result<()> + Send + Sync;

/// Who watches; outside of tests, nobody.
#[derive(Clone, Default)]
pub(crate) struct Steps(Option<Arc<OnStep>>);

impl Steps {
    pub(crate) fn watched(on_step: Arc<OnStep>) -> Self {
        Self(Some(on_step))
    }

    pub(crate) fn at(&self, step: Step<'_>, path: &Path) -> Result<(), StoreError> {
        match &self.0 {
            None => Ok(()),
            Some(on_step) => on_step(step).map_err(|e| StoreError::io(path, &e)),
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Steps(watched)" } else { "Steps" })
    }
}
