//! Metadata as HTTP: conditions and ranges (RFC 9110, sections 13 and 14).

use crate::request::{Answer, ByteStream, PassedOn};
use bytes::Bytes;
use countersign_core::{Sha256Digest, Timestamp};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// Bytes that are read from a file at a time.
const CHUNK: u64 = 256 << 10;

/// A verified document, in memory or in an open file.
pub(super) struct Content {
    source: Source,
    size: u64,
    etag: String,
    modified: Option<Timestamp>,
    /// Whether "not modified since" may be answered: for a file that is always at the same path.
    since: bool,
    content_type: &'static str,
}

enum Source {
    Bytes(Bytes),
    File(Arc<File>),
}

impl Content {
    /// A Release file or its signature.
    pub(super) fn small(bytes: Bytes, modified: Option<Timestamp>) -> Self {
        let etag = format!("\"{}\"", Sha256Digest::of(&bytes).short());
        let size = bytes.len() as u64;
        let source = Source::Bytes(bytes);
        Self { source, size, etag, modified, since: true, content_type: "text/plain" }
    }

    /// An index that has that digest.
    pub(super) fn file(file: File, digest: &Sha256Digest) -> io::Result<Self> {
        let meta = file.metadata()?;
        let modified = meta.modified().ok().and_then(|t| {
            let since = t.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok().map(Timestamp)
        });
        Ok(Self {
            source: Source::File(Arc::new(file)),
            size: meta.len(),
            etag: format!("\"{digest}\""),
            modified,
            since: false,
            content_type: "application/octet-stream",
        })
    }

    fn is_unchanged(&self, headers: &HeaderMap) -> bool {
        let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        // An entity tag, where one is sent, decides alone (RFC 9110, section 13.2.2).
        if let Some(tags) = text(header::IF_NONE_MATCH) {
            return tags.split(',').map(str::trim).any(|t| t == "*" || t == self.etag);
        }
        let since = text(header::IF_MODIFIED_SINCE).and_then(Timestamp::parse_rfc2822);
        self.since && since.zip(self.modified).is_some_and(|(since, own)| own <= since)
    }

    /// The range to send: `Ok(None)` for all of it, `Err` when the range is not in the file.
    fn range(&self, headers: &HeaderMap) -> Result<Option<(u64, u64)>, ()> {
        let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let Some(range) = text(header::RANGE) else { return Ok(None) };
        if let Some(validator) = text(header::IF_RANGE) {
            let time = Timestamp::parse_rfc2822(validator);
            if validator != self.etag && (time.is_none() || time != self.modified) {
                return Ok(None);
            }
        }
        let Some((from, to)) = range.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
            return Ok(None);
        };
        let number = |t: &str| t.trim().parse::<u64>().ok();
        let bounds = match (from.trim(), to.trim()) {
            ("", last) => number(last).map(|n| (self.size.saturating_sub(n), self.size)),
            (first, "") => number(first).map(|n| (n, self.size)),
            (first, last) => number(first)
                .zip(number(last))
                .map(|(a, b)| (a, b.saturating_add(1).min(self.size))),
        };
        match bounds {
            // Several ranges and forms that are no range count as none.
            None => Ok(None),
            Some((start, end)) if start < end => Ok(Some((start, end))),
            Some(_) => Err(()),
        }
    }

    fn stream(self, start: u64, end: u64) -> ByteStream {
        match self.source {
            Source::Bytes(bytes) => {
                let at = |n| usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
                let part = bytes.slice(at(start)..at(end));
                Box::pin(futures_util::stream::once(async move { Ok(part) }))
            }
            Source::File(file) => Box::pin(futures_util::stream::try_unfold(
                (file, start),
                move |(file, at)| async move {
                    let want = usize::try_from(CHUNK.min(end - at)).unwrap_or_default();
                    if want == 0 {
                        return Ok(None);
                    }
                    let reading = file.clone();
                    let read = tokio::task::spawn_blocking(move || {
                        let mut buffer = vec![0; want];
                        reading.read_exact_at(&mut buffer, at).map(|()| buffer)
                    });
                    let buffer = read.await.map_err(io::Error::other)??;
                    Ok(Some((Bytes::from(buffer), (file, at + want as u64))))
                },
            )),
        }
    }
}

/// The answer to a request for a document.
pub(super) fn answer(content: Content, method: &Method, request: &HeaderMap) -> Answer {
    let mut headers = HeaderMap::new();
    let mut put = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put(header::ETAG, &content.etag);
    put(header::CONTENT_TYPE, content.content_type);
    put(header::ACCEPT_RANGES, "bytes");
    if let Some(time) = content.modified.and_then(http_date) {
        put(header::LAST_MODIFIED, &time);
    }
    let empty = || -> ByteStream { Box::pin(futures_util::stream::empty()) };
    let size = content.size;
    let (status, bounds) = if content.is_unchanged(request) {
        (StatusCode::NOT_MODIFIED, None)
    } else {
        match content.range(request) {
            Ok(None) => (StatusCode::OK, Some((0, size))),
            Ok(Some((start, end))) => {
                put(header::CONTENT_RANGE, &format!("bytes {start}-{}/{size}", end - 1));
                (StatusCode::PARTIAL_CONTENT, Some((start, end)))
            }
            Err(()) => {
                put(header::CONTENT_RANGE, &format!("bytes */{size}"));
                put(header::CONTENT_LENGTH, "0");
                (StatusCode::RANGE_NOT_SATISFIABLE, None)
            }
        }
    };
    let body = match bounds {
        None => empty(),
        Some((start, end)) => {
            put(header::CONTENT_LENGTH, &(end - start).to_string());
            if *method == Method::HEAD { empty() } else { content.stream(start, end) }
        }
    };
    Answer::Stream(PassedOn { status, headers, body })
}

/// A time as HTTP writes it (RFC 9110, section 5.6.7).
fn http_date(time: Timestamp) -> Option<String> {
    let time = jiff::Timestamp::from_second(time.0).ok()?;
    Some(time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}
