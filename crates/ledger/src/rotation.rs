//! Key rollover: the ledger goes on under a new key, and whoever knows either key can follow.
//!
//! A rotation is an entry, signed by the old key, that names the new one. Entries up to it are the old
//! key's, entries after it the new key's. From the rotation on both keys sign checkpoints, until the
//! old one is retired.
//!
//! Whoever trusts the old key believes the new one because the old key says so. Whoever trusts the new
//! key believes what the old one signed because the rotation, and all before it, lie in a tree that the
//! new key signs. A retired key therefore opens nothing any more: it vouches for no later entry, and
//! its checkpoints are not believed by those who know a later key.

use crate::checkpoint::{CheckpointError, VerifiedCheckpoint, verify_checkpoint};
use crate::dsse::{Envelope, EnvelopeError, VerifiedStatement, verify_envelope};
use crate::key::VerifierKey;
use crate::leaf::{Commitment, Salt, commitment};
use crate::receipt::{read_hex, write_hex};
use crate::statement::event;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The predicate type of a rotation of the ledger's key.
pub const KEY_ROTATED_TYPE: &str = "urn:countersign:key-rotated:v1";

/// The predicate type of the end of an old key's time.
pub const KEY_RETIRED_TYPE: &str = "urn:countersign:key-retired:v1";

/// Name of the file, beside the checkpoint, in which a ledger publishes its rotations.
pub const ROTATIONS_FILE: &str = "rotations.json";

/// Most rotations that are followed: far more than a ledger lives to see.
const MAX_ROTATIONS: usize = 256;

/// Largest file of rotations that is read, in bytes.
const MAX_FILE: usize = 1 << 20;

/// Why a chain of rotations does not lead from or to the trusted key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// Not a list of rotations.
    #[error("malformed key rotations: {0}")]
    Malformed(String),
    /// A rotation is not what it claims, or does not follow the one before.
    #[error("the key rotation at entry {index} does not hold: {because}")]
    Broken {
        /// Its place.
        index: u64,
        /// What is wrong.
        because: String,
    },
    /// The chain is of other keys.
    #[error("the trusted key is none of those that the ledger's key rotations name")]
    Unknown,
}

/// A rotation with what opens its commitment. Its place in a tree is proven apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rotation {
    envelope: Envelope,
    #[serde(serialize_with = "write_hex", deserialize_with = "read_hex")]
    salt: Salt,
    leaf_index: u64,
}

impl Rotation {
    /// The rotation at a place.
    #[must_use]
    pub fn new(envelope: Envelope, salt: Salt, leaf_index: u64) -> Self {
        Self { envelope, salt, leaf_index }
    }

    /// Its place in the ledger.
    #[must_use]
    pub fn leaf_index(&self) -> u64 {
        self.leaf_index
    }

    /// The entry that it must be in the tree.
    ///
    /// # Errors
    /// Never for one that was read here; the encoder's signature allows it.
    pub fn commitment(&self) -> Result<Commitment, RotationError> {
        let bytes = self.envelope.to_bytes();
        Ok(commitment(&self.salt, &bytes.map_err(|e| RotationError::Malformed(e.to_string()))?))
    }

    /// The old and the new key, after verifying that the old one signed.
    fn keys(&self) -> Result<(VerifierKey, VerifierKey), RotationError> {
        let broken = |because: String| RotationError::Broken { index: self.leaf_index, because };
        // Who is said to have signed is known from the statement alone; that it did is checked next.
        let payload = BASE64_STANDARD.decode(&self.envelope.payload);
        let payload = payload.map_err(|_| broken("its payload is not base64".into()))?;
        let claimed: Value = serde_json::from_slice(&payload).map_err(|e| broken(e.to_string()))?;
        let old = claimed.pointer("/predicate/old").and_then(Value::as_str).unwrap_or_default();
        let old = VerifierKey::parse(old).map_err(|e| broken(e.to_string()))?;
        let statement = verify_envelope(&self.envelope, &old).map_err(|e| broken(e.to_string()))?;
        let (signed_old, new) =
            read_rotation(&statement).ok_or_else(|| broken("it names no keys".into()))?;
        if signed_old != old || new.name() != old.name() || new == old {
            return Err(broken("its keys are not two of one ledger".into()));
        }
        Ok((old, new))
    }
}

/// The statement of a rotation, to be signed by the old key.
#[must_use]
pub fn rotation(
    old: &VerifierKey,
    new: &VerifierKey,
    reason: &str,
    owner: &str,
    time: Timestamp,
) -> Value {
    let predicate = json!({
        "old": old.to_string(), "new": new.to_string(), "reason": reason, "owner": owner,
        "time": time,
    });
    event(KEY_ROTATED_TYPE, &new.key_id(), predicate)
}

/// The old and the new key of a rotation's statement; `None` when it is of another kind.
#[must_use]
pub fn read_rotation(statement: &VerifiedStatement) -> Option<(VerifierKey, VerifierKey)> {
    if statement.predicate_type() != KEY_ROTATED_TYPE {
        return None;
    }
    let key = |path: &str| {
        VerifierKey::parse(statement.value().pointer(path).and_then(Value::as_str)?).ok()
    };
    Some((key("/predicate/old")?, key("/predicate/new")?))
}

/// Reads a published file of rotations.
///
/// # Errors
/// When it is larger than 1 MiB, holds too many, or is another document.
pub fn read_rotations(bytes: &[u8]) -> Result<Vec<Rotation>, RotationError> {
    if bytes.len() > MAX_FILE {
        return Err(RotationError::Malformed("the file is larger than 1 MiB".into()));
    }
    serde_json::from_slice(bytes).map_err(|e| RotationError::Malformed(e.to_string()))
}

/// Which key signs the entry at each place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHistory {
    /// The first place at which each key signs, in order.
    keys: Vec<(u64, VerifierKey)>,
    /// The first of them that may sign a checkpoint: the one that the reader trusts.
    trusted: usize,
}

impl KeyHistory {
    /// The history of a ledger whose key was never rotated.
    #[must_use]
    pub fn of(key: VerifierKey) -> Self {
        Self { keys: vec![(0, key)], trusted: 0 }
    }

    /// The history that rotations tell, for a reader who trusts `trusted`: one of the keys in it.
    ///
    /// What it says of keys before the trusted one is to be believed only when the rotations lie in a
    /// tree whose checkpoint [`KeyHistory::verify_checkpoint`] accepts.
    ///
    /// # Errors
    /// When a rotation is not signed by the key that it ends, they make no chain, or the trusted key is
    /// none of theirs.
    pub fn resolve(trusted: &VerifierKey, rotations: &[Rotation]) -> Result<Self, RotationError> {
        if rotations.len() > MAX_ROTATIONS {
            return Err(RotationError::Malformed(format!("there are more than {MAX_ROTATIONS}")));
        }
        let mut keys: Vec<(u64, VerifierKey)> = Vec::new();
        for rotation in rotations {
            let index = rotation.leaf_index;
            let (old, new) = rotation.keys()?;
            match keys.last() {
                None => keys.push((0, old)),
                Some((from, last)) if *last == old && index >= *from => {}
                Some(_) => {
                    let because = "it does not follow the one before".to_owned();
                    return Err(RotationError::Broken { index, because });
                }
            }
            keys.push((index.saturating_add(1), new));
        }
        if keys.is_empty() {
            return Ok(Self::of(trusted.clone()));
        }
        let trusted = keys.iter().position(|(_, k)| k == trusted).ok_or(RotationError::Unknown)?;
        Ok(Self { keys, trusted })
    }

    /// The same history, for the ledger's own keeper, who trusts all of its keys.
    #[must_use]
    pub fn trusting_all(self) -> Self {
        Self { trusted: 0, ..self }
    }

    /// The key that signs the entry at a place.
    #[must_use]
    pub fn at(&self, index: u64) -> &VerifierKey {
        let after = self.keys.partition_point(|(from, _)| *from <= index);
        // The first key signs from place 0 on.
        &self.keys[after.saturating_sub(1).min(self.keys.len().saturating_sub(1))].1
    }

    /// The newest key.
    #[must_use]
    pub fn current(&self) -> &VerifierKey {
        self.at(u64::MAX)
    }

    /// All keys, with the first place at which each signs.
    #[must_use]
    pub fn keys(&self) -> &[(u64, VerifierKey)] {
        &self.keys
    }

    /// Verifies an envelope of the present: what the trusted key or a later one signed beside the tree.
    ///
    /// # Errors
    /// When none of them alone signed it, in the words of the newest.
    pub fn verify_envelope(&self, envelope: &Envelope) -> Result<VerifiedStatement, EnvelopeError> {
        let mut first = None;
        for (_, key) in self.keys.iter().skip(self.trusted).rev() {
            match verify_envelope(envelope, key) {
                Ok(statement) => return Ok(statement),
                Err(e) => first = first.or(Some(e)),
            }
        }
        Err(first.unwrap_or(EnvelopeError::WrongKey { key: String::new() }))
    }

    /// Verifies a checkpoint under the trusted key or a later one.
    ///
    /// # Errors
    /// When none of them signed it, in the words of the newest.
    pub fn verify_checkpoint(&self, note: &str) -> Result<VerifiedCheckpoint, CheckpointError> {
        let mut first = None;
        for (_, key) in self.keys.iter().skip(self.trusted).rev() {
            match verify_checkpoint(note, key) {
                Ok(head) => return Ok(head),
                Err(e) => first = first.or(Some(e)),
            }
        }
        Err(first.unwrap_or(CheckpointError::Malformed { because: "there is no key" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::dsse::sign_statement;
    use crate::hash::EMPTY_ROOT;
    use crate::key::SigningKey;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("ledger.example/a", [seed; 32]).unwrap()
    }

    fn turn(old: u8, new: u8, at: u64) -> Rotation {
        let statement =
            rotation(key(old).verifier(), key(new).verifier(), "yearly", "ada", Timestamp(1));
        Rotation::new(sign_statement(&key(old), &statement).unwrap(), [7; 32], at)
    }

    fn signed_by(seed: u8) -> String {
        let origin = "ledger.example/a".to_owned();
        let head = Checkpoint { origin, size: 9, root: EMPTY_ROOT, extensions: vec![] };
        head.sign(&key(seed)).unwrap()
    }

    #[test]
    fn each_key_signs_from_the_entry_after_its_rotation() {
        let turns = [turn(1, 2, 5), turn(2, 3, 9)];
        for trusted in [1, 2, 3] {
            let history = KeyHistory::resolve(key(trusted).verifier(), &turns).unwrap();
            for (index, seed) in [(0, 1), (5, 1), (6, 2), (9, 2), (10, 3), (u64::MAX, 3)] {
                assert_eq!(history.at(index), key(seed).verifier(), "{trusted}: {index}");
            }
            assert_eq!(history.current(), key(3).verifier());
        }
        let alone = KeyHistory::resolve(key(1).verifier(), &[]).unwrap();
        assert_eq!(alone.at(99), key(1).verifier());
    }

    #[test]
    fn a_checkpoint_is_believed_under_the_trusted_key_and_later_ones_only() {
        let turns = [turn(1, 2, 5), turn(2, 3, 9)];
        for (trusted, signer, fine) in [
            (1, 1, true),
            (1, 3, true),
            (2, 1, false),
            (2, 2, true),
            (2, 3, true),
            (3, 1, false),
            (3, 2, false),
            (3, 3, true),
            (1, 9, false),
        ] {
            let history = KeyHistory::resolve(key(trusted).verifier(), &turns).unwrap();
            let found = history.verify_checkpoint(&signed_by(signer)).is_ok();
            assert_eq!(found, fine, "{trusted} believes {signer}");
        }
        let own = KeyHistory::resolve(key(3).verifier(), &turns).unwrap().trusting_all();
        assert!(own.verify_checkpoint(&signed_by(1)).is_ok());
    }

    #[test]
    fn a_chain_that_is_none_is_refused() {
        let resolve = |turns: &[Rotation]| KeyHistory::resolve(key(1).verifier(), turns);
        // Signed by another than the key that it ends.
        let statement = rotation(key(1).verifier(), key(2).verifier(), "x", "y", Timestamp(1));
        let forged = Rotation::new(sign_statement(&key(9), &statement).unwrap(), [7; 32], 3);
        assert!(matches!(resolve(&[forged]), Err(RotationError::Broken { index: 3, .. })));
        assert!(matches!(
            resolve(&[turn(1, 2, 5), turn(3, 4, 9)]),
            Err(RotationError::Broken { index: 9, .. })
        ));
        assert!(resolve(&[turn(1, 2, 5), turn(2, 3, 4)]).is_err(), "out of order");
        assert_eq!(resolve(&[turn(2, 3, 5)]), Err(RotationError::Unknown));
        assert!(resolve(&[turn(1, 1, 5)]).is_err(), "to itself");
        let other = SigningKey::from_seed("ledger.example/b", [2; 32]).unwrap();
        let statement = rotation(key(1).verifier(), other.verifier(), "x", "y", Timestamp(1));
        let away = Rotation::new(sign_statement(&key(1), &statement).unwrap(), [7; 32], 3);
        assert!(resolve(&[away]).is_err(), "to another ledger");
        assert!(read_rotations(b"[{}]").is_err());
        assert!(read_rotations(&vec![b' '; MAX_FILE + 1]).is_err());
        let text = serde_json::to_vec(&[turn(1, 2, 5)]).unwrap();
        assert_eq!(read_rotations(&text).unwrap(), [turn(1, 2, 5)]);
    }
}
