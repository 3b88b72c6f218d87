//! What trust roots are narrowed by: keys and roots that are pinned by digest, and those that are
//! revoked from a time on.
//!
//! A revocation is judged at the time of signing: what a log or a time stamp proves to be signed
//! before stays valid. Where nothing proves the time, the signer's own word does not count, and
//! neither does the signature.

use crate::error::{EvidenceError, shown};
use crate::sigstore::TrustedKey;
use countersign_core::{Claim, Evidence, EvidenceState, ProofClass, Sha256Digest, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// What kind of thing is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustKind {
    /// Sigstore's root as a whole, or one of its authorities and logs.
    Sigstore,
    /// A key that an npm registry signs with.
    Npm,
    /// A certificate of a Debian archive.
    Debian,
    /// A key of an organisation's own.
    Organisation,
}

impl TrustKind {
    const ALL: [Self; 4] = [Self::Sigstore, Self::Npm, Self::Debian, Self::Organisation];

    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sigstore => "sigstore",
            Self::Npm => "npm",
            Self::Debian => "debian",
            Self::Organisation => "organisation",
        }
    }
}

/// The name of something that is trusted: `sigstore`, `sigstore/<sha256 of a certificate or key>`,
/// `npm/<key id>`, `debian/<fingerprint>`, `organisation/<key id>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustId {
    /// The kind.
    pub kind: TrustKind,
    /// Which of the kind; empty for Sigstore's root as a whole.
    pub id: String,
}

impl TrustId {
    /// Something of a kind.
    #[must_use]
    pub fn new(kind: TrustKind, id: &str) -> Self {
        let id = match kind {
            TrustKind::Debian => id.to_ascii_uppercase(),
            _ => id.to_owned(),
        };
        Self { kind, id }
    }

    /// Sigstore's root as a whole.
    #[must_use]
    pub fn sigstore() -> Self {
        Self::new(TrustKind::Sigstore, "")
    }
}

impl fmt::Display for TrustId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if self.id.is_empty() { Ok(()) } else { write!(f, "/{}", self.id) }
    }
}

/// A text that names nothing that can be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` names no root and no key; write `sigstore`, `sigstore/<sha256>`, `npm/<key id>`, \
     `debian/<fingerprint>` or `organisation/<key id>`, as `countersign trust list` shows them"
)]
pub struct TrustIdError {
    /// The text.
    pub text: String,
}

/// Characters of a key id; npm's have 50.
const MAX_ID: usize = 200;

impl FromStr for TrustId {
    type Err = TrustIdError;

    fn from_str(text: &str) -> Result<Self, TrustIdError> {
        let error = || TrustIdError { text: shown(text) };
        let (kind, id) = text.split_once('/').unwrap_or((text, ""));
        let kind = TrustKind::ALL.into_iter().find(|k| k.name() == kind).ok_or_else(error)?;
        let hexadecimal =
            |len: &[usize]| len.contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
        let good = match kind {
            TrustKind::Sigstore => !text.contains('/') || hexadecimal(&[64]),
            // Shorter key ids can be made to collide.
            TrustKind::Debian => hexadecimal(&[40, 64]),
            TrustKind::Npm | TrustKind::Organisation => {
                (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
            }
        };
        let id = if kind == TrustKind::Sigstore { id.to_ascii_lowercase() } else { id.to_owned() };
        if good { Ok(Self::new(kind, &id)) } else { Err(error()) }
    }
}

impl Serialize for TrustId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TrustId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Pins and revocations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// What is pinned, and to which digest: of the document for Sigstore's root, of the public key
    /// (`SubjectPublicKeyInfo`) for a registry's key. A certificate's fingerprint is its digest.
    pub pins: BTreeMap<TrustId, Option<Sha256Digest>>,
    /// What is revoked, and from when on.
    pub revoked: BTreeMap<TrustId, Timestamp>,
}

impl Restrictions {
    /// Whether nothing is pinned or revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty() && self.revoked.is_empty()
    }

    /// A text that differs whenever the restrictions do.
    pub(crate) fn canonical(&self) -> String {
        let pins = self.pins.iter().map(|(id, digest)| {
            format!("pin {id} {}\n", digest.map(Sha256Digest::to_hex).unwrap_or_default())
        });
        let revoked = self.revoked.iter().map(|(id, since)| format!("revoked {id} {}\n", since.0));
        pins.chain(revoked).collect()
    }

    fn pinned(&self, kind: TrustKind) -> impl Iterator<Item = (&TrustId, Option<Sha256Digest>)> {
        self.pins.iter().filter(move |(id, _)| id.kind == kind).map(|(id, d)| (id, *d))
    }

    /// Those of a registry's keys that the pins let through; all of them where none is pinned.
    pub(crate) fn pinned_keys(
        &self,
        keys: Vec<TrustedKey>,
    ) -> Result<Vec<TrustedKey>, EvidenceError> {
        let pins: Vec<_> = self.pinned(TrustKind::Npm).collect();
        if pins.is_empty() {
            return Ok(keys);
        }
        let is_pinned = |key: &TrustedKey| {
            let digest = Sha256Digest::of(&key.spki);
            pins.iter().any(|(id, pinned)| id.id == key.id && pinned.is_none_or(|p| p == digest))
        };
        let kept: Vec<TrustedKey> = keys.into_iter().filter(is_pinned).collect();
        if kept.is_empty() {
            let because =
                "none of them is one of those that are pinned; see `countersign trust list`";
            return Err(EvidenceError::material("npm registry keys", because));
        }
        Ok(kept)
    }

    /// Judges evidence that verified: by a key that was revoked before it was signed, or by none of
    /// those that are pinned, it does not hold.
    pub fn apply(&self, evidence: &mut Evidence, now: Timestamp) {
        let EvidenceState::Verified { claim } = &evidence.state else { return };
        let Some(kind) = kind_of(&evidence.kind) else { return };
        if let Some(because) = self.stands_against(kind, claim, now) {
            evidence.state = EvidenceState::Invalid { because, algorithms: Vec::new() };
        }
    }

    fn stands_against(&self, kind: TrustKind, claim: &Claim, now: Timestamp) -> Option<String> {
        let signers: BTreeSet<&str> = std::iter::once(&claim.signer)
            .chain(&claim.also_signed_by)
            .map(String::as_str)
            .collect();
        // One signature that holds is enough, so each signer must have something against it.
        let against: Vec<Option<String>> =
            signers.iter().map(|signer| self.against(kind, signer, claim, now)).collect();
        let all = against.iter().all(Option::is_some);
        against.into_iter().flatten().next().filter(|_| all)
    }

    fn against(
        &self,
        kind: TrustKind,
        signer: &str,
        claim: &Claim,
        now: Timestamp,
    ) -> Option<String> {
        let id = TrustId::new(kind, signer);
        let mut pins = self.pinned(kind).peekable();
        if pins.peek().is_some() && !pins.any(|(pinned, _)| *pinned == id) {
            return Some(format!("key `{}` is not one of those that are pinned", shown(signer)));
        }
        let since = *self.revoked.get(&id)?;
        let proven = claim.signed_at.filter(|_| claim.proof != ProofClass::KeyOnly);
        let because = match proven {
            Some(at) if at < since => return None,
            Some(at) => format!("it signed at {at}"),
            None if since > now => return None,
            None => "nothing proves that it signed before".to_owned(),
        };
        Some(format!("key `{}` is revoked since {since}, and {because}", shown(signer)))
    }
}

/// Whose keys sign evidence of a kind. Fulcio's certificates are judged by the roots themselves.
fn kind_of(evidence: &str) -> Option<TrustKind> {
    match evidence {
        crate::npm::PUBLISH | crate::npm::SIGNATURE => Some(TrustKind::Npm),
        "debian-release" => Some(TrustKind::Debian),
        _ => None,
    }
}

/// One authority, log or time stamp service of Sigstore's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPart {
    /// What it is: `certificate authority`, `signature log`, `certificate log`, `time stamp authority`.
    pub what: &'static str,
    /// Its address.
    pub address: String,
    /// SHA-256 of its first certificate or its public key.
    pub digest: Sha256Digest,
    /// From when it is trusted.
    pub from: Option<Timestamp>,
    /// Until when.
    pub until: Option<Timestamp>,
}

/// Lists of a `trusted_root.json`: their name, what they hold, where its key and its window stand.
const PARTS: [(&str, &str, &str, &str); 4] = [
    (
        "certificateAuthorities",
        "certificate authority",
        "/certChain/certificates/0/rawBytes",
        "/validFor",
    ),
    ("tlogs", "signature log", "/publicKey/rawBytes", "/publicKey/validFor"),
    ("ctlogs", "certificate log", "/publicKey/rawBytes", "/publicKey/validFor"),
    (
        "timestampAuthorities",
        "time stamp authority",
        "/certChain/certificates/0/rawBytes",
        "/validFor",
    ),
];

/// The parts of a `trusted_root.json`.
pub(crate) fn root_parts(root: &Value) -> Vec<RootPart> {
    let mut out = Vec::new();
    for (list, what, key, window) in PARTS {
        for part in root.get(list).and_then(Value::as_array).into_iter().flatten() {
            let Some(digest) = digest_at(part, key) else { continue };
            let time = |end: &str| {
                let text = part.pointer(&format!("{window}/{end}")).and_then(Value::as_str);
                text.and_then(Timestamp::parse)
            };
            let address = part.get("uri").or_else(|| part.get("baseUrl")).and_then(Value::as_str);
            let address = shown(address.unwrap_or_default());
            out.push(RootPart { what, address, digest, from: time("start"), until: time("end") });
        }
    }
    out
}

fn digest_at(part: &Value, key: &str) -> Option<Sha256Digest> {
    use base64::Engine as _;
    let text = part.pointer(key)?.as_str()?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    Some(Sha256Digest::of(&bytes))
}

/// Ends the windows of revoked parts at the time of their revocation, which is then judged at the
/// time of signing like every other end.
pub(crate) fn end_revoked(root: &mut Value, restrictions: &Restrictions) {
    let whole = restrictions.revoked.get(&TrustId::sigstore()).copied();
    for (list, _, key, window) in PARTS {
        for part in root.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let id = digest_at(part, key).map(|d| TrustId::new(TrustKind::Sigstore, &d.to_hex()));
            let own = id.and_then(|id| restrictions.revoked.get(&id)).copied();
            let Some(since) = own.into_iter().chain(whole).min() else { continue };
            let holder = window.rsplit_once('/').map_or("", |(holder, _)| holder);
            let Some(Value::Object(holder)) = part.pointer_mut(holder) else { continue };
            let window = holder.entry("validFor").or_insert_with(|| serde_json::json!({}));
            let Value::Object(window) = window else { continue };
            let end = window.get("end").and_then(Value::as_str).and_then(Timestamp::parse);
            if end.is_none_or(|end| since < end) {
                window.insert("end".to_owned(), Value::String(since.to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests;
