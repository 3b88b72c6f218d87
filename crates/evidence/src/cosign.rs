//! Signatures of container images, which go by the digest of the image's manifest (OCI Image
//! Specification, "Descriptors").
//!
//! cosign makes them in three forms, all of which are read: a Sigstore bundle that signs the manifest
//! or holds an attestation about it; a Sigstore bundle over a *simple signing* payload, a small JSON
//! text that names the manifest's digest (cosign, "SIGNATURE_SPEC"); and that payload with cosign's own
//! older envelope of signature, certificate and log entry. The envelope is made a bundle (v0.1) of
//! and verified as one, so that there is one verifier.

use crate::error::{EvidenceError, Fault, shown};
use crate::json;
use crate::sigstore::{self, Artifact, Signatory, Signed, Signer, TrustRoots};
use crate::verified::Verified;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_core::{Claim, Sha256Digest, Timestamp};
use serde_json::{Value, json};

/// [`countersign_core::Evidence::kind`] of an image's signature, and its claim's where no attestation
/// was signed.
pub const KIND: &str = "cosign";

const PAYLOAD: &str = "simple signing payload";
const ENVELOPE: &str = "cosign's envelope";

/// Bytes of a payload; cosign's own have some hundred.
const MAX_PAYLOAD: usize = 64 << 10;

/// Verifies that `who` signed the image whose manifest has the digest `image`. `payload` is the
/// simple signing payload, where one was signed in place of the manifest.
///
/// # Errors
/// When anything does not hold, it is about another image, or somebody else signed.
pub fn verify_image(
    bundle: &[u8],
    payload: Option<&[u8]>,
    image: &Sha256Digest,
    who: &Signatory<'_>,
    roots: &TrustRoots,
    now: Timestamp,
) -> Result<Verified<Signed>, EvidenceError> {
    let Some(payload) = payload else {
        if envelope(bundle)?.is_some() {
            let because = "it is of a simple signing payload, which is not there";
            return Err(EvidenceError::material(ENVELOPE, because));
        }
        return sigstore::verify_artifact(bundle, &Artifact::Digest(*image), who, roots, now);
    };
    check_payload(payload, image)?;
    let made;
    let bundle = match envelope(bundle)? {
        Some(envelope) => {
            made = as_bundle(&envelope, payload)?.to_string();
            made.as_bytes()
        }
        None => bundle,
    };
    let signed = sigstore::verify_artifact(bundle, &Artifact::Bytes(payload), who, roots, now)?;
    if let Some(predicate) = &signed.get().predicate_type {
        let found = format!("an attestation of type {}", shown(predicate));
        let expected = "a signature over the payload".to_owned();
        return Err(EvidenceError::OtherPredicate { found, expected });
    }
    Ok(signed)
}

/// What an image's signature says.
#[must_use]
pub fn claim(signed: &Verified<Signed>) -> Claim {
    let s = signed.get();
    let kind = s.predicate_type.clone().unwrap_or_else(|| KIND.to_owned());
    let base = Claim {
        kind,
        signed_at: s.signed_at,
        proof: s.proof,
        log: s.log.clone(),
        ..Claim::default()
    };
    match &s.signer {
        Signer::Key { id } => Claim { signer: id.clone(), ..base },
        Signer::Certificate(c) => Claim {
            signer: c.subject.clone(),
            issuer: c.issuer.clone(),
            repository: c.source_repository_uri.clone(),
            repository_id: c.source_repository_identifier.clone(),
            commit: c.source_repository_digest.clone(),
            git_ref: c.source_repository_ref.clone(),
            workflow: c.build_config_uri.clone(),
            builder: c.build_signer_uri.clone(),
            ..base
        },
    }
}

/// Checks that a simple signing payload is one, and about `image`.
fn check_payload(payload: &[u8], image: &Sha256Digest) -> Result<(), EvidenceError> {
    if payload.len() > MAX_PAYLOAD {
        let limit = format!("{MAX_PAYLOAD} bytes");
        return Err(EvidenceError::TooLarge { what: PAYLOAD, limit });
    }
    let value = json::parse(PAYLOAD, payload)?;
    let kind = json::need_text(PAYLOAD, &value, "/critical/type")?;
    if kind != "cosign container image signature" {
        return Err(EvidenceError::Unsupported { what: PAYLOAD, found: shown(kind) });
    }
    let digest = json::need_text(PAYLOAD, &value, "/critical/image/docker-manifest-digest")?;
    let Some(hex) = digest.strip_prefix("sha256:") else {
        return Err(EvidenceError::NoCommonDigest);
    };
    if hex != image.to_hex() {
        return Err(EvidenceError::OtherDigest { algorithm: "sha256".to_owned() });
    }
    Ok(())
}

/// The document as cosign's envelope, unless it is a Sigstore bundle.
fn envelope(document: &[u8]) -> Result<Option<Value>, EvidenceError> {
    let value = json::parse(ENVELOPE, document)?;
    Ok(value.get("base64Signature").is_some().then_some(value))
}

/// The bundle that an envelope stands for. Nothing of it is proven.
fn as_bundle(envelope: &Value, payload: &[u8]) -> Result<Value, EvidenceError> {
    let bad = |because: &str| EvidenceError::malformed(ENVELOPE, because);
    let signature = json::need_text(ENVELOPE, envelope, "/base64Signature")?;
    let mut material = match json::text(envelope, "/cert").filter(|c| !c.is_empty()) {
        Some(certificate) => {
            let der = certificate_der(certificate).ok_or_else(|| bad("its certificate is none"))?;
            json!({"x509CertificateChain": {"certificates": [{"rawBytes": der}]}})
        }
        None => json!({"publicKey": {"hint": ""}}),
    };
    let log = envelope.get("rekorBundle").filter(|b| !b.is_null());
    let log = log.ok_or_else(|| EvidenceError::fault(Fault::Bundle, "it has no log entry"))?;
    material["tlogEntries"] = json!([log_entry(log)?]);
    Ok(json!({
        "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.1",
        "verificationMaterial": material,
        "messageSignature": {
            "messageDigest": {
                "algorithm": "SHA2_256",
                "digest": BASE64_STANDARD.encode(Sha256Digest::of(payload).0),
            },
            "signature": signature,
        },
    }))
}

/// The log entry of an envelope, in a bundle's words.
fn log_entry(log: &Value) -> Result<Value, EvidenceError> {
    let bad = |because: &str| EvidenceError::malformed(ENVELOPE, because);
    let body = json::need_text(ENVELOPE, log, "/Payload/body")?;
    let read = BASE64_STANDARD.decode(body).map_err(|_| bad("its log entry is not base64"))?;
    let read = json::parse(ENVELOPE, &read)?;
    let number = |pointer: &str| {
        let number = log.pointer(pointer).and_then(Value::as_u64);
        number.ok_or_else(|| bad("its log entry lacks a number"))
    };
    let id = hex::decode(json::need_text(ENVELOPE, log, "/Payload/logID")?)
        .map_err(|_| bad("its log's id is not hexadecimal"))?;
    Ok(json!({
        "logIndex": number("/Payload/logIndex")?.to_string(),
        "logId": {"keyId": BASE64_STANDARD.encode(id)},
        "kindVersion": {
            "kind": json::need_text(ENVELOPE, &read, "/kind")?,
            "version": json::need_text(ENVELOPE, &read, "/apiVersion")?,
        },
        "integratedTime": number("/Payload/integratedTime")?.to_string(),
        "inclusionPromise": {
            "signedEntryTimestamp": json::need_text(ENVELOPE, log, "/SignedEntryTimestamp")?,
        },
        "canonicalizedBody": body,
    }))
}

/// The one certificate of a PEM text, which may be in base64 itself, as base64 of its DER.
fn certificate_der(text: &str) -> Option<String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let decoded;
    let pem = if text.starts_with(BEGIN) {
        text
    } else {
        decoded = String::from_utf8(BASE64_STANDARD.decode(text.trim()).ok()?).ok()?;
        decoded.as_str()
    };
    let inner = pem.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    Some(inner.chars().filter(|c| !c.is_ascii_whitespace()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(digest: &str) -> String {
        json!({
            "critical": {
                "identity": {"docker-reference": "registry.example/team/app"},
                "image": {"docker-manifest-digest": digest},
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string()
    }

    #[test]
    fn a_payload_is_about_one_image() {
        let image = Sha256Digest([7; 32]);
        let good = payload(&format!("sha256:{}", image.to_hex()));
        check_payload(good.as_bytes(), &image).unwrap();
        let code = |text: &str| check_payload(text.as_bytes(), &image).unwrap_err().code();
        for (bad, want) in [
            (payload(&format!("sha256:{}", Sha256Digest([8; 32]).to_hex())), "other-digest"),
            (
                payload(&format!("sha256:{}", image.to_hex().to_uppercase().replace('7', "A"))),
                "other-digest",
            ),
            (payload(&format!("sha512:{}", "07".repeat(64))), "no-common-digest"),
            (payload(&image.to_hex()), "no-common-digest"),
            (good.replace("cosign container", "atomic container"), "unsupported"),
            (good.replace("docker-manifest-digest", "digest"), "malformed"),
            (good.replacen("\"critical\"", "\"critical\":{},\"critical\"", 1), "malformed"),
            (format!("{good}{good}"), "malformed"),
            (" ".repeat(MAX_PAYLOAD + 1), "too-large"),
        ] {
            assert_eq!(code(&bad), want, "{bad}");
        }
    }

    #[test]
    fn certificates_come_as_pem_and_as_its_base64() {
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\nBBBB\n-----END CERTIFICATE-----\n";
        assert_eq!(certificate_der(pem).as_deref(), Some("AAAABBBB"));
        assert_eq!(certificate_der(&BASE64_STANDARD.encode(pem)).as_deref(), Some("AAAABBBB"));
        assert_eq!(certificate_der("AAAA"), None);
        assert_eq!(certificate_der(""), None);
    }
}
