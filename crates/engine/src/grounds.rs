//! What decisions rest on, and how it is replaced while the engine runs.
//!
//! A decision is made on one set of grounds. When they are replaced, everything that was decided
//! before is of an older generation: caches above look at [`Engine::generation`] and ask again.

use crate::config::Lists;
use crate::engine::{Engine, EngineError};
use crate::exemptions::Exemptions;
use crate::feeds::Feeds;
use crate::organisation::OrganisationKeys;
use crate::recall::GroundsId;
use crate::sources::EvidenceSource;
use countersign_core::Timestamp;
use countersign_evidence::sigstore::TrustRoots;
use countersign_ledger::statement::{GROUNDS_TYPE, event};
use countersign_policy::{ActiveWaiver, PolicySet};
use countersign_store::{Store, StoreError};
use serde_json::json;
use std::sync::Arc;

/// Under which the store remembers the grounds of the last decision.
const NOTED: &str = "grounds of the last decision";

/// Everything beside an artifact itself that a decision about it rests on.
#[derive(Clone)]
pub struct Grounds {
    /// The policy that judges.
    pub policy: Arc<PolicySet>,
    /// The configuration's lists.
    pub lists: Arc<Lists>,
    /// The advisory feeds, where any are configured.
    pub feeds: Option<Arc<Feeds>>,
    /// The roots that attestations are verified against.
    pub roots: Arc<TrustRoots>,
    /// The organisation's keys, and what each counts for.
    pub keys: Arc<OrganisationKeys>,
    /// Where evidence is kept by digest.
    pub evidence: Arc<Vec<EvidenceSource>>,
    /// The waivers in force, those of the store and those of files.
    pub waivers: Arc<Vec<ActiveWaiver>>,
    /// VEX documents, and the waivers of files.
    pub exemptions: Arc<Exemptions>,
    /// Counts the replacements since the engine was opened.
    pub generation: u64,
}

impl Engine {
    /// The grounds as they are now.
    #[must_use]
    pub fn grounds(&self) -> Arc<Grounds> {
        self.inner.grounds.read().clone()
    }

    /// The generation of the present grounds. What was decided under another one is to be asked
    /// again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.grounds.read().generation
    }

    /// Replaces the grounds: `change` gets a copy of the present ones. From the return on, nothing
    /// is released on the old ones.
    pub fn replace_grounds(&self, change: impl FnOnce(&mut Grounds)) -> u64 {
        let mut held = self.inner.grounds.write();
        let mut next = Grounds::clone(&held);
        change(&mut next);
        next.generation = held.generation + 1;
        let generation = next.generation;
        *held = Arc::new(next);
        generation
    }

    /// Writes into the ledger that policy, lists, feeds or trust roots are others than those of the
    /// decision before, so that nobody can change them without a trace. Waivers have entries of
    /// their own. Called before a decision is recorded.
    ///
    /// # Errors
    /// When the store fails; then the decision cannot be recorded either.
    pub(crate) async fn note_grounds(&self) -> Result<(), StoreError> {
        let mut noted = self.inner.noted.lock().await;
        let grounds = self.grounds();
        if *noted == Some(grounds.generation) {
            return Ok(());
        }
        let (id, store) = (GroundsId::of(&grounds), &self.inner.store);
        let text = json!(id).to_string();
        let before = store.meta_get(NOTED).await?;
        let before: Option<GroundsId> = before.and_then(|b| serde_json::from_str(&b).ok());
        let changed = before.as_ref().map(|b| id.changes_beside_waivers(b)).unwrap_or_default();
        if !changed.is_empty() {
            let now = self.now();
            let predicate = json!({"changed": changed, "old": before, "new": id, "time": now});
            store.record_event(&event(GROUNDS_TYPE, "grounds", predicate), now).await?;
        }
        if before.as_ref() != Some(&id) {
            store.meta_put(NOTED, &text).await?;
        }
        *noted = Some(grounds.generation);
        Ok(())
    }

    /// Reads the store's signing keys; whether they changed since they were last read.
    ///
    /// # Errors
    /// When the store or a key cannot be read.
    pub async fn reload_keys(&self) -> Result<bool, EngineError> {
        let present = self.grounds().keys.clone();
        let changed = present.changed(&self.inner.store).await;
        let Some(next) = changed.map_err(|e| EngineError::Keys(e.to_string()))? else {
            return Ok(false);
        };
        self.replace_grounds(|g| g.keys = Arc::new(next));
        Ok(true)
    }

    /// Reads the waivers that are in force, and the VEX documents; whether they changed since they were
    /// last read.
    ///
    /// # Errors
    /// When the store, a waiver or a document cannot be read. Then all stays as it was.
    pub async fn reload_waivers(&self) -> Result<bool, EngineError> {
        let now = self.now();
        let present = self.grounds();
        let (held, inner) = (present.exemptions.clone(), self.inner.clone());
        let look = move || match held.is_behind(&inner.config) {
            true => Exemptions::read(&inner.config, now).map(|read| Some(Arc::new(read))),
            false => Ok(None),
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let newer = looked.map_err(|e| EngineError::Exemptions(e.to_string()))?;
        let newer = newer.map_err(|e| EngineError::Exemptions(e.to_string()))?;
        let exemptions = newer.unwrap_or_else(|| present.exemptions.clone());
        let mut active = active_waivers(&self.inner.store, now).await?;
        let of_files = exemptions.waivers.iter().map(|w| &w.waiver);
        active.extend(of_files.filter(|w| now < w.until).cloned());
        let ids =
            |list: &[ActiveWaiver]| -> Vec<String> { list.iter().map(|w| w.id.clone()).collect() };
        let same = ids(&present.waivers) == ids(&active)
            && present.exemptions.identity() == exemptions.identity();
        if !same {
            self.replace_grounds(|g| {
                g.waivers = Arc::new(active);
                g.exemptions = exemptions;
            });
        }
        Ok(!same)
    }
}

/// The waivers of a store that are in force, as policy takes them.
///
/// # Errors
/// When the store or a waiver in it cannot be read.
pub async fn active_waivers(
    store: &Store,
    now: Timestamp,
) -> Result<Vec<ActiveWaiver>, EngineError> {
    let stored = store.active_waivers(now).await?;
    let mut active = Vec::with_capacity(stored.len());
    for w in stored {
        let target =
            w.target.to_string().parse().map_err(|e: countersign_policy::WaiverTargetError| {
                EngineError::Waiver { id: w.id.clone(), because: e.to_string() }
            })?;
        active.push(ActiveWaiver { id: w.id, target, covers: w.rule, until: w.until });
    }
    Ok(active)
}
