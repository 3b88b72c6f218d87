//! Many receipts in one file: what a lock file, a folder or an image needs, under one checkpoint.

use crate::checkpoint::VerifiedCheckpoint;
use crate::key::VerifierKey;
use crate::receipt::{
    BATCH_FORMAT, BatchEntry, MAX_PROOF, Receipt, ReceiptError, VerifiedReceipt, head_of,
    verify_under,
};
use countersign_core::Sha256Digest;
use serde::{Deserialize, Serialize};

/// Largest batch that is read, in bytes: some 50,000 receipts.
const MAX_BATCH: usize = 128 << 20;

/// Receipts under one checkpoint, as they came: nothing in it is verified until [`verify_batch`] says
/// so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptBatch {
    format: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    about: Option<BatchAbout>,
    checkpoint: String,
    receipts: Vec<BatchEntry>,
    /// The rotations of the ledger's key, where there were any.
    #[serde(rename = "keyRotations", skip_serializing_if = "Vec::is_empty", default)]
    key_rotations: Vec<BatchEntry>,
}

/// What a batch was made for. It is not signed: whoever checks a batch compares the document itself
/// with what the receipts admit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchAbout {
    /// The name of the document.
    pub name: String,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
}

/// A batch of which every receipt was verified. Only [`verify_batch`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedBatch {
    checkpoint: VerifiedCheckpoint,
    receipts: Vec<VerifiedReceipt>,
}

impl VerifiedBatch {
    /// The checkpoint that covers all of them.
    #[must_use]
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.checkpoint
    }

    /// The receipts, in the order of the file.
    #[must_use]
    pub fn receipts(&self) -> &[VerifiedReceipt] {
        &self.receipts
    }
}

impl ReceiptBatch {
    /// The batch of these receipts.
    ///
    /// # Errors
    /// When they are not all under one checkpoint, or none.
    pub fn new(about: Option<BatchAbout>, receipts: Vec<Receipt>) -> Result<Self, ReceiptError> {
        let malformed = |because: &str| ReceiptError::Malformed { because: because.to_owned() };
        let first = receipts.first().ok_or(malformed("it would hold no receipt"))?;
        let checkpoint = first.checkpoint().to_owned();
        if receipts.iter().any(|r| r.checkpoint() != checkpoint) {
            return Err(malformed("its receipts are under several checkpoints"));
        }
        let key_rotations = first.key_rotations().to_vec();
        let receipts = receipts.into_iter().map(Receipt::into_entry).collect();
        let format = BATCH_FORMAT.to_owned();
        Ok(Self { format, about, checkpoint, receipts, key_rotations })
    }

    /// Whether these bytes say that they are a batch, and not a single receipt.
    #[must_use]
    pub fn is_batch(bytes: &[u8]) -> bool {
        let head = bytes.get(..200).unwrap_or(bytes);
        String::from_utf8_lossy(head).contains(BATCH_FORMAT)
    }

    /// Reads a batch strictly.
    ///
    /// # Errors
    /// When the bytes are not a batch of this format.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        let malformed = |because: String| ReceiptError::Malformed { because };
        if bytes.len() > MAX_BATCH {
            return Err(malformed("it is larger than 128 MiB".into()));
        }
        let batch: Self = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
        if batch.format != BATCH_FORMAT {
            let found: String = batch.format.chars().take(60).collect();
            return Err(malformed(format!("its format is `{found}`, not `{BATCH_FORMAT}`")));
        }
        let mut all = batch.receipts.iter().chain(&batch.key_rotations);
        if all.any(|r| r.inclusion_proof.len() > MAX_PROOF) {
            return Err(malformed("a proof is longer than a proof can be".into()));
        }
        Ok(batch)
    }

    /// The batch as one line of JSON.
    ///
    /// # Errors
    /// Never for a batch that was made or parsed here; the encoder's signature allows it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ReceiptError> {
        serde_json::to_vec(self).map_err(|e| ReceiptError::Malformed { because: e.to_string() })
    }

    /// What it says that it was made for, unverified.
    #[must_use]
    pub fn about(&self) -> Option<&BatchAbout> {
        self.about.as_ref()
    }

    /// The signed checkpoint, unverified.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// How many receipts it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.receipts.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receipts.is_empty()
    }
}

/// Verifies a batch with the ledger's public key alone: the checkpoint once, and every receipt's
/// statement and inclusion.
///
/// # Errors
/// When any of these does not hold.
pub fn verify_batch(
    batch: &ReceiptBatch,
    key: &VerifierKey,
) -> Result<VerifiedBatch, ReceiptError> {
    let (keys, checkpoint) = head_of(&batch.checkpoint, key, &batch.key_rotations)?;
    let one = |entry: &BatchEntry| {
        verify_under(&entry.to_receipt(&batch.checkpoint), &keys, checkpoint.clone(), None)
    };
    let receipts = batch.receipts.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(VerifiedBatch { checkpoint, receipts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsse::sign_statement;
    use crate::edge::Edge;
    use crate::key::SigningKey;
    use crate::leaf::commitment;
    use crate::proof::inclusion_proof;
    use crate::statement::tests::record;
    use crate::statement::vsa;
    use crate::tile::TileKind;
    use countersign_core::Verdict;
    use std::collections::HashMap;

    fn batch(n: usize) -> (ReceiptBatch, SigningKey) {
        let key = SigningKey::from_seed("ledger.example/a", [3; 32]).unwrap();
        let envelopes: Vec<_> = (0..n)
            .map(|i| {
                let bytes = format!("wheel {i}");
                let statement = vsa(&record(Verdict::Admit, Some(bytes.as_bytes()))).unwrap();
                sign_statement(&key, &statement).unwrap()
            })
            .collect();
        let leaves: Vec<_> =
            envelopes.iter().map(|e| commitment(&[4; 32], &e.to_bytes().unwrap())).collect();
        let plan = Edge::empty().plan(&leaves, key.name()).unwrap();
        let tiles: HashMap<(TileKind, u64), Vec<u8>> =
            plan.tiles.into_iter().map(|t| ((t.id.kind, t.id.index), t.data)).collect();
        let note = plan.checkpoint.sign(&key).unwrap();
        let receipts = envelopes.into_iter().zip(0u64..).map(|(envelope, i)| {
            let proof = inclusion_proof(i, plan.new_size, &tiles).unwrap();
            Receipt::new(envelope, [4; 32], i, &proof, note.clone())
        });
        let about = BatchAbout { name: "uv.lock".into(), sha256: Sha256Digest::of(b"lock") };
        (ReceiptBatch::new(Some(about), receipts.collect()).unwrap(), key)
    }

    #[test]
    fn a_batch_verifies_as_a_whole_and_reads_back() {
        let (batch, key) = batch(9);
        let bytes = batch.to_bytes().unwrap();
        assert!(ReceiptBatch::is_batch(&bytes));
        let read = ReceiptBatch::parse(&bytes).unwrap();
        assert_eq!(read, batch);
        let verified = verify_batch(&read, key.verifier()).unwrap();
        assert_eq!((verified.receipts().len(), verified.checkpoint().size()), (9, 9));
        assert!(verified.receipts().iter().all(VerifiedReceipt::admits));
        let other = SigningKey::from_seed("ledger.example/a", [9; 32]).unwrap();
        assert!(verify_batch(&read, other.verifier()).is_err());
    }

    #[test]
    fn no_byte_of_what_it_proves_can_be_changed() {
        let (batch, key) = batch(3);
        let bytes = batch.to_bytes().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let proven = text.find("\"checkpoint\"").unwrap();
        for at in proven..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let Ok(read) = ReceiptBatch::parse(&changed) else { continue };
            assert!(verify_batch(&read, key.verifier()).is_err(), "byte {at}");
        }
        for cut in 0..bytes.len() {
            assert!(ReceiptBatch::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn receipts_of_several_checkpoints_are_no_batch() {
        let (one, two) = (batch(3).0, batch(4).0);
        let receipt = |b: &ReceiptBatch| b.receipts[0].to_receipt(&b.checkpoint);
        assert!(ReceiptBatch::new(None, vec![receipt(&one), receipt(&two)]).is_err());
        assert!(ReceiptBatch::new(None, vec![]).is_err());
    }
}
