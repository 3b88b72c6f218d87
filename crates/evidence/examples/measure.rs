//! How long verification takes, in this process: `measure [INRELEASE KEYRING]`.
//!
//! Figures go to docs/performance.md. Vectors are those beside the checkout; without them, minted ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/mint/mod.rs"]
mod mint;

use countersign_core::{EvidenceState, Sha256Digest, Timestamp};
use countersign_evidence::npm::{NpmArtifact, RegistrySignature, verify_signatures};
use countersign_evidence::sigstore::{Artifact, Signatory, TrustRoots, verify_artifact};
use countersign_evidence::{Context, npm, openpgp, pep740};
use mint::key::KeyPair;
use mint::{ARTIFACT, AT, DAY, ISSUER, Kind, Mint, Recipe, Rekor, SUBJECT, Version, b64};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

const ROUNDS: usize = 400;

fn main() {
    minted();
    signature();
    shared_vectors();
    let mut args = std::env::args().skip(1);
    if let (Some(file), Some(keyring)) = (args.next(), args.next()) {
        let (file, keyring) = (std::fs::read(file).unwrap(), std::fs::read(keyring).unwrap());
        let now = Timestamp(jiff::Timestamp::now().as_second());
        measure(&format!("InRelease of {} bytes", file.len()), || {
            openpgp::verify_inrelease(&file, &keyring, now).is_ok()
        });
    }
}

/// The median of the rounds, in milliseconds.
fn measure(what: &str, mut verify: impl FnMut() -> bool) {
    assert!(verify(), "{what} does not hold");
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            assert!(verify());
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what}: {:.3} ms (90 %: {:.3})", times[ROUNDS / 2], times[ROUNDS * 9 / 10]);
}

fn minted() {
    let mint = Mint::new();
    let roots = mint.trusted_root().to_string();
    let roots = TrustRoots::from_trusted_root_json(roots.as_bytes()).unwrap();
    let who = Signatory::Identity { subject: SUBJECT, issuer: ISSUER };
    for (name, rekor) in [("first", Rekor::First), ("second", Rekor::Second)] {
        let bundle = mint.bundle(&Recipe::new(Version::V03, Kind::Statement, rekor)).to_string();
        let (artifact, now) = (Artifact::Bytes(ARTIFACT), Timestamp(AT + DAY));
        measure(&format!("minted attestation, Rekor's {name} version"), || {
            verify_artifact(bundle.as_bytes(), &artifact, &who, &roots, now).is_ok()
        });
    }
}

fn signature() {
    let key = KeyPair::generate();
    let spki = b64(&key.spki());
    let keys = json!({"keys": [{"keyid": "k", "key": spki, "expires": null}]}).to_string();
    let sha512 = [7; 64];
    let message = format!("lib@1.0.0:sha512-{}", b64(&sha512));
    let signature = b64(&key.sign(message.as_bytes()));
    let list = [RegistrySignature { key_id: "k".into(), signature }];
    let artifact = NpmArtifact {
        name: "lib",
        version: "1.0.0",
        sha512: &sha512,
        sha256: None,
        registry: None,
    };
    let roots = TrustRoots::embedded().unwrap();
    let context = Context { roots: &roots, now: Timestamp(AT), source: "measure" };
    measure("npm registry signature", || {
        let got = verify_signatures(&list, &artifact, None, Some(keys.as_bytes()), &context);
        matches!(got.state, EvidenceState::Verified { .. })
    });
}

fn shared(what: &str) -> Option<Vec<u8>> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("COUNTERSIGN_SHARED").map_or(beside, PathBuf::from);
    std::fs::read(root.join(what)).ok()
}

fn shared_vectors() {
    let roots = TrustRoots::embedded().unwrap();
    let context = Context { roots: &roots, now: Timestamp(AT), source: "measure" };
    let file = "pypi_attestations-0.0.19.tar.gz";
    let hex = "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3";
    let sha256: Sha256Digest = hex.parse().unwrap();
    if let Some(document) = shared(&format!("vectors/pypi/{file}.provenance")) {
        measure("PEP 740 provenance", || {
            let got = pep740::verify_provenance(&document, file, &sha256, &context);
            got.iter().all(|e| e.claim().is_some())
        });
    }
    let names = ["vectors/npm/sigstore-2.3.1.attestations.json", "vectors/npm/keys.json"];
    if let [Some(document), Some(keys)] = names.map(shared) {
        let value: serde_json::Value = serde_json::from_slice(&document).unwrap();
        let payload = &value["attestations"][0]["bundle"]["dsseEnvelope"]["payload"];
        let statement: serde_json::Value = serde_json::from_slice(&mint::unb64(payload)).unwrap();
        let digest = statement["subject"][0]["digest"]["sha512"].as_str().unwrap();
        let sha512: [u8; 64] = hex::decode(digest).unwrap().try_into().unwrap();
        let artifact = NpmArtifact {
            name: "sigstore",
            version: "2.3.1",
            sha512: &sha512,
            sha256: None,
            registry: None,
        };
        measure("npm's two attestations together", || {
            let got = npm::verify_attestations(&document, &artifact, Some(&keys), &context);
            got.iter().all(|e| e.claim().is_some())
        });
    }
}
