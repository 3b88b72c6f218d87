//! A ledger entry on its way in, and the proof that it got there.

use crate::decisions::NewDecision;
use crate::error::StoreError;
use crate::forget::Forget;
use crate::waivers::Waiver;
use countersign_core::{Sha256Digest, Timestamp};
use countersign_ledger::statement::vsa;
use countersign_ledger::{
    Commitment, Envelope, Salt, SigningKey, commitment, sign_again, sign_statement,
};
use serde_json::Value;
use std::sync::Arc;

/// The checkpoint under which an entry became durable. Only a finished commit makes one: the
/// database has synced the entry and this checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    size: u64,
    checkpoint: Arc<str>,
}

impl Durable {
    pub(crate) fn new(size: u64, checkpoint: Arc<str>) -> Self {
        Self { size, checkpoint }
    }

    /// Number of entries that the checkpoint covers.
    #[must_use]
    pub fn tree_size(&self) -> u64 {
        self.size
    }

    /// The checkpoint, as a signed note.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }
}

/// An entry that is signed and salted, and not yet in the ledger.
pub(crate) struct Entry {
    pub(crate) kind: String,
    pub(crate) time: Timestamp,
    pub(crate) salt: Salt,
    pub(crate) commitment: Commitment,
    pub(crate) envelope: Vec<u8>,
    /// The id of the key that signed.
    pub(crate) signer: [u8; 4],
    pub(crate) row: EntryRow,
    /// What the entry is found by beside its kind (`events::subject_key`).
    pub(crate) about: Vec<Vec<u8>>,
}

/// The record that is written in the same transaction as its entry.
pub(crate) enum EntryRow {
    Decision(Box<DecisionRow>),
    Waiver(Box<Waiver>),
    Revocation {
        waiver: String,
    },
    Event,
    /// From here on the new key signs.
    Rotation {
        /// The keys from here on, as the ledger's state names them.
        keys: String,
    },
    /// The key before the present one signs no longer.
    Retirement,
    /// Content is erased with it.
    Forget(Forget),
}

pub(crate) struct DecisionRow {
    pub(crate) new: NewDecision,
    pub(crate) decision_json: String,
    pub(crate) facts_json: String,
    /// Whether the digest is pinned with it.
    pub(crate) pins: bool,
}

impl Entry {
    pub(crate) fn new(
        key: &SigningKey,
        statement: &Value,
        time: Timestamp,
        row: EntryRow,
    ) -> Result<Self, StoreError> {
        let kind = statement.get("predicateType").and_then(Value::as_str);
        let kind = kind.ok_or(StoreError::invalid("a ledger entry needs a `predicateType`"))?;
        let envelope = sign_statement(key, statement).and_then(|e| e.to_bytes());
        let envelope = envelope.map_err(StoreError::ledger)?;
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|e| StoreError::Random { because: e.to_string() })?;
        let commitment = commitment(&salt, &envelope);
        let (kind, signer, about) = (kind.to_owned(), key.verifier().id(), Vec::new());
        Ok(Self { kind, time, salt, commitment, envelope, signer, row, about })
    }

    /// Signs the same statement with the ledger's new key.
    pub(crate) fn sign_anew(&mut self, key: &SigningKey) -> Result<(), StoreError> {
        let envelope = Envelope::parse(&self.envelope).map_err(StoreError::ledger)?;
        let anew = sign_again(key, &envelope).and_then(|e| e.to_bytes());
        self.envelope = anew.map_err(StoreError::ledger)?;
        self.commitment = commitment(&self.salt, &self.envelope);
        self.signer = key.verifier().id();
        Ok(())
    }

    /// Whether the ledger has another key after it.
    pub(crate) fn is_rotation(&self) -> bool {
        matches!(self.row, EntryRow::Rotation { .. })
    }

    /// The entry of a decision: its statement is made here, so that row and statement agree.
    pub(crate) fn decision(
        key: &SigningKey,
        mut new: NewDecision,
        pins: bool,
    ) -> Result<Self, StoreError> {
        let json = |v: serde_json::Result<String>| v.map_err(StoreError::invalid);
        let facts_json = json(serde_json::to_string(&new.facts))?;
        let decision_json = json(serde_json::to_string(&new.record.decision))?;
        new.record.facts_digest = Some(Sha256Digest::of(facts_json.as_bytes()));
        let statement = vsa(&new.record).map_err(StoreError::invalid)?;
        let time = new.record.time_verified;
        let row = DecisionRow { new, decision_json, facts_json, pins };
        Self::new(key, &statement, time, EntryRow::Decision(Box::new(row)))
    }
}
