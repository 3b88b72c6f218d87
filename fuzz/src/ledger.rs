//! Receipts, checkpoints, envelopes and proofs.

use crate::text;
use countersign_core::Sha256Digest;
use countersign_ledger::{
    AddCheckpoint, Checkpoint, Envelope, Hash, KeyHistory, Observed, Receipt, SigningKey,
    VerifierKey, WitnessKey, cosignatures, merge_cosignatures, pack, parse_entry_bundle,
    parse_strict, read_rotations, read_size_body, statement, unpack, verify_checkpoint,
    verify_consistency, verify_envelope, verify_inclusion, verify_note, verify_receipt, witness,
};
use std::sync::LazyLock;

static KEY: LazyLock<SigningKey> = LazyLock::new(key);

/// The key that signs the seeds.
#[must_use]
pub fn key() -> SigningKey {
    SigningKey::from_seed("ledger.example/fuzz", [7; 32]).expect("the name can name a ledger")
}

/// The key that the rotation among the seeds names.
#[must_use]
pub fn next_key() -> SigningKey {
    SigningKey::from_seed("ledger.example/fuzz", [8; 32]).expect("the name can name a ledger")
}

/// A published file of key rotations: without the key's own signature nothing leads away from it.
pub fn rotations(data: &[u8]) {
    let Ok(rotations) = read_rotations(data) else { return };
    let Ok(history) = KeyHistory::resolve(KEY.verifier(), &rotations) else { return };
    let known = [KEY.verifier().clone(), next_key().verifier().clone()];
    assert!(known.contains(history.current()), "a rotation that the key did not sign");
    for rotation in &rotations {
        let _ = rotation.commitment();
    }
}

/// A receipt: what is written must be read back the same, and is about no other artifact.
pub fn receipt(data: &[u8]) {
    let Ok(receipt) = Receipt::parse(data) else { return };
    let written = receipt.to_bytes().expect("a receipt is written");
    let again = Receipt::parse(&written).expect("a written receipt is read");
    assert_eq!(again.to_bytes().ok(), Some(written));
    let _ = verify_receipt(&receipt, KEY.verifier(), None);
    let other = verify_receipt(&receipt, KEY.verifier(), Some(&Sha256Digest([1; 32])));
    assert!(other.is_err(), "a receipt for bytes that nobody admitted");
}

/// A signed note, a checkpoint with and without signature, a key.
pub fn checkpoint(data: &[u8]) {
    let text = text(data);
    let _ = verify_note(&text, KEY.verifier());
    if let Ok(verified) = verify_checkpoint(&text, KEY.verifier()) {
        assert_eq!(verified.origin(), KEY.name());
    }
    if let Ok(checkpoint) = Checkpoint::parse_body(&text) {
        assert_eq!(Checkpoint::parse_body(&checkpoint.body()).as_ref(), Ok(&checkpoint));
    }
    if let Ok(key) = VerifierKey::parse(&text) {
        assert!(VerifierKey::parse(&key.to_string()).is_ok_and(|again| again == key));
    }
    let _ = parse_entry_bundle(data);
}

/// What a log sends to a witness, and what a witness answers.
pub fn witness_request(data: &[u8]) {
    let text = text(data);
    let key = KEY.witness();
    let _ = cosignatures(&text, std::slice::from_ref(&key));
    let _ = merge_cosignatures(&text, &text, &key);
    let _ = read_size_body(&text);
    if let Ok(key) = WitnessKey::parse(&text) {
        assert!(WitnessKey::parse(&key.to_string()).is_ok_and(|again| again == key));
    }
    let Ok(request) = AddCheckpoint::parse(&text) else { return };
    assert_eq!(AddCheckpoint::parse(&request.to_text()).as_ref(), Ok(&request));
    let known = [KEY.verifier().clone()];
    let now = countersign_core::Timestamp(1_800_000_000);
    let _ = witness(&request, &known, Observed::default(), &KEY, now);
}

/// An envelope and the statement in it.
pub fn dsse(data: &[u8]) {
    if let Ok(value) = parse_strict(data) {
        let _ = statement::read_decision(&value);
    }
    let Ok(envelope) = Envelope::parse(data) else { return };
    let written = envelope.to_bytes().expect("an envelope is written");
    assert!(Envelope::parse(&written).is_ok(), "a written envelope is read");
    if let Ok(verified) = verify_envelope(&envelope, KEY.verifier()) {
        let _ = statement::read_decision(verified.value());
    }
}

/// Packed entries, as a store keeps them.
pub fn packed_entries(data: &[u8]) {
    let Ok(entries) = unpack(data) else { return };
    let again = pack(&entries).expect("what was unpacked is packed");
    assert_eq!(unpack(&again).as_deref(), Ok(entries.as_slice()));
    for entry in &entries {
        let _ = entry.commitment();
    }
}

/// Proofs: three sizes of eight bytes, then hashes of 32.
pub fn proofs(data: &[u8]) {
    let (numbers, hashes) = data.split_at_checked(24).unwrap_or((data, &[]));
    let mut numbers =
        numbers.chunks_exact(8).map(|c| c.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)));
    let mut number = || numbers.next().unwrap_or_default();
    let (index, old, new) = (number(), number(), number());
    let mut proof: Vec<Hash> = hashes
        .chunks_exact(32)
        .take(200)
        .map(|c| Hash(std::array::from_fn(|i| c.get(i).copied().unwrap_or_default())))
        .collect();
    let (Some(a), Some(b)) = (proof.pop(), proof.pop()) else { return };
    let _ = verify_inclusion(a, index, new, &proof, b);
    let _ = verify_consistency(old, a, new, b, &proof);
}
