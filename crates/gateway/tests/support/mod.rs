//! What the server's tests share: an engine's double whose answers a test chooses, real admitted
//! artifacts, and clients that speak in raw bytes.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(unreachable_pub, reason = "a module of several test programs")]

pub mod client;
pub mod minted;

use countersign_engine::metrics::Metrics;
use countersign_engine::policy::Reader;
use countersign_engine::reading::{LedgerAnswer, LedgerRoute};
use countersign_engine::serving::{Asker, Form, Keep, Route, Served, View};
use countersign_engine::{Admitted, Answer, Document, Upstream};
use countersign_gateway::server::{Answers, Ask, FeedAge, Server, ServerOptions};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One question as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub route: Route,
    pub form: Form,
    pub headers: HeaderMap,
    pub body: bytes::Bytes,
    pub asker: Asker,
}

type Maker = Arc<dyn Fn(u64) -> BoxFuture<'static, Served> + Send + Sync>;

/// An engine whose answers a test chooses.
#[derive(Clone, Default)]
pub struct Double(Arc<Inner>);

#[derive(Default)]
struct Inner {
    answers: Mutex<HashMap<Route, Maker>>,
    seen: Mutex<Vec<Seen>>,
    generation: AtomicU64,
    metrics: Metrics,
    upstreams: Mutex<Vec<Arc<Upstream>>>,
    feeds: Mutex<Vec<FeedAge>>,
    ledger_fails: Mutex<Option<String>>,
}

impl Double {
    /// Answers a route with what a function makes; it is given the present generation.
    pub fn put(
        &self,
        route: Route,
        make: impl Fn(u64) -> BoxFuture<'static, Served> + Send + Sync + 'static,
    ) {
        self.0.answers.lock().unwrap().insert(route, Arc::new(make));
    }

    /// Answers a route with a document that may be kept for a minute.
    pub fn document(&self, route: Route, content_type: &'static str, text: impl Into<Vec<u8>>) {
        let text: Vec<u8> = text.into();
        self.put(route, move |generation| {
            let answer = Answer::Document(Document::ok(content_type, text.clone()));
            let served = Served { answer, keep: minute(generation) };
            async move { served }.boxed()
        });
    }

    /// Answers a route with an artifact that may be kept for a minute.
    pub fn artifact(&self, route: Route, admitted: Arc<Admitted>) {
        self.put(route, move |generation| {
            let answer = Answer::Artifact(admitted.clone());
            let served = Served { answer, keep: minute(generation) };
            async move { served }.boxed()
        });
    }

    /// Configures an upstream.
    pub fn upstream(&self, upstream: Upstream) {
        self.0.upstreams.lock().unwrap().push(Arc::new(upstream));
    }

    /// All questions so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().unwrap().clone()
    }

    /// How many questions came.
    pub fn count(&self) -> usize {
        self.0.seen.lock().unwrap().len()
    }

    /// Replaces the grounds: what was decided before does not hold any more.
    pub fn next_generation(&self) {
        self.0.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// From now on the ledger cannot be read.
    pub fn break_ledger(&self, why: &str) {
        *self.0.ledger_fails.lock().unwrap() = Some(why.to_owned());
    }

    /// Adds a feed.
    pub fn feed(&self, name: &str, seconds: Option<u64>) {
        self.0.feeds.lock().unwrap().push(FeedAge { name: name.to_owned(), seconds });
    }

    /// What is counted, to count something.
    pub fn counted(&self) -> &Metrics {
        &self.0.metrics
    }
}

/// A minute on these grounds.
pub fn minute(generation: u64) -> Option<Keep> {
    Some(Keep { until: Instant::now() + Duration::from_secs(60), generation })
}

impl Answers for Double {
    fn serve<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Served> {
        self.0.seen.lock().unwrap().push(Seen {
            route: ask.route.clone(),
            form: ask.form,
            headers: ask.headers.clone(),
            body: ask.body.clone(),
            asker: ask.asker.clone(),
        });
        let make = self.0.answers.lock().unwrap().get(ask.route).cloned();
        match make {
            Some(make) => make(self.generation()),
            None => {
                let none = Document::error(http::StatusCode::NOT_FOUND, "not in this double\n");
                async { Served { answer: Answer::Document(none), keep: None } }.boxed()
            }
        }
    }

    fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::SeqCst)
    }

    fn upstreams(&self) -> Vec<Arc<Upstream>> {
        self.0.upstreams.lock().unwrap().clone()
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn feeds(&self) -> Vec<FeedAge> {
        self.0.feeds.lock().unwrap().clone()
    }

    fn ledger_size(&self) -> BoxFuture<'_, Result<u64, String>> {
        let fails = self.0.ledger_fails.lock().unwrap().clone();
        async move { fails.map_or(Ok(7), Err) }.boxed()
    }

    fn read_ledger<'a>(
        &'a self,
        route: &'a LedgerRoute,
        reader: Reader,
        asker: &'a Asker,
    ) -> BoxFuture<'a, LedgerAnswer> {
        let said = format!("{route:?} for {reader:?} {}", asker.token.as_deref().unwrap_or("-"));
        let answer =
            LedgerAnswer { status: 200, content_type: "text/plain", body: said.into_bytes() };
        async move { answer }.boxed()
    }
}

/// Starts a server on a port that the system chooses.
pub async fn start(double: &Double, options: ServerOptions) -> (Server, SocketAddr) {
    let options = ServerOptions { listen: vec!["127.0.0.1:0".parse().unwrap()], ..options };
    let server = Server::start(double.clone(), options).await.unwrap();
    let address = server.addresses()[0];
    (server, address)
}

/// A Python project's page.
pub fn project(name: &str) -> Route {
    Route::PypiProject { view: View::All, project: name.to_owned() }
}

/// A Python file.
pub fn file(project: &str, file_name: &str) -> Route {
    Route::PypiFile {
        view: View::All,
        project: project.to_owned(),
        file_name: file_name.to_owned(),
    }
}

/// An npm package's document.
pub fn package(name: &str) -> Route {
    Route::NpmPackage { view: View::All, name: name.to_owned(), version: None }
}
