//! Publishing: the database's ledger copied to files that anyone may read (C2SP tlog-tiles).
//!
//! One path serves the commit, the next commit after a failed one, and start-up after a crash: write
//! whatever lies between the published checkpoint and the database, then the checkpoint. While a
//! store is open a task of its own does it, so that writing files and writing the database overlap.

use crate::error::StoreError;
use crate::keys::sync;
use crate::lock;
use crate::steps::{Step, Steps};
use crate::store::{Paths, blocking, private_dir};
use crate::tiles::{LedgerState, Tiles, ledger_state, load};
use countersign_ledger::{Checkpoint, TileId, TileKind};
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Tiles that are loaded and written at a time, against memory on a first publication.
const PAGE: usize = 256;

/// How long a publication waits after the one before when nobody waits for it. Under load each commit
/// widens the same few tiles at the edge, which are files of their own.
const PACE: Duration = Duration::from_millis(25);

/// Temporary names begin so; they are only ever made under the lock.
const TEMPORARY: &str = ".tmp-";

/// The way to the task that publishes. It ends when the last of these is gone.
#[derive(Clone)]
pub(crate) struct Publisher {
    /// The largest size that is to be published.
    wanted: watch::Sender<u64>,
    /// The size up to which publication was tried; whether it succeeded is in the log.
    tried: watch::Receiver<u64>,
    /// That somebody waits.
    hurry: Arc<Notify>,
}

impl Publisher {
    /// Starts the task, which reads through `readers`.
    pub(crate) fn spawn(paths: Paths, readers: SqlitePool, size: u64) -> Self {
        let (wanted, mut sizes) = watch::channel(size);
        let (done, tried) = watch::channel(size);
        let hurry = Arc::new(Notify::new());
        let waiting = Arc::clone(&hurry);
        tokio::spawn(async move {
            while sizes.changed().await.is_ok() {
                let size = *sizes.borrow_and_update();
                if let Err(e) = publish_from_pool(&paths, &readers).await {
                    tracing::warn!(error = %e, "ledger files are behind the database, will publish again");
                }
                done.send_replace(size);
                tokio::select! {
                    () = tokio::time::sleep(PACE) => {}
                    () = waiting.notified() => {}
                }
            }
        });
        Self { wanted, tried, hurry }
    }

    /// Asks for everything up to `size` to be published, and does not wait.
    pub(crate) fn publish(&self, size: u64) {
        self.wanted.send_if_modified(|wanted| {
            let more = size > *wanted;
            *wanted = size.max(*wanted);
            more
        });
    }

    /// Waits until publication up to `size` was tried.
    pub(crate) async fn reached(&self, size: u64) {
        self.hurry.notify_one();
        drop(self.tried.clone().wait_for(|tried| *tried >= size).await);
    }

    /// Waits until nothing is left to be tried.
    pub(crate) async fn settle(&self) {
        let wanted = *self.wanted.borrow();
        self.reached(wanted).await;
    }
}

async fn publish_from_pool(paths: &Paths, readers: &SqlitePool) -> Result<(), StoreError> {
    let conn = readers.acquire().await;
    let mut conn = conn.map_err(|e| StoreError::sql(&paths.database(), e))?;
    publish(paths, &mut conn).await
}

/// Publishes what the database has and the files lack, under the store's lock: of two processes that
/// committed at once, either may come first, and the second finds its work done.
pub(crate) async fn publish(paths: &Paths, conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let held = lock::exclusive(paths.lock()).await?;
    let published = published_size(&paths.checkpoint())?.unwrap_or(0);
    let state = ledger_state(conn, &paths.database()).await?;
    if let Some(state) = state.filter(|s| s.size > published) {
        publish_range(paths, conn, published, &state).await?;
    }
    drop(held);
    Ok(())
}

/// Publishes from a tree of `from` entries to the database's state. The caller holds the lock.
pub(crate) async fn publish_range(
    paths: &Paths,
    conn: &mut SqliteConnection,
    from: u64,
    state: &LedgerState,
) -> Result<(), StoreError> {
    let ids = changed_tiles(from, state.size);
    for page in ids.chunks(PAGE) {
        let tiles = load(conn, &paths.database(), page.iter().copied()).await?;
        let (paths, page) = (paths.clone(), page.to_vec());
        blocking(move || page.iter().try_for_each(|id| write_tile(&paths, *id, &tiles))).await?;
    }
    let (paths, note) = (paths.clone(), state.checkpoint.clone());
    blocking(move || {
        // Synced: it is what a lost or rolled-back database is noticed by.
        write_file(&paths.steps, &paths.checkpoint(), note.as_bytes(), true)?;
        paths.steps.at(Step::Published, &paths.checkpoint())
    })
    .await
}

/// The tiles of a tree of `new` entries that a tree of `old` entries does not have, or has narrower.
pub(crate) fn changed_tiles(old: u64, new: u64) -> Vec<TileId> {
    let mut out = Vec::new();
    let mut row = |kind, old_level: u64, new_level: u64| {
        for index in old_level / 256..new_level.div_ceil(256) {
            let tile = TileId::in_tree(kind, index, new);
            out.extend(tile.filter(|t| TileId::in_tree(kind, index, old) != Some(*t)));
        }
    };
    row(TileKind::Entries, old, new);
    let (mut old_level, mut new_level) = (old, new);
    for level in 0..8 {
        row(TileKind::Hashes(level), old_level, new_level);
        (old_level, new_level) = (old_level / 256, new_level / 256);
    }
    out
}

fn write_tile(paths: &Paths, id: TileId, tiles: &Tiles) -> Result<(), StoreError> {
    let dir = paths.ledger();
    let path = dir.join(id.path());
    let data = tiles.get(&(id.kind, id.index)).and_then(|d| d.get(..id.byte_len()));
    let data = data.ok_or_else(|| StoreError::corrupt(&dir, format!("tile `{id}` is missing")))?;
    // A full tile never changes and is not looked at again, so it is synced before a checkpoint that
    // counts on it. A partial one is compared with the database whenever the store is opened.
    write_file(&paths.steps, &path, data, id.is_full())?;
    if id.is_full() {
        // The specification lets readers fall back to the full tile, so its stages can go.
        let partial = path.with_file_name(format!("{}.p", file_name(&path)));
        match std::fs::remove_dir_all(&partial) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                tracing::debug!(path = %partial.display(), error = %e, "partial tiles stay behind");
            }
            _ => {}
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Writes a file by rename, so that a reader sees all of it or none. The caller holds the lock, so
/// one temporary name in each folder is enough.
pub(crate) fn write_file(
    steps: &Steps,
    path: &Path,
    data: &[u8],
    synced: bool,
) -> Result<(), StoreError> {
    let dir = path.parent().unwrap_or(path);
    private_dir(dir)?;
    let temporary = dir.join(format!("{TEMPORARY}{}", file_name(path)));
    std::fs::write(&temporary, data).map_err(|e| StoreError::io(&temporary, &e))?;
    if synced {
        sync(&temporary)?;
    }
    steps.at(Step::Written(&temporary), &temporary)?;
    std::fs::rename(&temporary, path).map_err(|e| StoreError::io(path, &e))?;
    steps.at(Step::Named(path), path)?;
    if synced { sync(dir) } else { Ok(()) }
}

/// The size that the published checkpoint claims; `None` when there is none, or power loss left one
/// that is not readable. What it claims is verified at open (`recover`).
pub(crate) fn published_size(path: &Path) -> Result<Option<u64>, StoreError> {
    let Some(note) = read_checkpoint(path)? else { return Ok(None) };
    let body = note.split_once("\n\n").map(|(text, _)| format!("{text}\n"));
    Ok(body.and_then(|b| Checkpoint::parse_body(&b).ok()).map(|c| c.size))
}

/// The published checkpoint's text; `None` when there is none or it is empty.
pub(crate) fn read_checkpoint(path: &Path) -> Result<Option<String>, StoreError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok().filter(|t| !t.trim_matches('\0').is_empty())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io(path, &e)),
    }
}

/// Rewrites the partial tiles at the tree's edge where their files differ from the database, and
/// removes temporary files. The caller holds the lock.
pub(crate) async fn repair_edge(
    paths: &Paths,
    conn: &mut SqliteConnection,
    size: u64,
) -> Result<(), StoreError> {
    let database = paths.database();
    let ids = countersign_ledger::Edge::tiles(size);
    let ids = ids.map_err(|e| StoreError::corrupt(&database, e))?;
    let tiles = load(conn, &database, ids.iter().copied()).await?;
    let paths = paths.clone();
    blocking(move || {
        let dir = paths.ledger();
        remove_temporary(&dir);
        for id in ids {
            let path: PathBuf = dir.join(id.path());
            if path.parent().is_some_and(Path::exists) {
                path.parent().into_iter().for_each(remove_temporary);
            }
            let wanted = tiles.get(&(id.kind, id.index)).and_then(|d| d.get(..id.byte_len()));
            if std::fs::read(&path).ok().as_deref() != wanted {
                write_tile(&paths, id, &tiles)?;
            }
        }
        Ok(())
    })
    .await
}

/// Removes temporary files of a folder; one that stays is overwritten by the next of its name.
fn remove_temporary(dir: &Path) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_name().to_string_lossy().starts_with(TEMPORARY)) {
        drop(std::fs::remove_file(entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ledger::Edge;
    use std::collections::BTreeSet;

    #[test]
    fn changed_tiles_are_those_that_a_plan_writes() {
        for (old, new) in [(0, 1), (0, 300), (1, 255), (255, 256), (256, 257), (300, 70_000)] {
            let entries = vec![[0; 32]; usize::try_from(new).unwrap()];
            let before =
                Edge::empty().plan(&entries[..usize::try_from(old).unwrap()], "a").unwrap();
            let added = &entries[usize::try_from(old).unwrap()..];
            let plan = before.edge.plan(added, "a").unwrap();
            let planned: BTreeSet<TileId> = plan.tiles.iter().map(|t| t.id).collect();
            let changed: BTreeSet<TileId> = changed_tiles(old, new).into_iter().collect();
            assert_eq!(planned, changed, "{old} to {new}");
        }
    }
}
