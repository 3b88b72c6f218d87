//! What the gateway says of itself when it has started.

use super::plan::Plan;
use crate::context::now;
use countersign_core::Ecosystem;
use countersign_engine::Engine;
use std::net::SocketAddr;

/// Feeds in a line: how much they hold, and how old the newest record is.
pub fn feeds_line(meta: &countersign_engine::feeds::FeedMeta) -> String {
    let newest = meta.sources.iter().filter_map(|s| s.newest_modified).max();
    let age = newest.map_or_else(
        || "of unknown age".to_owned(),
        |t| format!("newest record {} days old", now().hours_since(t) / 24),
    );
    format!("{} advisories about {} packages, {age}", meta.advisories, meta.packages)
}

/// The address by which a client on this machine, or one that knows the public name, reaches the
/// gateway; never ends in a slash.
pub fn base(plan: &Plan, addresses: &[SocketAddr]) -> String {
    if let Some(url) = &plan.config.serve.public_url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let scheme = if plan.config.serve.tls.is_some() { "https" } else { "http" };
    match addresses.first() {
        Some(a) if a.ip().is_unspecified() => format!("{scheme}://localhost:{}", a.port()),
        Some(a) => format!("{scheme}://{a}"),
        None => format!("{scheme}://localhost"),
    }
}

/// The whole text.
pub fn banner(engine: &Engine, plan: &Plan, addresses: &[SocketAddr]) -> String {
    let base = base(plan, addresses);
    let scheme = if plan.config.serve.tls.is_some() { "https" } else { "http" };
    let mut out = String::from("countersign serves\n");
    let mut row = |name: &str, text: &str| out.push_str(&format!("  {name:<10} {text}\n"));
    for a in addresses {
        row("listening", &format!("{scheme}://{a}"));
    }
    if plan.config.serve.public_url.is_some() {
        row("public", &base);
    }
    let tokens = match plan.tokens.len() {
        0 => "none: everybody who reaches it may ask".to_owned(),
        n => format!("{n}; others are turned away"),
    };
    row("tokens", &tokens);
    for u in engine.upstreams().all() {
        let shown = countersign_engine::shown_address(u.base.as_str());
        row("upstream", &format!("{:<6} {} ({shown})", u.ecosystem.to_string(), u.name));
    }
    let digest = engine.policy_digest();
    let short: String = digest.chars().take(12).collect();
    row("policy", &format!("{} ({short})", plan.policy_name));
    let feeds = engine.feeds().map_or_else(
        || {
            "none: nothing is known to be vulnerable or malicious; `countersign feed add …`"
                .to_owned()
        },
        |f| feeds_line(f.meta()),
    );
    row("feeds", &feeds);
    let key = engine.store().verifier_key().map_or_else(|| "none".to_owned(), ToString::to_string);
    row("key", &key);
    for (client, line) in clients(engine, &base) {
        row(client, &line);
    }
    out.truncate(out.trim_end().len());
    out
}

/// How each client is pointed at the gateway, one line each.
fn clients(engine: &Engine, base: &str) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    let any = |e: Ecosystem| engine.upstreams().of(e).next();
    if any(Ecosystem::Pypi).is_some() {
        out.push(("pip", format!("pip config set global.index-url {base}/pypi/simple/")));
    }
    if any(Ecosystem::Npm).is_some() {
        out.push(("npm", format!("npm config set registry {base}/npm/")));
    }
    if any(Ecosystem::Cargo).is_some() {
        let source = format!(
            "[source.crates-io] replace-with = \"gate\" [source.gate] registry = \"sparse+{base}/cargo/\""
        );
        out.push(("cargo", format!("in ~/.cargo/config.toml: {source}")));
    }
    if let Some(u) = any(Ecosystem::Debian) {
        out.push(("apt", format!("in sources.list: deb {base}/debian/{}/ SUITE main", u.name)));
    }
    if !out.is_empty() {
        out.push(("all", format!("countersign setup --gateway {base}")));
    }
    out
}
