//! What is signed: lists under a keyring of our own, receipts and checkpoints under the ledger's key.

use super::documents::{RELEASE, digest};
use countersign_core::{Decision, Digests, Purl, Timestamp};
use countersign_fuzz::{NOW, SEPARATOR, key};
use countersign_ledger::statement::{DecisionRecord, Verifier, vsa};
use countersign_ledger::{
    AddCheckpoint, Checkpoint, Envelope, PackedContent, PackedEntry, Receipt, Rotation, commitment,
    cosign, leaf_hash, pack, rotation, sign_statement,
};
use sequoia_openpgp as openpgp;

use openpgp::cert::{Cert, CertBuilder};
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto as _;
use openpgp::serialize::stream::{Armorer, Message, Signer};
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

fn time(t: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(t.0.unsigned_abs())
}

fn archive_key() -> Cert {
    let (cert, _) = CertBuilder::new()
        .add_userid("Archive <archive@deb.example>")
        .set_creation_time(time(NOW.plus_seconds(-1000)))
        .add_signing_subkey()
        .generate()
        .expect("a key is made");
    cert
}

fn keyring(cert: &Cert) -> Vec<u8> {
    cert.armored().to_vec().expect("a certificate is written")
}

fn sign(cert: &Cert, detached: bool) -> Vec<u8> {
    let policy = StandardPolicy::new();
    let mut keys = cert.keys().unencrypted_secret().with_policy(&policy, time(NOW)).for_signing();
    let pair = keys.next().expect("a signing key").key().clone().into_keypair().expect("a pair");
    let mut out = Vec::new();
    let message = Message::new(&mut out);
    let signer = if detached {
        let armor = Armorer::new(message).kind(openpgp::armor::Kind::Signature).build();
        Signer::new(armor.expect("armour"), pair).expect("a signer").detached()
    } else {
        Signer::new(message, pair).expect("a signer").cleartext()
    };
    let signer = signer.creation_time(time(NOW.plus_seconds(-60)));
    let mut writer = signer.build().expect("a signer");
    writer.write_all(RELEASE.as_bytes()).expect("memory can be written");
    writer.finalize().expect("memory can be written");
    out
}

/// An `InRelease` file and its keyring.
pub fn inrelease() -> Vec<u8> {
    let cert = archive_key();
    [sign(&cert, false).as_slice(), SEPARATOR, &keyring(&cert)].concat()
}

/// A `Release` file, its signature and its keyring.
pub fn release_gpg() -> Vec<u8> {
    let cert = archive_key();
    let signature = sign(&cert, true);
    [RELEASE.as_bytes(), SEPARATOR, &signature, SEPARATOR, &keyring(&cert)].concat()
}

fn envelope() -> Envelope {
    let sha256 = digest().parse().expect("a digest");
    let record = DecisionRecord {
        purl: "pkg:pypi/example@1.0".parse::<Purl>().expect("a purl"),
        file_name: "example-1.0-py3-none-any.whl".to_owned(),
        digests: Some(Digests { sha256, others: Vec::new() }),
        decision: Decision::from_fired(Vec::new(), false, digest().to_owned()),
        time_verified: NOW,
        policy_uri: "https://gate.example/policy".to_owned(),
        verifier: Verifier { id: "https://gate.example".to_owned(), version: "0".to_owned() },
        input_attestations: Vec::new(),
        evidence: Vec::new(),
        facts_digest: None,
        verified_levels: Vec::new(),
    };
    let statement = vsa(&record).expect("a statement");
    sign_statement(&key(), &statement).expect("an envelope")
}

fn signed_checkpoint(envelope: &Envelope) -> String {
    let bytes = envelope.to_bytes().expect("an envelope is written");
    let root = leaf_hash(&commitment(&[9; 32], &bytes));
    let origin = key().name().to_owned();
    let checkpoint = Checkpoint { origin, size: 1, root, extensions: vec!["more".to_owned()] };
    checkpoint.sign(&key()).expect("a checkpoint is signed")
}

/// The receipt of the only entry of a ledger.
pub fn receipt() -> Vec<u8> {
    let envelope = envelope();
    let checkpoint = signed_checkpoint(&envelope);
    Receipt::new(envelope, [9; 32], 0, &[], checkpoint).to_bytes().expect("a receipt is written")
}

/// A rotation of the ledger's key to the one that the target knows.
pub fn rotations() -> Vec<u8> {
    let next = countersign_fuzz::next_key();
    let statement = rotation(key().verifier(), next.verifier(), "yearly", "ada", NOW);
    let envelope = sign_statement(&key(), &statement).expect("a rotation is signed");
    let list = [Rotation::new(envelope, [9; 32], 3)];
    serde_json::to_vec(&list).expect("rotations are written")
}

/// An envelope, and a bare statement.
pub fn envelopes() -> Vec<Vec<u8>> {
    let envelope = envelope();
    let statement = countersign_ledger::verify_envelope(&envelope, key().verifier());
    let statement = statement.expect("it is signed").value().to_string();
    vec![envelope.to_bytes().expect("an envelope is written"), statement.into_bytes()]
}

/// A signed entry, one that is no envelope, and one that was forgotten.
pub fn packed_entries() -> Vec<u8> {
    let kept = |envelope| PackedContent::Kept { salt: [7; 32], envelope };
    let signed = kept(envelope().to_bytes().expect("an envelope is written"));
    let contents =
        [signed, kept(b"else".to_vec()), PackedContent::Forgotten { commitment: [9; 32] }];
    let entry = |content| PackedEntry { kind: "urn:x".to_owned(), time: NOW, content };
    pack(&contents.map(entry)).expect("three entries are packed")
}

/// A checkpoint with and without its signature, and the key.
pub fn checkpoints() -> Vec<Vec<u8>> {
    let note = signed_checkpoint(&envelope());
    let body = note.split_inclusive("more\n").next().unwrap_or_default().to_owned();
    vec![note.into_bytes(), body.into_bytes(), key().verifier().to_string().into_bytes()]
}

/// Sizes 1, 2 and 3, and a few hashes.
pub fn proofs() -> Vec<u8> {
    let sizes = [1u64, 2, 3].iter().flat_map(|n| n.to_be_bytes());
    sizes.chain((0..160).map(|n| n as u8)).collect()
}

/// A first request to a witness, one with a proof line, and a note with a cosignature.
pub fn witness_requests() -> Vec<Vec<u8>> {
    let body = Checkpoint {
        origin: key().name().into(),
        size: 1,
        root: leaf_hash(&[1; 32]),
        extensions: vec![],
    };
    let checkpoint = body.sign(&key()).expect("a checkpoint is signed");
    let cosigned = cosign(&body.body(), &key(), NOW).expect("a checkpoint is cosigned");
    let first = AddCheckpoint { old: 0, proof: vec![], checkpoint: checkpoint.clone() };
    let next = AddCheckpoint { old: 1, proof: vec![body.root], checkpoint: checkpoint.clone() };
    vec![
        first.to_text().into_bytes(),
        next.to_text().into_bytes(),
        format!("{checkpoint}{cosigned}").into_bytes(),
    ]
}
