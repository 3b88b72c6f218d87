//! What the server counts.

use countersign_core::Ecosystem;
use countersign_engine::metrics::Histogram;
use http::StatusCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The classes that statuses are counted by; the last is for requests that the client gave up.
pub(super) const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "cancelled"];
/// The ecosystems that requests are counted by; the last is for what belongs to none.
pub(super) const ECOSYSTEMS: [&str; 5] = ["pypi", "npm", "cargo", "debian", "none"];

/// What the server counts.
#[derive(Default)]
pub(super) struct Counters {
    requests: [[AtomicU64; CLASSES.len()]; ECOSYSTEMS.len()],
    /// How long requests took until their answer was handed over.
    pub(super) latency: Histogram,
    /// Bytes of bodies that were handed over.
    pub(super) sent: AtomicU64,
    /// Open connections.
    pub(super) connections: AtomicUsize,
    /// Requests that are being answered.
    pub(super) in_flight: AtomicUsize,
    /// Connections that were let go because the client sent or took too little.
    pub(super) too_slow: AtomicU64,
    /// Times that no connection could be taken.
    pub(super) accept_errors: AtomicU64,
}

fn row(ecosystem: Option<Ecosystem>) -> usize {
    match ecosystem {
        Some(Ecosystem::Pypi) => 0,
        Some(Ecosystem::Npm) => 1,
        Some(Ecosystem::Cargo) => 2,
        Some(Ecosystem::Debian) => 3,
        // No upstream is of these yet.
        Some(Ecosystem::Go | Ecosystem::Maven) | None => 4,
    }
}

fn column(status: Option<StatusCode>) -> usize {
    match status.map(|s| s.as_u16() / 100) {
        Some(0..=2) => 0,
        Some(3) => 1,
        Some(4) => 2,
        Some(_) => 3,
        None => 4,
    }
}

impl Counters {
    /// Counts a request that ended; without a status, it was given up.
    pub(super) fn request(
        &self,
        ecosystem: Option<Ecosystem>,
        status: Option<StatusCode>,
        took: Duration,
        sent: u64,
    ) {
        let cell = self.requests.get(row(ecosystem)).and_then(|r| r.get(column(status)));
        if let Some(cell) = cell {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.sent.fetch_add(sent, Ordering::Relaxed);
        self.latency.add(took);
    }

    /// Requests by ecosystem and class.
    pub(super) fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        ECOSYSTEMS.iter().zip(&self.requests).flat_map(|(ecosystem, row)| {
            let cells = CLASSES.iter().zip(row);
            cells.map(move |(class, n)| (*ecosystem, *class, n.load(Ordering::Relaxed)))
        })
    }
}
