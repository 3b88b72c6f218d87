//! What the ledger records beside decisions: each kind is an in-toto predicate type of its own.

use crate::statement::{STATEMENT_TYPE, VSA_TYPE};
use countersign_core::{Purl, Sha256Digest};
use serde_json::{Value, json};

/// First sight of an artifact: where from, under which name and digests.
pub const FIRST_SEEN_TYPE: &str = "urn:countersign:first-seen:v1";
/// What evidence was found for an artifact, and what verifying it gave.
pub const EVIDENCE_TYPE: &str = "urn:countersign:evidence:v1";
/// What a scan found in an artifact, with the versions of the scanner, its rules and the feeds.
pub const SCAN_TYPE: &str = "urn:countersign:scan:v1";
/// A feed that was added, brought other content, or was removed.
pub const FEED_TYPE: &str = "urn:countersign:feed:v1";
/// An incident that was opened.
pub const INCIDENT_TYPE: &str = "urn:countersign:incident:v1";
/// An incident that was closed.
pub const INCIDENT_CLOSED_TYPE: &str = "urn:countersign:incident-closed:v1";
/// A key for attestations that was added, ended or revoked.
pub const SIGNING_KEY_TYPE: &str = "urn:countersign:signing-key:v1";
/// An attestation that a key of the store signed.
pub const ATTESTATION_TYPE: &str = "urn:countersign:attestation:v1";
/// Content that was forgotten: an artifact's bytes, or the body of an entry.
pub const FORGOTTEN_TYPE: &str = "urn:countersign:forgotten:v1";
/// Restricted content that was read by somebody.
pub const READ_TYPE: &str = "urn:countersign:read:v1";
/// A statement of which parts were taken out; signed anew, and never an entry itself.
pub const REDACTED_TYPE: &str = "urn:countersign:redacted:v1";

/// A statement about an artifact: its subject is the file under its name, version and digest.
#[must_use]
pub fn about_artifact(
    predicate_type: &str,
    purl: &Purl,
    file_name: &str,
    sha256: &Sha256Digest,
    predicate: Value,
) -> Value {
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": file_name, "uri": purl.to_string(), "digest": {"sha256": sha256}}
        ],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// The short name of a predicate type, for people: `decision`, `waiver`, `first-seen` and so on; another
/// type as it is.
#[must_use]
pub fn short_kind(predicate_type: &str) -> &str {
    if predicate_type == VSA_TYPE {
        return "decision";
    }
    let inner = predicate_type.strip_prefix("urn:countersign:").and_then(|k| k.strip_suffix(":v1"));
    inner.unwrap_or(predicate_type)
}

/// The predicate type of a short name; what holds a colon is one already.
#[must_use]
pub fn long_kind(kind: &str) -> String {
    match kind {
        "decision" => VSA_TYPE.to_owned(),
        short if !short.contains(':') => format!("urn:countersign:{short}:v1"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_short_names() {
        for (long, short) in [
            (FIRST_SEEN_TYPE, "first-seen"),
            (INCIDENT_CLOSED_TYPE, "incident-closed"),
            (VSA_TYPE, "decision"),
            ("https://other.example/type", "https://other.example/type"),
        ] {
            assert_eq!((short_kind(long), long_kind(short).as_str()), (short, long));
        }
    }
}
