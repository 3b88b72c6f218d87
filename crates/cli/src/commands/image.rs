//! `countersign verify --bundle`: the signature of a container image, by its manifest's digest.

use super::trust_args::read;
use crate::context::{Failed, now};
use countersign_engine::evidence_kinds::sigstore::{Signatory, TrustRoots};
use countersign_engine::verify::{ImageSignature, Verification, image_digest, verify_image};
use std::path::PathBuf;

/// An image's signature, and who must have made it.
#[derive(clap::Args)]
pub struct ImageArgs {
    /// An image's signature: a Sigstore bundle, or cosign's own envelope. The subject is a digest
    #[arg(long, value_name = "FILE", requires = "subject", conflicts_with = "receipts")]
    bundle: Option<PathBuf>,
    /// The simple signing payload that was signed in place of the image's manifest
    #[arg(long, value_name = "FILE", requires = "bundle")]
    payload: Option<PathBuf>,
    /// Who must have signed the image: the certificate's subject alternative name
    #[arg(long, value_name = "IDENTITY", requires_all = ["certificate_oidc_issuer", "bundle"])]
    #[arg(conflicts_with = "key")]
    certificate_identity: Option<String>,
    /// The identity provider that must have vouched for the signer
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
}

impl ImageArgs {
    /// Verifies the image, when a bundle is named. One of `keys` may say who must have signed it.
    pub fn verify(
        &self,
        subject: &str,
        keys: &[PathBuf],
        roots: &TrustRoots,
    ) -> Result<Option<Verification>, Failed> {
        let Some(file) = &self.bundle else { return Ok(None) };
        if keys.len() > 1 {
            return Err(Failed::usage("an image is signed by one key; name one `--key`"));
        }
        let image = image_digest(subject).map_err(|because| {
            Failed::usage(format!("{because}; for a file use `countersign verify-bundle`"))
        })?;
        let bundle = read(file)?;
        let payload = self.payload.as_deref().map(read).transpose()?;
        let pem = match keys.first() {
            Some(file) => Some(
                String::from_utf8(read(file)?)
                    .map_err(|_| Failed::usage(format!("`{}` is no key in PEM", file.display())))?,
            ),
            None => None,
        };
        let who = match (&pem, &self.certificate_identity, &self.certificate_oidc_issuer) {
            (Some(pem), ..) => Some(Signatory::Key { pem }),
            (None, Some(subject), Some(issuer)) => Some(Signatory::Identity { subject, issuer }),
            _ => None,
        };
        let source = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let payload = payload.as_deref();
        let signature = ImageSignature { bundle: &bundle, payload, source: &source };
        Ok(Some(verify_image(subject, &image, &signature, who.as_ref(), roots, now())))
    }
}
