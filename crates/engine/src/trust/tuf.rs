//! Sigstore's root from a TUF repository (The Update Framework, specification 1.0): a folder or an
//! http address, never one that the program knows by itself.
//!
//! The workflow is `sigstore-tuf`'s: the chain of roots, time stamp, snapshot and targets, each with
//! its threshold of signatures, its version and its expiry at the caller's time, and the target by
//! length and digest. What was verified is kept in a folder of the state and is the floor of the
//! next update, which verifies it again; so it needs no trust of its own, and without a network it
//! can be verified alone.

use crate::http_client::{Http, redacted};
use countersign_core::Timestamp;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{Error, FileStore, StoreRepository, Updater};
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use url::Url;

/// The target that holds Sigstore's root.
pub const TARGET: &str = "trusted_root.json";

/// A TUF repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repository {
    /// A folder, with `targets/` in it.
    Folder(PathBuf),
    /// An http or https address, with a slash at its end.
    Address(Box<Url>),
}

impl FromStr for Repository {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.starts_with("http://") && !text.starts_with("https://") {
            return Ok(Self::Folder(PathBuf::from(text)));
        }
        let shown = crate::shown_address(text);
        let mut url = Url::parse(text).map_err(|e| format!("`{shown}` is no address: {e}"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("`{shown}` must end in a path"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self::Address(Box::new(url)))
    }
}

/// As people see it: without credentials.
impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Address(url) => f.write_str(&redacted(url)),
        }
    }
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

/// Where an update takes metadata from.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// The repository.
    Repository(&'a Repository),
    /// What was verified before and kept.
    Kept,
}

/// Fetches and verifies Sigstore's root, starting from a trusted TUF root; what was verified is kept
/// in `kept`.
///
/// # Errors
/// When anything on the way does not hold; then nothing is to be changed.
pub async fn fetch(
    from: Origin<'_>,
    start: &[u8],
    kept: &Path,
    now: Timestamp,
) -> Result<Fetched, TufError> {
    let at = jiff::Timestamp::from_second(now.0)
        .map_err(|e| TufError::Unusable(format!("the clock shows no time: {e}")))?;
    let bad_start = |e: Error| TufError::BadStart(chain(&e));
    let store = FileStore::new(kept);
    let updater = match from {
        Origin::Kept => Updater::new(StoreRepository::new(store.clone()), start),
        Origin::Repository(repository) => Updater::new(Source::of(repository)?, start),
    };
    let mut updater = updater.map_err(bad_start)?.with_store(store);
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
enum Source {
    Folder(PathBuf),
    Address(Box<Url>, Http),
}

impl Source {
    fn of(repository: &Repository) -> Result<Self, TufError> {
        match repository {
            Repository::Folder(path) if !path.is_dir() => {
                Err(TufError::Unusable(format!("folder `{}` is not there", path.display())))
            }
            Repository::Folder(path) => Ok(Self::Folder(path.clone())),
            Repository::Address(url) => {
                let http = Http::plain().map_err(TufError::Unusable)?;
                Ok(Self::Address(url.clone(), http))
            }
        }
    }

    /// A file of the repository; `None` where it has none of that name.
    async fn get(&self, name: &str, limit: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        // Names come out of metadata: none of them leads out of the repository.
        if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(Error::Malformed(format!("a file named {name:?}")));
        }
        match self {
            Self::Folder(folder) => read(&folder.join(name), limit),
            Self::Address(base, http) => {
                let failed = |e: String| Error::transport(e);
                let url = base.join(name).map_err(|e| failed(e.to_string()))?;
                if !url.as_str().starts_with(base.as_str()) {
                    return Err(Error::Malformed(format!("a file named {name:?}")));
                }
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                match http.document(&url, HeaderMap::new(), limit).await {
                    Ok(got) if got.status == StatusCode::OK => Ok(Some(got.body.to_vec())),
                    Ok(got) => Err(failed(format!("{} answered {}", redacted(&url), got.status))),
                    // Object stores answer 403 for what they do not have.
                    Err(f)
                        if matches!(
                            f.status,
                            Some(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN)
                        ) =>
                    {
                        Ok(None)
                    }
                    Err(f) => Err(failed(f.detail)),
                }
            }
        }
    }
}

fn read(path: &Path, limit: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
    let failed = |e| Error::io(format!("`{}` cannot be read", path.display()), e);
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let because = format!("`{}` is beyond the limit of {limit} bytes", path.display());
        return Err(Error::transport(because));
    }
    Ok(Some(bytes))
}

impl sigstore_tuf::Repository for Source {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(self.get(name, max_length))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(async move { self.get(&format!("targets/{path}"), max_length).await })
    }
}
