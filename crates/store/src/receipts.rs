//! Receipts: an entry with its proof against the current checkpoint.

use crate::bundles::entry_at;
use crate::error::StoreError;
use crate::store::{Store, blocking};
use crate::tiles::{Tiles, ledger_state, load};
use countersign_ledger::{
    Envelope, Hash, Prover, Receipt, TileId, TileKind, consistency_proof, consistency_tiles,
    inclusion_tiles, tile_root,
};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeSet;

/// An entry whose place is all that is left of it.
fn forgotten(index: u64) -> StoreError {
    StoreError::NotFound { what: format!("the content of ledger entry {index}") }
}

impl Store {
    /// The receipt of the entry at a place of the ledger, of any kind.
    ///
    /// # Errors
    /// When there is no such entry, or the database fails or is damaged.
    pub async fn receipt_for(&self, index: u64) -> Result<Receipt, StoreError> {
        let missing = || StoreError::NotFound { what: format!("ledger entry {index}") };
        self.receipts_for(&[index]).await?.pop().ok_or_else(missing)
    }

    /// The receipts of these entries, all under one checkpoint: the newest that witnesses have
    /// cosigned, where it covers all of them, and else the current one.
    ///
    /// # Errors
    /// When there is no such entry, or the database fails or is damaged.
    pub async fn receipts_for(&self, indexes: &[u64]) -> Result<Vec<Receipt>, StoreError> {
        let path = self.paths().database();
        let cosigned = self.cosigned().await?;
        let mut conn = self.reader().await?;
        // One snapshot: a checkpoint and the tiles of exactly that checkpoint.
        let mut tx = conn.begin().await.map_err(|e| self.sql_error(e))?;
        let Some(last) = indexes.iter().max() else { return Ok(Vec::new()) };
        let missing = |index: u64| StoreError::NotFound { what: format!("ledger entry {index}") };
        let state = ledger_state(&mut tx, &path).await?.ok_or_else(|| missing(*last))?;
        let (note, size) = match cosigned {
            Some((note, head)) if head.size() > *last && head.size() <= state.size => {
                (note, head.size())
            }
            _ => (state.checkpoint, state.size),
        };
        let mut ids = BTreeSet::new();
        for index in indexes {
            ids.extend(inclusion_tiles(*index, size).map_err(|_| missing(*index))?);
        }
        let mut tiles = self.published_tiles(&mut tx, &ids).await?;
        ids.retain(|id| !tiles.contains_key(&(id.kind, id.index)));
        tiles.extend(load(&mut tx, &path, ids).await?);
        let mut prover = Prover::new(&tiles, size, 512);
        let mut out = Vec::with_capacity(indexes.len());
        for index in indexes {
            let kept = entry_at(&mut tx, &path, *index).await?.ok_or_else(|| missing(*index))?;
            let (salt, envelope) = kept.content().ok_or_else(|| forgotten(*index))?;
            let envelope = Envelope::parse(envelope).map_err(|e| self.corrupt(e))?;
            let proof = prover.inclusion(*index).map_err(|e| self.corrupt(e))?;
            out.push(Receipt::new(envelope, salt, *index, &proof, note.clone()));
        }
        Ok(out)
    }

    /// Of the tiles over the leaves of folded bundles, those whose published file is what the database
    /// says of it: its root is in the tile above. To derive them takes each entry of the bundle.
    async fn published_tiles(
        &self,
        conn: &mut SqliteConnection,
        ids: &BTreeSet<TileId>,
    ) -> Result<Tiles, StoreError> {
        let path = self.paths().database();
        let leaves = ids.iter().filter(|id| id.kind == TileKind::Hashes(0) && id.is_full());
        let mut out = Tiles::new();
        for id in leaves {
            let above = TileId { kind: TileKind::Hashes(1), index: id.index / 256, width: 1 };
            let above = load(conn, &path, [above]).await?.remove(&(above.kind, above.index));
            let at = usize::try_from(id.index % 256).unwrap_or(usize::MAX).saturating_mul(32);
            let Some(root) = above.as_deref().and_then(|a| a.get(at..)?.first_chunk::<32>()) else {
                continue;
            };
            let file = self.paths().ledger().join(id.path());
            let found = blocking(move || Ok(std::fs::read(file).ok())).await?;
            if let Some(tile) = found.filter(|t| tile_root(t) == Some(Hash(*root))) {
                out.insert((id.kind, id.index), tile);
            }
        }
        Ok(out)
    }

    /// The current signed checkpoint; `None` while no ledger was begun.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn checkpoint(&self) -> Result<Option<String>, StoreError> {
        let mut conn = self.reader().await?;
        let state = ledger_state(&mut conn, &self.paths().database()).await?;
        Ok(state.map(|s| s.checkpoint))
    }

    /// The proof that the current ledger continues the one of `old` entries: the current signed
    /// checkpoint, and the hashes (RFC 6962 section 2.1.2).
    ///
    /// # Errors
    /// When the ledger has fewer entries, or the database fails.
    pub async fn consistency_from(
        &self,
        old: u64,
    ) -> Result<(String, Vec<countersign_ledger::Hash>), StoreError> {
        let path = self.paths().database();
        let mut conn = self.reader().await?;
        let mut tx = conn.begin().await.map_err(|e| self.sql_error(e))?;
        let missing = || StoreError::NotFound { what: format!("a ledger of {old} entries") };
        let state = ledger_state(&mut tx, &path).await?.ok_or_else(missing)?;
        let ids = consistency_tiles(old, state.size).map_err(|_| missing())?;
        let tiles = load(&mut tx, &path, ids).await?;
        let proof = consistency_proof(old, state.size, &tiles).map_err(|e| self.corrupt(e))?;
        Ok((state.checkpoint, proof))
    }

    /// The proof that the ledger of `new` entries continues the one of `old`.
    ///
    /// # Errors
    /// When the ledger has fewer entries, `old` is above `new`, or the database fails.
    pub async fn consistency_between(
        &self,
        old: u64,
        new: u64,
    ) -> Result<Vec<countersign_ledger::Hash>, StoreError> {
        let path = self.paths().database();
        let mut conn = self.reader().await?;
        let mut tx = conn.begin().await.map_err(|e| self.sql_error(e))?;
        let missing = || StoreError::NotFound { what: format!("a ledger of {new} entries") };
        let state = ledger_state(&mut tx, &path).await?.ok_or_else(missing)?;
        if new > state.size {
            return Err(missing());
        }
        let ids = consistency_tiles(old, new).map_err(|_| missing())?;
        let tiles = load(&mut tx, &path, ids).await?;
        consistency_proof(old, new, &tiles).map_err(|e| self.corrupt(e))
    }
}
