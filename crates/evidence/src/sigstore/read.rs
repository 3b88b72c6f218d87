//! A bundle's JSON in one reading, bounded, with what can be checked before any signature is.

use super::{TrustRoots, WHAT, entries, fields, leaf};
use crate::algorithm;
use crate::error::{EvidenceError, Fault};
use crate::json;
use countersign_core::AlgorithmUse;
use serde_json::{Map, Value};
use sigstore_types::Bundle;
use sigstore_types::bundle::VerificationMaterialContent;

/// Log entries, time stamps and certificates that one bundle may hold, each; more would only
/// make the gate compute.
const MAX_MATERIAL: usize = 8;

/// Reads a bundle and checks its form, its certificate's and its log entries'; the bundle, and the
/// algorithms of its certificates.
pub(super) fn bundle(
    value: Value,
    roots: &TrustRoots,
) -> Result<(Bundle, Vec<AlgorithmUse>), EvidenceError> {
    // Without a media type the parser would take it for a bundle of the third version.
    json::need_text(WHAT, &value, "/mediaType")?;
    fields::check(&value)?;
    // Readers choose differently among several; so there is exactly one.
    exactly_one(&value, "", &["messageSignature", "dsseEnvelope"])?;
    let material = "/verificationMaterial";
    exactly_one(&value, material, &["certificate", "x509CertificateChain", "publicKey"])?;
    let bundle: Bundle =
        serde_json::from_value(value).map_err(|e| EvidenceError::malformed(WHAT, e.to_string()))?;
    check_amount(&bundle)?;
    check_stamps(&bundle)?;
    let mut seen = match bundle.signing_certificate() {
        Some(certificate) => leaf::check(certificate.as_bytes())?,
        None => Vec::new(),
    };
    check_chain(&bundle, &mut seen)?;
    entries::check(&bundle, roots)?;
    Ok((bundle, seen))
}

fn exactly_one(value: &Value, pointer: &str, names: &[&str]) -> Result<(), EvidenceError> {
    let object = value.pointer(pointer).and_then(Value::as_object);
    let given = |o: &Map<String, Value>, name: &str| o.get(name).is_some_and(|v| !v.is_null());
    match object.map_or(0, |o| names.iter().filter(|n| given(o, n)).count()) {
        1 => Ok(()),
        found => {
            let because = format!("it has {found} of `{}`, not one", names.join("`, `"));
            Err(EvidenceError::malformed(WHAT, because))
        }
    }
}

fn check_amount(bundle: &Bundle) -> Result<(), EvidenceError> {
    let material = &bundle.verification_material;
    let certificates = match &material.content {
        VerificationMaterialContent::X509CertificateChain { certificates } => certificates.len(),
        _ => 1,
    };
    let stamps = material.timestamp_verification_data.rfc3161_timestamps.len();
    let entries = material.tlog_entries.len();
    if certificates > MAX_MATERIAL || stamps > MAX_MATERIAL || entries > MAX_MATERIAL {
        return Err(EvidenceError::TooLarge {
            what: WHAT,
            limit: format!("{MAX_MATERIAL} log entries, time stamps or certificates"),
        });
    }
    Ok(())
}

fn check_stamps(bundle: &Bundle) -> Result<(), EvidenceError> {
    let stamps = &bundle.verification_material.timestamp_verification_data.rfc3161_timestamps;
    for (i, stamp) in stamps.iter().enumerate() {
        if stamps.iter().skip(i + 1).any(|s| s == stamp) {
            return Err(EvidenceError::fault(Fault::TimeStamp, "a time stamp is repeated"));
        }
    }
    Ok(())
}

/// Checks the algorithms of the certificates between the signer's and the roots.
fn check_chain(bundle: &Bundle, seen: &mut Vec<AlgorithmUse>) -> Result<(), EvidenceError> {
    use x509_cert::der::Decode as _;
    const WHAT: &str = "intermediate certificate";
    let VerificationMaterialContent::X509CertificateChain { certificates } =
        &bundle.verification_material.content
    else {
        return Ok(());
    };
    for certificate in certificates.iter().skip(1) {
        let read = x509_cert::Certificate::from_der(certificate.raw_bytes.as_bytes())
            .map_err(|e| EvidenceError::fault(Fault::Certificate, format!("{WHAT}: {e}")))?;
        seen.extend(algorithm::check_certificate(WHAT, &read)?);
    }
    Ok(())
}
