//! What an index lists of a version, against what its artifact declares: the part that knows where the
//! two are kept. What their differences mean is `scan`'s.

use crate::engine::Engine;
use crate::http_client::{Failure, redacted};
use crate::index::{Documents, FileRef, PackageIndex};
use crate::pipeline::sha256_digests;
use countersign_core::{Check, Ecosystem, Finding, Sha256Digest};
use countersign_ecosystem::error::IndexLimits;
use countersign_ecosystem::npm::Packument;
use countersign_scan::structure::listing::{self, Listing};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

/// Bytes of a wheel's metadata.
const MAX_METADATA: usize = 16 << 20;

impl Engine {
    /// Compares what an artifact declares with what its index lists.
    pub(crate) async fn against_index(
        &self,
        file: &Arc<FileRef>,
        own: Option<&Listing>,
    ) -> (Vec<Finding>, Check) {
        let not_done = |because: &str| (Vec::new(), Check::not_done(listing::CHECK, because));
        let Some(own) = own else { return not_done("the artifact declares nothing to compare") };
        match self.index_listing(file).await {
            Ok(index) => listing::against_index(file.purl().ecosystem(), own, &index),
            Err(because) => not_done(&because),
        }
    }

    /// What the index lists of a file, or why that cannot be said.
    async fn index_listing(&self, file: &Arc<FileRef>) -> Result<Listing, String> {
        if file.upstream.is_this_machine() {
            return Err("no index lists it".to_owned());
        }
        let index = self.index_of(file).ok_or("its index is not at hand")?;
        let unknown = || "the index says nothing of it".to_owned();
        match &index.documents {
            Documents::Npm(document) => {
                let (document, wanted) = (document.clone(), file.clone());
                let read = move |engine: &Self| Ok(npm_listing(engine, &document, &wanted));
                let listing = self.parsing(index.documents.len(), read).await;
                listing.map_err(|e| e.detail)?.ok_or_else(unknown)
            }
            Documents::Cargo(lines) => {
                let lines = lines.unpack().map_err(|e| e.to_string())?;
                cargo_listing(&lines, file).ok_or_else(unknown)
            }
            Documents::Pypi(_) if file.file_name.ends_with(".whl") => {
                let digests = index.metadata.get(&file.file_name);
                let digest = digests.and_then(|d| sha256_digests(d).into_iter().next());
                let digest = digest.ok_or("the index gives no digest of its metadata")?;
                Ok(Listing::of_core_metadata(&digest.to_hex()))
            }
            Documents::Pypi(_) => self.beside(file, &index).await,
        }
    }

    /// The index that listed a file, where it is still in memory: nothing is loaded for it.
    fn index_of(&self, file: &FileRef) -> Option<Arc<PackageIndex>> {
        let ecosystem = file.purl().ecosystem();
        if ecosystem == Ecosystem::Debian {
            return None;
        }
        let name = ecosystem.canonical_name(file.purl().name());
        let key = format!("{} {name}", file.upstream.base);
        match &self.inner.shelf {
            Some(shelf) => shelf.get(&key)?.index.ok(),
            None => self.inner.packages.lock().get(&key)?.get().cloned(),
        }
    }

    /// What a wheel of the same version says, for a source distribution: the two are built of one tree.
    async fn beside(&self, file: &FileRef, index: &PackageIndex) -> Result<Listing, String> {
        let is_wheel = |f: &FileRef| {
            f.purl() == file.purl()
                && f.file_name.ends_with(".whl")
                && index.metadata.contains_key(&f.file_name)
        };
        let wheel = index.files.find(is_wheel).ok_or("no wheel of the version says more")?;
        let digests = index.metadata.get(&wheel.file_name).map(|d| sha256_digests(d));
        let mut url = wheel.url.clone();
        url.set_path(&format!("{}.metadata", wheel.url.path()));
        let failed = |f: Failure| format!("{}: {}", redacted(&url), f.detail);
        let headers = self.credentials(&url, &HeaderMap::new());
        let got = self.inner.http.document(&url, headers, MAX_METADATA).await.map_err(failed)?;
        let is_it = |d: &Sha256Digest| *d == Sha256Digest::of(&got.body);
        if got.status != StatusCode::OK || !digests.unwrap_or_default().iter().any(is_it) {
            return Err(format!("{} is not what the index says", redacted(&url)));
        }
        Ok(Listing::of_wheel_metadata(&got.body))
    }
}

fn npm_listing(
    engine: &Engine,
    document: &crate::packed::Packed,
    file: &FileRef,
) -> Option<Listing> {
    let document = document.unpack().ok()?;
    // What was written here is larger than what was read, but not without bounds.
    let limits = IndexLimits { max_bytes: usize::MAX, ..engine.inner.index_limits };
    let packument = Packument::parse(&document, &limits).ok()?;
    Listing::of_npm_manifest(packument.manifest(file.purl().version()?)?)
}

/// The line of the version, as it was given to cargo.
fn cargo_listing(lines: &[u8], file: &FileRef) -> Option<Listing> {
    #[derive(serde::Deserialize)]
    struct Version {
        vers: String,
    }
    let text = std::str::from_utf8(lines).ok()?;
    let is_it = |line: &&str| {
        serde_json::from_str::<Version>(line)
            .is_ok_and(|v| Some(v.vers.as_str()) == file.purl().version())
    };
    Listing::of_cargo_line(text.lines().find(is_it)?)
}
