//! Attestations that a key of the organisation signed: DSSE envelopes, alone, in a Sigstore bundle
//! with a public key, or many of them, one a line (in-toto Attestation Framework, "Bundle").
//!
//! Four answers are kept apart:
//!
//! - the signature is one of a known key that may say this: *verified*;
//! - it names a known key and is none of it, or the key was revoked or not valid then: *invalid*;
//! - nobody here knows the key, or it may not say this: *not judged*, for it proves nothing either way;
//! - a key has ended, and nobody vouches that it signed before: *not judged*.
//!
//! # When was it signed?
//!
//! A DSSE envelope has no time. A log's entry in the bundle gives one, and so does the ledger of the
//! gate that signed (`recorded`). Without either, the key must be valid now: a signature that is
//! there now was made at some time before, and a key that was revoked may have made it since.

use crate::error::{EvidenceError, Fault, shown};
use crate::predicate::{PredicateType, VSA, outcome, short_name};
use crate::sigstore::{TrustedKey, verify_bundle_value, verify_keyed_bundle_value};
use crate::statement::{Expected, Statement, SubjectName};
use crate::verified::Verified;
use crate::{Context, attested, json, provenance};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use countersign_core::{
    Attested, Claim, Evidence, EvidenceState, ProofClass, Sha256Digest, Timestamp,
};
use serde_json::Value;
use sigstore_types::{DerPublicKey, SignatureBytes};
use sigstore_verify::crypto::{KeyAlgorithm, SigningScheme, verify_signature};

/// [`Evidence::kind`] of such attestations.
pub const KIND: &str = "attestation";

/// Attestations of one document that are looked at.
const MAX_ATTESTATIONS: usize = 256;

/// Signatures of one envelope that are looked at; the specification allows several.
const MAX_SIGNATURES: usize = 8;

/// Subjects of one statement; a release may list all of its files.
const MAX_SUBJECTS: usize = 4096;

const IN_TOTO: &str = "application/vnd.in-toto+json";
const WHAT: &str = "DSSE envelope";

/// A key of the organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganisationKey {
    /// Its id: `sha256:` and the digest of its `SubjectPublicKeyInfo` in hexadecimal.
    pub id: String,
    /// What the organisation calls it. Keys that follow one another have one name.
    pub name: String,
    /// The DER `SubjectPublicKeyInfo` (RFC 5280).
    pub spki: Vec<u8>,
    /// From when on it signs.
    pub not_before: Option<Timestamp>,
    /// Until when it signs, exclusively.
    pub not_after: Option<Timestamp>,
    /// From when on it counts as somebody else's.
    pub revoked: Option<Timestamp>,
}

impl OrganisationKey {
    /// Whether a hint means this key: its id, the digest in it, or that in base64 as cosign writes it.
    fn is_meant(&self, hint: &str) -> bool {
        let hex = self.id.strip_prefix("sha256:").unwrap_or(&self.id);
        let base64 = || hex::decode(hex).map(|d| STANDARD.encode(d));
        !hint.is_empty() && (hint == self.id || hint == hex || base64().is_ok_and(|b| b == hint))
    }

    /// Whether `signature` is one of this key over `message`.
    ///
    /// # Errors
    /// When the key itself cannot be used.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> Result<bool, EvidenceError> {
        let spki = DerPublicKey::new(self.spki.clone());
        let scheme = match KeyAlgorithm::from_spki(&spki) {
            Ok(KeyAlgorithm::Ed25519) => SigningScheme::Ed25519,
            Ok(KeyAlgorithm::EcdsaP256) => SigningScheme::EcdsaP256Sha256,
            _ => {
                let because = format!("key `{}` is neither Ed25519 nor on P-256", self.name);
                return Err(EvidenceError::material("the organisation's key", because));
            }
        };
        let signature = SignatureBytes::new(signature.to_vec());
        Ok(verify_signature(&spki, message, &signature, scheme).is_ok())
    }
}

/// The organisation's keys, and what they count for.
#[derive(Clone, Copy)]
pub struct Keyring<'a> {
    /// All keys that are known, also those that may not say everything.
    pub keys: &'a [OrganisationKey],
    /// Whether a key may attest a predicate type (its URI) about the artifact.
    pub may: &'a (dyn Fn(&OrganisationKey, &str) -> bool + Send + Sync),
    /// When the gate's own ledger recorded that a key (its id) signed a statement (its digest).
    pub recorded: &'a (dyn Fn(&str, &Sha256Digest) -> Option<Timestamp> + Send + Sync),
}

/// What an attestation is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The names that it may go by: its purl, its file's name.
    pub names: &'a [&'a str],
    /// The artifact's SHA-256, as it was computed here.
    pub sha256: &'a Sha256Digest,
    /// The artifact's SHA-512, as it was computed here.
    pub sha512: Option<&'a [u8; 64]>,
}

impl<'a> About<'a> {
    fn expected(&self) -> Expected<'a> {
        let name = SubjectName::OneOf(self.names);
        Expected { name, sha256: Some(&self.sha256.0), sha512: self.sha512 }
    }
}

/// Whether a document is a Sigstore bundle with a public key in place of a certificate.
#[must_use]
pub fn is_keyed_bundle(document: &[u8]) -> bool {
    let value = json::parse(WHAT, document).ok();
    value.is_some_and(|v| v.pointer("/verificationMaterial/publicKey").is_some())
}

/// Verifies all attestations of a document: an envelope, a bundle, or one of these on each line.
#[must_use]
pub fn verify_attestations(
    document: &[u8],
    about: &About<'_>,
    keyring: &Keyring<'_>,
    context: &Context<'_>,
) -> Vec<Evidence> {
    let found = match documents(document) {
        Ok(found) => found,
        Err(e) => vec![Err(e)],
    };
    let judge = |read: Result<Value, EvidenceError>| {
        let certified = read.as_ref().is_ok_and(is_certified);
        let claim = read.and_then(|value| verify_value(value, about, keyring, context));
        let state = claim.map_or_else(EvidenceError::into_state, |claim| EvidenceState::Verified {
            claim: Box::new(claim.into_inner()),
        });
        let kind = if certified { attested::KIND } else { KIND };
        Evidence { kind: kind.to_owned(), source: context.source.to_owned(), state }
    };
    found.into_iter().map(judge).collect()
}

/// Verifies one attestation: an envelope or a bundle.
///
/// # Errors
/// When anything in it does not hold, it is about something else, or nobody here can judge it.
pub fn verify_attestation(
    attestation: &[u8],
    about: &About<'_>,
    keyring: &Keyring<'_>,
    context: &Context<'_>,
) -> Result<Verified<Claim>, EvidenceError> {
    verify_value(json::parse(WHAT, attestation)?, about, keyring, context)
}

fn verify_value(
    value: Value,
    about: &About<'_>,
    keyring: &Keyring<'_>,
    context: &Context<'_>,
) -> Result<Verified<Claim>, EvidenceError> {
    if is_certified(&value) {
        let (expected, now) = (about.expected(), context.now);
        let bundle = verify_bundle_value(value, &expected, context.roots, now)?;
        return provenance::claim(&bundle).map(Verified::mint);
    }
    Unverified::read(value)?.verify(about, keyring, context)
}

/// The digests of the statements in a document: under these the ledger of the gate that signed them
/// knows when that was.
#[must_use]
pub fn statements(document: &[u8]) -> Vec<Sha256Digest> {
    let found = documents(document).unwrap_or_default().into_iter().flatten();
    let read = found.filter(|v| !is_certified(v)).filter_map(|v| Unverified::read(v).ok());
    read.map(|u| Sha256Digest::of(&u.payload)).collect()
}

/// One JSON value, or one on each line. A value over several lines is one.
fn documents(bytes: &[u8]) -> Result<Vec<Result<Value, EvidenceError>>, EvidenceError> {
    let lines: Vec<&[u8]> =
        bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).filter(|l| !l.is_empty()).collect();
    let first = lines.first().map(|line| json::parse(WHAT, line));
    match first {
        None => Err(EvidenceError::malformed(WHAT, "the document is empty")),
        Some(Err(_)) => Ok(vec![json::parse(WHAT, bytes)]),
        Some(Ok(_)) if lines.len() > MAX_ATTESTATIONS => {
            Err(EvidenceError::TooLarge { what: WHAT, limit: format!("{MAX_ATTESTATIONS} lines") })
        }
        Some(Ok(_)) => Ok(lines.into_iter().map(|line| json::parse(WHAT, line)).collect()),
    }
}

/// Whether a certificate stands behind it: then it is Sigstore's to judge.
fn is_certified(value: &Value) -> bool {
    value.get("mediaType").is_some() && value.pointer("/verificationMaterial/publicKey").is_none()
}

/// An envelope that was read. Nothing of it is proven.
struct Unverified {
    payload: Vec<u8>,
    /// Which key is said to have signed, and its signature.
    signatures: Vec<(String, Vec<u8>)>,
    /// The bundle around it, where that holds a log's entry or a time stamp.
    logged: Option<Value>,
}

impl Unverified {
    fn read(value: Value) -> Result<Self, EvidenceError> {
        let bundled = value.get("mediaType").is_some();
        if bundled && value.get("messageSignature").is_some() {
            let found = "messageSignature".to_owned();
            return Err(EvidenceError::Unsupported { what: "content of a keyed bundle", found });
        }
        let envelope = if bundled { value.pointer("/dsseEnvelope") } else { Some(&value) };
        let envelope =
            envelope.ok_or_else(|| EvidenceError::malformed(WHAT, "the bundle holds none"))?;
        let kind = json::need_text(WHAT, envelope, "/payloadType")?;
        if kind != IN_TOTO {
            let found = shown(kind);
            return Err(EvidenceError::Unsupported { what: "DSSE payload type", found });
        }
        let payload = decode(json::need_text(WHAT, envelope, "/payload")?)?;
        // A bundle names the key once, for its one signature.
        let hint = json::text(&value, "/verificationMaterial/publicKey/hint").unwrap_or_default();
        let limit = if bundled { 1 } else { MAX_SIGNATURES };
        let list = json::need_array(WHAT, envelope, "/signatures", limit)?;
        if list.is_empty() {
            return Err(EvidenceError::malformed(WHAT, "it has no signature"));
        }
        let one = |s: &Value| {
            let key = json::text(s, "/keyid").filter(|k| !k.is_empty()).unwrap_or(hint);
            Ok((key.to_owned(), decode(json::need_text(WHAT, s, "/sig")?)?))
        };
        let signatures = list.iter().map(one).collect::<Result<_, EvidenceError>>()?;
        let logged = is_logged(&value).then_some(value);
        Ok(Self { payload, signatures, logged })
    }

    fn verify(
        self,
        about: &About<'_>,
        keyring: &Keyring<'_>,
        context: &Context<'_>,
    ) -> Result<Verified<Claim>, EvidenceError> {
        let signers = self.signers(keyring.keys)?;
        let statement = read_statement(&self.payload, about)?;
        statement.check(&about.expected())?;
        let uri = statement.predicate_type.as_str();
        if let Some(known) = PredicateType::of_uri(uri) {
            known.check(&statement.predicate).map_err(|because| {
                EvidenceError::malformed("predicate", format!("{}: {because}", known.name))
            })?;
        }
        let named = signers.iter().map(|k| format!("`{}`", k.name)).collect::<Vec<_>>().join(", ");
        let mut last = EvidenceError::not_judged(format!(
            "key {named} may not attest `{}` for this package; `[[key]]` in the configuration says \
             who may attest what",
            short_name(uri)
        ));
        for key in signers.into_iter().filter(|k| (keyring.may)(k, uri)) {
            match self.judge(key, about, keyring, context) {
                Ok(time) => return Ok(Verified::mint(claim(key, &statement, time))),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// The known keys whose signatures hold.
    fn signers<'k>(
        &self,
        keys: &'k [OrganisationKey],
    ) -> Result<Vec<&'k OrganisationKey>, EvidenceError> {
        let message = pre_authentication(&self.payload);
        let mut out = Vec::new();
        for (hint, signature) in &self.signatures {
            if let Some(named) = keys.iter().find(|k| k.is_meant(hint)) {
                if !named.verifies(&message, signature)? {
                    let because = format!("{WHAT}: it is none of key `{}`", named.name);
                    return Err(EvidenceError::fault(Fault::Signature, because));
                }
                out.push(named);
                continue;
            }
            // The key's id is outside what is signed, and others write none, or their own.
            for key in keys {
                if key.verifies(&message, signature)? {
                    out.push(key);
                    break;
                }
            }
        }
        if out.is_empty() {
            let hints: Vec<&str> =
                self.signatures.iter().map(|(h, _)| h.as_str()).filter(|h| !h.is_empty()).collect();
            let by = if hints.is_empty() {
                "a key that is not named".to_owned()
            } else {
                format!("key `{}`", shown(&hints.join("`, `")))
            };
            return Err(EvidenceError::not_judged(format!(
                "it is signed by {by}, and that is none of the organisation's keys"
            )));
        }
        Ok(out)
    }

    /// When it was signed, and that the key was valid then.
    fn judge(
        &self,
        key: &OrganisationKey,
        about: &About<'_>,
        keyring: &Keyring<'_>,
        context: &Context<'_>,
    ) -> Result<Time, EvidenceError> {
        let time = match &self.logged {
            Some(bundle) => logged_time(bundle, key, about, context)?,
            None => {
                let at = (keyring.recorded)(&key.id, &Sha256Digest::of(&self.payload));
                Time { at, proof: ProofClass::KeyOnly, log: None }
            }
        };
        check_window(key, time.at, context.now)?;
        Ok(time)
    }
}

/// When a signature was made, by whose word.
struct Time {
    at: Option<Timestamp>,
    proof: ProofClass,
    log: Option<String>,
}

fn check_window(
    key: &OrganisationKey,
    signed: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), EvidenceError> {
    if let Some(at) = signed.filter(|at| *at > now) {
        return Err(EvidenceError::Future { at, now });
    }
    let at = signed.unwrap_or(now);
    if let Some(since) = key.revoked.filter(|since| signed.is_none() || *since <= at) {
        return Err(EvidenceError::Revoked { key_id: shown(&key.name), since });
    }
    let ended = key.not_after.is_some_and(|end| end <= at);
    if ended && signed.is_none() {
        return Err(EvidenceError::not_judged(format!(
            "key `{}` has ended, and nobody vouches that it signed before that",
            key.name
        )));
    }
    if ended || key.not_before.is_some_and(|start| start > at) {
        return Err(EvidenceError::KeyWindow { key_id: shown(&key.name), at });
    }
    Ok(())
}

/// The time that a log or a time stamp in the bundle vouches for. What is there must hold.
fn logged_time(
    bundle: &Value,
    key: &OrganisationKey,
    about: &About<'_>,
    context: &Context<'_>,
) -> Result<Time, EvidenceError> {
    let hint = json::text(bundle, "/verificationMaterial/publicKey/hint").unwrap_or_default();
    let spki = key.spki.clone();
    let trusted = TrustedKey { id: hint.to_owned(), spki, not_before: None, not_after: None };
    let (keys, expected) = (std::slice::from_ref(&trusted), about.expected());
    let found =
        verify_keyed_bundle_value(bundle.clone(), &expected, keys, context.roots, context.now)?;
    let found = found.into_inner();
    Ok(Time { at: Some(found.signed_at), proof: found.proof, log: found.log })
}

fn is_logged(value: &Value) -> bool {
    let some = |pointer: &str| {
        value.pointer(pointer).and_then(Value::as_array).is_some_and(|l| !l.is_empty())
    };
    some("/verificationMaterial/tlogEntries")
        || some("/verificationMaterial/timestampVerificationData/rfc3161Timestamps")
}

/// The statement, with the one of its subjects that has one of the names.
///
/// A statement about a whole release lists all of its files; this one is to be among them, once.
fn read_statement(payload: &[u8], about: &About<'_>) -> Result<Statement, EvidenceError> {
    const WHAT: &str = "in-toto statement";
    let mut value = json::parse(WHAT, payload)?;
    let subjects = json::need_array(WHAT, &value, "/subject", MAX_SUBJECTS)?;
    if subjects.len() > 1 {
        let named = |s: &&Value| json::text(s, "/name").is_some_and(|n| about.names.contains(&n));
        let kept: Vec<Value> = subjects.iter().filter(named).cloned().collect();
        if kept.is_empty() {
            return Err(EvidenceError::OtherSubject {
                found: format!("{} others", subjects.len()),
                expected: shown(about.names.first().copied().unwrap_or_default()),
            });
        }
        if let Some(all) = value.get_mut("subject") {
            *all = kept.into();
        }
    }
    Statement::from_value(value)
}

fn claim(key: &OrganisationKey, statement: &Statement, time: Time) -> Claim {
    let (uri, predicate) = (&statement.predicate_type, &statement.predicate);
    let said = |of: &str, pointer: &str| {
        let is = uri == of;
        json::text(predicate, pointer).filter(|_| is).map(shown)
    };
    Claim {
        kind: shown(uri),
        signer: key.name.clone(),
        attested: Some(Attested {
            key: key.id.clone(),
            predicate: shown(short_name(uri)),
            outcome: outcome(uri, predicate).map(str::to_owned),
        }),
        issuer: said(VSA, "/verifier/id"),
        builder: said(provenance::SLSA_V1, "/runDetails/builder/id"),
        signed_at: time.at,
        proof: time.proof,
        log: time.log,
        ..Claim::default()
    }
}

/// Standard base64, or the form for URLs: the specification allows both.
fn decode(text: &str) -> Result<Vec<u8>, EvidenceError> {
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    bytes.map_err(|e| EvidenceError::malformed(WHAT, e.to_string()))
}

/// The pre-authentication encoding (DSSE protocol v1): what is signed.
fn pre_authentication(payload: &[u8]) -> Vec<u8> {
    countersign_ledger::pre_authentication(IN_TOTO, payload)
}
