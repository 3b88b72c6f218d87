//! The right edge of the tree: all that has to be known to append, whatever the size.

use crate::checkpoint::Checkpoint;
use crate::hash::{EMPTY_ROOT, Hash, fold, leaf_hash, node_hash};
use crate::leaf::{Commitment, entry_bundle, parse_entry_bundle};
use crate::proof::ProofError;
use crate::tile::{
    MAX_TREE_SIZE, TILE_WIDTH, TileError, TileId, TileKind, TileSource, read_hashes,
};

/// The tiles at the right edge that are not full yet, one a level, and the entries not yet in a
/// full bundle: at most 255 hashes a level, so a few kilobytes for any tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edge {
    size: u64,
    /// The hashes of the partial tile of each level; level `n` counts subtrees of `256^n` leaves.
    levels: Vec<Vec<Hash>>,
    /// The entries of the partial bundle.
    bundle: Vec<Commitment>,
}

/// A tile to be written, with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTile {
    /// Which tile.
    pub id: TileId,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// What an append comes to: nothing is done yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Leaves before.
    pub old_size: u64,
    /// Leaves after.
    pub new_size: u64,
    /// The root after.
    pub root: Hash,
    /// Every tile that is new or wider than before: hash tiles of all levels and entry bundles.
    pub tiles: Vec<PlannedTile>,
    /// The text of the new checkpoint, to be signed.
    pub checkpoint: Checkpoint,
    /// The edge after, from which the next append is planned once this one is durable.
    pub edge: Edge,
}

impl Edge {
    /// The edge of the tree without leaves.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads the edge of a tree of `size` leaves: one tile a level and one entry bundle.
    ///
    /// # Errors
    /// When the size is above [`MAX_TREE_SIZE`] or a tile is missing or damaged.
    pub fn load(size: u64, source: &impl TileSource) -> Result<Self, ProofError> {
        let mut edge = Self { size, ..Self::default() };
        for tile in Self::tiles(size)? {
            match tile.kind {
                TileKind::Hashes(level) => {
                    edge.levels.resize(usize::from(level) + 1, Vec::new());
                    if let Some(last) = edge.levels.last_mut() {
                        *last = read_hashes(source, tile)?;
                    }
                }
                TileKind::Entries => {
                    edge.bundle = parse_entry_bundle(&source.tile(tile)?)
                        .filter(|b| b.len() == usize::from(tile.width))
                        .ok_or(TileError::Damaged { tile: tile.path() })?;
                }
            }
        }
        Ok(edge)
    }

    /// The partial tiles of a tree of `size` leaves, which [`Edge::load`] reads: the entry bundle
    /// first, then the hash tiles from the leaves up.
    ///
    /// # Errors
    /// When the size is above [`MAX_TREE_SIZE`].
    pub fn tiles(size: u64) -> Result<Vec<TileId>, ProofError> {
        if size > MAX_TREE_SIZE {
            return Err(ProofError::TooLarge { size });
        }
        let mut out = Vec::new();
        let mut partial = |kind, level_size: u64| {
            let index = level_size / u64::from(TILE_WIDTH);
            out.extend(TileId::in_tree(kind, index, size).filter(|t| !t.is_full()));
        };
        partial(TileKind::Entries, size);
        let mut level_size = size;
        for level in 0..8 {
            partial(TileKind::Hashes(level), level_size);
            level_size /= u64::from(TILE_WIDTH);
        }
        Ok(out)
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The Merkle tree hash.
    #[must_use]
    pub fn root(&self) -> Hash {
        // Each level's hashes are complete subtrees, larger ones to the left: the root joins what
        // is on the right into what is left of it.
        let mut right: Option<Hash> = None;
        for level in &self.levels {
            for part in binary_parts(level) {
                right = Some(match right {
                    Some(right) => node_hash(part, right),
                    None => part,
                });
            }
        }
        right.unwrap_or(EMPTY_ROOT)
    }

    /// Plans the append of `entries` in this order.
    ///
    /// # Errors
    /// When the tree would grow above [`MAX_TREE_SIZE`].
    pub fn plan(&self, entries: &[Commitment], origin: &str) -> Result<Plan, ProofError> {
        let added = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let new_size = self.size.saturating_add(added);
        if new_size > MAX_TREE_SIZE {
            return Err(ProofError::TooLarge { size: new_size });
        }
        let mut edge = self.clone();
        let mut tiles = Vec::new();
        for entry in entries {
            edge.push(*entry, &mut tiles);
        }
        edge.partial_tiles(self.size, &mut tiles);
        let root = edge.root();
        let checkpoint =
            Checkpoint { origin: origin.to_owned(), size: new_size, root, extensions: vec![] };
        Ok(Plan { old_size: self.size, new_size, root, tiles, checkpoint, edge })
    }

    /// Adds one entry and emits the tiles that it completes.
    fn push(&mut self, entry: Commitment, tiles: &mut Vec<PlannedTile>) {
        self.size += 1;
        self.bundle.push(entry);
        if self.bundle.len() == usize::from(TILE_WIDTH) {
            let data = entry_bundle(&self.bundle);
            self.bundle.clear();
            tiles.push(full(TileKind::Entries, self.size, data));
        }
        let mut carry = Some(leaf_hash(&entry));
        let mut level_size = self.size;
        for level in 0u8..8 {
            let Some(hash) = carry.take() else { break };
            let at = usize::from(level);
            if self.levels.len() <= at {
                self.levels.push(Vec::new());
            }
            let Some(row) = self.levels.get_mut(at) else { break };
            row.push(hash);
            if row.len() == usize::from(TILE_WIDTH) {
                tiles.push(full(TileKind::Hashes(level), level_size, hash_bytes(row)));
                carry = fold(row);
                row.clear();
            }
            level_size /= u64::from(TILE_WIDTH);
        }
    }

    /// Emits the partial tiles that differ from those of the tree of `old_size`.
    fn partial_tiles(&self, old_size: u64, tiles: &mut Vec<PlannedTile>) {
        let before = Self::tiles(old_size).unwrap_or_default();
        for id in Self::tiles(self.size).unwrap_or_default() {
            if before.contains(&id) {
                continue;
            }
            let data = match id.kind {
                TileKind::Entries => entry_bundle(&self.bundle),
                TileKind::Hashes(level) => {
                    hash_bytes(self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice))
                }
            };
            tiles.push(PlannedTile { id, data });
        }
    }
}

/// The full tile of `kind` that ends at place `level_size` of its level.
fn full(kind: TileKind, level_size: u64, data: Vec<u8>) -> PlannedTile {
    let index = (level_size / u64::from(TILE_WIDTH)).saturating_sub(1);
    PlannedTile { id: TileId { kind, index, width: TILE_WIDTH }, data }
}

fn hash_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|h| h.0).collect()
}

/// The complete subtrees of a row, smallest (rightmost) first: one for each bit of its length.
fn binary_parts(row: &[Hash]) -> Vec<Hash> {
    let mut parts = Vec::new();
    let mut rest = row;
    while !rest.is_empty() {
        let n = 1usize << rest.len().trailing_zeros();
        let (left, part) = rest.split_at(rest.len() - n);
        parts.extend(fold(part));
        rest = left;
    }
    parts
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::hash::tests::naive_root;
    use proptest::prelude::*;
    use std::collections::HashMap;

    pub(crate) type Tiles = HashMap<(TileKind, u64), Vec<u8>>;

    pub(crate) fn entry(n: u64) -> Commitment {
        crate::leaf::commitment(&[0; 32], &n.to_be_bytes())
    }

    /// A tree of `size` entries, appended in batches, with all its tiles.
    pub(crate) fn grow(size: u64, batch: u64) -> (Edge, Tiles) {
        let (mut edge, mut tiles) = (Edge::empty(), Tiles::new());
        while edge.size() < size {
            let upto = size.min(edge.size() + batch);
            let new: Vec<Commitment> = (edge.size()..upto).map(entry).collect();
            let plan = edge.plan(&new, "ledger.example/a").unwrap();
            for t in plan.tiles {
                assert_eq!(t.data.len(), t.id.byte_len(), "{}", t.id);
                tiles.insert((t.id.kind, t.id.index), t.data);
            }
            edge = plan.edge;
        }
        (edge, tiles)
    }

    #[test]
    fn roots_equal_the_definition_at_every_size() {
        let leaves: Vec<Hash> = (0..700).map(|n| leaf_hash(&entry(n))).collect();
        let mut edge = Edge::empty();
        assert_eq!(edge.root(), EMPTY_ROOT);
        for n in 1..=700 {
            edge = edge.plan(&[entry(n - 1)], "ledger.example/a").unwrap().edge;
            let n = usize::try_from(n).unwrap();
            assert_eq!(edge.root(), naive_root(&leaves[..n]), "size {n}");
        }
    }

    #[test]
    fn a_large_tree_needs_only_its_edge_and_equals_the_reference() {
        let (edge, tiles) = grow(70_000, 1009);
        assert_eq!(Edge::load(70_000, &tiles).unwrap(), edge);
        let held: usize = edge.levels.iter().map(Vec::len).sum();
        assert!(held < 3 * 256);
        let leaves: Vec<Hash> = (0..70_000).map(|n| leaf_hash(&entry(n))).collect();
        assert_eq!(edge.root(), fold(&leaves).unwrap());
        assert!(tiles.contains_key(&(TileKind::Hashes(2), 0)));
    }

    #[test]
    fn a_plan_names_exactly_the_tiles_that_changed() {
        let (edge, _) = grow(300, 300);
        let ids = |plan: &Plan| {
            let mut v: Vec<String> = plan.tiles.iter().map(|t| t.id.path()).collect();
            v.sort();
            v
        };
        let one = edge.plan(&[entry(300)], "ledger.example/a").unwrap();
        assert_eq!(ids(&one), ["tile/0/001.p/45", "tile/entries/001.p/45"]);
        let new: Vec<_> = (300..512).map(entry).collect();
        let fills = edge.plan(&new, "ledger.example/a").unwrap();
        assert_eq!(ids(&fills), ["tile/0/001", "tile/1/000.p/2", "tile/entries/001"]);
        assert!(edge.plan(&[], "ledger.example/a").unwrap().tiles.is_empty());
    }

    #[test]
    fn a_damaged_or_missing_edge_is_an_error() {
        let (_, tiles) = grow(300, 300);
        for key in [(TileKind::Entries, 1), (TileKind::Hashes(0), 1), (TileKind::Hashes(1), 0)] {
            let mut without = tiles.clone();
            without.remove(&key);
            assert!(Edge::load(300, &without).is_err(), "{key:?}");
        }
        let mut damaged = tiles;
        damaged.get_mut(&(TileKind::Entries, 1)).unwrap()[1] = 31;
        assert!(Edge::load(300, &damaged).is_err());
        assert!(Edge::load(u64::MAX, &damaged).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn batches_do_not_matter(size in 1u64..1500, batch in 1u64..600) {
            let (a, tiles_a) = grow(size, batch);
            let (b, tiles_b) = grow(size, size);
            prop_assert_eq!(&a, &b);
            prop_assert_eq!(tiles_a, tiles_b);
        }
    }
}
