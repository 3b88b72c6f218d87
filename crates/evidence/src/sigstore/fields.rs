//! The fields of a bundle (Sigstore protobuf-specs, `Bundle` up to v0.3), and no others.
//!
//! Readers that pass over a name that they do not know lose what stands under it: a time stamp under
//! a misspelt name is gone, and the bundle means less than it did. As protobuf's own JSON reader
//! does, a name that is not in the specification is refused.

use super::WHAT;
use crate::error::{EvidenceError, shown};
use serde_json::Value;

/// What a field holds.
enum Field {
    /// A text or number, which others read.
    Leaf,
    /// A message of these fields, or a list of them.
    Message(&'static [(&'static str, Field)]),
}

use Field::{Leaf, Message};

const CERTIFICATE: Field = Message(&[("rawBytes", Leaf)]);

const ENTRY: Field = Message(&[
    ("logIndex", Leaf),
    ("logId", Message(&[("keyId", Leaf)])),
    ("kindVersion", Message(&[("kind", Leaf), ("version", Leaf)])),
    ("integratedTime", Leaf),
    ("inclusionPromise", Message(&[("signedEntryTimestamp", Leaf)])),
    (
        "inclusionProof",
        Message(&[
            ("logIndex", Leaf),
            ("rootHash", Leaf),
            ("treeSize", Leaf),
            ("hashes", Leaf),
            ("checkpoint", Message(&[("envelope", Leaf)])),
        ]),
    ),
    ("canonicalizedBody", Leaf),
]);

const MATERIAL: Field = Message(&[
    ("certificate", CERTIFICATE),
    ("x509CertificateChain", Message(&[("certificates", CERTIFICATE)])),
    ("publicKey", Message(&[("hint", Leaf)])),
    ("tlogEntries", ENTRY),
    (
        "timestampVerificationData",
        Message(&[("rfc3161Timestamps", Message(&[("signedTimestamp", Leaf)]))]),
    ),
]);

const BUNDLE: Field = Message(&[
    ("mediaType", Leaf),
    ("verificationMaterial", MATERIAL),
    (
        "messageSignature",
        Message(&[
            ("messageDigest", Message(&[("algorithm", Leaf), ("digest", Leaf)])),
            ("signature", Leaf),
        ]),
    ),
    (
        "dsseEnvelope",
        Message(&[
            ("payload", Leaf),
            ("payloadType", Leaf),
            ("signatures", Message(&[("sig", Leaf), ("keyid", Leaf)])),
        ]),
    ),
]);

/// Checks that a bundle holds no field that its specification does not name.
pub(super) fn check(bundle: &Value) -> Result<(), EvidenceError> {
    check_one(bundle, &BUNDLE)
}

/// The depth is the specification's, not the document's.
fn check_one(value: &Value, field: &Field) -> Result<(), EvidenceError> {
    let Message(fields) = field else { return Ok(()) };
    match value {
        Value::Array(list) => list.iter().try_for_each(|one| check_object(one, fields)),
        one => check_object(one, fields),
    }
}

fn check_object(value: &Value, fields: &[(&str, Field)]) -> Result<(), EvidenceError> {
    let Some(object) = value.as_object() else { return Ok(()) };
    for (name, inner) in object {
        match fields.iter().find(|(known, _)| known == name) {
            Some((_, field)) => check_one(inner, field)?,
            None => {
                let because = format!("no bundle has a field `{}`", shown(name));
                return Err(EvidenceError::malformed(WHAT, because));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_names_are_refused_at_any_depth() {
        assert!(check(&json!({"mediaType": "x", "dsseEnvelope": {"payload": ""}})).is_ok());
        for bad in [
            json!({"mediaTyp": "x"}),
            json!({"verificationMaterial": {"tymestampVerificationData": {}}}),
            json!({"verificationMaterial": {"tlogEntries": [{}, {"logID": {}}]}}),
            json!({"verificationMaterial": {"tlogEntries": [{"inclusionProof": {"x": 1}}]}}),
            json!({"dsseEnvelope": {"signatures": [{"sig": "", "cert": ""}]}}),
        ] {
            assert_eq!(check(&bad).unwrap_err().code(), "malformed", "{bad}");
        }
    }
}
