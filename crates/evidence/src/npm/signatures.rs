//! npm's registry signatures (`dist.signatures` of a package's document): the registry's key over
//! `name@version:integrity`, with no log and no time of its own.

use super::keys;
use super::{NpmArtifact, SIGNATURE};
use crate::Context;
use crate::error::{EvidenceError, Fault, shown};
use crate::json;
use crate::sigstore::TrustedKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_core::{AlgorithmUse, Claim, Evidence, EvidenceState, ProofClass, Timestamp};
use sigstore_types::{DerPublicKey, SignatureBytes};
use sigstore_verify::crypto::{KeyAlgorithm, SigningScheme, verify_signature};

/// Signatures of one version that are looked at; registries give one or two.
const MAX_SIGNATURES: usize = 8;

const WHAT: &str = "npm registry signatures";

/// A registry's signature as a package's document carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySignature {
    /// The key's id.
    pub key_id: String,
    /// The signature: base64 of a DER-encoded ECDSA signature.
    pub signature: String,
}

/// Reads `{"signatures": [{"keyid": …, "sig": …}]}`, as it stands under `dist`.
///
/// # Errors
/// When it is not that, in one reading.
pub fn read_signatures(document: &[u8]) -> Result<Vec<RegistrySignature>, EvidenceError> {
    let value = json::parse(WHAT, document)?;
    let list = json::need_array(WHAT, &value, "/signatures", MAX_SIGNATURES)?;
    list.iter()
        .map(|s| {
            Ok(RegistrySignature {
                key_id: json::need_text(WHAT, s, "/keyid")?.to_owned(),
                signature: json::need_text(WHAT, s, "/sig")?.to_owned(),
            })
        })
        .collect()
}

/// Verifies a registry's signatures over the name, the version and the bytes of `artifact`.
///
/// One that holds is enough: a registry signs with its old and its new key while it changes them.
/// One by a known key that does not hold is invalid, whatever stands beside it. Without the key it
/// cannot be judged.
///
/// `published` is when the version was published, by the index's word: it was signed at that time
/// or later, so a key that had ended by then cannot have signed it.
#[must_use]
pub fn verify_signatures(
    signatures: &[RegistrySignature],
    artifact: &NpmArtifact<'_>,
    published: Option<Timestamp>,
    keys_json: Option<&[u8]>,
    context: &Context<'_>,
) -> Evidence {
    let state = match verify(signatures, artifact, published, keys_json, context) {
        Ok(None) => EvidenceState::Absent,
        Ok(Some(claim)) => EvidenceState::Verified { claim: Box::new(claim) },
        Err(e) => e.into_state(),
    };
    Evidence { kind: SIGNATURE.to_owned(), source: context.source.to_owned(), state }
}

fn verify(
    signatures: &[RegistrySignature],
    artifact: &NpmArtifact<'_>,
    published: Option<Timestamp>,
    keys_json: Option<&[u8]>,
    context: &Context<'_>,
) -> Result<Option<Claim>, EvidenceError> {
    if signatures.is_empty() {
        return Ok(None);
    }
    if signatures.len() > MAX_SIGNATURES {
        return Err(EvidenceError::TooLarge { what: WHAT, limit: MAX_SIGNATURES.to_string() });
    }
    let keys = context.roots.restrictions().pinned_keys(keys::for_signatures(keys_json)?)?;
    let integrity = STANDARD.encode(artifact.sha512);
    let message = format!("{}@{}:sha512-{integrity}", artifact.name, artifact.version);
    let (mut held, mut unjudged) = (None, None);
    for signature in signatures {
        match verify_one(signature, &message, &keys, published, context.now) {
            Ok(key) => held = held.or(Some((&signature.key_id, key))),
            Err(e @ EvidenceError::TrustMaterial { .. }) => unjudged = Some(e),
            Err(e) => return Err(e),
        }
    }
    match (held, unjudged) {
        (Some((key_id, key)), _) => Ok(Some(Claim {
            kind: SIGNATURE.to_owned(),
            signer: key_id.clone(),
            proof: ProofClass::KeyOnly,
            algorithms: vec![
                AlgorithmUse::new("sha512", "attested digest"),
                AlgorithmUse::new("sha256", "registry signature"),
                key,
            ],
            ..Claim::default()
        })),
        (None, Some(e)) => Err(e),
        (None, None) => Ok(None),
    }
}

fn verify_one(
    signature: &RegistrySignature,
    message: &str,
    keys: &[TrustedKey],
    published: Option<Timestamp>,
    now: Timestamp,
) -> Result<AlgorithmUse, EvidenceError> {
    let shown_id = shown(&signature.key_id);
    let key = keys.iter().find(|k| k.id == signature.key_id).ok_or_else(|| {
        EvidenceError::material(WHAT, format!("key `{shown_id}` is unknown; refresh the keys"))
    })?;
    let bytes = STANDARD
        .decode(&signature.signature)
        .map_err(|e| EvidenceError::malformed(WHAT, e.to_string()))?;
    let spki = DerPublicKey::new(key.spki.clone());
    if KeyAlgorithm::from_spki(&spki).ok() != Some(KeyAlgorithm::EcdsaP256) {
        return Err(EvidenceError::material(WHAT, format!("key `{shown_id}` is not on P-256")));
    }
    let (bytes, scheme) = (SignatureBytes::new(bytes), SigningScheme::EcdsaP256Sha256);
    verify_signature(&spki, message.as_bytes(), &bytes, scheme)
        .map_err(|e| EvidenceError::fault(Fault::Signature, format!("{WHAT}: {e}")))?;
    check_window(key, published, now)?;
    Ok(AlgorithmUse::new("ecdsa-p256", "registry key"))
}

/// The signature is as old as the publication or younger. So the key must not have ended before it,
/// and must have started by now.
fn check_window(
    key: &TrustedKey,
    published: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), EvidenceError> {
    let ended = |at: Timestamp| key.not_after.is_some_and(|end| end <= at);
    if key.not_before.is_some_and(|start| start > now) {
        return Err(EvidenceError::KeyWindow { key_id: shown(&key.id), at: now });
    }
    match published {
        Some(at) if ended(at) => Err(EvidenceError::KeyWindow { key_id: shown(&key.id), at }),
        None if ended(now) => {
            let because = "its key has ended, and nobody says when the version was published";
            Err(EvidenceError::material(WHAT, because))
        }
        _ => Ok(()),
    }
}
