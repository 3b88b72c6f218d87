//! Answers in memory, in front of the engine.
//!
//! An answer is given again while the engine says that it holds: until a time, and only on the
//! grounds that it was decided on. So a recall needs no message to here: with the next generation
//! everything in this memory is void.

use super::documents::{Packed, Prepared, Text};
use super::negotiate::Coding;
use super::options::Memory;
use countersign_core::Sha256Digest;
use countersign_engine::serving::{Form, Keep, Route};
use countersign_engine::{Admitted, Answer, Refusal};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared as SharedFuture};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use quick_cache::{OptionsBuilder, Weighter};
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What an answer is known by: what was asked for, in which form, and by which address of this
/// server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) route: Route,
    pub(super) form: Form,
    pub(super) root: Arc<str>,
}

/// An answer that is kept.
#[derive(Clone)]
pub(super) enum What {
    /// A document.
    Document(Arc<Prepared>),
    /// An artifact. Its bytes are not here.
    Artifact(Arc<Admitted>),
    /// A refusal.
    Refused(Arc<Refusal>),
    /// Answers to this cannot be kept: nobody should wait for another's.
    Passing,
}

/// An answer, and how long it holds.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) what: What,
    pub(super) keep: Keep,
}

/// How a flight ended.
#[derive(Clone)]
pub(super) enum Landed {
    /// With an answer for everybody who waited.
    Answer(What, Option<Keep>),
    /// With an answer for one of them; the others ask for themselves.
    Single(Arc<Mutex<Option<Answer>>>),
    /// Not at all.
    Lost,
}

type Flight = SharedFuture<BoxFuture<'static, Landed>>;

/// The memory.
pub(super) struct Hot {
    answers: Cache<Key, Arc<Kept>, Weigher>,
    packed: Cache<(Sha256Digest, Coding), Packed, Weigher>,
    flights: Mutex<HashMap<Key, Flight>>,
    flying: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
    packing: tokio::sync::Semaphore,
}

#[derive(Clone)]
struct Weigher;

/// What an entry takes beside its bytes: key, headers, places in tables.
const OVERHEAD: u64 = 512;

impl Weighter<Key, Arc<Kept>> for Weigher {
    fn weight(&self, _: &Key, kept: &Arc<Kept>) -> u64 {
        let bytes = match &kept.what {
            What::Document(d) => d.text.weight() as u64,
            What::Refused(_) => 2048,
            What::Artifact(_) | What::Passing => 0,
        };
        bytes + OVERHEAD
    }
}

impl Weighter<(Sha256Digest, Coding), Packed> for Weigher {
    fn weight(&self, _: &(Sha256Digest, Coding), packed: &Packed) -> u64 {
        packed.body.len() as u64 + OVERHEAD
    }
}

/// For how long is remembered that answers to something cannot be kept.
const PASSING: Duration = Duration::from_secs(60);

fn options(bytes: u64) -> quick_cache::Options {
    let items = usize::try_from(bytes / 8192).unwrap_or(1024).max(128);
    let mut builder = OptionsBuilder::new();
    builder.estimated_items_capacity(items).weight_capacity(bytes.max(1)).shards(1);
    // Capacity and items are given, which is all that can be missing.
    builder.build().unwrap_or_else(|_| unreachable!("both numbers are set"))
}

impl Hot {
    pub(super) fn new(memory: &Memory) -> Self {
        let answers = options(memory.documents);
        let packed = options(memory.compressed);
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            answers: Cache::with_options(answers, Weigher, Default::default(), Default::default()),
            packed: Cache::with_options(packed, Weigher, Default::default(), Default::default()),
            flights: Mutex::default(),
            flying: AtomicUsize::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            packing: tokio::sync::Semaphore::new(cores),
        }
    }

    /// The answer that is kept, if it still holds.
    pub(super) fn get(&self, key: &Key, generation: u64) -> Option<Arc<Kept>> {
        let kept = self.answers.get(key);
        let kept =
            kept.filter(|k| k.keep.generation == generation && Instant::now() < k.keep.until);
        let counter = if kept.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        kept
    }

    /// Keeps an answer.
    pub(super) fn put(&self, key: Key, what: What, keep: Keep) {
        self.answers.insert(key, Arc::new(Kept { what, keep }));
    }

    /// Keeps an answer no longer.
    pub(super) fn forget(&self, key: &Key) {
        self.answers.remove(key);
    }

    /// Remembers that answers to this cannot be kept.
    pub(super) fn note_passing(&self, key: Key, generation: u64) {
        let keep = Keep { until: Instant::now() + PASSING, generation };
        self.put(key, What::Passing, keep);
    }

    /// Joins the flight for a key, or starts it with `start`. It goes on when who waits leaves.
    pub(super) fn fly<F>(self: &Arc<Self>, key: &Key, start: impl FnOnce() -> F) -> Flight
    where
        F: Future<Output = Landed> + Send + 'static,
    {
        let mut flights = self.flights.lock();
        if let Some(flight) = flights.get(key) {
            return flight.clone();
        }
        let ends = Ends { hot: self.clone(), key: key.clone() };
        self.flying.fetch_add(1, Ordering::Relaxed);
        let work = start();
        let task = tokio::spawn(async move {
            let _ends = ends;
            work.await
        });
        let flight = task.map(|done| done.unwrap_or(Landed::Lost)).boxed().shared();
        flights.insert(key.clone(), flight.clone());
        flight
    }

    /// How many flights there are.
    pub(super) fn flying(&self) -> usize {
        self.flying.load(Ordering::Relaxed)
    }

    /// A document in a coding, packed once.
    ///
    /// # Errors
    /// When it cannot be packed.
    pub(super) async fn packed(&self, text: &Arc<Text>, coding: Coding) -> io::Result<Packed> {
        if let Some(packed) = text.at_hand().filter(|_| coding == Coding::Identity) {
            return Ok(packed);
        }
        let key = (text.digest, coding);
        if let Some(packed) = self.packed.get(&key) {
            return Ok(packed);
        }
        let pack = async {
            // As many at a time as there are cores: the rest of the work has to go on.
            let _turn = self.packing.acquire().await.map_err(io::Error::other)?;
            let text = text.clone();
            tokio::task::spawn_blocking(move || text.pack(coding))
                .await
                .map_err(io::Error::other)?
        };
        Box::pin(self.packed.get_or_insert_async(&key, pack)).await
    }

    /// Entries, bytes, hits and misses.
    pub(super) fn size(&self) -> (u64, u64, u64, u64) {
        let entries = (self.answers.len() + self.packed.len()) as u64;
        let bytes = self.answers.weight() + self.packed.weight();
        (entries, bytes, self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }
}

/// Takes a flight off the list when it ended, even in a panic.
struct Ends {
    hot: Arc<Hot>,
    key: Key,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.hot.flights.lock().remove(&self.key);
        self.hot.flying.fetch_sub(1, Ordering::Relaxed);
    }
}
