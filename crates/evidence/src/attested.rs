//! A Sigstore attestation about an artifact of any ecosystem, as an evidence source keeps it beside
//! the artifact's digest: for a crate, say, whose registry has no place for one.

use crate::error::EvidenceError;
use crate::statement::{Expected, SubjectName};
use crate::{Context, provenance, sigstore};
use countersign_core::{Evidence, EvidenceState, Sha256Digest};

/// [`Evidence::kind`] of such an attestation.
pub const KIND: &str = "sigstore";

/// Verifies a bundle that holds an attestation about the artifact with one of `names`: its purl, or
/// its file's name.
#[must_use]
pub fn verify_attestation(
    bundle: &[u8],
    names: &[&str],
    sha256: &Sha256Digest,
    sha512: Option<&[u8; 64]>,
    context: &Context<'_>,
) -> Evidence {
    let expected = Expected { name: SubjectName::OneOf(names), sha256: Some(&sha256.0), sha512 };
    let claim = sigstore::verify_bundle(bundle, &expected, context.roots, context.now)
        .and_then(|a| provenance::claim(&a));
    let state = claim.map_or_else(EvidenceError::into_state, |claim| EvidenceState::Verified {
        claim: Box::new(claim),
    });
    Evidence { kind: KIND.to_owned(), source: context.source.to_owned(), state }
}
