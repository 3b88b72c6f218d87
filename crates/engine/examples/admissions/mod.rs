//! A store with many admissions, of packages that are nowhere.

use countersign_core::{
    Age, ArtifactFacts, Check, Decision, Digests, Ecosystem, Evidence, EvidenceState, Purl,
    Reservation, Sha256Digest, Timestamp, VersionFacts,
};
use countersign_ledger::statement::{DecisionRecord, Verifier};
use countersign_store::{NewDecision, Store, StoreError};

/// Versions of each package.
const VERSIONS: u64 = 4;

/// Records that many admissions.
pub(crate) async fn record(store: &Store, number: u64) -> Result<(), StoreError> {
    for first in (0..number).step_by(1000) {
        store.record((first..number.min(first + 1000)).map(admission).collect()).await?;
    }
    Ok(())
}

/// The decision that admits the `n`th of many artifacts.
fn admission(n: u64) -> NewDecision {
    let name = format!("package-{}", n / VERSIONS);
    let version = format!("1.{}.0", n % VERSIONS);
    let evidence = Evidence {
        kind: "npm-provenance".to_owned(),
        source: "upstream".to_owned(),
        state: EvidenceState::Absent,
    };
    let facts = ArtifactFacts {
        version: VersionFacts {
            purl: Purl::new(Ecosystem::Npm, &name, Some(&version)),
            upstream: "https://registry.example".to_owned(),
            age: Age::Known { published: Timestamp(1_600_000_000) },
            yanked: false,
            reservation: Reservation::None,
            denied: false,
            allowed: false,
            fixes_installed: Vec::new(),
            findings: Vec::new(),
            advisories: Check::passed("advisories"),
            advised_as: None,
            upgrade: None,
            silent_days: None,
            claimed_repository: None,
        },
        file_name: format!("{name}-{version}.tgz"),
        sha256: Sha256Digest::of(&n.to_le_bytes()),
        size: 12_345,
        digest_confirmed: true,
        index_digests: Vec::new(),
        evidence: vec![evidence],
        findings: Vec::new(),
        checks: vec![
            Check::passed("digest"),
            Check::passed("archive"),
            Check::not_done("evidence", "there is none"),
        ],
        changes: Vec::new(),
        dependencies: Vec::new(),
    };
    let record = DecisionRecord {
        purl: facts.version.purl.clone(),
        file_name: facts.file_name.clone(),
        digests: Some(Digests { sha256: facts.sha256, others: Vec::new() }),
        decision: Decision::from_fired(Vec::new(), false, "ab".repeat(32)),
        time_verified: Timestamp(1_700_000_000),
        policy_uri: "urn:countersign:policy:baseline".to_owned(),
        verifier: Verifier { id: "urn:countersign:gate".to_owned(), version: "0".to_owned() },
        input_attestations: Vec::new(),
        evidence: facts.evidence.clone(),
        facts_digest: None,
        verified_levels: Vec::new(),
    };
    NewDecision { record, facts: serde_json::to_value(&facts).unwrap_or_default() }
}
