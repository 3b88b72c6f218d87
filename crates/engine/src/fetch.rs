//! Bytes from an upstream into staging, with their digests taken on the way.

use crate::engine::Engine;
use crate::http_client::{Failure, redacted};
use crate::index::FileRef;
use crate::pipeline::{store_failure, wanted_algorithms};
use countersign_core::{Algorithm, Digests, ExpectedDigest, ReasonCode, Sha256Digest};
use countersign_store::{Staging, Store, StoreError};
use http::{HeaderMap, header};
use sha2::Digest as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes at rest that were hashed and are not yet judged. Dropped, they are gone.
pub(crate) struct Staged {
    place: Place,
    pub(crate) digests: Digests,
    pub(crate) size: u64,
    /// Whether the upstream called it a web page, or it starts like one.
    pub(crate) looks_like_a_page: bool,
}

enum Place {
    Staging(Box<Staging>),
    Blob(PathBuf),
}

impl Staged {
    /// Where the bytes can be read.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.place {
            Place::Staging(s) => s.path().to_path_buf(),
            Place::Blob(p) => p.clone(),
        }
    }

    /// Makes the bytes durable under their digest.
    pub(crate) async fn keep(self, store: &Store) -> Result<PathBuf, StoreError> {
        let sha256 = self.digests.sha256;
        match self.place {
            Place::Blob(path) => Ok(path),
            Place::Staging(staging) => {
                staging.finish(&sha256).await?;
                store.blob_file(&sha256).ok_or(StoreError::Closed)
            }
        }
    }
}

/// Takes all wanted digests in one pass.
pub(crate) struct Hashers {
    sha256: Option<sha2::Sha256>,
    sha512: Option<sha2::Sha512>,
    sha384: Option<sha2::Sha384>,
    sha1: Option<sha1::Sha1>,
    size: u64,
}

impl Hashers {
    pub(crate) fn new(wanted: &[Algorithm]) -> Self {
        Self { sha256: Some(sha2::Sha256::new()), ..Self::beside(wanted) }
    }

    /// The wanted digests beside SHA-256, which whoever stages the bytes takes.
    fn beside(wanted: &[Algorithm]) -> Self {
        Self {
            sha256: None,
            sha512: wanted.contains(&Algorithm::Sha512).then(sha2::Sha512::new),
            sha384: wanted.contains(&Algorithm::Sha384).then(sha2::Sha384::new),
            sha1: wanted.contains(&Algorithm::Sha1).then(sha1::Sha1::new),
            size: 0,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if let Some(h) = &mut self.sha256 {
            h.update(bytes);
        }
        if let Some(h) = &mut self.sha512 {
            h.update(bytes);
        }
        if let Some(h) = &mut self.sha384 {
            h.update(bytes);
        }
        if let Some(h) = &mut self.sha1 {
            h.update(bytes);
        }
    }

    /// The digests and the number of bytes, with the SHA-256 that somebody else took of them.
    fn finish_with(self, sha256: Sha256Digest) -> (Digests, u64) {
        let mut others = Vec::new();
        if let Some(h) = self.sha512 {
            others.extend(ExpectedDigest::from_bytes(Algorithm::Sha512, h.finalize().to_vec()));
        }
        if let Some(h) = self.sha384 {
            others.extend(ExpectedDigest::from_bytes(Algorithm::Sha384, h.finalize().to_vec()));
        }
        if let Some(h) = self.sha1 {
            others.extend(ExpectedDigest::from_bytes(Algorithm::Sha1, h.finalize().to_vec()));
        }
        (Digests { sha256, others }, self.size)
    }

    pub(crate) fn finish(mut self) -> (Digests, u64) {
        let sha256 = self.sha256.take().unwrap_or_default();
        self.finish_with(Sha256Digest(sha256.finalize().into()))
    }
}

impl Engine {
    /// Fetches a file into staging. Memory stays bounded: no more than a chunk is held.
    pub(crate) async fn fetch(
        &self,
        file: &Arc<FileRef>,
        headers: HeaderMap,
    ) -> Result<Staged, Failure> {
        let response = self.inner.http.artifact(&file.url, headers, &file.upstream).await?;
        let page = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|t| t.to_str().ok())
            .is_some_and(|t| t.starts_with("text/html"));
        let announced = response.content_length();
        let limit = self.inner.config.limits.artifact_bytes;
        let shown = redacted(&file.url);
        if let Some(n) = announced.filter(|n| *n > limit) {
            return Err(too_large(&shown, n, limit));
        }
        let mut staging = self.inner.store.stage().await.map_err(store_failure)?;
        let mut hashers = Hashers::beside(&wanted_algorithms(&file.expected));
        let mut starts_like_page = false;
        let mut stream = response.bytes_stream();
        while let Some(chunk) = self.inner.http.next_chunk(&mut stream, &shown).await? {
            if hashers.size == 0 {
                starts_like_page = chunk.trim_ascii_start().first() == Some(&b'<');
            }
            if hashers.size + chunk.len() as u64 > limit {
                return Err(too_large(&shown, hashers.size + chunk.len() as u64, limit));
            }
            hashers.update(&chunk);
            staging.write(&chunk).await.map_err(store_failure)?;
            self.report().add_bytes(chunk.len() as u64);
            self.inner.metrics.upstream_bytes(chunk.len() as u64);
        }
        // Whoever opens the file next is to see all of it.
        staging.flush().await.map_err(store_failure)?;
        let (digests, size) = hashers.finish_with(staging.sha256());
        if let Some(n) = announced.filter(|n| *n != size) {
            return Err(Failure::new(
                ReasonCode::UpstreamTruncated,
                format!("{shown} announced {n} bytes and sent {size}"),
            ));
        }
        let place = Place::Staging(Box::new(staging));
        Ok(Staged { place, digests, size, looks_like_a_page: page || starts_like_page })
    }

    /// The bytes of a file that is already in the store under a strong digest which the index
    /// gives, hashed again: a blob that was changed at rest is not used.
    pub(crate) async fn known_blob(&self, file: &FileRef) -> Result<Option<Staged>, Failure> {
        for expected in file.expected.iter().filter(|e| !e.algorithm().is_weak()) {
            let sha256 = match expected.algorithm() {
                Algorithm::Sha256 => {
                    <[u8; 32]>::try_from(expected.as_bytes()).ok().map(Sha256Digest)
                }
                _ => self.inner.store.artifact_by_digest(expected).await.map_err(store_failure)?,
            };
            let Some(sha256) = sha256 else { continue };
            let Some(path) = self.inner.store.blob_file(&sha256) else { continue };
            let hashed = hash_file(path.clone(), wanted_algorithms(&file.expected)).await;
            match hashed {
                Ok((digests, size)) if digests.sha256 == sha256 => {
                    let place = Place::Blob(path);
                    return Ok(Some(Staged { place, digests, size, looks_like_a_page: false }));
                }
                _ => {
                    tracing::warn!(%sha256, "a stored artifact no longer has its digest and is fetched again");
                    self.inner.store.remove_blob(&sha256).await.map_err(store_failure)?;
                }
            }
        }
        Ok(None)
    }

    /// Copies a file of this machine into staging, hashed: it is judged like any other.
    pub(crate) async fn stage_local(
        &self,
        path: &std::path::Path,
        expected: &[ExpectedDigest],
    ) -> Result<Staged, Failure> {
        use tokio::io::AsyncReadExt as _;
        let unreadable = |e: std::io::Error| {
            Failure::new(ReasonCode::Internal, format!("`{}` cannot be read: {e}", path.display()))
        };
        let mut source = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let mut staging = self.inner.store.stage().await.map_err(store_failure)?;
        let mut hashers = Hashers::beside(&wanted_algorithms(expected));
        let mut buffer = vec![0u8; 256 * 1024];
        loop {
            let n = source.read(&mut buffer).await.map_err(unreadable)?;
            let Some(chunk) = buffer.get(..n).filter(|c| !c.is_empty()) else { break };
            hashers.update(chunk);
            staging.write(chunk).await.map_err(store_failure)?;
        }
        staging.flush().await.map_err(store_failure)?;
        let (digests, size) = hashers.finish_with(staging.sha256());
        let place = Place::Staging(Box::new(staging));
        Ok(Staged { place, digests, size, looks_like_a_page: false })
    }
}

fn too_large(shown: &str, size: u64, limit: u64) -> Failure {
    Failure::new(
        ReasonCode::TooLarge,
        format!("{shown} has at least {size} bytes; the limit is {limit} (limits.artifact-bytes)"),
    )
}

/// Hashes a file of this machine on a thread that may block.
pub(crate) async fn hash_file(
    path: PathBuf,
    wanted: Vec<Algorithm>,
) -> std::io::Result<(Digests, u64)> {
    use std::io::Read as _;
    let work = move || -> std::io::Result<(Digests, u64)> {
        let mut source = std::fs::File::open(path)?;
        let mut hashers = Hashers::new(&wanted);
        let mut buffer = vec![0u8; 256 * 1024];
        loop {
            let n = source.read(&mut buffer)?;
            let Some(chunk) = buffer.get(..n).filter(|c| !c.is_empty()) else { break };
            hashers.update(chunk);
        }
        Ok(hashers.finish())
    };
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
