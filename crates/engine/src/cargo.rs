//! Cargo's sparse registry protocol: index files filtered, crates known by their address.

use crate::engine::Engine;
use crate::http_client::Failure;
use crate::index::{Candidate, Documents, FileRef, Loaded, PackageIndex};
use crate::index_cache::IndexDocument;
use crate::pypi::malformed;
use crate::request::{Answer, ClientRequest, Document};
use crate::upstream::Upstream;
use countersign_core::{Age, Algorithm, Ecosystem, ExpectedDigest, ReasonCode, Sha256Digest};
use countersign_ecosystem::cargo::{self, CargoConfig};
use http::HeaderMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use url::Url;

impl Engine {
    /// Answers a request under a sparse registry's base.
    pub(crate) async fn answer_cargo(
        &self,
        upstream: Arc<Upstream>,
        rest: &str,
        request: &ClientRequest,
    ) -> Answer {
        if rest == "config.json" {
            return match self.cargo_document(&upstream, &request.headers).await {
                Ok(doc) => Answer::Document(doc),
                Err(failure) => self.index_failure(&request.url, failure),
            };
        }
        if let Some(name) = cargo::name_from_index_path(rest) {
            return match self.package(&upstream, &name, &request.headers).await {
                Ok(index) => match &index.documents {
                    Documents::Cargo(lines) => {
                        self.unpacked(&request.url, "text/plain; charset=utf-8", lines)
                    }
                    _ => self.closed(&request.url, "is no crate"),
                },
                Err(failure) => self.index_failure(&request.url, failure),
            };
        }
        match self.answer_crate(&upstream, request).await {
            Some(answer) => answer,
            None => {
                self.closed(&request.url, "is neither an index file nor a crate of the registry")
            }
        }
    }

    /// A crate's download, if the address is one under the registry's `dl` template.
    pub(crate) async fn answer_crate(
        &self,
        upstream: &Arc<Upstream>,
        request: &ClientRequest,
    ) -> Option<Answer> {
        // A registry that cannot say where its crates lie has none to give; another may.
        let config = self.cargo_config(upstream, &request.headers).await.ok()?;
        let (name, version) = cargo::match_download(&config.dl, &request.url)?;
        let index = match self.package(upstream, &name, &request.headers).await {
            Ok(index) => index,
            Err(failure) => return Some(self.index_failure(&request.url, failure)),
        };
        let file_name = format!("{name}-{version}.crate");
        let file = index.files.find(|f| {
            f.file_name == file_name
                || (f.purl().name().eq_ignore_ascii_case(&name)
                    && f.purl().version() == Some(&version))
        });
        Some(match file {
            Some(file) => self.answer_file(file.clone(), request).await,
            None => self.not_in_index(&request.url, &name),
        })
    }

    async fn cargo_document(
        &self,
        upstream: &Arc<Upstream>,
        headers: &HeaderMap,
    ) -> Result<Document, Failure> {
        let url = upstream
            .base
            .join("config.json")
            .map_err(|e| Failure::new(ReasonCode::IndexMalformed, e.to_string()))?;
        let got = self.index_document(&url, self.credentials(&url, headers)).await?;
        let config = cargo::parse_config(&got.body).map_err(|e| malformed(&url, &e))?;
        let known = (config, got.fresh_until);
        self.inner.cargo_configs.lock().insert(upstream.base.to_string(), known);
        let content_type = Some(got.content_type.as_str()).filter(|t| !t.is_empty());
        Ok(Document::ok(content_type.unwrap_or("application/json"), got.body.to_vec()))
    }

    pub(crate) async fn cargo_config(
        &self,
        upstream: &Arc<Upstream>,
        headers: &HeaderMap,
    ) -> Result<CargoConfig, Failure> {
        let known = || self.inner.cargo_configs.lock().get(upstream.base.as_str()).cloned();
        if let Some((config, until)) = known()
            && (!self.serves() || Instant::now() < until)
        {
            return Ok(config);
        }
        self.cargo_document(upstream, headers).await?;
        known().map(|(config, _)| config).ok_or_else(|| {
            Failure::new(ReasonCode::Internal, "the registry's configuration was not kept")
        })
    }

    pub(crate) async fn load_cargo(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        headers: &HeaderMap,
        same: Option<Sha256Digest>,
    ) -> Result<Loaded, Failure> {
        let path = cargo::index_path(name).ok_or_else(|| {
            Failure::new(ReasonCode::NotInIndex, format!("`{name}` is no crate's name"))
        })?;
        let url = upstream
            .base
            .join(&path)
            .map_err(|e| Failure::new(ReasonCode::IndexMalformed, e.to_string()))?;
        let config = self.cargo_config(upstream, headers).await?;
        let got = self.index_document(&url, self.credentials(&url, headers)).await?;
        if same == Some(got.sha256) {
            return Ok(Loaded { index: None, fresh_until: got.fresh_until });
        }
        let (size, fresh_until) = (got.body.len(), got.fresh_until);
        let (upstream, name) = (upstream.clone(), name.to_owned());
        let judge =
            move |engine: &Engine| engine.judge_crate(&upstream, &name, &config, &url, &got);
        let index = self.parsing(size, judge).await?;
        Ok(Loaded { index: Some(index), fresh_until })
    }

    fn judge_crate(
        &self,
        upstream: &Arc<Upstream>,
        name: &str,
        config: &CargoConfig,
        url: &Url,
        got: &IndexDocument,
    ) -> Result<PackageIndex, Failure> {
        let mut index = cargo::parse_index(name, &got.body, &self.inner.index_limits)
            .map_err(|e| malformed(url, &e))?;
        if index.lines.is_empty() && index.rejected > 0 {
            let what = format!("none of its {} lines is a version of {name}", index.rejected);
            return Err(malformed(url, &what));
        }
        let candidates = index
            .lines
            .iter()
            .map(|l| Candidate {
                version: l.version.clone(),
                age: match l.published {
                    Some(published) if !upstream.mirror => Age::Known { published },
                    _ => Age::Unknown,
                },
                yanked: l.yanked,
                repository: None,
                digests: vec![l.cksum],
            })
            .collect();
        let versions = self.judge_versions(upstream, name, candidates)?;
        let mut files = HashMap::new();
        for l in &index.lines {
            let Some(judged) = versions.judged.get(&l.version) else { continue };
            let address = cargo::download_url(config, &l.name, &l.version, &l.cksum);
            let Ok(url) = Url::parse(&address) else { continue };
            let file_name = format!("{}-{}.crate", l.name, l.version);
            let file = FileRef {
                facts: judged.facts.clone(),
                file_name: file_name.clone(),
                url,
                expected: ExpectedDigest::from_bytes(Algorithm::Sha256, l.cksum.0.to_vec())
                    .into_iter()
                    .collect(),
                size: None,
                attestations: None,
                signatures: Vec::new(),
                evidence: Vec::new(),
                upstream: upstream.clone(),
                next_admissible: versions.next_admissible(Ecosystem::Cargo, &l.version),
            };
            files.insert(file_name, Arc::new(file));
        }
        if self.serves() {
            // Cargo takes a yanked version only where a lock file names it, and is then told why not.
            index.yank(|l| !versions.offered(self, &l.version));
        } else {
            index.retain(|l| versions.offered(self, &l.version));
        }
        let documents = Documents::Cargo(self.pack(index.to_bytes()));
        let (metadata, source, ends) = (HashMap::new(), got.sha256, versions.ends());
        let files = self.file_table(files, upstream);
        Ok(PackageIndex { documents, files, metadata, source, ends })
    }
}
