//! The ledger's state and tiles as the database holds them.

use crate::bundles::{self, Kept};
use crate::error::StoreError;
use crate::store::blocking;
use countersign_ledger::{
    Commitment, Edge, Hash, TileId, TileKind, VerifierKey, entry_bundle, leaf_hash, root,
    root_tiles,
};
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row as _, Sqlite};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

/// Tiles in memory, as the pure ledger code reads them.
pub(crate) type Tiles = HashMap<(TileKind, u64), Vec<u8>>;

/// The one row that says how far the ledger is.
#[derive(Debug, Clone)]
pub(crate) struct LedgerState {
    pub(crate) verifier: VerifierKey,
    /// The key before it, while it still signs checkpoints.
    pub(crate) previous: Option<VerifierKey>,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    pub(crate) checkpoint: String,
}

/// A number as SQLite keeps it; sizes are far below the limit (`MAX_TREE_SIZE`).
pub(crate) fn to_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A number that is never negative in an undamaged database.
pub(crate) fn to_u64(n: i64, path: &Path) -> Result<u64, StoreError> {
    u64::try_from(n).map_err(|_| StoreError::corrupt(path, "a count is negative"))
}

/// Reads the state; `None` while no ledger was begun.
pub(crate) async fn ledger_state(
    conn: &mut SqliteConnection,
    path: &Path,
) -> Result<Option<LedgerState>, StoreError> {
    let err = |e| StoreError::sql(path, e);
    let query = sqlx::query("SELECT vkey, size, root, checkpoint FROM ledger_state");
    let Some(row) = query.fetch_optional(conn).await.map_err(err)? else { return Ok(None) };
    let vkey: String = row.try_get(0).map_err(err)?;
    let root: Vec<u8> = row.try_get(2).map_err(err)?;
    let bad = |what: &str| StoreError::corrupt(path, what);
    let mut keys =
        vkey.lines().map(|k| VerifierKey::parse(k).map_err(|_| bad("the ledger's public key")));
    Ok(Some(LedgerState {
        verifier: keys.next().unwrap_or_else(|| Err(bad("the ledger's public key")))?,
        previous: keys.next().transpose()?,
        size: to_u64(row.try_get(1).map_err(err)?, path)?,
        root: Hash(root.try_into().map_err(|_| bad("the ledger's root"))?),
        checkpoint: row.try_get(3).map_err(err)?,
    }))
}

/// Loads tiles; one that is missing is left out, for the reader to notice. The tile over the leaves
/// of a folded bundle follows from its entries, as the entry bundle does.
pub(crate) async fn load(
    conn: &mut SqliteConnection,
    path: &Path,
    ids: impl IntoIterator<Item = TileId>,
) -> Result<Tiles, StoreError> {
    let ids: Vec<TileId> = ids.into_iter().collect();
    let mut tiles = stored(conn, path, &ids).await?;
    derive(conn, path, &ids, &mut tiles).await?;
    Ok(tiles)
}

/// The hash tiles that have rows of their own, in one query.
pub(crate) async fn stored(
    conn: &mut SqliteConnection,
    path: &Path,
    ids: &[TileId],
) -> Result<Tiles, StoreError> {
    let err = |e| StoreError::sql(path, e);
    let hashes = ids.iter().filter_map(|id| match id.kind {
        TileKind::Hashes(level) => Some((level, to_i64(id.index))),
        TileKind::Entries => None,
    });
    let wanted: Vec<(u8, i64)> = hashes.collect();
    if wanted.is_empty() {
        return Ok(Tiles::new());
    }
    let wanted = serde_json::to_string(&wanted).map_err(StoreError::invalid)?;
    let rows: Vec<(u8, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT t.level, t.idx, t.data FROM json_each(?) w CROSS JOIN tiles t \
         ON t.level = w.value ->> 0 AND t.idx = w.value ->> 1",
    )
    .bind(wanted)
    .fetch_all(conn)
    .await
    .map_err(err)?;
    let tile = |(level, idx, data)| Ok(((TileKind::Hashes(level), to_u64(idx, path)?), data));
    rows.into_iter().map(tile).collect()
}

/// Adds the tiles that follow from entries and are not there yet.
pub(crate) async fn derive(
    conn: &mut SqliteConnection,
    path: &Path,
    ids: &[TileId],
    tiles: &mut Tiles,
) -> Result<(), StoreError> {
    // An entry bundle and the tile over it are often asked for together.
    let mut read: HashMap<(u64, u16), Vec<Commitment>> = HashMap::new();
    for id in ids.iter().filter(|id| matches!(id.kind, TileKind::Hashes(0) | TileKind::Entries)) {
        if tiles.contains_key(&(id.kind, id.index)) {
            continue;
        }
        let entries = match read.entry((id.index, id.width)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let from = id.index.saturating_mul(256);
                let upto = from.saturating_add(u64::from(id.width));
                new.insert(commitments(conn, path, from, upto).await?)
            }
        };
        tiles.insert((id.kind, id.index), over(id.kind, entries));
    }
    Ok(())
}

/// The bundle of entries, or the tile over them as leaves.
fn over(kind: TileKind, entries: &[Commitment]) -> Vec<u8> {
    match kind {
        TileKind::Entries => entry_bundle(entries),
        TileKind::Hashes(_) => entries.iter().flat_map(|e| leaf_hash(e).0).collect(),
    }
}

/// The commitments of the entries `from..upto`, in order and without a gap.
pub(crate) async fn commitments(
    conn: &mut SqliteConnection,
    path: &Path,
    from: u64,
    upto: u64,
) -> Result<Vec<Commitment>, StoreError> {
    let kept = bundles::entries_in(conn, path, from, upto).await?;
    if !kept.iter().map(|k| k.index).eq(from..upto) {
        return Err(StoreError::corrupt(
            path,
            format!("ledger entries {from} to {upto} have gaps"),
        ));
    }
    blocking(move || Ok(kept.iter().map(Kept::commitment).collect())).await
}

/// Writes hash tiles. Entry bundles are the entries themselves and have no rows of their own; nor
/// have the tiles over the leaves of `folded` bundles.
pub(crate) async fn save(
    conn: &mut SqliteConnection,
    path: &Path,
    tiles: &[countersign_ledger::PlannedTile],
    folded: &[u64],
) -> Result<(), StoreError> {
    let hashes = tiles.iter().filter_map(|t| match t.id.kind {
        TileKind::Hashes(0) if folded.contains(&t.id.index) => None,
        TileKind::Hashes(level) => Some((level, t)),
        TileKind::Entries => None,
    });
    let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO tiles (level, idx, width, data) ");
    let mut any = false;
    query.push_values(hashes, |mut row, (level, tile)| {
        any = true;
        row.push_bind(level);
        row.push_bind(to_i64(tile.id.index));
        row.push_bind(tile.id.width);
        row.push_bind(tile.data.as_slice());
    });
    if !any {
        return Ok(());
    }
    query.push(
        " ON CONFLICT (level, idx) DO UPDATE SET width = excluded.width, data = excluded.data",
    );
    let done = query.build().persistent(false).execute(conn).await;
    done.map(drop).map_err(|e| StoreError::sql(path, e))
}

/// The edge of the tree of `size` entries, from the database.
pub(crate) async fn load_edge(
    conn: &mut SqliteConnection,
    path: &Path,
    size: u64,
) -> Result<Edge, StoreError> {
    let ids = Edge::tiles(size).map_err(|e| StoreError::corrupt(path, e))?;
    let tiles = load(conn, path, ids).await?;
    Edge::load(size, &tiles).map_err(|e| StoreError::corrupt(path, e))
}

/// The root that the tree had at `size`, from the database.
pub(crate) async fn root_at(
    conn: &mut SqliteConnection,
    path: &Path,
    size: u64,
) -> Result<Hash, StoreError> {
    let ids = root_tiles(size).map_err(|e| StoreError::corrupt(path, e))?;
    let tiles = load(conn, path, ids).await?;
    root(size, &tiles).map_err(|e| StoreError::corrupt(path, e))
}
