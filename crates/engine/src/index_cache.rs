//! Index documents as the upstreams sent them, kept on disk: asked again with a condition when they
//! are no longer fresh, and used past their time when an upstream cannot be reached.
//!
//! What lies here is a copy of hostile bytes and is parsed and judged like them. A file that does not
//! have the digest in its own first line is no copy, and counts as not there.

use crate::engine::Engine;
use crate::http_client::{Failure, Fetched};
use bytes::Bytes;
use countersign_core::{ReasonCode, Sha256Digest, Timestamp};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use url::Url;

/// What is known of a kept document beside its bytes: the first line of its file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Label {
    url: String,
    content_type: Option<String>,
    etag: Option<String>,
    last_modified: Option<String>,
    sha256: Sha256Digest,
    /// When the upstream last said that this is it.
    fetched: Timestamp,
}

/// An index document, fresh or not.
#[derive(Debug, Clone)]
pub(crate) struct IndexDocument {
    /// The bytes.
    pub(crate) body: Bytes,
    /// What the upstream called them.
    pub(crate) content_type: String,
    /// Their digest.
    pub(crate) sha256: Sha256Digest,
    /// Until when it need not be asked for again.
    pub(crate) fresh_until: Instant,
}

/// How soon an upstream that failed is asked again.
const RETRY: Duration = Duration::from_secs(10);

/// Kept documents that nobody asked for in this time are removed.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

impl Engine {
    /// An index document of `upstream`. An engine for one run asks the upstream each time; a
    /// long-lived one asks when what it has is no longer fresh.
    ///
    /// # Errors
    /// When the upstream answers with anything but the document, or cannot be reached and no copy
    /// is young enough.
    pub(crate) async fn index_document(
        &self,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<IndexDocument, Failure> {
        let Some(serving) = self.inner.serving else {
            let got = self.get_index(url, headers).await?;
            return Ok(document(&got, Instant::now()));
        };
        let path = self.kept_path(url, &headers);
        let kept = load(path.clone()).await;
        let now = self.now();
        if let Some((label, body)) = &kept {
            let left = serving.fresh.saturating_sub(age(label, now));
            if !left.is_zero() {
                return Ok(from_kept(label, body, left));
            }
        }
        self.inner.metrics.index_load();
        match self.ask_index(url, headers, kept.as_ref().map(|(label, _)| label)).await {
            Ok(Some(got)) => {
                let document = document(&got, Instant::now() + serving.fresh);
                self.keep_document(url, &path, &got, &document).await;
                Ok(document)
            }
            Ok(None) => {
                // Only a kept document's own condition makes an upstream say that nothing changed.
                let (label, body) = kept.ok_or_else(|| unasked(url))?;
                let renewed = Label { fetched: now, ..label };
                write(path, renewed.clone(), body.clone()).await;
                Ok(from_kept(&renewed, &body, serving.fresh))
            }
            Err(failure) => match kept {
                // That somebody says "no" is an answer; that nobody answers is not.
                Some((label, body))
                    if is_outage(&failure) && age(&label, now) < serving.fresh + serving.stale =>
                {
                    self.inner.metrics.index_stale();
                    tracing::warn!(%failure, "the index is used past its time");
                    Ok(from_kept(&label, &body, RETRY))
                }
                _ => Err(failure),
            },
        }
    }

    /// Asks the upstream; `None` when the kept document is still the one.
    async fn ask_index(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        kept: Option<&Label>,
    ) -> Result<Option<Fetched>, Failure> {
        let value = |text: &Option<String>| text.as_deref().and_then(|t| t.parse().ok());
        if let Some(label) = kept {
            let conditions: [(header::HeaderName, Option<HeaderValue>); 2] = [
                (header::IF_NONE_MATCH, value(&label.etag)),
                (header::IF_MODIFIED_SINCE, value(&label.last_modified)),
            ];
            headers.extend(conditions.into_iter().filter_map(|(n, v)| Some((n, v?))));
        }
        let got = self.inner.http.document(url, headers, self.inner.index_limits.max_bytes).await?;
        match got.status {
            StatusCode::OK => Ok(Some(got)),
            StatusCode::NOT_MODIFIED if kept.is_some() => Ok(None),
            status => Err(Failure::answered(url, status)),
        }
    }

    async fn keep_document(&self, url: &Url, path: &Path, got: &Fetched, document: &IndexDocument) {
        let text = |name| got.header(name).map(str::to_owned);
        let label = Label {
            url: crate::http_client::redacted(url),
            content_type: text(header::CONTENT_TYPE),
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
            sha256: document.sha256,
            fetched: self.now(),
        };
        write(path.to_owned(), label, document.body.clone()).await;
    }

    fn kept_path(&self, url: &Url, headers: &HeaderMap) -> PathBuf {
        let accept = headers.get(header::ACCEPT).map_or(&b""[..], HeaderValue::as_bytes);
        let key = Sha256Digest::of(&[url.as_str().as_bytes(), b"\0", accept].concat()).to_hex();
        let (folder, name) = key.split_at(2);
        self.index_folder().join(folder).join(name)
    }

    pub(crate) fn index_folder(&self) -> PathBuf {
        self.inner.store.dir().join("cache").join("index")
    }

    /// Removes kept documents that were not used for a month, and what a crash left half written.
    pub async fn tidy_index_cache(&self) {
        let folder = self.index_folder();
        // A cache that cannot be tidied is still a cache.
        let _ = tokio::task::spawn_blocking(move || remove_unused(&folder)).await;
    }
}

fn document(got: &Fetched, fresh_until: Instant) -> IndexDocument {
    IndexDocument {
        body: got.body.clone(),
        content_type: got.header(header::CONTENT_TYPE).unwrap_or("").to_owned(),
        sha256: Sha256Digest::of(&got.body),
        fresh_until,
    }
}

fn from_kept(label: &Label, body: &Bytes, left: Duration) -> IndexDocument {
    IndexDocument {
        body: body.clone(),
        content_type: label.content_type.clone().unwrap_or_default(),
        sha256: label.sha256,
        fresh_until: Instant::now() + left,
    }
}

/// How old a kept document is. One from the future (a clock that was set back) counts as old.
fn age(label: &Label, now: Timestamp) -> Duration {
    u64::try_from(now.0 - label.fetched.0).map_or(Duration::MAX, Duration::from_secs)
}

/// Whether the upstream was not there to ask, as opposed to having answered.
fn is_outage(failure: &Failure) -> bool {
    let stalls = matches!(
        failure.reason,
        ReasonCode::UpstreamFailed | ReasonCode::UpstreamStalled | ReasonCode::UpstreamTruncated
    );
    stalls && failure.status.is_none_or(|s| s.is_server_error() || s.as_u16() == 429)
}

fn unasked(url: &Url) -> Failure {
    Failure::new(
        ReasonCode::IndexMalformed,
        format!(
            "{} answered `304` to a question without condition",
            crate::http_client::redacted(url)
        ),
    )
}

async fn load(path: PathBuf) -> Option<(Label, Bytes)> {
    let read = move || -> Option<(Label, Bytes)> {
        let bytes = Bytes::from(std::fs::read(&path).ok()?);
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let label: Label = serde_json::from_slice(bytes.get(..end)?).ok()?;
        let body = bytes.slice(end + 1..);
        (Sha256Digest::of(&body) == label.sha256).then_some((label, body))
    };
    tokio::task::spawn_blocking(read).await.ok()?
}

/// Keeps a document. What cannot be kept is asked for again: no reason to fail.
async fn write(path: PathBuf, label: Label, body: Bytes) {
    let work = move || -> std::io::Result<()> {
        use std::io::Write as _;
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new().prefix(".part").tempfile_in(folder)?;
        serde_json::to_writer(&mut file, &label)?;
        file.write_all(b"\n")?;
        file.write_all(&body)?;
        file.persist(&path).map_err(|e| e.error)?;
        Ok(())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "an index cannot be kept"),
        Err(error) => tracing::warn!(%error, "an index cannot be kept"),
    }
}

fn remove_unused(folder: &Path) {
    let old = |path: &Path, limit: Duration| {
        let modified = path.metadata().and_then(|m| m.modified());
        modified.is_ok_and(|m| SystemTime::now().duration_since(m).is_ok_and(|age| age > limit))
    };
    let folders = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in folders.flat_map(|f| std::fs::read_dir(f.path()).into_iter().flatten().flatten()) {
        let path = entry.path();
        let part = entry.file_name().to_string_lossy().starts_with(".part");
        if old(&path, if part { Duration::from_secs(3600) } else { UNUSED }) {
            // Another process may have taken it away already.
            let _ = std::fs::remove_file(&path);
        }
    }
}
