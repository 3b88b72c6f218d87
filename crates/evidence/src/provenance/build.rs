//! How something was built: what the certificate says of the run, and what the provenance adds.

use super::{SLSA_V0_2, SLSA_V1};
use crate::error::shown;
use crate::json::text;
use crate::sigstore::CertificateIdentity;
use crate::statement::Statement;
use countersign_core::{Build, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;

/// Parameters that are kept, and how deep they are looked for.
const MAX_PARAMETERS: usize = 48;
const MAX_DEPTH: usize = 4;

/// The isolated builder that is known to reach the third level on GitHub.
const ISOLATED: &str = "https://github.com/slsa-framework/slsa-github-generator/";
/// Google Cloud Build, and who vouches for its workers.
const GOOGLE_BUILDER: &str = "https://cloudbuild.googleapis.com/GoogleHostedWorker";
const GOOGLE_ISSUER: &str = "https://accounts.google.com";

/// The facts of a build. `builder` is the one that certificate and provenance both support.
pub(super) fn read(
    statement: &Statement,
    id: &CertificateIdentity,
    builder: Option<&str>,
) -> Option<Box<Build>> {
    let p = &statement.predicate;
    let of = match statement.predicate_type.as_str() {
        SLSA_V1 => Said {
            build_type: "/buildDefinition/buildType",
            started: "/runDetails/metadata/startedOn",
            finished: "/runDetails/metadata/finishedOn",
            parameters: &[
                "/buildDefinition/externalParameters",
                "/buildDefinition/internalParameters",
            ],
        },
        SLSA_V0_2 => Said {
            build_type: "/buildType",
            started: "/metadata/buildStartedOn",
            finished: "/metadata/buildFinishedOn",
            parameters: &["/invocation/parameters", "/invocation/environment"],
        },
        _ => Said { build_type: "", started: "", finished: "", parameters: &[] },
    };
    let provenance = !of.build_type.is_empty();
    let said = |pointer: &str| if pointer.is_empty() { None } else { text(p, pointer) };
    let mut parameters = BTreeMap::new();
    for pointer in of.parameters {
        if let Some(value) = p.pointer(pointer) {
            collect(value, "", 0, &mut parameters);
        }
    }
    let build = Build {
        level: if provenance { level(id, builder) } else { None },
        owner: id.source_repository_owner_uri.clone(),
        owner_id: id.source_repository_owner_identifier.clone(),
        runner: id.runner_environment.clone(),
        trigger: id.build_trigger.clone(),
        invocation: id.run_invocation_uri.clone(),
        visibility: id.source_repository_visibility.clone(),
        environment: id.deployment_environment.clone(),
        build_type: said(of.build_type).map(shown),
        started: said(of.started).and_then(Timestamp::parse),
        finished: said(of.finished).and_then(Timestamp::parse),
        parameters,
    };
    (build != Build::default()).then(|| Box::new(build))
}

/// Where each version of the provenance says what.
struct Said {
    build_type: &'static str,
    started: &'static str,
    finished: &'static str,
    parameters: &'static [&'static str],
}

/// The SLSA build level that the builder is known for (slsa.dev, "Security levels", build track). A
/// hosted runner signs what the workflow says: the second. Its own builds on a machine of the
/// project's are the first. What nobody knows has none.
fn level(id: &CertificateIdentity, builder: Option<&str>) -> Option<u8> {
    if id.issuer.as_deref() == Some(GOOGLE_ISSUER) {
        return builder.filter(|b| b.starts_with(GOOGLE_BUILDER)).map(|_| 3);
    }
    match id.runner_environment.as_deref() {
        Some("github-hosted") => {
            let isolated = id.build_signer_uri.as_deref().is_some_and(|u| u.starts_with(ISOLATED));
            Some(if isolated { 3 } else { 2 })
        }
        Some("gitlab-hosted") => Some(2),
        Some("self-hosted") => Some(1),
        _ => None,
    }
}

/// The scalars below a value, by their path.
fn collect(value: &Value, path: &str, depth: usize, out: &mut BTreeMap<String, String>) {
    if out.len() >= MAX_PARAMETERS || depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Object(object) => {
            for (name, inner) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(inner, &path, depth + 1, out);
            }
        }
        Value::Array(list) => {
            for (i, inner) in list.iter().enumerate().take(MAX_PARAMETERS) {
                collect(inner, &format!("{path}.{i}"), depth + 1, out);
            }
        }
        Value::Null => {}
        Value::String(text) => _ = out.insert(shown(path), shown(text)),
        other => _ = out.insert(shown(path), other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn identity(runner: &str) -> CertificateIdentity {
        CertificateIdentity {
            subject: "https://forge.example/o/r/.github/workflows/a.yml@refs/tags/v1".into(),
            runner_environment: Some(runner.into()),
            build_trigger: Some("push".into()),
            ..CertificateIdentity::default()
        }
    }

    fn statement(kind: &str, predicate: Value) -> Statement {
        Statement {
            subject: "n".into(),
            digests: Vec::new(),
            predicate_type: kind.into(),
            predicate,
        }
    }

    #[test]
    fn both_versions_of_provenance_tell_parameters_and_times() {
        let v1 = json!({
            "buildDefinition": {
                "buildType": "https://forge.example/type/v1",
                "externalParameters": {"workflow": {"ref": "refs/tags/v1"}, "inputs": {"n": 1}},
                "internalParameters": {"github": {"event_name": "push"}}},
            "runDetails": {"metadata": {
                "startedOn": "2025-06-15T15:00:00Z", "finishedOn": "2025-06-15T15:01:00Z"}}});
        let got = read(&statement(SLSA_V1, v1), &identity("github-hosted"), None).unwrap();
        assert_eq!(got.level, Some(2));
        assert_eq!(got.build_type.as_deref(), Some("https://forge.example/type/v1"));
        assert_eq!(got.finished.unwrap().0 - got.started.unwrap().0, 60);
        let names: Vec<&str> = got.parameters.keys().map(String::as_str).collect();
        assert_eq!(names, ["github.event_name", "inputs.n", "workflow.ref"]);

        let v0_2 = json!({
            "buildType": "https://forge.example/type/v0", "invocation": {
                "parameters": {"a": "b"}, "environment": {"RUN": "7"}},
            "metadata": {"buildStartedOn": "2025-06-15T15:00:00Z"}});
        let got = read(&statement(SLSA_V0_2, v0_2), &identity("self-hosted"), None).unwrap();
        assert_eq!((got.level, got.parameters.len()), (Some(1), 2));
    }

    #[test]
    fn a_level_needs_provenance_and_a_known_builder() {
        let of = |kind: &str, id: &CertificateIdentity, builder| {
            read(&statement(kind, json!({})), id, builder).and_then(|b| b.level)
        };
        assert_eq!(of("https://x.example/publish", &identity("github-hosted"), None), None);
        assert_eq!(of(SLSA_V1, &identity("somebody's"), None), None);
        let isolated = CertificateIdentity {
            build_signer_uri: Some(format!("{ISOLATED}.github/workflows/b.yml@refs/tags/v2")),
            ..identity("github-hosted")
        };
        assert_eq!(of(SLSA_V0_2, &isolated, None), Some(3));
        let google =
            CertificateIdentity { issuer: Some(GOOGLE_ISSUER.into()), ..identity("github-hosted") };
        assert_eq!(of(SLSA_V1, &google, None), None);
        let builder = format!("{GOOGLE_BUILDER}@v1");
        assert_eq!(of(SLSA_V1, &google, Some(&builder)), Some(3));
    }

    #[test]
    fn parameters_are_bounded() {
        let wide: Value = (0..500).map(|i| json!({i.to_string(): "x".repeat(9000)})).collect();
        let deep = (0..100).fold(json!(1), |inner, _| json!({"a": inner}));
        let p = json!({"buildDefinition": {"externalParameters": {"wide": wide, "deep": deep}}});
        let got = read(&statement(SLSA_V1, p), &identity("x"), None).unwrap();
        assert!(got.parameters.len() <= MAX_PARAMETERS);
        assert!(got.parameters.iter().all(|(k, v)| k.len() < 1000 && v.len() < 1000));
    }
}
