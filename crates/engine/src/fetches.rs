//! The fetch log: who got which artifact. Gathered in memory, written every second and at the end.

use crate::engine::Engine;
use crate::pipeline::Admitted;
use crate::serving::Asker;
use countersign_core::{Purl, Sha256Digest, Timestamp};
use countersign_store::{FetchNote, Store, StoreError};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a fetch may wait in memory: what a crash of the process may cost.
const WAIT: Duration = Duration::from_secs(1);

/// So many different fetches in memory are written without waiting.
const FULL: usize = 8192;

/// Beyond so many, which only a database that fails for long can cause, new ones are dropped and
/// counted.
const LIMIT: usize = 65_536;

/// The name of the client when it is not a gateway's but this machine's own run.
const RUN: &str = "run";

/// The fetch log. Noting costs a lock and a map entry; the database is written by a task of its own.
#[derive(Clone)]
pub struct FetchLog {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    buffer: Mutex<Buffer>,
    here: OnceLock<Here>,
    dropped: AtomicU64,
    /// Wakes the writing task before its time.
    full: tokio::sync::Notify,
    /// Held while notes are on their way to the database: who wants everything written waits.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Buffer {
    notes: HashMap<Key, Counted>,
    /// Whether a task is going to write them.
    due: bool,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    sha256: Sha256Digest,
    purl: Purl,
    token: Option<String>,
    address: Option<String>,
    agent: Option<String>,
}

struct Counted {
    file_name: String,
    first: Timestamp,
    last: Timestamp,
    count: u64,
}

struct Here {
    user: String,
    host: String,
}

impl FetchLog {
    pub(crate) fn new(store: Store) -> Self {
        let shared = Shared {
            store,
            buffer: Mutex::default(),
            here: OnceLock::new(),
            dropped: AtomicU64::new(0),
            full: tokio::sync::Notify::new(),
            writing: tokio::sync::Mutex::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Says that this engine serves a run of `user` on `host`: what it admits is fetched by them.
    /// The first call counts.
    pub fn fetched_here(&self, user: &str, host: &str) {
        let here = Here { user: clean(user), host: clean(host) };
        // A second run in one engine is the same machine's.
        let _ = self.shared.here.set(here);
    }

    /// Notes that `asker` got an artifact. To be called in the runtime that the engine runs in.
    pub fn note(&self, admitted: &Admitted, asker: &Asker) {
        let key = Key {
            sha256: admitted.sha256(),
            purl: admitted.purl().clone(),
            token: asker.token.as_deref().map(clean),
            address: asker.address.map(|a| a.to_string()),
            agent: asker.agent.as_deref().map(clean),
        };
        self.add(key, admitted.file_name());
    }

    /// Notes that this machine's own run got an artifact, where this engine serves one.
    pub(crate) fn note_here(&self, admitted: &Admitted) {
        let Some(here) = self.shared.here.get() else { return };
        let key = Key {
            sha256: admitted.sha256(),
            purl: admitted.purl().clone(),
            token: Some(here.user.clone()),
            address: Some(here.host.clone()),
            agent: Some(RUN.to_owned()),
        };
        self.add(key, admitted.file_name());
    }

    /// How many fetches were not noted because the database could not take them. Only grows.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Writes everything that was noted before the call.
    ///
    /// # Errors
    /// When the database fails; the notes are kept for the next attempt.
    pub async fn flush(&self) -> Result<(), StoreError> {
        self.shared.write().await
    }

    fn add(&self, key: Key, file_name: &str) {
        let now = Timestamp(jiff::Timestamp::now().as_second());
        let mut buffer = self.shared.buffer.lock();
        let room = buffer.notes.len() < LIMIT;
        match buffer.notes.entry(key) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.last = known.last.max(now);
                known.count += 1;
            }
            Entry::Vacant(place) if room => {
                let file_name = file_name.to_owned();
                place.insert(Counted { file_name, first: now, last: now, count: 1 });
            }
            Entry::Vacant(_) => {
                if self.shared.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::error!("the fetch log cannot be written; fetches are not noted");
                }
            }
        }
        if buffer.notes.len() >= FULL {
            self.shared.full.notify_one();
        }
        if !buffer.due {
            buffer.due = true;
            tokio::spawn(Arc::clone(&self.shared).write_soon());
        }
    }
}

impl Shared {
    /// Waits a moment and writes, until there is nothing more to write.
    async fn write_soon(self: Arc<Self>) {
        loop {
            // A wake-up of an earlier fill may end this wait early: that only writes sooner.
            let _ = tokio::time::timeout(WAIT, self.full.notified()).await;
            match self.write().await {
                Ok(()) => {}
                Err(StoreError::Closed | StoreError::ReadOnly) => {
                    let lost = std::mem::take(&mut *self.buffer.lock());
                    let lost: u64 = lost.notes.values().map(|n| n.count).sum();
                    self.dropped.fetch_add(lost, Ordering::Relaxed);
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the fetch log is written later");
                    tokio::time::sleep(WAIT).await;
                }
            }
            let mut buffer = self.buffer.lock();
            if buffer.notes.is_empty() {
                buffer.due = false;
                return;
            }
        }
    }

    async fn write(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let taken = std::mem::take(&mut self.buffer.lock().notes);
        let notes: Vec<FetchNote> = taken.iter().map(|(key, n)| key.note(n)).collect();
        let written = self.store.note_fetches(notes).await;
        if written.is_err() {
            self.put_back(taken);
        }
        written
    }

    fn put_back(&self, taken: HashMap<Key, Counted>) {
        let mut buffer = self.buffer.lock();
        for (key, n) in taken {
            match buffer.notes.entry(key) {
                Entry::Occupied(mut newer) => {
                    let newer = newer.get_mut();
                    newer.first = newer.first.min(n.first);
                    newer.count += n.count;
                }
                Entry::Vacant(place) => {
                    place.insert(n);
                }
            }
        }
    }
}

impl Key {
    fn note(&self, n: &Counted) -> FetchNote {
        FetchNote {
            sha256: self.sha256,
            purl: self.purl.clone(),
            file_name: n.file_name.clone(),
            token: self.token.clone(),
            address: self.address.clone(),
            agent: self.agent.clone(),
            first: n.first,
            last: n.last,
            count: n.count,
        }
    }
}

/// A client's word as it may stand in a table.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

impl Engine {
    /// The log of who fetched what.
    #[must_use]
    pub fn fetches(&self) -> &FetchLog {
        &self.inner.fetches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_store::{OpenMode, init_key};

    async fn log() -> (tempfile::TempDir, Store, FetchLog) {
        let dir = tempfile::tempdir().unwrap();
        init_key(dir.path(), "gate.example/ledger").await.unwrap();
        let store = Store::open(dir.path(), OpenMode::Create).await.unwrap();
        let log = FetchLog::new(store.clone());
        (dir, store, log)
    }

    fn key(n: usize) -> Key {
        Key {
            sha256: Sha256Digest::of(b"bytes"),
            purl: "pkg:npm/a@1.0.0".parse().unwrap(),
            token: None,
            address: Some(format!("10.0.{}.{}", n / 256, n % 256)),
            agent: Some("npm/11".to_owned()),
        }
    }

    async fn written(store: &Store) -> (usize, u64) {
        let all = store.who_fetched(&Sha256Digest::of(b"bytes")).await.unwrap();
        (all.len(), all.iter().map(|n| n.count).sum())
    }

    #[tokio::test]
    async fn notes_are_written_by_themselves_and_on_demand() {
        let (_dir, store, log) = log().await;
        for n in 0..20 {
            log.add(key(n % 4), "a.tgz");
        }
        assert_eq!(written(&store).await, (0, 0), "nobody waits for the database");
        log.flush().await.unwrap();
        assert_eq!(written(&store).await, (4, 20));
        log.add(key(0), "a.tgz");
        tokio::time::sleep(WAIT * 2).await;
        assert_eq!(written(&store).await, (4, 21));
        log.add(key(9), "a.tgz");
        tokio::time::sleep(WAIT * 2).await;
        assert_eq!(written(&store).await, (5, 22), "the next task writes the next notes");
    }

    #[tokio::test]
    async fn a_full_buffer_is_written_at_once() {
        let (_dir, store, log) = log().await;
        for n in 0..FULL {
            log.add(key(n), "a.tgz");
        }
        let started = std::time::Instant::now();
        while written(&store).await.0 < FULL {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Well before the second that a lonely note waits, where the machine is not slow.
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(log.dropped(), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_kept_then_counted() {
        let (_dir, store, log) = log().await;
        store.close().await.unwrap();
        for n in 0..10 {
            log.add(key(n), "a.tgz");
        }
        assert!(log.flush().await.is_err());
        log.add(key(3), "a.tgz");
        tokio::time::sleep(WAIT * 2).await;
        assert_eq!(log.dropped(), 11, "a closed store takes nothing any more");
    }

    #[tokio::test]
    async fn noting_is_cheap() {
        let (_dir, store, log) = log().await;
        let started = std::time::Instant::now();
        for n in 0..50_000 {
            log.add(key(n % 1000), "a.tgz");
        }
        // A twentieth of what 5,000 a second would leave for everything.
        let each = started.elapsed().as_secs_f64() / 50_000.0;
        assert!(each < 200e-6, "{each} s");
        log.flush().await.unwrap();
        assert_eq!(written(&store).await.1, 50_000);
    }
}
