//! Packages' indexes that a long-lived engine keeps in memory, within a number of bytes.

use crate::http_client::Failure;
use crate::index::PackageIndex;
use countersign_core::Timestamp;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// One package's index, or the upstream's word that it has no such package.
#[derive(Clone)]
pub(crate) struct Shelved {
    pub(crate) index: Result<Arc<PackageIndex>, Failure>,
    /// The grounds that its versions were judged on.
    pub(crate) generation: u64,
    /// Until when the upstream need not be asked again.
    pub(crate) until: Instant,
}

impl Shelved {
    /// Whether it can be used as it is.
    pub(crate) fn is_good(&self, generation: u64, now: Timestamp) -> bool {
        self.generation == generation
            && Instant::now() < self.until
            && self.index.as_ref().map_or(true, |i| i.ends.is_none_or(|end| now < end))
    }
}

#[derive(Clone)]
struct ByBytes;

impl quick_cache::Weighter<String, Shelved> for ByBytes {
    fn weight(&self, key: &String, shelved: &Shelved) -> u64 {
        let index = shelved.index.as_ref().map_or(200, |i| i.weight());
        (key.len() + index) as u64
    }
}

/// The shelf.
pub(crate) struct Shelf {
    cache: quick_cache::sync::Cache<String, Shelved, ByBytes>,
    loading: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// A package's index takes about this much, by which the number of places is guessed.
const USUAL_WEIGHT: u64 = 64 * 1024;

impl Shelf {
    /// A shelf for that many bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        let places = usize::try_from(bytes / USUAL_WEIGHT).unwrap_or(usize::MAX).max(64);
        let options = quick_cache::OptionsBuilder::new()
            .estimated_items_capacity(places)
            .weight_capacity(bytes)
            // One shard: what is heavier than a shard's share would never be kept.
            .shards(1)
            .build();
        let cache = match options {
            Ok(options) => quick_cache::sync::Cache::with_options(
                options,
                ByBytes,
                quick_cache::DefaultHashBuilder::default(),
                quick_cache::sync::DefaultLifecycle::default(),
            ),
            Err(_) => quick_cache::sync::Cache::with_weighter(places, bytes, ByBytes),
        };
        Self { cache, loading: Mutex::default() }
    }

    /// What is kept for a key.
    pub(crate) fn get(&self, key: &str) -> Option<Shelved> {
        self.cache.get(key)
    }

    /// Keeps what was loaded.
    pub(crate) fn put(&self, key: String, shelved: Shelved) {
        self.cache.insert(key, shelved);
    }

    /// The lock under which one loads for all who ask.
    pub(crate) fn turn(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut loading = self.loading.lock();
        if let Some(turn) = loading.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        if loading.len() >= 1024 {
            loading.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::default();
        loading.insert(key.to_owned(), Arc::downgrade(&turn));
        turn
    }
}
