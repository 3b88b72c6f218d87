//! From a verified attestation to a claim: what the certificate says, which is authoritative,
//! held against what the SLSA provenance says, which the build itself wrote.

mod build;

use crate::error::{EvidenceError, shown};
use crate::json::text;
use crate::sigstore::{Attestation, CertificateIdentity, Signer};
use crate::verified::Verified;
use countersign_core::Claim;
use serde_json::Value;

/// SLSA provenance v1 (slsa.dev, "Provenance", v1.0 and later minor versions).
pub(crate) const SLSA_V1: &str = "https://slsa.dev/provenance/v1";
/// SLSA provenance v0.2.
pub(crate) const SLSA_V0_2: &str = "https://slsa.dev/provenance/v0.2";

const WHAT: &str = "SLSA provenance";

/// The claim of a verified attestation.
///
/// # Errors
/// When its provenance and its certificate both speak of something and differ.
pub(crate) fn claim(attestation: &Verified<Attestation>) -> Result<Claim, EvidenceError> {
    let a = attestation.get();
    let base = Claim {
        kind: a.statement.predicate_type.clone(),
        signed_at: Some(a.signed_at),
        proof: a.proof,
        log: a.log.clone(),
        algorithms: a.algorithms.clone(),
        ..Claim::default()
    };
    let identity = match &a.signer {
        Signer::Key { id } => return Ok(Claim { signer: id.clone(), ..base }),
        Signer::Certificate(identity) => identity.as_ref(),
    };
    let builder = match Provenance::read(&a.statement.predicate_type, &a.statement.predicate)? {
        Some(said) => said.agree_with(identity)?,
        None => identity.build_signer_uri.clone(),
    };
    Ok(Claim {
        build: build::read(&a.statement, identity, builder.as_deref()),
        signer: identity.subject.clone(),
        issuer: identity.issuer.clone(),
        repository: identity.source_repository_uri.clone(),
        repository_id: identity.source_repository_identifier.clone(),
        commit: identity.source_repository_digest.clone(),
        git_ref: identity.source_repository_ref.clone(),
        workflow: identity.build_config_uri.clone(),
        builder,
        ..base
    })
}

/// A source that a provenance names: a `git+https://host/owner/name@ref` and a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    repository: String,
    git_ref: Option<String>,
    commit: Option<String>,
}

impl Source {
    /// Reads a `ResourceDescriptor` or a v0.2 material; `None` when it is no git repository.
    fn read(value: &Value) -> Option<Self> {
        let uri = text(value, "/uri")?.strip_prefix("git+")?;
        let after_scheme = uri.find("://").map_or(0, |i| i + 3);
        let (repository, git_ref) = match uri.get(after_scheme..)?.rsplit_once('@') {
            Some((_, git_ref)) => (uri.strip_suffix(git_ref)?.strip_suffix('@')?, Some(git_ref)),
            None => (uri, None),
        };
        let commit = text(value, "/digest/gitCommit").or_else(|| text(value, "/digest/sha1"));
        Some(Self {
            repository: without_git(repository).to_owned(),
            git_ref: git_ref.map(str::to_owned),
            commit: commit.map(str::to_owned),
        })
    }
}

fn without_git(repository: &str) -> &str {
    repository.strip_suffix(".git").unwrap_or(repository)
}

/// What a provenance says about its source and its builder. All of it was written by the build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Provenance {
    /// The source that the build was started from, where the provenance singles one out.
    sources: Vec<Source>,
    /// All git repositories that went in, the source among them.
    dependencies: Vec<Source>,
    workflow_path: Option<String>,
    repository_id: Option<String>,
    owner_id: Option<String>,
    runner_environment: Option<String>,
    invocation: Option<String>,
    builder: String,
}

impl Provenance {
    /// Reads a predicate of type `predicate_type`; `None` when that is no SLSA provenance.
    fn read(predicate_type: &str, predicate: &Value) -> Result<Option<Self>, EvidenceError> {
        let (provenance, builder) = match predicate_type {
            SLSA_V1 => (Self::read_v1(predicate), "/runDetails/builder/id"),
            SLSA_V0_2 => (Self::read_v0_2(predicate), "/builder/id"),
            _ => return Ok(None),
        };
        let builder = text(predicate, builder)
            .ok_or_else(|| EvidenceError::malformed(WHAT, "it names no builder"))?;
        Ok(Some(Self { builder: builder.to_owned(), ..provenance }))
    }

    fn read_v1(p: &Value) -> Self {
        let external = "/buildDefinition/externalParameters";
        let at = |tail: &str| text(p, &format!("{external}/workflow/{tail}")).map(str::to_owned);
        let github = |tail: &str| {
            let pointer = format!("/buildDefinition/internalParameters/github/{tail}");
            text(p, &pointer).map(str::to_owned)
        };
        let workflow = at("repository").map(|repository| Source {
            repository: without_git(&repository).to_owned(),
            git_ref: at("ref"),
            commit: None,
        });
        let source = p.pointer(&format!("{external}/source")).and_then(Source::read);
        Self {
            sources: workflow.into_iter().chain(source).collect(),
            dependencies: sources(p, "/buildDefinition/resolvedDependencies"),
            workflow_path: at("path"),
            repository_id: github("repository_id"),
            owner_id: github("repository_owner_id"),
            runner_environment: github("runner_environment"),
            invocation: text(p, "/runDetails/metadata/invocationId").map(str::to_owned),
            builder: String::new(),
        }
    }

    fn read_v0_2(p: &Value) -> Self {
        let environment = |names: [&str; 2]| {
            let mut found =
                names.iter().filter_map(|n| text(p, &format!("/invocation/environment/{n}")));
            found.next().map(str::to_owned)
        };
        Self {
            sources: p
                .pointer("/invocation/configSource")
                .and_then(Source::read)
                .into_iter()
                .collect(),
            dependencies: sources(p, "/materials"),
            workflow_path: text(p, "/invocation/configSource/entryPoint").map(str::to_owned),
            repository_id: environment(["GITHUB_REPOSITORY_ID", "github_repository_id"]),
            owner_id: environment(["GITHUB_REPOSITORY_OWNER_ID", "github_repository_owner_id"]),
            runner_environment: None,
            invocation: text(p, "/metadata/buildInvocationId").map(str::to_owned),
            builder: String::new(),
        }
    }

    /// Holds the provenance against the certificate; the builder that both support.
    fn agree_with(&self, id: &CertificateIdentity) -> Result<Option<String>, EvidenceError> {
        let repository = id.source_repository_uri.as_deref();
        for source in &self.sources {
            same("repository", repository, Some(&source.repository))?;
            same("ref", id.source_repository_ref.as_deref(), source.git_ref.as_deref())?;
            same("commit", id.source_repository_digest.as_deref(), source.commit.as_deref())?;
        }
        self.dependencies_agree(id)?;
        let (repository_id, owner_id) =
            (&id.source_repository_identifier, &id.source_repository_owner_identifier);
        same("repository id", repository_id.as_deref(), self.repository_id.as_deref())?;
        same("owner id", owner_id.as_deref(), self.owner_id.as_deref())?;
        let runner = id.runner_environment.as_deref();
        same("runner environment", runner, self.runner_environment.as_deref())?;
        self.workflow_agrees(id)?;
        // Version 0.2 has ids of its own making here; only addresses can be compared.
        let invocation = self.invocation.as_deref().filter(|i| i.starts_with("https://"));
        same("run invocation", id.run_invocation_uri.as_deref(), invocation)?;
        self.builder_that_agrees(id)
    }

    /// Where the certified repository is among what went in, its certified commit is, too. A
    /// build may take in further commits of its own repository.
    fn dependencies_agree(&self, id: &CertificateIdentity) -> Result<(), EvidenceError> {
        let Some(commit) = id.source_repository_digest.as_deref() else { return Ok(()) };
        let commits = || {
            let own =
                |s: &&Source| Some(s.repository.as_str()) == id.source_repository_uri.as_deref();
            self.dependencies.iter().filter(own).filter_map(|s| s.commit.as_deref())
        };
        if commits().any(|c| c == commit) {
            Ok(())
        } else {
            same("commit", Some(commit), commits().next())
        }
    }

    /// Compares the workflow's file where it is a file of GitHub's: other providers name a job
    /// in the same place.
    fn workflow_agrees(&self, id: &CertificateIdentity) -> Result<(), EvidenceError> {
        let path = self.workflow_path.as_deref().filter(|p| p.starts_with(".github/"));
        let (Some(path), Some(config)) = (path, id.build_config_uri.as_deref()) else {
            return Ok(());
        };
        if config.contains(&format!("/{path}@")) {
            return Ok(());
        }
        same("workflow", Some(config), Some(path))
    }

    /// The builder that the provenance names, when the certificate supports the name: as the
    /// workflow that signed, or by its kind of runner, which is the name's last segment
    /// (`…/github-hosted`). Otherwise the workflow that signed, which the certificate does name.
    fn builder_that_agrees(
        &self,
        id: &CertificateIdentity,
    ) -> Result<Option<String>, EvidenceError> {
        let kind = self.builder.rsplit('/').next().filter(|k| k.ends_with("-hosted"));
        same("runner environment", id.runner_environment.as_deref(), kind)?;
        let by_kind = kind.is_some() && id.runner_environment.is_some();
        let by_name = id.build_signer_uri.as_deref() == Some(&self.builder);
        if by_kind || by_name {
            return Ok(Some(self.builder.clone()));
        }
        Ok(id.build_signer_uri.clone())
    }
}

fn sources(predicate: &Value, pointer: &str) -> Vec<Source> {
    let list = predicate.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Source::read).collect()
}

/// An error when both say something and it differs.
fn same(
    field: &'static str,
    certificate: Option<&str>,
    said: Option<&str>,
) -> Result<(), EvidenceError> {
    match (certificate, said) {
        (Some(c), Some(s)) if c != s => Err(EvidenceError::Disagreement {
            field,
            said_by: "the provenance",
            said: shown(s),
            certificate: shown(c),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity() -> CertificateIdentity {
        let workflow = "https://forge.example/o/r/.github/workflows/a.yml@refs/tags/v1";
        CertificateIdentity {
            subject: workflow.into(),
            build_signer_uri: Some(workflow.into()),
            build_config_uri: Some(workflow.into()),
            runner_environment: Some("github-hosted".into()),
            source_repository_uri: Some("https://forge.example/o/r".into()),
            source_repository_digest: Some("aa".repeat(20)),
            source_repository_ref: Some("refs/tags/v1".into()),
            source_repository_identifier: Some("12".into()),
            source_repository_owner_identifier: Some("34".into()),
            run_invocation_uri: Some("https://forge.example/o/r/runs/1".into()),
            ..CertificateIdentity::default()
        }
    }

    fn v1() -> Value {
        json!({
            "buildDefinition": {
                "externalParameters": {"workflow": {
                    "ref": "refs/tags/v1", "repository": "https://forge.example/o/r",
                    "path": ".github/workflows/a.yml"}},
                "internalParameters": {"github": {
                    "repository_id": "12", "repository_owner_id": "34"}},
                "resolvedDependencies": [
                    {"uri": "git+https://forge.example/o/r@refs/tags/v1",
                     "digest": {"gitCommit": "aa".repeat(20)}},
                    {"uri": "git+https://forge.example/o/r@refs/heads/data",
                     "digest": {"gitCommit": "bb".repeat(20)}},
                    {"uri": "git+https://forge.example/o/other",
                     "digest": {"gitCommit": "cc".repeat(20)}}],
            },
            "runDetails": {
                "builder": {"id": "https://forge.example/runner/github-hosted"},
                "metadata": {"invocationId": "https://forge.example/o/r/runs/1"}},
        })
    }

    fn v0_2() -> Value {
        json!({
            "builder": {"id": "https://forge.example/runner"},
            "invocation": {
                "configSource": {
                    "uri": "git+https://forge.example/o/r@refs/tags/v1",
                    "digest": {"sha1": "aa".repeat(20)},
                    "entryPoint": ".github/workflows/a.yml"},
                "environment": {
                    "GITHUB_REPOSITORY_ID": "12", "GITHUB_REPOSITORY_OWNER_ID": "34"}},
            "metadata": {"buildInvocationId": "1-1"},
            "materials": [{"uri": "git+https://forge.example/o/r@refs/tags/v1",
                           "digest": {"sha1": "aa".repeat(20)}}],
        })
    }

    fn agree(kind: &str, predicate: &Value) -> Result<Option<String>, EvidenceError> {
        Provenance::read(kind, predicate)?.unwrap().agree_with(&identity())
    }

    #[test]
    fn provenance_that_agrees_gives_the_builder() {
        let builder = agree(SLSA_V1, &v1()).unwrap();
        assert_eq!(builder.as_deref(), Some("https://forge.example/runner/github-hosted"));
        // A bare name is not supported by anything in the certificate.
        assert_eq!(agree(SLSA_V0_2, &v0_2()).unwrap(), identity().build_signer_uri);
    }

    #[test]
    fn every_disagreement_is_named() {
        let d = "/buildDefinition";
        for (pointer, other, field) in [
            (
                format!("{d}/externalParameters/workflow/repository"),
                "https://x.example/o/r",
                "repository",
            ),
            (format!("{d}/externalParameters/workflow/ref"), "refs/heads/main", "ref"),
            (
                format!("{d}/externalParameters/workflow/path"),
                ".github/workflows/b.yml",
                "workflow",
            ),
            (format!("{d}/internalParameters/github/repository_id"), "13", "repository id"),
            (format!("{d}/internalParameters/github/repository_owner_id"), "35", "owner id"),
            (format!("{d}/resolvedDependencies/0/digest/gitCommit"), "dd", "commit"),
            (
                "/runDetails/builder/id".into(),
                "https://x.example/self-hosted",
                "runner environment",
            ),
            ("/runDetails/metadata/invocationId".into(), "https://x.example/", "run invocation"),
        ] {
            let mut p = v1();
            *p.pointer_mut(&pointer).unwrap() = other.into();
            match agree(SLSA_V1, &p) {
                Err(EvidenceError::Disagreement { field: f, .. }) => assert_eq!(f, field),
                other => panic!("{pointer}: {other:?}"),
            }
        }
        for (pointer, other) in [
            ("/invocation/configSource/uri", "git+https://forge.example/o/s@refs/tags/v1"),
            ("/invocation/configSource/uri", "git+https://forge.example/o/r@refs/tags/v2"),
            ("/invocation/configSource/digest/sha1", "dd"),
            ("/invocation/configSource/entryPoint", ".github/workflows/b.yml"),
            ("/invocation/environment/GITHUB_REPOSITORY_ID", "13"),
            ("/materials/0/digest/sha1", "dd"),
        ] {
            let mut p = v0_2();
            *p.pointer_mut(pointer).unwrap() = other.into();
            let result = agree(SLSA_V0_2, &p);
            assert!(matches!(result, Err(EvidenceError::Disagreement { .. })), "{pointer}");
        }
    }

    #[test]
    fn provenance_without_a_builder_is_malformed() {
        for kind in [SLSA_V1, SLSA_V0_2] {
            assert!(Provenance::read(kind, &json!({})).is_err());
            assert!(Provenance::read(kind, &Value::Null).is_err());
        }
        assert_eq!(Provenance::read("https://x.example/other", &Value::Null).unwrap(), None);
    }

    #[test]
    fn sources_are_read_from_git_addresses() {
        let read =
            |uri: &str| Source::read(&json!({"uri": uri})).map(|s| (s.repository, s.git_ref));
        let r = "https://forge.example/o/r";
        assert_eq!(read(&format!("git+{r}@refs/x")), Some((r.into(), Some("refs/x".into()))));
        assert_eq!(read(&format!("git+{r}.git")), Some((r.into(), None)));
        assert_eq!(
            read("git+ssh://git@forge.example"),
            Some(("ssh://git".into(), Some("forge.example".into())))
        );
        assert_eq!(read("https://forge.example/a.tar.gz"), None);
        assert_eq!(read("git+"), Some((String::new(), None)));
    }
}
