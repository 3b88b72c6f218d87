//! What happened during a run, for the report at its end and the progress line on the way.

use crate::refusal::Refusal;
use countersign_core::{ArtifactFacts, Decision, Purl, ReasonCode, Sha256Digest, Verdict};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// One artifact of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// What people call it.
    pub artifact: String,
    /// Its purl, where it is a package version.
    pub purl: Option<Purl>,
    /// The file's name.
    pub file_name: Option<String>,
    /// The digest of its bytes, where they were had.
    pub sha256: Option<Sha256Digest>,
    /// The decision.
    pub decision: Decision,
    /// The facts that it was decided on, where the artifact's bytes were had.
    pub facts: Option<ArtifactFacts>,
    /// The newest version that would be admitted, for what was not.
    pub next_admissible: Option<String>,
    /// The command that would lift the leading rule.
    pub waive: Option<String>,
    /// Its index in the ledger.
    pub ledger_index: Option<u64>,
}

impl Entry {
    /// The entry of something that was not admitted.
    #[must_use]
    pub fn of_refusal(refusal: &Refusal, facts: Option<ArtifactFacts>) -> Self {
        Self {
            artifact: refusal.artifact.clone(),
            purl: refusal.purl.clone(),
            file_name: refusal.file_name.clone(),
            sha256: refusal.sha256,
            decision: refusal.decision.clone(),
            facts,
            next_admissible: refusal.next_admissible.clone(),
            waive: refusal.waive_command(),
            ledger_index: refusal.ledger_index,
        }
    }

    /// The leading reason, for what was not admitted.
    #[must_use]
    pub fn reason(&self) -> Option<ReasonCode> {
        self.decision.leading().map(|f| f.reason)
    }
}

/// A version that was not offered to the client's resolver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotOffered {
    /// The version's purl.
    pub purl: Purl,
    /// The verdict that metadata alone gave.
    pub verdict: Verdict,
    /// The leading reason.
    pub reason: ReasonCode,
    /// What it fired on.
    pub detail: String,
}

/// A side door that was found closed or was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClosedDoor {
    /// The address or setting, without credentials.
    pub what: String,
    /// Why it is closed.
    pub why: String,
}

/// What a run has seen so far. Shared by all requests.
#[derive(Debug, Default)]
pub struct Report {
    /// Whether single artifacts are kept; a long-lived gate only counts.
    keeps: bool,
    entries: Mutex<BTreeMap<String, Entry>>,
    not_offered: Mutex<BTreeMap<String, NotOffered>>,
    doors: Mutex<Vec<ClosedDoor>>,
    inspecting: Mutex<BTreeMap<String, Instant>>,
    bytes: AtomicU64,
    decided: AtomicUsize,
    busy: Mutex<Busy>,
    released: Mutex<BTreeSet<Sha256Digest>>,
}

/// Wall time during which at least one artifact was being inspected without bytes arriving.
#[derive(Debug, Default)]
struct Busy {
    active: usize,
    since: Option<Instant>,
    total: Duration,
}

/// Counts up the gate's own working time while it lives.
pub struct Working<'r>(&'r Report);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let mut b = self.0.busy.lock();
        b.active = b.active.saturating_sub(1);
        if b.active == 0
            && let Some(since) = b.since.take()
        {
            b.total += since.elapsed();
        }
    }
}

impl Report {
    /// A report of one run (`keeps`), or one that only counts and takes no more memory with time.
    #[must_use]
    pub fn new(keeps: bool) -> Self {
        Self { keeps, ..Self::default() }
    }

    /// Marks the start of the gate's own work (verifying, scanning, deciding, recording).
    pub fn working(&self) -> Working<'_> {
        let mut b = self.busy.lock();
        b.active += 1;
        if b.since.is_none() {
            b.since = Some(Instant::now());
        }
        drop(b);
        Working(self)
    }

    /// Wall time that the gate itself worked, overlaps counted once.
    #[must_use]
    pub fn worked(&self) -> Duration {
        self.busy.lock().total
    }

    /// Notes that an artifact is being fetched and inspected.
    pub fn begin(&self, label: &str) {
        self.inspecting.lock().insert(label.to_owned(), Instant::now());
    }

    /// Notes that an artifact is done with.
    pub fn end(&self, label: &str) {
        self.inspecting.lock().remove(label);
    }

    /// Counts bytes that came from upstreams.
    pub fn add_bytes(&self, n: u64) {
        self.bytes.fetch_add(n, Ordering::Relaxed);
    }

    /// Adds an artifact; a later decision on the same bytes replaces the earlier one.
    pub fn add(&self, entry: Entry) {
        let key = format!(
            "{}|{}",
            entry.purl.as_ref().map_or_else(|| entry.artifact.clone(), ToString::to_string),
            entry.file_name.as_deref().unwrap_or("")
        );
        self.decided.fetch_add(1, Ordering::Relaxed);
        if !self.keeps {
            return;
        }
        let mut entries = self.entries.lock();
        match entries.get(&key) {
            Some(old)
                if old.decision.verdict > entry.decision.verdict && old.sha256 != entry.sha256 =>
            {
                // Other bytes of the same name were refused before: both are told.
                let more =
                    format!("{key}|{}", entry.sha256.map(|d| d.to_hex()).unwrap_or_default());
                entries.insert(more, entry);
            }
            _ => {
                entries.insert(key, entry);
            }
        }
    }

    /// Notes that the client asked for an artifact's bytes and got them.
    pub fn add_released(&self, sha256: Sha256Digest) {
        self.released.lock().insert(sha256);
    }

    /// Whether the client got an artifact's bytes from the gate in this run.
    #[must_use]
    pub fn is_released(&self, sha256: &Sha256Digest) -> bool {
        self.released.lock().contains(sha256)
    }

    /// Adds a version that was left out of an index.
    pub fn add_not_offered(&self, what: NotOffered) {
        if !self.keeps {
            return;
        }
        self.not_offered.lock().insert(what.purl.to_string(), what);
    }

    /// Adds a closed door, once.
    pub fn add_door(&self, what: &str, why: &str) {
        if !self.keeps {
            return;
        }
        let door = ClosedDoor { what: what.to_owned(), why: why.to_owned() };
        let mut doors = self.doors.lock();
        if !doors.iter().any(|d| d.what == door.what) {
            doors.push(door);
        }
    }

    /// All artifacts so far.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().values().cloned().collect()
    }

    /// All versions that were left out.
    #[must_use]
    pub fn not_offered(&self) -> Vec<NotOffered> {
        self.not_offered.lock().values().cloned().collect()
    }

    /// All closed doors.
    #[must_use]
    pub fn doors(&self) -> Vec<ClosedDoor> {
        self.doors.lock().clone()
    }

    /// A moment of the run, for a progress line.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let inspecting = self.inspecting.lock();
        let oldest = inspecting.iter().min_by_key(|(_, t)| **t);
        Progress {
            oldest: oldest.map(|(l, t)| (l.clone(), t.elapsed())),
            inspecting: inspecting.len(),
            decided: self.decided.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// A moment of a run.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The artifact that has been waited for longest.
    pub oldest: Option<(String, Duration)>,
    /// How many artifacts are being fetched or inspected.
    pub inspecting: usize,
    /// How many decisions were made.
    pub decided: usize,
    /// Bytes fetched from upstreams.
    pub bytes: u64,
}

/// The report as shared by the engine's requests.
pub type SharedReport = Arc<Report>;
