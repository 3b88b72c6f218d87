//! Evidence of registries that the gate does not serve: Go's checksum database, images, referrers.

use super::{documents, signed};
use countersign_fuzz::{SEPARATOR, key};
use countersign_ledger::{leaf_hash, sign_note};
use serde_json::json;

/// A record with its proof, in a tree of one, about other bytes than the target's; and a zip's names.
pub fn sumdb() -> Vec<Vec<u8>> {
    let record = "m.example/a v1.0.0 h1:AAAA=\nm.example/a v1.0.0/go.mod h1:BBBB=\n";
    let root = leaf_hash(record.as_bytes());
    let note = sign_note(&format!("go.sum database tree\n1\n{root}\n"), &key());
    let lookup = format!("0\n{record}\n{}", note.expect("a note is signed"));
    let document = json!({"lookup": lookup, "proof": []}).to_string().into_bytes();
    vec![document, b"m.example/a@v1.0.0/go.mod\0m.example/a@v1.0.0/a/b.go".to_vec()]
}

/// A bundle and an envelope of cosign's, each with a payload.
pub fn image_signatures() -> Vec<Vec<u8>> {
    let payload = json!({
        "critical": {
            "identity": {"docker-reference": "registry.example/a"},
            "image": {"docker-manifest-digest": format!("sha256:{}", "07".repeat(32))},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string();
    let envelope = json!({
        "base64Signature": "AAAA",
        "cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "rekorBundle": {
            "SignedEntryTimestamp": "AAAA",
            "Payload": {
                "body": "eyJhcGlWZXJzaW9uIjoiMC4wLjEiLCJraW5kIjoiaGFzaGVkcmVrb3JkIn0=",
                "integratedTime": 1_750_000_000, "logIndex": 1, "logID": "00",
            },
        },
    })
    .to_string();
    let with = |document: &[u8]| [document, SEPARATOR, payload.as_bytes()].concat();
    vec![with(&documents::sigstore_bundle()), with(envelope.as_bytes())]
}

/// A list, a manifest and a name.
pub fn referrers() -> Vec<Vec<u8>> {
    let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let digest = format!("sha256:{}", "07".repeat(32));
    let one = json!({"mediaType": kind, "artifactType": kind, "size": 1, "digest": digest});
    let list = json!({"schemaVersion": 2, "manifests": [one]}).to_string();
    let manifest = json!({"schemaVersion": 2, "subject": one, "layers": [one]}).to_string();
    vec![list.into_bytes(), manifest.into_bytes(), b"team/evidence".to_vec()]
}

/// A file, its signature and the keyring.
pub fn detached_signature() -> Vec<u8> {
    signed::release_gpg()
}
