//! PyPI's simple API: project pages filtered, files known by their address.

use crate::engine::Engine;
use crate::http_client::{Failure, redacted};
use crate::index::{Candidate, Documents, FileRef, PackageIndex};
use crate::request::{Answer, ClientRequest, Document};
use crate::upstream::Upstream;
use countersign_core::{
    Age, Algorithm, Ecosystem, Evidence, EvidenceState, ReasonCode, normalize_pypi_name,
};
use countersign_ecosystem::pypi::{self, ProjectPage};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::collections::HashMap;
use std::sync::Arc;
use url::Url;

const JSON_TYPE: &str = "application/vnd.pypi.simple.v1+json";
const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";

impl Engine {
    /// Answers a request under a PyPI index's base: a project page, and nothing else.
    pub(crate) async fn answer_pypi(
        &self,
        upstream: Arc<Upstream>,
        rest: &str,
        request: &ClientRequest,
    ) -> Answer {
        let mut parts = rest.trim_end_matches('/').split('/');
        let (Some(project), None) = (parts.next().filter(|p| !p.is_empty()), parts.next()) else {
            return self.closed(&request.url, "is no project page of the index");
        };
        let name = normalize_pypi_name(project);
        if let Some(owner) = self.owner_elsewhere(&upstream, &name, &request.headers).await {
            self.report().add_door(
                &format!("{name} from {}", upstream.name),
                &format!("the name belongs to {owner}; one upstream a name"),
            );
            return Answer::Document(Document::error(
                StatusCode::NOT_FOUND,
                &format!("{name} is taken from {owner}, not from {}\n", upstream.name),
            ));
        }
        match self.package(&upstream, &name, &request.headers).await {
            Ok(index) => {
                let Documents::Pypi { json, html } = &index.documents else {
                    return self.closed(&request.url, "is no python package");
                };
                let accept = request.header(header::ACCEPT).unwrap_or("");
                let wants_json = accept.contains("vnd.pypi.simple.v1+json")
                    || accept.contains("vnd.pypi.simple.latest+json");
                let doc = if wants_json {
                    Document::ok(JSON_TYPE, json.to_vec())
                } else {
                    Document::ok("text/html; charset=utf-8", html.to_vec())
                };
                Answer::Document(doc)
            }
            Err(failure) => self.index_failure(&request.url, failure),
        }
    }

    /// The earlier upstream that owns a name, when `upstream` is not the first that offers it.
    async fn owner_elsewhere(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &HeaderMap,
    ) -> Option<String> {
        if upstream.explicit {
            return None;
        }
        for earlier in self.upstreams_of(Ecosystem::Pypi).into_iter().filter(|u| !u.explicit) {
            if earlier.base == upstream.base {
                return None;
            }
            // Credentials for one origin are not shown to another.
            let same = earlier.base.origin() == upstream.base.origin();
            let none = HeaderMap::new();
            let known = self.package(&earlier, name, if same { headers } else { &none }).await;
            if known.is_ok() {
                return Some(earlier.name.clone());
            }
        }
        None
    }

    pub(crate) async fn load_pypi(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &HeaderMap,
    ) -> Result<PackageIndex, Failure> {
        let page_url = upstream
            .base
            .join(&format!("{name}/"))
            .map_err(|e| Failure::new(ReasonCode::IndexMalformed, e.to_string()))?;
        let mut asked = self.credentials(&page_url, headers);
        asked.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        let got = self.get_index(&page_url, asked).await?;
        let content_type = got.header(header::CONTENT_TYPE).unwrap_or("");
        let mut page =
            pypi::parse_project(content_type, &got.body, &page_url, &self.inner.index_limits)
                .map_err(|e| malformed(&page_url, &e))?;
        Ok(self.judge_page(upstream, name, &mut page))
    }

    fn judge_page(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        page: &mut ProjectPage,
    ) -> PackageIndex {
        // A file may be added to an old version later: the age that counts is the file's own. Files
        // of a version that went up on one day are judged together.
        let key = |f: &pypi::IndexFile| -> Option<(String, String)> {
            let version = f.version.clone()?;
            let day = f.upload_time.map_or_else(String::new, |t| t.date());
            Some((format!("{version} {day} {}", f.yanked.is_some()), version))
        };
        let mut groups: HashMap<String, Vec<usize>> = HashMap::new();
        for (i, f) in page.files.iter().enumerate() {
            if let Some((k, _)) = key(f) {
                groups.entry(k).or_default().push(i);
            }
        }
        let mut offered = vec![false; page.files.len()];
        let mut files = HashMap::new();
        // The youngest group of a version stands for it where only one answer can be given.
        let mut candidates: HashMap<String, Candidate> = HashMap::new();
        let mut judged_groups = Vec::new();
        for members in groups.into_values() {
            let newest = members
                .iter()
                .filter_map(|i| page.files.get(*i))
                .max_by_key(|f| f.upload_time)
                .cloned();
            let Some(first) = newest else { continue };
            let Some(version) = first.version.clone() else { continue };
            let age = match first.upload_time {
                Some(published) if !upstream.mirror => Age::Known { published },
                _ => Age::Unknown,
            };
            let digests = members
                .iter()
                .filter_map(|i| page.files.get(*i))
                .flat_map(|f| crate::pipeline::sha256_digests(&f.digests))
                .collect();
            let candidate = Candidate {
                version: version.clone(),
                age,
                yanked: first.yanked.is_some(),
                digests,
            };
            let one = self.judge_versions(upstream, name, vec![candidate.clone()]);
            let ok = one.offered(self, &version);
            let admissible = one
                .judged
                .get(&version)
                .is_some_and(|j| j.decision.verdict == countersign_core::Verdict::Admit);
            if !candidates.contains_key(&version) || admissible {
                candidates.insert(version.clone(), candidate);
            }
            judged_groups.push((members, version, one, ok));
        }
        let all = crate::index::Versions {
            judged: judged_groups
                .iter()
                .flat_map(|(_, v, one, _)| one.judged.get(v).map(|j| (v.clone(), j.clone())))
                .collect(),
        };
        for (members, version, one, ok) in &judged_groups {
            let Some(judged) = one.judged.get(version) else { continue };
            let next = all.next_admissible(Ecosystem::Pypi, version);
            for i in members {
                let Some(f) = page.files.get(*i) else { continue };
                if let Some(slot) = offered.get_mut(*i) {
                    *slot = *ok;
                }
                let file = FileRef {
                    facts: judged.facts.clone(),
                    file_name: f.file_name.clone(),
                    url: f.url.clone(),
                    expected: f.digests.clone(),
                    size: f.size,
                    attestations: f.provenance.clone(),
                    evidence: Vec::new(),
                    upstream: upstream.clone(),
                    next_admissible: next.clone(),
                };
                files.insert(f.file_name.clone(), Arc::new(file));
            }
        }
        self.remember_metadata(page);
        let mut keep = offered.into_iter();
        page.files.retain(|_| keep.next().unwrap_or(false));
        let documents =
            Documents::Pypi { json: page.to_json().into(), html: page.to_html().into() };
        PackageIndex { documents, files }
    }

    /// Remembers where the separate metadata files lie (PEP 658) and which digests they have.
    fn remember_metadata(&self, page: &ProjectPage) {
        let mut known = self.inner.metadata_files.lock();
        for f in &page.files {
            if let Some(digests) = &f.core_metadata {
                known.insert(format!("{}.metadata", f.url), digests.clone());
            }
        }
    }

    /// A file's separate metadata (PEP 658), passed on when it has the digest that the index gives.
    pub(crate) async fn answer_core_metadata(&self, request: &ClientRequest) -> Option<Answer> {
        let expected = self.inner.metadata_files.lock().get(request.url.as_str()).cloned()?;
        let headers = self.credentials(&request.url, &request.headers);
        let got = match self.get_index(&request.url, headers).await {
            Ok(got) => got,
            Err(f) => return Some(self.index_failure(&request.url, f)),
        };
        let digest = countersign_core::Sha256Digest::of(&got.body);
        let wrong =
            expected.iter().any(|e| e.algorithm() == Algorithm::Sha256 && e.as_bytes() != digest.0);
        if wrong {
            let failure = Failure::new(
                ReasonCode::DigestMismatch,
                format!("{} differs from the index's digest", redacted(&request.url)),
            );
            return Some(self.index_failure(&request.url, failure));
        }
        Some(Answer::Document(Document::ok("application/octet-stream", got.body.to_vec())))
    }

    /// PEP 740 provenance that the index points at.
    pub(crate) async fn fetch_pep740(&self, file: &FileRef) -> Option<Result<Vec<u8>, Evidence>> {
        let url = file.attestations.clone()?;
        Some(self.fetch_evidence(&url, "pep740").await)
    }

    /// Fetches an evidence document; what cannot be had is said to be unreachable, not absent.
    pub(crate) async fn fetch_evidence(&self, url: &Url, kind: &str) -> Result<Vec<u8>, Evidence> {
        let headers = self.credentials(url, &HeaderMap::new());
        let because = match self.inner.http.document(url, headers, 16 << 20).await {
            Ok(got) if got.status == StatusCode::OK => return Ok(got.body.to_vec()),
            Ok(got) => format!("{} answered {}", redacted(url), got.status),
            Err(f) => f.detail,
        };
        Err(Evidence {
            kind: kind.to_owned(),
            source: "upstream".to_owned(),
            state: EvidenceState::Unreachable { because },
        })
    }
}

pub(crate) fn malformed(url: &Url, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ReasonCode::IndexMalformed, format!("{}: {error}", redacted(url)))
}
