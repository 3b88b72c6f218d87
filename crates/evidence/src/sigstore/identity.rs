//! Who signed, as Fulcio certified it.

use crate::error::{EvidenceError, Fault};
use sigstore_verify::crypto::CertificateInfo;

/// What Fulcio certified about a signer: the certificate's subject alternative name and the
/// extensions under `1.3.6.1.4.1.57264.1`. Unset means that the certificate does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names are those of Fulcio's oid-info.md")]
pub struct CertificateIdentity {
    /// The subject alternative name: a workflow's URI or an e-mail address.
    pub subject: String,
    /// The identity provider that vouched for the subject.
    pub issuer: Option<String>,
    pub build_signer_uri: Option<String>,
    pub build_signer_digest: Option<String>,
    pub runner_environment: Option<String>,
    pub source_repository_uri: Option<String>,
    pub source_repository_digest: Option<String>,
    pub source_repository_ref: Option<String>,
    pub source_repository_identifier: Option<String>,
    pub source_repository_owner_uri: Option<String>,
    pub source_repository_owner_identifier: Option<String>,
    pub build_config_uri: Option<String>,
    pub build_config_digest: Option<String>,
    pub build_trigger: Option<String>,
    pub run_invocation_uri: Option<String>,
    pub source_repository_visibility: Option<String>,
    pub deployment_environment: Option<String>,
}

impl CertificateIdentity {
    pub(super) fn read(info: &CertificateInfo) -> Result<Self, EvidenceError> {
        let subject = info.identity.as_ref().map(|s| s.as_str().to_owned());
        let subject =
            subject.ok_or_else(|| EvidenceError::fault(Fault::Certificate, "it names nobody"))?;
        let c = info.ci_claims.clone();
        Ok(Self {
            subject,
            issuer: info.issuer.clone(),
            build_signer_uri: c.build_signer_uri,
            build_signer_digest: c.build_signer_digest,
            runner_environment: c.runner_environment,
            source_repository_uri: c.source_repository_uri,
            source_repository_digest: c.source_repository_digest,
            source_repository_ref: c.source_repository_ref,
            source_repository_identifier: c.source_repository_identifier,
            source_repository_owner_uri: c.source_repository_owner_uri,
            source_repository_owner_identifier: c.source_repository_owner_identifier,
            build_config_uri: c.build_config_uri,
            build_config_digest: c.build_config_digest,
            build_trigger: c.build_trigger,
            run_invocation_uri: c.run_invocation_uri,
            source_repository_visibility: c.source_repository_visibility_at_signing,
            deployment_environment: c.deployment_environment,
        })
    }
}
