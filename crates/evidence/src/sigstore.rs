//! Sigstore bundles that hold an in-toto attestation in a DSSE envelope.
//!
//! The cryptography is `sigstore-verify`'s: the certificate chain up to Fulcio at the signing
//! time, its signed certificate time stamp, the log's inclusion proof with its checkpoint or its
//! signed promise, RFC 3161 time stamps, the envelope's signature, and that the log's entry is
//! about this very signature. What it leaves open is checked here: that every log entry carries
//! a proof or a promise at all, that no time lies after the caller's `now`, that there is one
//! reading of the JSON, one subject, the right name, and no digest that differs.
//!
//! HOLE: `sigstore-verify` reads the host's clock to refuse times in the future and roots that
//! have not started; only the comparison with `now` made here follows the caller's time. An
//! interface upstream that takes the time would close it.

use crate::error::{EvidenceError, shown};
use crate::json;
use crate::statement::{Expected, Statement};
use crate::verified::Verified;
use countersign_core::{ProofClass, Sha256Digest, Timestamp};
use serde_json::Value;
use sigstore_trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot};
use sigstore_types::bundle::VerificationMaterialContent;
use sigstore_types::{ArtifactDigest, Bundle, DerPublicKey, HashAlgorithm, SignatureContent};
use sigstore_verify::crypto::CertificateInfo;
use sigstore_verify::{
    PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult, Verifier,
};
use std::fmt;

/// Log entries, time stamps and certificates that one bundle may hold, each; more would only
/// make the gate compute.
const MAX_MATERIAL: usize = 8;

const WHAT: &str = "sigstore bundle";
const ROOT: &str = "sigstore trust root";

/// Sigstore's trust roots: certificate authorities, logs and time stamp authorities.
///
/// A trust root never expires by itself: whoever loads one answers for its age.
pub struct TrustRoots {
    verifier: Verifier,
    digest: Sha256Digest,
}

impl fmt::Debug for TrustRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustRoots").finish_non_exhaustive()
    }
}

impl TrustRoots {
    /// Sigstore's public-good production roots as they were when this program was built.
    ///
    /// # Errors
    /// When the embedded roots cannot be read, which a test rules out.
    pub fn embedded() -> Result<Self, EvidenceError> {
        Self::from_trusted_root_json(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
    }

    /// Roots from a `trusted_root.json` (Sigstore protobuf-specs, `TrustedRoot` v0.1).
    ///
    /// # Errors
    /// When it is not one, or has no certificate authority, certificate log or signature log.
    pub fn from_trusted_root_json(json: &[u8]) -> Result<Self, EvidenceError> {
        let bad = |e: &dyn fmt::Display| EvidenceError::material(ROOT, e.to_string());
        let value = json::parse(ROOT, json).map_err(|e| bad(&e))?;
        let media_type = json::text(&value, "/mediaType").unwrap_or_default();
        if !media_type.starts_with("application/vnd.dev.sigstore.trustedroot") {
            return Err(bad(&format_args!("its media type is `{media_type}`")));
        }
        let root: TrustedRoot = serde_json::from_value(value).map_err(|e| bad(&e))?;
        if root.certificate_authorities.is_empty() {
            return Err(bad(&"it names no certificate authority"));
        }
        if root.tlogs.is_empty() || root.ctlogs.is_empty() {
            return Err(bad(&"it names no signature log or no certificate log"));
        }
        let verifier = Verifier::new(&root).map_err(|e| bad(&e))?;
        Ok(Self { verifier, digest: Sha256Digest::of(json) })
    }

    /// The digest of the document that they were read from: other roots have another.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }
}

/// A key that a registry signs with, and when it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key's id, as signatures name it.
    pub id: String,
    /// The public key: DER of a `SubjectPublicKeyInfo` (RFC 5280).
    pub spki: Vec<u8>,
    /// Signatures logged earlier do not hold.
    pub not_before: Option<Timestamp>,
    /// Signatures logged at this time or later do not hold.
    pub not_after: Option<Timestamp>,
}

impl TrustedKey {
    /// Whether the key was valid at `at`.
    #[must_use]
    pub fn valid_at(&self, at: Timestamp) -> bool {
        self.not_before.is_none_or(|t| t <= at) && self.not_after.is_none_or(|t| at < t)
    }
}

/// What a bundle says. Whether it is true, the [`Verified`] around it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attestation {
    /// The signed statement.
    pub statement: Statement,
    /// Who signed it.
    pub signer: Signer,
    /// The earliest time that a log or a time stamp vouches for.
    pub signed_at: Timestamp,
    /// What stands behind the publication.
    pub proof: ProofClass,
}

/// Who signed an attestation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// A workload or a person to whom Fulcio gave a certificate.
    Certificate(Box<CertificateIdentity>),
    /// The holder of a key that the caller trusts.
    Key {
        /// The key's id.
        id: String,
    },
}

/// What Fulcio certified about a signer: the certificate's subject alternative name and the
/// extensions under `1.3.6.1.4.1.57264.1`. Unset means that the certificate does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are those of Fulcio's oid-info.md")]
pub struct CertificateIdentity {
    /// The subject alternative name: a workflow's URI or an e-mail address.
    pub subject: String,
    /// The identity provider that vouched for the subject.
    pub issuer: Option<String>,
    pub build_signer_uri: Option<String>,
    pub build_signer_digest: Option<String>,
    pub runner_environment: Option<String>,
    pub source_repository_uri: Option<String>,
    pub source_repository_digest: Option<String>,
    pub source_repository_ref: Option<String>,
    pub source_repository_identifier: Option<String>,
    pub source_repository_owner_uri: Option<String>,
    pub source_repository_owner_identifier: Option<String>,
    pub build_config_uri: Option<String>,
    pub build_config_digest: Option<String>,
    pub build_trigger: Option<String>,
    pub run_invocation_uri: Option<String>,
    pub source_repository_visibility: Option<String>,
    pub deployment_environment: Option<String>,
}

impl CertificateIdentity {
    fn read(info: &CertificateInfo) -> Result<Self, EvidenceError> {
        let subject = info.identity.as_ref().map(|s| s.as_str().to_owned());
        let subject =
            subject.ok_or_else(|| EvidenceError::malformed("certificate", "it names nobody"))?;
        let c = info.ci_claims.clone();
        Ok(Self {
            subject,
            issuer: info.issuer.clone(),
            build_signer_uri: c.build_signer_uri,
            build_signer_digest: c.build_signer_digest,
            runner_environment: c.runner_environment,
            source_repository_uri: c.source_repository_uri,
            source_repository_digest: c.source_repository_digest,
            source_repository_ref: c.source_repository_ref,
            source_repository_identifier: c.source_repository_identifier,
            source_repository_owner_uri: c.source_repository_owner_uri,
            source_repository_owner_identifier: c.source_repository_owner_identifier,
            build_config_uri: c.build_config_uri,
            build_config_digest: c.build_config_digest,
            build_trigger: c.build_trigger,
            run_invocation_uri: c.run_invocation_uri,
            source_repository_visibility: c.source_repository_visibility_at_signing,
            deployment_environment: c.deployment_environment,
        })
    }
}

/// Verifies a bundle that a Fulcio certificate signed.
///
/// Any identity that the roots certify passes: whether it is the right one is the caller's to
/// decide from [`Attestation::signer`].
///
/// # Errors
/// When anything in it does not hold, or it is not about `expected`.
pub fn verify_bundle(
    bundle: &[u8],
    expected: &Expected<'_>,
    roots: &TrustRoots,
    now: Timestamp,
) -> Result<Verified<Attestation>, EvidenceError> {
    verify_bundle_value(json::parse(WHAT, bundle)?, expected, roots, now)
}

pub(crate) fn verify_bundle_value(
    bundle: Value,
    expected: &Expected<'_>,
    roots: &TrustRoots,
    now: Timestamp,
) -> Result<Verified<Attestation>, EvidenceError> {
    let read = UnverifiedBundle::read(bundle, expected)?;
    let policy = VerificationPolicy::any_identity();
    let result = roots
        .verifier
        .verify(read.digest, &read.bundle, &policy)
        .map_err(|e| EvidenceError::signature(e.to_string()))?;
    if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) {
        return Err(EvidenceError::signature("certificate or log was not checked to the end"));
    }
    let info = result.certificate();
    let info = info.ok_or_else(|| EvidenceError::signature("bundle has no certificate"))?;
    let signer = Signer::Certificate(Box::new(CertificateIdentity::read(info)?));
    let (signed_at, _) = times(&result, now)?;
    let (statement, proof) = (read.statement, proof_class(&read.bundle));
    Ok(Verified::mint(Attestation { statement, signer, signed_at, proof }))
}

/// Verifies a bundle that one of `keys` signed, valid at the log's time.
///
/// # Errors
/// When anything in it does not hold, the key is unknown or was not valid, or it is not about
/// `expected`.
pub fn verify_keyed_bundle(
    bundle: &[u8],
    expected: &Expected<'_>,
    keys: &[TrustedKey],
    roots: &TrustRoots,
    now: Timestamp,
) -> Result<Verified<Attestation>, EvidenceError> {
    verify_keyed_bundle_value(json::parse(WHAT, bundle)?, expected, keys, roots, now)
}

pub(crate) fn verify_keyed_bundle_value(
    bundle: Value,
    expected: &Expected<'_>,
    keys: &[TrustedKey],
    roots: &TrustRoots,
    now: Timestamp,
) -> Result<Verified<Attestation>, EvidenceError> {
    let read = UnverifiedBundle::read(bundle, expected)?;
    let VerificationMaterialContent::PublicKey(hint) = &read.bundle.verification_material.content
    else {
        return Err(EvidenceError::signature("bundle has a certificate where a key is expected"));
    };
    let key_id = hint.hint.clone();
    let mut last = EvidenceError::UnknownKey { key_id: shown(&key_id) };
    // An id may stand for several entries with windows of their own; one of them must hold whole.
    for key in keys.iter().filter(|k| k.id == key_id) {
        match verify_with_key(&read, key, roots, now) {
            Ok(signed_at) => {
                let proof = proof_class(&read.bundle);
                let signer = Signer::Key { id: key_id };
                let statement = read.statement;
                return Ok(Verified::mint(Attestation { statement, signer, signed_at, proof }));
            }
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// The time of the signature, when `key` made it and was valid then.
fn verify_with_key(
    read: &UnverifiedBundle,
    key: &TrustedKey,
    roots: &TrustRoots,
    now: Timestamp,
) -> Result<Timestamp, EvidenceError> {
    let policy = PublicKeyVerificationPolicy::new(DerPublicKey::new(key.spki.clone()));
    let result = roots
        .verifier
        .verify(read.digest.clone(), &read.bundle, &policy)
        .map_err(|e| EvidenceError::signature(e.to_string()))?;
    if !result.tlog_verified() {
        return Err(EvidenceError::signature("log was not checked to the end"));
    }
    let (earliest, latest) = times(&result, now)?;
    for at in [earliest, latest] {
        if !key.valid_at(at) {
            return Err(EvidenceError::KeyWindow { key_id: shown(&key.id), at });
        }
    }
    Ok(earliest)
}

/// A bundle that was read, with its statement found to be about the right artifact. Nothing of
/// it is proven.
struct UnverifiedBundle {
    bundle: Bundle,
    statement: Statement,
    /// A digest that the statement names and the artifact has.
    digest: ArtifactDigest,
}

impl UnverifiedBundle {
    fn read(value: Value, expected: &Expected<'_>) -> Result<Self, EvidenceError> {
        let bundle: Bundle = serde_json::from_value(value)
            .map_err(|e| EvidenceError::malformed(WHAT, e.to_string()))?;
        check_material(&bundle)?;
        let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
            return Err(EvidenceError::malformed(WHAT, "it holds no attestation"));
        };
        if envelope.payload_type != "application/vnd.in-toto+json" {
            return Err(EvidenceError::malformed(WHAT, "its payload is no in-toto statement"));
        }
        let statement = Statement::parse(envelope.payload.as_bytes())?;
        statement.check(expected)?;
        let digest = common_digest(&statement, expected)?;
        Ok(Self { bundle, statement, digest })
    }
}

fn common_digest(
    statement: &Statement,
    expected: &Expected<'_>,
) -> Result<ArtifactDigest, EvidenceError> {
    let names = |algorithm| statement.digests.iter().any(|(a, _)| a == algorithm);
    let digest = match (expected.sha256, expected.sha512) {
        (Some(d), _) if names("sha256") => ArtifactDigest::new(HashAlgorithm::Sha2256, &d[..]),
        (_, Some(d)) if names("sha512") => ArtifactDigest::new(HashAlgorithm::Sha2512, &d[..]),
        _ => return Err(EvidenceError::NoCommonDigest),
    };
    digest.map_err(|e| EvidenceError::malformed(WHAT, e.to_string()))
}

fn check_material(bundle: &Bundle) -> Result<(), EvidenceError> {
    let material = &bundle.verification_material;
    let certificates = match &material.content {
        VerificationMaterialContent::X509CertificateChain { certificates } => certificates.len(),
        _ => 1,
    };
    let stamps = material.timestamp_verification_data.rfc3161_timestamps.len();
    let entries = &material.tlog_entries;
    if certificates > MAX_MATERIAL || stamps > MAX_MATERIAL || entries.len() > MAX_MATERIAL {
        return Err(EvidenceError::TooLarge {
            what: WHAT,
            limit: format!("{MAX_MATERIAL} log entries, time stamps or certificates"),
        });
    }
    if entries.is_empty() {
        return Err(EvidenceError::signature("no log entry"));
    }
    // The verifier passes over an entry that offers nothing to verify.
    if entries.iter().any(|e| e.inclusion_proof.is_none() && e.inclusion_promise.is_none()) {
        return Err(EvidenceError::signature("a log entry has neither a proof nor a promise"));
    }
    Ok(())
}

/// The class of proof of a bundle whose log entries all verified: the weakest among them.
fn proof_class(bundle: &Bundle) -> ProofClass {
    let entries = &bundle.verification_material.tlog_entries;
    if entries.iter().all(|e| e.inclusion_proof.is_some()) {
        ProofClass::InclusionProof
    } else {
        ProofClass::InclusionPromise
    }
}

/// The earliest and the latest of the times that a log or a time stamp authority signed.
fn times(
    result: &VerificationResult,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), EvidenceError> {
    let seconds = || result.verified_timestamps().iter().map(|t| Timestamp(t.as_second()));
    let (Some(earliest), Some(latest)) = (seconds().min(), seconds().max()) else {
        return Err(EvidenceError::NoTime);
    };
    if latest > now {
        return Err(EvidenceError::Future { at: latest, now });
    }
    Ok((earliest, latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_roots_can_be_read() {
        TrustRoots::embedded().unwrap();
    }

    #[test]
    fn roots_that_lack_a_part_are_refused() {
        let whole: Value = serde_json::from_str(SIGSTORE_PRODUCTION_TRUSTED_ROOT).unwrap();
        for part in ["mediaType", "tlogs", "certificateAuthorities", "ctlogs"] {
            let mut less = whole.clone();
            less.as_object_mut().unwrap().remove(part);
            let e = TrustRoots::from_trusted_root_json(less.to_string().as_bytes()).unwrap_err();
            assert!(matches!(e, EvidenceError::TrustMaterial { .. }), "{part}: {e}");
        }
        assert!(TrustRoots::from_trusted_root_json(b"{}").is_err());
        assert!(TrustRoots::from_trusted_root_json(b"").is_err());
    }

    #[test]
    fn a_key_is_valid_from_its_start_until_before_its_end() {
        let key = |from, to| TrustedKey {
            id: String::new(),
            spki: Vec::new(),
            not_before: from,
            not_after: to,
        };
        let (a, b) = (Some(Timestamp(10)), Some(Timestamp(20)));
        for (from, to, at, valid) in [
            (a, b, 9, false),
            (a, b, 10, true),
            (a, b, 19, true),
            (a, b, 20, false),
            (a, None, 99, true),
            (None, b, 0, true),
        ] {
            assert_eq!(key(from, to).valid_at(Timestamp(at)), valid, "{at}");
        }
    }
}
