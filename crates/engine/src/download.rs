//! Large documents of the gate's own, such as feeds: streamed into a file, and not fetched again
//! when they did not change.

use crate::http_client::{Failure, Http, redacted};
use countersign_core::Sha256Digest;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use tokio::io::AsyncWriteExt as _;
use url::Url;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
    /// The entity tag that it came with (RFC 9110, section 8.8.3).
    pub etag: Option<String>,
}

/// Sends documents of the gate's own, such as traces.
pub struct Poster(Http);

impl Poster {
    /// Through the proxies that the environment names, trusting the system's certificates.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, String> {
        Http::plain().map(Self)
    }

    /// Posts a document; the status and the body of the answer.
    ///
    /// # Errors
    /// When nobody answers, in words for people.
    pub async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: bytes::Bytes,
    ) -> Result<(StatusCode, bytes::Bytes), String> {
        let got = self.0.ask(http::Method::POST, url, headers, body, 1 << 20).await;
        got.map(|f| (f.status, f.body)).map_err(|f| f.detail)
    }
}

/// Fetches a document of at most `limit` bytes into a file, which is then synced; `None` when it
/// still has the entity tag that is given. After an error the file may hold a part.
///
/// # Errors
/// When it cannot be had or written, in words for people.
pub async fn download(
    url: &Url,
    etag: Option<&str>,
    file: &Path,
    limit: u64,
) -> Result<Option<Downloaded>, String> {
    let http = Http::plain()?;
    let mut headers = HeaderMap::new();
    if let Some(tag) = etag.and_then(|t| HeaderValue::from_str(t).ok()) {
        headers.insert(header::IF_NONE_MATCH, tag);
    }
    let response = http.stream(url, &headers).await.map_err(|f| f.detail)?;
    match response.status() {
        StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(None),
        StatusCode::OK => {}
        other => return Err(Failure::answered(url, other).detail),
    }
    let tag = response.headers().get(header::ETAG).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let announced = response.content_length();
    let shown = redacted(url);
    let unwritten = |e: std::io::Error| format!("`{}` cannot be written: {e}", file.display());
    let mut out = tokio::fs::File::create(file).await.map_err(unwritten)?;
    let (mut hasher, mut len) = (Sha256::new(), 0u64);
    let mut stream = Box::pin(response.bytes_stream());
    while let Some(chunk) = http.next_chunk(&mut stream, &shown).await.map_err(|f| f.detail)? {
        len += chunk.len() as u64;
        if len > limit {
            return Err(format!("{shown} is larger than {limit} bytes"));
        }
        hasher.update(&chunk);
        out.write_all(&chunk).await.map_err(unwritten)?;
    }
    if announced.is_some_and(|n| n != len) {
        return Err(format!("{shown} ended before its announced length"));
    }
    out.sync_all().await.map_err(unwritten)?;
    Ok(Some(Downloaded { sha256: Sha256Digest(hasher.finalize().into()), etag: tag }))
}
