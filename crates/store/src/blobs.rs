//! Blobs: artifacts under the digest of their bytes, and staging for those still arriving.

use crate::error::StoreError;
use crate::keys::sync;
use crate::store::{Paths, Store, blocking, private_dir};
use countersign_core::Sha256Digest;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempPath;

/// Age at which a staging file that nobody holds is taken for abandoned.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Bytes that are gathered before they are written.
const BUFFER: usize = 128 * 1024;

/// Staging files begin so.
const PREFIX: &str = "arriving-";

/// An artifact that is arriving. Dropping it removes the file; after a crash, opening the store
/// does, a day later.
#[derive(Debug)]
pub struct Staging {
    file: File,
    /// What has arrived and is not yet in the file.
    buffer: Vec<u8>,
    path: TempPath,
    paths: Paths,
    hasher: Sha256,
    size: u64,
}

impl Staging {
    /// Appends bytes, in the order in which they arrive. The file may lag behind until
    /// [`Staging::flush`].
    ///
    /// # Errors
    /// When the disk is full or the file system fails.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), StoreError> {
        self.hasher.update(chunk);
        self.size = self.size.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() < BUFFER { Ok(()) } else { self.flush().await }
    }

    /// Brings everything that has arrived into the file: whoever opens [`Staging::path`] then sees
    /// all of it.
    ///
    /// # Errors
    /// When the disk is full or the file system fails.
    pub async fn flush(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let mut file = self.file.try_clone().map_err(|e| StoreError::io(&self.path, &e))?;
        let path = self.path.to_path_buf();
        // The buffer goes: hundreds of artifacts may lie here while they are judged.
        blocking(move || file.write_all(&buffer).map_err(|e| StoreError::io(&path, &e))).await
    }

    /// Number of bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// SHA-256 of the bytes so far: of the artifact, once all have arrived.
    #[must_use]
    pub fn sha256(&self) -> Sha256Digest {
        Sha256Digest(self.hasher.clone().finalize().into())
    }

    /// Where the bytes are while they are staged.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the artifact to its place among the blobs, durably. A blob that is there already is
    /// replaced, which heals a damaged one.
    ///
    /// # Errors
    /// When the bytes have another digest than `sha256` (then they are removed), or the disk fails.
    pub async fn finish(mut self, sha256: &Sha256Digest) -> Result<Blob, StoreError> {
        let found = self.sha256();
        if found != *sha256 {
            let (wanted, found) = (sha256.to_hex(), found.to_hex());
            return Err(StoreError::DigestMismatch { wanted, found });
        }
        self.flush().await?;
        let target = blob_path(&self.paths, sha256);
        let Self { file, path, size, .. } = self;
        blocking(move || {
            // Data before name: after power loss a blob under its digest is whole or not there.
            file.sync_all().map_err(|e| StoreError::io(&path, &e))?;
            let dir = target.parent().unwrap_or(&target).to_owned();
            private_dir(&dir)?;
            path.persist(&target).map_err(|e| StoreError::io(&target, &e.error))?;
            sync(&dir)?;
            drop(file);
            let file = File::open(&target).map_err(|e| StoreError::io(&target, &e))?;
            Ok(Blob { file, size })
        })
        .await
    }
}

/// A blob, open for reading.
#[derive(Debug)]
pub struct Blob {
    /// The file, at its start.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
}

/// What rehashing a blob found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobState {
    /// The bytes are those of the digest.
    Intact,
    /// There is no such blob.
    Missing,
    /// The bytes are others.
    Damaged {
        /// Their digest.
        found: Sha256Digest,
    },
}

fn blob_path(paths: &Paths, sha256: &Sha256Digest) -> PathBuf {
    let hex = sha256.to_hex();
    paths.blobs().join(hex.get(..2).unwrap_or_default()).join(&hex)
}

impl Store {
    /// Begins an artifact's arrival.
    ///
    /// # Errors
    /// When the store is read-only or the file system fails.
    pub async fn stage(&self) -> Result<Staging, StoreError> {
        self.check_writable()?;
        let (dir, paths) = (self.paths().staging(), self.paths().clone());
        blocking(move || {
            let err = |e: std::io::Error| StoreError::io(&dir, &e);
            let made = tempfile::Builder::new().prefix(PREFIX).tempfile_in(&dir).map_err(err)?;
            let (file, path) = made.into_parts();
            // Held until the file is closed: whoever cleans up leaves it alone.
            file.lock().map_err(err)?;
            let (buffer, hasher) = (Vec::new(), Sha256::new());
            Ok(Staging { file, buffer, path, paths, hasher, size: 0 })
        })
        .await
    }

    /// Where a blob lies, if it is there. Its bytes are to be hashed before they are believed.
    #[must_use]
    pub fn blob_file(&self, sha256: &Sha256Digest) -> Option<PathBuf> {
        Some(blob_path(self.paths(), sha256)).filter(|p| p.is_file())
    }

    /// Opens a blob. Its bytes were checked when they came; see [`Store::verify_blob`].
    ///
    /// # Errors
    /// When the file system fails.
    pub async fn open_blob(&self, sha256: &Sha256Digest) -> Result<Option<Blob>, StoreError> {
        let path = blob_path(self.paths(), sha256);
        blocking(move || match File::open(&path) {
            Ok(file) => {
                let size = file.metadata().map_err(|e| StoreError::io(&path, &e))?.len();
                Ok(Some(Blob { file, size }))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StoreError::io(&path, &e)),
        })
        .await
    }

    /// Hashes a blob again.
    ///
    /// # Errors
    /// When the file system fails.
    pub async fn verify_blob(&self, sha256: &Sha256Digest) -> Result<BlobState, StoreError> {
        let Some(mut blob) = self.open_blob(sha256).await? else { return Ok(BlobState::Missing) };
        let (path, wanted) = (blob_path(self.paths(), sha256), *sha256);
        blocking(move || {
            let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
            loop {
                let n = blob.file.read(&mut buffer).map_err(|e| StoreError::io(&path, &e))?;
                match buffer.get(..n) {
                    Some(part) if n > 0 => hasher.update(part),
                    _ => break,
                }
            }
            let found = Sha256Digest(hasher.finalize().into());
            Ok(if found == wanted { BlobState::Intact } else { BlobState::Damaged { found } })
        })
        .await
    }

    /// Removes a blob; whether there was one.
    ///
    /// # Errors
    /// When the store is read-only or the file system fails.
    pub async fn remove_blob(&self, sha256: &Sha256Digest) -> Result<bool, StoreError> {
        drop(self.writer().await?);
        let path = blob_path(self.paths(), sha256);
        blocking(move || match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(StoreError::io(&path, &e)),
        })
        .await
    }
}

/// Removes staging files that are older than a day and that no process holds.
pub(crate) fn clean_staging(dir: &Path) -> Result<(), StoreError> {
    let entries = std::fs::read_dir(dir).map_err(|e| StoreError::io(dir, &e))?;
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let modified = entry.metadata().and_then(|m| m.modified());
        let age = modified.ok().and_then(|m| SystemTime::now().duration_since(m).ok());
        if !ours || age.is_none_or(|a| a < ABANDONED) {
            continue;
        }
        let free = File::open(entry.path()).is_ok_and(|f| f.try_lock().is_ok());
        if free && let Err(e) = std::fs::remove_file(entry.path()) {
            tracing::debug!(path = %entry.path().display(), error = %e, "staging file stays");
        }
    }
    Ok(())
}
