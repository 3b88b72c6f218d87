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
use countersign_core::{Claim, ProofClass, Timestamp};
use sequoia_openpgp as openpgp;

use openpgp::cert::Cert;
use openpgp::cert::raw::{RawCert, RawCertParser};
use openpgp::parse::Parse as _;
use openpgp::parse::stream::{
    DetachedVerifierBuilder, GoodChecksum, MessageLayer, MessageStructure, VerificationHelper,
    VerifierBuilder,
};
use openpgp::policy::{AsymmetricAlgorithm, StandardPolicy};
use openpgp::types::RevocationStatus;
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
            signed_at: Some(signed.signed_at),
            proof: ProofClass::KeyOnly,
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
        .map_err(|e| rejected(&e))?;
    let mut cleartext = Vec::new();
    verifier
        .read_to_end(&mut cleartext)
        .map_err(|e| EvidenceError::signature(format!("{RELEASE}: {e}")))?;
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
        .map_err(|e| rejected(&e))?;
    verifier.verify_bytes(release).map_err(|e| rejected(&e))?;
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

/// Sequoia's standard policy, and what the project's [table](crate::algorithm) holds to be weak beyond
/// it: DSA of any size, which the standard for it has left.
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

fn rejected(error: &anyhow::Error) -> EvidenceError {
    EvidenceError::signature(format!("{error:#}"))
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
        Ok(ReleaseSignature { certificate: cert.fingerprint().to_hex(), key: key.to_hex(), at })
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
        let mut failures = Vec::new();
        for result in results {
            match result {
                Ok(good) => match self.still_stands(good) {
                    Ok(signature) => self.signatures.push(signature),
                    Err(e) => failures.push(format!("{e:#}")),
                },
                Err(e) => failures.push(e.to_string()),
            }
        }
        if self.signatures.is_empty() {
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
