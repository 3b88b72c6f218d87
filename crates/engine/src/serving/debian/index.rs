//! Indexes: what a verified Release names, fetched once, compared while it arrives, kept.

use super::path::{RepositoryPath, below, is_package_name};
use super::send::Content;
use super::suite::{Form, Kept, Slot, Want};
use super::{At, Fetching, absent, blocking};
use crate::http_client::{Failure, redacted};
use crate::pipeline::disk_reason;
use countersign_core::{ReasonCode, Sha256Digest};
use countersign_ecosystem::archive::ArchiveKind;
use futures_util::FutureExt as _;
use sha2::Digest as _;
use std::fs::File;
use std::sync::Arc;
use tokio::io::AsyncWriteExt as _;
use url::Url;

/// An index that a Release names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// Its path below the Release file.
    pub(super) name: String,
    pub(super) digest: Sha256Digest,
    pub(super) size: u64,
}

impl Named {
    /// What a Release says of that path. A package is never an index, whoever names it.
    pub(super) fn of(kept: &Kept, name: &str) -> Option<Self> {
        let (digest, size) = kept.release.sha256.get(name)?;
        let named = Self { name: name.to_owned(), digest: *digest, size: *size };
        (!is_package_name(name)).then_some(named)
    }

    /// The index of that digest in that folder; only strong digests count.
    fn by_hash(kept: &Kept, folder: &str, algorithm: &str, digest: &str) -> Option<Self> {
        let is_here = |name: &str| name.rsplit_once('/').map_or("", |(dir, _)| dir) == folder;
        let name = match algorithm {
            "SHA256" => {
                let digest: Sha256Digest = digest.parse().ok()?;
                let all = kept.release.sha256.iter();
                all.filter(|(name, (d, _))| *d == digest && is_here(name)).map(|(n, _)| n).next()
            }
            "SHA512" => {
                let all = kept.release.sha512.iter();
                all.filter(|(name, d)| *d == digest && is_here(name)).map(|(n, _)| n).next()
            }
            _ => None,
        };
        Self::of(kept, name?)
    }
}

impl At {
    /// The suites that a path may lie below, the innermost first: those that are kept, or else the
    /// one that its first components name.
    async fn suites_above(&self, path: &str) -> Result<Vec<Arc<Slot>>, Failure> {
        let mut slots = self.kept_slots();
        slots.retain(|s| below(path, &s.dir).is_some());
        slots.sort_by_key(|s| (std::cmp::Reverse(s.dir.len()), s.form));
        if slots.is_empty()
            && let Some((suite, _)) = path.strip_prefix("dists/").and_then(|p| p.split_once('/'))
        {
            let slot = self.slot(&format!("dists/{suite}"), Form::Inline);
            self.current(&slot, Want::Fresh).await?;
            slots.push(slot);
        }
        Ok(slots)
    }

    /// An index by its path, if the present Release of its suite names it.
    pub(super) async fn index(&self, path: &RepositoryPath) -> Result<Option<Content>, Failure> {
        for slot in self.suites_above(path.as_str()).await? {
            let Some(name) = below(path.as_str(), &slot.dir) else { continue };
            let kept = self.current(&slot, Want::Usable).await?;
            let Some(named) = Named::of(&kept, name) else { continue };
            return match self.content(&slot, &kept, &named).await {
                // The upstream may have moved on: what it has now is what a newer Release names.
                Err(failure) if failure.reason == ReasonCode::DigestMismatch => {
                    let newer = self.current(&slot, Want::Checked).await?;
                    match Named::of(&newer, name) {
                        Some(changed) if changed != named => {
                            self.content(&slot, &newer, &changed).await.map(Some)
                        }
                        _ => Err(failure),
                    }
                }
                other => other.map(Some),
            };
        }
        Ok(None)
    }

    /// An index by its digest, if the present Release of its suite or the one before names it.
    pub(super) async fn by_hash(
        &self,
        dir: &str,
        algorithm: &str,
        digest: &str,
    ) -> Result<Content, Failure> {
        if !matches!(algorithm, "SHA256" | "SHA512") {
            return Err(absent(format!("{algorithm} proves nothing; ask by SHA256")));
        }
        let inside = format!("{dir}/");
        let slots = self.suites_above(inside.trim_start_matches('/')).await?;
        for want in [Want::Usable, Want::Checked] {
            for slot in &slots {
                let folder = below(dir, &slot.dir).unwrap_or("");
                let current = self.current(slot, want).await?;
                for kept in [Some(current), self.previous(slot)].into_iter().flatten() {
                    if let Some(named) = Named::by_hash(&kept, folder, algorithm, digest) {
                        return self.content(slot, &kept, &named).await;
                    }
                }
            }
        }
        Err(absent("no verified Release file names this digest"))
    }

    async fn content(&self, slot: &Slot, kept: &Kept, named: &Named) -> Result<Content, Failure> {
        let file = self.file(slot, kept, named).await?;
        Content::file(file, &named.digest).map_err(|e| gone(&e))
    }

    /// An index as an open file, fetched if it is not kept.
    pub(super) async fn file(
        &self,
        slot: &Slot,
        kept: &Kept,
        named: &Named,
    ) -> Result<File, Failure> {
        if !self.has(named).await? {
            self.fetched(slot, kept, named).await?;
        }
        let (mirror, digest) = (self.mirror.clone(), named.digest);
        blocking(move || File::open(mirror.disk.path(&digest)).map_err(|e| gone(&e))).await
    }

    /// Whether an index is kept. Reads it, the first time.
    pub(super) async fn has(&self, named: &Named) -> Result<bool, Failure> {
        let (mirror, digest) = (self.mirror.clone(), named.digest);
        blocking(move || Ok(mirror.disk.has(&digest))).await
    }

    /// Fetches an index; however many ask, once. It goes on when those who asked have left.
    async fn fetched(&self, slot: &Slot, kept: &Kept, named: &Named) -> Result<(), Failure> {
        let fetching = {
            let mut all = self.mirror.fetching.lock();
            match all.get(&named.digest) {
                Some(running) => running.clone(),
                None => {
                    let addresses = self.addresses(slot, kept, named);
                    let (at, wanted) = (self.clone(), named.clone());
                    let prepare = self.prepare(kept, named);
                    let task = tokio::spawn(async move {
                        // Another fetch may have ended since this one was found to be needed.
                        if at.has(&wanted).await? {
                            return Ok(());
                        }
                        at.fetch_index(addresses, &wanted).await?;
                        prepare.map(tokio::task::spawn_blocking);
                        Ok(())
                    });
                    let (at, digest) = (self.clone(), named.digest);
                    let shared: Fetching = async move {
                        let ended = task.await;
                        at.mirror.fetching.lock().remove(&digest);
                        ended.unwrap_or_else(|_| {
                            Err(Failure::new(ReasonCode::Internal, "the fetch ended unexpectedly"))
                        })
                    }
                    .boxed()
                    .shared();
                    all.insert(named.digest, shared.clone());
                    shared
                }
            }
        };
        fetching.await
    }

    /// Where an index may be had: by its digest first, because that cannot change in between.
    fn addresses(&self, slot: &Slot, kept: &Kept, named: &Named) -> Vec<Url> {
        let base = &self.mirror.upstream.base;
        let folder = named.name.rsplit_once('/').map_or("", |(dir, _)| dir);
        let by_hash = format!("{}/{folder}/by-hash/SHA256/{}", slot.dir, named.digest);
        let plain = format!("{}/{}", slot.dir, named.name);
        let mut paths = Vec::new();
        if kept.release.acquire_by_hash {
            paths.push(by_hash.replace("//", "/"));
        }
        paths.push(plain);
        paths.iter().filter_map(|p| RepositoryPath::parse(p)).map(|p| p.below(base)).collect()
    }

    async fn fetch_index(&self, addresses: Vec<Url>, named: &Named) -> Result<(), Failure> {
        let mut failure = absent("the index has no address");
        for url in addresses {
            match self.fetch_from(&url, named).await {
                Ok(()) => return Ok(()),
                Err(f) => failure = f,
            }
        }
        Err(failure)
    }

    /// Streams an index to disk, and keeps it if its size and digest are the named ones.
    async fn fetch_from(&self, url: &Url, named: &Named) -> Result<(), Failure> {
        let (http, shown) = (&self.engine.inner.http, redacted(url));
        let headers = self.engine.upstream_credentials(&self.mirror.upstream, url);
        let response = http.artifact(url, headers, &self.mirror.upstream).await?;
        let mirror = self.mirror.clone();
        let aside = blocking(move || mirror.disk.aside()).await?;
        let unwritten = |e: &std::io::Error| {
            Failure::new(disk_reason(e), format!("{shown} cannot be kept: {e}"))
        };
        let mut out = tokio::fs::File::from_std(aside.reopen().map_err(|e| unwritten(&e))?);
        let (mut hasher, mut size) = (sha2::Sha256::new(), 0u64);
        let mut stream = response.bytes_stream();
        while let Some(chunk) = http.next_chunk(&mut stream, &shown).await? {
            // A package is never given out as an index, whatever the Release says.
            if size == 0 && matches!(ArchiveKind::sniff(&chunk), Some(ArchiveKind::Deb)) {
                return Err(Failure::new(
                    ReasonCode::ClosedDoor,
                    format!("{shown} is a package where an index was expected"),
                ));
            }
            size += chunk.len() as u64;
            if size > named.size {
                break;
            }
            hasher.update(&chunk);
            out.write_all(&chunk).await.map_err(|e| unwritten(&e))?;
        }
        out.flush().await.map_err(|e| unwritten(&e))?;
        let found = Sha256Digest(hasher.finalize().into());
        if size != named.size || found != named.digest {
            return Err(Failure::new(
                ReasonCode::DigestMismatch,
                format!(
                    "{shown} is not the index that the signed Release file names ({} bytes, sha256 {})",
                    named.size,
                    named.digest.short()
                ),
            ));
        }
        let (mirror, digest) = (self.mirror.clone(), named.digest);
        blocking(move || mirror.disk.keep(aside, &digest)).await
    }
}

fn gone(e: &std::io::Error) -> Failure {
    Failure::new(ReasonCode::Internal, format!("a kept index cannot be read: {e}"))
}
