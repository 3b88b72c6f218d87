//! Sigstore bundles (v0.1 to v0.3): an in-toto attestation in a DSSE envelope, or a signature over
//! a file.
//!
//! The cryptography is `sigstore-verify`'s: the certificate chain up to Fulcio at the signing
//! time, its signed certificate time stamp, the log's inclusion proof with its checkpoint or its
//! signed promise, RFC 3161 time stamps, the envelope's signature, and that the log's entry is
//! about this very signature. What it leaves open is checked here:
//!
//! | module | what it checks |
//! |---|---|
//! | `read`, `fields` | one reading of the JSON, one kind of content, one of material, no unknown field, bounded |
//! | `leaf` | the certificate's algorithms, key usage, one name, no repeated extension |
//! | `entries` | each log entry carries a proof or a promise, of one generation of the log; the checkpoint is the entry's log's, of the proof's tree, signed within its key's window |
//! | [`crate::Statement`] | one subject, the right name, and no digest that differs |
//!
//! Beside that, no time lies after the caller's `now`.
//!
//! HOLE: `sigstore-verify` reads the host's clock to refuse times in the future and roots that
//! have not started; only the comparison with `now` made here follows the caller's time. An
//! interface upstream that takes the time would close it.

mod artifact;
mod entries;
mod fields;
mod identity;
mod leaf;
mod read;
mod rejected;
mod roots;

pub use artifact::{Artifact, Signatory, Signed, verify_artifact};
pub use identity::CertificateIdentity;
pub use roots::{Freshness, TrustRoots, TrustedKey};

use crate::algorithm;
use crate::error::{EvidenceError, Fault, shown};
use crate::json;
use crate::statement::{Expected, Statement};
use crate::verified::Verified;
use countersign_core::{AlgorithmUse, ProofClass, Timestamp};
use rejected::rejected;
use serde_json::Value;
use sigstore_types::bundle::VerificationMaterialContent;
use sigstore_types::{ArtifactDigest, Bundle, DerPublicKey, HashAlgorithm, SignatureContent};
use sigstore_verify::{PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult};

const WHAT: &str = "sigstore bundle";
const ROOT: &str = "sigstore trust root";

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
    /// Where it is published: the log's address and the index of the entry there.
    pub log: Option<String>,
    /// The algorithms and keys that its signature rests on.
    pub algorithms: Vec<AlgorithmUse>,
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
    roots.check_age(now)?;
    let read = UnverifiedBundle::read(bundle, expected, roots)?;
    let policy = VerificationPolicy::any_identity();
    let result =
        roots.verifier.verify(read.digest, &read.bundle, &policy).map_err(|e| rejected(&e))?;
    if !(result.certificate_verified() && result.sct_verified() && result.tlog_verified()) {
        return Err(EvidenceError::signature("certificate or log was not checked to the end"));
    }
    let info = result.certificate();
    let info = info.ok_or_else(|| EvidenceError::signature("bundle has no certificate"))?;
    let signer = Signer::Certificate(Box::new(CertificateIdentity::read(info)?));
    let (signed_at, _) = times(&result, &read.bundle, roots, now)?.ok_or(EvidenceError::NoTime)?;
    let (proof, log) = (proof_class(&read.bundle), entries::place(&read.bundle, roots));
    let (statement, algorithms) = (read.statement, read.algorithms);
    Ok(Verified::mint(Attestation { statement, signer, signed_at, proof, log, algorithms }))
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
    roots.check_age(now)?;
    let read = UnverifiedBundle::read(bundle, expected, roots)?;
    let VerificationMaterialContent::PublicKey(hint) = &read.bundle.verification_material.content
    else {
        return Err(EvidenceError::fault(
            Fault::Bundle,
            "bundle has a certificate where a key is expected",
        ));
    };
    let key_id = hint.hint.clone();
    let mut last = EvidenceError::UnknownKey { key_id: shown(&key_id) };
    // An id may stand for several entries with windows of their own; one of them must hold whole.
    for key in keys.iter().filter(|k| k.id == key_id) {
        match verify_with_key(&read, key, roots, now) {
            Ok(signed_at) => {
                let proof = proof_class(&read.bundle);
                let log = entries::place(&read.bundle, roots);
                let signer = Signer::Key { id: key_id };
                let (statement, mut algorithms) = (read.statement, read.algorithms);
                let spki = DerPublicKey::new(key.spki.clone());
                algorithms.extend(algorithm::of_signing_key("attestation", &spki));
                let attestation =
                    Attestation { statement, signer, signed_at, proof, log, algorithms };
                return Ok(Verified::mint(attestation));
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
        .map_err(|e| rejected(&e))?;
    if !result.tlog_verified() {
        return Err(EvidenceError::signature("log was not checked to the end"));
    }
    let times = times(&result, &read.bundle, roots, now)?;
    let (earliest, latest) = times.ok_or(EvidenceError::NoTime)?;
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
    /// The algorithms of its certificates, and of the digest.
    algorithms: Vec<AlgorithmUse>,
}

impl UnverifiedBundle {
    fn read(
        value: Value,
        expected: &Expected<'_>,
        roots: &TrustRoots,
    ) -> Result<Self, EvidenceError> {
        let (bundle, mut algorithms) = read::bundle(value, roots)?;
        let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
            return Err(EvidenceError::malformed(WHAT, "it holds no attestation"));
        };
        if envelope.payload_type != "application/vnd.in-toto+json" {
            let found = shown(&envelope.payload_type);
            return Err(EvidenceError::Unsupported { what: "DSSE payload type", found });
        }
        let statement = Statement::parse(envelope.payload.as_bytes())?;
        statement.check(expected)?;
        let digest = common_digest(&statement, expected)?;
        let name = if digest.algorithm() == HashAlgorithm::Sha2512 { "sha512" } else { "sha256" };
        algorithms.push(AlgorithmUse::new(name, "attested digest"));
        let leaf = algorithms.iter().find(|u| u.place == "certificate key");
        algorithms.extend(leaf.and_then(|key| algorithm::signed_digest("attestation", key)));
        Ok(Self { bundle, statement, digest, algorithms })
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

/// The class of proof of a bundle whose log entries all verified: the weakest among them.
fn proof_class(bundle: &Bundle) -> ProofClass {
    let entries = &bundle.verification_material.tlog_entries;
    if entries.iter().all(|e| e.inclusion_proof.is_some()) {
        ProofClass::InclusionProof
    } else {
        ProofClass::InclusionPromise
    }
}

/// The earliest and the latest of the times that a log or a time stamp authority signed, if any did.
fn times(
    result: &VerificationResult,
    bundle: &Bundle,
    roots: &TrustRoots,
    now: Timestamp,
) -> Result<Option<(Timestamp, Timestamp)>, EvidenceError> {
    let seconds = result.verified_timestamps().iter().map(|t| Timestamp(t.as_second()));
    let seconds: Vec<Timestamp> = seconds.collect();
    let (Some(earliest), Some(latest)) = (seconds.iter().min(), seconds.iter().max()) else {
        return Ok(None);
    };
    if *latest > now {
        return Err(EvidenceError::Future { at: *latest, now });
    }
    entries::check_windows(bundle, roots, &seconds)?;
    Ok(Some((*earliest, *latest)))
}
