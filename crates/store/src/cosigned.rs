//! The newest checkpoint that witnesses have cosigned, kept as a file beside the published one.

use crate::error::StoreError;
use crate::lock;
use crate::publish::{read_checkpoint, write_file};
use crate::store::{Store, blocking};
use crate::tiles::root_at;
use countersign_ledger::VerifiedCheckpoint;

impl Store {
    /// The newest cosigned checkpoint, under the ledger's own signature; whose cosignatures it
    /// carries is for the reader to check. `None` when witnesses were never asked.
    ///
    /// # Errors
    /// When it cannot be read, or is not the ledger's.
    pub async fn cosigned(&self) -> Result<Option<(String, VerifiedCheckpoint)>, StoreError> {
        let Some(keys) = self.key_history().await? else { return Ok(None) };
        let path = self.paths().cosigned();
        blocking(move || {
            let Some(note) = read_checkpoint(&path)? else { return Ok(None) };
            let head = keys.verify_checkpoint(&note).map_err(|e| StoreError::corrupt(&path, e))?;
            Ok(Some((note, head)))
        })
        .await
    }

    /// Keeps a cosigned checkpoint of this ledger, durably, unless a newer one is kept.
    ///
    /// # Errors
    /// When it is not this ledger's, or of another history, or the disk fails.
    pub async fn keep_cosigned(&self, note: &str) -> Result<(), StoreError> {
        self.check_writable()?;
        let keys = self.key_history().await?;
        let keys = keys.ok_or(StoreError::NotFound { what: "a ledger".to_owned() })?;
        let head = keys.verify_checkpoint(note).map_err(StoreError::invalid)?;
        let mut conn = self.reader().await?;
        if root_at(&mut conn, &self.paths().database(), head.size()).await? != head.root() {
            return Err(StoreError::Forked { size: head.size() });
        }
        let held = lock::exclusive(self.paths().lock()).await?;
        let kept = self.cosigned().await?;
        if kept.is_none_or(|(_, kept)| kept.size() <= head.size()) {
            let (paths, note) = (self.paths().clone(), note.to_owned());
            blocking(move || write_file(&paths.steps, &paths.cosigned(), note.as_bytes(), true))
                .await?;
        }
        drop(held);
        Ok(())
    }
}
