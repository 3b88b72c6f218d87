//! The keys that sign, and how they are rotated while processes have the store open.
//!
//! # Steps of a rotation, and what a crash after each costs
//!
//! 1. The new key is written as `ledger.next.pem`. A crash leaves a key that nothing names; the next
//!    rotation overwrites it.
//! 2. The rotation, signed by the old key, is committed; its checkpoint is signed by both keys, and in the
//!    same transaction the state names the new key and the old one. A crash leaves key files under
//!    their old names; whoever opens the store next renames them.
//! 3. The files are renamed: `ledger.pem` to `ledger.previous.pem`, then `ledger.next.pem` to
//!    `ledger.pem`.
//!
//! Another process that has the store open notices at its next commit that the state names another
//! key, reads the files again, and signs what it was about to record with the new one.

use crate::bundles;
use crate::decisions::RecordedEvent;
use crate::entry::{Entry, EntryRow};
use crate::error::StoreError;
use crate::keys;
use crate::lock;
use crate::publish::write_file;
use crate::store::{Paths, Store, blocking};
use crate::tiles::{LedgerState, ledger_state, to_u64};
use countersign_core::Timestamp;
use countersign_ledger::statement::event;
use countersign_ledger::{
    Envelope, KEY_RETIRED_TYPE, KEY_ROTATED_TYPE, KeyHistory, ROTATIONS_FILE, Rotation, SigningKey,
    VerifierKey, rotation,
};
use serde_json::json;
use sqlx::sqlite::SqliteConnection;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

/// The keys of a moment.
pub(crate) struct Keys {
    /// Signs statements and checkpoints.
    pub(crate) signing: Arc<SigningKey>,
    /// The key before it, which signs checkpoints as well until it is retired.
    previous: Option<Arc<SigningKey>>,
    /// The key after it, while a rotation is being committed.
    next: Option<Arc<SigningKey>>,
}

impl Keys {
    /// Everyone who signs a checkpoint.
    pub(crate) fn all(&self) -> Vec<&SigningKey> {
        let others = self.previous.iter().chain(&self.next).map(AsRef::as_ref);
        std::iter::once(self.signing.as_ref()).chain(others).collect()
    }
}

/// The keys of a store, shared by all who sign.
#[derive(Clone)]
pub(crate) struct Keyring {
    keys: Arc<RwLock<Arc<Keys>>>,
}

impl Keyring {
    pub(crate) fn new(signing: SigningKey, previous: Option<SigningKey>) -> Self {
        let keys =
            Keys { signing: Arc::new(signing), previous: previous.map(Arc::new), next: None };
        Self { keys: Arc::new(RwLock::new(Arc::new(keys))) }
    }

    /// The keys as they are now.
    pub(crate) fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, keys: Keys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn announce(&self, next: Option<Arc<SigningKey>>) {
        let now = self.current();
        let (signing, previous) = (Arc::clone(&now.signing), now.previous.clone());
        self.replace(Keys { signing, previous, next });
    }

    /// Takes up the keys that the ledger's state names, where they are others than these.
    ///
    /// # Errors
    /// [`StoreError::KeyRotated`] when the signing key changed: what was signed is to be signed anew.
    /// [`StoreError::Forked`] when the state's key is nowhere here.
    pub(crate) fn follow(&self, paths: &Paths, state: &LedgerState) -> Result<(), StoreError> {
        let now = self.current();
        let same = *now.signing.verifier() == state.verifier;
        if same && now.previous.as_ref().map(|k| k.verifier()) == state.previous.as_ref() {
            return Ok(());
        }
        let on_disk = keys::candidates(paths, state.verifier.name())?;
        let known = [Some(&now.signing), now.previous.as_ref(), now.next.as_ref()];
        let known = known.into_iter().flatten().cloned();
        let all: Vec<_> = known.chain(on_disk.into_iter().map(Arc::new)).collect();
        let find = |key: &VerifierKey| all.iter().find(|k| k.verifier() == key).cloned();
        let signing = find(&state.verifier).ok_or(StoreError::Forked { size: state.size })?;
        let previous = state.previous.as_ref().and_then(find);
        if state.previous.is_some() && previous.is_none() {
            tracing::warn!("the ledger's previous key is not here: checkpoints lack its signature");
        }
        let next = now.next.clone().filter(|k| *k.verifier() != state.verifier);
        self.replace(Keys { signing, previous, next });
        if same { Ok(()) } else { Err(StoreError::KeyRotated) }
    }
}

/// The rotations that are recorded, in order.
pub(crate) async fn rotations_in(
    conn: &mut SqliteConnection,
    path: &Path,
) -> Result<Vec<Rotation>, StoreError> {
    let places: Result<Vec<i64>, sqlx::Error> =
        sqlx::query_scalar("SELECT idx FROM events WHERE kind = ? ORDER BY idx")
            .bind(KEY_ROTATED_TYPE)
            .fetch_all(&mut *conn)
            .await;
    let places = match places {
        // A database of an earlier version that is open for reading only: no key was rotated in it.
        Err(e) if e.to_string().contains("no such table: events") => Vec::new(),
        places => places.map_err(|e| StoreError::sql(path, e))?,
    };
    let mut out = Vec::with_capacity(places.len());
    for place in places {
        let index = to_u64(place, path)?;
        let kept = bundles::entry_at(conn, path, index).await?;
        let content = kept.as_ref().and_then(bundles::Kept::content);
        let (salt, envelope) =
            content.ok_or_else(|| StoreError::corrupt(path, "a rotation of the key is missing"))?;
        let envelope = Envelope::parse(envelope).map_err(|e| StoreError::corrupt(path, e))?;
        out.push(Rotation::new(envelope, salt, index));
    }
    Ok(out)
}

/// Which key signs the entry at each place, for the ledger's own keeper.
pub(crate) async fn history_in(
    conn: &mut SqliteConnection,
    path: &Path,
    state: &LedgerState,
) -> Result<KeyHistory, StoreError> {
    let rotations = rotations_in(conn, path).await?;
    let history = KeyHistory::resolve(&state.verifier, &rotations);
    Ok(history.map_err(|e| StoreError::corrupt(path, e))?.trusting_all())
}

/// Writes the file from which others learn of the rotations, where there are any and it differs.
pub(crate) async fn publish_rotations(
    paths: &Paths,
    conn: &mut SqliteConnection,
) -> Result<(), StoreError> {
    let rotations = rotations_in(conn, &paths.database()).await?;
    if rotations.is_empty() {
        return Ok(());
    }
    let text = serde_json::to_vec(&rotations).map_err(StoreError::invalid)?;
    let paths = paths.clone();
    blocking(move || {
        let path = paths.ledger().join(ROTATIONS_FILE);
        if std::fs::read(&path).ok().as_deref() == Some(text.as_slice()) {
            return Ok(());
        }
        write_file(&paths.steps, &path, &text, true)
    })
    .await
}

impl Store {
    /// Which key signs the entry at each place; `None` while no ledger was begun.
    ///
    /// # Errors
    /// When the database fails, or the rotations in it make no chain to its key.
    pub async fn key_history(&self) -> Result<Option<KeyHistory>, StoreError> {
        let path = self.paths().database();
        let mut conn = self.reader().await?;
        let Some(state) = ledger_state(&mut conn, &path).await? else { return Ok(None) };
        history_in(&mut conn, &path, &state).await.map(Some)
    }

    /// The rotations of the ledger's key, in order, as they are published.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rotations(&self) -> Result<Vec<Rotation>, StoreError> {
        rotations_in(&mut *self.reader().await?, &self.paths().database()).await
    }

    /// The key before the present one, while it still signs checkpoints.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn previous_key(&self) -> Result<Option<VerifierKey>, StoreError> {
        let state = ledger_state(&mut *self.reader().await?, &self.paths().database()).await?;
        Ok(state.and_then(|s| s.previous))
    }

    /// Makes a new key and rotates the ledger to it. Both keys sign checkpoints from then on, until
    /// [`Store::retire_key`].
    ///
    /// # Errors
    /// When an earlier key was not retired yet, another process is rotating, or the commit fails.
    pub async fn rotate_key(
        &self,
        owner: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<(RecordedEvent, VerifierKey), StoreError> {
        let ring = self.ledger()?.keys.clone();
        let held = lock::exclusive(self.paths().keys().join("rotation.lock")).await?;
        if self.previous_key().await?.is_some() {
            return Err(StoreError::invalid(
                "the key before the present one was not retired yet; end its time first with \
                 `countersign ledger rotate-key --finish`",
            ));
        }
        let old = self.key_history().await?;
        let old = old.ok_or(StoreError::NotFound { what: "a ledger".to_owned() })?;
        let old = old.current().clone();
        let next = Arc::new(keys::new_key(old.name())?);
        let (paths, new) = (self.paths().clone(), Arc::clone(&next));
        blocking(move || keys::write_next(&paths, &new)).await?;
        let statement = rotation(&old, next.verifier(), reason, owner, now);
        ring.announce(Some(Arc::clone(&next)));
        let row = EntryRow::Rotation { keys: format!("{}\n{old}", next.verifier()) };
        let entry = Entry::new(&ring.current().signing, &statement, now, row)?;
        let recorded = self.append_entry(entry).await;
        if recorded.is_err() {
            ring.announce(None);
        }
        let recorded = recorded?;
        self.take_up_keys().await?;
        drop(held);
        Ok((recorded, next.verifier().clone()))
    }

    /// Ends the time of the key before the present one: it signs nothing any more, and its private half
    /// is removed.
    ///
    /// # Errors
    /// When there is none, or the commit fails.
    pub async fn retire_key(
        &self,
        owner: &str,
        now: Timestamp,
    ) -> Result<(RecordedEvent, VerifierKey), StoreError> {
        let held = lock::exclusive(self.paths().keys().join("rotation.lock")).await?;
        let old = self
            .previous_key()
            .await?
            .ok_or(StoreError::NotFound { what: "a previous key that still signs".to_owned() })?;
        let predicate = json!({"key": old.to_string(), "owner": owner, "time": now});
        let statement = event(KEY_RETIRED_TYPE, &old.key_id(), predicate);
        let recorded = self.append_one(&statement, now, EntryRow::Retirement).await?;
        let paths = self.paths().clone();
        blocking(move || keys::remove_previous(&paths)).await?;
        self.take_up_keys().await?;
        drop(held);
        Ok((recorded, old))
    }

    /// Brings files and memory to what the state says after a rotation or its end.
    async fn take_up_keys(&self) -> Result<(), StoreError> {
        let path = self.paths().database();
        let mut conn = self.reader().await?;
        let state = ledger_state(&mut conn, &path).await?;
        let state = state.ok_or_else(|| self.corrupt("the ledger's state is gone"))?;
        match self.ledger()?.keys.follow(self.paths(), &state) {
            Ok(()) | Err(StoreError::KeyRotated) => {}
            Err(e) => return Err(e),
        }
        let paths = self.paths().clone();
        blocking(move || keys::settle(&paths, &state)).await?;
        let held = lock::exclusive(self.paths().lock()).await?;
        publish_rotations(self.paths(), &mut conn).await?;
        drop(held);
        Ok(())
    }
}
