//! One request from its first line to the last byte of its answer: what is counted, logged and told
//! to the fetch log, however it ends.

use super::Shared;
use super::connection::Conn;
use crate::body::{Body, Witness};
use countersign_core::Ecosystem;
use countersign_engine::Admitted;
use countersign_engine::serving::{Asker, Route};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One request. Dropping it ends it.
pub(super) struct Story {
    shared: Arc<Shared>,
    conn: Arc<Conn>,
    started: Instant,
    id: HeaderValue,
    ecosystem: Option<Ecosystem>,
    /// The answer's status, once there is an answer.
    status: Option<StatusCode>,
    sent: u64,
    waits: bool,
    line: Option<Box<Line>>,
    fetched: Option<Box<Fetched>>,
}

/// What the access log says beyond numbers.
struct Line {
    method: Method,
    path: String,
    token: Option<Arc<str>>,
    address: IpAddr,
}

/// An artifact that is being handed out.
struct Fetched {
    admitted: Arc<Admitted>,
    route: Route,
    asker: Asker,
}

impl Story {
    /// A request came.
    pub(super) fn begin<B>(shared: &Arc<Shared>, conn: &Arc<Conn>, request: &Request<B>) -> Self {
        shared.counters.in_flight.fetch_add(1, Ordering::Relaxed);
        conn.pulse.request_came(request.version() >= http::Version::HTTP_2);
        let logged = tracing::enabled!(target: "access", tracing::Level::INFO);
        let line = logged.then(|| {
            Box::new(Line {
                method: request.method().clone(),
                path: request.uri().path().to_owned(),
                token: None,
                address: conn.peer.ip(),
            })
        });
        let given = request.headers().get(&REQUEST_ID).filter(|v| is_sane(v)).cloned();
        Self {
            shared: shared.clone(),
            conn: conn.clone(),
            started: Instant::now(),
            id: given.unwrap_or_else(|| shared.ids.next()),
            ecosystem: None,
            status: None,
            sent: 0,
            waits: false,
            line,
            fetched: None,
        }
    }

    /// The request's id.
    pub(super) fn id(&self) -> &HeaderValue {
        &self.id
    }

    /// Which ecosystem is asked.
    pub(super) fn asks(&mut self, ecosystem: Ecosystem) {
        self.ecosystem = Some(ecosystem);
    }

    /// Who asks.
    pub(super) fn asked_by(&mut self, token: Option<&Arc<str>>, address: IpAddr) {
        if let Some(line) = &mut self.line {
            line.token = token.cloned();
            line.address = address;
        }
    }

    /// The answer hands out an artifact.
    pub(super) fn hands_out(&mut self, admitted: Arc<Admitted>, route: Route, asker: Asker) {
        if self.shared.on_fetch.is_some() {
            self.fetched = Some(Box::new(Fetched { admitted, route, asker }));
        }
    }

    /// There is an answer: it is watched from now on.
    pub(super) fn answered(mut self, mut response: Response<Body>) -> Response<Body> {
        self.status = Some(response.status());
        response.headers_mut().insert(REQUEST_ID, self.id.clone());
        self.conn.pulse.answer_began();
        response.map(|body| body.watched(Box::new(self)))
    }
}

impl Witness for Story {
    fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    fn waits(&mut self, waits: bool) {
        if self.waits != waits {
            self.waits = waits;
            self.conn.pulse.body_waits(waits);
        }
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        let now = Instant::now();
        let took = now.duration_since(self.started);
        self.waits(false);
        match self.status {
            Some(_) => self.conn.pulse.answer_ended(now),
            None => self.conn.pulse.request_gone(),
        }
        if let (Some(fetched), Some(hook)) = (self.fetched.take(), &self.shared.on_fetch)
            && self.sent > 0
        {
            hook(&fetched.admitted, &fetched.route, &fetched.asker);
        }
        let counters = &self.shared.counters;
        counters.request(self.ecosystem, self.status, took, self.sent);
        counters.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(line) = &self.line {
            tracing::info!(
                target: "access",
                method = %line.method,
                path = %line.path,
                // A request that the client gave up has no status; 499 is what others write.
                status = self.status.map_or(499, |s| s.as_u16()),
                bytes = self.sent,
                duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                token = line.token.as_deref().unwrap_or("-"),
                address = %line.address,
                request_id = self.id.to_str().unwrap_or("-"),
            );
        }
    }
}

/// Whether a client's own request id may be taken over: short, and nothing that a log or a header
/// could be broken with.
fn is_sane(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=128).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-._+=/:".contains(b))
}

/// Ids for requests that bring none: a random beginning for this process, and a number.
pub(super) struct RequestIds {
    beginning: String,
    next: AtomicU64,
}

impl RequestIds {
    /// # Errors
    /// When the operating system has no randomness to give.
    pub(super) fn new() -> std::io::Result<Self> {
        let mut bytes = [0u8; 6];
        getrandom::fill(&mut bytes).map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(Self { beginning: hex::encode(bytes), next: AtomicU64::new(1) })
    }

    fn next(&self) -> HeaderValue {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        HeaderValue::from_str(&format!("{}-{n:x}", self.beginning))
            .unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sane_ids_are_taken_over() {
        for good in ["1", "0af7651916cd43dd8448eb211c80319c", "a-b_c.d+e=f/g:h"] {
            assert!(is_sane(&HeaderValue::from_str(good).unwrap()), "{good}");
        }
        let long = "a".repeat(129);
        for bad in ["", "a b", "a\"b", "a,b", "a<b>", "\u{e9}", &long] {
            assert!(!is_sane(&HeaderValue::from_str(bad).unwrap()), "{bad}");
        }
        let ids = RequestIds::new().unwrap();
        let (a, b) = (ids.next(), ids.next());
        assert!(a != b && is_sane(&a));
    }
}
