//! The published ledger, read as anyone reads it: tiles from files.

use crate::error::StoreError;
use crate::publish::read_checkpoint;
use crate::store::{Store, blocking};
use countersign_ledger::{Prover, TILE_WIDTH, TileError, TileId, TileSource, VerifiedCheckpoint};
use std::io::ErrorKind;
use std::path::PathBuf;

/// The tiles below a folder, named as C2SP tlog-tiles names them.
#[derive(Debug, Clone)]
pub struct TileFiles {
    dir: PathBuf,
}

impl TileFiles {
    /// The tiles below `dir`, in which `tile/` lies.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }
}

impl TileSource for TileFiles {
    /// Reads the tile, or the full one that took its place ("Partial Tiles" of the specification).
    fn tile(&self, tile: TileId) -> Result<Vec<u8>, TileError> {
        let full = TileId { width: TILE_WIDTH, ..tile };
        for id in [tile, full] {
            match std::fs::read(self.dir.join(id.path())) {
                Ok(mut bytes) if bytes.len() >= tile.byte_len() => {
                    bytes.truncate(tile.byte_len());
                    return Ok(bytes);
                }
                Ok(_) => return Err(TileError::Damaged { tile: tile.path() }),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => {
                    let because = e.to_string();
                    return Err(TileError::Unreadable { tile: tile.path(), because });
                }
            }
        }
        Err(TileError::Missing { tile: tile.path() })
    }
}

impl Store {
    /// The published checkpoint, verified, as it stands in its file; `None` when none was published.
    ///
    /// # Errors
    /// When it cannot be read, or is not the ledger's.
    pub async fn published_checkpoint(
        &self,
    ) -> Result<Option<(String, VerifiedCheckpoint)>, StoreError> {
        let path = self.paths().checkpoint();
        let Some(keys) = self.key_history().await? else { return Ok(None) };
        blocking(move || {
            let Some(note) = read_checkpoint(&path)? else { return Ok(None) };
            let head = keys.verify_checkpoint(&note).map_err(|e| StoreError::corrupt(&path, e))?;
            Ok(Some((note, head)))
        })
        .await
    }

    /// Proofs of the published tree, from the published files. Each call to it blocks for the time
    /// that reading a few files takes. Holds at most 512 tiles of leaves, which is 8 MiB.
    ///
    /// # Errors
    /// As [`Store::published_checkpoint`].
    pub async fn prover(&self) -> Result<Option<Prover<TileFiles>>, StoreError> {
        let head = self.published_checkpoint().await?;
        let files = TileFiles::new(self.ledger_dir());
        Ok(head.map(|(_, head)| Prover::new(files, head.size(), 512)))
    }
}
