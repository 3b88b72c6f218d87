//! `countersign verify-bundle`: one Sigstore bundle against one file, offline, with the arguments of
//! the client protocol of sigstore-conformance.

use crate::context::now;
use crate::print;
use countersign_core::Sha256Digest;
use countersign_engine::evidence_kinds::sigstore::{
    Artifact, Signatory, Signed, Signer, TrustRoots, verify_artifact,
};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes of a bundle or of a trust root that are read.
const MAX_DOCUMENT: u64 = 4 << 20;
/// Bytes of a file that is read whole; of a larger one only the digest is taken, which is enough
/// for all keys but Ed25519.
const MAX_WHOLE: u64 = 256 << 20;

/// `verify-bundle`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes:\n  0  the bundle holds, is about the artifact, and the right one signed\n  1  it does not, or could not be checked\n\nExamples:\n  countersign verify-bundle --bundle a.sigstore.json --certificate-identity a@mail.example \\\n      --certificate-oidc-issuer https://idp.example a.tar.gz\n  countersign verify-bundle --bundle a.sigstore.json --key key.pub sha256:<64 hexadecimal digits>"
)]
pub struct VerifyBundleArgs {
    /// Verify against Sigstore's staging instance
    #[arg(long)]
    staging: bool,
    /// The bundle (v0.1, v0.2 or v0.3)
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// Who must have signed: the certificate's subject alternative name
    #[arg(long, value_name = "IDENTITY", requires = "certificate_oidc_issuer")]
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    certificate_identity: Option<String>,
    /// The identity provider that must have vouched for the signer
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// The public key that must have signed, in PEM
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Trust roots of your own (a trusted_root.json) [default: Sigstore's, as of the build]
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<PathBuf>,
    /// The file that was signed, or sha256:<hex>
    #[arg(value_name = "FILE_OR_DIGEST")]
    artifact: String,
}

/// Verifies; the exit code.
pub fn verify_bundle(args: &VerifyBundleArgs) -> u8 {
    match verify(args) {
        Ok(signed) => {
            for line in describe(&signed) {
                print::line(&line);
            }
            0
        }
        Err(because) => {
            print::error_line(&format!("countersign: `{}`: {because}", args.bundle.display()));
            1
        }
    }
}

fn verify(args: &VerifyBundleArgs) -> Result<Signed, String> {
    let roots = match (&args.trusted_root, args.staging) {
        (Some(file), _) => TrustRoots::from_trusted_root_json(&read(file, MAX_DOCUMENT)?),
        (None, true) => TrustRoots::staging(),
        (None, false) => TrustRoots::embedded(),
    }
    .map_err(|e| e.to_string())?;
    let bundle = read(&args.bundle, MAX_DOCUMENT)?;
    let pem = match &args.key {
        Some(file) => Some(
            String::from_utf8(read(file, MAX_DOCUMENT)?)
                .map_err(|_| format!("`{}` is no key in PEM", file.display()))?,
        ),
        None => None,
    };
    let who = match (&pem, &args.certificate_identity, &args.certificate_oidc_issuer) {
        (Some(pem), _, _) => Signatory::Key { pem },
        (None, Some(subject), Some(issuer)) => Signatory::Identity { subject, issuer },
        _ => return Err("name who must have signed".to_owned()),
    };
    let bytes;
    let artifact = match Asked::of(&args.artifact)? {
        Asked::Digest(digest) => Artifact::Digest(digest),
        Asked::Bytes(read) => {
            bytes = read;
            Artifact::Bytes(&bytes)
        }
    };
    verify_artifact(&bundle, &artifact, &who, &roots, now())
        .map(countersign_engine::evidence_kinds::Verified::into_inner)
        .map_err(|e| format!("{e} [{}]", e.code()))
}

/// The artifact as the command line gives it.
enum Asked {
    Digest(Sha256Digest),
    Bytes(Vec<u8>),
}

impl Asked {
    fn of(text: &str) -> Result<Self, String> {
        if let Some(hex) = text.strip_prefix("sha256:") {
            let digest = hex.parse().map_err(|e| format!("`{text}` is no digest: {e}"))?;
            return Ok(Self::Digest(digest));
        }
        let path = Path::new(text);
        let cannot = |e: std::io::Error| format!("`{text}` cannot be read: {e}");
        let size = std::fs::metadata(path).map_err(cannot)?.len();
        if size <= MAX_WHOLE {
            return std::fs::read(path).map(Self::Bytes).map_err(cannot);
        }
        use sha2::Digest as _;
        let mut hasher = sha2::Sha256::new();
        let mut file = std::fs::File::open(path).map_err(cannot)?;
        std::io::copy(&mut file, &mut hasher).map_err(cannot)?;
        Ok(Self::Digest(Sha256Digest(hasher.finalize().into())))
    }
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let cannot = |e: std::io::Error| format!("`{}` cannot be read: {e}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > limit {
        return Err(format!("`{}` is beyond the limit of {limit} bytes", path.display()));
    }
    Ok(bytes)
}

fn describe(signed: &Signed) -> Vec<String> {
    let mut out = vec!["the bundle holds".to_owned()];
    match &signed.signer {
        Signer::Key { id } => out.push(format!("  signed by the key {id}")),
        Signer::Certificate(id) => {
            out.push(format!("  signed by {}", id.subject));
            out.extend(id.issuer.as_ref().map(|i| format!("  vouched for by {i}")));
            out.extend(id.source_repository_uri.as_ref().map(|r| format!("  repository {r}")));
            out.extend(id.source_repository_digest.as_ref().map(|c| format!("  commit {c}")));
        }
    }
    out.push(match signed.signed_at {
        Some(at) => format!("  at {at}"),
        None => "  at a time that nobody vouches for".to_owned(),
    });
    out.extend(signed.log.as_ref().map(|l| format!("  published in {l}")));
    out.extend(signed.predicate_type.as_ref().map(|t| format!("  an attestation of type {t}")));
    out
}
