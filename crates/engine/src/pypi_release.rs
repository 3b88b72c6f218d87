//! The JSON document of one release (`/pypi/NAME/VERSION/json`), which poetry asks for beside the
//! simple index. It is written anew: its files are those that the judged index offers, of the
//! upstream's own document only what describes the release is taken over.

use crate::engine::Engine;
use crate::http_client::Failure;
use crate::index::{Documents, PackageIndex};
use crate::request::{Answer, ClientRequest, Document};
use crate::upstream::Upstream;
use countersign_core::{Ecosystem, normalize_pypi_name};
use countersign_ecosystem::{pypi, version};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use url::Url;

/// A release that an address asks for.
pub(crate) struct ReleaseAddress {
    upstream: Arc<Upstream>,
    name: String,
    version: String,
}

impl Engine {
    /// Whether an address is that of a release: `…/pypi/NAME/VERSION/json`, beside an index at
    /// `…/simple/`.
    pub(crate) fn release_of(&self, url: &Url) -> Option<ReleaseAddress> {
        self.upstreams_of(Ecosystem::Pypi).into_iter().find_map(|upstream| {
            let beside = upstream.base.join("../pypi/").ok()?;
            let simple = upstream.base.path().ends_with("/simple/");
            if !simple || url.origin() != upstream.base.origin() {
                return None;
            }
            let mut parts = url.path().strip_prefix(beside.path())?.split('/');
            let (project, version) = (parts.next()?, parts.next()?);
            if parts.next() != Some("json") || parts.next().is_some() {
                return None;
            }
            pypi::validate_name(project).then(|| ReleaseAddress {
                upstream: upstream.clone(),
                name: normalize_pypi_name(project),
                version: version::normalize_pypi(version),
            })
        })
    }

    /// Answers with the release as the judged index knows it.
    pub(crate) async fn answer_release(
        &self,
        asked: ReleaseAddress,
        request: &ClientRequest,
    ) -> Answer {
        let absent = |name: &str| {
            Answer::Document(Document::error(
                StatusCode::NOT_FOUND,
                &format!("{name} {} is not offered\n", asked.version),
            ))
        };
        match self.owner_elsewhere(&asked.upstream, &asked.name, &request.headers).await {
            Ok(None) => {}
            Ok(Some(_)) => return absent(&asked.name),
            Err(failure) => return self.index_failure(&request.url, failure),
        }
        let index = match self.package(&asked.upstream, &asked.name, &request.headers).await {
            Ok(index) => index,
            Err(failure) => return self.index_failure(&request.url, failure),
        };
        let files = release_files(&index, &asked.version);
        if files.is_empty() {
            return absent(&asked.name);
        }
        let told = match self.upstreams_release(&request.url, &request.headers).await {
            Ok(told) => told,
            Err(failure) => return self.index_failure(&request.url, failure),
        };
        let document = release_document(&asked, told.as_ref(), &files);
        Answer::Document(Document::ok("application/json", document.to_string().into_bytes()))
    }

    /// The upstream's own document. Not every index has one; clients then read the files' metadata.
    async fn upstreams_release(
        &self,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Option<Map<String, Value>>, Failure> {
        let got = match self.get_index(url, self.credentials(url, headers)).await {
            Ok(got) => got,
            Err(f) if f.says_absent() => return Ok(None),
            Err(f) => return Err(f),
        };
        Ok(pypi::parse_release_info(&got.body, &self.inner.index_limits).ok())
    }
}

/// The files of a version that the index offers, as its own document (PEP 691) lists them.
fn release_files(index: &PackageIndex, version: &str) -> Vec<Value> {
    let Documents::Pypi(json) = &index.documents else { return Vec::new() };
    let json = json.unpack().unwrap_or_default();
    let page: Value = serde_json::from_slice(&json).unwrap_or_default();
    let of_version = |file: &&Value| {
        let known = file.get("filename").and_then(Value::as_str).and_then(|f| index.files.get(f));
        known.is_some_and(|f| f.purl().version() == Some(version))
    };
    let all = page.get("files").and_then(Value::as_array);
    all.into_iter().flatten().filter(of_version).cloned().collect()
}

fn release_document(
    asked: &ReleaseAddress,
    told: Option<&Map<String, Value>>,
    files: &[Value],
) -> Value {
    let yanked = |f: &Value| f.get("yanked").is_some_and(|y| *y != Value::Bool(false));
    let info = |key: &str| told.and_then(|t| t.get(key)).cloned().unwrap_or(Value::Null);
    let python = files.iter().find_map(|f| f.get("requires-python")).cloned();
    let urls: Vec<Value> = files.iter().filter_map(release_file).collect();
    json!({
        "info": {
            "name": told.and_then(|t| t.get("name")).cloned().unwrap_or_else(|| asked.name.clone().into()),
            "version": asked.version,
            "summary": info("summary"),
            "requires_dist": info("requires_dist"),
            "requires_python": if told.is_some() { info("requires_python") } else { python.unwrap_or_default() },
            "yanked": files.iter().all(yanked),
            "yanked_reason": files.iter().find_map(|f| f.get("yanked")?.as_str()),
        },
        "urls": urls,
    })
}

/// A file in the form of this document; `None` for what it has no word for, and for a file without
/// the one digest that clients take from it.
fn release_file(file: &Value) -> Option<Value> {
    let name = file.get("filename")?.as_str()?;
    let sha256 = file.get("hashes")?.get("sha256")?;
    let sdist = [".tar.gz", ".zip", ".tgz", ".tar.bz2"].iter().any(|e| name.ends_with(e));
    let kind = if name.ends_with(".whl") { "bdist_wheel" } else { "sdist" };
    if kind == "sdist" && !sdist {
        return None;
    }
    let yanked = file.get("yanked").cloned().unwrap_or(Value::Bool(false));
    let mut out = json!({
        "packagetype": kind,
        "filename": name,
        "url": file.get("url")?,
        "digests": {"sha256": sha256},
        "requires_python": file.get("requires-python"),
        "yanked": yanked != Value::Bool(false),
        "yanked_reason": yanked.as_str(),
    });
    if let Some(map) = out.as_object_mut() {
        for (from, to) in [("size", "size"), ("upload-time", "upload_time_iso_8601")] {
            if let Some(value) = file.get(from) {
                map.insert(to.to_owned(), value.clone());
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_written_in_the_words_of_the_release_document() {
        let file = |name: &str| {
            json!({"filename": name, "url": "https://files.example/x", "hashes": {"sha256": "00"},
                   "size": 7, "upload-time": "2024-01-01T00:00:00Z", "yanked": "broken"})
        };
        let wheel = release_file(&file("a-1.0-py3-none-any.whl")).unwrap();
        assert_eq!(
            (&wheel["packagetype"], &wheel["size"], &wheel["yanked"], &wheel["yanked_reason"]),
            (&json!("bdist_wheel"), &json!(7), &json!(true), &json!("broken"))
        );
        assert_eq!(wheel["upload_time_iso_8601"], "2024-01-01T00:00:00Z");
        assert_eq!(release_file(&file("a-1.0.tar.gz")).unwrap()["packagetype"], "sdist");
        assert!(release_file(&file("a-1.0.egg")).is_none());
        let mut weak = file("a-1.0.tar.gz");
        weak["hashes"] = json!({"md5": "00"});
        assert!(release_file(&weak).is_none(), "a file without a strong digest");
    }
}
