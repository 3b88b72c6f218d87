//! npm's attestations, as a registry serves them for one version of a package:
//! `{"attestations": [{"predicateType": …, "bundle": …}]}`.
//!
//! There are two, and only together do they say something: the *publish attestation*, which the
//! registry signs with its own key (this registry accepted these bytes under this name), and the
//! *provenance*, which the build signs with a Fulcio certificate (these bytes were built there).

mod keys;
mod signatures;

pub use keys::list_keys;
pub use signatures::{RegistrySignature, read_signatures, verify_signatures};

use crate::error::{EvidenceError, shown};
use crate::provenance::{self, SLSA_V0_2, SLSA_V1};
use crate::sigstore::{self, TrustedKey};
use crate::statement::{Expected, SubjectName};
use crate::{Context, json};
use countersign_core::{Claim, Evidence, EvidenceState};
use serde_json::Value;

/// [`Evidence::kind`] of the registry's publish attestation.
pub const PUBLISH: &str = "npm-publish";
/// [`Evidence::kind`] of the build's provenance.
pub const PROVENANCE: &str = "npm-provenance";
/// [`Evidence::kind`] of the registry's signature over name, version and digest.
pub const SIGNATURE: &str = "npm-signature";
/// [`Evidence::kind`] of an attestation of another predicate type.
pub const OTHER: &str = "npm-attestation";

/// Predicate type of the publish attestation (npm/attestation, `specs/publish/v0.1`).
const PUBLISH_V0_1: &str = "https://github.com/npm/attestation/tree/main/specs/publish/v0.1";

/// Attestations of one version that are looked at; registries serve two.
const MAX_ATTESTATIONS: usize = 32;

const WHAT: &str = "npm attestations";

/// The artifact that attestations are held against. All digests are the gate's own.
#[derive(Debug, Clone, Copy)]
pub struct NpmArtifact<'a> {
    /// The package's name, with its scope.
    pub name: &'a str,
    /// The version.
    pub version: &'a str,
    /// The tarball's SHA-512.
    pub sha512: &'a [u8; 64],
    /// The tarball's SHA-256, when it was computed.
    pub sha256: Option<&'a [u8; 32]>,
    /// The registry that the publish attestation must name, as an address, when the caller
    /// knows it. A mirror's address is not it. Unset, any HTTPS address passes and becomes the
    /// claim's issuer.
    pub registry: Option<&'a str>,
}

impl NpmArtifact<'_> {
    /// The subject's package URL as npm writes it: only the scope's `@` is escaped.
    fn purl(&self) -> String {
        let name = match self.name.strip_prefix('@') {
            Some(scoped) => format!("%40{scoped}"),
            None => self.name.to_owned(),
        };
        format!("pkg:npm/{name}@{}", self.version)
    }
}

/// Verifies a registry's attestations of `artifact`.
///
/// The answer holds one piece of evidence for each attestation, and one that says *absent* for
/// each of [`PUBLISH`] and [`PROVENANCE`] that the document lacks. `keys_json` is the registry's
/// key document: that of its `/-/npm/v1/keys` or that of Sigstore's TUF repository. Without it
/// the publish attestation is unreachable, never verified.
#[must_use]
pub fn verify_attestations(
    document: &[u8],
    artifact: &NpmArtifact<'_>,
    keys_json: Option<&[u8]>,
    context: &Context<'_>,
) -> Vec<Evidence> {
    let evidence = |kind: &str, state| Evidence {
        kind: kind.to_owned(),
        source: context.source.to_owned(),
        state,
    };
    let list = match read_list(document) {
        Ok(list) => list,
        Err(e) => {
            return [PUBLISH, PROVENANCE].map(|k| evidence(k, e.clone().into_state())).to_vec();
        }
    };
    let mut out: Vec<Evidence> = list
        .into_iter()
        .map(|(predicate_type, bundle)| {
            let (kind, result) = verify_one(&predicate_type, bundle, artifact, keys_json, context);
            let state = result.map_or_else(EvidenceError::into_state, |claim| {
                EvidenceState::Verified { claim: Box::new(claim) }
            });
            evidence(kind, state)
        })
        .collect();
    for kind in [PUBLISH, PROVENANCE] {
        if !out.iter().any(|e| e.kind == kind) {
            out.push(evidence(kind, EvidenceState::Absent));
        }
    }
    out
}

/// The announced predicate type and the bundle of each attestation.
fn read_list(document: &[u8]) -> Result<Vec<(String, Value)>, EvidenceError> {
    let mut value = json::parse(WHAT, document)?;
    json::need_array(WHAT, &value, "/attestations", MAX_ATTESTATIONS)?;
    let list = value.pointer_mut("/attestations").map(Value::take).unwrap_or_default();
    let Value::Array(list) = list else { return Ok(Vec::new()) };
    list.into_iter()
        .map(|mut a| {
            let kind = json::need_text(WHAT, &a, "/predicateType")?.to_owned();
            let bundle = a.pointer_mut("/bundle").map(Value::take);
            let bundle = bundle
                .ok_or_else(|| EvidenceError::malformed(WHAT, "an attestation has no bundle"))?;
            Ok((kind, bundle))
        })
        .collect()
}

fn verify_one(
    predicate_type: &str,
    bundle: Value,
    artifact: &NpmArtifact<'_>,
    keys_json: Option<&[u8]>,
    context: &Context<'_>,
) -> (&'static str, Result<Claim, EvidenceError>) {
    match predicate_type {
        PUBLISH_V0_1 => (PUBLISH, verify_publish(bundle, artifact, keys_json, context)),
        SLSA_V1 | SLSA_V0_2 => {
            (PROVENANCE, verify_provenance(predicate_type, bundle, artifact, context))
        }
        other => {
            (OTHER, Err(EvidenceError::Unsupported { what: "predicate type", found: shown(other) }))
        }
    }
}

fn verify_publish(
    bundle: Value,
    artifact: &NpmArtifact<'_>,
    keys_json: Option<&[u8]>,
    context: &Context<'_>,
) -> Result<Claim, EvidenceError> {
    let keys: Vec<TrustedKey> = keys::for_attestations(keys_json)?;
    let keys = context.roots.restrictions().pinned_keys(keys)?;
    let purl = artifact.purl();
    let attestation = sigstore::verify_keyed_bundle_value(
        bundle,
        &expected(artifact, &purl),
        &keys,
        context.roots,
        context.now,
    )?;
    let statement = &attestation.get().statement;
    check_predicate_type(&statement.predicate_type, PUBLISH_V0_1)?;
    let registry = check_publish_predicate(&statement.predicate, artifact)?;
    Ok(Claim { issuer: Some(registry), ..provenance::claim(&attestation)? })
}

fn verify_provenance(
    predicate_type: &str,
    bundle: Value,
    artifact: &NpmArtifact<'_>,
    context: &Context<'_>,
) -> Result<Claim, EvidenceError> {
    let purl = artifact.purl();
    let expected = expected(artifact, &purl);
    let attestation = sigstore::verify_bundle_value(bundle, &expected, context.roots, context.now)?;
    check_predicate_type(&attestation.get().statement.predicate_type, predicate_type)?;
    provenance::claim(&attestation)
}

fn expected<'a>(artifact: &NpmArtifact<'a>, purl: &'a str) -> Expected<'a> {
    Expected {
        name: SubjectName::Exact(purl),
        sha256: artifact.sha256,
        sha512: Some(artifact.sha512),
    }
}

/// The type that the registry announces is not signed; the one in the statement is.
fn check_predicate_type(signed: &str, announced: &str) -> Result<(), EvidenceError> {
    if signed == announced {
        return Ok(());
    }
    Err(EvidenceError::OtherPredicate {
        found: shown(signed),
        expected: format!("`{announced}`, as announced"),
    })
}

/// Checks name, version and registry of a publish attestation; the registry.
fn check_publish_predicate(
    predicate: &Value,
    artifact: &NpmArtifact<'_>,
) -> Result<String, EvidenceError> {
    const WHAT: &str = "publish attestation";
    let name = json::need_text(WHAT, predicate, "/name")?;
    let version = json::need_text(WHAT, predicate, "/version")?;
    if (name, version) != (artifact.name, artifact.version) {
        return Err(EvidenceError::OtherSubject {
            found: shown(&format!("{name}@{version}")),
            expected: shown(&format!("{}@{}", artifact.name, artifact.version)),
        });
    }
    let registry = json::need_text(WHAT, predicate, "/registry")?;
    let address = |text: &str| url::Url::parse(text).ok().filter(|u| u.scheme() == "https");
    let found = address(registry)
        .ok_or_else(|| EvidenceError::malformed(WHAT, "its registry is no HTTPS address"))?;
    match artifact.registry {
        Some(want) if address(want).as_ref() != Some(&found) => Err(EvidenceError::OtherSubject {
            found: shown(&format!("{name}@{version} in {registry}")),
            expected: shown(&format!("{name}@{version} in {want}")),
        }),
        _ => Ok(registry.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::{Ecosystem, Purl};
    use serde_json::json;

    fn artifact<'a>(name: &'a str, registry: Option<&'a str>) -> NpmArtifact<'a> {
        NpmArtifact { name, version: "1.0.0-rc.1", sha512: &[0; 64], sha256: None, registry }
    }

    #[test]
    fn the_package_url_is_npm_s_and_core_s() {
        for name in ["lodash", "@scope/name", "a.b_c-d"] {
            let core = Purl::new(Ecosystem::Npm, name, Some("1.0.0-rc.1")).to_string();
            assert_eq!(artifact(name, None).purl(), core);
        }
    }

    #[test]
    fn publish_predicates_are_cross_checked() {
        let here = Some("https://registry.example/");
        let of = |name, version, registry| json!({"name": name, "version": version, "registry": registry});
        let good = of("@s/n", "1.0.0-rc.1", "https://registry.example");
        assert!(check_publish_predicate(&good, &artifact("@s/n", here)).is_ok());
        assert!(check_publish_predicate(&good, &artifact("@s/n", None)).is_ok());
        for bad in [
            of("@s/m", "1.0.0-rc.1", "https://registry.example"),
            of("@s/n", "1.0.0", "https://registry.example"),
            of("@s/n", "1.0.0-rc.1", "https://other.example"),
            of("@s/n", "1.0.0-rc.1", "http://registry.example"),
            of("@s/n", "1.0.0-rc.1", ""),
            json!({"name": "@s/n", "version": "1.0.0-rc.1"}),
            json!({"name": ["@s/n"], "version": "1.0.0-rc.1", "registry": "https://registry.example"}),
            Value::Null,
        ] {
            assert!(check_publish_predicate(&bad, &artifact("@s/n", here)).is_err(), "{bad}");
        }
    }
}
