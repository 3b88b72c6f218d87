//! `/metrics`: Prometheus' text format, version 0.0.4.

use super::Shared;
use crate::body::Body;
use crate::respond::plain;
use countersign_engine::metrics::Histogram;
use http::{HeaderValue, Response, StatusCode, header};
use std::fmt::{Display, Write as _};
use std::sync::atomic::Ordering;

const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The answer to whoever collects.
pub(super) async fn answer(shared: &Shared) -> Response<Body> {
    let mut page = Page::default();
    server(&mut page, shared);
    memory(&mut page, shared);
    engine(&mut page, shared).await;
    process(&mut page, shared);
    let mut r = plain(StatusCode::OK, &page.0);
    r.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    r.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    r
}

/// A page in the making.
#[derive(Default)]
struct Page(String);

type Labels<'l> = &'l [(&'static str, &'l str)];

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ =
            writeln!(self.0, "# HELP countersign_{name} {help}\n# TYPE countersign_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        let _ = write!(self.0, "countersign_{name}");
        for (i, (label, text)) in labels.iter().enumerate() {
            let open = if i == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        // Read first: what is added meanwhile must not make a bucket larger than the whole.
        let buckets = histogram.cumulative();
        let (count, sum) = (histogram.count(), histogram.sum());
        let bucket = format!("{name}_bucket");
        for (bound, n) in &buckets {
            self.sample(&bucket, &[("le", &bound.to_string())], (*n).min(count));
        }
        self.sample(&bucket, &[("le", "+Inf")], count);
        self.sample(&format!("{name}_sum"), &[], sum);
        self.sample(&format!("{name}_count"), &[], count);
    }
}

/// A label's value: backslash, quote and line feed are escaped, nothing else is.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn server(page: &mut Page, shared: &Shared) {
    let counters = &shared.counters;
    page.family("requests_total", "counter", "Requests by ecosystem and class of status.");
    for (ecosystem, class, n) in counters.requests() {
        page.sample("requests_total", &[("ecosystem", ecosystem), ("class", class)], n);
    }
    page.histogram(
        "request_duration_seconds",
        "Time from a request to its answer being handed over.",
        &counters.latency,
    );
    let sent = counters.sent.load(Ordering::Relaxed);
    page.one("sent_bytes_total", "counter", "Bytes of answers' bodies.", sent);
    let open = counters.connections.load(Ordering::Relaxed);
    page.one("connections", "gauge", "Open connections.", open);
    let flying = counters.in_flight.load(Ordering::Relaxed);
    page.one("requests_in_flight", "gauge", "Requests that are being answered.", flying);
    let slow = counters.too_slow.load(Ordering::Relaxed);
    page.one(
        "slow_clients_total",
        "counter",
        "Connections let go because the client was too slow.",
        slow,
    );
    let errors = counters.accept_errors.load(Ordering::Relaxed);
    page.one("accept_errors_total", "counter", "Times that no connection could be taken.", errors);
}

fn memory(page: &mut Page, shared: &Shared) {
    let (entries, bytes, hits, misses) = shared.hot.size();
    let (artifacts, artifact_bytes) = shared.artifacts.size();
    page.family("memory_entries", "gauge", "Answers and artifacts that are kept in memory.");
    page.sample("memory_entries", &[("kind", "answers")], entries);
    page.sample("memory_entries", &[("kind", "artifacts")], artifacts);
    page.family("memory_bytes", "gauge", "What they take up.");
    page.sample("memory_bytes", &[("kind", "answers")], bytes);
    page.sample("memory_bytes", &[("kind", "artifacts")], artifact_bytes);
    page.family(
        "memory_lookups_total",
        "counter",
        "Requests that were answered from memory, or not.",
    );
    page.sample("memory_lookups_total", &[("result", "hit")], hits);
    page.sample("memory_lookups_total", &[("result", "miss")], misses);
}

async fn engine(page: &mut Page, shared: &Shared) {
    let metrics = shared.answers.metrics();
    page.family(
        "decisions_total",
        "counter",
        "Decisions by ecosystem, verdict and leading reason.",
    );
    for ((ecosystem, verdict, reason), n) in metrics.decisions() {
        let (ecosystem, verdict) = (ecosystem.to_string(), verdict.to_string());
        let reason = reason.map_or("", countersign_core::ReasonCode::name);
        let labels = [("ecosystem", &*ecosystem), ("verdict", &*verdict), ("reason", reason)];
        page.sample("decisions_total", &labels, n);
    }
    page.histogram(
        "judging_duration_seconds",
        "Time from the request for an artifact to the decision.",
        metrics.judging(),
    );
    let (hits, loads, stale) = metrics.indexes();
    page.family(
        "indexes_total",
        "counter",
        "Indexes from memory, from upstreams, and past their time.",
    );
    page.sample("indexes_total", &[("from", "memory")], hits);
    page.sample("indexes_total", &[("from", "upstream")], loads);
    page.sample("indexes_total", &[("from", "stale")], stale);
    let bytes = metrics.from_upstreams();
    page.one("upstream_bytes_total", "counter", "Bytes that came from upstreams.", bytes);
    let generation = shared.answers.generation();
    page.one(
        "grounds_generation",
        "gauge",
        "How often policy, feeds or waivers were replaced.",
        generation,
    );
    page.family("feed_age_seconds", "gauge", "Age of the newest record of each feed.");
    for feed in shared.answers.feeds() {
        if let Some(seconds) = feed.seconds {
            page.sample("feed_age_seconds", &[("feed", &feed.name)], seconds);
        }
    }
    let (replaced, failed) = metrics.feeds();
    page.family(
        "feed_changes_total",
        "counter",
        "Changes of the feeds that were taken over, or left the older ones in use.",
    );
    page.sample("feed_changes_total", &[("result", "replaced")], replaced);
    page.sample("feed_changes_total", &[("result", "failed")], failed);
    page.one(
        "feeds_behind",
        "gauge",
        "1 while the feeds in use are older than their files, because those cannot be used.",
        u8::from(metrics.feeds_behind()),
    );
    // A ledger that cannot be read has no sample: none is better than a wrong one.
    page.family("ledger_entries", "gauge", "Entries of the ledger.");
    if let Ok(size) = shared.answers.ledger_size().await {
        page.sample("ledger_entries", &[], size);
    }
}

fn process(page: &mut Page, shared: &Shared) {
    page.one(
        "uptime_seconds",
        "gauge",
        "Time since the server was started.",
        shared.started.elapsed().as_secs(),
    );
    if let Some(bytes) = resident_bytes() {
        page.one("process_resident_bytes", "gauge", "Memory of this process (RSS).", bytes);
    }
    if let Some(n) = open_descriptors() {
        page.one("process_open_fds", "gauge", "Open file descriptors of this process.", n);
    }
}

/// The process's resident memory, where the system tells (Linux' `/proc`).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn open_descriptors() -> Option<usize> {
    // The one that reads the folder is not counted.
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}
