//! A copy of the published ledger in another folder, for a web server that shall not see the store.

use crate::error::StoreError;
use crate::files::TileFiles;
use crate::publish::{changed_tiles, read_checkpoint, write_file};
use crate::store::{Store, blocking};
use crate::tiles::root_at;
use countersign_ledger::event::REDACTED_TYPE;
use countersign_ledger::{
    Envelope, ROTATIONS_FILE, TileSource as _, VerifiedCheckpoint, sign_statement,
};
use serde_json::Value;
use std::path::Path;

impl Store {
    /// Copies what a folder lacks of the published tiles. The checkpoint that they lead to is returned,
    /// to be put there with [`Store::copy_checkpoint`] when everything else is.
    ///
    /// # Errors
    /// When nothing was published, the folder holds another ledger or more than this one has, or the
    /// disk fails.
    pub async fn copy_tiles(&self, dir: &Path) -> Result<(String, VerifiedCheckpoint), StoreError> {
        let nothing = || StoreError::NotFound { what: "a published ledger".to_owned() };
        let (note, head) = self.published_checkpoint().await?.ok_or_else(nothing)?;
        let keys = self.key_history().await?.ok_or_else(nothing)?;
        let mut from = 0;
        if let Some(old) = read_checkpoint(&dir.join("checkpoint"))? {
            let old = keys.verify_checkpoint(&old).map_err(|e| {
                StoreError::invalid(format!("`{}` holds another ledger: {e}", dir.display()))
            })?;
            if old.size() > head.size() {
                let (published, database) = (old.size(), head.size());
                return Err(StoreError::RolledBack { published, database });
            }
            let mut conn = self.reader().await?;
            if root_at(&mut conn, &self.paths().database(), old.size()).await? != old.root() {
                return Err(StoreError::Forked { size: old.size() });
            }
            from = old.size();
        }
        let (size, paths, dir) = (head.size(), self.paths().clone(), dir.to_owned());
        blocking(move || {
            std::fs::create_dir_all(&dir).map_err(|e| StoreError::io(&dir, &e))?;
            let files = TileFiles::new(paths.ledger());
            for id in changed_tiles(from, size) {
                let bytes = files.tile(id).map_err(StoreError::ledger)?;
                let path = dir.join(id.path());
                write_file(&paths.steps, &path, &bytes, false)?;
                if id.is_full() {
                    // The full tile stands for its stages.
                    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
                    let stages = path.with_file_name(format!("{}.p", name.unwrap_or_default()));
                    drop(std::fs::remove_dir_all(stages));
                }
            }
            let rotations = paths.ledger().join(ROTATIONS_FILE);
            match std::fs::read(&rotations) {
                Ok(text) => write_file(&paths.steps, &dir.join(ROTATIONS_FILE), &text, false),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(e) => Err(StoreError::io(&rotations, &e)),
            }
        })
        .await?;
        Ok((note, head))
    }

    /// Puts a file into the copy, by rename.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn copy_file(&self, path: &Path, bytes: Vec<u8>) -> Result<(), StoreError> {
        let (path, steps) = (path.to_owned(), self.paths().steps.clone());
        blocking(move || write_file(&steps, &path, &bytes, false)).await
    }

    /// Signs a statement from which parts were taken out. It is no entry, and nothing is recorded.
    ///
    /// # Errors
    /// When it is a statement of another kind, or there is no ledger key here.
    pub fn sign_redacted(&self, statement: &Value) -> Result<Envelope, StoreError> {
        if statement.get("predicateType").and_then(Value::as_str) != Some(REDACTED_TYPE) {
            return Err(StoreError::invalid(
                "only redacted statements are signed without an entry",
            ));
        }
        let keys = self.ledger()?.keys.current();
        sign_statement(&keys.signing, statement).map_err(StoreError::ledger)
    }
}
