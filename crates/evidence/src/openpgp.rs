//! OpenPGP signatures over the lists of a Debian archive: `InRelease` (cleartext signature,
//! RFC 9580 section 7) and `Release` with `Release.gpg` (detached signature, section 10.4).
//!
//! The cryptography and the judgement of algorithms are Sequoia's, under its standard policy at
//! the caller's time: SHA-1 and MD5, small keys and unbound or expired subkeys do not pass. Checked
//! here beyond it: nothing but the signed text is in the file, and the signing key is neither
//! expired nor revoked at the caller's time, not only at the time that the signature itself names.
//!
//! What the text says (its date, its end of validity, its suite) is for its reader to check.

mod cleartext;
mod file;

pub use file::{KIND, verify_file};

use crate::error::EvidenceError;
use crate::verified::Verified;
use countersign_core::{AlgorithmUse, Claim, ProofClass, Timestamp};
use sequoia_openpgp as openpgp;

use openpgp::cert::Cert;
use openpgp::cert::raw::{RawCert, RawCertParser};
use openpgp::packet::Signature;
use openpgp::parse::Parse as _;
use openpgp::parse::stream::{
    DetachedVerifierBuilder, GoodChecksum, MessageLayer, MessageStructure, VerificationError,
    VerificationHelper, VerifierBuilder,
};
use openpgp::policy::{AsymmetricAlgorithm, StandardPolicy};
use openpgp::types::{HashAlgorithm, PublicKeyAlgorithm, RevocationStatus};
use openpgp::{KeyHandle, anyhow};
use std::io::Read as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The largest signed list that is read, in bytes. Debian's largest is below 1 MiB.
pub const MAX_TEXT: usize = 16 << 20;
/// Bytes of signatures, armour included: enough for a hundred, too few to keep the gate busy.
const MAX_SIGNATURES: usize = 64 << 10;
/// Bytes of a keyring, and certificates in it.
const MAX_KEYRING: usize = 8 << 20;
const MAX_CERTIFICATES: usize = 1024;

const RELEASE: &str = "signed release file";
const KEYRING: &str = "OpenPGP keyring";

/// [`Claim::kind`] of an OpenPGP signature.
pub const CLAIM: &str = "openpgp-signature";

/// A text and the signatures over it that hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedText {
    /// Exactly the signed text: without armour, dash escapes, white space at the end of lines
    /// and the last line's end, none of which a cleartext signature covers.
    pub cleartext: Vec<u8>,
    /// The signatures that hold, in the order in which they stand; at least one.
    pub signatures: Vec<ReleaseSignature>,
    /// The earliest time that one of them names.
    pub signed_at: Timestamp,
}

/// One signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSignature {
    /// The certificate's fingerprint, upper-case hexadecimal.
    pub certificate: String,
    /// The fingerprint of the key that signed: the certificate's own or a subkey.
    pub key: String,
    /// When it was made, by the signer's word.
    pub at: Timestamp,
    /// The digest that was signed, the signature's version (those before version 6 sign an unsalted
    /// digest) and the key.
    pub algorithms: Vec<AlgorithmUse>,
}

/// A text that a certificate of the caller's keyring signed.
pub type VerifiedRelease = Verified<SignedText>;

impl Verified<SignedText> {
    /// The signature as a claim: the first signer, and nothing about a source.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let signed = self.get();
        Claim {
            kind: CLAIM.to_owned(),
            signer: signed.signatures.first().map(|s| s.certificate.clone()).unwrap_or_default(),
            also_signed_by: signed
                .signatures
                .iter()
                .skip(1)
                .map(|s| s.certificate.clone())
                .collect(),
            signed_at: Some(signed.signed_at),
            proof: ProofClass::KeyOnly,
            // One signature that holds is enough, so each is a way of its own.
            algorithms: (0..)
                .zip(&signed.signatures)
                .flat_map(|(way, s)| s.algorithms.iter().map(move |a| a.clone().in_way(way)))
                .collect(),
            ..Claim::default()
        }
    }
}

/// Verifies an `InRelease` file.
///
/// `keyring` is one certificate or several, binary or in ASCII armour. One signature that holds
/// is enough, as for apt: an archive signs with its old and its new key while it changes them.
///
/// # Errors
/// When no signature by the keyring holds, or the file holds anything beside the signed text.
pub fn verify_inrelease(
    bytes: &[u8],
    keyring: &[u8],
    now: Timestamp,
) -> Result<VerifiedRelease, EvidenceError> {
    let text = cleartext::read(bytes)?;
    let certs = read_keyring(keyring)?;
    let time = system_time(now)?;
    let policy = policy(time);
    let helper = Helper::new(&certs, &policy, time);
    let mut verifier = VerifierBuilder::from_bytes(bytes)
        .and_then(|b| b.with_policy(&policy, time, helper))
        .map_err(rejected)?;
    let mut cleartext = Vec::new();
    verifier.read_to_end(&mut cleartext).map_err(|e| unread(&e))?;
    if !verifier.message_processed() || verifier.processing_csf_message() != Some(true) {
        return Err(EvidenceError::signature("file was not verified to its end"));
    }
    if cleartext != text {
        return Err(EvidenceError::malformed(RELEASE, "its signed text can be read in two ways"));
    }
    mint(cleartext, verifier.into_helper().signatures)
}

/// Verifies a `Release` file against its detached signatures (`Release.gpg`).
///
/// # Errors
/// When no signature by the keyring holds.
pub fn verify_detached(
    release: &[u8],
    signature: &[u8],
    keyring: &[u8],
    now: Timestamp,
) -> Result<VerifiedRelease, EvidenceError> {
    limit(RELEASE, release, MAX_TEXT)?;
    limit("detached signature", signature, MAX_SIGNATURES)?;
    check_detached(signature)?;
    let certs = read_keyring(keyring)?;
    let time = system_time(now)?;
    let policy = policy(time);
    let helper = Helper::new(&certs, &policy, time);
    let mut verifier = DetachedVerifierBuilder::from_bytes(signature)
        .and_then(|b| b.with_policy(&policy, time, helper))
        .map_err(rejected)?;
    verifier.verify_bytes(release).map_err(rejected)?;
    mint(release.to_vec(), verifier.into_helper().signatures)
}

/// Checks that the file is a signature from its first byte on: armour, or an OpenPGP packet
/// (RFC 9580 section 4.2). The parser would search a file of anything else for one.
fn check_detached(signature: &[u8]) -> Result<(), EvidenceError> {
    let armoured = signature.starts_with(cleartext::BEGIN_SIGNATURE);
    if armoured || signature.first().is_some_and(|b| b & 0x80 != 0) {
        return Ok(());
    }
    Err(EvidenceError::malformed("detached signature", "it is no signature"))
}

/// Sequoia's standard policy, and DSA of no size, which the standard for it has left.
fn policy(time: SystemTime) -> StandardPolicy<'static> {
    use AsymmetricAlgorithm::{DSA1024, DSA2048, DSA3072, DSA4096};
    let mut policy = StandardPolicy::at(time);
    for weak in [DSA1024, DSA2048, DSA3072, DSA4096] {
        policy.reject_asymmetric_algo(weak);
    }
    policy
}

fn mint(
    cleartext: Vec<u8>,
    signatures: Vec<ReleaseSignature>,
) -> Result<VerifiedRelease, EvidenceError> {
    let signed_at = signatures.iter().map(|s| s.at).min();
    let signed_at = signed_at.ok_or_else(|| EvidenceError::signature("no signature holds"))?;
    Ok(Verified::mint(SignedText { cleartext, signatures, signed_at }))
}

fn limit(what: &'static str, bytes: &[u8], limit: usize) -> Result<(), EvidenceError> {
    if bytes.len() > limit {
        return Err(EvidenceError::TooLarge { what, limit: format!("{limit} bytes") });
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn rejected(error: anyhow::Error) -> EvidenceError {
    refused(RELEASE, &error)
}

/// Why the library does not accept the signature of `what`.
fn refused(what: &'static str, error: &anyhow::Error) -> EvidenceError {
    match error.downcast_ref::<TooWeak>() {
        Some(weak) => EvidenceError::weak(what, weak.0.clone()),
        None => EvidenceError::signature(format!("{error:#}")),
    }
}

/// The same for an error that came through a reader.
fn unread(error: &std::io::Error) -> EvidenceError {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<TooWeak>());
    match inner {
        Some(weak) => EvidenceError::weak(RELEASE, weak.0.clone()),
        None => EvidenceError::signature(format!("{RELEASE}: {error}")),
    }
}

/// No signature holds, and those there are were made with these.
#[derive(Debug, thiserror::Error)]
#[error("no signature was made with algorithms that prove anything")]
struct TooWeak(Vec<AlgorithmUse>);

/// What a signature was made with.
fn algorithms(
    sig: &Signature,
    key: Option<(PublicKeyAlgorithm, Option<usize>)>,
) -> Vec<AlgorithmUse> {
    const PLACE: &str = "OpenPGP signature";
    let salted = if sig.version() >= 6 { "salted" } else { "unsalted" };
    let digest = match sig.hash_algo() {
        HashAlgorithm::MD5 => "md5".to_owned(),
        HashAlgorithm::SHA1 => "sha1".to_owned(),
        HashAlgorithm::RipeMD => "ripemd160".to_owned(),
        HashAlgorithm::SHA224 => "sha224".to_owned(),
        HashAlgorithm::SHA256 => "sha256".to_owned(),
        HashAlgorithm::SHA384 => "sha384".to_owned(),
        HashAlgorithm::SHA512 => "sha512".to_owned(),
        HashAlgorithm::SHA3_256 => "sha3-256".to_owned(),
        HashAlgorithm::SHA3_512 => "sha3-512".to_owned(),
        other => format!("openpgp-digest-{}", u8::from(other)),
    };
    let mut seen = vec![AlgorithmUse::new(digest, PLACE)];
    seen.push(AlgorithmUse::new(format!("openpgp-v{}-{salted}", sig.version()), PLACE));
    seen.extend(key.map(|(kind, bits)| of_key(kind, bits)));
    seen
}

/// What a key is, by its algorithm and size.
fn of_key(kind: PublicKeyAlgorithm, bits: Option<usize>) -> AlgorithmUse {
    const PLACE: &str = "OpenPGP key";
    let bits = bits.and_then(|b| u32::try_from(b).ok());
    #[allow(deprecated, reason = "old keyrings hold keys of kinds that nobody makes any more")]
    match kind {
        PublicKeyAlgorithm::RSAEncryptSign
        | PublicKeyAlgorithm::RSASign
        | PublicKeyAlgorithm::RSAEncrypt => AlgorithmUse::new("rsa", PLACE).of_bits(bits),
        PublicKeyAlgorithm::DSA => AlgorithmUse::new("dsa", PLACE).of_bits(bits),
        PublicKeyAlgorithm::ECDSA => match bits {
            Some(bits @ (256 | 384 | 521)) => AlgorithmUse::new(format!("ecdsa-p{bits}"), PLACE),
            _ => AlgorithmUse::new("ecdsa", PLACE).of_bits(bits),
        },
        PublicKeyAlgorithm::EdDSA | PublicKeyAlgorithm::Ed25519 => {
            AlgorithmUse::new("ed25519", PLACE)
        }
        PublicKeyAlgorithm::Ed448 => AlgorithmUse::new("ed448", PLACE),
        other => AlgorithmUse::new(format!("openpgp-key-{}", u8::from(other)), PLACE),
    }
}

/// Whether Sequoia, under [`policy`], verifies nothing that was made with it.
fn is_refused(seen: &AlgorithmUse) -> bool {
    match seen.name.as_str() {
        "md5" | "sha1" | "ripemd160" | "dsa" => true,
        "rsa" => seen.bits.is_none_or(|b| b < crate::algorithm::RSA_VERIFIABLE),
        _ => false,
    }
}

fn system_time(t: Timestamp) -> Result<SystemTime, EvidenceError> {
    u64::try_from(t.0)
        .ok()
        .and_then(|s| UNIX_EPOCH.checked_add(Duration::from_secs(s)))
        .ok_or_else(|| EvidenceError::malformed("time of verification", t.to_string()))
}

fn timestamp(t: SystemTime) -> Option<Timestamp> {
    let seconds = t.duration_since(UNIX_EPOCH).ok()?.as_secs();
    i64::try_from(seconds).ok().map(Timestamp)
}

/// A certificate of a keyring, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its fingerprint, upper-case hexadecimal.
    pub fingerprint: String,
    /// Its first user, shortened.
    pub user: String,
    /// The primary key.
    pub algorithm: AlgorithmUse,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends, as far as it says.
    pub expires: Option<Timestamp>,
}

/// The certificates of a keyring; those that cannot be read verify nothing and are left out.
///
/// # Errors
/// When it holds none, or too many.
pub fn list_certificates(
    keyring: &[u8],
    now: Timestamp,
) -> Result<Vec<Certificate>, EvidenceError> {
    let time = system_time(now)?;
    let policy = policy(time);
    let certs = read_keyring(keyring)?;
    let certs = certs.iter().filter_map(|c| Cert::try_from(c).ok());
    let read = |c: Cert| {
        let key = c.primary_key().key();
        let user =
            c.userids().next().map(|u| String::from_utf8_lossy(u.userid().value()).into_owned());
        let valid = c.with_policy(&policy, time).ok();
        let expires = valid.and_then(|v| v.primary_key().key_expiration_time()).and_then(timestamp);
        Certificate {
            fingerprint: c.fingerprint().to_hex(),
            user: crate::error::shown(&user.unwrap_or_default()),
            algorithm: of_key(key.pk_algo(), key.mpis().bits()),
            created: timestamp(key.creation_time()).unwrap_or(Timestamp(0)),
            expires,
        }
    };
    Ok(certs.map(read).collect())
}

/// The certificates of a keyring, not read further than to their keys: a keyring holds many, and few
/// of them sign a list. One that cannot be read is passed over, as apt does: old keyrings hold keys of
/// versions that nobody reads any more, and they verify nothing.
fn read_keyring(bytes: &[u8]) -> Result<Vec<RawCert<'_>>, EvidenceError> {
    if bytes.len() > MAX_KEYRING {
        return Err(EvidenceError::material(KEYRING, format!("it is beyond {MAX_KEYRING} bytes")));
    }
    let mut certs = Vec::new();
    for block in blocks(bytes) {
        let parser = RawCertParser::from_bytes(block)
            .map_err(|e| EvidenceError::material(KEYRING, e.to_string()))?;
        certs.extend(parser.filter_map(Result::ok).take(MAX_CERTIFICATES));
    }
    if certs.is_empty() || certs.len() > MAX_CERTIFICATES {
        let because = format!("it holds {} readable certificates", certs.len());
        return Err(EvidenceError::material(KEYRING, because));
    }
    Ok(certs)
}

/// The parts of a keyring: armoured blocks, and binary packets before, between and after them, as in
/// several files with a line end after each. Text around the armour is nobody's key.
fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    const BEGIN: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
    const END: &[u8] = b"-----END PGP PUBLIC KEY BLOCK-----";
    let mut cuts = vec![0];
    let mut at = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(BEGIN) {
            cuts.push(at);
        }
        at += line.len();
        if line.starts_with(END) {
            cuts.push(at);
        }
    }
    let ends = cuts.iter().skip(1).copied().chain([bytes.len()]);
    let parts = cuts.iter().zip(ends).filter_map(|(start, end)| bytes.get(*start..end));
    let parts = parts.map(|part| part.trim_ascii_start());
    // A packet's first byte has its highest bit set (RFC 9580, section 4.2).
    let is_key = |b: &&[u8]| b.starts_with(BEGIN) || b.first().is_some_and(|b| b & 0x80 != 0);
    parts.filter(is_key).collect()
}

/// What a signature that does not hold was made with, where that can be told.
fn algorithms_of(error: &VerificationError<'_>) -> Vec<AlgorithmUse> {
    match error {
        VerificationError::BadKey { sig, ka, .. }
        | VerificationError::BadSignature { sig, ka, .. } => {
            algorithms(sig, Some((ka.key().pk_algo(), ka.key().mpis().bits())))
        }
        VerificationError::UnboundKey { sig, cert, .. } => {
            let issuers = sig.get_issuers();
            let keys = || cert.keys();
            let key = keys().find(|k| issuers.iter().any(|i| i.aliases(k.key().key_handle())));
            algorithms(sig, key.map(|k| (k.key().pk_algo(), k.key().mpis().bits())))
        }
        VerificationError::MissingKey { sig, .. } => algorithms(sig, None),
        _ => Vec::new(),
    }
}

/// Hands Sequoia the keyring's certificates and keeps the signatures that hold.
struct Helper<'a> {
    certs: &'a [RawCert<'a>],
    policy: &'a StandardPolicy<'a>,
    now: SystemTime,
    signatures: Vec<ReleaseSignature>,
}

impl<'a> Helper<'a> {
    fn new(certs: &'a [RawCert<'a>], policy: &'a StandardPolicy<'a>, now: SystemTime) -> Self {
        Self { certs, policy, now, signatures: Vec::new() }
    }

    /// A signature that was right when it was made, if its key still stands.
    fn still_stands(&self, good: &GoodChecksum<'_>) -> Result<ReleaseSignature, anyhow::Error> {
        let key = good.ka.key().fingerprint();
        let cert = good.ka.cert().with_policy(self.policy, self.now)?;
        cert.alive()?;
        if matches!(cert.revocation_status(), RevocationStatus::Revoked(_)) {
            anyhow::bail!("certificate {} is revoked", cert.fingerprint());
        }
        let mut keys = cert.keys().alive().revoked(false).for_signing().key_handle(key.clone());
        if keys.next().is_none() {
            anyhow::bail!("key {key} may not sign any more");
        }
        let at = good.sig.signature_creation_time().and_then(timestamp);
        let Some(at) = at else { anyhow::bail!("signature has no time") };
        let certificate = cert.fingerprint().to_hex();
        let kind = (good.ka.key().pk_algo(), good.ka.key().mpis().bits());
        let algorithms = algorithms(good.sig, Some(kind));
        Ok(ReleaseSignature { certificate, key: key.to_hex(), at, algorithms })
    }
}

impl VerificationHelper for Helper<'_> {
    fn get_certs(&mut self, ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        let wanted =
            |c: &&RawCert<'_>| c.keys().any(|k| ids.iter().any(|id| id.aliases(k.key_handle())));
        let wanted = self.certs.iter().filter(wanted);
        Ok(wanted.filter_map(|c| Cert::try_from(c).ok()).collect())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        let layers: Vec<_> = structure.into_iter().collect();
        let [MessageLayer::SignatureGroup { results }] = layers.as_slice() else {
            anyhow::bail!("it is no plain signed text");
        };
        let (mut failures, mut weak) = (Vec::new(), Vec::new());
        for result in results {
            match result {
                Ok(good) => match self.still_stands(good) {
                    Ok(signature) => self.signatures.push(signature),
                    Err(e) => failures.push(format!("{e:#}")),
                },
                Err(e) => {
                    weak.extend(algorithms_of(e).into_iter().filter(is_refused));
                    failures.push(e.to_string());
                }
            }
        }
        if self.signatures.is_empty() {
            if !weak.is_empty() {
                return Err(TooWeak(weak).into());
            }
            anyhow::bail!("no signature by the keyring holds ({})", failures.join("; "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sequoia lets larger DSA keys pass until 2030; the standard for DSA left them in 2023. To make
    /// such a key takes half a minute, so that the policy is asked instead.
    #[test]
    fn dsa_is_refused_whatever_its_size() {
        let policy = policy(UNIX_EPOCH + Duration::from_secs(1_760_000_000));
        use AsymmetricAlgorithm::{DSA1024, DSA2048, DSA3072, DSA4096, RSA1024, RSA2048};
        for weak in [DSA1024, DSA2048, DSA3072, DSA4096] {
            assert_eq!(policy.asymmetric_algo_cutoff(weak), Some(UNIX_EPOCH), "{weak:?}");
        }
        assert!(policy.asymmetric_algo_cutoff(RSA1024).is_some());
        assert!(
            policy
                .asymmetric_algo_cutoff(RSA2048)
                .is_none_or(|t| t > UNIX_EPOCH + Duration::from_secs(1_760_000_000))
        );
    }
}
