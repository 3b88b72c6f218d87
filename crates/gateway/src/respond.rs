//! The engine's answers as HTTP: documents, artifacts that were admitted, refusals that people
//! can act on.

use crate::body::Body;
use crate::conditional::{Part, has_already, part};
use crate::memory::ArtifactMemory;
use bytes::Bytes;
use countersign_engine::{Admitted, Answer, Refusal};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

/// What form of answer the client asked for.
pub(crate) struct Wants<'h> {
    head: bool,
    headers: &'h HeaderMap,
}

enum Form {
    Text,
    Html,
    Json,
}

impl<'h> Wants<'h> {
    /// Takes note of the headers that matter for the form of the answer.
    pub(crate) fn of(headers: &'h HeaderMap, head: bool) -> Self {
        Self { head, headers }
    }

    fn refusal_form(&self) -> Form {
        let text = |name| self.headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let accept = text(header::ACCEPT).unwrap_or("").to_ascii_lowercase();
        let agent = text(header::USER_AGENT).unwrap_or("").to_ascii_lowercase();
        // npm and uv read problem details whatever they say they accept.
        let reads_json = agent.starts_with("npm/") || agent.starts_with("uv/");
        if accept.contains("json") || reads_json {
            Form::Json
        } else if accept.starts_with("text/html") {
            Form::Html
        } else {
            Form::Text
        }
    }
}

/// A short text answer.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut r = Response::new(Body::full(Bytes::copy_from_slice(text.as_bytes())));
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
pub(crate) async fn render(answer: Answer, wants: &Wants<'_>) -> Response<Body> {
    match answer {
        Answer::Document(doc) => {
            let unchanged = doc.etag.as_ref().is_some_and(|tag| has_already(wants.headers, tag));
            let mut r = if unchanged {
                not_modified()
            } else {
                let mut r =
                    Response::new(if wants.head { Body::empty() } else { Body::full(doc.body) });
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
        Answer::Artifact(admitted) => artifact(&admitted, wants, None).await,
        Answer::Stream(stream) => {
            let mut r = Response::new(Body::stream(stream.body));
            *r.status_mut() = stream.status;
            *r.headers_mut() = stream.headers;
            r
        }
        Answer::Refused(refusal) => self::refusal(&refusal, refusal.status(), wants),
    }
}

/// An empty answer that says the client has it already.
pub(crate) fn not_modified() -> Response<Body> {
    let mut r = Response::new(Body::empty());
    *r.status_mut() = StatusCode::NOT_MODIFIED;
    r
}

/// Releases an admitted artifact: the only function that sends an artifact's bytes. Where there is
/// a memory for small ones, they come from there.
pub(crate) async fn artifact(
    admitted: &Admitted,
    wants: &Wants<'_>,
    memory: Option<&ArtifactMemory>,
) -> Response<Body> {
    let size = admitted.size();
    let etag = format!("\"{}\"", admitted.sha256());
    let tag = HeaderValue::from_str(&etag).ok();
    if has_already(wants.headers, &etag) {
        let mut r = not_modified();
        r.headers_mut().extend(tag.map(|t| (header::ETAG, t)));
        return r;
    }
    let asked = if wants.head { Part::Whole } else { part(wants.headers, size, &etag) };
    let (start, end, status) = match asked {
        Part::Whole => (0, size, StatusCode::OK),
        Part::Range(start, end) => (start, end, StatusCode::PARTIAL_CONTENT),
        Part::Outside => return outside(size),
    };
    let body = if wants.head {
        Body::empty()
    } else {
        match bytes_of(admitted, start, end, memory).await {
            Ok(body) => body,
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
    h.extend(tag.map(|t| (header::ETAG, t)));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(v) = HeaderValue::from_str(&format!("bytes {start}-{}/{size}", end - 1))
    {
        h.insert(header::CONTENT_RANGE, v);
    }
    r
}

fn outside(size: u64) -> Response<Body> {
    let mut r = plain(StatusCode::RANGE_NOT_SATISFIABLE, "that range is not in the file\n");
    if let Ok(v) = HeaderValue::from_str(&format!("bytes */{size}")) {
        r.headers_mut().insert(header::CONTENT_RANGE, v);
    }
    r
}

async fn bytes_of(
    admitted: &Admitted,
    start: u64,
    end: u64,
    memory: Option<&ArtifactMemory>,
) -> std::io::Result<Body> {
    if let Some(memory) = memory.filter(|m| m.takes(admitted)) {
        let whole = memory.bytes(admitted).await?;
        let place = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(whole.len());
        return Ok(Body::full(whole.slice(place(start)..place(end))));
    }
    let file = admitted.open()?;
    Ok(Body::file(file, start, end - start))
}

/// A refusal, with the status that the setting gives it.
pub(crate) fn refusal(refusal: &Refusal, status: StatusCode, wants: &Wants<'_>) -> Response<Body> {
    let (content_type, body) = match wants.refusal_form() {
        Form::Json => ("application/problem+json", problem(refusal, status)),
        Form::Html => ("text/html; charset=utf-8", refusal.to_html()),
        Form::Text => ("text/plain; charset=utf-8", refusal.to_text()),
    };
    let mut r =
        Response::new(if wants.head { Body::empty() } else { Body::full(Bytes::from(body)) });
    *r.status_mut() = status;
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

/// Problem details whose `status` is the one that is sent (RFC 9457, section 3.1.2).
fn problem(refusal: &Refusal, status: StatusCode) -> String {
    let text = refusal.to_json();
    if status == refusal.status() {
        return text;
    }
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(&text) else { return text };
    if let Some(map) = value.as_object_mut() {
        map.insert("status".into(), status.as_u16().into());
    }
    value.to_string()
}
