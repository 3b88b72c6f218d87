//! Counters of a long-lived engine, for whoever exports them.

use countersign_core::{Ecosystem, ReasonCode, Verdict};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the latency buckets, in seconds.
pub const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// What decisions are counted by: the leading reason is there for what was not admitted.
pub type DecisionKind = (Ecosystem, Verdict, Option<ReasonCode>);

/// What is counted since the engine was opened. Every number only grows; whether the feeds are
/// behind is a state.
#[derive(Debug, Default)]
pub struct Metrics {
    decisions: Mutex<BTreeMap<DecisionKind, u64>>,
    judging: Histogram,
    index_hits: AtomicU64,
    index_loads: AtomicU64,
    index_stale: AtomicU64,
    upstream_bytes: AtomicU64,
    feeds_replaced: AtomicU64,
    feeds_failed: AtomicU64,
    feeds_behind: AtomicBool,
}

/// A cumulative histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    /// Adds one duration.
    pub fn add(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        // Each bucket holds its own share alone, so that an addition touches one of them.
        let fits = BUCKETS.iter().zip(&self.buckets).find(|(bound, _)| seconds <= **bound);
        if let Some((_, bucket)) = fits {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many lay below each bound of [`BUCKETS`].
    #[must_use]
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut below = 0;
        let mut load = |(bound, bucket): (&f64, &AtomicU64)| {
            below += bucket.load(Ordering::Relaxed);
            (*bound, below)
        };
        BUCKETS.iter().zip(&self.buckets).map(&mut load).collect()
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Their sum, in seconds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        Duration::from_micros(self.micros.load(Ordering::Relaxed)).as_secs_f64()
    }
}

impl Metrics {
    /// Counts a decision.
    pub fn decided(&self, ecosystem: Ecosystem, verdict: Verdict, reason: Option<ReasonCode>) {
        *self.decisions.lock().entry((ecosystem, verdict, reason)).or_default() += 1;
    }

    /// Decisions by ecosystem, verdict and leading reason.
    #[must_use]
    pub fn decisions(&self) -> Vec<(DecisionKind, u64)> {
        self.decisions.lock().iter().map(|(k, n)| (*k, *n)).collect()
    }

    /// How long artifacts took from the request to the decision.
    #[must_use]
    pub fn judging(&self) -> &Histogram {
        &self.judging
    }

    /// Counts an index that was answered from memory.
    pub fn index_hit(&self) {
        self.index_hits.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an index that was asked of its upstream.
    pub fn index_load(&self) {
        self.index_loads.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an index that was used past its time because its upstream failed.
    pub fn index_stale(&self) {
        self.index_stale.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts bytes from upstreams.
    pub fn upstream_bytes(&self, n: u64) {
        self.upstream_bytes.fetch_add(n, Ordering::Relaxed);
    }

    /// Indexes answered from memory, asked of upstreams, and used past their time.
    #[must_use]
    pub fn indexes(&self) -> (u64, u64, u64) {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (load(&self.index_hits), load(&self.index_loads), load(&self.index_stale))
    }

    /// Counts feeds that were replaced by newer ones.
    pub fn feeds_replaced(&self) {
        self.feeds_replaced.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts newer feeds that could not be had or used: the older ones stay.
    pub fn feeds_failed(&self) {
        self.feeds_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How often feeds were replaced, and how often newer ones could not be used.
    #[must_use]
    pub fn feeds(&self) -> (u64, u64) {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (load(&self.feeds_replaced), load(&self.feeds_failed))
    }

    /// Says whether the feeds in use are older than their files, because those cannot be used.
    pub fn set_feeds_behind(&self, behind: bool) {
        self.feeds_behind.store(behind, Ordering::Relaxed);
    }

    /// Whether the feeds in use are older than their files.
    #[must_use]
    pub fn feeds_behind(&self) -> bool {
        self.feeds_behind.load(Ordering::Relaxed)
    }

    /// Bytes from upstreams.
    #[must_use]
    pub fn from_upstreams(&self) -> u64 {
        self.upstream_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let h = Histogram::default();
        for millis in [0, 1, 2, 60_000] {
            h.add(Duration::from_millis(millis));
        }
        let of = |bound: f64| h.cumulative().iter().find(|(b, _)| *b == bound).map(|(_, n)| *n);
        assert_eq!([of(0.0005), of(0.001), of(0.0025), of(30.0)], [1, 2, 3, 3].map(Some));
        assert_eq!((h.count(), h.sum()), (4, 60.003));
    }
}
