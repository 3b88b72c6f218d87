//! Sigstore's trust roots, and the keys of those who sign without a certificate.

use super::ROOT;
use super::entries::Log;
use crate::error::EvidenceError;
use crate::json;
use countersign_core::{Sha256Digest, Timestamp};
use sigstore_trust_root::{
    SIGSTORE_PRODUCTION_TRUSTED_ROOT, SIGSTORE_STAGING_TRUSTED_ROOT, TrustedRoot,
};
use sigstore_verify::Verifier;
use std::collections::BTreeSet;
use std::fmt;

/// Sigstore's trust roots: certificate authorities, logs and time stamp authorities.
///
/// A trust root never expires by itself: whoever loads one answers for its age.
pub struct TrustRoots {
    pub(super) verifier: Verifier,
    pub(super) logs: Vec<Log>,
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
        let logs = logs(&root);
        let hints: BTreeSet<_> = logs.iter().map(|l| l.id.get(..4)).collect();
        if hints.len() != logs.len() {
            return Err(bad(&"two of its logs cannot be told apart by the hint of their keys"));
        }
        Ok(Self { verifier, logs, digest: Sha256Digest::of(json) })
    }

    /// The digest of the document that they were read from: other roots have another.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }
}

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
