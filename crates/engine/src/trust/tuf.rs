//! Where Sigstore's root is updated from: a folder or an http address, never one that the program
//! knows by itself. What is read there is verified by `countersign_evidence::tuf`.

use crate::http_client::{Http, redacted};
use countersign_core::Timestamp;
use countersign_evidence::tuf::{FileFuture, FileStore, Files};
use http::{HeaderMap, StatusCode};
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use url::Url;

pub use countersign_evidence::tuf::{Fetched, TufError, Versions};

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

/// Where an update takes metadata from.
#[derive(Debug, Clone, Copy)]
pub enum Origin<'a> {
    /// The repository.
    Repository(&'a Repository),
    /// What was verified before and kept.
    Kept,
}

/// Fetches and verifies Sigstore's root, starting from a trusted TUF root; what was verified is kept
/// in the folder `kept`.
///
/// # Errors
/// When anything on the way does not hold; then nothing is to be changed.
pub async fn fetch(
    from: Origin<'_>,
    start: &[u8],
    kept: &Path,
    now: Timestamp,
) -> Result<Fetched, TufError> {
    let files: Option<Box<dyn Files>> = match from {
        Origin::Kept => None,
        Origin::Repository(repository) => Some(Box::new(Source::of(repository)?)),
    };
    countersign_evidence::tuf::fetch(files, start, FileStore::new(kept), now).await
}

/// A repository that can be read.
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

    async fn read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
        match self {
            Self::Folder(folder) => read(&folder.join(path), limit),
            Self::Address(base, http) => {
                let url = base.join(path).map_err(|e| e.to_string())?;
                if !url.as_str().starts_with(base.as_str()) {
                    return Err(format!("{} leads out of the repository", redacted(&url)));
                }
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                match http.document(&url, HeaderMap::new(), limit).await {
                    Ok(got) if got.status == StatusCode::OK => Ok(Some(got.body.to_vec())),
                    Ok(got) => Err(format!("{} answered {}", redacted(&url), got.status)),
                    // Object stores answer 403 for what they do not have.
                    Err(f) => match f.status {
                        Some(StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) => Ok(None),
                        _ => Err(f.detail),
                    },
                }
            }
        }
    }
}

impl Files for Source {
    fn get<'a>(&'a self, path: &'a str, limit: u64) -> FileFuture<'a> {
        Box::pin(self.read(path, limit))
    }
}

fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, String> {
    let failed = |e: std::io::Error| format!("`{}` cannot be read: {e}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(format!("`{}` is beyond the limit of {limit} bytes", path.display()));
    }
    Ok(Some(bytes))
}
