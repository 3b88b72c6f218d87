//! `countersign serve --check`: everything that a start would need, without starting.

use super::{ServeArgs, plan, snippet};
use crate::context::{Context, Failed};
use crate::{exit, print};
use countersign_engine::config::{Config, UpstreamConfig};
use countersign_engine::policy::{SHIPPED_SETS, run_tests};
use std::path::Path;
use std::time::Duration;

/// How long the upstreams may take to answer, all together.
const REACHING: Duration = Duration::from_secs(20);

/// What the check has found so far.
#[derive(Default)]
struct Points {
    failed: bool,
}

impl Points {
    fn ok(&mut self, area: &str, detail: impl AsRef<str>) {
        print_point("ok  ", area, detail.as_ref());
    }

    fn warn(&mut self, area: &str, detail: impl AsRef<str>) {
        print_point("warn", area, detail.as_ref());
    }

    fn fail(&mut self, area: &str, detail: impl AsRef<str>) {
        self.failed = true;
        print_point("FAIL", area, detail.as_ref());
    }

    fn result<T, E: std::fmt::Display>(
        &mut self,
        area: &str,
        result: Result<T, E>,
        fine: impl AsRef<str>,
    ) {
        match result {
            Ok(_) => self.ok(area, fine),
            Err(e) => self.fail(area, e.to_string()),
        }
    }
}

fn print_point(mark: &str, area: &str, detail: &str) {
    print::line(&format!("{mark}  {area:<11} {detail}"));
}

/// Checks. Exit code 2 when something would keep the gateway from starting or from being whole.
pub async fn check(context: &Context, args: &ServeArgs) -> Result<u8, Failed> {
    let mut points = Points::default();
    let file = context.config_file.as_ref().map(|f| f.display().to_string());
    match plan::settings(context, args) {
        Err(failed) => {
            points.fail("config", failed.message);
            points.warn("rest", "not checked, because the configuration cannot be read");
        }
        Ok((config, _)) => {
            points.ok("config", file.as_deref().unwrap_or("none: defaults"));
            listening(&mut points, &config);
            policy(&mut points, context, &plan::policy_name(&config, args));
            let evidence = plan::evidence(&config, args).map_err(|f| f.message);
            points.result("evidence", evidence, "all folders are there");
            store(&mut points, context, args).await;
            upstreams(&mut points, context, &config).await;
        }
    }
    Ok(if points.failed { exit::USAGE } else { 0 })
}

fn listening(points: &mut Points, config: &Config) {
    let serve = &config.serve;
    let addresses: Vec<String> = serve.listen.iter().map(ToString::to_string).collect();
    points.ok("listen", addresses.join(", "));
    let open = serve.listen.iter().any(|a| !a.ip().is_loopback());
    match plan::tokens(serve) {
        Err(failed) => points.fail("tokens", failed.message),
        Ok(tokens) if tokens.is_empty() && open => points.warn(
            "tokens",
            "none, and the gateway listens beyond this machine: whoever reaches it may ask",
        ),
        Ok(tokens) if tokens.is_empty() => points.ok("tokens", "none: everybody here may ask"),
        Ok(tokens) => points.ok("tokens", format!("{} tokens", tokens.len())),
    }
    match &serve.tls {
        Some(files) => {
            let loaded = countersign_gateway::server::check_tls(&super::tls(files));
            points.result("tls", loaded, files.certificate.display().to_string());
        }
        None if open && serve.trusted_proxies.is_empty() => points.warn(
            "tls",
            "none, and the gateway listens beyond this machine: tokens and packages travel in the open",
        ),
        None => points.ok("tls", "none: plain HTTP"),
    }
}

fn policy(points: &mut Points, context: &Context, name: &str) {
    let set = match context.policy(name) {
        Ok(set) => set,
        Err(failed) => return points.fail("policy", failed.message),
    };
    for warning in set.warnings() {
        points.warn("policy", warning.to_string());
    }
    points.ok("policy", format!("{name}: {} rules, {}", set.rules().len(), set.digest().short()));
    if SHIPPED_SETS.contains(&name) {
        return;
    }
    let folder = Path::new(name).join("tests");
    if !folder.is_dir() {
        return points.warn("policy", format!("no tests in `{}`", folder.display()));
    }
    match super::super::policy::read_cases(&[folder]) {
        Err(failed) => points.fail("policy", failed.message),
        Ok(cases) => {
            let outcomes = run_tests(&set, &cases);
            for o in &outcomes {
                if let Some(why) = &o.failure {
                    points.fail("policy", format!("test {}: {}: {why}", o.file, o.name));
                }
            }
            let passed = outcomes.iter().filter(|o| o.failure.is_none()).count();
            points.ok("policy", format!("{passed} of {} tests passed", outcomes.len()));
        }
    }
}

async fn store(points: &mut Points, context: &Context, args: &ServeArgs) {
    let shown = context.state.display().to_string();
    if !context.state.join("store.sqlite").is_file() {
        points.ok("store", format!("none at {shown}; the first start makes it"));
        if !args.feed.is_empty() {
            points.warn("feeds", "not checked, because there is no store yet");
        }
        return;
    }
    let store = match context.open().await {
        Ok(store) => store,
        Err(failed) => return points.fail("store", failed.message),
    };
    points.ok("store", shown);
    match store.fsck(true).await {
        Ok(r) if r.is_clean() => points.ok("ledger", format!("{} entries", r.entries)),
        Ok(r) => points.fail("ledger", r.problems.join("; ")),
        Err(e) => points.fail("ledger", e.to_string()),
    }
    match context.feeds(&store, &args.feed).await {
        Err(failed) => points.fail("feeds", failed.message),
        Ok(None) => points.warn(
            "feeds",
            "none: nothing is known to be vulnerable or malicious; `countersign feed add …`",
        ),
        Ok(Some(feeds)) => {
            let meta = feeds.meta();
            points.ok("feeds", super::banner::feeds_line(meta));
            for s in meta.sources.iter().filter(|s| s.unreadable > 0) {
                points
                    .warn("feeds", format!("{}: {} records are unreadable", s.name, s.unreadable));
            }
        }
    }
}

async fn upstreams(points: &mut Points, context: &Context, config: &Config) {
    if config.upstream.is_empty() {
        let file = super::config_place(context);
        return points.fail("upstreams", snippet::no_upstream(&file).await.message);
    }
    if let Err(failed) = plan::nameless(config) {
        points.fail("upstreams", failed.message);
    }
    let mut asking = tokio::task::JoinSet::new();
    for (i, u) in config.upstream.iter().enumerate() {
        let name = super::name_of(u);
        if !files(points, u, &name).await {
            continue;
        }
        let (upstream, patience) = (u.clone(), config.patience);
        asking.spawn(async move {
            let reached = countersign_engine::reach_upstream(&upstream, &patience);
            let answer = tokio::time::timeout(REACHING, reached).await;
            (i, name, answer.unwrap_or_else(|_| Err("does not answer in time".to_owned())))
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(i, _, _)| *i);
    for (_, name, answer) in answers {
        match answer {
            Ok(status) if matches!(status.as_u16(), 401 | 403) => points
                .warn("upstream", format!("{name}: answers {status}: it wants another credential")),
            Ok(status) => points.ok("upstream", format!("{name}: answers {status}")),
            Err(e) => points.warn("upstream", format!("{name}: {e}")),
        }
    }
    for r in &config.reserve {
        let is = |u: &UpstreamConfig| {
            u.name.as_deref() == Some(&r.upstream)
                || u.url.trim_end_matches('/') == r.upstream.trim_end_matches('/')
        };
        if !config.upstream.iter().any(is) {
            points.warn(
                "reserve",
                format!(
                    "`{}` belongs to `{}`, which is no upstream here: nobody gets it",
                    r.pattern, r.upstream
                ),
            );
        }
    }
}

/// Checks the files that belong to an upstream; whether it can be asked.
async fn files(points: &mut Points, upstream: &UpstreamConfig, name: &str) -> bool {
    let mut fine = true;
    if let Some(keyring) = upstream.keyring.as_ref().filter(|k| !k.is_file()) {
        points.fail("keyring", format!("{name}: `{}` is not there", keyring.display()));
    }
    if let Some(Err(e)) = upstream.ca.as_deref().map(countersign_engine::check_roots) {
        points.fail("ca", format!("{name}: {e}"));
        fine = false;
    }
    if let Some(credential) = &upstream.credential {
        match countersign_engine::check_credential(credential).await {
            Ok(()) => points.ok("credential", format!("{name}: is there")),
            Err(e) => {
                points.fail("credential", format!("{name}: {e}"));
                fine = false;
            }
        }
    }
    fine
}
