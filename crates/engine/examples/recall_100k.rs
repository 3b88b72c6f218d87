//! Measures what a recall costs when 100,000 artifacts are admitted.
//!
//! `cargo run --release -p countersign-engine --example recall_100k -- [NUMBER [FOLDER OF FEEDS]]`

#![allow(clippy::print_stdout, reason = "a measurement is printed")]

mod admissions;

use countersign_core::Timestamp;
use countersign_engine::config::Config;
use countersign_engine::feeds::Feeds;
use countersign_engine::recall::{RecallOptions, RecallReport};
use countersign_engine::{Engine, Setup};
use countersign_evidence::sigstore::TrustRoots;
use countersign_policy::PolicySet;
use countersign_store::{OpenMode, Store, init_key};
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let number = arguments.next().map_or(Ok(100_000), |n| n.parse())?;
    let feeds = arguments.next().map(PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(number, feeds))
}

async fn measure(number: u64, more: Option<PathBuf>) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    init_key(&state, "gate.example/measured").await?;
    let store = Store::open(&state, OpenMode::Create).await?;
    let started = Instant::now();
    admissions::record(&store, number).await?;
    println!("{number} admissions recorded in {:.1} s", started.elapsed().as_secs_f64());

    let own = folder.path().join("feed");
    std::fs::create_dir(&own)?;
    list(&own, "GHSA-1", "never-installed", &["1.0.0"])?;
    let places: Vec<PathBuf> = std::iter::once(own.clone()).chain(more).collect();
    let indexes = folder.path().join("indexes");
    let open = || Feeds::open(&indexes, &places, Timestamp(0));

    let engine = engine(&store, open()?, "").await?;
    show("nothing was recalled before", &engine).await?;
    show("nothing changed", &engine).await?;
    for n in [1, 30, 500] {
        list(&own, &format!("MAL-{n}"), &format!("package-{n}"), &[])?;
    }
    let engine = self::engine(&store, open()?, "").await?;
    show("three packages are listed as malicious", &engine).await?;
    let engine = self::engine(&store, open()?, "deny = [\"pkg:npm/package-77*\"]").await?;
    show("the deny list names a hundredth", &engine).await?;
    let engine = self::engine(&store, open()?, "deny = [\"pkg:npm/*\"]").await?;
    show("the deny list names everything", &engine).await?;
    Ok(())
}

async fn show(what: &str, engine: &Engine) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let report: RecallReport = engine.recall(RecallOptions::default()).await?;
    println!(
        "{what}: {:.2} s, {} looked at, {} judged, {} recalled, peak memory {} MiB",
        started.elapsed().as_secs_f64(),
        report.counts.looked,
        report.counts.judged,
        report.recalled.len(),
        peak().unwrap_or(0) / 1024
    );
    Ok(())
}

async fn engine(
    store: &Store,
    feeds: Option<Feeds>,
    config: &str,
) -> Result<Engine, Box<dyn Error>> {
    let (config, lists) = Config::parse("measured", config)?;
    let policy = PolicySet::shipped("baseline").map_err(|_| "the policy cannot be loaded")?;
    let setup = Setup {
        store: store.clone(),
        policy,
        config,
        lists,
        feeds,
        roots: TrustRoots::embedded()?,
        evidence: Vec::new(),
        extra_roots: Vec::new(),
        upstreams: Vec::new(),
        pins: Vec::new(),
        locked: HashMap::new(),
        scopes: HashMap::new(),
        installed: Vec::new(),
        client: String::new(),
        debian: Vec::new(),
        serving: None,
    };
    Ok(Engine::open(setup).await?)
}

/// Puts an advisory into a feed; without versions it is about all of them.
fn list(feed: &Path, id: &str, name: &str, versions: &[&str]) -> std::io::Result<()> {
    let mut affected = serde_json::json!({
        "package": {"ecosystem": "npm", "name": name}, "versions": versions,
    });
    if versions.is_empty() {
        affected["ranges"] =
            serde_json::json!([{"type": "SEMVER", "events": [{"introduced": "0"}]}]);
    }
    let record = serde_json::json!({
        "id": id, "modified": "2024-01-01T00:00:00Z", "summary": id,
        "database_specific": {"severity": "CRITICAL"}, "affected": [affected],
    });
    std::fs::write(feed.join(format!("{id}.json")), record.to_string())
}

/// The most memory that was resident, in KiB.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
