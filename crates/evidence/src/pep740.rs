//! PEP 740: attestations that a Python index hosts, as its integrity API serves them
//! (`{"version": 1, "attestation_bundles": [{"publisher": …, "attestations": […]}]}`), or a single
//! attestation object, as `pypi-attestations` writes it beside a file.

use crate::error::{EvidenceError, shown};
use crate::provenance::{self, SLSA_V1};
use crate::sigstore::{self, Attestation, CertificateIdentity, Signer};
use crate::statement::{Expected, SubjectName};
use crate::{Context, json};
use countersign_core::{Claim, Evidence, EvidenceState, Sha256Digest};
use serde_json::{Value, json};

/// [`Evidence::kind`] of an index-hosted attestation.
pub const KIND: &str = "pep740";

/// Path of the publish predicate's type (PEP 740, "Attestation statement types"). The address
/// that it belongs to names an index, so only the path is compared; the type is signed.
const PUBLISH_PATH: &str = "/attestations/publish/v1";

/// Bundles of one file that are looked at, and attestations of one bundle.
const MAX_LIST: usize = 32;

/// The identity providers that publisher kinds stand for.
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
const GITHUB: &str = "https://github.com";
const GOOGLE_ISSUER: &str = "https://accounts.google.com";

const WHAT: &str = "PEP 740 attestation";

/// Verifies the attestations of a file: a provenance object or a single attestation object.
///
/// The answer holds one piece of evidence for each attestation; one that says *absent* when the
/// document holds none, and one that says *invalid* when it cannot be read. Where the document
/// names a publisher, the certificate must be that publisher's.
#[must_use]
pub fn verify_provenance(
    document: &[u8],
    file_name: &str,
    sha256: &Sha256Digest,
    context: &Context<'_>,
) -> Vec<Evidence> {
    let evidence =
        |state| Evidence { kind: KIND.to_owned(), source: context.source.to_owned(), state };
    let list = match read_document(document) {
        Ok(list) if list.is_empty() => return vec![evidence(EvidenceState::Absent)],
        Ok(list) => list,
        Err(e) => return vec![evidence(e.into_state())],
    };
    let expected = Expected {
        name: SubjectName::Distribution(file_name),
        sha256: Some(&sha256.0),
        sha512: None,
    };
    list.into_iter()
        .map(|(publisher, attestation)| {
            let result = verify_one(publisher.as_ref(), attestation, &expected, context);
            evidence(result.map_or_else(EvidenceError::into_state, |claim| {
                EvidenceState::Verified { claim: Box::new(claim) }
            }))
        })
        .collect()
}

/// Each attestation with the publisher that the index says made it.
fn read_document(document: &[u8]) -> Result<Vec<(Option<Value>, Value)>, EvidenceError> {
    let value = json::parse(WHAT, document)?;
    if value.get("attestation_bundles").is_none() {
        return Ok(vec![(None, value)]);
    }
    check_version(&value)?;
    let mut out = Vec::new();
    for bundle in json::need_array(WHAT, &value, "/attestation_bundles", MAX_LIST)? {
        let publisher = bundle.get("publisher").filter(|p| p.is_object());
        let publisher = publisher
            .ok_or_else(|| EvidenceError::malformed(WHAT, "a bundle names no publisher"))?;
        for attestation in json::need_array(WHAT, bundle, "/attestations", MAX_LIST)? {
            out.push((Some(publisher.clone()), attestation.clone()));
        }
    }
    Ok(out)
}

fn check_version(value: &Value) -> Result<(), EvidenceError> {
    match value.get("version").and_then(Value::as_u64) {
        Some(1) => Ok(()),
        Some(other) => {
            Err(EvidenceError::Unsupported { what: "version of PEP 740", found: other.to_string() })
        }
        None => Err(EvidenceError::malformed(WHAT, "it has no version")),
    }
}

fn verify_one(
    publisher: Option<&Value>,
    attestation: Value,
    expected: &Expected<'_>,
    context: &Context<'_>,
) -> Result<Claim, EvidenceError> {
    let bundle = to_bundle(attestation)?;
    let verified = sigstore::verify_bundle_value(bundle, expected, context.roots, context.now)?;
    let Attestation { statement, signer, .. } = verified.get();
    check_predicate_type(&statement.predicate_type)?;
    if let (Some(publisher), Signer::Certificate(identity)) = (publisher, signer) {
        check_publisher(publisher, identity)?;
    }
    provenance::claim(&verified)
}

/// The same attestation as a Sigstore bundle (PEP 740, "Attestation object").
fn to_bundle(mut attestation: Value) -> Result<Value, EvidenceError> {
    check_version(&attestation)?;
    let mut take = |pointer: &str| {
        let part = attestation.pointer_mut(pointer).map(Value::take).filter(|v| !v.is_null());
        part.ok_or_else(|| EvidenceError::malformed(WHAT, format!("it has no `{pointer}`")))
    };
    Ok(json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": {"rawBytes": take("/verification_material/certificate")?},
            "tlogEntries": take("/verification_material/transparency_entries")?,
        },
        "dsseEnvelope": {
            "payloadType": "application/vnd.in-toto+json",
            "payload": take("/envelope/statement")?,
            "signatures": [{"sig": take("/envelope/signature")?}],
        },
    }))
}

fn check_predicate_type(signed: &str) -> Result<(), EvidenceError> {
    let url = url::Url::parse(signed).ok().filter(|u| u.scheme() == "https");
    let publish = url
        .is_some_and(|u| u.path() == PUBLISH_PATH && u.query().is_none() && u.fragment().is_none());
    if publish || signed == SLSA_V1 {
        return Ok(());
    }
    Err(EvidenceError::Unsupported { what: "predicate type", found: shown(signed) })
}

/// Checks that the certificate is the publisher's. The publisher object itself is the index's
/// word and unsigned; what it says must be what the certificate says.
fn check_publisher(publisher: &Value, id: &CertificateIdentity) -> Result<(), EvidenceError> {
    match json::need_text(WHAT, publisher, "/kind")? {
        "GitHub" => check_github(publisher, id)?,
        "GitLab" => check_gitlab(publisher, id)?,
        "Google" => {
            must_be("issuer", GOOGLE_ISSUER, id.issuer.as_deref(), false)?;
            let email = json::need_text(WHAT, publisher, "/email")?;
            must_be("e-mail address", email, Some(&id.subject), true)?;
        }
        other => {
            return Err(EvidenceError::Unsupported { what: "publisher kind", found: shown(other) });
        }
    }
    // Indexes and forges both hold the names of environments to be the same in any case.
    let environment = json::text(publisher, "/environment").filter(|e| !e.is_empty());
    match (environment, id.deployment_environment.as_deref()) {
        (Some(said), certified @ Some(_)) => must_be("environment", said, certified, true),
        _ => Ok(()),
    }
}

fn check_github(publisher: &Value, id: &CertificateIdentity) -> Result<(), EvidenceError> {
    must_be("issuer", GITHUB_ISSUER, id.issuer.as_deref(), false)?;
    let repository = json::need_text(WHAT, publisher, "/repository")?;
    let want = format!("{GITHUB}/{repository}");
    must_be("repository", &want, id.source_repository_uri.as_deref(), true)?;
    let file = json::need_text(WHAT, publisher, "/workflow")?;
    // A workflow that another one calls is the certificate's signer, its caller the build
    // configuration; indexes register either.
    must_run(&format!("{want}/.github/workflows/"), file, id)
}

fn check_gitlab(publisher: &Value, id: &CertificateIdentity) -> Result<(), EvidenceError> {
    // An installation of GitLab is its own identity provider.
    let issuer = id.issuer.as_deref().filter(|i| i.starts_with("https://"));
    let repository = json::need_text(WHAT, publisher, "/repository")?;
    let want = format!("{}/{repository}", issuer.unwrap_or_default());
    must_be("repository", &want, id.source_repository_uri.as_deref(), true)?;
    match json::text(publisher, "/workflow_filepath") {
        Some(file) => must_run(&format!("{want}//"), file, id),
        None => Ok(()),
    }
}

/// Checks that `directory` (in any case) and `file` (as it is), at any ref, ran or signed.
fn must_run(directory: &str, file: &str, id: &CertificateIdentity) -> Result<(), EvidenceError> {
    let runs = |uri: &Option<String>| {
        let uri = uri.as_deref()?;
        let head = uri.get(..directory.len())?;
        let rest = uri.get(directory.len()..)?.strip_prefix(file)?;
        Some(head.eq_ignore_ascii_case(directory) && rest.starts_with('@'))
    };
    if [&id.build_config_uri, &id.build_signer_uri].into_iter().any(|u| runs(u) == Some(true)) {
        return Ok(());
    }
    Err(disagreement("workflow", file, id.build_config_uri.as_deref()))
}

fn must_be(
    field: &'static str,
    said: &str,
    certified: Option<&str>,
    any_case: bool,
) -> Result<(), EvidenceError> {
    let equal = certified.is_some_and(|c| c == said || (any_case && c.eq_ignore_ascii_case(said)));
    if equal { Ok(()) } else { Err(disagreement(field, said, certified)) }
}

fn disagreement(field: &'static str, said: &str, certified: Option<&str>) -> EvidenceError {
    EvidenceError::Disagreement {
        field,
        said_by: "the index's publisher",
        said: shown(said),
        certificate: shown(certified.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn github() -> CertificateIdentity {
        CertificateIdentity {
            subject: "https://github.com/Own/Repo/.github/workflows/pub.yml@refs/tags/v1".into(),
            issuer: Some(GITHUB_ISSUER.into()),
            source_repository_uri: Some("https://github.com/Own/Repo".into()),
            build_config_uri: Some(
                "https://github.com/Own/Repo/.github/workflows/pub.yml@refs/tags/v1".into(),
            ),
            deployment_environment: Some("release".into()),
            ..CertificateIdentity::default()
        }
    }

    #[test]
    fn github_publishers_must_be_the_certificate_s() {
        let check = |p: Value| check_publisher(&p, &github());
        let of = |repository: &str, workflow: &str, environment: Value| {
            json!({"kind": "GitHub", "repository": repository, "workflow": workflow,
                   "environment": environment})
        };
        check(of("Own/Repo", "pub.yml", Value::Null)).unwrap();
        check(of("own/repo", "pub.yml", "Release".into())).unwrap();
        for bad in [
            of("own/repo2", "pub.yml", Value::Null),
            of("own", "pub.yml", Value::Null),
            of("own/repo", "pub", Value::Null),
            of("own/repo", "Pub.yml", Value::Null),
            of("own/repo", "", Value::Null),
            of("own/repo", "pub.yml", "test".into()),
            json!({"kind": "GitHub", "repository": "own/repo"}),
            json!({"kind": "GitLab", "repository": "own/repo"}),
            json!({"kind": "Google", "email": "a@mail.example"}),
            json!({"repository": "own/repo", "workflow": "pub.yml"}),
        ] {
            let state = check(bad.clone()).unwrap_err().into_state();
            assert!(matches!(state, EvidenceState::Invalid { .. }), "{bad}");
        }
        let mut other = github();
        other.issuer = Some("https://idp.example".into());
        assert!(check_publisher(&of("own/repo", "pub.yml", Value::Null), &other).is_err());
    }

    #[test]
    fn gitlab_and_google_publishers_must_be_the_certificate_s() {
        let gitlab = CertificateIdentity {
            issuer: Some("https://gitlab.example".into()),
            source_repository_uri: Some("https://gitlab.example/g/p".into()),
            build_config_uri: Some("https://gitlab.example/g/p//.ci.yml@refs/heads/main".into()),
            ..CertificateIdentity::default()
        };
        let of =
            |r: &str, w: &str| json!({"kind": "GitLab", "repository": r, "workflow_filepath": w});
        assert!(check_publisher(&of("g/p", ".ci.yml"), &gitlab).is_ok());
        assert!(check_publisher(&of("g/q", ".ci.yml"), &gitlab).is_err());
        assert!(check_publisher(&of("g/p", ".other.yml"), &gitlab).is_err());
        let none = CertificateIdentity { issuer: None, ..gitlab };
        assert!(check_publisher(&of("g/p", ".ci.yml"), &none).is_err());

        let google = CertificateIdentity {
            subject: "a@mail.example".into(),
            issuer: Some(GOOGLE_ISSUER.into()),
            ..CertificateIdentity::default()
        };
        let of = |email: &str| json!({"kind": "Google", "email": email});
        assert!(check_publisher(&of("a@mail.example"), &google).is_ok());
        assert!(check_publisher(&of("b@mail.example"), &google).is_err());
    }

    #[test]
    fn a_publisher_of_a_kind_unknown_is_not_judged() {
        let state = check_publisher(&json!({"kind": "Forge"}), &github()).unwrap_err().into_state();
        assert!(matches!(state, EvidenceState::Unreachable { .. }));
    }

    #[test]
    fn predicate_types_are_matched_by_path_or_whole() {
        for (kind, known) in [
            ("https://docs.index.example/attestations/publish/v1", true),
            (SLSA_V1, true),
            ("http://docs.index.example/attestations/publish/v1", false),
            ("https://docs.index.example/x/attestations/publish/v1", false),
            ("https://docs.index.example/attestations/publish/v1?x", false),
            ("https://docs.index.example/attestations/publish/v2", false),
            ("https://x.example/provenance/v1", false),
            ("/attestations/publish/v1", false),
            ("", false),
        ] {
            assert_eq!(check_predicate_type(kind).is_ok(), known, "{kind}");
        }
    }
}
