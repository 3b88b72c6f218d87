//! Many proofs of one tree: tiles are read and hashed once, and then only looked up.

use crate::hash::{EMPTY_ROOT, Hash, node_hash};
use crate::proof::{ProofError, consistency, inclusion, range_hash, tile_of};
use crate::tile::{TileId, TileSource, read_hashes};
use std::collections::{HashMap, VecDeque};

/// The nodes of a tile by height above its hashes: row 0 is the tile, row 8 its one root. A tile that
/// is not full has the nodes that are complete.
type Rows = Vec<Vec<Hash>>;

/// Makes proofs of the tree of one size. Holds tiles of at most the given number, each 16 KiB, and
/// besides them those above the leaves, of which there are 1/256 as many.
#[derive(Debug)]
pub struct Prover<S> {
    source: S,
    size: u64,
    room: usize,
    tiles: HashMap<(u8, u64), Rows>,
    /// Tiles of leaves, in the order in which they came.
    leaves: VecDeque<u64>,
}

impl<S: TileSource> Prover<S> {
    /// Proofs of the tree of `size` leaves, with room for `room` tiles of leaves in memory.
    #[must_use]
    pub fn new(source: S, size: u64, room: usize) -> Self {
        let (tiles, leaves) = (HashMap::new(), VecDeque::new());
        Self { source, size, room: room.max(1), tiles, leaves }
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The proof that leaf `index` is in the tree, as [`crate::inclusion_proof`] makes it.
    ///
    /// # Errors
    /// When there is no such leaf, or a tile is missing or damaged.
    pub fn inclusion(&mut self, index: u64) -> Result<Vec<Hash>, ProofError> {
        inclusion(index, self.size, &mut |height, place| self.node(height, place))
    }

    /// The proof that the tree continues the one of `old` leaves, as [`crate::consistency_proof`]
    /// makes it.
    ///
    /// # Errors
    /// When `old` is above the size, or a tile is missing or damaged.
    pub fn consistency(&mut self, old: u64) -> Result<Vec<Hash>, ProofError> {
        consistency(old, self.size, &mut |height, place| self.node(height, place))
    }

    /// The root.
    ///
    /// # Errors
    /// When a tile is missing or damaged.
    pub fn root(&mut self) -> Result<Hash, ProofError> {
        if self.size == 0 {
            return Ok(EMPTY_ROOT);
        }
        range_hash(0, self.size, &mut |height, place| self.node(height, place))
    }

    fn node(&mut self, height: u32, place: u64) -> Result<Hash, ProofError> {
        let out = ProofError::OutOfRange { index: place, size: self.size };
        let (id, from, count) = tile_of(height, place, self.size)?;
        let row = usize::try_from(height % 8).unwrap_or(usize::MAX);
        let rows = self.rows(id, height)?;
        rows.get(row).and_then(|r| r.get(from / count)).copied().ok_or(out)
    }

    fn rows(&mut self, id: TileId, height: u32) -> Result<&Rows, ProofError> {
        let level = u8::try_from(height / 8).unwrap_or(u8::MAX);
        let key = (level, id.index);
        if !self.tiles.contains_key(&key) {
            let rows = expand(read_hashes(&self.source, id)?);
            if level == 0 {
                if self.leaves.len() >= self.room
                    && let Some(oldest) = self.leaves.pop_front()
                {
                    self.tiles.remove(&(0, oldest));
                }
                self.leaves.push_back(id.index);
            }
            self.tiles.insert(key, rows);
        }
        let gone = || ProofError::OutOfRange { index: id.index, size: self.size };
        self.tiles.get(&key).ok_or_else(gone)
    }
}

/// All complete nodes above the hashes of a tile.
fn expand(hashes: Vec<Hash>) -> Rows {
    let mut rows = vec![hashes];
    for _ in 0..8 {
        let next = rows.last().map_or_else(Vec::new, |row| {
            row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(*left, *right)).collect()
        });
        rows.push(next);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::tests::grow;
    use crate::proof::{consistency_proof, inclusion_proof, root};

    #[test]
    fn a_prover_makes_the_proofs_that_are_made_one_by_one() {
        let (_, tiles) = grow(70_000, 4096);
        for size in [1, 2, 255, 256, 257, 513, 65_535, 65_536, 65_537, 70_000] {
            // One tile of leaves at a time, so that tiles are dropped and read again.
            let mut prover = Prover::new(&tiles, size, 1);
            assert_eq!(prover.root().unwrap(), root(size, &tiles).unwrap());
            for n in 0..40 {
                let index = n * 7919 % size;
                let wanted = inclusion_proof(index, size, &tiles).unwrap();
                assert_eq!(prover.inclusion(index).unwrap(), wanted, "{index} in {size}");
                let wanted = consistency_proof(index, size, &tiles).unwrap();
                assert_eq!(prover.consistency(index).unwrap(), wanted, "{index} to {size}");
            }
            assert!(prover.tiles.len() <= 4, "{}", prover.tiles.len());
            assert!(prover.inclusion(size).is_err());
        }
    }

    #[test]
    fn a_missing_tile_is_an_error_and_an_empty_tree_has_its_root() {
        let (_, mut tiles) = grow(600, 600);
        assert_eq!(Prover::new(&tiles, 0, 4).root().unwrap(), EMPTY_ROOT);
        tiles.remove(&(crate::TileKind::Hashes(0), 1));
        let mut prover = Prover::new(&tiles, 600, 4);
        assert!(prover.inclusion(300).is_err());
        assert!(prover.inclusion(3).is_ok(), "its own tile and the one above are there");
    }
}
