//! Inclusion and consistency proofs: made from tiles, verified without any.

use crate::hash::{EMPTY_ROOT, Hash, fold, node_hash};
use crate::tile::{MAX_TREE_SIZE, TileError, TileId, TileKind, TileSource, read_hashes};
use std::collections::BTreeSet;

/// Why a proof cannot be made, or proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// A leaf or a size that the tree does not have.
    #[error("a tree of {size} entries has no place {index}")]
    OutOfRange {
        /// The place that was asked for.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A size above [`MAX_TREE_SIZE`].
    #[error("a tree of {size} entries is larger than a ledger can be")]
    TooLarge {
        /// The size.
        size: u64,
    },
    /// The proof does not lead to the root.
    #[error("the proof does not lead to the checkpoint's root")]
    Mismatch,
    /// A tile is missing or damaged.
    #[error(transparent)]
    Tile(#[from] TileError),
}

/// The root of the tree of `size` leaves. Costs one tile a level.
///
/// # Errors
/// When the size is too large, or a tile is missing or damaged.
pub fn root(size: u64, source: &impl TileSource) -> Result<Hash, ProofError> {
    check_size(size)?;
    if size == 0 {
        return Ok(EMPTY_ROOT);
    }
    range_hash(0, size, &mut from_tiles(size, &mut |t| read_hashes(source, t)))
}

/// The tiles that [`root`] reads.
///
/// # Errors
/// When the size is too large.
pub fn root_tiles(size: u64) -> Result<BTreeSet<TileId>, ProofError> {
    check_size(size)?;
    list(size, |node| if size == 0 { Ok(()) } else { range_hash(0, size, node).map(drop) })
}

/// The proof that leaf `index` is in the tree of `size` leaves (RFC 6962 section 2.1.1), from the
/// leaf up.
///
/// # Errors
/// When there is no such leaf, or a tile is missing or damaged.
pub fn inclusion_proof(
    index: u64,
    size: u64,
    source: &impl TileSource,
) -> Result<Vec<Hash>, ProofError> {
    inclusion(index, size, &mut from_tiles(size, &mut |t| read_hashes(source, t)))
}

/// The tiles that [`inclusion_proof`] reads.
///
/// # Errors
/// When there is no such leaf.
pub fn inclusion_tiles(index: u64, size: u64) -> Result<BTreeSet<TileId>, ProofError> {
    list(size, |node| inclusion(index, size, node).map(drop))
}

/// The proof that the tree of `new` leaves continues the tree of `old` leaves
/// (RFC 6962 section 2.1.2).
///
/// # Errors
/// When `old` is above `new`, or a tile is missing or damaged.
pub fn consistency_proof(
    old: u64,
    new: u64,
    source: &impl TileSource,
) -> Result<Vec<Hash>, ProofError> {
    consistency(old, new, &mut from_tiles(new, &mut |t| read_hashes(source, t)))
}

/// The tiles that [`consistency_proof`] reads.
///
/// # Errors
/// When `old` is above `new`.
pub fn consistency_tiles(old: u64, new: u64) -> Result<BTreeSet<TileId>, ProofError> {
    list(new, |node| consistency(old, new, node).map(drop))
}

/// Verifies an inclusion proof (RFC 9162 section 2.1.3.2).
///
/// # Errors
/// When the proof does not lead from the leaf at `index` to `root`.
pub fn verify_inclusion(
    leaf: Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: Hash,
) -> Result<(), ProofError> {
    check_size(size)?;
    if index >= size {
        return Err(ProofError::OutOfRange { index, size });
    }
    let (mut at, mut last, mut hash) = (index, size.saturating_sub(1), leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Mismatch);
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(*sibling, hash);
            // The last node of a level without a sibling moves up until it has one.
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(hash, *sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == root { Ok(()) } else { Err(ProofError::Mismatch) }
}

/// Verifies a consistency proof (RFC 9162 section 2.1.4.2). Every tree continues the empty one, and
/// itself, with an empty proof.
///
/// # Errors
/// When the proof does not lead to both roots.
pub fn verify_consistency(
    old: u64,
    old_root: Hash,
    new: u64,
    new_root: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    check_size(new)?;
    if old > new {
        return Err(ProofError::OutOfRange { index: old, size: new });
    }
    if old == 0 || old == new {
        let same = if old == 0 { old_root == EMPTY_ROOT } else { old_root == new_root };
        return if same && proof.is_empty() { Ok(()) } else { Err(ProofError::Mismatch) };
    }
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // A complete old tree is a node of the new one, so the proof does not repeat its root.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(ProofError::Mismatch)?;
        (*first, rest)
    };
    let (mut of_old, mut of_new) = (first, first);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::Mismatch);
        }
        if at & 1 == 1 || at == last {
            of_old = node_hash(*sibling, of_old);
            of_new = node_hash(*sibling, of_new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            of_new = node_hash(of_new, *sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    let holds = last == 0 && of_old == old_root && of_new == new_root;
    if holds { Ok(()) } else { Err(ProofError::Mismatch) }
}

fn check_size(size: u64) -> Result<(), ProofError> {
    if size > MAX_TREE_SIZE { Err(ProofError::TooLarge { size }) } else { Ok(()) }
}

/// Reads the hashes of a tile, or notes which tile would be read.
type Read<'a> = dyn FnMut(TileId) -> Result<Vec<Hash>, TileError> + 'a;

/// Gives the hash of the complete subtree of `1 << height` leaves at a place among those of its
/// height.
pub(crate) type Node<'a> = dyn FnMut(u32, u64) -> Result<Hash, ProofError> + 'a;

/// Runs a walk that only notes the tiles it would read in a tree of `size` leaves.
fn list(
    size: u64,
    walk: impl FnOnce(&mut Node<'_>) -> Result<(), ProofError>,
) -> Result<BTreeSet<TileId>, ProofError> {
    let mut tiles = BTreeSet::new();
    walk(&mut |height, place| {
        tiles.insert(tile_of(height, place, size)?.0);
        Ok(EMPTY_ROOT)
    })?;
    Ok(tiles)
}

/// Nodes of a tree of `size` leaves, computed from its tiles.
fn from_tiles(size: u64, read: &mut Read<'_>) -> impl FnMut(u32, u64) -> Result<Hash, ProofError> {
    move |height, place| {
        let out = || ProofError::OutOfRange { index: place, size };
        let (id, from, count) = tile_of(height, place, size)?;
        let hashes = read(id)?;
        fold(hashes.get(from..from.saturating_add(count)).ok_or_else(out)?).ok_or_else(out)
    }
}

pub(crate) fn inclusion(
    index: u64,
    size: u64,
    node: &mut Node<'_>,
) -> Result<Vec<Hash>, ProofError> {
    check_size(size)?;
    if index >= size {
        return Err(ProofError::OutOfRange { index, size });
    }
    let (mut lo, mut hi, mut path) = (0, size, Vec::new());
    while hi - lo > 1 {
        let middle = lo + split(hi - lo);
        if index < middle {
            path.push(range_hash(middle, hi, node)?);
            hi = middle;
        } else {
            path.push(range_hash(lo, middle, node)?);
            lo = middle;
        }
    }
    path.reverse();
    Ok(path)
}

pub(crate) fn consistency(
    old: u64,
    new: u64,
    node: &mut Node<'_>,
) -> Result<Vec<Hash>, ProofError> {
    check_size(new)?;
    if old > new {
        return Err(ProofError::OutOfRange { index: old, size: new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let (mut lo, mut hi, mut path) = (0, new, Vec::new());
    while old != hi {
        let middle = lo + split(hi - lo);
        if old <= middle {
            path.push(range_hash(middle, hi, node)?);
            hi = middle;
        } else {
            path.push(range_hash(lo, middle, node)?);
            lo = middle;
        }
    }
    if lo > 0 {
        path.push(range_hash(lo, hi, node)?);
    }
    path.reverse();
    Ok(path)
}

/// The largest power of two below `n`, where `n` is at least 2: where RFC 6962 splits a tree.
fn split(n: u64) -> u64 {
    1 << n.saturating_sub(1).max(1).ilog2()
}

/// The hash over the leaves `lo..hi`, of which `lo` is a place that [`split`] leads to.
pub(crate) fn range_hash(lo: u64, hi: u64, node: &mut Node<'_>) -> Result<Hash, ProofError> {
    let mut parts = Vec::new();
    let mut at = lo;
    while at < hi {
        let height = (hi - at).ilog2();
        parts.push(node(height, at >> height)?);
        at += 1 << height;
    }
    let joined = parts.into_iter().rev().reduce(|right, left| node_hash(left, right));
    Ok(joined.unwrap_or(EMPTY_ROOT))
}

/// Where a node is: the tile of a tree of `size` leaves that it is computed from, and from which
/// place on how many of its hashes.
pub(crate) fn tile_of(
    height: u32,
    place: u64,
    size: u64,
) -> Result<(TileId, usize, usize), ProofError> {
    let out = || ProofError::OutOfRange { index: place, size };
    let level = u8::try_from(height / 8).map_err(|_| out())?;
    let first = place << (height % 8);
    let id = TileId::in_tree(TileKind::Hashes(level), first >> 8, size).ok_or_else(out)?;
    Ok((id, usize::try_from(first & 255).map_err(|_| out())?, 1 << (height % 8)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::tests::{entry, grow};
    use crate::hash::leaf_hash;
    use crate::hash::tests::naive_root;

    struct Leaves(Vec<Hash>);

    impl tlog_tiles::HashReader for Leaves {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
            let at = |i: u64| {
                let (level, n) = tlog_tiles::split_stored_hash_index(i);
                let from = usize::try_from(n << level).unwrap();
                tlog_tiles::Hash(naive_root(&self.0[from..from + (1 << level)]).0)
            };
            Ok(indexes.iter().map(|i| at(*i)).collect())
        }
    }

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&entry(i))).collect()
    }

    #[test]
    fn every_inclusion_proof_to_size_70_verifies_and_equals_the_reference() {
        let all = leaves(70);
        let (_, tiles) = grow(70, 70);
        let reference = Leaves(all.clone());
        for size in 1..=70u64 {
            let head = naive_root(&all[..usize::try_from(size).unwrap()]);
            assert_eq!(root(size, &tiles).unwrap(), head);
            for index in 0..size {
                let leaf = all[usize::try_from(index).unwrap()];
                let proof = inclusion_proof(index, size, &tiles).unwrap();
                let theirs = tlog_tiles::prove_record(size, index, &reference).unwrap();
                assert_eq!(
                    proof.iter().map(|h| h.0).collect::<Vec<_>>(),
                    theirs.iter().map(|h| h.0).collect::<Vec<_>>(),
                    "{index} in {size}"
                );
                verify_inclusion(leaf, index, size, &proof, head).unwrap();
                for other in 0..size {
                    let fits = verify_inclusion(leaf, other, size, &proof, head).is_ok();
                    assert_eq!(fits, other == index, "{index} as {other} in {size}");
                }
                let mut longer = proof.clone();
                longer.push(head);
                assert!(verify_inclusion(leaf, index, size, &longer, head).is_err());
                if let Some((_, shorter)) = proof.split_last() {
                    assert!(verify_inclusion(leaf, index, size, shorter, head).is_err());
                }
                for n in 0..proof.len() {
                    let mut changed = proof.clone();
                    changed[n].0[n % 32] ^= 1;
                    assert!(verify_inclusion(leaf, index, size, &changed, head).is_err());
                }
            }
        }
    }

    #[test]
    fn every_consistency_proof_to_size_70_verifies_and_equals_the_reference() {
        let all = leaves(70);
        let (_, tiles) = grow(70, 70);
        let reference = Leaves(all.clone());
        let head = |n: u64| naive_root(&all[..usize::try_from(n).unwrap()]);
        for new in 0..=70u64 {
            for old in 0..=new {
                let proof = consistency_proof(old, new, &tiles).unwrap();
                verify_consistency(old, head(old), new, head(new), &proof).unwrap();
                if old > 0 {
                    let theirs = tlog_tiles::prove_tree(new, old, &reference).unwrap();
                    assert_eq!(
                        proof.iter().map(|h| h.0).collect::<Vec<_>>(),
                        theirs.iter().map(|h| h.0).collect::<Vec<_>>(),
                        "{old} to {new}"
                    );
                }
                let mut other = head(old);
                other.0[0] ^= 1;
                assert!(verify_consistency(old, other, new, head(new), &proof).is_err());
                let mut longer = proof.clone();
                longer.push(head(new));
                assert!(verify_consistency(old, head(old), new, head(new), &longer).is_err());
                for n in 0..proof.len() {
                    let mut changed = proof.clone();
                    changed[n].0[n % 32] ^= 1;
                    assert!(
                        verify_consistency(old, head(old), new, head(new), &changed).is_err(),
                        "{old} to {new}"
                    );
                }
            }
        }
    }

    #[test]
    fn proofs_across_tile_borders_verify_and_read_only_the_listed_tiles() {
        let (edge, tiles) = grow(66_000, 4096);
        let all = leaves(66_000);
        for index in [0, 1, 255, 256, 511, 512, 65_535, 65_536, 65_999] {
            for size in [257, 512, 65_536, 65_537, 66_000u64] {
                if index >= size {
                    assert!(inclusion_proof(index, size, &tiles).is_err());
                    continue;
                }
                let mut few = tiles.clone();
                let need = inclusion_tiles(index, size).unwrap();
                few.retain(|k, _| need.iter().any(|t| (t.kind, t.index) == *k));
                let proof = inclusion_proof(index, size, &few).unwrap();
                let head = root(size, &tiles).unwrap();
                let leaf = all[usize::try_from(index).unwrap()];
                verify_inclusion(leaf, index, size, &proof, head).unwrap();
                assert!(need.len() <= 6, "{}", need.len());
            }
        }
        let mut few = tiles.clone();
        let need = consistency_tiles(65_537, 66_000).unwrap();
        few.retain(|k, _| need.iter().any(|t| (t.kind, t.index) == *k));
        let proof = consistency_proof(65_537, 66_000, &few).unwrap();
        let old = root(65_537, &tiles).unwrap();
        verify_consistency(65_537, old, 66_000, edge.root(), &proof).unwrap();
    }

    #[test]
    fn hostile_sizes_are_errors() {
        let huge = [MAX_TREE_SIZE + 1, u64::MAX - 1, u64::MAX];
        for size in huge {
            assert!(verify_inclusion(EMPTY_ROOT, 0, size, &[], EMPTY_ROOT).is_err());
            assert!(verify_consistency(1, EMPTY_ROOT, size, EMPTY_ROOT, &[]).is_err());
            assert!(inclusion_tiles(0, size).is_err());
            assert!(root_tiles(size).is_err());
        }
        assert!(verify_inclusion(EMPTY_ROOT, 5, 5, &[], EMPTY_ROOT).is_err());
        assert!(verify_inclusion(EMPTY_ROOT, 0, 0, &[], EMPTY_ROOT).is_err());
        assert!(verify_consistency(6, EMPTY_ROOT, 5, EMPTY_ROOT, &[]).is_err());
        assert!(!inclusion_tiles(MAX_TREE_SIZE - 1, MAX_TREE_SIZE).unwrap().is_empty());
    }
}
