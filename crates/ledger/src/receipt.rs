//! Receipts (`*.receipt.json`): a decision, and the proof that the ledger holds it, in one file that
//! the ledger's public key alone verifies, offline.

use crate::checkpoint::{CheckpointError, VerifiedCheckpoint};
use crate::dsse::{Envelope, EnvelopeError, VerifiedStatement, verify_envelope};
use crate::hash::{Hash, leaf_hash};
use crate::key::VerifierKey;
use crate::leaf::{Salt, commitment};
use crate::proof::{ProofError, verify_inclusion};
use crate::rotation::{KeyHistory, Rotation, RotationError};
use crate::statement::{DecisionView, StatementError, VSA_TYPE, read_decision};
use countersign_core::{Sha256Digest, Verdict};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The value of a receipt's member `format`.
pub const RECEIPT_FORMAT: &str = "countersign-receipt/v1";

/// The value of a batch's member `format`.
pub const BATCH_FORMAT: &str = "countersign-receipts/v1";

/// Largest receipt that is read, in bytes.
const MAX_RECEIPT: usize = 16 << 20;

/// Longest inclusion proof: one hash for each doubling of the largest tree.
pub(crate) const MAX_PROOF: usize = 48;

/// A receipt as it came: nothing in it is verified until [`verify_receipt`] says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Receipt {
    format: String,
    envelope: Envelope,
    #[serde(serialize_with = "write_hex", deserialize_with = "read_hex")]
    salt: Salt,
    leaf_index: u64,
    inclusion_proof: Vec<ProofHash>,
    checkpoint: String,
    /// The rotations of the ledger's key, where there were any, with the proofs of their places.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    key_rotations: Vec<BatchEntry>,
}

/// A receipt in a batch: the checkpoint is the batch's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct BatchEntry {
    envelope: Envelope,
    #[serde(serialize_with = "write_hex", deserialize_with = "read_hex")]
    salt: Salt,
    leaf_index: u64,
    pub(crate) inclusion_proof: Vec<ProofHash>,
}

impl BatchEntry {
    /// The receipt that it is under a checkpoint.
    pub(crate) fn to_receipt(&self, checkpoint: &str) -> Receipt {
        Receipt {
            format: RECEIPT_FORMAT.to_owned(),
            envelope: self.envelope.clone(),
            salt: self.salt,
            leaf_index: self.leaf_index,
            inclusion_proof: self.inclusion_proof.clone(),
            checkpoint: checkpoint.to_owned(),
            key_rotations: Vec::new(),
        }
    }

    /// The rotation that it should be; whether it is one is for [`KeyHistory::resolve`] to say.
    fn to_rotation(&self) -> Rotation {
        Rotation::new(self.envelope.clone(), self.salt, self.leaf_index)
    }

    /// Proves that it is in the tree.
    fn is_in(&self, head: &VerifiedCheckpoint) -> Result<(), ReceiptError> {
        let leaf = leaf_hash(&commitment(&self.salt, &self.envelope.to_bytes()?));
        let proof: Vec<Hash> = self.inclusion_proof.iter().map(|h| Hash(h.0)).collect();
        Ok(verify_inclusion(leaf, self.leaf_index, head.size(), &proof, head.root())?)
    }
}

/// A hash of the proof, in lower-case hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ProofHash(
    #[serde(serialize_with = "write_hex", deserialize_with = "read_hex")] [u8; 32],
);

pub(crate) fn write_hex<S: Serializer>(bytes: &[u8; 32], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&hex::encode(bytes))
}

pub(crate) fn read_hex<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(d)?;
    let mut out = [0; 32];
    let lower = text.bytes().all(|b| !b.is_ascii_uppercase());
    if !lower || hex::decode_to_slice(&text, &mut out).is_err() {
        return Err(serde::de::Error::custom("a salt or hash is not 64 lower-case hex digits"));
    }
    Ok(out)
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Not a receipt.
    #[error("malformed receipt: {because}")]
    Malformed {
        /// What is wrong with it.
        because: String,
    },
    /// The statement is not signed by the ledger's key.
    #[error("the receipt's statement is not trusted: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The checkpoint is not signed by the ledger's key, or of another ledger.
    #[error("the receipt's checkpoint is not trusted: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The rotations of the ledger's key do not hold.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// The statement is not in the tree of the checkpoint.
    #[error("the receipt's statement is not in the ledger: {0}")]
    NotIncluded(#[from] ProofError),
    /// The statement is a decision in name only.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The receipt is about something else than the artifact.
    #[error("the receipt is not for the artifact sha256:{wanted}: it names {found}")]
    OtherArtifact {
        /// The artifact's digest.
        wanted: String,
        /// What the receipt is about.
        found: String,
    },
}

impl Receipt {
    /// The receipt of the entry at `leaf_index`, whose proof leads to the root of `checkpoint`.
    #[must_use]
    pub fn new(
        envelope: Envelope,
        salt: Salt,
        leaf_index: u64,
        inclusion_proof: &[Hash],
        checkpoint: String,
    ) -> Self {
        Self {
            format: RECEIPT_FORMAT.to_owned(),
            envelope,
            salt,
            leaf_index,
            inclusion_proof: inclusion_proof.iter().map(|h| ProofHash(h.0)).collect(),
            checkpoint,
            key_rotations: Vec::new(),
        }
    }

    /// The same receipt with the rotations of the ledger's key, each as a receipt under the same
    /// checkpoint: whoever knows any of the keys can then check it.
    #[must_use]
    pub fn with_rotations(self, rotations: Vec<Receipt>) -> Self {
        let key_rotations = rotations.into_iter().map(Self::into_entry).collect();
        Self { key_rotations, ..self }
    }

    /// Reads a receipt strictly: unknown members and duplicate keys are errors.
    ///
    /// # Errors
    /// When the bytes are not a receipt of this format.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let malformed = |because: String| ReceiptError::Malformed { because };
        if bytes.len() > MAX_RECEIPT {
            return Err(malformed("it is larger than 16 MiB".into()));
        }
        let receipt: Self = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
        if receipt.format != RECEIPT_FORMAT {
            let found: String = receipt.format.chars().take(60).collect();
            return Err(malformed(format!("its format is `{found}`, not `{RECEIPT_FORMAT}`")));
        }
        let mut proofs = receipt.key_rotations.iter().map(|r| &r.inclusion_proof);
        if receipt.inclusion_proof.len() > MAX_PROOF || proofs.any(|p| p.len() > MAX_PROOF) {
            return Err(malformed("its proof is longer than a proof can be".into()));
        }
        Ok(receipt)
    }

    /// The receipt as one line of JSON.
    ///
    /// # Errors
    /// Never for a receipt that was made or parsed here; the encoder's signature allows it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ReceiptError> {
        serde_json::to_vec(self).map_err(|e| ReceiptError::Malformed { because: e.to_string() })
    }

    /// The receipt without its checkpoint, as a batch holds it.
    pub(crate) fn into_entry(self) -> BatchEntry {
        let Self { envelope, salt, leaf_index, inclusion_proof, .. } = self;
        BatchEntry { envelope, salt, leaf_index, inclusion_proof }
    }

    /// The rotations that it carries, as a batch holds them.
    pub(crate) fn key_rotations(&self) -> &[BatchEntry] {
        &self.key_rotations
    }

    /// The place in the ledger that the receipt claims.
    #[must_use]
    pub fn leaf_index(&self) -> u64 {
        self.leaf_index
    }

    /// The envelope, unverified.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The signed checkpoint, unverified.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }
}

/// A receipt whose every claim was verified. Only [`verify_receipt`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedReceipt {
    statement: VerifiedStatement,
    decision: Option<DecisionView>,
    leaf_index: u64,
    checkpoint: VerifiedCheckpoint,
}

impl VerifiedReceipt {
    /// The signed statement.
    #[must_use]
    pub fn statement(&self) -> &VerifiedStatement {
        &self.statement
    }

    /// The decision; `None` for an entry of another kind (a waiver).
    #[must_use]
    pub fn decision(&self) -> Option<&DecisionView> {
        self.decision.as_ref()
    }

    /// Whether the entry is a decision that admits its artifact. A receipt of a refusal is as
    /// genuine as any other: whoever asks "may this be used" asks this.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.decision.as_ref().is_some_and(|d| d.verdict == Verdict::Admit)
    }

    /// The place in the ledger, from 0.
    #[must_use]
    pub fn leaf_index(&self) -> u64 {
        self.leaf_index
    }

    /// The checkpoint that covers it.
    #[must_use]
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }
}

/// Verifies a receipt with the ledger's public key alone, any of the keys that it had: the statement's signature, the
/// checkpoint's signature and origin, that the statement is in the checkpoint's tree, and, where
/// `artifact` is given, that the decision is about those bytes.
///
/// # Errors
/// When any of these does not hold.
pub fn verify_receipt(
    receipt: &Receipt,
    key: &VerifierKey,
    artifact: Option<&Sha256Digest>,
) -> Result<VerifiedReceipt, ReceiptError> {
    let (keys, checkpoint) = head_of(&receipt.checkpoint, key, &receipt.key_rotations)?;
    verify_under(receipt, &keys, checkpoint, artifact)
}

/// Verifies a checkpoint, and the rotations that lie in its tree: the keys of the ledger for a reader
/// who trusts `key`.
pub(crate) fn head_of(
    note: &str,
    key: &VerifierKey,
    rotations: &[BatchEntry],
) -> Result<(KeyHistory, VerifiedCheckpoint), ReceiptError> {
    let chain: Vec<Rotation> = rotations.iter().map(BatchEntry::to_rotation).collect();
    let keys = KeyHistory::resolve(key, &chain)?;
    let head = keys.verify_checkpoint(note)?;
    rotations.iter().try_for_each(|r| r.is_in(&head))?;
    Ok((keys, head))
}

/// Verifies everything of a receipt but its checkpoint, which was verified before.
pub(crate) fn verify_under(
    receipt: &Receipt,
    keys: &KeyHistory,
    checkpoint: VerifiedCheckpoint,
    artifact: Option<&Sha256Digest>,
) -> Result<VerifiedReceipt, ReceiptError> {
    let statement = verify_envelope(&receipt.envelope, keys.at(receipt.leaf_index))?;
    let leaf = leaf_hash(&commitment(&receipt.salt, &receipt.envelope.to_bytes()?));
    let proof: Vec<Hash> = receipt.inclusion_proof.iter().map(|h| Hash(h.0)).collect();
    verify_inclusion(leaf, receipt.leaf_index, checkpoint.size(), &proof, checkpoint.root())?;
    let decision = match statement.predicate_type() {
        VSA_TYPE => Some(read_decision(statement.value())?),
        _ => None,
    };
    if let Some(wanted) = artifact {
        let found = decision.as_ref().and_then(|d| d.sha256);
        if found != Some(*wanted) {
            let found = match (found, &decision) {
                (Some(d), _) => format!("sha256:{d}"),
                (None, Some(d)) => format!("`{}`, refused without its bytes", d.purl),
                (None, None) => "no artifact".to_owned(),
            };
            return Err(ReceiptError::OtherArtifact { wanted: wanted.to_hex(), found });
        }
    }
    Ok(VerifiedReceipt { statement, decision, leaf_index: receipt.leaf_index, checkpoint })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse::sign_statement;
    use crate::edge::Edge;
    use crate::edge::tests::entry;
    use crate::key::SigningKey;
    use crate::proof::inclusion_proof;
    use crate::statement::tests::record;
    use crate::statement::{WAIVER_TYPE, event, vsa};
    use crate::tile::TileKind;
    use serde_json::{Value, json};
    use std::collections::HashMap;

    fn key() -> SigningKey {
        SigningKey::from_seed("ledger.example/a", [3; 32]).unwrap()
    }

    /// A ledger of `size` entries with `statement` at `index`, and its receipt.
    fn receipt(statement: &Value, index: u64, size: u64) -> Receipt {
        let envelope = sign_statement(&key(), statement).unwrap();
        let salt = [8; 32];
        let ours = commitment(&salt, &envelope.to_bytes().unwrap());
        let all: Vec<_> = (0..size).map(|n| if n == index { ours } else { entry(n) }).collect();
        let plan = Edge::empty().plan(&all, key().name()).unwrap();
        let tiles: HashMap<(TileKind, u64), Vec<u8>> =
            plan.tiles.into_iter().map(|t| ((t.id.kind, t.id.index), t.data)).collect();
        let proof = inclusion_proof(index, size, &tiles).unwrap();
        Receipt::new(envelope, salt, index, &proof, plan.checkpoint.sign(&key()).unwrap())
    }

    fn admission() -> Receipt {
        receipt(&vsa(&record(Verdict::Admit, Some(b"wheel"))).unwrap(), 137, 300)
    }

    #[test]
    fn a_receipt_verifies_offline_with_the_public_key() {
        let bytes = admission().to_bytes().unwrap();
        let read = Receipt::parse(&bytes).unwrap();
        let vkey = VerifierKey::parse(&key().verifier().to_string()).unwrap();
        let artifact = Sha256Digest::of(b"wheel");
        let verified = verify_receipt(&read, &vkey, Some(&artifact)).unwrap();
        assert!(verified.admits());
        assert_eq!((verified.leaf_index(), verified.checkpoint().size()), (137, 300));
        assert_eq!(verified.decision().unwrap().sha256, Some(artifact));
        assert!(verify_receipt(&read, &vkey, None).is_ok());
    }

    #[test]
    fn it_is_for_that_artifact_and_that_key_only() {
        let r = admission();
        let other = Sha256Digest::of(b"another wheel");
        assert!(matches!(
            verify_receipt(&r, key().verifier(), Some(&other)),
            Err(ReceiptError::OtherArtifact { .. })
        ));
        for (name, seed) in [("ledger.example/a", 4), ("ledger.example/b", 3)] {
            let k = SigningKey::from_seed(name, [seed; 32]).unwrap();
            assert!(verify_receipt(&r, k.verifier(), None).is_err(), "{name} {seed}");
        }
    }

    #[test]
    fn no_byte_of_a_receipt_can_be_changed() {
        let bytes = admission().to_bytes().unwrap();
        let key = key();
        for at in 0..bytes.len() {
            for mask in [0x01, 0x20, 0x04] {
                let mut changed = bytes.clone();
                changed[at] ^= mask;
                let Ok(read) = Receipt::parse(&changed) else { continue };
                let verdict = verify_receipt(&read, key.verifier(), None);
                assert!(verdict.is_err(), "byte {at} of {} ^ {mask:#x}", bytes.len());
            }
        }
        for cut in 0..bytes.len() {
            assert!(Receipt::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_genuine_statement_that_is_not_in_the_tree_is_rejected() {
        let mut r = admission();
        let statement = vsa(&record(Verdict::Admit, Some(b"evil"))).unwrap();
        r.envelope = sign_statement(&key(), &statement).unwrap();
        let got = verify_receipt(&r, key().verifier(), None);
        assert!(matches!(got, Err(ReceiptError::NotIncluded(_))), "{got:?}");
    }

    #[test]
    fn refusals_and_other_entries_have_receipts_that_do_not_admit() {
        let refused = receipt(&vsa(&record(Verdict::Refuse, None)).unwrap(), 0, 1);
        let verified = verify_receipt(&refused, key().verifier(), None).unwrap();
        assert!(!verified.admits());
        let digest = Sha256Digest::of(b"wheel");
        assert!(verify_receipt(&refused, key().verifier(), Some(&digest)).is_err());

        let waiver = receipt(&event(WAIVER_TYPE, "W-1", json!({"reason": "known"})), 2, 5);
        let verified = verify_receipt(&waiver, key().verifier(), None).unwrap();
        assert!(!verified.admits() && verified.decision().is_none());
        assert!(verify_receipt(&waiver, key().verifier(), Some(&digest)).is_err());
    }

    #[test]
    fn receipts_are_read_strictly() {
        let text = String::from_utf8(admission().to_bytes().unwrap()).unwrap();
        for bad in [
            text.replacen("{", "{\"x\":1,", 1),
            text.replacen("{", "{\"leafIndex\":1,", 1),
            text.replace("receipt/v1", "receipt/v2"),
            text.replacen(&"08".repeat(32), &"0A".repeat(32), 1),
            "[]".to_owned(),
            "null".to_owned(),
        ] {
            assert!(Receipt::parse(bad.as_bytes()).is_err(), "{bad:.80}");
        }
    }
}
