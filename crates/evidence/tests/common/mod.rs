//! What the tests share: vectors from beside the checkout, tampering, and a mint of our own for
//! attestations that a registry's key signs.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_core::{Evidence, EvidenceState, Timestamp};
use countersign_evidence::Context;
use countersign_evidence::sigstore::TrustRoots;
use serde_json::{Value, json};
use sigstore_verify::crypto::{KeyPair, sha256};
use std::path::PathBuf;

/// A time at which all vectors are in the past.
pub const NOW: Timestamp = Timestamp(1_780_000_000);

/// A shared vector, or nothing, said plainly, where the shared data is absent.
pub fn shared(path: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("COUNTERSIGN_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let bytes = std::fs::read(root.join(path)).ok();
    if bytes.is_none() {
        eprintln!("skipped: no shared vector `{path}`; set COUNTERSIGN_SHARED to where it is");
    }
    bytes
}

pub fn context(roots: &TrustRoots) -> Context<'_> {
    Context { roots, now: NOW, source: "test" }
}

pub fn staging() -> TrustRoots {
    let json = sigstore_trust_root::SIGSTORE_STAGING_TRUSTED_ROOT;
    TrustRoots::from_trusted_root_json(json.as_bytes()).unwrap()
}

/// The states of a kind, each as one word.
pub fn states(evidence: &[Evidence], kind: &str) -> Vec<&'static str> {
    evidence
        .iter()
        .filter(|e| e.kind == kind)
        .map(|e| match e.state {
            EvidenceState::Verified { .. } => "verified",
            EvidenceState::Absent => "absent",
            EvidenceState::Unreachable { .. } => "unreachable",
            EvidenceState::Invalid { .. } => "invalid",
        })
        .collect()
}

/// Why the first piece of evidence of a kind does not hold.
pub fn because(evidence: &[Evidence], kind: &str) -> String {
    let found = evidence.iter().find(|e| e.kind == kind).expect("evidence of that kind");
    match &found.state {
        EvidenceState::Invalid { because, .. } | EvidenceState::Unreachable { because } => {
            because.clone()
        }
        other => panic!("{kind}: {other:?}"),
    }
}

pub fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn unb64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

/// Copies of `document` with one bit flipped in the base64 bytes at `pointer`, at `samples`
/// places spread over it.
pub fn flipped(document: &Value, pointer: &str, samples: usize) -> Vec<Value> {
    let bytes = unb64(document.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}")));
    let step = (bytes.len() / samples).max(1);
    (0..bytes.len())
        .step_by(step)
        .chain([bytes.len() - 1])
        .map(|at| {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            let mut out = document.clone();
            *out.pointer_mut(pointer).unwrap() = b64(&bad).into();
            out
        })
        .collect()
}

/// A registry and a log of our own.
pub struct Mint {
    pub registry: KeyPair,
    pub log: KeyPair,
}

impl Mint {
    pub fn new() -> Self {
        Self {
            registry: KeyPair::generate_ecdsa_p256().unwrap(),
            log: KeyPair::generate_ecdsa_p256().unwrap(),
        }
    }

    /// The production roots with the mint's log beside theirs.
    pub fn roots(&self) -> TrustRoots {
        let json = sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
        let mut root: Value = serde_json::from_str(json).unwrap();
        let spki = self.log.public_key_der().unwrap();
        root["tlogs"].as_array_mut().unwrap().push(json!({
            "baseUrl": "https://log.example",
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": b64(spki.as_bytes()),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": "2020-01-01T00:00:00Z"},
            },
            "logId": {"keyId": b64(&self.log_id())},
        }));
        TrustRoots::from_trusted_root_json(root.to_string().as_bytes()).unwrap()
    }

    fn log_id(&self) -> Vec<u8> {
        sha256(self.log.public_key_der().unwrap().as_bytes()).as_bytes().to_vec()
    }

    /// The registry's key document, with its key under `id`.
    pub fn keys(&self, id: &str, expires: Option<&str>) -> Vec<u8> {
        let spki = self.registry.public_key_der().unwrap();
        json!({"keys": [{"keyid": id, "key": b64(spki.as_bytes()), "expires": expires}]})
            .to_string()
            .into_bytes()
    }

    /// A v0.1 bundle over `payload`, signed by the registry's key `id` and promised by the log.
    pub fn bundle(&self, payload: &str, id: &str, at: Timestamp) -> Value {
        let kind = "application/vnd.in-toto+json";
        let pae = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let signature = b64(self.registry.sign(pae.as_bytes()).unwrap().as_bytes());
        let spki = b64(self.registry.public_key_der().unwrap().as_bytes());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{spki}\n-----END PUBLIC KEY-----\n");
        let hash = json!({"algorithm": "sha256", "value": sha256(payload.as_bytes()).to_hex()});
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": hash,
                "payloadHash": hash,
                "signatures": [{"signature": signature, "verifier": b64(pem.as_bytes())}],
            },
        });
        let body = b64(body.to_string().as_bytes());
        let promised = format!(
            r#"{{"body":"{body}","integratedTime":{},"logID":"{}","logIndex":7}}"#,
            at.0,
            hex::encode(self.log_id()),
        );
        let promise = b64(self.log.sign(promised.as_bytes()).unwrap().as_bytes());
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
            "verificationMaterial": {
                "publicKey": {"hint": id},
                "tlogEntries": [{
                    "logIndex": "7",
                    "logId": {"keyId": b64(&self.log_id())},
                    "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                    "integratedTime": at.0.to_string(),
                    "inclusionPromise": {"signedEntryTimestamp": promise},
                    "canonicalizedBody": body,
                }],
            },
            "dsseEnvelope": {
                "payloadType": kind,
                "payload": b64(payload.as_bytes()),
                "signatures": [{"sig": signature, "keyid": id}],
            },
        })
    }
}
