//! The engine's answers as HTTP: documents, artifacts that were admitted, refusals that people
//! can act on.

use bytes::Bytes;
use countersign_engine::{Admitted, Answer, Refusal};
use futures_util::TryStreamExt as _;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use std::io::{self, Read as _, Seek as _, SeekFrom};

/// The body of every answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What form of answer the client asked for.
pub(crate) struct Wants {
    head: bool,
    refusal: Form,
    range: Option<String>,
    if_none_match: Option<String>,
}

enum Form {
    Text,
    Html,
    Json,
}

impl Wants {
    /// Reads the headers that matter for the form of the answer.
    pub(crate) fn of(headers: &HeaderMap, head: bool) -> Self {
        let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let accept = text(header::ACCEPT).unwrap_or("").to_ascii_lowercase();
        let agent = text(header::USER_AGENT).unwrap_or("").to_ascii_lowercase();
        // npm and uv read problem details whatever they say they accept.
        let reads_json = agent.starts_with("npm/") || agent.starts_with("uv/");
        let refusal = if accept.contains("json") || reads_json {
            Form::Json
        } else if accept.starts_with("text/html") {
            Form::Html
        } else {
            Form::Text
        };
        Self {
            head,
            refusal,
            range: text(header::RANGE).map(str::to_owned),
            if_none_match: text(header::IF_NONE_MATCH).map(str::to_owned),
        }
    }
}

/// An empty body.
pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A short text answer.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut r = Response::new(full(Bytes::copy_from_slice(text.as_bytes())));
    *r.status_mut() = status;
    r.headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    r
}

/// The answer to whoever does not carry this run's secret.
pub(crate) fn proxy_authentication_required() -> Response<Body> {
    let mut r = plain(
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        "this gate serves one run of one command, and this request does not belong to it\n",
    );
    r.headers_mut().insert(
        header::PROXY_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"countersign\""),
    );
    r
}

/// The engine's answer in the form that the client wants.
pub(crate) async fn render(answer: Answer, wants: &Wants) -> Response<Body> {
    match answer {
        Answer::Document(doc) => {
            let unchanged = doc.etag.as_ref().is_some_and(|tag| {
                wants.if_none_match.as_ref().is_some_and(|m| m.split(',').any(|t| t.trim() == tag))
            });
            let mut r = if unchanged {
                let mut r = Response::new(empty());
                *r.status_mut() = StatusCode::NOT_MODIFIED;
                r
            } else {
                let mut r = Response::new(if wants.head { empty() } else { full(doc.body) });
                *r.status_mut() = doc.status;
                r
            };
            for (name, value) in [
                (header::CONTENT_TYPE, doc.content_type),
                (header::ETAG, doc.etag),
                (header::LAST_MODIFIED, doc.last_modified),
                (header::WWW_AUTHENTICATE, doc.www_authenticate),
            ] {
                if let Some(v) = value.and_then(|v| HeaderValue::from_str(&v).ok()) {
                    r.headers_mut().insert(name, v);
                }
            }
            r
        }
        Answer::Artifact(admitted) => artifact(&admitted, wants).await,
        Answer::Stream(stream) => {
            let frames = stream.body.map_ok(Frame::data);
            let mut r = Response::new(UnsyncBoxBody::new(StreamBody::new(frames)));
            *r.status_mut() = stream.status;
            *r.headers_mut() = stream.headers;
            r
        }
        Answer::Refused(refusal) => self::refusal(&refusal, wants),
    }
}

/// Bytes read from the blob store at a time.
const CHUNK: usize = 256 * 1024;

/// Releases an admitted artifact: the only function that sends an artifact's bytes.
pub(crate) async fn artifact(admitted: &Admitted, wants: &Wants) -> Response<Body> {
    let size = admitted.size();
    let (start, end, status) = match wants.range.as_deref().map(|r| parse_range(r, size)) {
        Some(Some((start, end))) => (start, end, StatusCode::PARTIAL_CONTENT),
        // A form that is not served counts as no range at all (RFC 9110, section 14.2).
        Some(None) if !is_one_range(wants.range.as_deref()) => (0, size, StatusCode::OK),
        Some(None) => {
            let mut r = plain(StatusCode::RANGE_NOT_SATISFIABLE, "that range is not in the file\n");
            if let Ok(v) = HeaderValue::from_str(&format!("bytes */{size}")) {
                r.headers_mut().insert(header::CONTENT_RANGE, v);
            }
            return r;
        }
        None => (0, size, StatusCode::OK),
    };
    let body = if wants.head {
        empty()
    } else {
        match open_at(admitted, start) {
            Ok(file) => file_body(file, end - start),
            Err(error) => {
                tracing::error!(%error, "an admitted artifact's bytes cannot be read");
                return plain(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the artifact cannot be read from the gate's store; run `countersign doctor`\n",
                );
            }
        }
    };
    let mut r = Response::new(body);
    *r.status_mut() = status;
    let h = r.headers_mut();
    h.insert(header::CONTENT_LENGTH, HeaderValue::from(end - start));
    h.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    h.insert(header::CONTENT_TYPE, HeaderValue::from_static(admitted.content_type()));
    if let Ok(v) = HeaderValue::from_str(&format!("\"{}\"", admitted.sha256())) {
        h.insert(header::ETAG, v);
    }
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(v) = HeaderValue::from_str(&format!("bytes {start}-{}/{size}", end - 1))
    {
        h.insert(header::CONTENT_RANGE, v);
    }
    r
}

fn open_at(admitted: &Admitted, start: u64) -> io::Result<std::fs::File> {
    let mut file = admitted.open()?;
    file.seek(SeekFrom::Start(start))?;
    Ok(file)
}

fn file_body(file: std::fs::File, length: u64) -> Body {
    let chunks = futures_util::stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let want = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = tokio::task::spawn_blocking(move || -> io::Result<_> {
            let mut buffer = vec![0u8; want];
            file.read_exact(&mut buffer)?;
            Ok((file, buffer))
        });
        let (file, buffer) = read.await.map_err(io::Error::other)??;
        let left = left - buffer.len() as u64;
        Ok::<_, io::Error>(Some((Bytes::from(buffer), (file, left))))
    });
    UnsyncBoxBody::new(StreamBody::new(chunks.map_ok(Frame::data)))
}

fn is_one_range(text: Option<&str>) -> bool {
    text.and_then(|t| t.strip_prefix("bytes=")).is_some_and(|s| {
        !s.contains(',')
            && s.contains('-')
            && s.chars().all(|c| c.is_ascii_digit() || "- ".contains(c))
    })
}

/// One range of RFC 9110, section 14.1.2, as (start, end exclusive). `None`: not satisfiable, or a
/// form that is not served.
fn parse_range(text: &str, size: u64) -> Option<(u64, u64)> {
    let spec = text.strip_prefix("bytes=")?;
    let (from, to) = spec.split_once('-')?;
    let (start, end) = match (from.trim(), to.trim()) {
        ("", n) => (size.checked_sub(n.parse::<u64>().ok()?.min(size))?, size),
        (s, "") => (s.parse().ok()?, size),
        (s, e) => (s.parse().ok()?, e.parse::<u64>().ok()?.saturating_add(1).min(size)),
    };
    (start < end).then_some((start, end))
}

fn refusal(refusal: &Refusal, wants: &Wants) -> Response<Body> {
    let (content_type, body) = match wants.refusal {
        Form::Json => ("application/problem+json", refusal.to_json()),
        Form::Html => ("text/html; charset=utf-8", refusal.to_html()),
        Form::Text => ("text/plain; charset=utf-8", refusal.to_text()),
    };
    let mut r = Response::new(if wants.head { empty() } else { full(Bytes::from(body)) });
    *r.status_mut() = refusal.status();
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    r.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(v) = HeaderValue::from_str(refusal.reason().name()) {
        r.headers_mut().insert("countersign-reason", v);
    }
    // The reason phrase is all that pip and apt show of an error.
    if let Ok(phrase) = hyper::ext::ReasonPhrase::try_from(refusal.reason_phrase()) {
        r.extensions_mut().insert(phrase);
    }
    r
}

#[cfg(test)]
mod tests {
    use super::parse_range;

    #[test]
    fn ranges() {
        for (text, want) in [
            ("bytes=0-0", Some((0, 1))),
            ("bytes=2-", Some((2, 10))),
            ("bytes=-3", Some((7, 10))),
            ("bytes=-30", Some((0, 10))),
            ("bytes=5-500", Some((5, 10))),
            ("bytes=10-", None),
            ("bytes=5-4", None),
            ("bytes=-0", None),
            ("bytes=0-1,3-4", None),
            ("items=0-1", None),
            ("bytes=x-y", None),
        ] {
            assert_eq!(parse_range(text, 10), want, "{text}");
        }
    }
}
