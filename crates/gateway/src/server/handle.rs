//! From a request to an answer.

use super::ahead;
use super::connection::Conn;
use super::networks::client_address;
use super::origin::FORWARDED_FOR;
use super::registry::{self, Asked, Given};
use super::routes::{RouteError, Target, debian, route, with_query};
use super::segments::segments;
use super::story::Story;
use super::tokens::{Shown, shown};
use super::{Shared, exposition, negotiate};
use crate::body::Body;
use crate::respond::plain;
use bytes::Bytes;
use countersign_core::{Ecosystem, Timestamp};
use countersign_engine::config::TokenRole;
use countersign_engine::policy::Reader;
use countersign_engine::reading::LedgerRoute;
use countersign_engine::serving::{Asker, Route};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tracing::Instrument as _;
use url::Url;

/// Answers a request, whatever it is.
///
/// What is rare or slow on the way is boxed: each open connection has room for the whole of this
/// future, whether it is used or not.
pub(super) async fn handle(
    shared: Arc<Shared>,
    conn: Arc<Conn>,
    request: Request<Incoming>,
) -> Response<Body> {
    let mut story = Story::begin(&shared, &conn, &request);
    let response = if shared.counters.in_flight.load(Ordering::Relaxed) > shared.limits.requests {
        let mut r = plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many requests are being answered; try again in a moment\n",
        );
        r.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        r
    } else {
        answer(&shared, &conn, request, &mut story).await
    };
    story.answered(response)
}

async fn answer(
    shared: &Arc<Shared>,
    conn: &Conn,
    request: Request<Incoming>,
    story: &mut Story,
) -> Response<Body> {
    if let Some(refused) = body_refused(&request) {
        return refused;
    }
    if request.method() == Method::CONNECT {
        return no_tunnel(request.version());
    }
    let address = client_of(shared, conn, request.headers());
    if request.version() < Version::HTTP_2 && request.uri().authority().is_some() {
        return Box::pin(proxied(shared, conn, request, story, address)).await;
    }
    let kind_of = |name: &str| shared.kinds.get(name).copied();
    let target = match route(request.method(), request.uri().path(), &kind_of) {
        Ok(target) => target,
        Err(error) => return no_route(&error),
    };
    let route = match target {
        Target::About => return about(shared),
        Target::Healthz => return plain(StatusCode::OK, "ok\n"),
        Target::Readyz => return Box::pin(readiness(shared)).await,
        Target::Slash => return with_slash(request.uri().path()),
        Target::Metrics => {
            return match admitted(shared, &request, header::AUTHORIZATION) {
                Ok(_) => Box::pin(exposition::answer(shared)).await,
                Err(refused) => refused,
            };
        }
        Target::Ledger(path) => {
            return Box::pin(ledger(shared, &request, story, &path, address)).await;
        }
        Target::Registry(route) => match with_query(route, request.uri().query()) {
            Ok(route) => route,
            Err(error) => return no_route(&error),
        },
    };
    story.asks(route.ecosystem());
    let token = match admitted(shared, &request, header::AUTHORIZATION) {
        Ok(token) => token,
        Err(refused) => {
            story.asked_by(None, address);
            return refused;
        }
    };
    story.asked_by(token.as_ref(), address);
    let root = match shared.origins.root(&request, conn.tls, conn.peer.ip()) {
        Ok(root) => root,
        Err(error) => return plain(StatusCode::BAD_REQUEST, &format!("{}\n", error.sentence())),
    };
    registry(shared, conn, request, story, Asking { route, root, token, address }).await
}

/// What is known of a request to a registry before its body is read.
struct Asking {
    route: Route,
    root: Arc<str>,
    token: Option<Arc<str>>,
    address: IpAddr,
}

async fn registry(
    shared: &Arc<Shared>,
    conn: &Conn,
    request: Request<Incoming>,
    story: &mut Story,
    asking: Asking,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let mut whole = Bytes::new();
    if !body.is_end_stream() {
        whole = match Box::pin(whole_body(shared, body)).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
    }
    let Asking { route, root, token, address } = asking;
    let span = tracing::info_span!(
        target: "countersign::request",
        "request",
        ecosystem = %route.ecosystem(),
        route = route_name(&route),
        method = %parts.method,
        request_id = story.id().to_str().unwrap_or("-"),
    );
    let form = negotiate::form(&route, &parts.headers);
    let asked = Asked {
        form,
        root,
        method: &parts.method,
        headers: &parts.headers,
        body: whole,
        asker: Asker {
            token: token.map(|t| t.to_string()),
            address: Some(address),
            agent: agent_of(&parts.headers),
        },
        near: address.is_loopback(),
        route,
    };
    if ahead::is_package(&asked.route) {
        let coming = conn.ahead.behind(&parts.uri);
        let coming = coming.iter().filter_map(|uri| debian_route(shared, uri)).collect();
        ahead::begin(shared, coming, &asked);
    }
    let Given { response, artifact } = registry::answer(shared, &asked).instrument(span).await;
    if let Some(artifact) = artifact {
        story.hands_out(artifact, asked.route, asked.asker);
    }
    response
}

/// A request whose length could be read in two ways ends its connection: so nothing that follows it
/// can be taken for another request. Nothing that is served here needs more than `Content-Length`.
fn body_refused(request: &Request<Incoming>) -> Option<Response<Body>> {
    let (status, said) = if request.headers().contains_key(header::TRANSFER_ENCODING) {
        (StatusCode::LENGTH_REQUIRED, "send the body's length instead of a transfer coding\n")
    } else if request.method() != Method::POST && !request.body().is_end_stream() {
        (StatusCode::BAD_REQUEST, "a request of this method has no body here\n")
    } else {
        return None;
    };
    let mut r = plain(status, said);
    if request.version() < Version::HTTP_2 {
        r.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Some(r)
}

async fn whole_body(shared: &Shared, body: Incoming) -> Result<Bytes, Response<Body>> {
    let most = shared.limits.body_bytes;
    // What is announced need not be read first.
    let announced = body.size_hint().lower();
    let read = tokio::time::timeout(shared.limits.read_timeout, Limited::new(body, most).collect());
    let too_large = (StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large\n");
    let read = if announced > most as u64 { None } else { Some(read.await) };
    let (status, said) = match read {
        None => too_large,
        Some(Ok(Ok(body))) => return Ok(body.to_bytes()),
        Some(Ok(Err(e))) if e.is::<http_body_util::LengthLimitError>() => too_large,
        Some(Ok(Err(_))) => (StatusCode::BAD_REQUEST, "the request's body broke off\n"),
        Some(Err(_)) => (StatusCode::REQUEST_TIMEOUT, "the request's body took too long\n"),
    };
    let mut r = plain(status, said);
    r.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    Err(r)
}

fn client_of(shared: &Shared, conn: &Conn, headers: &HeaderMap) -> IpAddr {
    let trusted = shared.origins.trusted();
    if trusted.is_empty() {
        return conn.peer.ip().to_canonical();
    }
    let list = headers.get_all(FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok());
    client_address(conn.peer.ip(), &list.collect::<Vec<_>>(), trusted)
}

fn agent_of(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(text.chars().take(200).collect())
}

/// The ledger: who shows nothing is the public, and so is who comes to install.
async fn ledger(
    shared: &Shared,
    request: &Request<Incoming>,
    story: &mut Story,
    path: &[String],
    address: IpAddr,
) -> Response<Body> {
    let found = look(shared, request, &header::AUTHORIZATION);
    let (reader, token) = match found {
        Shown::Nothing => (Reader::Public, None),
        Shown::Holds(name, TokenRole::Client) => (Reader::Public, Some(name)),
        Shown::Holds(name, TokenRole::Auditor) => (Reader::Auditor, Some(name)),
        Shown::Holds(name, TokenRole::Owner) => (Reader::Owner, Some(name)),
        Shown::Unknown => return challenge("that token opens nothing here\n", false),
        Shown::Expired(_) => {
            return challenge("that token has ended; ask for a new one\n", false);
        }
    };
    story.asked_by(token.as_ref(), address);
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let route = match LedgerRoute::parse(&parts, request.uri().query()) {
        Ok(route) => route,
        Err(why) => return plain(StatusCode::NOT_FOUND, &format!("{why}\n")),
    };
    let asker = Asker {
        token: token.as_ref().map(ToString::to_string),
        address: Some(address),
        agent: agent_of(request.headers()),
    };
    let answer = shared.answers.read_ledger(&route, reader, &asker).await;
    if answer.status == 403 && token.is_none() && shared.wants_login() {
        return challenge("the public does not see that; show a token of an auditor\n", false);
    }
    let body = if request.method() == Method::HEAD { Vec::new() } else { answer.body };
    let mut r = Response::new(Body::full(Bytes::from(body)));
    *r.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = r.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    r
}

/// What a request shows. With no tokens configured nothing is looked at.
fn look(shared: &Shared, request: &Request<Incoming>, name: &header::HeaderName) -> Shown {
    let tokens = shared.tokens.read().clone();
    if tokens.is_empty() {
        return Shown::Nothing;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 tells no token's end: none holds then.
    let now = now.map_or(i64::MAX, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
    let mut values = request.headers().get_all(name).iter();
    let first = values.next();
    match values.next() {
        // Which of several counts is nobody's to guess.
        Some(_) => Shown::Unknown,
        None => shown(&tokens, first, Timestamp(now)),
    }
}

/// The name of the token that a request shows, or the answer to who shows none that holds.
#[expect(clippy::result_large_err, reason = "the answer is sent at once, and only then")]
fn admitted(
    shared: &Shared,
    request: &Request<Incoming>,
    name: header::HeaderName,
) -> Result<Option<Arc<str>>, Response<Body>> {
    if shared.tokens.read().is_empty() {
        return Ok(None);
    }
    let said = match look(shared, request, &name) {
        Shown::Holds(_, TokenRole::Auditor) => {
            return Err(plain(StatusCode::FORBIDDEN, "that token is for reading the ledger\n"));
        }
        Shown::Holds(name, _) => return Ok(Some(name)),
        Shown::Nothing => "this gate wants a token: as Bearer, or as the password of any user\n",
        Shown::Unknown => "that token opens nothing here\n",
        Shown::Expired(_) => "that token has ended; ask for a new one\n",
    };
    Err(challenge(said, name == header::PROXY_AUTHORIZATION))
}

fn challenge(said: &str, by_proxy: bool) -> Response<Body> {
    let (status, name) = if by_proxy {
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, header::PROXY_AUTHENTICATE)
    } else {
        (StatusCode::UNAUTHORIZED, header::WWW_AUTHENTICATE)
    };
    let mut r = plain(status, said);
    r.headers_mut().append(name.clone(), HeaderValue::from_static("Basic realm=\"countersign\""));
    r.headers_mut().append(name, HeaderValue::from_static("Bearer realm=\"countersign\""));
    r.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    r
}

fn no_route(error: &RouteError) -> Response<Body> {
    match error {
        RouteError::Bad(why) => plain(StatusCode::BAD_REQUEST, &format!("{why}\n")),
        RouteError::NotFound(why) => plain(StatusCode::NOT_FOUND, &format!("{why}\n")),
        RouteError::Method(allow) => {
            let said = "the gate is for installing; it is not written to\n";
            let mut r = plain(StatusCode::METHOD_NOT_ALLOWED, said);
            r.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
            r
        }
    }
}

/// The same address with a slash at its end. It is given relative, so that no host is named.
fn with_slash(path: &str) -> Response<Body> {
    let last = path.rsplit('/').next().unwrap_or_default();
    let mut r = plain(StatusCode::MOVED_PERMANENTLY, "index addresses end in a slash\n");
    if let Ok(v) = HeaderValue::from_str(&format!("./{last}/")) {
        r.headers_mut().insert(header::LOCATION, v);
    }
    r
}

fn about(shared: &Shared) -> Response<Body> {
    let mut said = String::from(
        "countersign: a gate between package managers and registries\n\n\
         /pypi/simple/     Python index\n\
         /npm/             npm registry\n\
         /cargo/           cargo registry (sparse+…/cargo/)\n\
         /debian/<name>/   Debian repository, also as HTTP proxy for apt\n\
         /u/<name>/        one upstream alone\n\
         /ledger/          the ledger, for the public and for auditors\n\
         /healthz /readyz /metrics\n",
    );
    if shared.wants_login() {
        said.push_str("\nRegistries and metrics want a token.\n");
    }
    plain(StatusCode::OK, &said)
}

async fn readiness(shared: &Shared) -> Response<Body> {
    let mut reasons = Vec::new();
    if shared.stopping.load(Ordering::Relaxed) {
        reasons.push("shutting down".to_owned());
    }
    if let Err(error) = shared.answers.ledger_size().await {
        reasons.push(format!("the ledger cannot be read: {error}"));
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body = serde_json::json!({ "ready": ready, "reasons": reasons });
    // A gateway with older feeds is better than none; whoever looks after it has to know.
    if shared.answers.metrics().feeds_behind() {
        let said = "the feeds' files changed and cannot be used: the older ones stay, and the log says why";
        body["warnings"] = serde_json::json!([said]);
    }
    let mut r = plain(status, &format!("{body}\n"));
    r.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    r.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    r
}

/// A sentence with status 403, also as the reason phrase: that is what apt shows.
fn door_closed(said: &'static str) -> Response<Body> {
    let mut r = plain(StatusCode::FORBIDDEN, &format!("{said}\n"));
    r.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(said.as_bytes()));
    r.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    r
}

/// What follows is meant for whom the tunnel would lead to, and is nobody's request here.
fn no_tunnel(version: Version) -> Response<Body> {
    let mut r = door_closed(
        "the gate opens no tunnels: point https sources of apt at its mirror path /debian/<name>/, \
         other clients at its registries",
    );
    if version < Version::HTTP_2 {
        r.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    r
}

/// A request for another server's address, as apt sends it to a proxy: answered when the address
/// lies under a Debian upstream, closed otherwise.
async fn proxied(
    shared: &Arc<Shared>,
    conn: &Conn,
    request: Request<Incoming>,
    story: &mut Story,
    address: IpAddr,
) -> Response<Body> {
    let token = match admitted(shared, &request, header::PROXY_AUTHORIZATION) {
        Ok(token) => token,
        Err(refused) => return refused,
    };
    story.asked_by(token.as_ref(), address);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let found = if reads { debian_of(shared, request.uri()) } else { Ok(None) };
    let route = match found {
        Ok(Some(route)) => route,
        Ok(None) => {
            return door_closed(
                "as a proxy the gate is for reading its Debian upstreams alone; configure that \
                 address as an upstream, or ask the gate's registries",
            );
        }
        Err(error) => return no_route(&error),
    };
    story.asks(Ecosystem::Debian);
    // Documents of a Debian repository name no addresses: the root is never put in.
    let root: Arc<str> = Arc::from("");
    registry(shared, conn, request, story, Asking { route, root, token, address }).await
}

/// The route of a request to a Debian repository, asked for as of a proxy or of a mirror.
fn debian_route(shared: &Shared, uri: &http::Uri) -> Option<Route> {
    if uri.authority().is_some() {
        return debian_of(shared, uri).ok().flatten();
    }
    match route(&Method::GET, uri.path(), &|name| shared.kinds.get(name).copied()) {
        Ok(Target::Registry(route)) => Some(route),
        _ => None,
    }
}

/// The Debian upstream that an address lies under: same scheme, host and port, path below its base.
fn debian_of(shared: &Shared, uri: &http::Uri) -> Result<Option<Route>, RouteError> {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Ok(None);
    };
    if authority.as_str().contains('@') {
        return Err(RouteError::Bad("the address carries a login"));
    }
    let path = uri.path();
    // Refuses what could be read in two ways before it is compared with anything.
    segments(path)?;
    let Ok(host) = Url::parse(&format!("{scheme}://{authority}/")) else { return Ok(None) };
    let under = |base: &Url| {
        let same = base.origin() == host.origin();
        same.then(|| path.strip_prefix(base.path())).flatten()
    };
    let longest = shared
        .debian
        .iter()
        .filter_map(|u| under(&u.base).map(|rest| (u, rest)))
        .max_by_key(|(u, _)| u.base.path().len());
    let Some((upstream, rest)) = longest else { return Ok(None) };
    let rest = format!("/{rest}");
    let decoded = segments(&rest)?;
    let list: Vec<&str> = decoded.list.iter().map(Cow::as_ref).collect();
    debian(&upstream.name, &list, decoded.slash).map(Some)
}

fn route_name(route: &Route) -> &'static str {
    match route {
        Route::PypiRoot { .. } => "pypi-root",
        Route::PypiProject { .. } => "pypi-project",
        Route::PypiFile { .. } => "pypi-file",
        Route::PypiMetadata { .. } => "pypi-metadata",
        Route::PypiProvenance { .. } => "pypi-provenance",
        Route::NpmPackage { .. } => "npm-package",
        Route::NpmTarball { .. } => "npm-tarball",
        Route::NpmApi { .. } => "npm-api",
        Route::CargoConfig { .. } => "cargo-config",
        Route::CargoIndex { .. } => "cargo-index",
        Route::CargoDownload { .. } => "cargo-download",
        Route::Debian { .. } => "debian",
    }
}
