//! What is trusted, and every change of it.
//!
//! A change is an entry of the ledger and nothing else: the state is what all entries together say,
//! so that nobody changes it without a trace. A root that was taken up stands in its entry whole.
//! Whoever loads it gets [`TrustRoots`], which are part of the grounds: a change judges again.

pub mod list;
pub mod tuf;

use crate::engine::Engine;
use countersign_core::{Sha256Digest, Timestamp};
use countersign_evidence::EvidenceError;
use countersign_evidence::sigstore::{Freshness, TrustRoots};
use countersign_evidence::trust::{Restrictions, TrustId};
use countersign_ledger::statement::{TRUST_TYPE, event};
use countersign_store::{RecordedEvent, Store, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;

/// `[trust]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustConfig {
    /// Days after which Sigstore's root verifies nothing any more; counted from its last update.
    pub max_age_days: u32,
    /// The TUF repository that it is updated from: a folder, or an http address.
    pub repository: Option<tuf::Repository>,
    /// The TUF root that the first update starts from.
    pub root: Option<PathBuf>,
}

impl Default for TrustConfig {
    fn default() -> Self {
        Self { max_age_days: 365, repository: None, root: None }
    }
}

/// A change of what is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum TrustChange {
    /// Sigstore's root, as a TUF repository gave it.
    Update(Box<RootUpdate>),
    /// From now on only what is pinned counts, of its kind.
    Pin {
        /// What.
        subject: TrustId,
        /// Its digest, where its name is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<Sha256Digest>,
    },
    /// A pin is taken away.
    Unpin {
        /// What.
        subject: TrustId,
    },
    /// What it signs from then on does not count; what it provably signed before does.
    Revoke {
        /// What.
        subject: TrustId,
        /// From when on.
        since: Timestamp,
    },
}

/// A root that was fetched and verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootUpdate {
    /// The repository, without credentials.
    pub repository: String,
    /// The digest of the document.
    pub sha256: Sha256Digest,
    /// The document: a `trusted_root.json`.
    pub document: String,
    /// The TUF root that the update started from, so that the next one starts there too.
    pub tuf_root: String,
    /// The versions of the repository's metadata, and when the first of them expires.
    pub metadata: tuf::Versions,
}

/// A change with who made it, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedChange {
    /// What changed.
    #[serde(flatten)]
    pub change: TrustChange,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// When.
    pub time: Timestamp,
}

/// Why what is trusted cannot be loaded or changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A root cannot be used.
    #[error(transparent)]
    Root(#[from] EvidenceError),
    /// An entry of the ledger cannot be understood; to pass it over could pass over a revocation.
    #[error(
        "ledger entry {index} changes what is trusted in a way that this version does not know \
         ({because}); use the version that wrote it"
    )]
    Unknown {
        /// The entry.
        index: u64,
        /// What is not understood.
        because: String,
    },
}

/// What all entries together say.
#[derive(Debug, Clone, Default)]
pub struct TrustState {
    /// The root that was taken up last, and when.
    pub root: Option<(RootUpdate, Timestamp)>,
    /// Pins and revocations.
    pub restrictions: Restrictions,
    /// All changes with their place, oldest first.
    pub history: Vec<(u64, RecordedChange)>,
}

impl TrustState {
    /// Reads it from the ledger.
    ///
    /// # Errors
    /// When the store fails, or an entry cannot be understood.
    pub async fn load(store: &Store) -> Result<Self, TrustError> {
        let mut state = Self::default();
        for entry in store.trust_entries().await? {
            let change: RecordedChange = serde_json::from_value(entry.predicate)
                .map_err(|e| TrustError::Unknown { index: entry.index, because: e.to_string() })?;
            state.apply(entry.index, change);
        }
        Ok(state)
    }

    fn apply(&mut self, index: u64, recorded: RecordedChange) {
        let restrictions = &mut self.restrictions;
        match &recorded.change {
            TrustChange::Update(update) => {
                self.root = Some((update.as_ref().clone(), recorded.time))
            }
            TrustChange::Pin { subject, sha256 } => {
                restrictions.pins.insert(subject.clone(), *sha256);
            }
            TrustChange::Unpin { subject } => {
                restrictions.pins.remove(subject);
            }
            // The earliest stands: a revocation is not taken back by a later one.
            TrustChange::Revoke { subject, since } => {
                let held = restrictions.revoked.entry(subject.clone()).or_insert(*since);
                *held = (*held).min(*since);
            }
        }
        self.history.push((index, recorded));
    }

    /// The document of Sigstore's root: that of the last update, else the embedded one; as of when
    /// it is.
    #[must_use]
    pub fn document(&self) -> (Vec<u8>, Option<Timestamp>) {
        match &self.root {
            Some((update, time)) => (update.document.clone().into_bytes(), Some(*time)),
            None => {
                let (document, day) = TrustRoots::embedded_document();
                (document.to_vec(), day)
            }
        }
    }

    /// The roots to verify by.
    ///
    /// # Errors
    /// When the document cannot be read, or another one is pinned.
    pub fn roots(&self, config: &TrustConfig) -> Result<TrustRoots, EvidenceError> {
        let (document, as_of) = self.document();
        let max_age = i64::from(config.max_age_days) * 86_400;
        // What is of no known day is as old as can be.
        let as_of = as_of.unwrap_or(Timestamp(0));
        let freshness = Some(Freshness { as_of, max_age });
        TrustRoots::restricted(&document, self.restrictions.clone(), freshness)
    }
}

/// The roots that a store's entries lead to.
///
/// # Errors
/// When they cannot be read or used.
pub async fn load(store: &Store, config: &TrustConfig) -> Result<TrustRoots, TrustError> {
    Ok(TrustState::load(store).await?.roots(config)?)
}

/// Writes a change into the ledger.
///
/// # Errors
/// When the commit fails.
pub async fn record(store: &Store, change: &RecordedChange) -> Result<RecordedEvent, TrustError> {
    let name = match &change.change {
        TrustChange::Update(_) => TrustId::sigstore().to_string(),
        TrustChange::Pin { subject, .. }
        | TrustChange::Unpin { subject }
        | TrustChange::Revoke { subject, .. } => subject.to_string(),
    };
    let statement = event(TRUST_TYPE, &name, json!(change));
    Ok(store.record_event(&statement, change.time).await?)
}

impl Engine {
    /// Reads what is trusted anew; whether it changed. From the return on nothing is released on
    /// what was trusted before.
    ///
    /// # Errors
    /// When it cannot be read; then what was trusted before stays.
    pub async fn reload_trust(&self) -> Result<bool, TrustError> {
        let roots = load(self.store(), &self.inner.config.trust).await?;
        let present = self.grounds();
        let judges_alike = roots.digest() == present.roots.digest();
        if judges_alike && roots.freshness() == present.roots.freshness() {
            return Ok(false);
        }
        self.replace_grounds(|g| g.roots = Arc::new(roots));
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
