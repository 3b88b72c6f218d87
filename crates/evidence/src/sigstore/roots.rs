//! Sigstore's trust roots, and the keys of those who sign without a certificate.

use super::ROOT;
use super::entries::Log;
use crate::error::EvidenceError;
use crate::json;
use crate::trust::{Restrictions, RootPart, TrustId, end_revoked, root_parts};
use countersign_core::{Sha256Digest, Timestamp};
use sigstore_trust_root::{
    SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT, TrustedRoot,
};
use sigstore_verify::Verifier;
use std::collections::BTreeSet;
use std::fmt;

/// Sigstore's trust roots: certificate authorities, logs and time stamp authorities; and what they,
/// and the keys beside them, are narrowed by.
///
/// A trust root never expires by itself: whoever loads one says how old it may become.
pub struct TrustRoots {
    pub(super) verifier: Verifier,
    pub(super) logs: Vec<Log>,
    digest: Sha256Digest,
    document: Sha256Digest,
    parts: Vec<RootPart>,
    restrictions: Restrictions,
    freshness: Option<Freshness>,
}

/// As of when roots were known to be the present ones, and how long that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// When they were last confirmed.
    pub as_of: Timestamp,
    /// Seconds after which nothing is verified by them any more.
    pub max_age: i64,
}

/// The day on which the embedded roots were put into the library that brings them (its changelog,
/// version 0.15.1), and the digest of the document of which that is true.
const EMBEDDED: (&str, &str) =
    ("2026-10-23", "6494e21ea73fa7ee769f85f57d5a3e6a08725eae1e38c755fc3517c9e6bc0b66");

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

    /// The document of the embedded roots, and the day that they are of.
    #[must_use]
    pub fn embedded_document() -> (&'static [u8], Option<Timestamp>) {
        (SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes(), Timestamp::parse(EMBEDDED.0))
    }

    /// The roots of Sigstore's staging instance, where nothing is meant to be trusted, as they were
    /// when this program was built.
    ///
    /// # Errors
    /// When the embedded roots cannot be read, which a test rules out.
    pub fn staging() -> Result<Self, EvidenceError> {
        Self::from_trusted_root_json(SIGSTORE_STAGING_TRUSTED_ROOT.as_bytes())
    }

    /// Roots from a `trusted_root.json` (Sigstore protobuf-specs, `TrustedRoot` v0.1).
    ///
    /// # Errors
    /// When it is not one, or has no certificate authority, certificate log or signature log.
    pub fn from_trusted_root_json(json: &[u8]) -> Result<Self, EvidenceError> {
        Self::restricted(json, Restrictions::default(), None)
    }

    /// Roots from a `trusted_root.json`, narrowed by `restrictions`, that verify nothing once they
    /// are older than `freshness` says.
    ///
    /// # Errors
    /// As [`TrustRoots::from_trusted_root_json`], and when another document is pinned.
    pub fn restricted(
        json: &[u8],
        restrictions: Restrictions,
        freshness: Option<Freshness>,
    ) -> Result<Self, EvidenceError> {
        let bad = |e: &dyn fmt::Display| EvidenceError::material(ROOT, e.to_string());
        let document = Sha256Digest::of(json);
        if let Some(Some(pinned)) = restrictions.pins.get(&TrustId::sigstore())
            && *pinned != document
        {
            return Err(bad(&format_args!(
                "it has sha256:{}…, and sha256:{}… is pinned; `countersign trust pin sigstore` pins \
                 another one, and with `--remove` none",
                document.short(),
                pinned.short()
            )));
        }
        let mut value = json::parse(ROOT, json).map_err(|e| bad(&e))?;
        end_revoked(&mut value, &restrictions);
        let parts = root_parts(&value);
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
        let logs = logs(&root);
        let hints: BTreeSet<_> = logs.iter().map(|l| l.id.get(..4)).collect();
        if hints.len() != logs.len() {
            return Err(bad(&"two of its logs cannot be told apart by the hint of their keys"));
        }
        let digest = match restrictions.is_empty() {
            true => document,
            false => {
                let text = format!("{document}\n{}", restrictions.canonical());
                Sha256Digest::of(text.as_bytes())
            }
        };
        Ok(Self { verifier, logs, digest, document, parts, restrictions, freshness })
    }

    /// A digest of the document that they were read from and of what narrows them: what judges
    /// otherwise has another.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// The digest of the document that they were read from.
    #[must_use]
    pub fn document_digest(&self) -> Sha256Digest {
        self.document
    }

    /// The authorities and logs.
    #[must_use]
    pub fn parts(&self) -> &[RootPart] {
        &self.parts
    }

    /// What narrows them and the keys beside them.
    #[must_use]
    pub fn restrictions(&self) -> &Restrictions {
        &self.restrictions
    }

    /// As of when they are, and how old they may become.
    #[must_use]
    pub fn freshness(&self) -> Option<Freshness> {
        self.freshness
    }

    /// Checks that they are not too old to say anything.
    ///
    /// # Errors
    /// When they are: then nothing is verified, and nothing is held against the evidence.
    pub fn check_age(&self, now: Timestamp) -> Result<(), EvidenceError> {
        let Some(Freshness { as_of, max_age }) = self.freshness else { return Ok(()) };
        let age = now.0.saturating_sub(as_of.0);
        if age <= max_age {
            return Ok(());
        }
        let because = format!(
            "it is of {}, {} days old, and may be {}; refresh it with `countersign trust update`",
            as_of.date(),
            age / DAY,
            max_age / DAY
        );
        Err(EvidenceError::material(ROOT, because))
    }
}

const DAY: i64 = 86_400;

fn logs(root: &TrustedRoot) -> Vec<Log> {
    let log = |l: &sigstore_trust_root::TransparencyLog| Log {
        id: l.log_id.key_id.as_bytes().to_vec(),
        address: crate::error::shown(&l.base_url),
        window: l.public_key.valid_for,
    };
    root.tlogs.iter().map(log).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_embedded_roots_can_be_read() {
        TrustRoots::embedded().unwrap();
        TrustRoots::staging().unwrap();
    }

    /// With another version of the library: take the day of its release from its changelog.
    #[test]
    fn the_day_of_the_embedded_roots_is_that_of_this_very_document() {
        let (document, day) = TrustRoots::embedded_document();
        assert_eq!(Sha256Digest::of(document).to_hex(), EMBEDDED.1);
        assert!(day.is_some());
    }

    #[test]
    fn roots_that_are_too_old_verify_nothing() {
        let freshness = Freshness { as_of: Timestamp(0), max_age: 10 * DAY };
        let json = SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes();
        let roots = TrustRoots::restricted(json, Restrictions::default(), Some(freshness)).unwrap();
        roots.check_age(Timestamp(10 * DAY)).unwrap();
        let e = roots.check_age(Timestamp(11 * DAY)).unwrap_err();
        assert!(e.to_string().contains("it is of 1970-01-01, 11 days old, and may be 10"), "{e}");
        let state = e.into_state();
        assert!(matches!(state, countersign_core::EvidenceState::Unreachable { .. }));
        // Whoever loads roots of their own answers for their age.
        TrustRoots::from_trusted_root_json(json).unwrap().check_age(Timestamp(i64::MAX)).unwrap();
    }

    #[test]
    fn a_pinned_root_lets_no_other_in() {
        let json = SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes();
        let pinned = |digest| Restrictions {
            pins: [(TrustId::sigstore(), Some(digest))].into(),
            ..Restrictions::default()
        };
        TrustRoots::restricted(json, pinned(Sha256Digest::of(json)), None).unwrap();
        let e = TrustRoots::restricted(json, pinned(Sha256Digest::of(b"")), None).unwrap_err();
        assert!(e.to_string().contains("is pinned"), "{e}");
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
