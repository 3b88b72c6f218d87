//! What the gateway looks after while it runs: waivers, what is trusted, and feeds.
//!
//! All waiting is by the monotonic clock (tokio's timers): a jump of the wall clock stops nothing.

use crate::commands::feed;
use crate::context::{Context, now};
use countersign_engine::Engine;
use countersign_engine::feeds::Feeds;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often waivers and changes of trust are read: one that is made takes effect within this time.
const WAIVERS: Duration = Duration::from_secs(3);
/// How often the feeds' files are looked at.
const FILES: Duration = Duration::from_secs(5);

/// Keeps the waivers, the store's signing keys and what is trusted up to date, for ever.
pub async fn waivers(engine: Engine) {
    let mut tick = interval(WAIVERS);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut said, mut said_of_trust) = (String::new(), String::new());
    loop {
        tick.tick().await;
        match engine.reload_trust().await {
            Ok(changed) => {
                said_of_trust.clear();
                if changed {
                    tracing::info!(generation = engine.generation(), "what is trusted changed");
                }
            }
            Err(error) => once(&mut said_of_trust, error.to_string(), "what is trusted stays"),
        }
        match engine.reload_waivers().await {
            Ok(changed) => {
                said.clear();
                if changed {
                    tracing::info!(generation = engine.generation(), "waivers changed");
                }
            }
            Err(error) => once(&mut said, error.to_string(), "waivers stay as they were"),
        }
        match engine.reload_keys().await {
            Ok(true) => tracing::info!(generation = engine.generation(), "signing keys changed"),
            Ok(false) => {}
            Err(error) => once(&mut said, error.to_string(), "signing keys stay as they were"),
        }
    }
}

/// Warns of something once for as long as it stays the same.
fn once(said: &mut String, error: String, what: &str) {
    if *said != error {
        tracing::warn!(%error, "{what}");
        *said = error;
    }
}

/// The feeds of a running gateway.
pub struct FeedWatch {
    context: Arc<Context>,
    engine: Engine,
    /// Places that the command line names beside the store's.
    more: Vec<PathBuf>,
    /// The state of the files that is in use.
    applied: Option<String>,
    /// The state that was seen last: only one that holds still is read.
    seen: Option<String>,
    /// The state that could not be used.
    refused: Option<String>,
    said: String,
}

impl FeedWatch {
    /// Begins with the feeds that the engine was opened with, which the files may have left behind
    /// since.
    pub fn new(context: Arc<Context>, engine: Engine, more: Vec<PathBuf>) -> Self {
        let applied = match engine.feeds() {
            Some(feeds) => Some(feeds.identity().to_owned()),
            None => Feeds::fingerprint(&[]).ok(),
        };
        Self { context, engine, more, applied, seen: None, refused: None, said: String::new() }
    }

    /// Watches the files and fetches feeds with addresses every `sync`, for ever. `poke` has them
    /// looked at at once.
    pub async fn run(mut self, sync: Duration, poke: Arc<Notify>) {
        let mut files = interval(FILES);
        files.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_sync = Instant::now() + self.until_sync(sync).await;
        loop {
            tokio::select! {
                _ = files.tick() => self.look(false).await,
                () = poke.notified() => {
                    // Who asks wants an answer, also if it is the one that was given before.
                    self.said.clear();
                    self.look(true).await;
                }
                () = tokio::time::sleep_until(next_sync) => {
                    self.sync().await;
                    next_sync = Instant::now() + sync;
                    self.look(true).await;
                }
            }
        }
    }

    /// How long the oldest feed with an address may still wait.
    async fn until_sync(&self, sync: Duration) -> Duration {
        let feeds = self.engine.store().feeds().await.unwrap_or_default();
        let remote = feeds.iter().filter(|f| feed::is_remote(f));
        let age = |f: &countersign_engine::store::Feed| {
            // A time that lies ahead is the clock's doing: it counts as just now.
            f.last_synced.map_or(u64::MAX, |t| u64::try_from(now().0 - t.0).unwrap_or(0))
        };
        match remote.map(age).max() {
            Some(oldest) => sync.saturating_sub(Duration::from_secs(oldest)),
            None => sync,
        }
    }

    async fn sync(&mut self) {
        let store = self.engine.store().clone();
        let feeds = match store.feeds().await {
            Ok(feeds) => feeds,
            Err(error) => return tracing::warn!(%error, "the list of feeds cannot be read"),
        };
        for f in feeds.into_iter().filter(feed::is_remote) {
            let name = f.name.clone();
            match feed::fetch(&self.context, &store, f).await {
                Ok(true) => tracing::info!(feed = %name, "feed fetched"),
                Ok(false) => tracing::debug!(feed = %name, "feed is unchanged"),
                Err(failed) => {
                    self.engine.metrics().feeds_failed();
                    tracing::warn!(feed = %name, error = %failed.message, "feed not fetched");
                }
            }
        }
    }

    async fn fingerprint(&self) -> Result<(String, Vec<PathBuf>), String> {
        let places = self.context.feed_places(self.engine.store(), &self.more).await;
        let places = places.map_err(|f| f.message)?;
        let work = move || Feeds::fingerprint(&places).map(|print| (print, places));
        let done = tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())?;
        done.map_err(|e| e.to_string())
    }

    /// Looks at the files. What changed and holds still is read, away from the threads that serve;
    /// only when the new index is whole does it take the old one's place.
    async fn look(&mut self, at_once: bool) {
        let (print, places) = match self.fingerprint().await {
            Ok(found) => found,
            Err(error) => return self.keep(error),
        };
        let settled = at_once || self.seen.as_ref() == Some(&print);
        self.seen = Some(print.clone());
        if self.applied.as_ref() == Some(&print) {
            self.refused = None;
            self.said.clear();
            self.engine.metrics().set_feeds_behind(false);
            return;
        }
        if !settled || (!at_once && self.refused.as_ref() == Some(&print)) {
            return;
        }
        match feed::open_apart(self.context.state.join("feeds"), places).await {
            Ok(feeds) => {
                let advisories = feeds.as_ref().map_or(0, |f| f.meta().advisories);
                let feeds = feeds.map(Arc::new);
                let generation = self.engine.replace_grounds(|g| g.feeds = feeds);
                self.engine.metrics().feeds_replaced();
                self.engine.metrics().set_feeds_behind(false);
                tracing::info!(generation, advisories, "feeds replaced");
                self.applied = Some(print);
                self.said.clear();
            }
            Err(problem) => {
                self.refused = Some(print);
                self.keep(problem);
            }
        }
    }

    fn keep(&mut self, error: String) {
        if self.said != error {
            self.engine.metrics().feeds_failed();
        }
        self.engine.metrics().set_feeds_behind(true);
        once(&mut self.said, error, "feeds stay as they were");
    }
}
