//! Who answers: the engine, seen through what the server asks of it.

use countersign_engine::metrics::Metrics;
use countersign_engine::policy::Reader;
use countersign_engine::reading::{LedgerAnswer, LedgerRoute};
use countersign_engine::serving::{Asker, Form, Route, Served};
use countersign_engine::{Engine, Upstream};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method};
use std::sync::Arc;

/// One question to the engine.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What is asked for.
    pub route: &'a Route,
    /// In which form.
    pub form: Form,
    /// How.
    pub method: &'a Method,
    /// The client's headers, without credentials for this gateway, without conditions and without
    /// what belongs to its connection.
    pub headers: &'a HeaderMap,
    /// The body, already read under a limit.
    pub body: &'a bytes::Bytes,
    /// Who asks.
    pub asker: &'a Asker,
}

/// How old a feed's newest record is, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedAge {
    /// The feed's name.
    pub name: String,
    /// Seconds since its newest change; `None` where the feed does not say.
    pub seconds: Option<u64>,
}

/// What the server asks of the engine. [`Engine`] is the one that decides; tests put another in its
/// place to see what the server does with answers, and cannot mint an admitted artifact either.
pub trait Answers: Send + Sync + 'static {
    /// Answers one request.
    fn serve<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Served>;
    /// The generation of the grounds that decisions rest on.
    fn generation(&self) -> u64;
    /// The upstreams that are configured.
    fn upstreams(&self) -> Vec<Arc<Upstream>>;
    /// What is counted.
    fn metrics(&self) -> &Metrics;
    /// The feeds, with their ages.
    fn feeds(&self) -> Vec<FeedAge>;
    /// How many entries the ledger has, where it can be read.
    fn ledger_size(&self) -> BoxFuture<'_, Result<u64, String>>;
    /// Answers a reader of the ledger.
    fn read_ledger<'a>(
        &'a self,
        route: &'a LedgerRoute,
        reader: Reader,
        asker: &'a Asker,
    ) -> BoxFuture<'a, LedgerAnswer>;
}

impl Answers for Engine {
    fn serve<'a>(&'a self, ask: Ask<'a>) -> BoxFuture<'a, Served> {
        Engine::serve(
            self,
            ask.route,
            ask.form,
            ask.method,
            ask.headers,
            ask.body.clone(),
            ask.asker,
        )
        .boxed()
    }

    fn generation(&self) -> u64 {
        Engine::generation(self)
    }

    fn upstreams(&self) -> Vec<Arc<Upstream>> {
        Engine::upstreams(self).all().cloned().collect()
    }

    fn metrics(&self) -> &Metrics {
        Engine::metrics(self)
    }

    fn feeds(&self) -> Vec<FeedAge> {
        let Some(feeds) = Engine::feeds(self) else { return Vec::new() };
        let now = self.now();
        let sources = feeds.meta().sources.iter().map(|s| FeedAge {
            name: s.name.clone(),
            seconds: s.newest_modified.map(|t| u64::try_from(now.0 - t.0).unwrap_or(0)),
        });
        sources.collect()
    }

    fn ledger_size(&self) -> BoxFuture<'_, Result<u64, String>> {
        async { self.store().ledger_size().await.map_err(|e| e.to_string()) }.boxed()
    }

    fn read_ledger<'a>(
        &'a self,
        route: &'a LedgerRoute,
        reader: Reader,
        asker: &'a Asker,
    ) -> BoxFuture<'a, LedgerAnswer> {
        Engine::read_ledger(self, route, reader, asker).boxed()
    }
}
