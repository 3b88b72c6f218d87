//! What is trusted, as a list: each source of keys makes [`TrustItem`]s, and pins and revocations
//! are marked on them all alike.

use countersign_core::{Sha256Digest, Timestamp};
use countersign_evidence::sigstore::TrustRoots;
use countersign_evidence::trust::{Restrictions, TrustId, TrustKind};
use countersign_evidence::{EvidenceError, npm, openpgp};
use serde::Serialize;

/// A root or a key that is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustItem {
    /// Its name, as `trust pin` and `trust revoke` take it.
    pub id: TrustId,
    /// What it is, in words.
    pub what: String,
    /// SHA-256 of the document or the public key, where the name is no digest itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    /// From when on it is trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Where it comes from.
    pub source: String,
    /// Whether it is pinned.
    pub pinned: bool,
    /// From when on it is revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

impl TrustItem {
    /// Something that is trusted and not narrowed.
    #[must_use]
    pub fn new(id: TrustId, what: impl Into<String>, source: &str) -> Self {
        Self {
            id,
            what: what.into(),
            sha256: None,
            from: None,
            until: None,
            source: source.to_owned(),
            pinned: false,
            revoked: None,
        }
    }
}

/// Marks what is pinned and revoked. What is revoked or pinned and in no source any more is listed
/// too: it still counts.
pub fn mark(items: &mut Vec<TrustItem>, restrictions: &Restrictions) {
    let named = restrictions.pins.keys().chain(restrictions.revoked.keys());
    for id in named {
        if !items.iter().any(|i| i.id == *id) {
            items.push(TrustItem::new(id.clone(), "in no source at present", "the ledger"));
        }
    }
    let whole = restrictions.revoked.get(&TrustId::sigstore()).copied();
    for item in items.iter_mut() {
        item.pinned = match restrictions.pins.get(&item.id) {
            Some(Some(digest)) => item.sha256.is_none_or(|d| d == *digest),
            Some(None) => true,
            None => false,
        };
        let own = restrictions.revoked.get(&item.id).copied();
        let whole = whole.filter(|_| item.id.kind == TrustKind::Sigstore);
        item.revoked = own.into_iter().chain(whole).min();
    }
    items.sort_by(|a, b| (a.id.kind, &a.source, &a.id).cmp(&(b.id.kind, &b.source, &b.id)));
}

/// Sigstore's root and its authorities and logs.
#[must_use]
pub fn of_sigstore(roots: &TrustRoots, source: &str) -> Vec<TrustItem> {
    let mut whole = TrustItem::new(TrustId::sigstore(), "root", source);
    whole.sha256 = Some(roots.document_digest());
    whole.from = roots.freshness().map(|f| f.as_of);
    whole.until = roots.freshness().map(|f| f.as_of.plus_seconds(f.max_age));
    let parts = roots.parts().iter().map(|p| {
        let id = TrustId::new(TrustKind::Sigstore, &p.digest.to_hex());
        let mut item = TrustItem::new(id, format!("{} {}", p.what, p.address), source);
        (item.from, item.until) = (p.from, p.until);
        item
    });
    std::iter::once(whole).chain(parts).collect()
}

/// The keys of an npm registry's key document.
///
/// # Errors
/// When it cannot be read.
pub fn of_npm_keys(document: &[u8], source: &str) -> Result<Vec<TrustItem>, EvidenceError> {
    let keys = npm::list_keys(document)?;
    let item = |(usage, key): (String, countersign_evidence::sigstore::TrustedKey)| {
        let what =
            if usage.is_empty() { "registry key".to_owned() } else { format!("key for {usage}") };
        let mut item = TrustItem::new(TrustId::new(TrustKind::Npm, &key.id), what, source);
        item.sha256 = Some(Sha256Digest::of(&key.spki));
        (item.from, item.until) = (key.not_before, key.not_after);
        item
    };
    Ok(keys.into_iter().map(item).collect())
}

/// The certificates of a keyring.
///
/// # Errors
/// When it cannot be read.
pub fn of_keyring(
    keyring: &[u8],
    source: &str,
    now: Timestamp,
) -> Result<Vec<TrustItem>, EvidenceError> {
    let certificates = openpgp::list_certificates(keyring, now)?;
    let item = |c: openpgp::Certificate| {
        let id = TrustId::new(TrustKind::Debian, &c.fingerprint);
        let mut item = TrustItem::new(id, format!("{} {}", c.algorithm.label(), c.user), source);
        (item.from, item.until) = (Some(c.created), c.expires);
        item
    };
    Ok(certificates.into_iter().map(item).collect())
}
