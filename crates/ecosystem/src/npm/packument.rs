//! Packuments: the document that describes all versions of a package, full or abbreviated.

use super::integrity::parse_integrity;
use super::name::validate_name;
use crate::error::{IndexError, IndexLimits};
use crate::json_text::{Members, Writer, checked, unescaped, write_string};
use crate::text::is_web;
use crate::version::{compare, is_prerelease, is_valid};
use countersign_core::{Algorithm, Ecosystem, ExpectedDigest, Timestamp};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use url::Url;

/// The media type of the short form.
pub const ABBREVIATED_TYPE: &str = "application/vnd.npm.install-v1+json";

const WHAT: &str = "the npm package document";

/// A package's document. What is not read here is passed on as it is written; a document of
/// megabytes is not built in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Packument<'a> {
    name: String,
    /// The top level; what the fields below hold is written from them.
    members: Members<'a>,
    versions: Vec<Manifest<'a>>,
    time: Option<Members<'a>>,
    tags: Option<Vec<Tag<'a>>>,
    restrictions: Option<Value>,
    rejected: usize,
}

/// A tag, and the version that it points at.
type Tag<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A version's manifest, as it is written but for its tarball.
#[derive(Debug, Clone, PartialEq)]
struct Manifest<'a> {
    version: Cow<'a, str>,
    text: &'a str,
    tarball: Option<String>,
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

impl<'a> Packument<'a> {
    /// Reads a packument. A version whose key is no version, or whose manifest names another
    /// package or version, is taken out and counted.
    ///
    /// # Errors
    /// When the document is over a limit, malformed, or its name is none.
    pub fn parse(bytes: &'a [u8], limits: &IndexLimits) -> Result<Self, IndexError> {
        let text = checked(WHAT, bytes, limits)?;
        let members = Members::of(text).ok_or_else(|| {
            IndexError::malformed(WHAT, "the top level", "it is not a JSON object")
        })?;
        let name = members
            .string("name")
            .filter(|n| validate_name(n))
            .ok_or_else(|| IndexError::malformed(WHAT, "name", "it is missing or no package name"))?
            .into_owned();
        let all = object(&members, "versions")?
            .ok_or_else(|| IndexError::malformed(WHAT, "versions", "it is missing"))?;
        limits.check_entries(WHAT, all.len())?;
        let tags = object(&members, "dist-tags")?.map(|tags| read_tags(&tags)).transpose()?;
        let time = object(&members, "time")?;

        let sound = all.iter().filter(|(version, text)| is_sound(&name, version, text));
        let manifest = |(version, text): &(Cow<'a, str>, &'a str)| Manifest {
            version: version.clone(),
            text,
            tarball: None,
        };
        let versions: Vec<Manifest<'a>> = sound.map(manifest).collect();
        let rejected = all.len() - versions.len();
        let restrictions = None;
        let mut out = Self { name, members, versions, time, tags, restrictions, rejected };
        if rejected > 0 {
            out.retain(|_| true);
        }
        Ok(out)
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
        self.time.is_some()
    }

    /// When the document last changed.
    #[must_use]
    pub fn modified(&self) -> Option<Timestamp> {
        unescaped(self.modified_text()?).and_then(|t| Timestamp::parse(&t))
    }

    fn modified_text(&self) -> Option<&'a str> {
        let time = self.time.as_ref().and_then(|t| t.get("modified"));
        time.or_else(|| self.members.get("modified"))
    }

    /// What the tag points at.
    #[must_use]
    pub fn dist_tag(&self, tag: &str) -> Option<&str> {
        self.tags.iter().flatten().find(|(t, _)| t == tag).map(|(_, target)| target.as_ref())
    }

    /// The versions, in the document's order.
    #[must_use]
    pub fn versions(&self) -> Vec<NpmVersion> {
        let times: HashMap<&str, &str> =
            self.time.iter().flat_map(Members::iter).map(|(v, at)| (v.as_ref(), *at)).collect();
        let read = |m: &Manifest<'a>| {
            let published = times.get(m.version.as_ref()).and_then(|text| unescaped(text));
            let mut version = read_version(&m.version, &Members::of(m.text)?, published.as_deref());
            if let Some(tarball) = &m.tarball {
                version.tarball = Url::parse(tarball).ok().filter(is_web);
            }
            Some(version)
        };
        self.versions.iter().filter_map(read).collect()
    }

    /// One version's manifest, as it is written.
    #[must_use]
    pub fn manifest(&self, version: &str) -> Option<&'a str> {
        self.versions.iter().find(|m| m.version == version).map(|m| m.text)
    }

    /// Keeps the versions for which `keep` holds, and makes times and tags agree with them.
    ///
    /// When the version behind `latest` goes, the tag moves to the newest kept release that is not
    /// newer, else to the newest kept release, else to the newest kept version. Other tags of
    /// removed versions are dropped.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.versions.retain(|m| keep(&m.version));
        let kept: HashSet<&str> = self.versions.iter().map(|m| m.version.as_ref()).collect();
        if let Some(time) = &mut self.time {
            // `unpublished` is not about a version that is here.
            time.retain(|key, _| {
                matches!(key, "created" | "modified" | "unpublished") || kept.contains(key)
            });
        }
        let Some(tags) = &mut self.tags else { return };
        for (tag, target) in tags.iter_mut() {
            if tag == "latest"
                && !kept.contains(target.as_ref())
                && let Some(moved) = new_latest(target, &kept)
            {
                *target = Cow::Owned(moved);
            }
        }
        tags.retain(|(_, target)| kept.contains(target.as_ref()));
    }

    /// Sets each version's tarball to what `rewrite` gives; a version for which it gives `None`
    /// is removed.
    pub fn rewrite_tarballs(&mut self, rewrite: impl Fn(&NpmVersion) -> Option<String>) {
        let new =
            self.versions().iter().filter_map(|v| Some((v.version.clone(), rewrite(v)?))).collect();
        self.set_tarballs(&new);
    }

    /// Sets each version's tarball; a version for which there is none is removed.
    pub fn set_tarballs(&mut self, tarballs: &HashMap<String, String>) {
        self.retain(|version| tarballs.contains_key(version));
        for manifest in &mut self.versions {
            manifest.tarball = tarballs.get(manifest.version.as_ref()).cloned();
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
        self.restrictions = Some(Value::Object(restrictions));
    }

    /// The document in the short form that installing needs
    /// (`application/vnd.npm.install-v1+json`, the registry's package-metadata.md).
    #[must_use]
    pub fn to_abbreviated_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut document = Writer::begin(&mut out);
        for key in ["name", "dist-tags", "policyRestrictions"] {
            self.write_member(&mut document, key);
        }
        if let Some(modified) = self.modified_text() {
            document.member("modified", modified);
        }
        write_versions(document.key("versions"), &self.versions, Manifest::write_short);
        document.end();
        out
    }

    /// The document as JSON.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut document = Writer::begin(&mut out);
        for (key, _) in self.members.iter() {
            self.write_member(&mut document, key);
        }
        if self.members.get("policyRestrictions").is_none() {
            self.write_member(&mut document, "policyRestrictions");
        }
        document.end();
        out
    }

    /// Writes a member of the top level, if there is one.
    fn write_member(&self, document: &mut Writer<'_>, key: &str) {
        match (key, &self.tags, &self.time, &self.restrictions) {
            ("versions", ..) => {
                write_versions(document.key(key), &self.versions, Manifest::write);
            }
            ("dist-tags", Some(tags), ..) => {
                let mut object = Writer::begin(document.key(key));
                for (tag, target) in tags {
                    write_string(object.key(tag), target);
                }
                object.end();
            }
            ("time", _, Some(time), _) => {
                let mut object = Writer::begin(document.key(key));
                time.iter().for_each(|(version, at)| object.member(version, at));
                object.end();
            }
            ("policyRestrictions", _, _, Some(own)) => document.member(key, &own.to_string()),
            _ => {
                if let Some(text) = self.members.get(key) {
                    document.member(key, text);
                }
            }
        }
    }
}

fn write_versions<'a>(
    out: &mut Vec<u8>,
    versions: &[Manifest<'a>],
    write: impl Fn(&Manifest<'a>, &mut Vec<u8>),
) {
    let mut object = Writer::begin(out);
    for manifest in versions {
        write(manifest, object.key(&manifest.version));
    }
    object.end();
}

impl Manifest<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let members = Members::of(self.text).unwrap_or_default();
        let mut object = Writer::begin(out);
        for (key, value) in members.iter() {
            self.write_member(&mut object, key, value);
        }
        object.end();
    }

    fn write_short(&self, out: &mut Vec<u8>) {
        let members = Members::of(self.text).unwrap_or_default();
        let runs = runs_at_install(&members);
        let mut object = Writer::begin(out);
        for key in ABBREVIATED {
            match members.get(key) {
                Some(_) if runs && key == "hasInstallScript" => {}
                Some(value) => self.write_member(&mut object, key, value),
                None => {}
            }
        }
        if runs {
            object.member("hasInstallScript", "true");
        }
        object.end();
    }

    fn write_member(&self, object: &mut Writer<'_>, key: &str, value: &str) {
        let dist = if key == "dist" { Members::of(value) } else { None };
        let (Some(dist), Some(tarball)) = (dist, &self.tarball) else {
            return object.member(key, value);
        };
        let mut inner = Writer::begin(object.key(key));
        for (key, value) in dist.iter().filter(|(key, _)| key != "tarball") {
            inner.member(key, value);
        }
        write_string(inner.key("tarball"), tarball);
        inner.end();
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

/// The object under `key`; an error when something else stands there.
fn object<'a>(members: &Members<'a>, key: &str) -> Result<Option<Members<'a>>, IndexError> {
    let read = |text| {
        Members::of(text).ok_or_else(|| IndexError::malformed(WHAT, key, "it is not an object"))
    };
    members.get(key).map(read).transpose()
}

fn read_tags<'a>(tags: &Members<'a>) -> Result<Vec<Tag<'a>>, IndexError> {
    let read = |(tag, target): &(Cow<'a, str>, &'a str)| match unescaped(target) {
        Some(target) => Ok((tag.clone(), target)),
        None => {
            let because = format!("tag `{tag}` is not a string");
            Err(IndexError::malformed(WHAT, "dist-tags", because))
        }
    };
    tags.iter().map(read).collect()
}

/// Whether a manifest is about the version under whose key it stands: a client installs what the
/// manifest says, and policy judges what the key says.
fn is_sound(name: &str, version: &str, text: &str) -> bool {
    let Some(manifest) = Members::of(text) else { return false };
    let agrees =
        |key, want: &str| manifest.get(key).is_none_or(|v| unescaped(v).as_deref() == Some(want));
    manifest.object("dist").is_some()
        && is_valid(Ecosystem::Npm, version)
        && agrees("name", name)
        && agrees("version", version)
}

fn new_latest(removed: &str, kept: &HashSet<&str>) -> Option<String> {
    let all = || kept.iter().copied();
    let releases = || all().filter(|v| !is_prerelease(Ecosystem::Npm, v));
    let not_newer = |v: &&str| {
        matches!(compare(Ecosystem::Npm, v, removed), Some(Ordering::Less | Ordering::Equal))
    };
    // Versions that differ in build metadata alone are equal: the text decides, and no chance.
    let by_order = |a: &&str, b: &&str| {
        compare(Ecosystem::Npm, a, b).unwrap_or(Ordering::Equal).then_with(|| a.cmp(b))
    };
    releases()
        .filter(not_newer)
        .max_by(by_order)
        .or_else(|| releases().max_by(by_order))
        .or_else(|| all().max_by(by_order))
        .map(str::to_owned)
}

fn read_version(version: &str, manifest: &Members<'_>, published: Option<&str>) -> NpmVersion {
    let dist = manifest.object("dist").unwrap_or_default();
    let repository = manifest
        .string("repository")
        .or_else(|| manifest.object("repository").and_then(|object| object.string("url")));
    NpmVersion {
        version: version.to_owned(),
        tarball: dist.string("tarball").and_then(|t| Url::parse(&t).ok()).filter(is_web),
        integrity: dist.string("integrity").map(|i| parse_integrity(&i)).unwrap_or_default(),
        shasum: dist
            .string("shasum")
            .and_then(|hex| ExpectedDigest::from_hex(Algorithm::Sha1, &hex).ok()),
        deprecated: match manifest.string("deprecated") {
            Some(why) if !why.is_empty() => Some(crate::text::clean(&why)),
            None if manifest.get("deprecated") == Some("true") => Some(String::new()),
            _ => None,
        },
        published: published.and_then(Timestamp::parse),
        attestations_url: dist
            .object("attestations")
            .and_then(|a| a.string("url"))
            .map(Cow::into_owned),
        signatures: dist.get("signatures").map(read_signatures).unwrap_or_default(),
        has_install_script: runs_at_install(manifest),
        repository: repository.map(|r| crate::text::clean(&r)),
    }
}

fn read_signatures(list: &str) -> Vec<(String, String)> {
    let list: Value = serde_json::from_str(list).unwrap_or_default();
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| {
            Some((s.get("keyid")?.as_str()?.to_owned(), s.get("sig")?.as_str()?.to_owned()))
        })
        .collect()
}

fn runs_at_install(manifest: &Members<'_>) -> bool {
    let flag = |key| manifest.get(key) == Some("true");
    flag("hasInstallScript")
        || flag("gypfile")
        || manifest.object("scripts").is_some_and(|scripts| {
            ["preinstall", "install", "postinstall"].into_iter().any(|s| scripts.get(s).is_some())
        })
}

#[cfg(test)]
#[path = "packument_tests.rs"]
mod tests;
