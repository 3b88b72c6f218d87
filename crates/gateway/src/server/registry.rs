//! Answers of the registries: from memory while they hold, from the engine otherwise.

use super::Shared;
use super::answers::Ask;
use super::documents::Prepared;
use super::hot::{Key, Landed, What};
use super::negotiate::{Coding, coding};
use crate::body::Body;
use crate::conditional::has_already;
use crate::respond::{self, Wants, not_modified, plain};
use bytes::Bytes;
use countersign_core::ReasonCode;
use countersign_engine::serving::{Asker, Form, Keep, Route, Served};
use countersign_engine::{Admitted, Answer, PassedOn, Refusal};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One request to a registry.
pub(super) struct Asked<'r> {
    pub(super) route: Route,
    pub(super) form: Form,
    pub(super) root: Arc<str>,
    pub(super) method: &'r Method,
    pub(super) headers: &'r HeaderMap,
    /// The body, for questions of npm's API.
    pub(super) body: Bytes,
    pub(super) asker: Asker,
    /// Whether the client is on this machine.
    pub(super) near: bool,
}

/// An answer, and the artifact that it hands out, if it does.
pub(super) struct Given {
    pub(super) response: Response<Body>,
    pub(super) artifact: Option<Arc<Admitted>>,
}

impl From<Response<Body>> for Given {
    fn from(response: Response<Body>) -> Self {
        Self { response, artifact: None }
    }
}

/// How often a flight is flown again because the grounds changed under it.
const AGAIN: usize = 3;
/// Documents larger than this are prepared where nobody waits for the thread.
const LARGE: usize = 128 << 10;
/// How long clients may use a document without asking, at most. What is recalled stays in clients'
/// caches no longer than that.
const CLIENT_KEEPS: Duration = Duration::from_secs(60);
/// When to try again after an upstream failed.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("10");

/// Answers a request to a registry.
pub(super) async fn answer(shared: &Arc<Shared>, asked: &Asked<'_>) -> Given {
    if matches!(asked.route, Route::NpmApi { .. }) || asks_for_part(asked) {
        return Box::pin(ask_alone(shared, asked)).await;
    }
    let key = Key { route: asked.route.clone(), form: asked.form, root: asked.root.clone() };
    for _ in 0..AGAIN {
        if let Some(kept) = shared.hot.get(&key, shared.answers.generation()) {
            if matches!(kept.what, What::Passing) {
                break;
            }
            let given = give(shared, asked, &kept.what, Some(kept.keep)).await;
            if given.response.status() == StatusCode::INTERNAL_SERVER_ERROR {
                // A blob that was lost or changed: the next one who asks has it judged anew.
                shared.hot.forget(&key);
            }
            return given;
        }
        let flight = shared.hot.fly(&key, || {
            land(shared.clone(), key.clone(), for_engine(asked.headers), asked.asker.clone())
        });
        match flight.await {
            // What was decided on grounds that are gone meanwhile is not released.
            Landed::Answer(_, Some(keep)) if keep.generation != shared.answers.generation() => {}
            Landed::Answer(what, keep) => return give(shared, asked, &what, keep).await,
            Landed::Single(slot) => {
                let taken = slot.lock().take();
                return match taken {
                    Some(answer) => Box::pin(give_once(shared, asked, answer, None)).await,
                    None => Box::pin(ask_alone(shared, asked)).await,
                };
            }
            Landed::Lost => {
                let said = "the gate failed to answer; its log says why\n";
                return plain(StatusCode::INTERNAL_SERVER_ERROR, said).into();
            }
        }
    }
    Box::pin(ask_alone(shared, asked)).await
}

/// Whether a part of an index is asked for: apt takes up a download of megabytes where it ended, and
/// the engine cuts what it streams.
fn asks_for_part(asked: &Asked<'_>) -> bool {
    matches!(asked.route, Route::Debian { .. }) && asked.headers.contains_key(header::RANGE)
}

/// Asks the engine for all who want the same. Whoever asked first lends the headers, which hold
/// nothing that belongs to one client alone.
pub(super) async fn land(
    shared: Arc<Shared>,
    key: Key,
    headers: HeaderMap,
    asker: Asker,
) -> Landed {
    let generation = shared.answers.generation();
    let (method, body) = (Method::GET, Bytes::new());
    let ask = Ask {
        route: &key.route,
        form: key.form,
        method: &method,
        headers: &headers,
        body: &body,
        asker: &asker,
    };
    let Served { answer, keep } = shared.answers.serve(ask).await;
    match (answer, keep) {
        (Answer::Document(d), Some(keep)) if may_be_kept(d.status) => {
            let what = What::Document(prepare(d, &key.route, &key.root).await);
            shared.hot.put(key, what.clone(), keep);
            Landed::Answer(what, Some(keep))
        }
        (Answer::Artifact(a), Some(keep)) => {
            shared.hot.put(key, What::Artifact(a.clone()), keep);
            Landed::Answer(What::Artifact(a), Some(keep))
        }
        (Answer::Refused(r), Some(keep)) => {
            shared.hot.put(key, What::Refused(r.clone()), keep);
            Landed::Answer(What::Refused(r), Some(keep))
        }
        // What is not there is not there for anybody who waits, and a failure is the same
        // failure; who comes later asks anew.
        (Answer::Document(d), None) if is_gone(d.status) => {
            let prepared = prepare(d, &key.route, &key.root).await;
            Landed::Answer(What::Document(prepared), None)
        }
        (Answer::Refused(r), None) if is_failure(r.reason()) => {
            Landed::Answer(What::Refused(r), None)
        }
        (answer, _) => {
            if matches!(answer, Answer::Stream(_)) {
                shared.hot.note_passing(key, generation);
            }
            Landed::Single(Arc::new(Mutex::new(Some(answer))))
        }
    }
}

fn is_failure(reason: ReasonCode) -> bool {
    reason.is_upstream() || reason.is_gate()
}

fn is_gone(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

fn may_be_kept(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 404 | 410 | 451)
}

async fn prepare(
    document: countersign_engine::Document,
    route: &Route,
    root: &str,
) -> Arc<Prepared> {
    if document.body.len() < LARGE {
        return Arc::new(Prepared::new(document, route, root));
    }
    let (route, root, copy) = (route.clone(), root.to_owned(), document.clone());
    let work = move || Prepared::new(copy, &route, &root);
    match tokio::task::spawn_blocking(work).await {
        Ok(prepared) => Arc::new(prepared),
        // Only when the runtime is being shut down.
        Err(_) => Arc::new(Prepared::failed()),
    }
}

/// Asks the engine for this request alone.
async fn ask_alone(shared: &Arc<Shared>, asked: &Asked<'_>) -> Given {
    let mut headers = for_engine(asked.headers);
    if asks_for_part(asked) {
        for name in [header::RANGE, header::IF_RANGE] {
            if let Some(value) = asked.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
    }
    let ask = Ask {
        route: &asked.route,
        form: asked.form,
        method: asked.method,
        headers: &headers,
        body: &asked.body,
        asker: &asked.asker,
    };
    let Served { answer, keep } = shared.answers.serve(ask).await;
    give_once(shared, asked, answer, keep).await
}

async fn give_once(
    shared: &Arc<Shared>,
    asked: &Asked<'_>,
    answer: Answer,
    keep: Option<Keep>,
) -> Given {
    let what = match answer {
        Answer::Document(d) => What::Document(prepare(d, &asked.route, &asked.root).await),
        Answer::Artifact(a) => What::Artifact(a),
        Answer::Refused(r) => What::Refused(r),
        Answer::Stream(stream) => return passed_on(stream, asked).into(),
    };
    give(shared, asked, &what, keep).await
}

/// The headers of a client that the engine sees: none of its credentials, which are this gate's,
/// no conditions, which are answered here, and nothing of its connection.
pub(super) fn for_engine(headers: &HeaderMap) -> HeaderMap {
    const TAKEN: [HeaderName; 4] =
        [header::USER_AGENT, header::ACCEPT, header::CONTENT_TYPE, header::CONTENT_ENCODING];
    let mut out = HeaderMap::new();
    for name in TAKEN {
        for value in headers.get_all(&name) {
            out.append(name.clone(), value.clone());
        }
    }
    out
}

async fn give(shared: &Arc<Shared>, asked: &Asked<'_>, what: &What, keep: Option<Keep>) -> Given {
    let wants = Wants::of(asked.headers, asked.method == Method::HEAD);
    match what {
        What::Document(d) => document(shared, asked, d, keep).await.into(),
        What::Artifact(admitted) => {
            let mut response = respond::artifact(admitted, &wants, Some(&shared.artifacts)).await;
            // Clients may keep an artifact and have to ask before they use it again, so that what
            // is recalled is not installed from a cache. The answer is then 304, or the refusal.
            let policy = shared.cache_control().revalidate();
            response.headers_mut().insert(header::CACHE_CONTROL, policy);
            let handed = asked.method == Method::GET && response.status().is_success();
            Given { response, artifact: handed.then(|| admitted.clone()) }
        }
        What::Refused(refusal) => refused(refusal, &wants).into(),
        What::Passing => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the gate lost the answer\n").into()
        }
    }
}

async fn document(
    shared: &Arc<Shared>,
    asked: &Asked<'_>,
    d: &Prepared,
    keep: Option<Keep>,
) -> Response<Body> {
    let coding = if d.is_worth_packing() {
        let Some(coding) = coding(asked.headers, asked.near) else {
            let said = "the document cannot be had in a coding that the request accepts; accept \
                        identity, gzip, br or zstd\n";
            return plain(StatusCode::NOT_ACCEPTABLE, said);
        };
        coding
    } else {
        Coding::Identity
    };
    let (bytes, coding) = match shared.hot.packed(&d.text, coding).await {
        Ok(packed) => (packed, coding),
        Err(error) => {
            tracing::warn!(%error, "a document cannot be packed and is sent as it is");
            match shared.hot.packed(&d.text, Coding::Identity).await {
                Ok(whole) => (whole, Coding::Identity),
                Err(error) => {
                    tracing::error!(%error, "a kept document cannot be read");
                    let said = "the gate lost the document; ask again\n";
                    return plain(StatusCode::INTERNAL_SERVER_ERROR, said);
                }
            }
        }
    };
    let fine = d.status == StatusCode::OK;
    let unchanged = fine && has_already(asked.headers, bytes.etag.to_str().unwrap_or(""));
    let mut r = if unchanged {
        not_modified()
    } else if asked.method == Method::HEAD {
        let mut r = Response::new(Body::empty());
        r.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.body.len()));
        r
    } else {
        Response::new(Body::full(bytes.body))
    };
    if !unchanged {
        *r.status_mut() = d.status;
    }
    let h = r.headers_mut();
    h.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if fine {
        h.insert(header::ETAG, bytes.etag);
        let left = keep.map(|k| k.until.saturating_duration_since(Instant::now()));
        let kept = left.unwrap_or_default().min(CLIENT_KEEPS);
        h.insert(header::CACHE_CONTROL, shared.cache_control().at_most(kept));
        if let Some(date) = &d.last_modified {
            h.insert(header::LAST_MODIFIED, date.clone());
        }
        if coding != Coding::Identity {
            h.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        }
    } else {
        h.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Some(kind) = &d.content_type {
        h.insert(header::CONTENT_TYPE, kind.clone());
    }
    r
}

/// A refusal. Where the upstream is at fault or the disk is full, a client may come back.
fn refused(refusal: &Refusal, wants: &Wants<'_>) -> Response<Body> {
    let unreachable = matches!(
        refusal.reason(),
        ReasonCode::UpstreamFailed | ReasonCode::UpstreamStalled | ReasonCode::UpstreamTruncated
    );
    let status = if unreachable { StatusCode::SERVICE_UNAVAILABLE } else { refusal.status() };
    let mut r = respond::refusal(refusal, status, wants);
    if unreachable || refusal.reason() == ReasonCode::StorageFull {
        r.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    r
}

/// Metadata that goes through as it is. Of the upstream's headers only those that describe it.
fn passed_on(stream: PassedOn, asked: &Asked<'_>) -> Response<Body> {
    const TAKEN: [HeaderName; 8] = [
        header::ACCEPT_RANGES,
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::CONTENT_ENCODING,
        header::CONTENT_RANGE,
        header::ETAG,
        header::LAST_MODIFIED,
        header::RETRY_AFTER,
    ];
    if matches!(stream.status.as_u16(), 401 | 407) {
        let said = "the upstream does not take the gate's credentials; whoever runs the gate has \
                    to set them\n";
        return plain(StatusCode::BAD_GATEWAY, said);
    }
    let mut headers = HeaderMap::new();
    for name in TAKEN {
        if let Some(value) = stream.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let text = |h: &HeaderMap, name| h.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let unchanged = stream.status == StatusCode::OK
        && match text(&headers, header::ETAG) {
            Some(tag) if asked.headers.contains_key(header::IF_NONE_MATCH) => {
                has_already(asked.headers, &tag)
            }
            _ => {
                let date = text(&headers, header::LAST_MODIFIED);
                date.is_some() && date == text(asked.headers, header::IF_MODIFIED_SINCE)
            }
        };
    let mut r = if unchanged {
        headers.remove(header::CONTENT_LENGTH);
        not_modified()
    } else {
        let empty = asked.method == Method::HEAD;
        let mut r = Response::new(if empty { Body::empty() } else { Body::stream(stream.body) });
        *r.status_mut() = stream.status;
        r
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    *r.headers_mut() = headers;
    r
}

/// What clients are told of keeping answers, made once.
pub(super) struct CacheControl {
    revalidate: HeaderValue,
    seconds: Vec<HeaderValue>,
}

impl CacheControl {
    /// `private` is for answers that only who shows a token may see: no shared cache may keep them.
    pub(super) fn new(private: bool) -> Self {
        let value = |rest: &str| {
            let text = if private { format!("private, {rest}") } else { rest.to_owned() };
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("no-store"))
        };
        let seconds = 0..=CLIENT_KEEPS.as_secs();
        Self {
            revalidate: value("no-cache"),
            seconds: seconds.map(|s| value(&format!("max-age={s}"))).collect(),
        }
    }

    fn revalidate(&self) -> HeaderValue {
        self.revalidate.clone()
    }

    fn at_most(&self, kept: Duration) -> HeaderValue {
        let index = usize::try_from(kept.as_secs()).unwrap_or(0);
        self.seconds.get(index).unwrap_or(&self.revalidate).clone()
    }
}
