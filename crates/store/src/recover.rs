//! Opening after anything: what the database, the files and the key say about the ledger must agree.

use crate::error::StoreError;
use crate::keyring::{history_in, publish_rotations};
use crate::keys::private_path;
use crate::publish::{publish_range, read_checkpoint, repair_edge};
use crate::store::Paths;
use crate::tiles::{LedgerState, ledger_state, root_at};
use countersign_ledger::{
    Checkpoint, EMPTY_ROOT, SigningKey, TILE_WIDTH, TileId, TileKind, VerifiedCheckpoint,
    VerifierKey, verify_checkpoint,
};
use sqlx::sqlite::SqliteConnection;

/// Refuses to create a database where a ledger was published: it was lost, and a new one would fork.
pub(crate) fn refuse_to_replace(paths: &Paths) -> Result<(), StoreError> {
    match crate::publish::published_size(&paths.checkpoint())? {
        Some(published) if published > 0 => Err(StoreError::RolledBack { published, database: 0 }),
        _ => Ok(()),
    }
}

/// Checks the ledger's state, begins the ledger where there is a key and no state yet, and publishes
/// what a crash left unpublished. The caller holds the store's lock.
pub(crate) async fn recover(
    paths: &Paths,
    conn: &mut SqliteConnection,
    key: Option<&SigningKey>,
) -> Result<Option<LedgerState>, StoreError> {
    let published = read_checkpoint(&paths.checkpoint())?;
    let mut state = ledger_state(conn, &paths.database()).await?;
    match (&state, key) {
        (Some(_), None) => {
            return Err(StoreError::NoLedgerKey {
                path: private_path(paths),
                next: "restore it from a backup; to read the ledger without it, open the store for \
                       reading only",
            });
        }
        (Some(state), Some(key)) if state.verifier != *key.verifier() => {
            return Err(StoreError::WrongKey {
                path: private_path(paths),
                because: format!(
                    "it is `{}`, and the ledger was begun with `{}`",
                    key.verifier().key_id(),
                    state.verifier.key_id()
                ),
            });
        }
        (None, Some(key)) => {
            refuse_to_replace(paths)?;
            state = Some(begin(paths, conn, key).await?);
        }
        _ => {}
    }
    let Some(state) = state else {
        refuse_to_replace(paths)?;
        return Ok(None);
    };
    let published = compare(paths, conn, published.as_deref(), &state).await?;
    let from = published.map_or(0, |c| c.size());
    if published_differs(paths, &state)? {
        publish_range(paths, conn, from, &state).await?;
    }
    publish_rotations(paths, conn).await?;
    repair_edge(paths, conn, state.size).await?;
    Ok(Some(state))
}

/// Checks the ledger's state without writing anything.
pub(crate) async fn check(
    paths: &Paths,
    conn: &mut SqliteConnection,
) -> Result<Option<LedgerState>, StoreError> {
    // The file before the database: another process may append in between, and then the database is
    // ahead, as it should be. The other order would see a rollback that is none.
    let published = read_checkpoint(&paths.checkpoint())?;
    let state = ledger_state(conn, &paths.database()).await?;
    match &state {
        Some(state) => {
            compare(paths, conn, published.as_deref(), state).await?;
        }
        None => refuse_to_replace(paths)?,
    }
    Ok(state)
}

fn published_differs(paths: &Paths, state: &LedgerState) -> Result<bool, StoreError> {
    Ok(read_checkpoint(&paths.checkpoint())?.as_deref() != Some(state.checkpoint.as_str()))
}

/// Writes the state of a ledger without entries.
async fn begin(
    paths: &Paths,
    conn: &mut SqliteConnection,
    key: &SigningKey,
) -> Result<LedgerState, StoreError> {
    let checkpoint = Checkpoint {
        origin: key.name().to_owned(),
        size: 0,
        root: EMPTY_ROOT,
        extensions: Vec::new(),
    };
    let note = checkpoint.sign(key).map_err(StoreError::ledger)?;
    sqlx::query(
        "INSERT INTO ledger_state (id, vkey, size, root, checkpoint) VALUES (1, ?, 0, ?, ?)",
    )
    .bind(key.verifier().to_string())
    .bind(&EMPTY_ROOT.0[..])
    .bind(&note)
    .execute(conn)
    .await
    .map_err(|e| StoreError::sql(&paths.database(), e))?;
    let verifier = key.verifier().clone();
    Ok(LedgerState { verifier, previous: None, size: 0, root: EMPTY_ROOT, checkpoint: note })
}

/// Compares database and published checkpoint: both signed, and one history.
async fn compare(
    paths: &Paths,
    conn: &mut SqliteConnection,
    published: Option<&str>,
    state: &LedgerState,
) -> Result<Option<VerifiedCheckpoint>, StoreError> {
    let database = paths.database();
    let own = verified(&state.checkpoint, &state.verifier);
    let own = own.map_err(|e| StoreError::corrupt(&database, e))?;
    if (own.size(), own.root()) != (state.size, state.root) {
        return Err(StoreError::corrupt(&database, "the checkpoint is not that of the tree"));
    }
    compare_cosigned(paths, conn, state).await?;
    let beyond = published_beyond(paths, state.size);
    if beyond > state.size {
        return Err(StoreError::RolledBack { published: beyond, database: state.size });
    }
    let Some(published) = published else { return Ok(None) };
    // What was published before a rotation has the old key's signature alone.
    let keys = history_in(conn, &database, state).await?;
    let published = keys
        .verify_checkpoint(published)
        .map_err(|e| StoreError::corrupt(&paths.checkpoint(), e))?;
    if published.size() > state.size {
        return Err(StoreError::RolledBack { published: published.size(), database: state.size });
    }
    if root_at(conn, &database, published.size()).await? != published.root() {
        return Err(StoreError::Forked { size: published.size() });
    }
    Ok(Some(published))
}

/// What witnesses have cosigned must be in the database: others were shown it.
async fn compare_cosigned(
    paths: &Paths,
    conn: &mut SqliteConnection,
    state: &LedgerState,
) -> Result<(), StoreError> {
    let Some(note) = read_checkpoint(&paths.cosigned())? else { return Ok(()) };
    let keys = history_in(conn, &paths.database(), state).await?;
    let head =
        keys.verify_checkpoint(&note).map_err(|e| StoreError::corrupt(&paths.cosigned(), e))?;
    if head.size() > state.size {
        return Err(StoreError::RolledBack { published: head.size(), database: state.size });
    }
    if root_at(conn, &paths.database(), head.size()).await? != head.root() {
        return Err(StoreError::Forked { size: head.size() });
    }
    Ok(())
}

/// How far published tiles of leaves reach, looked for from a tree of `size` entries on: a tile is
/// published only after its entries are durable, so one that reaches further tells that the database
/// and the checkpoint's file were both set back.
fn published_beyond(paths: &Paths, size: u64) -> u64 {
    let mut reach = size;
    for index in [size / 256, (size / 256).saturating_add(1)] {
        let full = TileId { kind: TileKind::Hashes(0), index, width: TILE_WIDTH };
        let path = paths.ledger().join(full.path());
        let first = index.saturating_mul(256);
        let length = std::fs::metadata(&path).map_or(0, |m| m.len());
        if length == u64::from(TILE_WIDTH).saturating_mul(32) {
            reach = reach.max(first.saturating_add(u64::from(TILE_WIDTH)));
        }
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let stages = std::fs::read_dir(path.with_file_name(format!("{name}.p")));
        for stage in stages.into_iter().flatten().flatten() {
            let width = stage.file_name().to_string_lossy().parse().unwrap_or(0u64);
            // A stage that power loss left empty tells nothing.
            if stage.metadata().is_ok_and(|m| m.len() == width.saturating_mul(32)) {
                reach = reach.max(first.saturating_add(width));
            }
        }
    }
    reach
}

fn verified(note: &str, key: &VerifierKey) -> Result<VerifiedCheckpoint, String> {
    verify_checkpoint(note, key).map_err(|e| e.to_string())
}
