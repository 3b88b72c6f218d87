//! Receipts: an entry with its proof against the current checkpoint.

use crate::bundles::entry_at;
use crate::error::StoreError;
use crate::keyring::rotations_in;
use crate::store::{Store, blocking};
use crate::tiles::{Tiles, derive, ledger_state, load, stored};
use countersign_ledger::{
    Envelope, Hash, Prover, Receipt, Rotation, TileId, TileKind, consistency_proof,
    consistency_tiles, inclusion_tiles, tile_root,
};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeSet;

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
        let rotations = rotations_in(&mut tx, &path).await?;
        // Whoever knows the newest key alone does not believe a checkpoint from before its rotation.
        let needed = rotations.last().map_or(*last, |r| r.leaf_index().max(*last));
        let (note, size) = match cosigned {
            Some((note, head)) if head.size() > needed && head.size() <= state.size => {
                (note, head.size())
            }
            _ => (state.checkpoint, state.size),
        };
        let turns = rotations.iter().map(Rotation::leaf_index).filter(|i| *i < size);
        let turns: Vec<u64> = turns.collect();
        let mut ids = BTreeSet::new();
        for index in indexes.iter().chain(&turns) {
            ids.extend(inclusion_tiles(*index, size).map_err(|_| missing(*index))?);
        }
        let tiles = self.tiles_for(&mut tx, ids).await?;
        let mut prover = Prover::new(&tiles, size, 512);
        let mut out = Vec::with_capacity(indexes.len());
        for index in turns.iter().chain(indexes) {
            let kept = entry_at(&mut tx, &path, *index).await?.ok_or_else(|| missing(*index))?;
            let forgotten = || StoreError::Forgotten { what: format!("ledger entry {index}") };
            let (salt, envelope) = kept.content().ok_or_else(forgotten)?;
            let envelope = Envelope::parse(envelope).map_err(|e| self.corrupt(e))?;
            let proof = prover.inclusion(*index).map_err(|e| self.corrupt(e))?;
            out.push(Receipt::new(envelope, salt, *index, &proof, note.clone()));
        }
        let wanted = out.split_off(turns.len());
        Ok(wanted.into_iter().map(|r| r.with_rotations(out.clone())).collect())
    }

    /// Tiles of the ledger. Those over the leaves of folded bundles are taken from the published files
    /// where these are what the database says: the root is in the tile above. To derive one from its
    /// entries takes all 256 of them.
    async fn tiles_for(
        &self,
        conn: &mut SqliteConnection,
        ids: BTreeSet<TileId>,
    ) -> Result<Tiles, StoreError> {
        let path = self.paths().database();
        let leaves = |id: &&TileId| id.kind == TileKind::Hashes(0) && id.is_full();
        let above = |id: &TileId| TileId {
            kind: TileKind::Hashes(1),
            index: id.index / 256,
            width: u16::try_from(id.index % 256).unwrap_or(0) + 1,
        };
        let asked: BTreeSet<TileId> =
            ids.iter().copied().chain(ids.iter().filter(leaves).map(above)).collect();
        let asked: Vec<TileId> = asked.into_iter().collect();
        let mut tiles = stored(conn, &path, &asked).await?;
        let mut files = Vec::new();
        for id in ids.iter().filter(leaves) {
            let upper = above(id);
            let place = usize::from(upper.width - 1) * 32;
            let upper = tiles.get(&(upper.kind, upper.index));
            let root = upper.and_then(|u| u.get(place..)?.first_chunk::<32>());
            if let (Some(root), None) = (root, tiles.get(&(id.kind, id.index))) {
                files.push((*id, Hash(*root)));
            }
        }
        let ledger = self.paths().ledger();
        let found = blocking(move || {
            let read = |(id, root): (TileId, Hash)| {
                let tile = std::fs::read(ledger.join(id.path())).ok()?;
                (tile_root(&tile) == Some(root)).then_some(((id.kind, id.index), tile))
            };
            Ok(files.into_iter().filter_map(read).collect::<Vec<_>>())
        });
        tiles.extend(found.await?);
        derive(conn, &path, &asked, &mut tiles).await?;
        Ok(tiles)
    }

    /// The inclusion proof of an entry's commitment under the current checkpoint, also of one whose
    /// content was forgotten: the checkpoint, and the hashes (RFC 6962 section 2.1.1).
    ///
    /// # Errors
    /// When there is no such entry, or the database fails or is damaged.
    pub async fn inclusion_of(
        &self,
        index: u64,
    ) -> Result<(String, Vec<countersign_ledger::Hash>), StoreError> {
        let path = self.paths().database();
        let mut conn = self.reader().await?;
        let mut tx = conn.begin().await.map_err(|e| self.sql_error(e))?;
        let missing = || StoreError::NotFound { what: format!("ledger entry {index}") };
        let state = ledger_state(&mut tx, &path).await?.ok_or_else(missing)?;
        let ids = inclusion_tiles(index, state.size).map_err(|_| missing())?;
        let tiles = self.tiles_for(&mut tx, ids).await?;
        let mut prover = Prover::new(&tiles, state.size, 64);
        let proof = prover.inclusion(index).map_err(|e| self.corrupt(e))?;
        Ok((state.checkpoint, proof))
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
