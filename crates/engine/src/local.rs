//! Files that a client takes from its own cache or from this machine: judged by the same pipeline.

use crate::engine::Engine;
use crate::http_client::Failure;
use crate::index::FileRef;
use crate::pipeline::{Outcome, store_failure};
use crate::refusal::Refusal;
use crate::report::Entry;
use crate::upstream::Upstream;
use countersign_core::{
    Age, Algorithm, Decision, Ecosystem, ExpectedDigest, Purl, ReasonCode, Sha256Digest,
};
use http::HeaderMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file in a client's own cache that a lock file names.
#[derive(Debug, Clone)]
pub struct CachedFile {
    /// The version that it is a file of.
    pub purl: Purl,
    /// The file's name.
    pub file_name: String,
    /// The digest that the lock file gives.
    pub checksum: Sha256Digest,
    /// Where it lies.
    pub path: PathBuf,
}

impl Engine {
    /// Judges files of a client's cache that would be used without passing the gate. Returns how
    /// many were not admitted; the report names them.
    pub async fn judge_cached(&self, files: Vec<CachedFile>) -> usize {
        use futures_util::StreamExt as _;
        let outcomes = futures_util::stream::iter(files)
            .map(|file| async move { self.judge_one_cached(file).await })
            .buffer_unordered(8)
            .collect::<Vec<bool>>()
            .await;
        outcomes.into_iter().filter(|admitted| !admitted).count()
    }

    /// Judges versions that a lock file says will be asked for, so that the client finds them judged,
    /// and so that all that stands against a lock file comes to light at once.
    pub async fn judge_ahead(&self, versions: Vec<Purl>) {
        use futures_util::StreamExt as _;
        futures_util::stream::iter(versions)
            .for_each_concurrent(16, |purl| async move {
                let upstream = match purl.ecosystem() {
                    Ecosystem::Npm => self.npm_upstream_for(purl.name()),
                    other => self.upstreams_of(other).into_iter().next(),
                };
                let Some(upstream) = upstream else { return };
                // What cannot be had is the client's to ask for again, and then it has its reason.
                let Ok(index) = self.package(&upstream, purl.name(), &HeaderMap::new()).await
                else {
                    return;
                };
                if let Some(file) = index.files.find(|f| *f.purl() == purl) {
                    let headers = self.credentials(&file.url, &HeaderMap::new());
                    self.admit(file.clone(), headers).await;
                }
            })
            .await;
    }

    async fn judge_one_cached(&self, cached: CachedFile) -> bool {
        let file = match self.cached_ref(&cached).await {
            Ok(file) => Arc::new(file),
            Err(failure) => {
                self.report_failure(&cached.purl, &cached.file_name, &failure);
                return false;
            }
        };
        matches!(self.admit_local(file, &cached.path).await, Outcome::Admitted(_))
    }

    /// What the registries or, for versions that were judged before, the record say of a cached
    /// file; the lock file's digest is compared as well.
    async fn cached_ref(&self, cached: &CachedFile) -> Result<FileRef, Failure> {
        let expected: Vec<ExpectedDigest> =
            ExpectedDigest::from_bytes(Algorithm::Sha256, cached.checksum.0.to_vec())
                .into_iter()
                .collect();
        let before = self
            .inner
            .store
            .latest_decision(&cached.checksum, &cached.purl, &cached.file_name)
            .await
            .map_err(store_failure)?;
        let facts = before.and_then(|d| d.facts.get("version").cloned());
        if let Some(old) =
            facts.and_then(|f| serde_json::from_value::<countersign_core::VersionFacts>(f).ok())
            && let Some(upstream) = self
                .upstreams_of(cached.purl.ecosystem())
                .into_iter()
                .find(|u| u.name == old.upstream)
        {
            let feed = self.feed_package(cached.purl.ecosystem(), cached.purl.name(), None)?;
            let facts =
                self.version_facts(cached.purl.clone(), &upstream, old.age, old.yanked, &feed);
            return Ok(self.local_ref(facts, &cached.file_name, upstream, expected));
        }
        for upstream in self.upstreams_of(cached.purl.ecosystem()) {
            match self.package(&upstream, cached.purl.name(), &HeaderMap::new()).await {
                Ok(index) => {
                    if let Some(file) = index.files.get(&cached.file_name) {
                        let mut file = FileRef::clone(&file);
                        file.expected.extend(expected);
                        return Ok(file);
                    }
                }
                Err(f) if f.says_absent() => {}
                Err(f) => return Err(f),
            }
        }
        Err(Failure::new(
            ReasonCode::NotInIndex,
            format!("{} lies in the client's cache and no registry lists it", cached.file_name),
        ))
    }

    fn local_ref(
        &self,
        facts: countersign_core::VersionFacts,
        file_name: &str,
        upstream: Arc<Upstream>,
        expected: Vec<ExpectedDigest>,
    ) -> FileRef {
        FileRef {
            facts,
            file_name: file_name.to_owned(),
            url: upstream.base.join(file_name).unwrap_or_else(|_| upstream.base.clone()),
            expected,
            size: None,
            attestations: None,
            signatures: Vec::new(),
            evidence: Vec::new(),
            upstream,
            next_admissible: None,
        }
    }

    /// Judges a file of this machine as if it had been fetched.
    pub(crate) async fn admit_local(&self, file: Arc<FileRef>, path: &Path) -> Outcome {
        let label = file.purl().label();
        self.report().begin(&label);
        let judged = self.admit_local_steps(&file, path).await;
        self.report().end(&label);
        let outcome = judged.unwrap_or_else(|failure| {
            self.report_failure(file.purl(), &file.file_name, &failure);
            self.local_refusal(&file, &failure)
        });
        if let Outcome::Admitted(a) = &outcome {
            self.fetches().note_here(a);
        }
        outcome
    }

    async fn admit_local_steps(
        &self,
        file: &Arc<FileRef>,
        path: &Path,
    ) -> Result<Outcome, Failure> {
        let staged = match self.known_blob(file).await? {
            // The file that the client will use is the one on its disk: it must be these bytes.
            Some(known) => {
                let wanted = crate::pipeline::wanted_algorithms(&file.expected);
                let hashed = crate::fetch::hash_file(path.to_path_buf(), wanted).await;
                match hashed {
                    Ok((d, _)) if d.sha256 == known.digests.sha256 => known,
                    _ => self.stage_local(path, &file.expected).await?,
                }
            }
            None => self.stage_local(path, &file.expected).await?,
        };
        self.judge_bytes(file, staged).await
    }

    fn local_refusal(&self, file: &FileRef, failure: &Failure) -> Outcome {
        let decision =
            Decision::refused_by_gate(failure.reason, &failure.detail, self.policy_digest());
        Outcome::Refused(Arc::new(Refusal {
            purl: Some(file.purl().clone()),
            file_name: Some(file.file_name.clone()),
            ..Refusal::unrecorded(&file.purl().label(), decision, self.now())
        }))
    }

    pub(crate) fn report_failure(&self, purl: &Purl, file_name: &str, failure: &Failure) {
        self.report().add(Entry {
            artifact: purl.label(),
            purl: Some(purl.clone()),
            file_name: Some(file_name.to_owned()),
            sha256: None,
            decision: Decision::refused_by_gate(
                failure.reason,
                &failure.detail,
                self.policy_digest(),
            ),
            facts: None,
            next_admissible: None,
            waive: None,
            ledger_index: None,
        });
    }

    /// Judges a deb that apt is about to install, from wherever it comes. `Ok` when it is admitted.
    ///
    /// # Errors
    /// Why it may not be installed, in one line.
    pub async fn judge_deb(&self, path: &Path) -> Result<(), String> {
        let file_name =
            path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let (digests, _) = crate::fetch::hash_file(path.to_path_buf(), Vec::new())
            .await
            .map_err(|e| format!("`{}` cannot be read: {e}", path.display()))?;
        let file = match self.debian_file_by_digest(&file_name, digests.sha256).await {
            Some(file) => file,
            None => self.unlisted_deb(path, &file_name)?,
        };
        match self.admit_local(Arc::new(file), path).await {
            Outcome::Admitted(_) => Ok(()),
            Outcome::Refused(r) => Err(r.headline()),
        }
    }

    /// A deb that no signed list names, such as one that the user points at: no digest vouches for
    /// it, and policy decides what that means.
    fn unlisted_deb(&self, path: &Path, file_name: &str) -> Result<FileRef, String> {
        let (name, version, arch) = countersign_ecosystem::debian::deb_file_name(file_name)
            .ok_or_else(|| {
                format!("`{}` is in no signed list, and its name is no package's", path.display())
            })?;
        let purl =
            Purl::new(Ecosystem::Debian, &name, Some(&version)).with_qualifier("arch", &arch);
        let upstream = Arc::new(local_upstream(Ecosystem::Debian).map_err(|f| f.detail)?);
        let feed = self.feed_package(Ecosystem::Debian, &name, None).map_err(|f| f.detail)?;
        let facts = self.version_facts(purl, &upstream, Age::Unknown, false, &feed);
        Ok(self.local_ref(facts, file_name, upstream, Vec::new()))
    }

    /// Judges a wheel or source archive of this machine that the user names.
    pub async fn judge_local_dist(&self, path: &Path) -> bool {
        let file_name =
            path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(dist) = countersign_ecosystem::pypi::parse_file_name(&file_name) else {
            self.report().add_door(
                &path.display().to_string(),
                "is no archive of a python package by its name",
            );
            return false;
        };
        let purl = Purl::new(Ecosystem::Pypi, &dist.name, Some(&dist.version));
        let Ok(upstream) = local_upstream(Ecosystem::Pypi).map(Arc::new) else { return false };
        let feed = match self.feed_package(Ecosystem::Pypi, &dist.name, None) {
            Ok(feed) => feed,
            Err(failure) => {
                self.report_failure(&purl, &file_name, &failure);
                return false;
            }
        };
        let facts = self.version_facts(purl, &upstream, Age::Unknown, false, &feed);
        let file = self.local_ref(facts, &file_name, upstream, Vec::new());
        matches!(self.admit_local(Arc::new(file), path).await, Outcome::Admitted(_))
    }
}

/// The stand-in for an upstream where a file comes from this machine. Its address is one of RFC
/// 6761's `.invalid`: nothing is ever fetched from it.
fn local_upstream(ecosystem: Ecosystem) -> Result<Upstream, Failure> {
    let mut upstream =
        Upstream::new(ecosystem, crate::upstream::THIS_MACHINE).ok_or_else(|| {
            Failure::new(ReasonCode::Internal, "the address of this machine is malformed")
        })?;
    upstream.name = "this machine".to_owned();
    Ok(upstream)
}
