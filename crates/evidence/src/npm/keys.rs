//! The keys that an npm registry signs with.

use crate::error::EvidenceError;
use crate::json::{self, text};
use crate::sigstore::TrustedKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_core::Timestamp;
use serde_json::Value;

/// Keys that a document may hold; registries have had four.
const MAX_KEYS: usize = 64;

/// The usage that permits a key to sign attestations. The same key may sign tarballs' names and
/// digests (`npm:signatures`), with another window.
const ATTESTATIONS: &str = "npm:attestations";
/// The usage that permits a key to sign versions.
const SIGNATURES: &str = "npm:signatures";

const WHAT: &str = "npm registry keys";

/// The keys for attestations in a key document.
pub(super) fn for_attestations(document: Option<&[u8]>) -> Result<Vec<TrustedKey>, EvidenceError> {
    for_usage(document, ATTESTATIONS)
}

/// The keys for signatures over versions in a key document.
pub(super) fn for_signatures(document: Option<&[u8]>) -> Result<Vec<TrustedKey>, EvidenceError> {
    for_usage(document, SIGNATURES)
}

/// All keys of a key document, each with its usage; empty where the document names none.
///
/// # Errors
/// When it cannot be read.
pub fn list_keys(document: &[u8]) -> Result<Vec<(String, TrustedKey)>, EvidenceError> {
    let bad = |e: EvidenceError| EvidenceError::material(WHAT, e.to_string());
    let value = json::parse(WHAT, document).map_err(bad)?;
    let list = json::need_array(WHAT, &value, "/keys", MAX_KEYS).map_err(bad)?;
    let mut keys = Vec::new();
    for key in list {
        let usage = text(key, "/keyUsage").unwrap_or_default();
        keys.extend(read(key, usage).map_err(bad)?.map(|k| (crate::error::shown(usage), k)));
    }
    Ok(keys)
}

/// The keys of one usage in a key document, which is either that of a registry's
/// `/-/npm/v1/keys` (`keyid`, `key`, `expires`) or that of Sigstore's TUF repository (`keyId`,
/// `keyUsage`, `publicKey`).
fn for_usage(
    document: Option<&[u8]>,
    usage: &'static str,
) -> Result<Vec<TrustedKey>, EvidenceError> {
    let bad = |e: EvidenceError| EvidenceError::material(WHAT, e.to_string());
    let document = document.ok_or_else(|| {
        EvidenceError::material(WHAT, "no npm registry keys were given; configure a key document")
    })?;
    let value = json::parse(WHAT, document).map_err(bad)?;
    let list = json::need_array(WHAT, &value, "/keys", MAX_KEYS).map_err(bad)?;
    let mut keys = Vec::new();
    for key in list {
        keys.extend(read(key, usage).map_err(bad)?);
    }
    if keys.is_empty() {
        return Err(EvidenceError::material(WHAT, format!("none of them is for `{usage}`")));
    }
    Ok(keys)
}

/// A key, or nothing when it is for another usage.
fn read(key: &Value, usage: &str) -> Result<Option<TrustedKey>, EvidenceError> {
    if key.get("publicKey").is_some() {
        if json::need_text(WHAT, key, "/keyUsage")? != usage {
            return Ok(None);
        }
        return Ok(Some(TrustedKey {
            id: json::need_text(WHAT, key, "/keyId")?.to_owned(),
            spki: decode(json::need_text(WHAT, key, "/publicKey/rawBytes")?)?,
            not_before: time(key, "/publicKey/validFor/start")?,
            not_after: time(key, "/publicKey/validFor/end")?,
        }));
    }
    Ok(Some(TrustedKey {
        id: json::need_text(WHAT, key, "/keyid")?.to_owned(),
        spki: decode(json::need_text(WHAT, key, "/key")?)?,
        not_before: None,
        not_after: time(key, "/expires")?,
    }))
}

fn decode(base64: &str) -> Result<Vec<u8>, EvidenceError> {
    STANDARD.decode(base64).map_err(|e| EvidenceError::malformed(WHAT, e.to_string()))
}

/// The time at `pointer`; unset when there is none. A time that cannot be read is an error: to
/// read it as "unbounded" would widen the window.
fn time(key: &Value, pointer: &str) -> Result<Option<Timestamp>, EvidenceError> {
    match key.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(key, pointer).and_then(Timestamp::parse).map(Some).ok_or_else(|| {
            EvidenceError::malformed(WHAT, format!("no RFC 3339 time at `{pointer}`"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(document: &str) -> Result<Vec<TrustedKey>, EvidenceError> {
        for_attestations(Some(document.as_bytes()))
    }

    #[test]
    fn both_forms_are_read_and_only_keys_for_attestations() {
        let keys = read_all(
            r#"{"keys":[
                {"keyId":"a","keyUsage":"npm:signatures","publicKey":{"rawBytes":"AAAA"}},
                {"keyId":"a","keyUsage":"npm:attestations","publicKey":{"rawBytes":"AAAA",
                    "validFor":{"start":"1970-01-01T00:00:10.000Z","end":"1970-01-01T00:00:20.000Z"}}},
                {"keyid":"b","key":"AAAA","expires":null,"keytype":"x","scheme":"x"},
                {"keyid":"c","key":"AAAA","expires":"1970-01-01T00:00:30.000Z"}
            ]}"#,
        )
        .unwrap();
        let got: Vec<_> = keys.iter().map(|k| (k.id.as_str(), k.not_before, k.not_after)).collect();
        let t = |s| Some(Timestamp(s));
        assert_eq!(got, [("a", t(10), t(20)), ("b", None, None), ("c", None, t(30))]);
    }

    #[test]
    fn documents_that_cannot_be_trusted_are_errors() {
        for bad in [
            r#"{"keys":[]}"#,
            r#"{"keys":[{"keyId":"a","keyUsage":"npm:signatures","publicKey":{"rawBytes":"AAAA"}}]}"#,
            r#"{"keys":[{"keyid":"a","key":"AAAA","expires":"soon"}]}"#,
            r#"{"keys":[{"keyid":"a","key":"AAAA","expires":5}]}"#,
            r#"{"keys":[{"keyid":"a","key":"!"}]}"#,
            r#"{"keys":[{"keyid":"a","keyid":"b","key":"AAAA"}]}"#,
            r#"{"keys":{}}"#,
            "",
        ] {
            let e = read_all(bad).unwrap_err();
            assert!(matches!(e, EvidenceError::TrustMaterial { .. }), "{bad}: {e}");
        }
        assert!(for_attestations(None).unwrap_err().to_string().contains("no npm registry keys"));
    }
}
