//! Tiles (C2SP tlog-tiles): 256 hashes of one level, or 256 entries, under a path of their own.

use crate::hash::{Hash, fold};
use std::fmt;

/// Hashes or entries in a full tile.
pub const TILE_WIDTH: u16 = 256;

/// Largest tree that is read or written. Far above what a ledger reaches, and low enough that no
/// arithmetic on sizes overflows, whatever a hostile proof says.
pub const MAX_TREE_SIZE: u64 = 1 << 48;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TileKind {
    /// Hashes of the tree's level `8 * n` above the leaves.
    Hashes(u8),
    /// Log entries.
    Entries,
}

/// The identity of a tile, complete or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    /// What it holds.
    pub kind: TileKind,
    /// Its place in its level, from the left.
    pub index: u64,
    /// How many hashes or entries it holds, 1 to 256.
    pub width: u16,
}

impl TileId {
    /// Whether the tile can never change again.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width >= TILE_WIDTH
    }

    /// The tile that holds place `index` of `kind`'s level in a tree of `size` leaves.
    #[must_use]
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let level = match kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        let in_level = size.checked_shr(u32::from(level).checked_mul(8)?).unwrap_or(0);
        let before = index.checked_mul(u64::from(TILE_WIDTH))?;
        let width = in_level.checked_sub(before).filter(|w| *w > 0)?.min(u64::from(TILE_WIDTH));
        Some(Self { kind, index, width: u16::try_from(width).ok()? })
    }

    /// The path under which the tile is published: `tile/0/x001/234`, `tile/entries/067.p/12`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut groups = vec![format!("{:03}", self.index % 1000)];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.insert(0, format!("x{:03}", rest % 1000));
            rest /= 1000;
        }
        let partial = if self.is_full() { String::new() } else { format!(".p/{}", self.width) };
        match self.kind {
            TileKind::Hashes(level) => format!("tile/{level}/{}{partial}", groups.join("/")),
            TileKind::Entries => format!("tile/entries/{}{partial}", groups.join("/")),
        }
    }

    /// Length in bytes of the tile as this ledger writes it.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        match self.kind {
            TileKind::Hashes(_) => usize::from(self.width) * 32,
            TileKind::Entries => usize::from(self.width) * 34,
        }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// Why a tile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// The source does not have it.
    #[error("the ledger's tile `{tile}` is missing")]
    Missing {
        /// The tile's path.
        tile: String,
    },
    /// It is there, with another length or form.
    #[error("the ledger's tile `{tile}` is damaged")]
    Damaged {
        /// The tile's path.
        tile: String,
    },
    /// It could not be read.
    #[error("the ledger's tile `{tile}` cannot be read: {because}")]
    Unreadable {
        /// The tile's path.
        tile: String,
        /// Why.
        because: String,
    },
}

/// Where tiles come from: a folder, a database, a web server.
pub trait TileSource {
    /// The bytes of a tile. A source that holds a wider version of a partial tile returns the first
    /// `tile.width` hashes or entries of it.
    ///
    /// # Errors
    /// When the source does not have the tile, or cannot read it.
    fn tile(&self, tile: TileId) -> Result<Vec<u8>, TileError>;
}

impl<S: std::hash::BuildHasher> TileSource
    for std::collections::HashMap<(TileKind, u64), Vec<u8>, S>
{
    fn tile(&self, tile: TileId) -> Result<Vec<u8>, TileError> {
        let missing = || TileError::Missing { tile: tile.path() };
        let bytes = self.get(&(tile.kind, tile.index)).ok_or_else(missing)?;
        Ok(bytes.get(..tile.byte_len()).ok_or_else(missing)?.to_vec())
    }
}

impl<T: TileSource + ?Sized> TileSource for &T {
    fn tile(&self, tile: TileId) -> Result<Vec<u8>, TileError> {
        (**self).tile(tile)
    }
}

/// The one hash over a full hash tile, which the tile a level above holds; `None` of other bytes.
#[must_use]
pub fn tile_root(tile: &[u8]) -> Option<Hash> {
    let (hashes, rest) = tile.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(TILE_WIDTH) {
        return None;
    }
    fold(&hashes.iter().map(|h| Hash(*h)).collect::<Vec<_>>())
}

/// The hashes of a hash tile, exactly `tile.width` of them.
pub(crate) fn read_hashes(source: &impl TileSource, tile: TileId) -> Result<Vec<Hash>, TileError> {
    let bytes = source.tile(tile)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() != usize::from(tile.width) {
        return Err(TileError::Damaged { tile: tile.path() });
    }
    Ok(hashes.iter().map(|h| Hash(*h)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        for (kind, index, width, want) in [
            (TileKind::Hashes(0), 0, 256, "tile/0/000"),
            (TileKind::Hashes(0), 1_234_067, 256, "tile/0/x001/x234/067"),
            (TileKind::Hashes(1), 273, 112, "tile/1/273.p/112"),
            (TileKind::Entries, 999, 1, "tile/entries/999.p/1"),
            (TileKind::Entries, 1000, 256, "tile/entries/x001/000"),
        ] {
            assert_eq!(TileId { kind, index, width }.path(), want);
        }
    }

    #[test]
    fn hash_tile_paths_agree_with_the_reference_implementation() {
        for (level, index, width) in [(0, 7, 256), (1, 273, 112), (2, 1_234_067, 255)] {
            let theirs = tlog_tiles::Tile::new(8, level, index, u32::from(width), false).path();
            let ours = TileId { kind: TileKind::Hashes(level), index, width }.path();
            // The reference writes the tile height as a first element where it is not fixed at 8.
            assert!(theirs.ends_with(ours.trim_start_matches("tile/")), "{theirs} {ours}");
        }
    }

    #[test]
    fn the_width_follows_from_the_size() {
        let w = |level, index, size| {
            TileId::in_tree(TileKind::Hashes(level), index, size).map(|t| t.width)
        };
        assert_eq!(w(0, 0, 1), Some(1));
        assert_eq!(w(0, 0, 256), Some(256));
        assert_eq!(w(0, 1, 256), None);
        assert_eq!(w(1, 0, 255), None);
        assert_eq!(w(1, 0, 70_000), Some(256));
        assert_eq!(w(1, 1, 70_000), Some(17));
        assert_eq!(w(2, 0, 70_000), Some(1));
        assert_eq!(w(255, 0, MAX_TREE_SIZE), None);
        assert_eq!(w(0, u64::MAX, MAX_TREE_SIZE), None);
    }
}
