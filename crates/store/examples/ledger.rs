//! Measures the ledger from inside the process, for `cargo xtask bench ledger`:
//! `ledger FOLDER ENTRIES WRITERS` appends, proves and checks, and prints one JSON object a line.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use countersign_core::{Decision, Digests, Sha256Digest, Timestamp};
use countersign_ledger::statement::{DecisionRecord, Verifier, event};
use countersign_ledger::{verify_checkpoint, verify_consistency};
use countersign_store::{NewDecision, OpenMode, Store, init_key};
use serde_json::json;
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

async fn load(store: &Store, kind: Kind, from: u64, entries: u64, writers: u64) {
    let (next, done) = (Arc::new(AtomicU64::new(from)), Arc::new(AtomicU64::new(0)));
    let upto = from + entries;
    let latencies = Arc::new(Latencies::new());
    let start = Instant::now();
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
            let (mut most, mut steps, mut last, mut at) = (0, Vec::new(), 0, Instant::now());
            let step = (entries / 10).max(1);
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                most = most.max(memory());
                let now = done.load(Ordering::Relaxed);
                if now - last >= step || now == entries {
                    let rate = (now - last) as f64 / at.elapsed().as_secs_f64();
                    steps.push(json!({"entries": now, "per_s": rate.round(), "kib": memory()}));
                    (last, at) = (now, Instant::now());
                }
                if now >= entries {
                    return (most, steps);
                }
            }
        })
    };
    for task in tasks {
        task.await.unwrap();
    }
    let took = start.elapsed().as_secs_f64();
    let (most, steps) = watch.await.unwrap();
    let name = if kind == Kind::Event { "append" } else { "append_decisions" };
    println!(
        "{}",
        json!({
            "what": name, "entries": entries, "writers": writers,
            "per_s": (entries as f64 / took).round(), "seconds": took,
            "p50_ms": latencies.percentile_ms(0.5), "p99_ms": latencies.percentile_ms(0.99),
            "max_kib": most, "growth": steps,
        })
    );
}

async fn idle(store: &Store, from: u64) {
    let latencies = Latencies::new();
    for n in from..from + 300 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let at = Instant::now();
        append(store, Kind::Event, n).await;
        latencies.add(at.elapsed());
    }
    println!(
        "{}",
        json!({"what": "idle", "p50_ms": latencies.percentile_ms(0.5), "p99_ms": latencies.percentile_ms(0.99)})
    );
}

/// Bytes of an entry's envelope and of a decision's record and facts, on average over a sample: what
/// the ledger is given to keep.
async fn content(store: &Store, size: u64) -> f64 {
    let (mut bytes, mut seen) = (0, 0);
    for part in 0..40 {
        for entry in store.entries(part * size / 40, 50).await.unwrap() {
            bytes += entry.content.as_ref().unwrap().envelope.to_bytes().unwrap().len();
            seen += 1;
            if let Some(d) = store.decision_at(entry.index).await.unwrap() {
                let decision = serde_json::to_vec(&d.decision).unwrap().len();
                bytes += decision + d.facts.to_string().len() + d.purl.to_string().len();
                bytes += d.file_name.len() + 64;
            }
        }
    }
    bytes as f64 / seen as f64
}

/// Inclusion proofs from the published files, on all processors: of places all over the tree, and of
/// places beside each other.
async fn proofs(store: &Store, size: u64) {
    for (what, spread) in [("proofs_random", true), ("proofs_in_order", false)] {
        let at = Instant::now();
        let n = 100_000;
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
        let per_s = ((n * threads) as f64 / at.elapsed().as_secs_f64()).round();
        println!("{}", json!({"what": what, "per_s": per_s, "kib": memory()}));
    }
}

fn main() {
    let mut words = std::env::args().skip(1);
    let folder = PathBuf::from(words.next().expect("a folder"));
    let entries: u64 = words.next().map_or(200_000, |w| w.parse().unwrap());
    let writers: u64 = words.next().map_or(64, |w| w.parse().unwrap());
    let decisions: u64 = words.next().map_or(entries / 10, |w| w.parse().unwrap());
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        std::fs::create_dir_all(&folder).unwrap();
        init_key(&folder, "bench.example/ledger").await.unwrap();
        let store = Store::open(&folder, OpenMode::Create).await.unwrap();
        println!("{}", json!({"what": "start", "kib": memory()}));
        idle(&store, u64::MAX / 2).await;
        load(&store, Kind::Event, 0, entries, writers).await;
        if decisions > 0 {
            load(&store, Kind::Decision, 0, decisions, writers).await;
        }
        let size = store.ledger_size().await.unwrap();
        let key = store.verifier_key().unwrap().clone();
        let (note, proof) = store.consistency_from(size / 2).await.unwrap();
        let head = verify_checkpoint(&note, &key).unwrap();
        assert!(verify_consistency(0, countersign_ledger::EMPTY_ROOT, size, head.root(), &[]).is_ok());
        println!("{}", json!({"what": "consistency", "hashes": proof.len()}));
        let at = Instant::now();
        let n = 2000.min(size);
        for i in 0..n {
            drop(store.receipt_for(i * 7919 % size).await.unwrap());
        }
        println!("{}", json!({"what": "receipts", "per_s": (n as f64 / at.elapsed().as_secs_f64()).round()}));
        store.published().await;
        let at = Instant::now();
        let report = store.fsck_published().await.unwrap();
        assert!(report.is_clean() && report.published == size, "{report:?}");
        println!("{}", json!({"what": "fsck_tree", "entries": size, "per_s_core": (size as f64 / at.elapsed().as_secs_f64()).round(), "kib": memory()}));
        proofs(&store, size).await;
        let at = Instant::now();
        let report = store.fsck(false).await.unwrap();
        assert!(report.is_clean(), "{report:?}");
        println!(
            "{}",
            json!({"what": "fsck", "entries": report.entries, "per_s": (report.entries as f64 / at.elapsed().as_secs_f64()).round(), "kib": memory()})
        );
        let content = content(&store, size).await;
        store.close().await.unwrap();
        let each = bytes_below(&folder) as f64 / size as f64;
        println!("{}", json!({"what": "disk", "entries": size, "bytes": bytes_below(&folder),
            "content": content.round(), "beside": (each - content).round(),
            "database": std::fs::metadata(folder.join("store.sqlite")).unwrap().len()}));
        let at = Instant::now();
        let store = Store::open(&folder, OpenMode::Existing).await.unwrap();
        println!("{}", json!({"what": "open", "ms": at.elapsed().as_secs_f64() * 1000.0}));
        store.close().await.unwrap();
    });
}
