//! A bundle held against a file and the one who should have signed it, as `verify-bundle` does.

use super::{Signer, TrustRoots, WHAT, entries, proof_class, read, rejected, times};
use crate::algorithm;
use crate::error::{EvidenceError, Fault, shown};
use crate::json;
use crate::sigstore::CertificateIdentity;
use crate::verified::Verified;
use countersign_core::{ProofClass, Sha256Digest, Timestamp};
use serde_json::Value;
use sigstore_types::bundle::VerificationMaterialContent;
use sigstore_types::{ArtifactDigest, Bundle, DerPublicKey, HashAlgorithm, SignatureContent};
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy};

/// What was signed.
#[derive(Debug, Clone, Copy)]
pub enum Artifact<'a> {
    /// The bytes.
    Bytes(&'a [u8]),
    /// Their SHA-256 alone. Signatures that are not made over a digest (Ed25519) cannot be checked.
    Digest(Sha256Digest),
}

/// Who must have signed.
#[derive(Debug, Clone, Copy)]
pub enum Signatory<'a> {
    /// The holder of a Fulcio certificate of exactly this subject and identity provider.
    Identity {
        /// The subject alternative name.
        subject: &'a str,
        /// The identity provider's address.
        issuer: &'a str,
    },
    /// The holder of this key: `PUBLIC KEY` in PEM, a `SubjectPublicKeyInfo` (RFC 5280).
    Key {
        /// The PEM text.
        pem: &'a str,
    },
}

/// What a bundle over a file proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Who signed.
    pub signer: Signer,
    /// The earliest time that a log or a time stamp vouches for. A key needs none.
    pub signed_at: Option<Timestamp>,
    /// What stands behind the publication.
    pub proof: ProofClass,
    /// Where it is published: the log's address and the index of the entry there.
    pub log: Option<String>,
    /// The predicate type, when an attestation was signed and not the file itself.
    pub predicate_type: Option<String>,
}

/// Verifies that `who` signed `artifact`, or an attestation with it among its subjects.
///
/// # Errors
/// When anything in the bundle does not hold, it is about something else, or somebody else signed.
pub fn verify_artifact(
    bundle: &[u8],
    artifact: &Artifact<'_>,
    who: &Signatory<'_>,
    roots: &TrustRoots,
    now: Timestamp,
) -> Result<Verified<Signed>, EvidenceError> {
    roots.check_age(now)?;
    let (bundle, _) = read::bundle(json::parse(WHAT, bundle)?, roots)?;
    let predicate_type = match &bundle.content {
        SignatureContent::DsseEnvelope(e) => Some(check_payload(e, artifact)?),
        _ => None,
    };
    let (signer, signed_at) = match who {
        Signatory::Identity { subject, issuer } => {
            let (signer, at) = by_identity(&bundle, artifact, subject, issuer, roots, now)?;
            (signer, Some(at))
        }
        Signatory::Key { pem } => by_key(&bundle, artifact, pem, roots, now)?,
    };
    let (proof, log) = (proof_class(&bundle), entries::place(&bundle, roots));
    Ok(Verified::mint(Signed { signer, signed_at, proof, log, predicate_type }))
}

fn by_identity(
    bundle: &Bundle,
    artifact: &Artifact<'_>,
    subject: &str,
    issuer: &str,
    roots: &TrustRoots,
    now: Timestamp,
) -> Result<(Signer, Timestamp), EvidenceError> {
    if subject.is_empty() || issuer.is_empty() {
        return Err(EvidenceError::fault(Fault::Identity, "no identity to compare with"));
    }
    if matches!(bundle.verification_material.content, VerificationMaterialContent::PublicKey(_)) {
        let because = "bundle has a key where a certificate is expected";
        return Err(EvidenceError::fault(Fault::Bundle, because));
    }
    let policy = VerificationPolicy::new(subject, issuer);
    let result = verify(bundle, artifact, &policy, roots)?;
    if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) {
        return Err(EvidenceError::signature("certificate or log was not checked to the end"));
    }
    let info = result.certificate();
    let info = info.ok_or_else(|| EvidenceError::signature("bundle has no certificate"))?;
    let identity = CertificateIdentity::read(info)?;
    let (at, _) = times(&result, bundle, roots, now)?.ok_or(EvidenceError::NoTime)?;
    Ok((Signer::Certificate(Box::new(identity)), at))
}

fn by_key(
    bundle: &Bundle,
    artifact: &Artifact<'_>,
    pem: &str,
    roots: &TrustRoots,
    now: Timestamp,
) -> Result<(Signer, Option<Timestamp>), EvidenceError> {
    use x509_cert::der::Decode as _;
    const KEY: &str = "public key";
    let key = DerPublicKey::from_pem(pem)
        .map_err(|e| EvidenceError::material(KEY, format!("it is no `PUBLIC KEY` in PEM: {e}")))?;
    let info = x509_cert::spki::SubjectPublicKeyInfoOwned::from_der(key.as_bytes())
        .map_err(|e| EvidenceError::material(KEY, e.to_string()))?;
    algorithm::check_key(KEY, &info)?;
    let id = format!("sha256:{}", Sha256Digest::of(key.as_bytes()).to_hex());
    let result = verify(bundle, artifact, &PublicKeyVerificationPolicy::new(key), roots)?;
    if !result.tlog_verified() {
        return Err(EvidenceError::signature("log was not checked to the end"));
    }
    let at = times(&result, bundle, roots, now)?.map(|(at, _)| at);
    Ok((Signer::Key { id }, at))
}

fn verify(
    bundle: &Bundle,
    artifact: &Artifact<'_>,
    policy: &impl sigstore_verify::Policy,
    roots: &TrustRoots,
) -> Result<sigstore_verify::VerificationResult, EvidenceError> {
    let result = match artifact {
        Artifact::Bytes(bytes) => roots.verifier.verify(*bytes, bundle, policy),
        Artifact::Digest(digest) => {
            let digest = ArtifactDigest::new(HashAlgorithm::Sha2256, &digest.0[..])
                .map_err(|e| EvidenceError::malformed(WHAT, e.to_string()))?;
            roots.verifier.verify(digest, bundle, policy)
        }
    };
    result.map_err(|e| rejected(&e))
}

/// Checks that an attestation has the artifact among its subjects, in one reading; its predicate
/// type. Of the subject that matches, no digest that can be compared may differ.
fn check_payload(
    envelope: &sigstore_types::DsseEnvelope,
    artifact: &Artifact<'_>,
) -> Result<String, EvidenceError> {
    const WHAT: &str = "in-toto statement";
    if envelope.payload_type != "application/vnd.in-toto+json" {
        let found = shown(&envelope.payload_type);
        return Err(EvidenceError::Unsupported { what: "DSSE payload type", found });
    }
    let value = json::parse(WHAT, envelope.payload.as_bytes())?;
    crate::statement::check_type(&value)?;
    let digests = Digests::of(artifact);
    let subjects = json::need_array(WHAT, &value, "/subject", MAX_SUBJECTS)?;
    let mut last = EvidenceError::NoCommonDigest;
    for subject in subjects {
        match digests.compare(subject) {
            Ok(()) => return Ok(json::need_text(WHAT, &value, "/predicateType")?.to_owned()),
            Err(e @ EvidenceError::OtherDigest { .. }) => last = e,
            Err(_) => {}
        }
    }
    Err(last)
}

/// Subjects of one attestation; a release may list all of its files.
const MAX_SUBJECTS: usize = 4096;

/// The artifact's digests that can be known.
struct Digests {
    sha256: Sha256Digest,
    sha512: Option<Vec<u8>>,
}

impl Digests {
    fn of(artifact: &Artifact<'_>) -> Self {
        use sha2::Digest as _;
        match artifact {
            Artifact::Bytes(bytes) => Self {
                sha256: Sha256Digest::of(bytes),
                sha512: Some(sha2::Sha512::digest(bytes).to_vec()),
            },
            Artifact::Digest(digest) => Self { sha256: *digest, sha512: None },
        }
    }

    fn compare(&self, subject: &Value) -> Result<(), EvidenceError> {
        let digests = subject.get("digest").and_then(Value::as_object);
        let mut compared = false;
        for (algorithm, found) in digests.into_iter().flatten() {
            let want = match algorithm.as_str() {
                "sha256" => Some(self.sha256.0.as_slice()),
                "sha512" => self.sha512.as_deref(),
                _ => None,
            };
            let Some(want) = want else { continue };
            let found = found.as_str().and_then(|f| hex::decode(f).ok());
            if found.as_deref() != Some(want) {
                return Err(EvidenceError::OtherDigest { algorithm: algorithm.clone() });
            }
            compared = true;
        }
        if compared { Ok(()) } else { Err(EvidenceError::NoCommonDigest) }
    }
}
