//! Many proofs of one tree: tiles are read and hashed once, and then only looked up.

use crate::hash::{EMPTY_ROOT, Hash, node_hash};
use crate::proof::{ProofError, consistency, inclusion, range_hash, tile_of};
use crate::tile::{TileId, TileSource, read_hashes};
use std::collections::{HashMap, VecDeque};

/// The nodes of a tile by height above its hashes: row 0 is the tile, row 8 its one root. A tile that
/// is not full has the nodes that are complete.
type Rows = Vec<Vec<Hash>>;

/// The height of the groups in which a tile that was read before is read again: of 32 leaves.
const GROUP_HEIGHT: usize = 5;

/// Tiles of which the nodes above the groups are kept at most: half a kilobyte each, 32 MiB for a
/// tree of 16 million leaves.
const MAX_CROWNS: usize = 1 << 16;

/// The nodes of a full tile above its groups and below its root, from the lowest row on: 8, 4 and 2.
type Crown = Box<[Hash]>;

/// Makes proofs of the tree of one size. Holds tiles of leaves of at most the given number, each
/// 16 KiB, a little of all others that were read, so that a leaf of them takes 26 hashes and not
/// 247, and those above the leaves, of which there are 1/256 as many.
#[derive(Debug)]
pub struct Prover<S> {
    source: S,
    size: u64,
    room: usize,
    tiles: HashMap<(u8, u64), Rows>,
    /// Tiles of leaves, in the order in which they came.
    leaves: VecDeque<u64>,
    crowns: HashMap<u64, Crown>,
    /// The group that was read last: its tile, its place there, and its nodes.
    group: Option<(u64, usize, Rows)>,
}

impl<S: TileSource> Prover<S> {
    /// Proofs of the tree of `size` leaves, with room for `room` tiles of leaves in memory.
    #[must_use]
    pub fn new(source: S, size: u64, room: usize) -> Self {
        let (tiles, leaves, crowns) = (HashMap::new(), VecDeque::new(), HashMap::new());
        Self { source, size, room: room.max(1), tiles, leaves, crowns, group: None }
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
        let level = u8::try_from(height / 8).unwrap_or(u8::MAX);
        let known = level > 0 || self.tiles.contains_key(&(0, id.index));
        if let Some(crown) = self.crowns.get(&id.index).filter(|_| !known) {
            if row >= GROUP_HEIGHT {
                return in_crown(crown, row, from / count).ok_or(out);
            }
            let group = from >> GROUP_HEIGHT;
            let place = (from - (group << GROUP_HEIGHT)) / count;
            return self.group(id, group)?.get(row).and_then(|r| r.get(place)).copied().ok_or(out);
        }
        let rows = self.rows(id, level)?;
        rows.get(row).and_then(|r| r.get(from / count)).copied().ok_or(out)
    }

    /// The nodes of one group of a tile.
    fn group(&mut self, id: TileId, group: usize) -> Result<&Rows, ProofError> {
        let is_last = |(tile, at, _): &(u64, usize, Rows)| (*tile, *at) == (id.index, group);
        if !self.group.as_ref().is_some_and(is_last) {
            let tile = read_hashes(&self.source, id)?;
            let leaves = tile.chunks(1 << GROUP_HEIGHT).nth(group).unwrap_or_default();
            self.group = Some((id.index, group, expand(leaves.to_vec(), GROUP_HEIGHT)));
        }
        let gone = || ProofError::OutOfRange { index: id.index, size: self.size };
        self.group.as_ref().map(|(_, _, rows)| rows).ok_or_else(gone)
    }

    fn rows(&mut self, id: TileId, level: u8) -> Result<&Rows, ProofError> {
        let key = (level, id.index);
        if !self.tiles.contains_key(&key) {
            let rows = expand(read_hashes(&self.source, id)?, 8);
            if level == 0 {
                if id.is_full() && self.crowns.len() < MAX_CROWNS {
                    let upper = rows.get(GROUP_HEIGHT..8).unwrap_or_default().concat();
                    self.crowns.insert(id.index, upper.into_boxed_slice());
                }
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

/// A node of a crown, by its row in the tile and its place there.
fn in_crown(crown: &[Hash], row: usize, place: usize) -> Option<Hash> {
    let before: usize = (GROUP_HEIGHT..row).map(|row| 256 >> row).sum();
    crown.get(before + place).copied()
}

/// All complete nodes above some hashes, up to a height.
fn expand(hashes: Vec<Hash>, height: usize) -> Rows {
    let mut rows = vec![hashes];
    for _ in 0..height {
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
            // And some of them several times.
            for n in 0..80 {
                let index = n % 40 * 7919 % size;
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
