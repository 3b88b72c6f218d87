//! The store's contract: durability, one history, records, blobs, and errors that say what to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

mod blobs;
mod crash;
mod faults;
mod fetches;
mod forget;
mod ledger;
mod migrate;
mod open;
mod recalls;
mod records;
mod rotation;

use countersign_core::{
    Algorithm, Decision, Digests, ExpectedDigest, FiredRule, ReasonCode, Sha256Digest, Timestamp,
    Verdict,
};
use countersign_ledger::statement::{DecisionRecord, Verifier};
use countersign_store::{NewDecision, OpenMode, Store, init_key};
use serde_json::json;
use std::path::Path;

pub(crate) const ORIGIN: &str = "gate.example/ledger";
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000);

/// A new store with a key, in a folder that goes when the test ends.
pub(crate) async fn new_store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    init_key(dir.path(), ORIGIN).await.unwrap();
    let store = Store::open(dir.path(), OpenMode::Create).await.unwrap();
    (dir, store)
}

pub(crate) async fn reopen(dir: &Path) -> Store {
    Store::open(dir, OpenMode::Existing).await.unwrap()
}

/// A decision about `bytes` (or about nothing that arrived) under a name.
pub(crate) fn decision(
    purl: &str,
    file_name: &str,
    bytes: Option<&[u8]>,
    verdict: Verdict,
) -> NewDecision {
    let rule = FiredRule {
        rule: "known-vulnerable".into(),
        verdict,
        reason: ReasonCode::KnownVulnerable,
        detail: "GHSA-xxxx".into(),
        until: None,
    };
    let fired = if verdict == Verdict::Admit { vec![] } else { vec![rule] };
    let sha512 = |b: &[u8]| {
        let half = Sha256Digest::of(b).0;
        ExpectedDigest::from_bytes(Algorithm::Sha512, [half, half].concat()).unwrap()
    };
    let sha1 = ExpectedDigest::from_bytes(Algorithm::Sha1, vec![1; 20]).unwrap();
    NewDecision {
        record: DecisionRecord {
            purl: purl.parse().unwrap(),
            file_name: file_name.into(),
            digests: bytes
                .map(|b| Digests { sha256: Sha256Digest::of(b), others: vec![sha512(b), sha1] }),
            decision: Decision::from_fired(fired, false, "ab".repeat(32)),
            time_verified: NOW,
            policy_uri: "file:policy.cedar".into(),
            verifier: Verifier { id: "https://gate.example/".into(), version: "0.1.0".into() },
            input_attestations: vec![],
            evidence: vec![],
            facts_digest: None,
            verified_levels: vec![],
        },
        facts: json!({"file": file_name, "checks": ["digest"]}),
    }
}

/// The `n`th of many different admissions.
pub(crate) fn admission(n: u64) -> NewDecision {
    let name = format!("flask-{n}.whl");
    decision("pkg:pypi/flask@3.0.0", &name, Some(name.as_bytes()), Verdict::Admit)
}
