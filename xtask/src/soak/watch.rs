//! What the gateway takes while it runs, and whether that grows.

use std::fs;

/// What a process takes at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// Seconds since the beginning.
    pub(super) at: f64,
    /// Memory (RSS) in MiB.
    pub(super) memory: f64,
    /// Open descriptors.
    pub(super) descriptors: f64,
    /// Threads.
    pub(super) threads: f64,
    /// Answers so far.
    pub(super) requests: u64,
}

impl Sample {
    /// Looks at a process (proc(5)); `None` when it is gone.
    pub(super) fn of(pid: u32, at: f64, requests: u64) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
        Some(Self {
            at,
            memory: field("VmRSS:")? / 1024.0,
            descriptors: descriptors as f64,
            threads: field("Threads:")?,
            requests,
        })
    }
}

/// A figure that must not grow, and by how much it may all the same.
pub(super) struct Bound {
    /// What it is.
    pub(super) what: &'static str,
    get: fn(&Sample) -> f64,
    /// The part by which the last quarter may lie above the second.
    part: f64,
    /// What it may lie above that besides.
    beside: f64,
}

/// The first quarter warms the caches up and counts for nothing.
pub(super) const BOUNDS: [Bound; 3] = [
    Bound { what: "memory, MiB", get: |s| s.memory, part: 0.10, beside: 8.0 },
    Bound { what: "descriptors", get: |s| s.descriptors, part: 0.10, beside: 16.0 },
    Bound { what: "threads", get: |s| s.threads, part: 0.0, beside: 8.0 },
];

/// A figure in the second and in the last quarter.
#[derive(Debug, PartialEq)]
pub(super) struct Growth {
    /// The median of the second quarter.
    pub(super) before: f64,
    /// The median of the last quarter.
    pub(super) after: f64,
    /// The most that the last may be.
    pub(super) most: f64,
}

impl Growth {
    /// Whether it stayed within its bound.
    pub(super) fn is_none(&self) -> bool {
        self.after <= self.most
    }
}

impl Bound {
    /// Compares the quarters; `None` with too few samples to tell.
    pub(super) fn growth(&self, samples: &[Sample]) -> Option<Growth> {
        let quarter = samples.len() / 4;
        if quarter < 3 {
            return None;
        }
        let middle = |from: usize, to: usize| {
            let mut values: Vec<f64> = samples.get(from..to)?.iter().map(self.get).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let before = middle(quarter, 2 * quarter)?;
        let after = middle(samples.len() - quarter, samples.len())?;
        Some(Growth { before, after, most: before * (1.0 + self.part) + self.beside })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory: impl Fn(usize) -> f64) -> Vec<Sample> {
        let one = |i: usize| Sample {
            at: i as f64,
            memory: memory(i),
            descriptors: 20.0,
            threads: 8.0,
            requests: 0,
        };
        (0..100).map(one).collect()
    }

    #[test]
    fn growth_is_seen_and_warming_up_and_peaks_are_not_growth() {
        let grows = |memory: &dyn Fn(usize) -> f64| {
            BOUNDS.iter().any(|b| b.growth(&samples(memory)).is_some_and(|g| !g.is_none()))
        };
        assert!(!grows(&|_| 60.0));
        assert!(!grows(&|i| if i < 20 { i as f64 } else { 60.0 }), "warming up");
        assert!(!grows(&|i| if i % 7 == 0 { 300.0 } else { 60.0 }), "peaks");
        assert!(grows(&|i| 60.0 + i as f64), "a leak");
        assert!(BOUNDS[0].growth(&samples(|_| 1.0)[..8]).is_none());
    }

    #[test]
    fn this_process_is_looked_at() {
        let sample = Sample::of(std::process::id(), 1.0, 5).unwrap();
        assert!(sample.memory > 1.0 && sample.descriptors >= 3.0 && sample.threads >= 1.0);
        assert!(Sample::of(u32::MAX, 0.0, 0).is_none());
    }
}
