//! PyPI's simple API: project pages filtered, files known by their address.

use crate::engine::Engine;
use crate::http_client::{Failure, redacted};
use crate::index::{Candidate, Documents, FileRef, Loaded, PackageIndex, Versions};
use crate::packed::Packed;
use crate::request::{Answer, ClientRequest, Document};
use crate::serving::own_address;
use crate::upstream::Upstream;
use countersign_core::{
    Age, Algorithm, Ecosystem, Evidence, EvidenceState, ExpectedDigest, ReasonCode, Sha256Digest,
    normalize_pypi_name,
};
use countersign_ecosystem::error::IndexLimits;
use countersign_ecosystem::pypi::{self, ProjectPage};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use url::Url;

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
        if !pypi::validate_name(project) {
            return self.closed(&request.url, "is no project page of the index");
        }
        let name = normalize_pypi_name(project);
        let owner = match self.owner_elsewhere(&upstream, &name, &request.headers).await {
            Ok(owner) => owner,
            Err(failure) => return self.index_failure(&request.url, failure),
        };
        if let Some(owner) = owner {
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
                let Documents::Pypi(json) = &index.documents else {
                    return self.closed(&request.url, "is no python package");
                };
                let accept = request.header(header::ACCEPT).unwrap_or("");
                let wants_json = accept.contains("vnd.pypi.simple.v1+json")
                    || accept.contains("vnd.pypi.simple.latest+json");
                if wants_json {
                    self.unpacked(&request.url, pypi::JSON_TYPE, json)
                } else {
                    match self.project_html(&name, json) {
                        Ok(html) => Answer::Document(Document::ok(pypi::HTML_TYPE, html)),
                        Err(failure) => self.index_failure(&request.url, failure),
                    }
                }
            }
            Err(failure) => self.index_failure(&request.url, failure),
        }
    }

    /// The earlier upstream that owns a name, when `upstream` is not the first that offers it. An
    /// upstream that cannot be asked may own it: then nobody else may offer it.
    pub(crate) async fn owner_elsewhere(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &HeaderMap,
    ) -> Result<Option<String>, Failure> {
        if upstream.explicit {
            return Ok(None);
        }
        for earlier in self.upstreams_of(Ecosystem::Pypi).into_iter().filter(|u| !u.explicit) {
            if earlier.base == upstream.base {
                return Ok(None);
            }
            // Credentials for one origin are not shown to another.
            let same = earlier.base.origin() == upstream.base.origin();
            let none = HeaderMap::new();
            match self.package(&earlier, name, if same { headers } else { &none }).await {
                Ok(_) => return Ok(Some(earlier.name.clone())),
                Err(f) if f.says_absent() => {}
                Err(f) => {
                    let detail = format!(
                        "cannot tell whether {name} belongs to {}: {}; give its credentials in the \
                         client's configuration, or reserve the name in countersign.toml",
                        earlier.name, f.detail
                    );
                    return Err(Failure::new(ReasonCode::UpstreamFailed, detail));
                }
            }
        }
        Ok(None)
    }

    pub(crate) async fn load_pypi(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &HeaderMap,
        same: Option<Sha256Digest>,
    ) -> Result<Loaded, Failure> {
        let page_url = upstream
            .base
            .join(&format!("{name}/"))
            .map_err(|e| Failure::new(ReasonCode::IndexMalformed, e.to_string()))?;
        let mut asked = self.credentials(&page_url, headers);
        asked.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        let got = self.index_document(&page_url, asked).await?;
        if same == Some(got.sha256) {
            return Ok(Loaded { index: None, fresh_until: got.fresh_until });
        }
        let size = got.body.len();
        let fresh_until = got.fresh_until;
        let (upstream, name) = (upstream.clone(), name.to_owned());
        let parse = move |engine: &Engine| {
            let limits = &engine.inner.index_limits;
            let mut page = pypi::parse_project(&got.content_type, &got.body, &page_url, limits)
                .map_err(|e| malformed(&page_url, &e))?;
            engine.judge_page(&upstream, &name, &mut page, got.sha256)
        };
        let index = self.parsing(size, parse).await?;
        Ok(Loaded { index: Some(index), fresh_until })
    }

    /// A project's page as HTML (PEP 503), made of the form in JSON that was judged.
    pub(crate) fn project_html(&self, name: &str, json: &Packed) -> Result<Vec<u8>, Failure> {
        let internal = |e: &dyn std::fmt::Display| {
            Failure::new(ReasonCode::Internal, format!("the kept page of {name}: {e}"))
        };
        let own =
            own_address(&["simple", name, ""]).ok_or_else(|| internal(&"it has no address"))?;
        let json = json.unpack().map_err(|e| internal(&e))?;
        // What was written here is larger than what was read, but not without bounds.
        let limits = IndexLimits { max_bytes: usize::MAX, ..self.inner.index_limits };
        let page = pypi::parse_project(pypi::JSON_TYPE, &json, &own, &limits);
        page.map(|page| page.to_html()).map_err(|e| internal(&e))
    }

    fn judge_page(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        page: &mut ProjectPage,
        source: Sha256Digest,
    ) -> Result<PackageIndex, Failure> {
        let (groups, candidates): (Vec<Vec<usize>>, Vec<Candidate>) =
            group_files(upstream, page).into_iter().unzip();
        let each = self.judge_each(upstream, name, candidates)?;
        let mut judged = BTreeMap::new();
        for (c, j) in &each {
            // A version is admissible when any of its files is.
            if j.admissible() || !judged.contains_key(&c.version) {
                judged.insert(c.version.clone(), j.clone());
            }
        }
        let all = Versions::new(Ecosystem::Pypi, judged);
        let mut offered = vec![false; page.files.len()];
        let mut files = HashMap::new();
        for (members, (c, j)) in groups.iter().zip(&each) {
            let next = all.next_admissible(Ecosystem::Pypi, &c.version);
            for i in members {
                let Some(f) = page.files.get(*i) else { continue };
                if let Some(slot) = offered.get_mut(*i) {
                    *slot = j.admissible() || self.is_pinned(&j.facts.purl);
                }
                let file = FileRef {
                    facts: j.facts.clone(),
                    file_name: f.file_name.clone(),
                    url: f.url.clone(),
                    expected: f.digests.clone(),
                    size: f.size,
                    attestations: f.provenance.clone(),
                    signatures: Vec::new(),
                    evidence: Vec::new(),
                    upstream: upstream.clone(),
                    next_admissible: next.clone(),
                };
                files.insert(f.file_name.clone(), Arc::new(file));
            }
        }
        // Separate metadata that no strong digest vouches for is not offered (PEP 658).
        for f in &mut page.files {
            let weak = |d: &Vec<ExpectedDigest>| crate::pipeline::sha256_digests(d).is_empty();
            if f.core_metadata.as_ref().is_some_and(weak) {
                f.core_metadata = None;
            }
        }
        let metadata =
            page.files.iter().filter_map(|f| Some((f.file_name.clone(), f.core_metadata.clone()?)));
        let metadata: HashMap<_, _> = metadata.collect();
        if self.serves() {
            self.show_own_addresses(name, page, &all, &offered);
        } else {
            self.remember_metadata(page);
            let mut keep = offered.into_iter();
            page.files.retain(|_| keep.next().unwrap_or(false));
        }
        let documents = Documents::Pypi(self.pack(page.to_json()));
        let files = self.file_table(files, upstream);
        Ok(PackageIndex { documents, files, metadata, source, ends: all.ends() })
    }

    /// Gives a page the addresses of the gateway's own registry. What is not offered stays, marked
    /// as yanked with the reason: no resolver takes it by itself, and who names it exactly is told
    /// why it cannot be had (PEP 592).
    fn show_own_addresses(
        &self,
        name: &str,
        page: &mut ProjectPage,
        all: &Versions,
        offered: &[bool],
    ) {
        for (f, offered) in page.files.iter_mut().zip(offered) {
            if !offered {
                let version = f.version.as_deref().unwrap_or("");
                f.yanked = Some(all.why_not(Ecosystem::Pypi, version).unwrap_or_else(|| {
                    "refused by countersign; download it to be told why".to_owned()
                }));
                f.core_metadata = None;
            }
            let own =
                |ending: &str| own_address(&["files", name, &format!("{}{ending}", f.file_name)]);
            if f.provenance.is_some() {
                f.provenance = own(".provenance");
            }
            if let Some(url) = own("") {
                f.url = url;
            }
        }
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

/// Groups a page's files for judging. A file may be added to an old version later, so the age that
/// counts is the file's own; files of a version that went up on one day are judged together, by the
/// youngest of them.
fn group_files(upstream: &Upstream, page: &ProjectPage) -> Vec<(Vec<usize>, Candidate)> {
    let mut groups: BTreeMap<(String, String, bool), Vec<usize>> = BTreeMap::new();
    for (i, f) in page.files.iter().enumerate() {
        let Some(version) = f.version.clone() else { continue };
        let day = f.upload_time.map_or_else(String::new, |t| t.date());
        groups.entry((version, day, f.yanked.is_some())).or_default().push(i);
    }
    let candidate = |((version, _, yanked), members): ((String, String, bool), Vec<usize>)| {
        let files = || members.iter().filter_map(|i| page.files.get(*i));
        let age = match files().filter_map(|f| f.upload_time).max() {
            Some(published) if !upstream.mirror => Age::Known { published },
            _ => Age::Unknown,
        };
        let digests = files().flat_map(|f| crate::pipeline::sha256_digests(&f.digests)).collect();
        (members, Candidate { version, age, yanked, repository: None, digests })
    };
    groups.into_iter().map(candidate).collect()
}

pub(crate) fn malformed(url: &Url, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ReasonCode::IndexMalformed, format!("{}: {error}", redacted(url)))
}
