//! SIGHUP: the configuration again. Either all of what can be replaced is, or nothing.

use super::plan::Plan;
use super::{ServeArgs, tokens};
use crate::context::{Context, Failed};
use countersign_engine::Engine;
use countersign_engine::config::Config;
use countersign_engine::organisation::OrganisationKeys;
use countersign_gateway::server::Server;
use std::sync::Arc;
use tokio::sync::Notify;

/// What a running gateway was started with.
pub struct Reloader {
    context: Arc<Context>,
    args: ServeArgs,
    present: Plan,
    /// The configuration that the gateway was started with.
    started: Config,
    engine: Engine,
    feeds: Arc<Notify>,
}

impl Reloader {
    /// Begins with what the gateway was started with; `feeds` has the feeds looked at.
    pub fn new(
        context: Arc<Context>,
        args: ServeArgs,
        present: Plan,
        engine: Engine,
        feeds: Arc<Notify>,
    ) -> Self {
        let started = present.config.clone();
        Self { context, args, present, started, engine, feeds }
    }

    /// Reads everything again. What cannot be read leaves everything as it was, and says so.
    pub async fn reload(&mut self, server: &Server) {
        match self.replace(server).await {
            Ok(generation) => {
                let policy = &self.present.policy_name;
                tracing::info!(generation, %policy, tokens = self.present.tokens.len(), "configuration read again");
                // The feeds have a watch of their own, which keeps what is whole.
                self.feeds.notify_one();
            }
            Err(failed) => {
                tracing::error!(error = %failed.message, "configuration not read again: everything stays as it was");
            }
        }
    }

    async fn replace(&mut self, server: &Server) -> Result<u64, Failed> {
        let (context, args) = (self.context.clone(), self.args.clone());
        let read = tokio::task::spawn_blocking(move || Plan::read(&context, &args));
        let (next, policy) = read.await.map_err(Failed::internal)??;
        if next.config.upstream.is_empty() {
            return Err(Failed::usage("no upstream is configured any more"));
        }
        let keys = OrganisationKeys::load(&next.config, Some(self.engine.store())).await;
        let keys = Arc::new(keys.map_err(Failed::usage)?);
        // The certificate comes first: it is the one part that can still fail.
        server.reload_tls().map_err(Failed::usage)?;
        server.replace_tokens(tokens(&next.tokens));
        self.engine.set_tokens_required(!next.tokens.is_empty());
        let (policy, lists) = (Arc::new(policy), Arc::new(next.lists.clone()));
        let evidence = Arc::new(next.evidence.clone());
        let generation = self.engine.replace_grounds(|g| {
            g.policy = policy;
            g.lists = lists;
            g.evidence = evidence;
            g.keys = keys;
        });
        // Compared with the start, and so said each time for as long as it is not in force.
        for what in fixed(&self.started, &next.config) {
            tracing::warn!(
                setting = what,
                "changed, which takes effect with the next start: start the gateway again"
            );
        }
        self.present = next;
        Ok(generation)
    }
}

/// What changed and can only be replaced by a start.
fn fixed(old: &Config, new: &Config) -> Vec<&'static str> {
    let (a, b) = (&old.serve, &new.serve);
    let same = [
        ("upstream", old.upstream == new.upstream),
        ("limits", old.limits == new.limits),
        ("trust", old.trust == new.trust),
        ("patience", old.patience == new.patience),
        ("vex", old.vex == new.vex),
        ("waivers", old.waivers == new.waivers),
        ("serve.listen", a.listen == b.listen),
        ("serve.public-url", a.public_url == b.public_url),
        ("serve.allowed-hosts", a.allowed_hosts == b.allowed_hosts),
        ("serve.trusted-proxies", a.trusted_proxies == b.trusted_proxies),
        ("serve.tls", a.tls == b.tls),
        ("serve.memory", a.memory == b.memory),
        ("serve.connections", a.connections == b.connections),
        ("serve.requests", a.requests == b.requests),
        ("serve.index-seconds", a.index_seconds == b.index_seconds),
        ("serve.stale-days", a.stale_days == b.stale_days),
        ("serve.drain-seconds", a.drain_seconds == b.drain_seconds),
        ("serve.grace-seconds", a.grace_seconds == b.grace_seconds),
        ("serve.feed-seconds", a.feed_seconds == b.feed_seconds),
        ("serve.log", a.log == b.log),
        ("serve.otlp", a.otlp == b.otlp),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}
