//! Measures the ledger from inside the process, for `cargo xtask bench ledger`, and prints one JSON
//! object a line.
//!
//! `ledger FOLDER ENTRIES WRITERS DECISIONS WHOLE` appends up to each power of ten from 10,000 on, and
//! up to the given number; at each of these sizes it proves and checks. The check with every signature
//! is made up to `WHOLE` entries. `ledger FOLDER` looks at a store that is there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use countersign_core::{Decision, Digests, Sha256Digest, Timestamp};
use countersign_ledger::statement::{DecisionRecord, Verifier, event};
use countersign_ledger::verify_checkpoint;
use countersign_store::{NewDecision, OpenMode, Store, init_key};
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The clock of the statements; the measurement has its own.
const NOW: Timestamp = Timestamp(1_800_000_000);

/// An act of the gate as it is written thousands of times a second: an artifact first seen.
fn seen(n: u64) -> serde_json::Value {
    let file = format!("package-{n}-1.0.0.tgz");
    let digest = Sha256Digest::of(file.as_bytes());
    event(
        "urn:countersign:seen:v1",
        &file,
        json!({"purl": format!("pkg:npm/package-{n}@1.0.0"), "sha256": digest, "time": NOW}),
    )
}

/// A decision, with its record and facts.
fn decision(n: u64) -> NewDecision {
    let file = format!("package-{n}-1.0.0.tgz");
    NewDecision {
        record: DecisionRecord {
            purl: format!("pkg:npm/package-{n}@1.0.0").parse().unwrap(),
            digests: Some(Digests { sha256: Sha256Digest::of(file.as_bytes()), others: vec![] }),
            file_name: file,
            decision: Decision::from_fired(vec![], false, "ab".repeat(32)),
            time_verified: NOW,
            policy_uri: "file:policy.cedar".into(),
            verifier: Verifier { id: "urn:countersign:gate".into(), version: "0.1.0".into() },
            input_attestations: vec![],
            evidence: vec![],
            facts_digest: None,
            verified_levels: vec![],
        },
        facts: json!({"checks": ["digest", "structure"], "n": n}),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Event,
    Decision,
}

async fn append(store: &Store, kind: Kind, n: u64) {
    match kind {
        Kind::Event => drop(store.record_event(&seen(n), NOW).await.unwrap()),
        Kind::Decision => drop(store.record(vec![decision(n)]).await.unwrap()),
    }
}

/// Latencies in microseconds, counted in steps of 1 % so that their memory stays small.
struct Latencies(Vec<AtomicU64>);

impl Latencies {
    fn new() -> Self {
        Self((0..2400).map(|_| AtomicU64::new(0)).collect())
    }
    fn add(&self, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        let at = (micros.max(1.0).ln() / 1.01f64.ln()) as usize;
        self.0[at.min(self.0.len() - 1)].fetch_add(1, Ordering::Relaxed);
    }
    fn percentile_ms(&self, p: f64) -> f64 {
        let counts: Vec<u64> = self.0.iter().map(|c| c.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let mut left = (total as f64 * p).ceil() as u64;
        for (at, n) in counts.iter().enumerate() {
            if left <= *n {
                return 1.01f64.powi(at as i32 + 1) / 1000.0;
            }
            left -= n;
        }
        0.0
    }
}

/// Most memory of its own that the process has held, and what it holds now, in KiB: anonymous
/// memory, since pages of files are the system's to take back.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

fn bytes_below(path: &Path) -> u64 {
    let mut all = 0;
    let mut todo = vec![PathBuf::from(path)];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(m) if m.is_dir() => todo.push(entry.path()),
                Ok(m) => all += m.len(),
                Err(_) => {}
            }
        }
    }
    all
}

async fn load(store: &Store, kind: Kind, from: u64, entries: u64, writers: u64) -> Value {
    let (next, done) = (Arc::new(AtomicU64::new(from)), Arc::new(AtomicU64::new(0)));
    let upto = from + entries;
    let latencies = Arc::new(Latencies::new());
    let (start, busy) = (Instant::now(), processor_time());
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (store, next, done, latencies) =
                (store.clone(), Arc::clone(&next), Arc::clone(&done), Arc::clone(&latencies));
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= upto {
                        return;
                    }
                    let at = Instant::now();
                    append(&store, kind, n).await;
                    latencies.add(at.elapsed());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let watch = {
        let done = Arc::clone(&done);
        tokio::spawn(async move {
            let mut most = 0;
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                most = most.max(memory());
                if done.load(Ordering::Relaxed) >= entries {
                    return most;
                }
            }
        })
    };
    for task in tasks {
        task.await.unwrap();
    }
    let took = start.elapsed().as_secs_f64();
    json!({
        "entries": entries, "writers": writers,
        "per_s": (entries as f64 / took).round(), "seconds": took,
        "p50_ms": latencies.percentile_ms(0.5), "p99_ms": latencies.percentile_ms(0.99),
        "cpu_us": ((processor_time() - busy) * 1e6 / entries as f64).round(),
        "max_kib": watch.await.unwrap(), "load": system_load(),
    })
}

/// How many programs wanted to run in the last minute, on average.
fn system_load() -> f64 {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().and_then(|l| l.parse().ok()).unwrap_or(0.0)
}

async fn idle(store: &Store, from: u64) {
    let latencies = Latencies::new();
    for n in from..from + 300 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let at = Instant::now();
        append(store, Kind::Event, n).await;
        latencies.add(at.elapsed());
    }
    let (p50, p99) = (latencies.percentile_ms(0.5), latencies.percentile_ms(0.99));
    say("idle", json!({"p50_ms": p50, "p99_ms": p99, "load": system_load()}));
}

/// Bytes of an entry's envelope, on average over a sample: what the ledger is given to keep.
async fn content(store: &Store, size: u64) -> f64 {
    let (mut bytes, mut seen) = (0, 0);
    for part in 0..40 {
        for entry in store.entries(part * size / 40, 50).await.unwrap() {
            bytes += entry.content.as_ref().unwrap().envelope.to_bytes().unwrap().len();
            seen += 1;
        }
    }
    bytes as f64 / seen as f64
}

/// What an entry takes on the disk: in all, and beside its content. The content as it is kept is what
/// lies in the folded bundles, but for the salts.
async fn disk(store: Store, folder: &Path) -> (Store, Value) {
    let size = store.ledger_size().await.unwrap() as f64;
    let content = content(&store, size as u64).await;
    store.close().await.unwrap();
    let options = SqliteConnectOptions::new().filename(folder.join("store.sqlite"));
    let mut conn = options.connect().await.unwrap();
    let sums = "SELECT count(*) * 256, coalesce(sum(length(data)), 0) FROM bundles";
    let (folded, packed): (i64, i64) = sqlx::query_as(sums).fetch_one(&mut conn).await.unwrap();
    let rows = "SELECT coalesce(sum(length(envelope)), 0) FROM entries";
    let rows: i64 = sqlx::query_scalar(rows).fetch_one(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let all = bytes_below(folder) as f64;
    let packed = packed as f64 - folded as f64 * 32.0 + rows as f64;
    let at = Instant::now();
    let store = Store::open(folder, OpenMode::Existing).await.unwrap();
    let figures = json!({
        "entry": (all / size).round(), "content": content.round(),
        "packed": (packed / size).round(), "beside": ((all - packed) / size).round(),
        "beside_content": (all / size - content).round(),
        "open_ms": at.elapsed().as_secs_f64() * 1000.0,
    });
    (store, figures)
}

/// Inclusion proofs from the published files, on all processors: of places all over the tree, and of
/// places beside each other. Gives how many a second.
async fn proofs(store: &Store, size: u64, spread: bool) -> f64 {
    let at = Instant::now();
    let n = 400_000;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let mut tasks = Vec::new();
    for t in 0..threads {
        let mut prover = store.prover().await.unwrap().unwrap();
        tasks.push(std::thread::spawn(move || {
            for i in 0..n {
                let place = if spread { (i * threads + t) * 2_654_435_761 } else { t * n + i };
                assert!(!prover.inclusion(place % size).unwrap().is_empty());
            }
        }));
    }
    tasks.into_iter().for_each(|t| t.join().unwrap());
    ((n * threads) as f64 / at.elapsed().as_secs_f64()).round()
}

/// The published tree derived again, by one thread: entries a second.
async fn check_tree(store: &Store, size: u64) -> f64 {
    store.published().await;
    let at = Instant::now();
    let report = store.fsck_published().await.unwrap();
    assert!(report.is_clean() && report.published == size, "{report:?}");
    (size as f64 / at.elapsed().as_secs_f64()).round()
}

/// The whole check, with every signature and record: entries a second.
async fn check(store: &Store) -> (f64, f64) {
    let (at, busy) = (Instant::now(), processor_time());
    let report = store.fsck(false).await.unwrap();
    assert!(report.is_clean() && report.verified == report.entries, "{report:?}");
    let per_s = (report.entries as f64 / at.elapsed().as_secs_f64()).round();
    (per_s, ((processor_time() - busy) * 1e6 / report.entries as f64).round())
}

/// Receipts made from the database: a second, one after the other.
async fn receipts(store: &Store, size: u64) -> f64 {
    let at = Instant::now();
    let n = 2000.min(size);
    for i in 0..n {
        drop(store.receipt_for(i * 7919 % size).await.unwrap());
    }
    (n as f64 / at.elapsed().as_secs_f64()).round()
}

/// Everything that is read, of a store of some size.
async fn look(store: &Store, whole: u64) -> Value {
    let size = store.ledger_size().await.unwrap();
    let tree = check_tree(store, size).await;
    let mut figures = json!({
        "size": size, "fsck_tree": tree,
        "proofs_random": proofs(store, size, true).await,
        "proofs_in_order": proofs(store, size, false).await,
        "receipts": receipts(store, size).await,
    });
    if size <= whole {
        let (per_s, cpu_us) = check(store).await;
        figures["fsck"] = json!(per_s);
        figures["fsck_cpu_us"] = json!(cpu_us);
    }
    figures["kib"] = json!(memory());
    figures["load_after"] = json!(system_load());
    figures
}

fn say(what: &str, mut figures: Value) {
    figures["what"] = json!(what);
    println!("{figures}");
}

/// Processor time that this process took so far, in seconds.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 14 and 15 of proc(5), in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}

/// The sizes at which is measured: the powers of ten below `entries`, and that number.
fn sizes(entries: u64) -> Vec<u64> {
    let powers = std::iter::successors(Some(10_000u64), |n| n.checked_mul(10));
    powers.take_while(|n| *n < entries).chain([entries]).collect()
}

async fn measure(folder: &Path, entries: u64, writers: u64, decisions: u64, whole: u64) {
    std::fs::create_dir_all(folder).unwrap();
    init_key(folder, "bench.example/ledger").await.unwrap();
    let mut store = Store::open(folder, OpenMode::Create).await.unwrap();
    say("start", json!({"kib": memory(), "load": system_load()}));
    idle(&store, u64::MAX / 2).await;
    let mut most = 0;
    for upto in sizes(entries) {
        let from = store.ledger_size().await.unwrap();
        let appended = load(&store, Kind::Event, from, upto.saturating_sub(from), writers).await;
        most = most.max(appended["max_kib"].as_u64().unwrap_or(0));
        let mut figures = appended;
        figures["max_kib"] = json!(most);
        for (name, value) in look(&store, whole).await.as_object().unwrap() {
            figures[name] = value.clone();
        }
        let (opened, on_disk) = disk(store, folder).await;
        store = opened;
        for (name, value) in on_disk.as_object().unwrap() {
            figures[name] = value.clone();
        }
        say("size", figures);
    }
    let size = store.ledger_size().await.unwrap();
    let key = store.verifier_key().unwrap().clone();
    let (note, proof) = store.consistency_from(size / 2).await.unwrap();
    let (head, half) = (verify_checkpoint(&note, &key).unwrap(), size / 2);
    let root = store.prover().await.unwrap().unwrap().root().unwrap();
    assert!(head.root() == root && !proof.is_empty(), "{half} of {size}");
    if decisions > 0 {
        say("decisions", load(&store, Kind::Decision, 0, decisions, writers).await);
    }
    store.close().await.unwrap();
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let folder = PathBuf::from(words.first().expect("a folder"));
    let number = |at: usize, or: u64| words.get(at).map_or(or, |w| w.parse().unwrap());
    let entries = number(1, 200_000);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        if folder.join("store.sqlite").exists() {
            let store = Store::open(&folder, OpenMode::Existing).await.unwrap();
            say("look", look(&store, u64::MAX).await);
            return store.close().await.unwrap();
        }
        measure(&folder, entries, number(2, 64), number(3, entries / 10), number(4, u64::MAX))
            .await;
    });
}
