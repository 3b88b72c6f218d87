//! A Debian repository as the gateway shows it: a mirror that verified everything it gives out.
//!
//! Trust runs one way. The Release file of a suite is verified by the upstream's keyring; an index
//! is given out if a Release file names its digest, and a package goes through the pipeline if a
//! verified index names it. Everything is kept below `<state>/cache/debian/`, so that what was
//! verified goes on being served while the upstream is down.
//!
//! | path | answer |
//! |---|---|
//! | `…/InRelease`, `Release`, `Release.gpg` | byte for byte, once it verifies ([`suite`]) |
//! | what a Release file names, and `…/by-hash/…` of it | byte for byte, once its digest fits ([`index`]) |
//! | `….diff/…` | not found: apt then takes the whole index |
//! | `….deb`, and whatever else | an artifact of the pipeline, if a list names it ([`lookup`]) |

mod disk;
mod index;
mod lookup;
mod path;
mod send;
mod suite;
#[cfg(test)]
mod tests;

use super::Served;
use super::serve::nothing;
use crate::engine::Engine;
use crate::http_client::Failure;
use crate::upstream::Upstream;
use countersign_core::{ReasonCode, Sha256Digest};
use disk::Disk;
use futures_util::future::{BoxFuture, Shared};
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use path::{Asked, RepositoryPath};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;
use suite::{Form, Slot};
use tokio::sync::OnceCell;

/// The mirrors of all Debian upstreams, by their base address.
#[derive(Default)]
pub(crate) struct Mirrors(Mutex<HashMap<String, Arc<Mirror>>>);

type Fetching = Shared<BoxFuture<'static, Result<(), Failure>>>;

/// What the gate keeps of one repository.
struct Mirror {
    upstream: Arc<Upstream>,
    disk: Disk,
    /// The suites that clients have asked for.
    slots: Mutex<BTreeMap<(String, Form), Arc<Slot>>>,
    loaded: OnceCell<()>,
    /// Indexes that are being fetched.
    fetching: Mutex<HashMap<Sha256Digest, Fetching>>,
}

/// A mirror with the engine that fetches, counts and knows the time.
#[derive(Clone)]
struct At {
    engine: Engine,
    mirror: Arc<Mirror>,
}

impl Engine {
    /// Answers a request below a repository's root. `path` is decoded and has no query.
    pub(super) async fn serve_debian(
        &self,
        upstream: Arc<Upstream>,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Served {
        // Read before anything is looked at: an answer is never younger than its grounds.
        let generation = self.generation();
        let Some(path) = RepositoryPath::parse(path) else {
            return nothing("no path of a repository looks like that");
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            let why = format!("{} is written to; the gate is for installing", path.as_str());
            return self.failed(path.as_str(), Failure::new(ReasonCode::ClosedDoor, why));
        }
        let at = At { engine: self.clone(), mirror: self.mirror_of(upstream) };
        match at.answer(&path, method, headers, generation).await {
            Ok(served) => served,
            Err(failure) => self.failed(path.as_str(), failure),
        }
    }

    fn mirror_of(&self, upstream: Arc<Upstream>) -> Arc<Mirror> {
        let mut all = self.inner.mirrors.0.lock();
        let entry = all.entry(upstream.base.to_string()).or_insert_with(|| {
            let disk = Disk::new(self.inner.store.dir(), &upstream);
            Arc::new(Mirror {
                upstream,
                disk,
                slots: Mutex::default(),
                loaded: OnceCell::new(),
                fetching: Mutex::default(),
            })
        });
        entry.clone()
    }
}

impl At {
    async fn answer(
        &self,
        path: &RepositoryPath,
        method: &Method,
        headers: &HeaderMap,
        generation: u64,
    ) -> Result<Served, Failure> {
        self.load().await?;
        let content = match path.asked() {
            Asked::Release(dir, part) => self.release(&dir, part).await?,
            Asked::ByHash { dir, algorithm, digest } => {
                self.by_hash(&dir, &algorithm, &digest).await?
            }
            Asked::Difference => {
                return Err(absent(
                    "differences of indexes are not served: take the whole index (apt does by itself)",
                ));
            }
            Asked::Package => return self.package(path, generation).await,
            Asked::Other => match self.index(path).await? {
                Some(content) => content,
                None if path.is_below_dists() => {
                    return Err(absent("no verified Release file names this index"));
                }
                // Whatever else lies in a repository is part of a source package, or closed.
                None => return self.package(path, generation).await,
            },
        };
        Ok(Served { answer: send::answer(content, method, headers), keep: None })
    }

    /// A package by its path, through the pipeline.
    async fn package(&self, path: &RepositoryPath, generation: u64) -> Result<Served, Failure> {
        let listed = self.find(path).await?;
        let upstream = &self.mirror.upstream;
        let mut file = self.engine.debian_ref(upstream, listed)?;
        file.url = path.below(&upstream.base);
        let until = Instant::now() + self.serving().fresh;
        Ok(self.engine.released(Arc::new(file), until, generation).await)
    }
}

/// The failure that becomes "not found": an absence, which a client tries its next index after.
fn absent(why: impl Into<String>) -> Failure {
    let mut failure = Failure::new(ReasonCode::NotInIndex, why);
    failure.status = Some(StatusCode::NOT_FOUND);
    failure
}

/// Work with files, away from the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let lost = || Failure::new(ReasonCode::Internal, "the work on the mirror's files was lost");
    tokio::task::spawn_blocking(work).await.map_err(|_| lost())?
}
