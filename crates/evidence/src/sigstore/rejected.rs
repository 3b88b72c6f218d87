//! From `sigstore-verify`'s errors to ours, each with the part that does not hold.

use crate::error::{EvidenceError, Fault};
use sigstore_verify::Error;
use sigstore_verify::error::{CertificateError, TimestampError, TransparencyLogError};

/// What a rejection says in this crate's words.
pub(super) fn rejected(error: &Error) -> EvidenceError {
    let fault = match error {
        Error::SignatureInvalid(_) => Fault::Signature,
        Error::IdentityMismatch { .. } => Fault::Identity,
        Error::IssuerMismatch { .. } => Fault::Issuer,
        // The artifact itself was compared before its entry.
        Error::ArtifactMismatch(because) if because.contains("hashedrekord") => Fault::LogEntry,
        Error::ArtifactMismatch(_) | Error::UnsupportedArtifact(_) => Fault::Artifact,
        Error::Certificate(e) => certificate(e),
        Error::TransparencyLog(e) => log(e),
        Error::Timestamp(TimestampError::NoVerifiedTimestamp(_)) => return EvidenceError::NoTime,
        Error::Timestamp(_) => Fault::TimeStamp,
        Error::Bundle(e) => bundle(e),
        Error::InvalidBundle(_) | Error::UnsupportedBundle(_) => Fault::Bundle,
        Error::Types(e) => return EvidenceError::malformed(super::WHAT, e.to_string()),
        Error::InvalidTrustRoot(e) => return EvidenceError::material(super::ROOT, e),
        _ => Fault::Signature,
    };
    EvidenceError::fault(fault, error.to_string())
}

fn bundle(error: &sigstore_verify::bundle::Error) -> Fault {
    use sigstore_verify::bundle::Error;
    match error {
        Error::MissingCheckpoint | Error::CheckpointRootMismatch => Fault::Checkpoint,
        Error::LogIndexOutOfRange { .. } => Fault::InclusionProof,
        _ => Fault::Bundle,
    }
}

/// The certificate's fault. Several are told apart by the path builder's words alone; where these
/// change, the rejection stays and only its name gets coarser.
fn certificate(error: &CertificateError) -> Fault {
    match error {
        CertificateError::NotYetValid { .. } => Fault::CertificateNotYetValid,
        CertificateError::Expired { .. } => Fault::CertificateExpired,
        CertificateError::Sct(_) => Fault::Sct,
        CertificateError::ChainInvalid(because) if because.contains("NotValidYet") => {
            Fault::CertificateNotYetValid
        }
        CertificateError::ChainInvalid(because) if because.contains("Expired") => {
            Fault::CertificateExpired
        }
        CertificateError::ChainInvalid(because) if because.contains("ExtendedKeyUsage") => {
            Fault::CertificateUsage
        }
        CertificateError::ChainInvalid(_) | CertificateError::NoValidAuthority { .. } => {
            Fault::CertificateIssuer
        }
        _ => Fault::Certificate,
    }
}

fn log(error: &TransparencyLogError) -> Fault {
    match error {
        TransparencyLogError::UnknownLog { .. } => Fault::UnknownLog,
        TransparencyLogError::InclusionProof(_) => Fault::InclusionProof,
        TransparencyLogError::Checkpoint(_) => Fault::Checkpoint,
        TransparencyLogError::InclusionPromise(_) => Fault::InclusionPromise,
        TransparencyLogError::IntegratedTime(_) => Fault::IntegratedTime,
        _ => Fault::LogEntry,
    }
}
