//! Sigstore's root from a TUF repository (The Update Framework, specification 1.0).
//!
//! The workflow is `sigstore-tuf`'s: the chain of roots, time stamp, snapshot and targets, each with
//! its threshold of signatures, its version and its expiry at the caller's time, and the target by
//! length and digest. The caller says where files come from, and where what was verified is kept: that
//! is the floor of the next update, which verifies it again; so it needs no trust of its own, and
//! without a network it can be verified alone.

use countersign_core::Timestamp;
use serde::{Deserialize, Serialize};
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{Error, Repository, StoreRepository, Updater};
use std::future::Future;
use std::pin::Pin;

pub use sigstore_tuf::FileStore;
pub use sigstore_tuf::canonical_json::to_canonical_bytes;

/// The target that holds Sigstore's root.
pub const TARGET: &str = "trusted_root.json";

/// A file of a repository, `None` where it has none of that name, or why it cannot be had.
pub type FileFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Option<Vec<u8>>, String>> + Send + 'a>>;

/// The files of a repository.
pub trait Files: Send + Sync {
    /// The file of that path (`timestamp.json`, `targets/….trusted_root.json`), which leads nowhere
    /// out of the repository, of at most `limit` bytes.
    fn get<'a>(&'a self, path: &'a str, limit: u64) -> FileFuture<'a>;
}

/// The versions of a repository's metadata that led to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Of the root.
    pub root: u64,
    /// Of the time stamp.
    pub timestamp: u64,
    /// Of the snapshot.
    pub snapshot: u64,
    /// Of the targets.
    pub targets: u64,
    /// When the first of them expires.
    pub expires: Timestamp,
}

/// Sigstore's root as a repository gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The document.
    pub document: Vec<u8>,
    /// What led to it.
    pub versions: Versions,
}

/// Why a repository's root was not taken up.
#[derive(Debug, thiserror::Error)]
pub enum TufError {
    /// Somebody offers metadata older than what was seen: a replay.
    #[error(
        "the repository went back: its {role} has version {offered}, and version {seen} was seen \
         before; somebody replays old metadata"
    )]
    Rollback {
        /// Of which role.
        role: String,
        /// The version that is offered.
        offered: u64,
        /// The version that was seen.
        seen: u64,
    },
    /// Nobody confirmed it for too long: a mirror that stands still, or one that is kept still.
    #[error("its {role} metadata expired on {expires}; the repository stands still, or is kept so")]
    Expired {
        /// Of which role.
        role: String,
        /// When.
        expires: Timestamp,
    },
    /// Too few of those who must sign have signed.
    #[error(
        "its {role} metadata has {found} of the {wanted} signatures that the trusted root asks for"
    )]
    Threshold {
        /// Of which role.
        role: String,
        /// Signatures that hold.
        found: usize,
        /// Signatures that must.
        wanted: usize,
    },
    /// A root is left out or offered twice.
    #[error("the chain of roots is broken: after version {trusted} comes version {offered}")]
    BrokenChain {
        /// The version that is trusted.
        trusted: u64,
        /// The version that is offered.
        offered: u64,
    },
    /// A file is not the one that the metadata above it names.
    #[error("a file of the repository is not the one that its metadata names: {0}")]
    Mixed(String),
    /// The repository does not have it.
    #[error("the repository has no `{TARGET}`")]
    NoTarget,
    /// The root to start from is none.
    #[error("the TUF root to start from cannot be used: {0}")]
    BadStart(String),
    /// The repository cannot be read, or its metadata cannot be understood.
    #[error("the repository cannot be used: {0}")]
    Unusable(String),
}

impl From<Error> for TufError {
    fn from(e: Error) -> Self {
        match e {
            Error::Rollback { role, trusted, new } => {
                Self::Rollback { role, offered: new, seen: trusted }
            }
            Error::Expired { role, expires } => {
                Self::Expired { role, expires: Timestamp(expires.as_second()) }
            }
            Error::ThresholdNotMet { role, found, threshold } => {
                Self::Threshold { role, found, wanted: threshold }
            }
            Error::BadRootVersion { trusted, new } => Self::BrokenChain { trusted, offered: new },
            Error::IntegrityMismatch(because) => Self::Mixed(because),
            Error::TargetNotFound(_) => Self::NoTarget,
            other => Self::Unusable(chain(&other)),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Verifies Sigstore's root, starting from a trusted TUF root; what was verified is kept in `kept`.
/// Without a repository only what is kept there already is verified, as of `now`.
///
/// # Errors
/// When anything on the way does not hold; then nothing is to be changed.
pub async fn fetch(
    repository: Option<Box<dyn Files>>,
    start: &[u8],
    kept: FileStore,
    now: Timestamp,
) -> Result<Fetched, TufError> {
    let at = jiff::Timestamp::from_second(now.0)
        .map_err(|e| TufError::Unusable(format!("the clock shows no time: {e}")))?;
    let updater = match repository {
        None => Updater::new(StoreRepository::new(kept.clone()), start),
        Some(files) => Updater::new(Source(files), start),
    };
    let bad_start = |e: Error| TufError::BadStart(chain(&e));
    let mut updater = updater.map_err(bad_start)?.with_store(kept);
    updater.refresh(at).await?;
    let document = updater.get_target(TARGET, at).await?;
    let versions = versions(&updater)?;
    Ok(Fetched { document, versions })
}

fn versions(updater: &Updater) -> Result<Versions, TufError> {
    let trusted = updater.trusted();
    let missing = || TufError::Unusable("its metadata is not whole".to_owned());
    let timestamp = trusted.timestamp().ok_or_else(missing)?;
    let snapshot = trusted.snapshot().ok_or_else(missing)?;
    let targets = trusted.targets_role("targets").ok_or_else(missing)?;
    let root = trusted.root();
    let ends = [root.expires, timestamp.expires, snapshot.expires, targets.expires];
    let expires = ends.into_iter().min().map_or(0, |t| t.as_second());
    Ok(Versions {
        root: root.version,
        timestamp: timestamp.version,
        snapshot: snapshot.version,
        targets: targets.version,
        expires: Timestamp(expires),
    })
}

/// A repository as the library asks it.
struct Source(Box<dyn Files>);

impl Source {
    async fn get(&self, path: String, limit: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        // Names come out of metadata: none of them leads out of the repository.
        if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(Error::Malformed(format!("a file named {path:?}")));
        }
        self.0.get(&path, limit).await.map_err(Error::transport)
    }
}

impl Repository for Source {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(self.get(name.to_owned(), max_length))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(self.get(format!("targets/{path}"), max_length))
    }
}
