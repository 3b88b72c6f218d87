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
use crate::engine::Engine;
use crate::http_client::Failure;
use crate::pipeline::Outcome;
use crate::request::{Answer, Document};
use crate::upstream::Upstream;
use countersign_core::{ReasonCode, Sha256Digest};
use disk::Disk;
use futures_util::future::{BoxFuture, Shared};
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use path::{Asked, RepositoryPath};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
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
        Served { answer: self.answer_mirror(upstream, path, method, headers).await, keep: None }
    }

    async fn answer_mirror(
        &self,
        upstream: Arc<Upstream>,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Answer {
        let Some(path) = RepositoryPath::parse(path) else {
            return not_found("no path of a repository looks like that");
        };
        let url = path.below(&upstream.base);
        if !matches!(*method, Method::GET | Method::HEAD) {
            return self.closed(&url, "is written to; the gate is for installing");
        }
        let at = At { engine: self.clone(), mirror: self.mirror_of(upstream) };
        if let Err(failure) = at.load().await {
            return self.index_failure(&url, failure);
        }
        let answered = match path.asked() {
            Asked::Release(dir, part) => {
                at.release(&dir, part).await.map(|c| send::answer(c, method, headers))
            }
            Asked::Difference => {
                return not_found(
                    "differences of indexes are not served: take the whole index (apt does by itself)",
                );
            }
            Asked::ByHash { dir, algorithm, digest } => at
                .by_hash(&dir, &algorithm, &digest)
                .await
                .map(|c| send::answer(c, method, headers)),
            Asked::Package => at.package(&path).await,
            Asked::Other => match at.index(&path).await {
                Ok(Some(content)) => Ok(send::answer(content, method, headers)),
                Ok(None) if path.is_below_dists() => {
                    return not_found("no verified Release file names this index");
                }
                // Whatever else lies in a repository is part of a source package, or closed.
                Ok(None) => at.package(&path).await,
                Err(failure) => Err(failure),
            },
        };
        answered.unwrap_or_else(|failure| self.index_failure(&url, failure))
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
    /// A package by its path, through the pipeline.
    async fn package(&self, path: &RepositoryPath) -> Result<Answer, Failure> {
        let listed = self.find(path).await?;
        let upstream = &self.mirror.upstream;
        let mut file = self.engine.debian_ref(upstream, listed)?;
        file.url = path.below(&upstream.base);
        let headers = self.engine.credentials(&file.url, &HeaderMap::new());
        Ok(match self.engine.admit(Arc::new(file), headers).await {
            Outcome::Admitted(admitted) => Answer::Artifact(admitted),
            Outcome::Refused(refusal) => Answer::Refused(refusal),
        })
    }
}

fn not_found(why: &str) -> Answer {
    Answer::Document(Document::error(StatusCode::NOT_FOUND, &format!("{why}\n")))
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
