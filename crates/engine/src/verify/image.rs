//! Signatures of container images, offline: by the digest of the image's manifest.

use super::{Verification, result};
use countersign_core::{Evidence, EvidenceState, Sha256Digest, Timestamp};
use countersign_evidence::cosign;
use countersign_evidence::sigstore::{Signatory, TrustRoots};

/// What is known about the signature of an image.
#[derive(Debug, Clone, Copy)]
pub struct ImageSignature<'a> {
    /// A Sigstore bundle, or cosign's own envelope.
    pub bundle: &'a [u8],
    /// The simple signing payload, where one was signed.
    pub payload: Option<&'a [u8]>,
    /// The bundle's name, for reports.
    pub source: &'a str,
}

/// The digest of an image's manifest, as a user names it: `sha256:…`, `pkg:oci/name@sha256:…` (also
/// with `%3A`), or any reference that ends in `@sha256:…`.
///
/// # Errors
/// When there is no such digest in it.
pub fn image_digest(text: &str) -> Result<Sha256Digest, String> {
    let base = text.split(['?', '#']).next().unwrap_or_default();
    let digest = base.rsplit_once('@').map_or(base, |(_, digest)| digest);
    let digest = digest.replacen("%3A", ":", 1).replacen("%3a", ":", 1);
    let hex = digest.strip_prefix("sha256:").ok_or_else(|| {
        format!("`{text}` names no image's digest; write sha256:… or pkg:oci/name@sha256:…")
    })?;
    hex.parse().map_err(|e| format!("`{text}` names no image's digest: {e}"))
}

/// Verifies that `who` signed the image. Without anybody named, nothing is verified: that somebody
/// signed says nothing.
#[must_use]
pub fn verify_image(
    subject: &str,
    image: &Sha256Digest,
    signature: &ImageSignature<'_>,
    who: Option<&Signatory<'_>>,
    roots: &TrustRoots,
    now: Timestamp,
) -> Verification {
    let state = match who {
        None => EvidenceState::Unreachable {
            because: "nobody is named who must have signed; give --certificate-identity with \
                      --certificate-oidc-issuer, or --key"
                .to_owned(),
        },
        Some(who) => {
            let ImageSignature { bundle, payload, .. } = *signature;
            match cosign::verify_image(bundle, payload, image, who, roots, now) {
                Ok(signed) => EvidenceState::Verified { claim: Box::new(cosign::claim(&signed)) },
                Err(e) => e.into_state(),
            }
        }
    };
    let source = signature.source.to_owned();
    let evidence = vec![Evidence { kind: cosign::KIND.to_owned(), source, state }];
    let result = result(&evidence);
    Verification {
        purl: None,
        file: subject.to_owned(),
        sha256: *image,
        result,
        evidence,
        unverified_claims: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_digest() {
        let hex = "07".repeat(32);
        for good in [
            format!("sha256:{hex}"),
            format!("pkg:oci/app@sha256:{hex}?repository_url=registry.example/team/app"),
            format!("pkg:oci/app@sha256%3A{hex}"),
            format!("registry.example:5000/team/app:1.0@sha256:{hex}"),
        ] {
            assert_eq!(image_digest(&good), Ok(Sha256Digest([7; 32])), "{good}");
        }
        for bad in ["", "app.tar", "pkg:oci/app@1.0", "sha256:07", "registry.example/app:latest"] {
            assert!(image_digest(bad).is_err(), "{bad}");
        }
        assert!(image_digest(&format!("sha512:{hex}")).is_err());
    }
}
