//! What a mirror keeps on disk: files by their digest, and for each suite which of them count.
//!
//! ```text
//! <state>/cache/debian/<upstream>/files/ab/<sha256>  Release files, signatures, indexes
//! <state>/cache/debian/<upstream>/suites/<key>.json  a suite's present and previous Release
//! ```
//!
//! Files are written aside and renamed, a suite's record last. A file is hashed before its first
//! use in a process, so that what a crash left half written is fetched again.

use super::suite::Form;
use crate::debian::tables::{FileState, private_folder};
use crate::http_client::Failure;
use crate::pipeline::disk_reason;
use crate::upstream::Upstream;
use countersign_core::{Sha256Digest, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;

/// A suite as its record on disk says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SuiteRecord {
    pub(super) dir: String,
    pub(super) form: Form,
    pub(super) current: ReleaseRecord,
    pub(super) previous: Option<ReleaseRecord>,
    /// When the present one took the previous one's place.
    pub(super) since: Timestamp,
    /// When the upstream last said that the present one is the newest.
    pub(super) confirmed: Timestamp,
}

/// Which files a Release is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReleaseRecord {
    /// The digest of `InRelease` or `Release`.
    pub(super) text: Sha256Digest,
    /// The digest of `Release.gpg`.
    pub(super) signature: Option<Sha256Digest>,
    /// The upstream's entity tag.
    pub(super) etag: Option<String>,
    /// The upstream's time of last change, as it sent it.
    pub(super) last_modified: Option<String>,
}

/// Largest file that is read into memory: a Release file or a signature.
const MAX_SMALL: u64 = 16 << 20;
/// A file that is not named any more is kept for those who are reading it or about to.
const GRACE: Duration = Duration::from_secs(3600);

/// The folder of one mirror.
pub(super) struct Disk {
    root: PathBuf,
    /// Files whose digest was compared in this process, with the state that they had.
    compared: Mutex<HashMap<Sha256Digest, FileState>>,
}

impl Disk {
    pub(super) fn new(state: &Path, upstream: &Upstream) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let shown: String = upstream.name.chars().map(plain).take(60).collect();
        let key = Sha256Digest::of(upstream.base.as_str().as_bytes()).short();
        let root = state.join("cache/debian").join(format!("{shown}-{key}"));
        Self { root, compared: Mutex::default() }
    }

    fn failed(&self, e: &io::Error) -> Failure {
        let detail = format!("the mirror in `{}` cannot be kept: {e}", self.root.display());
        Failure::new(disk_reason(e), detail)
    }

    /// Where a file of that digest is kept.
    pub(super) fn path(&self, digest: &Sha256Digest) -> PathBuf {
        let hex = digest.to_hex();
        let folder = hex.get(..2).unwrap_or_default().to_owned();
        self.root.join("files").join(folder).join(hex)
    }

    /// A new file beside the others, gone unless it is kept.
    pub(super) fn aside(&self) -> Result<NamedTempFile, Failure> {
        let folder = self.root.join("files");
        private_folder(&folder)
            .and_then(|()| tempfile::Builder::new().prefix(".new-").tempfile_in(&folder))
            .map_err(|e| self.failed(&e))
    }

    /// Keeps a file that was written aside and has that digest.
    pub(super) fn keep(&self, file: NamedTempFile, digest: &Sha256Digest) -> Result<(), Failure> {
        let path = self.path(digest);
        let kept = private_folder(path.parent().unwrap_or(&self.root))
            .and_then(|()| file.persist(&path).map(drop).map_err(|e| e.error))
            .and_then(|()| std::fs::metadata(&path));
        let meta = kept.map_err(|e| self.failed(&e))?;
        self.compared.lock().insert(*digest, FileState::of(&meta));
        Ok(())
    }

    /// Keeps bytes; their digest.
    pub(super) fn keep_bytes(&self, bytes: &[u8]) -> Result<Sha256Digest, Failure> {
        let digest = Sha256Digest::of(bytes);
        let mut file = self.aside()?;
        file.write_all(bytes).map_err(|e| self.failed(&e))?;
        self.keep(file, &digest)?;
        Ok(digest)
    }

    /// Whether a file of that digest is there; one that has another digest by now is removed.
    pub(super) fn has(&self, digest: &Sha256Digest) -> bool {
        let path = self.path(digest);
        let Ok(meta) = std::fs::metadata(&path) else { return false };
        let state = FileState::of(&meta);
        if self.compared.lock().get(digest) == Some(&state) {
            return true;
        }
        let same = File::open(&path).and_then(hash).is_ok_and(|found| found == *digest);
        if same {
            self.compared.lock().insert(*digest, state);
        } else {
            tracing::warn!(path = %path.display(), "a kept file is not what it was and is fetched again");
            let _ = std::fs::remove_file(&path);
        }
        same
    }

    /// The bytes of a small file.
    pub(super) fn read(&self, digest: &Sha256Digest) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.path(digest)).ok()?;
        file.take(MAX_SMALL).read_to_end(&mut bytes).ok()?;
        (Sha256Digest::of(&bytes) == *digest).then_some(bytes)
    }

    fn suites(&self) -> PathBuf {
        self.root.join("suites")
    }

    /// The records of all suites. One that cannot be read counts as not there.
    pub(super) fn records(&self) -> Vec<SuiteRecord> {
        let entries = std::fs::read_dir(self.suites()).into_iter().flatten().flatten();
        let read = |path: PathBuf| -> Option<SuiteRecord> {
            serde_json::from_slice(&std::fs::read(path).ok()?).ok()
        };
        let mut all: Vec<SuiteRecord> = entries.filter_map(|e| read(e.path())).collect();
        all.sort_by(|a, b| (&a.dir, a.form).cmp(&(&b.dir, b.form)));
        all
    }

    /// Writes a suite's record in place of the one before.
    pub(super) fn write_record(&self, record: &SuiteRecord) -> Result<(), Failure> {
        let name = Sha256Digest::of(format!("{:?} {}", record.form, record.dir).as_bytes());
        let write = || -> io::Result<()> {
            private_folder(&self.suites())?;
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(self.suites())?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.persist(self.suites().join(format!("{name}.json"))).map(drop).map_err(|e| e.error)
        };
        write().map_err(|e| self.failed(&e))
    }

    /// Removes the files that no Release file of `named` names any more.
    pub(super) fn prune(&self, named: &HashSet<Sha256Digest>) {
        let old = |path: &Path| {
            let changed = std::fs::metadata(path).and_then(|m| m.modified()).ok();
            changed.and_then(|t| t.elapsed().ok()).is_some_and(|age| age > GRACE)
        };
        let below = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in below(self.root.join("files")) {
            if entry.file_name().to_string_lossy().starts_with('.') {
                if old(&entry.path()) {
                    let _ = std::fs::remove_file(entry.path());
                }
                continue;
            }
            for file in below(entry.path()) {
                let digest = file.file_name().to_string_lossy().parse::<Sha256Digest>().ok();
                let wanted = digest.as_ref().is_some_and(|d| named.contains(d));
                if !wanted && old(&file.path()) {
                    let _ = std::fs::remove_file(file.path());
                    digest.map(|d| self.compared.lock().remove(&d));
                }
            }
        }
    }
}

fn hash(mut file: File) -> io::Result<Sha256Digest> {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    io::copy(&mut file, &mut hasher)?;
    Ok(Sha256Digest(hasher.finalize().into()))
}
