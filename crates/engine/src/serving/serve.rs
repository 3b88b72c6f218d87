//! From a route to an answer.

use super::{Asker, Form, Keep, Route, STAND_IN, Served, View};
use crate::engine::Engine;
use crate::http_client::Failure;
use crate::index::{Documents, FileRef, PackageIndex};
use crate::packed::Packed;
use crate::pipeline::Outcome;
use crate::request::{Answer, ClientRequest, Document};
use crate::upstream::Upstream;
use bytes::Bytes;
use countersign_core::{Ecosystem, ReasonCode, Sha256Digest, Verdict, normalize_pypi_name};
use countersign_ecosystem::{cargo, npm, pypi};
use http::{HeaderMap, Method, StatusCode, header};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use url::Url;

/// How long a refusal is repeated without looking again.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Answers that do not depend on any upstream may be repeated this long.
const OWN_WORD: Duration = Duration::from_secs(60);

impl Engine {
    /// Answers one request to a registry of the gateway. `headers` are the client's, `body` is only
    /// there for questions of npm's API. Neither the client's credentials nor its own name travel to
    /// an upstream.
    pub async fn serve(
        &self,
        route: &Route,
        form: Form,
        method: &Method,
        headers: &HeaderMap,
        body: Bytes,
        asker: &Asker,
    ) -> Served {
        // Read before anything is looked at: an answer is never younger than its grounds.
        let generation = self.generation();
        match route {
            Route::PypiRoot { .. } => self.pypi_root(form, generation).await,
            Route::PypiProject { view, project } => {
                let name = normalize_pypi_name(project);
                let valid = pypi::validate_name(project);
                self.document_of(Ecosystem::Pypi, view, &name, valid, form, generation).await
            }
            Route::PypiFile { view, project, file_name } => {
                let name = normalize_pypi_name(project);
                self.file_of(Ecosystem::Pypi, view, &name, file_name, generation).await
            }
            Route::PypiMetadata { view, project, file_name } => {
                self.pypi_metadata(view, project, file_name, generation).await
            }
            Route::PypiProvenance { view, project, file_name } => {
                self.pypi_provenance(view, project, file_name, generation).await
            }
            Route::NpmPackage { view, name, version: None } => {
                let valid = npm::validate_name(name);
                self.document_of(Ecosystem::Npm, view, name, valid, form, generation).await
            }
            Route::NpmPackage { view, name, version: Some(version) } => {
                self.npm_manifest(view, name, version, generation).await
            }
            Route::NpmTarball { view, name, file_name } => {
                self.file_of(Ecosystem::Npm, view, name, file_name, generation).await
            }
            Route::NpmApi { view, api, query } => {
                let query = query.as_deref();
                self.npm_question(view, api, query, method, headers, body, asker, generation).await
            }
            Route::CargoConfig { .. } => self.own_cargo_config(generation),
            Route::CargoIndex { view, path } => match cargo::name_from_index_path(path) {
                Some(name) => {
                    self.document_of(Ecosystem::Cargo, view, &name, true, form, generation).await
                }
                None => nothing(&format!("`{path}` is no place of a crate in the index")),
            },
            Route::CargoDownload { view, name, version } => {
                let file_name = format!("{name}-{version}.crate");
                self.file_of(Ecosystem::Cargo, view, name, &file_name, generation).await
            }
            Route::Debian { upstream, path } => {
                self.debian_route(upstream, path, method, headers).await
            }
        }
    }

    async fn debian_route(
        &self,
        upstream: &str,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Served {
        let found = self.upstreams_of(Ecosystem::Debian).into_iter().find(|u| u.name == upstream);
        match found {
            Some(found) => self.serve_debian(found, path, method, headers).await,
            None => nothing(&format!("there is no debian upstream `{upstream}`")),
        }
    }

    /// A package's document, judged.
    async fn document_of(
        &self,
        ecosystem: Ecosystem,
        view: &View,
        name: &str,
        valid: bool,
        form: Form,
        generation: u64,
    ) -> Served {
        if !valid {
            return nothing(&format!("`{name}` is no {ecosystem} package's name"));
        }
        let (_, index, until) = match self.owned(ecosystem, view, name).await {
            Ok(owned) => owned,
            Err(failure) => return self.failed(name, failure),
        };
        let keep = Some(Keep { until: self.no_later_than(until, &index), generation });
        match self.in_form(name, index, form).await {
            Ok(document) => Served { answer: Answer::Document(document), keep },
            Err(failure) => self.failed(name, failure),
        }
    }

    /// A package's document in the form that was asked for.
    async fn in_form(
        &self,
        name: &str,
        index: Arc<PackageIndex>,
        form: Form,
    ) -> Result<Document, Failure> {
        let (size, name) = (index.documents.len(), name.to_owned());
        let make = move |engine: &Engine| match (&index.documents, form) {
            (Documents::Pypi(page), Form::PypiJson) => unpacked(pypi::JSON_TYPE, page),
            (Documents::Pypi(page), _) => {
                engine.project_html(&name, page).map(|html| Document::ok(pypi::HTML_TYPE, html))
            }
            (Documents::Npm(long), Form::NpmAbbreviated) => engine
                .short_packument(&name, long)
                .map(|short| Document::ok(npm::ABBREVIATED_TYPE, short)),
            (Documents::Npm(long), _) => unpacked("application/json", long),
            (Documents::Cargo(lines), _) => unpacked("text/plain; charset=utf-8", lines),
        };
        self.parsing(size, make).await
    }

    /// An index is judged anew when a version in it stops being held.
    fn no_later_than(&self, until: Instant, index: &PackageIndex) -> Instant {
        let left = index.ends.map(|end| u64::try_from(end.0 - self.now().0).unwrap_or(0));
        left.map_or(until, |left| until.min(Instant::now() + Duration::from_secs(left)))
    }

    /// A file, through the pipeline.
    async fn file_of(
        &self,
        ecosystem: Ecosystem,
        view: &View,
        name: &str,
        file_name: &str,
        generation: u64,
    ) -> Served {
        match self.find_file(ecosystem, view, name, file_name).await {
            Ok((file, _, until)) => self.released(file, until, generation).await,
            Err(failure) => self.failed(file_name, failure),
        }
    }

    async fn find_file(
        &self,
        ecosystem: Ecosystem,
        view: &View,
        name: &str,
        file_name: &str,
    ) -> Result<(Arc<FileRef>, Arc<PackageIndex>, Instant), Failure> {
        let (upstream, index, until) = self.owned(ecosystem, view, name).await?;
        // Crates are asked for by name and version, in whatever case the name is written.
        let found = index.files.get(file_name).or_else(|| {
            let crates = ecosystem == Ecosystem::Cargo;
            crates.then(|| index.files.find(|f| f.file_name.eq_ignore_ascii_case(file_name)))?
        });
        match found {
            Some(file) => Ok((file.clone(), index, until)),
            None => Err(Failure {
                reason: ReasonCode::NotInIndex,
                detail: format!("`{file_name}` is no file that {} lists of {name}", upstream.name),
                status: Some(StatusCode::NOT_FOUND),
            }),
        }
    }

    pub(super) async fn released(
        &self,
        file: Arc<FileRef>,
        until: Instant,
        generation: u64,
    ) -> Served {
        let headers = self.upstream_credentials(&file.upstream, &file.url);
        match self.admit(file, headers).await {
            Outcome::Admitted(admitted) => Served {
                answer: Answer::Artifact(admitted),
                keep: Some(Keep { until, generation }),
            },
            Outcome::Refused(refusal) => {
                let passing = refusal.reason().is_upstream()
                    || refusal.reason().is_gate()
                    || refusal.decision.verdict == Verdict::Admit;
                let until = until.min(Instant::now() + REFUSED_FOR);
                let keep = (!passing).then_some(Keep { until, generation });
                Served { answer: Answer::Refused(refusal), keep }
            }
        }
    }

    async fn pypi_metadata(
        &self,
        view: &View,
        project: &str,
        file_name: &str,
        generation: u64,
    ) -> Served {
        let name = normalize_pypi_name(project);
        let got = async {
            let (file, index, until) =
                self.find_file(Ecosystem::Pypi, view, &name, file_name).await?;
            let expected = index.metadata.get(file_name).ok_or_else(|| Failure {
                reason: ReasonCode::NotInIndex,
                detail: format!("the index offers no separate metadata of `{file_name}`"),
                status: Some(StatusCode::NOT_FOUND),
            })?;
            let url = Url::parse(&format!("{}.metadata", file.url))
                .map_err(|e| Failure::new(ReasonCode::IndexMalformed, e.to_string()))?;
            let headers = self.upstream_credentials(&file.upstream, &url);
            let got = self.get_index(&url, headers).await?;
            let digest = Sha256Digest::of(&got.body);
            if crate::pipeline::sha256_digests(expected) != [digest] {
                let detail = format!("the metadata of `{file_name}` differs from its digest");
                return Err(Failure::new(ReasonCode::DigestMismatch, detail));
            }
            Ok((got.body, until))
        };
        match got.await {
            Ok((body, until)) => Served {
                answer: Answer::Document(Document::ok("text/plain; charset=utf-8", body.to_vec())),
                keep: Some(Keep { until, generation }),
            },
            Err(failure) => self.failed(file_name, failure),
        }
    }

    async fn pypi_provenance(
        &self,
        view: &View,
        project: &str,
        file_name: &str,
        generation: u64,
    ) -> Served {
        let name = normalize_pypi_name(project);
        let (file, until) = match self.find_file(Ecosystem::Pypi, view, &name, file_name).await {
            Ok((file, _, until)) => (file, until),
            Err(failure) => return self.failed(file_name, failure),
        };
        match self.fetch_pep740(&file).await {
            None => nothing(&format!("the index offers no provenance of `{file_name}`")),
            Some(Err(unreachable)) => {
                let detail = format!("the provenance of `{file_name}`: {:?}", unreachable.state);
                self.failed(file_name, Failure::new(ReasonCode::UpstreamFailed, detail))
            }
            // Written anew: what is no JSON does not pass as evidence.
            Some(Ok(bytes)) => match serde_json::from_slice::<Value>(&bytes) {
                Ok(value) => own_json(PROVENANCE_TYPE, &value, until, generation),
                Err(e) => {
                    let detail = format!("the provenance of `{file_name}` is no JSON: {e}");
                    self.failed(file_name, Failure::new(ReasonCode::IndexMalformed, detail))
                }
            },
        }
    }

    /// The projects that this gate has judged: whole registries are not listed.
    async fn pypi_root(&self, form: Form, generation: u64) -> Served {
        let names = match self.inner.store.judged_names(Ecosystem::Pypi).await {
            Ok(names) => names,
            Err(e) => {
                return self.failed(
                    "the list of projects",
                    Failure::new(ReasonCode::Internal, e.to_string()),
                );
            }
        };
        let until = Instant::now() + OWN_WORD;
        if form == Form::PypiJson {
            let projects: Vec<Value> = names.iter().map(|n| json!({ "name": n })).collect();
            let root = json!({"meta": {"api-version": pypi::API_VERSION}, "projects": projects});
            return own_json(pypi::JSON_TYPE, &root, until, generation);
        }
        let document = Document::ok(pypi::HTML_TYPE, pypi::root_html(&names));
        let keep = Some(Keep { until, generation });
        Served { answer: Answer::Document(document), keep }
    }

    /// One version's manifest, or that of the version behind a tag.
    async fn npm_manifest(
        &self,
        view: &View,
        name: &str,
        version: &str,
        generation: u64,
    ) -> Served {
        let (value, until) = match self.npm_document(view, name).await {
            Ok(got) => got,
            Err(failure) => return self.failed(name, failure),
        };
        let tagged = value.get("dist-tags").and_then(|t| t.get(version)).and_then(Value::as_str);
        let manifest = value.get("versions").and_then(|v| v.get(tagged.unwrap_or(version)));
        match manifest {
            Some(manifest) => own_json("application/json", manifest, until, generation),
            None => {
                let why = value
                    .get("policyRestrictions")
                    .and_then(|r| r.get("versions")?.get(version)?.get("reason")?.as_str());
                let none = format!("{name} has no version or tag `{version}`");
                nothing(&why.map_or(none, |why| format!("{name} {version} {why}")))
            }
        }
    }

    async fn npm_document(&self, view: &View, name: &str) -> Result<(Value, Instant), Failure> {
        let (_, index, until) = self.owned(Ecosystem::Npm, view, name).await?;
        let size = index.documents.len();
        let document = self.in_form(name, index, Form::Plain).await?;
        let read = move |_: &Self| {
            serde_json::from_slice(&document.body)
                .map_err(|e| Failure::new(ReasonCode::Internal, e.to_string()))
        };
        Ok((self.parsing(size, read).await?, until))
    }

    #[expect(clippy::too_many_arguments, reason = "a question has that many parts")]
    async fn npm_question(
        &self,
        view: &View,
        api: &str,
        query: Option<&str>,
        method: &Method,
        headers: &HeaderMap,
        body: Bytes,
        asker: &Asker,
        generation: u64,
    ) -> Served {
        let until = Instant::now() + OWN_WORD;
        if api == "ping" {
            return own_json("application/json", &json!({}), until, generation);
        }
        if api == "whoami" {
            let name = asker.token.as_deref().unwrap_or("anonymous");
            let answer = Document::ok("application/json", json!({"username": name}).to_string());
            return Served { answer: Answer::Document(answer), keep: None };
        }
        let tags = api.strip_prefix("package/").and_then(|r| r.strip_suffix("/dist-tags"));
        if let Some(name) = tags.filter(|_| matches!(*method, Method::GET | Method::HEAD)) {
            let name = crate::answer::percent_decode(name);
            return match self.npm_document(view, &name).await {
                Ok((value, until)) => {
                    let tags = value.get("dist-tags").cloned().unwrap_or_else(|| json!({}));
                    own_json("application/json", &tags, until, generation)
                }
                Err(failure) => self.failed(&name, failure),
            };
        }
        let Some(upstream) = self.upstreams_in(Ecosystem::Npm, view).into_iter().next() else {
            return nothing("no npm upstream is configured");
        };
        let Ok(mut url) = upstream.base.join(&format!("-/{}", asked_of_npm(api))) else {
            return nothing("the question is malformed");
        };
        url.set_query(query);
        let mut sent = self.upstream_credentials(&upstream, &url);
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ACCEPT] {
            if let Some(value) = headers.get(&name) {
                sent.insert(name, value.clone());
            }
        }
        let request = ClientRequest { method: method.clone(), url, headers: sent, body };
        Served { answer: self.answer_npm_api(api, &request).await, keep: None }
    }

    fn own_cargo_config(&self, generation: u64) -> Served {
        let mut config = json!({"dl": format!("{STAND_IN}/dl/{{crate}}/{{version}}/download")});
        if self.inner.tokens_required.load(Ordering::Relaxed) {
            config["auth-required"] = true.into();
        }
        own_json("application/json", &config, Instant::now() + OWN_WORD, generation)
    }

    /// What could not be had: the upstream's own word that it is not there stays that.
    pub(super) fn failed(&self, what: &str, failure: Failure) -> Served {
        let stand_in = Url::parse(STAND_IN).and_then(|u| u.join(what));
        let answer = match (failure.status, stand_in) {
            (Some(status @ (StatusCode::NOT_FOUND | StatusCode::GONE)), _) => {
                Answer::Document(Document::error(status, &format!("{}\n", failure.detail)))
            }
            _ => Answer::Refused(self.unrecorded_refusal(what, &failure)),
        };
        Served { answer, keep: None }
    }
}

/// A question as npm's registry wants it: a scope's slash is encoded in what is asked of attestations.
fn asked_of_npm(api: &str) -> Cow<'_, str> {
    match api.split_once("npm/v1/attestations/@") {
        Some(("", of)) => {
            Cow::Owned(format!("npm/v1/attestations/@{}", of.replacen('/', "%2f", 1)))
        }
        _ => Cow::Borrowed(api),
    }
}

/// PEP 740's media type for provenance objects.
const PROVENANCE_TYPE: &str = "application/vnd.pypi.integrity.v1+json";

fn unpacked(content_type: &str, document: &Packed) -> Result<Document, Failure> {
    let bytes = document.unpack();
    bytes.map(|b| Document::ok(content_type, b)).map_err(|e| {
        Failure::new(ReasonCode::Internal, format!("a kept document cannot be read: {e}"))
    })
}

fn own_json(content_type: &str, value: &Value, until: Instant, generation: u64) -> Served {
    let document = Document::ok(content_type, value.to_string().into_bytes());
    Served { answer: Answer::Document(document), keep: Some(Keep { until, generation }) }
}

pub(super) fn nothing(why: &str) -> Served {
    let document = Document::error(StatusCode::NOT_FOUND, &format!("{why}\n"));
    Served { answer: Answer::Document(document), keep: None }
}

impl Engine {
    /// The upstreams that a view shows, in the configuration's order.
    pub(super) fn upstreams_in(&self, ecosystem: Ecosystem, view: &View) -> Vec<Arc<Upstream>> {
        let shown = |u: &Arc<Upstream>| match view {
            View::All => !u.explicit,
            View::Named(name) => u.name == *name,
        };
        self.upstreams_of(ecosystem).into_iter().filter(shown).collect()
    }
}
