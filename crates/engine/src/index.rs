//! What the engine knows of a package from its index: files, facts, and which versions may be
//! offered. One load a package, however many ask.

use crate::engine::Engine;
use crate::http_client::Failure;
use crate::report::NotOffered;
use crate::upstream::Upstream;
use bytes::Bytes;
use countersign_core::{
    Age, Decision, Ecosystem, Evidence, ExpectedDigest, Purl, ReasonCode, Sha256Digest, Verdict,
    VersionFacts,
};
use countersign_ecosystem::version;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use url::Url;

/// A file that an index names: everything that is known of it before its bytes are.
#[derive(Debug, Clone)]
pub struct FileRef {
    /// The facts of its version, with the purl.
    pub facts: VersionFacts,
    /// The file's name.
    pub file_name: String,
    /// Where the upstream says it lies.
    pub url: Url,
    /// The digests that the index gives.
    pub expected: Vec<ExpectedDigest>,
    /// The size that the index gives, in bytes.
    pub size: Option<u64>,
    /// Where the upstream says that its attestations lie.
    pub attestations: Option<Url>,
    /// Evidence that came with the index itself (Debian's signed lists).
    pub evidence: Vec<Evidence>,
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The newest or nearest version that would be admitted instead.
    pub next_admissible: Option<String>,
}

impl FileRef {
    /// The version's purl.
    #[must_use]
    pub fn purl(&self) -> &Purl {
        &self.facts.purl
    }
}

/// A version as an index lists it, before policy.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub version: String,
    pub age: Age,
    pub yanked: bool,
    /// The SHA-256 digests that the index announces for its files.
    pub digests: Vec<Sha256Digest>,
}

/// A version with what policy says of its metadata.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub facts: VersionFacts,
    pub decision: Decision,
}

impl Judged {
    pub(crate) fn admissible(&self) -> bool {
        self.decision.verdict == Verdict::Admit
    }
}

/// A package's index after policy.
#[derive(Debug)]
pub(crate) struct PackageIndex {
    /// The documents for the client, by the form that it asks for.
    pub documents: Documents,
    /// The files of all versions, offered or not, by file name.
    pub files: HashMap<String, Arc<FileRef>>,
}

#[derive(Debug)]
pub(crate) enum Documents {
    Pypi { json: Bytes, html: Bytes },
    Npm { json: Bytes },
    Cargo { lines: Bytes },
}

/// All candidates of a package, judged.
pub(crate) struct Versions {
    pub judged: BTreeMap<String, Judged>,
}

impl Versions {
    /// Whether a version is offered to the client's resolver: it is admissible, or the user named
    /// it exactly, so that the refusal comes with its reason and not as "no such version".
    pub(crate) fn offered(&self, engine: &Engine, version: &str) -> bool {
        self.judged.get(version).is_some_and(|j| j.admissible() || engine.is_pinned(&j.facts.purl))
    }

    /// The nearest admissible release above `version`, or else the nearest below.
    pub(crate) fn next_admissible(&self, ecosystem: Ecosystem, version: &str) -> Option<String> {
        let mut above: Option<&str> = None;
        let mut below: Option<&str> = None;
        for (v, judged) in &self.judged {
            if !judged.admissible() || judged.facts.yanked || version::is_prerelease(ecosystem, v) {
                continue;
            }
            let nearer = |old: Option<&str>, want: Ordering| {
                old.is_none_or(|o| version::compare(ecosystem, v, o) == Some(want))
            };
            match version::compare(ecosystem, v, version) {
                Some(Ordering::Greater) if nearer(above, Ordering::Less) => above = Some(v),
                Some(Ordering::Less) if nearer(below, Ordering::Greater) => below = Some(v),
                _ => {}
            }
        }
        above.or(below).map(str::to_owned)
    }
}

/// A security fix may pass early, and every later version "fixes" the same: only the nearest one
/// does, or whoever takes over a package could jump the queue with the newest.
fn keep_nearest_fix(ecosystem: Ecosystem, all: &mut [(Candidate, VersionFacts)]) {
    let nearest = all
        .iter()
        .filter(|(c, f)| {
            !f.fixes_installed.is_empty() && !version::is_prerelease(ecosystem, &c.version)
        })
        .map(|(c, _)| c.version.clone())
        .min_by(|a, b| version::compare(ecosystem, a, b).unwrap_or(Ordering::Equal));
    for (c, facts) in all {
        if Some(&c.version) != nearest.as_ref() {
            facts.fixes_installed.clear();
        }
    }
}

impl Engine {
    /// Judges the versions of one package by metadata alone, and notes what is left out.
    pub(crate) fn judge_versions(
        &self,
        upstream: &Upstream,
        name: &str,
        candidates: Vec<Candidate>,
    ) -> Result<Versions, Failure> {
        let all = self.judge_each(upstream, name, candidates)?;
        Ok(Versions { judged: all.into_iter().map(|(c, judged)| (c.version, judged)).collect() })
    }

    /// Judges each candidate, in order; a version may be there more than once.
    pub(crate) fn judge_each(
        &self,
        upstream: &Upstream,
        name: &str,
        candidates: Vec<Candidate>,
    ) -> Result<Vec<(Candidate, Judged)>, Failure> {
        let ecosystem = upstream.ecosystem;
        let feed = self.feed_package(ecosystem, name, None)?;
        let mut all: Vec<(Candidate, VersionFacts)> = candidates
            .into_iter()
            .map(|c| {
                let purl = Purl::new(ecosystem, name, Some(&c.version));
                let facts = self.version_facts(purl, upstream, c.age, c.yanked, &feed);
                (c, facts)
            })
            .collect();
        keep_nearest_fix(ecosystem, &mut all);
        let judge = |(c, facts): (Candidate, VersionFacts)| {
            let decision = self.decide_version(&facts, &c.digests);
            if decision.verdict != Verdict::Admit
                && let Some(first) = decision.leading()
            {
                self.report().add_not_offered(NotOffered {
                    purl: facts.purl.clone(),
                    verdict: decision.verdict,
                    reason: first.reason,
                    detail: first.detail.clone(),
                });
            }
            (c, Judged { facts, decision })
        };
        Ok(all.into_iter().map(judge).collect())
    }

    /// Loads a package's index once, however many ask for it at the same time.
    pub(crate) async fn package(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &http::HeaderMap,
    ) -> Result<Arc<PackageIndex>, Failure> {
        let name = upstream.ecosystem.canonical_name(name);
        let key = format!("{} {name}", upstream.base);
        let cell = self.inner.packages.lock().entry(key).or_default().clone();
        let loaded = cell
            .get_or_try_init(|| async {
                let index = match upstream.ecosystem {
                    Ecosystem::Pypi => self.load_pypi(upstream, &name, headers).await?,
                    Ecosystem::Npm => self.load_npm(upstream, &name, headers).await?,
                    Ecosystem::Cargo => self.load_cargo(upstream, &name, headers).await?,
                    Ecosystem::Debian => {
                        return Err(Failure::new(
                            ReasonCode::NotInIndex,
                            "debian packages are looked up in the signed lists",
                        ));
                    }
                };
                let mut files = self.inner.files.lock();
                for f in index.files.values() {
                    // The first index that lists an address says what it is.
                    files.entry(f.url.to_string()).or_insert_with(|| f.clone());
                }
                drop(files);
                Ok(Arc::new(index))
            })
            .await?;
        Ok(loaded.clone())
    }
}
