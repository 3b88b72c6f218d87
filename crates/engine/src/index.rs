//! What the engine knows of a package from its index: files, facts, and which versions may be
//! offered. One load a package, however many ask.

use crate::engine::Engine;
use crate::file_table::FileTable;
use crate::http_client::Failure;
use crate::packed::Packed;
use crate::report::NotOffered;
use crate::shelf::{Shelf, Shelved};
use crate::silence::silent_days;
use crate::upstream::Upstream;
use countersign_core::{
    Age, Decision, Ecosystem, Evidence, ExpectedDigest, Purl, ReasonCode, Sha256Digest, Timestamp,
    Verdict, VersionFacts,
};
use countersign_ecosystem::version;
use countersign_evidence::npm::RegistrySignature;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    /// The registry's signatures, where the index carries them (npm).
    pub signatures: Vec<RegistrySignature>,
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
    /// The source repository that its metadata claims, where the index tells it.
    pub repository: Option<String>,
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
    pub files: FileTable,
    /// The digests of separate metadata (PEP 658), by the name of the file that it is of.
    pub metadata: HashMap<String, Vec<ExpectedDigest>>,
    /// The digest of the upstream's document.
    pub source: Sha256Digest,
    /// When the first of the versions that are held would be judged differently.
    pub ends: Option<Timestamp>,
}

impl PackageIndex {
    /// About what it takes in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let metadata = self.metadata.len() * 200;
        self.documents.weight() + metadata + self.files.weight() + 500
    }
}

#[derive(Debug)]
pub(crate) enum Documents {
    /// PEP 691's form; HTML is made of it for who asks.
    Pypi(Packed),
    /// The long form; the short one is made of it.
    Npm(Packed),
    /// The lines of a sparse index.
    Cargo(Packed),
}

impl Documents {
    /// The document's length as it is given out, in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Pypi(document) | Self::Npm(document) | Self::Cargo(document) => document.len(),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Pypi(document) | Self::Npm(document) | Self::Cargo(document) => document.weight(),
        }
    }
}

/// What loading a package's index gives.
pub(crate) struct Loaded {
    /// The index; `None` when the upstream's document has the digest that was asked about.
    pub index: Option<PackageIndex>,
    /// Until when the upstream need not be asked again.
    pub fresh_until: Instant,
}

/// All candidates of a package, judged.
pub(crate) struct Versions {
    pub judged: BTreeMap<String, Judged>,
    /// The releases that may be named in another's place, in their order.
    releases: Vec<(version::Key, String)>,
}

impl Versions {
    /// Puts what may be named in another's place in order once: an index may hold thousands of
    /// versions, and each of them is asked for its next.
    pub(crate) fn new(ecosystem: Ecosystem, judged: BTreeMap<String, Judged>) -> Self {
        let releases = judged.iter().filter(|(v, j)| {
            j.admissible() && !j.facts.yanked && !version::is_prerelease(ecosystem, v)
        });
        let mut releases: Vec<_> = releases
            .filter_map(|(v, _)| Some((version::Key::new(ecosystem, v)?, v.clone())))
            .collect();
        releases.sort();
        Self { judged, releases }
    }

    /// Whether a version is offered to the client's resolver: it is admissible, or the user named
    /// it exactly, so that the refusal comes with its reason and not as "no such version".
    pub(crate) fn offered(&self, engine: &Engine, version: &str) -> bool {
        self.judged.get(version).is_some_and(|j| j.admissible() || engine.is_pinned(&j.facts.purl))
    }

    /// Why a version is not offered, for a client that names it exactly: one line.
    pub(crate) fn why_not(&self, ecosystem: Ecosystem, version: &str) -> Option<String> {
        let judged = self.judged.get(version).filter(|j| !j.admissible())?;
        let first = judged.decision.leading()?;
        let verb = match judged.decision.verdict {
            Verdict::Hold => "held",
            _ => "refused",
        };
        let mut line = format!("{verb} by countersign: {}: {}", first.reason, first.detail);
        if let Some(next) = self.next_admissible(ecosystem, version) {
            line.push_str(&format!("; next admissible version: {next}"));
        }
        Some(line)
    }

    /// When the first of the held versions would be judged differently, by itself.
    pub(crate) fn ends(&self) -> Option<Timestamp> {
        self.judged.values().filter_map(|j| j.decision.ends()).min()
    }

    /// The nearest admissible release above `version`, or else the nearest below.
    pub(crate) fn next_admissible(&self, ecosystem: Ecosystem, version: &str) -> Option<String> {
        let key = version::Key::new(ecosystem, version)?;
        let above = self.releases.partition_point(|(k, _)| *k <= key);
        let below = self.releases.partition_point(|(k, _)| *k < key).checked_sub(1);
        let nearest = self.releases.get(above).or_else(|| self.releases.get(below?));
        nearest.map(|(_, v)| v.clone())
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
        let judged = all.into_iter().map(|(c, judged)| (c.version, judged)).collect();
        Ok(Versions::new(upstream.ecosystem, judged))
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
        let silent = silent_days(candidates.iter().map(|c| (c.version.as_str(), c.age)));
        let silent: Vec<Option<u32>> =
            candidates.iter().map(|c| silent.get(c.version.as_str()).copied()).collect();
        let mut all: Vec<(Candidate, VersionFacts)> = candidates
            .into_iter()
            .zip(silent)
            .map(|(c, silent)| {
                let purl = Purl::new(ecosystem, name, Some(&c.version));
                let mut facts = self.version_facts(purl, upstream, c.age, c.yanked, &feed);
                facts.silent_days = silent;
                facts.claimed_repository.clone_from(&c.repository);
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

    /// A package's index: of this run, or fresh enough. One load, however many ask at the same time.
    pub(crate) async fn package(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &http::HeaderMap,
    ) -> Result<Arc<PackageIndex>, Failure> {
        let name = upstream.ecosystem.canonical_name(name);
        let key = format!("{} {name}", upstream.base);
        match &self.inner.shelf {
            Some(_) => self.package_until(upstream, &name, headers).await.map(|(index, _)| index),
            None => self.package_of_run(key, upstream, &name, headers).await,
        }
    }

    /// A package's index, and until when it is fresh.
    pub(crate) async fn package_until(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &http::HeaderMap,
    ) -> Result<(Arc<PackageIndex>, Instant), Failure> {
        let name = upstream.ecosystem.canonical_name(name);
        let key = format!("{} {name}", upstream.base);
        match &self.inner.shelf {
            Some(shelf) => {
                let on_shelf = self.package_on_shelf(shelf, key, upstream, &name, headers).await?;
                Ok((on_shelf.index?, on_shelf.until))
            }
            None => {
                let index = self.package_of_run(key, upstream, &name, headers).await?;
                Ok((index, Instant::now()))
            }
        }
    }

    async fn package_of_run(
        &self,
        key: String,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &http::HeaderMap,
    ) -> Result<Arc<PackageIndex>, Failure> {
        let cell = self.inner.packages.lock().entry(key).or_default().clone();
        let loaded = cell
            .get_or_try_init(|| async {
                let loaded = self.load_package(upstream, name, headers, None).await?;
                let index = loaded.index.ok_or_else(nothing_loaded)?;
                let mut files = self.inner.files.lock();
                for f in index.files.open_files() {
                    // The first index that lists an address says what it is.
                    files.entry(f.url.to_string()).or_insert_with(|| f.clone());
                }
                drop(files);
                Ok::<_, Failure>(Arc::new(index))
            })
            .await?;
        Ok(loaded.clone())
    }

    async fn package_on_shelf(
        &self,
        shelf: &Shelf,
        key: String,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &http::HeaderMap,
    ) -> Result<Shelved, Failure> {
        let good = |s: &Shelved| s.is_good(self.generation(), self.now());
        if let Some(shelved) = shelf.get(&key).filter(good) {
            self.inner.metrics.index_hit();
            return Ok(shelved);
        }
        let turn = shelf.turn(&key);
        let _mine = turn.lock().await;
        let before = shelf.get(&key);
        if let Some(shelved) = before.clone().filter(good) {
            self.inner.metrics.index_hit();
            return Ok(shelved);
        }
        // Read before the judging: grounds that change meanwhile make it old at once.
        let generation = self.generation();
        let same = before.filter(|s| s.generation == generation).and_then(|s| s.index.ok());
        let same = same.filter(|i| i.ends.is_none_or(|end| self.now() < end));
        let loaded =
            self.load_package(upstream, name, headers, same.as_ref().map(|i| i.source)).await;
        let (index, until) = match loaded {
            Ok(loaded) => {
                let index = loaded.index.map(Arc::new).or(same).ok_or_else(nothing_loaded)?;
                (Ok(index), loaded.fresh_until)
            }
            Err(failure) => {
                let again = if failure.says_absent() { ABSENT } else { FAILED };
                (Err(failure), Instant::now() + again)
            }
        };
        let shelved = Shelved { index, generation, until };
        shelf.put(key, shelved.clone());
        Ok(shelved)
    }

    /// Reads or writes a document: a large one away from the threads that answer, and not more of
    /// them at a time than there are processors, since each takes many times its length.
    pub(crate) async fn parsing<T: Send + 'static>(
        &self,
        size: usize,
        work: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        if size < LARGE {
            return work(self);
        }
        let lost = |e: &dyn std::fmt::Display| {
            Failure::new(ReasonCode::Internal, format!("an index was lost on the way: {e}"))
        };
        let _turn = self.inner.parsing.acquire().await.map_err(|e| lost(&e))?;
        let engine = self.clone();
        tokio::task::spawn_blocking(move || work(&engine)).await.map_err(|e| lost(&e))?
    }

    /// The table of an index's files as it is kept.
    pub(crate) fn file_table(
        &self,
        files: HashMap<String, Arc<FileRef>>,
        upstream: &Arc<Upstream>,
    ) -> FileTable {
        if self.serves() { FileTable::packed(files, upstream) } else { FileTable::Open(files) }
    }

    async fn load_package(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &http::HeaderMap,
        same: Option<Sha256Digest>,
    ) -> Result<Loaded, Failure> {
        match upstream.ecosystem {
            Ecosystem::Pypi => self.load_pypi(upstream, name, headers, same).await,
            Ecosystem::Npm => self.load_npm(upstream, name, headers, same).await,
            Ecosystem::Cargo => self.load_cargo(upstream, name, headers, same).await,
            Ecosystem::Debian => Err(Failure::new(
                ReasonCode::NotInIndex,
                "debian packages are looked up in the signed lists",
            )),
            Ecosystem::Go | Ecosystem::Maven => Err(not_served(upstream.ecosystem)),
        }
    }
}

/// No upstream is of these: they are judged where documents list them.
pub(crate) fn not_served(ecosystem: Ecosystem) -> Failure {
    let detail = format!("packages of {ecosystem} do not pass the gate yet");
    Failure::new(ReasonCode::NotInIndex, detail)
}

/// A document of this length takes milliseconds.
const LARGE: usize = 64 << 10;

/// How long an upstream's word that it has no such package is believed.
const ABSENT: Duration = Duration::from_secs(20);

/// How long a failure is everybody's: who waited for the same index must not each wait for another.
const FAILED: Duration = Duration::from_secs(3);

fn nothing_loaded() -> Failure {
    Failure::new(ReasonCode::Internal, "an index was neither loaded nor known")
}
