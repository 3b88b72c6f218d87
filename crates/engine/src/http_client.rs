//! The one HTTP client: documents under a limit, artifacts as streams, redirects judged.

use crate::config::UpstreamConfig;
use crate::credential::Vault;
use crate::gathered::Gathered;
use crate::upstream::Upstream;
use bytes::Bytes;
use countersign_core::ReasonCode;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};
use url::Url;

/// A failure to get something from an upstream, with its reason from the closed set.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// The reason.
    pub reason: ReasonCode,
    /// What happened, for people; never holds credentials.
    pub detail: String,
    /// The upstream's own status, where it answered with one.
    pub status: Option<StatusCode>,
}

impl Failure {
    /// A failure for that reason.
    pub fn new(reason: ReasonCode, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), status: None }
    }

    /// Whether the upstream said that there is no such thing; anything else leaves it open.
    pub(crate) fn says_absent(&self) -> bool {
        self.status.is_some_and(|s| matches!(s.as_u16(), 404 | 410))
    }

    /// The failure of an upstream that answered with `status`.
    pub(crate) fn answered(url: &Url, status: StatusCode) -> Self {
        let detail = format!("{} answered {status}", redacted(url));
        Self { reason: ReasonCode::UpstreamFailed, detail, status: Some(status) }
    }
}

/// The waits after which an upstream counts as stalled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub read: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(20), read: Duration::from_secs(60) }
    }
}

/// The HTTP client of the engine.
pub(crate) struct Http {
    clients: Clients,
    /// Origins whose TLS may rest on certificates of their own.
    trusting: HashMap<String, Clients>,
    vault: Vault,
    patience: Patience,
    outages: Mutex<HashMap<String, (Instant, Failure)>>,
}

/// A connection pool for documents, and one for artifacts: their bytes are hashed as they are, and
/// no transfer decoding may touch them.
struct Clients {
    documents: reqwest::Client,
    artifacts: reqwest::Client,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Document,
    Artifact,
}

/// How long an origin that could not be reached is not asked again: others need not wait for the
/// same silence. Longer than it takes the patient to try again, shorter than an outage that matters.
const OUTAGE: Duration = Duration::from_secs(3);

/// How many redirects are followed before they count as a loop.
const MAX_REDIRECTS: usize = 5;
/// How often a request that an upstream did not answer properly is sent.
const TRIES: u32 = 3;

/// An address without credentials, for messages.
#[must_use]
pub(crate) fn redacted(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

impl Clients {
    fn new(roots: &[reqwest::Certificate], patience: Patience) -> Result<Self, String> {
        let names = std::sync::Arc::new(crate::names::Names::default());
        let build = |decode: bool| -> Result<reqwest::Client, String> {
            let mut b = reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(patience.connect)
                .tcp_nodelay(true)
                .dns_resolver(names.clone())
                // An idle connection with TLS keeps tens of kilobytes.
                .pool_max_idle_per_host(12)
                .pool_idle_timeout(Duration::from_secs(30))
                .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
                .gzip(decode);
            for c in roots {
                b = b.add_root_certificate(c.clone());
            }
            b.build().map_err(|e| format!("cannot set up TLS: {e}"))
        };
        Ok(Self { documents: build(true)?, artifacts: build(false)? })
    }
}

fn read_roots(file: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let shown = file.display();
    let pem = std::fs::read(file)
        .map_err(|e| format!("certificates `{shown}` cannot be read: {e}; correct `ca`"))?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("`{shown}` holds no certificate in PEM form; correct `ca`")),
        Err(e) => Err(format!("certificates `{shown}` cannot be used: {e}; correct `ca`")),
    }
}

/// Checks that a file holds certificates that TLS can rest on.
///
/// # Errors
/// In words for people.
pub fn check_roots(file: &Path) -> Result<(), String> {
    read_roots(file).map(drop)
}

impl Http {
    /// A client that trusts the system's roots and `extra_roots` (PEM), and goes through the
    /// proxies that the environment names. Of `upstreams` it takes credentials, and certificates
    /// that are trusted for that upstream's origin alone.
    ///
    /// # Errors
    /// When a certificate is malformed or TLS cannot be set up.
    pub(crate) fn new(
        extra_roots: &[Vec<u8>],
        patience: Patience,
        upstreams: &[UpstreamConfig],
    ) -> Result<Self, String> {
        let mut roots = Vec::new();
        for pem in extra_roots {
            roots.extend(reqwest::Certificate::from_pem_bundle(pem).map_err(|e| e.to_string())?);
        }
        let mut own: HashMap<String, Vec<reqwest::Certificate>> = HashMap::new();
        for upstream in upstreams {
            let base = Upstream::new(upstream.ecosystem, &upstream.url).map(|u| u.base);
            if let (Some(file), Some(base)) = (&upstream.ca, base) {
                let certificates = own.entry(base.origin().ascii_serialization()).or_default();
                certificates.extend(read_roots(file)?);
            }
        }
        let mut trusting = HashMap::new();
        for (origin, mut certificates) in own {
            certificates.extend(roots.iter().cloned());
            trusting.insert(origin, Clients::new(&certificates, patience)?);
        }
        let clients = Clients::new(&roots, patience)?;
        Ok(Self {
            clients,
            trusting,
            vault: Vault::new(upstreams),
            patience,
            outages: Mutex::default(),
        })
    }

    /// A client that knows no upstream.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(crate) fn plain() -> Result<Self, String> {
        Self::new(&[], Patience::default(), &[])
    }

    fn client(&self, what: For, url: &Url) -> &reqwest::Client {
        let own = match self.trusting.is_empty() {
            true => None,
            false => self.trusting.get(&url.origin().ascii_serialization()),
        };
        let clients = own.unwrap_or(&self.clients);
        match what {
            For::Document => &clients.documents,
            For::Artifact => &clients.artifacts,
        }
    }

    /// Gets a document of at most `limit` bytes from `upstream`'s origin.
    ///
    /// # Errors
    /// A [`Failure`] when the upstream cannot be reached, stalls, sends too much or redirects to
    /// another origin. A status such as 404 is no failure: it comes with its body.
    pub(crate) async fn document(
        &self,
        url: &Url,
        headers: HeaderMap,
        limit: usize,
    ) -> Result<Fetched, Failure> {
        let response = self.send(For::Document, url, &headers, &[]).await?;
        self.read_document(response, url, limit).await
    }

    /// Gets a document that carries its own signature: it may also come from where the upstream's
    /// configuration lets its downloads be redirected to.
    ///
    /// # Errors
    /// As [`Http::document`].
    pub(crate) async fn signed_document(
        &self,
        url: &Url,
        headers: HeaderMap,
        limit: usize,
        upstream: &Upstream,
    ) -> Result<Fetched, Failure> {
        let response = self.send(For::Document, url, &headers, &upstream.redirects).await?;
        self.read_document(response, url, limit).await
    }

    /// The status that an address answers with; its body is not read.
    ///
    /// # Errors
    /// When it cannot be reached, stalls or redirects to another origin.
    pub(crate) async fn status(&self, url: &Url) -> Result<StatusCode, Failure> {
        let response = self.send(For::Document, url, &HeaderMap::new(), &[]).await;
        match response {
            Ok(response) => Ok(response.status()),
            // Whoever answers is there.
            Err(Failure { status: Some(status), .. }) => Ok(status),
            Err(failure) => Err(failure),
        }
    }

    /// Opens the stream of a document with its status.
    ///
    /// # Errors
    /// When it cannot be reached, stalls or redirects to another origin.
    pub(crate) async fn stream(
        &self,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<reqwest::Response, Failure> {
        self.send(For::Artifact, url, headers, &[]).await
    }

    async fn read_document(
        &self,
        response: reqwest::Response,
        url: &Url,
        limit: usize,
    ) -> Result<Fetched, Failure> {
        let (status, headers) = (response.status(), response.headers().clone());
        let shown = redacted(url);
        let mut body = Gathered::default();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = self.next_chunk(&mut stream, &shown).await? {
            if body.len() + chunk.len() > limit {
                return Err(Failure::new(
                    ReasonCode::TooLarge,
                    format!("{shown} is larger than the limit of {limit} bytes for an index"),
                ));
            }
            body.push(&chunk);
        }
        Ok(Fetched { status, headers, body: body.into_bytes() })
    }

    /// Asks a small question of an API and reads the answer under a limit.
    ///
    /// # Errors
    /// When the upstream cannot be reached, stalls or sends too much.
    pub(crate) async fn ask(
        &self,
        method: http::Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
        limit: usize,
    ) -> Result<Fetched, Failure> {
        let response = self.pass_on(method, url, headers, body).await?;
        self.read_document(response, url, limit).await
    }

    /// Sends a client's request on as it is, and hands its answer back as it is.
    ///
    /// # Errors
    /// When the upstream cannot be reached.
    pub(crate) async fn pass_on(
        &self,
        method: http::Method,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<reqwest::Response, Failure> {
        self.with_credential(url, &headers, |headers| {
            let client = self.client(For::Artifact, url);
            let request = client.request(method.clone(), url.clone());
            let request = request.headers(headers).body(body.clone());
            async move {
                match tokio::time::timeout(self.patience.read, request.send()).await {
                    Err(_) => Err(stalled(url)),
                    Ok(Err(e)) => Err(unreachable(url, &e)),
                    Ok(Ok(r)) => Ok(r),
                }
            }
        })
        .await
    }

    /// Opens an artifact's stream. Redirects stay on the same origin or go to a host that the
    /// upstream's configuration lists.
    ///
    /// # Errors
    /// A [`Failure`] when the upstream cannot be reached, redirects elsewhere or answers with
    /// anything but 200.
    pub(crate) async fn artifact(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        upstream: &Upstream,
    ) -> Result<reqwest::Response, Failure> {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let response = self.send(For::Artifact, url, &headers, &upstream.redirects).await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::answered(url, response.status()));
        }
        if response.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(Failure::new(
                ReasonCode::UpstreamType,
                format!(
                    "{} sent an encoded body where the artifact itself was asked for",
                    redacted(url)
                ),
            ));
        }
        Ok(response)
    }

    /// The next bytes of a stream, or `None` at its end.
    ///
    /// # Errors
    /// When nothing comes for the configured time, or the connection breaks.
    pub(crate) async fn next_chunk<S>(
        &self,
        stream: &mut S,
        shown: &str,
    ) -> Result<Option<Bytes>, Failure>
    where
        S: futures_util::Stream<Item = reqwest::Result<Bytes>> + Unpin,
    {
        match tokio::time::timeout(self.patience.read, stream.next()).await {
            Err(_) => Err(Failure::new(
                ReasonCode::UpstreamStalled,
                format!("{shown} sent nothing for {} s", self.patience.read.as_secs()),
            )),
            Ok(None) => Ok(None),
            Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
            Ok(Some(Err(_))) => Err(Failure::new(
                ReasonCode::UpstreamTruncated,
                format!("{shown} ended before its announced length"),
            )),
        }
    }

    /// Sends a request with the credential that is configured for the address, if there is one. A
    /// credential that is refused is had again, once.
    async fn with_credential<F, R>(
        &self,
        url: &Url,
        headers: &HeaderMap,
        send: F,
    ) -> Result<reqwest::Response, Failure>
    where
        F: Fn(HeaderMap) -> R,
        R: Future<Output = Result<reqwest::Response, Failure>>,
    {
        let Some(credential) = self.vault.header(url).await? else {
            return send(headers.clone()).await;
        };
        let mut headers = headers.clone();
        headers.insert(header::AUTHORIZATION, credential.clone());
        let response = send(headers.clone()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        match self.vault.renew(url, &credential).await {
            None => Ok(response),
            Some(renewed) => {
                headers.insert(header::AUTHORIZATION, renewed);
                send(headers).await
            }
        }
    }

    async fn send(
        &self,
        what: For,
        url: &Url,
        headers: &HeaderMap,
        elsewhere: &[String],
    ) -> Result<reqwest::Response, Failure> {
        let mut at = url.clone();
        let mut headers = headers.clone();
        for _ in 0..=MAX_REDIRECTS {
            let client = self.client(what, &at);
            let response = if at.origin() == url.origin() {
                let send = |h: HeaderMap| self.send_once(client, &at, h);
                self.with_credential(&at, &headers, send).await?
            } else {
                // Where a registry leads to is not who the credential is for.
                self.send_once(client, &at, headers.clone()).await?
            };
            let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !moved {
                return Ok(response);
            }
            let target = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
            let Some(next) = target.and_then(|t| at.join(t).ok()) else {
                return Err(Failure::new(
                    ReasonCode::UpstreamRedirect,
                    format!("{} redirects without saying where", redacted(&at)),
                ));
            };
            let same = next.origin() == at.origin();
            let listed = next.scheme() == at.scheme()
                && next.host_str().is_some_and(|h| elsewhere.iter().any(|e| e == h));
            if !same && !listed {
                return Err(Failure::new(
                    ReasonCode::UpstreamRedirect,
                    format!("{} redirects to {}", redacted(&at), redacted(&next)),
                ));
            }
            if !same {
                // Credentials belong to the origin that asked for them.
                headers.remove(header::AUTHORIZATION);
                headers.remove(header::COOKIE);
            }
            at = next;
        }
        Err(Failure::new(
            ReasonCode::UpstreamRedirect,
            format!("{} redirects more than {MAX_REDIRECTS} times", redacted(url)),
        ))
    }

    async fn send_once(
        &self,
        client: &reqwest::Client,
        url: &Url,
        headers: HeaderMap,
    ) -> Result<reqwest::Response, Failure> {
        let origin = url.origin().ascii_serialization();
        if let Some((until, failure)) = self.outages.lock().get(&origin)
            && Instant::now() < *until
        {
            return Err(failure.clone());
        }
        let (mut failure, mut silent) = (None, false);
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(150 << attempt)).await;
            }
            let request = client.get(url.clone()).headers(headers.clone());
            match tokio::time::timeout(self.patience.read, request.send()).await {
                Ok(Ok(r)) if matches!(r.status().as_u16(), 500 | 502 | 503 | 504 | 429) => {
                    failure = Some(Failure::answered(url, r.status()));
                }
                Ok(Ok(r)) => return Ok(r),
                Ok(Err(e)) => {
                    silent = e.is_connect();
                    failure = Some(unreachable(url, &e));
                }
                Err(_) => {
                    failure = Some(stalled(url));
                    break;
                }
            }
        }
        let failure = failure.unwrap_or_else(|| stalled(url));
        // One address that breaks or stalls says nothing about the others of its origin.
        if silent && failure.status.is_none() {
            self.outages.lock().insert(origin, (Instant::now() + OUTAGE, failure.clone()));
        }
        Err(failure)
    }
}

fn stalled(url: &Url) -> Failure {
    Failure::new(ReasonCode::UpstreamStalled, format!("{} does not answer", redacted(url)))
}

fn unreachable(url: &Url, error: &reqwest::Error) -> Failure {
    use std::error::Error as _;
    // The innermost cause says what happened; the outer ones repeat the address.
    let mut cause = error.source();
    let mut text = "no answer".to_owned();
    while let Some(e) = cause {
        text = e.to_string();
        cause = e.source();
    }
    Failure::new(ReasonCode::UpstreamFailed, format!("{} cannot be reached: {text}", redacted(url)))
}

/// A document as the upstream sent it, undecided and unparsed.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, decoded.
    pub body: Bytes,
}

impl Fetched {
    /// A header as text.
    #[must_use]
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}
