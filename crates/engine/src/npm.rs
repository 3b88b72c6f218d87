//! npm's registry protocol: packuments filtered, tarballs known by their address.

use crate::engine::Engine;
use crate::http_client::Failure;
use crate::index::{Candidate, Documents, FileRef, Loaded, PackageIndex, Versions};
use crate::index_cache::IndexDocument;
use crate::packed::Packed;
use crate::pypi::malformed;
use crate::request::{Answer, ClientRequest, Document};
use crate::serving::own_address;
use crate::upstream::Upstream;
use countersign_core::{Age, Ecosystem, ReasonCode, Sha256Digest};
use countersign_ecosystem::error::IndexLimits;
use countersign_ecosystem::npm::{self, Packument};
use countersign_ecosystem::version;
use countersign_evidence::npm::RegistrySignature;
use http::{HeaderMap, HeaderValue, Method, header};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use url::Url;

impl Engine {
    /// Answers a request under an npm registry's base.
    pub(crate) async fn answer_npm(
        &self,
        upstream: Arc<Upstream>,
        rest: &str,
        request: &ClientRequest,
    ) -> Answer {
        if let Some(api) = rest.strip_prefix("-/") {
            return self.answer_npm_api(api, request).await;
        }
        let path = rest.replace("%2f", "/").replace("%2F", "/").replace("%40", "@");
        if let Some((name, _)) = npm::name_from_tarball_path(&format!("/{path}")) {
            return self.answer_npm_tarball(&upstream, &name, request).await;
        }
        if !npm::validate_name(&path) {
            return self.closed(&request.url, "is neither a package nor a tarball of the registry");
        }
        match self.package(&upstream, &path, &request.headers).await {
            Ok(index) => match &index.documents {
                Documents::Npm(full) => self.unpacked(&request.url, "application/json", full),
                _ => self.closed(&request.url, "is no npm package"),
            },
            Err(failure) => self.index_failure(&request.url, failure),
        }
    }

    /// A tarball whose address no packument of this run has named yet: a lock file's. Its package
    /// is looked up, so that the same facts and digests apply.
    pub(crate) async fn answer_npm_tarball(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        request: &ClientRequest,
    ) -> Answer {
        let index = match self.package(upstream, name, &request.headers).await {
            Ok(index) => index,
            Err(failure) => return self.index_failure(&request.url, failure),
        };
        let last = request.url.path_segments().and_then(|mut s| s.next_back().map(str::to_owned));
        let by_url = index.files.find(|f| f.url == request.url);
        let found = by_url.or_else(|| last.and_then(|l| index.files.get(&l)));
        match found {
            Some(file) => self.answer_file(file.clone(), request).await,
            None => self.not_in_index(&request.url, name),
        }
    }

    /// The registry's API beside packages: a closed list of questions, whose answers are read as
    /// JSON and written anew, so that nothing else can come this way.
    pub(crate) async fn answer_npm_api(&self, api: &str, request: &ClientRequest) -> Answer {
        if !is_npm_question(api, &request.method) {
            return self.closed(&request.url, "is no question that installing needs");
        }
        let mut headers = crate::passing::end_to_end(&request.headers);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let (method, body) = (request.method.clone(), request.body.clone());
        match self.inner.http.ask(method, &request.url, headers, body, MAX_ANSWER).await {
            Ok(got) => match serde_json::from_slice::<serde_json::Value>(&got.body) {
                Ok(value) => {
                    let doc = Document::ok("application/json", value.to_string().into_bytes());
                    Answer::Document(Document { status: got.status, ..doc })
                }
                Err(_) if !got.status.is_success() => Answer::Document(Document::error(
                    got.status,
                    "the registry answers without JSON\n",
                )),
                Err(_) => self.closed(&request.url, "answers with something else than JSON"),
            },
            Err(failure) => self.index_failure(&request.url, failure),
        }
    }

    pub(crate) async fn load_npm(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &HeaderMap,
        same: Option<Sha256Digest>,
    ) -> Result<Loaded, Failure> {
        let (url, asked) = self.packument_address(upstream, name, headers)?;
        let got = self.index_document(&url, asked).await?;
        if same == Some(got.sha256) {
            return Ok(Loaded { index: None, fresh_until: got.fresh_until });
        }
        let (size, fresh_until) = (got.body.len(), got.fresh_until);
        let (upstream, name) = (upstream.clone(), name.to_owned());
        let parse = move |engine: &Engine| engine.judge_packument(&upstream, &name, &url, &got);
        let index = self.parsing(size, parse).await?;
        Ok(Loaded { index: Some(index), fresh_until })
    }

    /// The short form of a package's document, made of the long one that was judged.
    pub(crate) fn short_packument(&self, name: &str, long: &Packed) -> Result<Vec<u8>, Failure> {
        let internal = |e: &dyn std::fmt::Display| {
            Failure::new(ReasonCode::Internal, format!("the kept document of {name}: {e}"))
        };
        let long = long.unpack().map_err(|e| internal(&e))?;
        let limits = IndexLimits { max_bytes: usize::MAX, ..self.inner.index_limits };
        let packument = Packument::parse(&long, &limits).map_err(|e| internal(&e))?;
        Ok(packument.to_abbreviated_bytes())
    }

    fn packument_address(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &HeaderMap,
    ) -> Result<(Url, HeaderMap), Failure> {
        let url = upstream
            .base
            .join(&name.replace('/', "%2f"))
            .map_err(|e| Failure::new(ReasonCode::IndexMalformed, e.to_string()))?;
        let mut asked = self.credentials(&url, headers);
        // The short form has no publish times, and without them no age.
        asked.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        Ok((url, asked))
    }

    /// Judges the versions of a package's document, and takes out what is not offered.
    fn judge_packument(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        url: &Url,
        got: &IndexDocument,
    ) -> Result<PackageIndex, Failure> {
        let mut packument = Packument::parse(&got.body, &self.inner.index_limits)
            .map_err(|e| malformed(url, &e))?;
        if packument.name() != name {
            return Err(malformed(url, &format!("is the document of `{}`", packument.name())));
        }
        let listed = packument.versions();
        let candidates = listed
            .iter()
            .map(|v| Candidate {
                version: v.version.clone(),
                age: match v.published {
                    Some(published) if !upstream.mirror => Age::Known { published },
                    _ => Age::Unknown,
                },
                yanked: false,
                repository: v.repository.clone(),
                digests: Vec::new(),
            })
            .collect();
        let versions = self.judge_versions(upstream, name, candidates)?;
        let files = npm_files(upstream, name, url, &listed, &versions);
        let files = self.file_table(files, upstream);
        packument.retain(|v| versions.offered(self, v));
        if self.serves() {
            let own = |v: &npm::NpmVersion| {
                let own = own_address(&[name, "-", &tarball_name(name, v)])?;
                Some((v.version.clone(), String::from(own)))
            };
            packument.set_tarballs(&listed.iter().filter_map(own).collect());
            let why = |v: &npm::NpmVersion| {
                Some((v.version.clone(), versions.why_not(Ecosystem::Npm, &v.version)?))
            };
            let mut refused: Vec<(String, String)> = listed.iter().filter_map(why).collect();
            refused.sort_by(|a, b| {
                version::compare(Ecosystem::Npm, &a.0, &b.0).unwrap_or(Ordering::Equal)
            });
            packument.restrict(&refused);
        }
        let documents = Documents::Npm(self.pack(packument.to_bytes()));
        let (metadata, source, ends) = (HashMap::new(), got.sha256, versions.ends());
        Ok(PackageIndex { documents, files, metadata, source, ends })
    }
}

/// Largest answer to a question of the API, in bytes.
const MAX_ANSWER: usize = 32 << 20;

/// Whether a question of npm's API is one that installing needs.
fn is_npm_question(api: &str, method: &Method) -> bool {
    let audits = [
        "npm/v1/security/advisories/bulk",
        "npm/v1/security/audits/quick",
        "npm/v1/security/audits",
    ];
    let asked = matches!(api, "ping" | "whoami" | "npm/v1/keys" | "v1/search")
        || api.starts_with("npm/v1/attestations/")
        || (api.starts_with("package/") && api.ends_with("/dist-tags"));
    match *method {
        Method::POST => audits.contains(&api),
        Method::GET | Method::HEAD => asked,
        _ => false,
    }
}

/// The name of a version's tarball: what its address ends in.
fn tarball_name(name: &str, v: &npm::NpmVersion) -> String {
    let last = v.tarball.as_ref().and_then(|t| t.path_segments()?.next_back().map(str::to_owned));
    last.filter(|f| !f.is_empty())
        .unwrap_or_else(|| format!("{}-{}.tgz", name.replace('/', "-"), v.version))
}

fn npm_files(
    upstream: &Arc<Upstream>,
    name: &str,
    document: &Url,
    listed: &[npm::NpmVersion],
    versions: &Versions,
) -> HashMap<String, Arc<FileRef>> {
    let mut files = HashMap::new();
    for v in listed {
        let (Some(judged), Some(tarball)) = (versions.judged.get(&v.version), v.tarball.clone())
        else {
            continue;
        };
        let file_name = tarball_name(name, v);
        let mut expected = v.integrity.clone();
        expected.extend(v.shasum.clone());
        let file = FileRef {
            facts: judged.facts.clone(),
            file_name: file_name.clone(),
            url: tarball,
            expected,
            size: None,
            attestations: v.attestations_url.as_deref().and_then(|a| document.join(a).ok()),
            signatures: registry_signatures(v),
            evidence: Vec::new(),
            upstream: upstream.clone(),
            next_admissible: versions.next_admissible(Ecosystem::Npm, &v.version),
        };
        files.insert(file_name, Arc::new(file));
    }
    files
}

/// The registry's signatures over a version.
fn registry_signatures(v: &npm::NpmVersion) -> Vec<RegistrySignature> {
    let read = |(key_id, signature): &(String, String)| RegistrySignature {
        key_id: key_id.clone(),
        signature: signature.clone(),
    };
    v.signatures.iter().map(read).collect()
}
