//! Packuments: the document that describes all versions of a package, full or abbreviated.

use super::integrity::parse_integrity;
use super::name::validate_name;
use crate::error::{IndexError, IndexLimits};
use crate::json::{parse_object, string};
use crate::text::is_web;
use crate::version::{compare, is_prerelease, is_valid};
use countersign_core::{Algorithm, Ecosystem, ExpectedDigest, Timestamp};
use serde_json::{Map, Value};
use std::cmp::Ordering;
use url::Url;

/// The media type of the short form.
pub const ABBREVIATED_TYPE: &str = "application/vnd.npm.install-v1+json";

const WHAT: &str = "the npm package document";

/// A package's document. What is not read here is kept as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Packument {
    name: String,
    document: Map<String, Value>,
    rejected: usize,
}

/// What a packument says about one version. All of it is the registry's claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpmVersion {
    /// The version.
    pub version: String,
    /// Where the tarball is; `None` when that is no http or https URL.
    pub tarball: Option<Url>,
    /// The digests in `dist.integrity`; of one algorithm any may match, the strongest algorithm
    /// decides.
    pub integrity: Vec<ExpectedDigest>,
    /// The SHA-1 in `dist.shasum`.
    pub shasum: Option<ExpectedDigest>,
    /// Why the version is deprecated.
    pub deprecated: Option<String>,
    /// When it was published; only full documents tell.
    pub published: Option<Timestamp>,
    /// Where its attestations are (`dist.attestations.url`), as written.
    pub attestations_url: Option<String>,
    /// The registry's signatures: key id and base64 signature.
    pub signatures: Vec<(String, String)>,
    /// Whether the document admits to a script or native build that runs at installation. The
    /// tarball may hold one all the same.
    pub has_install_script: bool,
    /// The source repository that it claims.
    pub repository: Option<String>,
}

impl Packument {
    /// Reads a packument. A version whose key is no version, or whose manifest names another
    /// package or version, is taken out and counted.
    ///
    /// # Errors
    /// When the document is over a limit, malformed, or its name is none.
    pub fn parse(bytes: &[u8], limits: &IndexLimits) -> Result<Self, IndexError> {
        let document = parse_object(WHAT, bytes, limits)?;
        let name = string(&document, "name")
            .filter(|n| validate_name(n))
            .ok_or_else(|| IndexError::malformed(WHAT, "name", "it is missing or no package name"))?
            .to_owned();
        let versions = object(&document, "versions")?
            .ok_or_else(|| IndexError::malformed(WHAT, "versions", "it is missing"))?;
        limits.check_entries(WHAT, versions.len())?;
        for (tag, target) in object(&document, "dist-tags")?.into_iter().flatten() {
            if !target.is_string() {
                let because = format!("tag `{tag}` is not a string");
                return Err(IndexError::malformed(WHAT, "dist-tags", because));
            }
        }
        object(&document, "time")?;

        let sound: Vec<String> = versions
            .iter()
            .filter(|(version, manifest)| is_sound(&name, version, manifest))
            .map(|(version, _)| version.clone())
            .collect();
        let rejected = versions.len() - sound.len();
        let mut packument = Self { name, document, rejected };
        if rejected > 0 {
            let sound: std::collections::HashSet<String> = sound.into_iter().collect();
            packument.retain(|v| sound.contains(v));
        }
        Ok(packument)
    }

    /// The package's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many versions were taken out because they contradicted themselves.
    #[must_use]
    pub fn rejected(&self) -> usize {
        self.rejected
    }

    /// Whether this is the full document, which has times, and not the abbreviated one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.document.get("time").is_some_and(Value::is_object)
    }

    /// When the document last changed.
    #[must_use]
    pub fn modified(&self) -> Option<Timestamp> {
        let time = self.document.get("time").and_then(|t| t.get("modified"));
        time.or_else(|| self.document.get("modified"))
            .and_then(Value::as_str)
            .and_then(Timestamp::parse)
    }

    /// What the tag points at.
    #[must_use]
    pub fn dist_tag(&self, tag: &str) -> Option<&str> {
        self.document.get("dist-tags")?.get(tag)?.as_str()
    }

    /// The versions, in the document's order.
    #[must_use]
    pub fn versions(&self) -> Vec<NpmVersion> {
        let time = self.document.get("time");
        self.manifests()
            .filter_map(|(version, manifest)| {
                let published = time.and_then(|t| t.get(version)).and_then(Value::as_str);
                Some(read_version(version, manifest.as_object()?, published))
            })
            .collect()
    }

    fn manifests(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.document.get("versions").and_then(Value::as_object).into_iter().flatten()
    }

    /// Keeps the versions for which `keep` holds, and makes times and tags agree with them.
    ///
    /// When the version behind `latest` goes, the tag moves to the newest kept release that is not
    /// newer, else to the newest kept release, else to the newest kept version. Other tags of
    /// removed versions are dropped.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        if let Some(versions) = self.object_mut("versions") {
            versions.retain(|version, _| keep(version));
        }
        let kept: Vec<String> = self.manifests().map(|(version, _)| version.clone()).collect();
        let is_kept: std::collections::HashSet<&str> = kept.iter().map(String::as_str).collect();
        if let Some(time) = self.object_mut("time") {
            // `unpublished` is not about a version that is here.
            time.retain(|key, _| {
                matches!(key.as_str(), "created" | "modified" | "unpublished")
                    || is_kept.contains(key.as_str())
            });
        }
        if let Some(tags) = self.object_mut("dist-tags") {
            let moved = tags
                .get("latest")
                .and_then(Value::as_str)
                .filter(|target| !is_kept.contains(target))
                .and_then(|removed| new_latest(removed, &kept));
            if let (Some(moved), Some(latest)) = (moved, tags.get_mut("latest")) {
                *latest = moved.into();
            }
            tags.retain(|_, target| target.as_str().is_some_and(|t| is_kept.contains(t)));
        }
    }

    /// Sets each version's tarball to what `rewrite` gives; a version for which it gives `None`
    /// is removed.
    pub fn rewrite_tarballs(&mut self, rewrite: impl Fn(&NpmVersion) -> Option<String>) {
        let new: std::collections::HashMap<String, String> =
            self.versions().iter().filter_map(|v| Some((v.version.clone(), rewrite(v)?))).collect();
        self.retain(|version| new.contains_key(version));
        for (version, manifest) in self.object_mut("versions").into_iter().flatten() {
            if let (Some(dist), Some(url)) = (manifest.get_mut("dist"), new.get(version))
                && let Some(dist) = dist.as_object_mut()
            {
                dist.insert("tarball".to_owned(), url.as_str().into());
            }
        }
    }

    /// Says why versions that are not in the document cannot be had (`policyRestrictions`): npm takes
    /// one of these only when nothing else fits, and then shows the message instead. `refused` has
    /// the versions in the document's order, each with its reason.
    pub fn restrict(&mut self, refused: &[(String, String)]) {
        if refused.is_empty() {
            return;
        }
        // npm-pick-manifest compares these as it does the versions that there are.
        let manifest = |version: &str, why: &str| {
            let mut out = Map::new();
            out.insert("name".to_owned(), self.name.as_str().into());
            out.insert("version".to_owned(), version.into());
            out.insert("reason".to_owned(), why.into());
            Value::Object(out)
        };
        let versions: Map<String, Value> =
            refused.iter().map(|(v, why)| (v.clone(), manifest(v, why))).collect();
        let mut restrictions = Map::new();
        restrictions.insert("versions".to_owned(), Value::Object(versions));
        restrictions.insert("message".to_owned(), told(refused).into());
        self.document.insert("policyRestrictions".to_owned(), Value::Object(restrictions));
    }

    /// The document in the short form that installing needs
    /// (`application/vnd.npm.install-v1+json`, the registry's package-metadata.md).
    #[must_use]
    pub fn to_abbreviated_bytes(&self) -> Vec<u8> {
        let mut out = Map::new();
        for key in ["name", "dist-tags", "policyRestrictions"] {
            if let Some(value) = self.document.get(key) {
                out.insert(key.to_owned(), value.clone());
            }
        }
        let modified = self.document.get("time").and_then(|t| t.get("modified"));
        if let Some(modified) = modified.or_else(|| self.document.get("modified")) {
            out.insert("modified".to_owned(), modified.clone());
        }
        let versions: Map<String, Value> = self
            .manifests()
            .filter_map(|(v, manifest)| Some((v.clone(), abbreviated(manifest.as_object()?))))
            .collect();
        out.insert("versions".to_owned(), Value::Object(versions));
        Value::Object(out).to_string().into_bytes()
    }

    /// The document as JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.document).unwrap_or_default()
    }

    fn object_mut(&mut self, key: &str) -> Option<&mut Map<String, Value>> {
        self.document.get_mut(key)?.as_object_mut()
    }
}

/// How many lines a message about refused versions has.
const RESTRICTIONS_TOLD: usize = 12;

/// One line for each run of versions with the same reason, the last first: by custom the newest.
fn told(refused: &[(String, String)]) -> String {
    let runs: Vec<&[(String, String)]> = refused.chunk_by(|a, b| a.1 == b.1).collect();
    let line = |run: &&[(String, String)]| {
        let (first, last) = (run.first()?, run.last()?);
        Some(match run.len() {
            1 => format!("{}: {}", first.0, first.1),
            n => format!("{} to {} ({n} versions): {}", first.0, last.0, first.1),
        })
    };
    let mut lines: Vec<String> =
        runs.iter().rev().take(RESTRICTIONS_TOLD).filter_map(line).collect();
    let untold: usize = runs.iter().rev().skip(RESTRICTIONS_TOLD).map(|run| run.len()).sum();
    if untold > 0 {
        lines.push(format!("and {untold} older versions"));
    }
    lines.join("\n")
}

/// What a manifest keeps in the short form.
const ABBREVIATED: [&str; 21] = [
    "name",
    "version",
    "deprecated",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "bundleDependencies",
    "bundledDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "acceptDependencies",
    "bin",
    "directories",
    "dist",
    "engines",
    "os",
    "cpu",
    "libc",
    "funding",
    "hasInstallScript",
    "_hasShrinkwrap",
];

fn abbreviated(manifest: &Map<String, Value>) -> Value {
    let mut out: Map<String, Value> = ABBREVIATED
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), manifest.get(*key)?.clone())))
        .collect();
    if runs_at_install(manifest) {
        out.insert("hasInstallScript".to_owned(), true.into());
    }
    Value::Object(out)
}

/// The object under `key`; an error when something else stands there.
fn object<'a>(
    map: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<&'a Map<String, Value>>, IndexError> {
    match map.get(key) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(IndexError::malformed(WHAT, key, "it is not an object")),
    }
}

/// Whether a manifest is about the version under whose key it stands: a client installs what the
/// manifest says, and policy judges what the key says.
fn is_sound(name: &str, version: &str, manifest: &Value) -> bool {
    let agrees = |key, want: &str| manifest.get(key).is_none_or(|v| v.as_str() == Some(want));
    let dist = manifest.get("dist").is_some_and(Value::is_object);
    manifest.is_object()
        && dist
        && is_valid(Ecosystem::Npm, version)
        && agrees("name", name)
        && agrees("version", version)
}

fn new_latest(removed: &str, kept: &[String]) -> Option<String> {
    let releases = || kept.iter().filter(|v| !is_prerelease(Ecosystem::Npm, v));
    let not_newer = |v: &&String| {
        matches!(compare(Ecosystem::Npm, v, removed), Some(Ordering::Less | Ordering::Equal))
    };
    let by_order =
        |a: &&String, b: &&String| compare(Ecosystem::Npm, a, b).unwrap_or(Ordering::Equal);
    releases()
        .filter(not_newer)
        .max_by(by_order)
        .or_else(|| releases().max_by(by_order))
        .or_else(|| kept.iter().max_by(by_order))
        .cloned()
}

fn read_version(
    version: &str,
    manifest: &Map<String, Value>,
    published: Option<&str>,
) -> NpmVersion {
    let empty = Map::new();
    let dist = manifest.get("dist").and_then(Value::as_object).unwrap_or(&empty);
    let repository = match manifest.get("repository") {
        Some(Value::String(url)) => Some(url.as_str()),
        Some(Value::Object(object)) => string(object, "url"),
        _ => None,
    };
    NpmVersion {
        version: version.to_owned(),
        tarball: string(dist, "tarball").and_then(|t| Url::parse(t).ok()).filter(is_web),
        integrity: string(dist, "integrity").map(parse_integrity).unwrap_or_default(),
        shasum: string(dist, "shasum")
            .and_then(|hex| ExpectedDigest::from_hex(Algorithm::Sha1, hex).ok()),
        deprecated: match manifest.get("deprecated") {
            Some(Value::String(why)) if !why.is_empty() => Some(crate::text::clean(why)),
            Some(Value::Bool(true)) => Some(String::new()),
            _ => None,
        },
        published: published.and_then(Timestamp::parse),
        attestations_url: dist
            .get("attestations")
            .and_then(|a| a.get("url"))
            .and_then(Value::as_str)
            .map(str::to_owned),
        signatures: read_signatures(dist),
        has_install_script: runs_at_install(manifest),
        repository: repository.map(crate::text::clean),
    }
}

fn read_signatures(dist: &Map<String, Value>) -> Vec<(String, String)> {
    let list = dist.get("signatures").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|s| {
            Some((s.get("keyid")?.as_str()?.to_owned(), s.get("sig")?.as_str()?.to_owned()))
        })
        .collect()
}

fn runs_at_install(manifest: &Map<String, Value>) -> bool {
    let flag = |key| manifest.get(key).and_then(Value::as_bool) == Some(true);
    let script = |key| manifest.get("scripts").and_then(|s| s.get(key)).is_some();
    flag("hasInstallScript")
        || flag("gypfile")
        || ["preinstall", "install", "postinstall"].into_iter().any(script)
}

#[cfg(test)]
#[path = "packument_tests.rs"]
mod tests;
