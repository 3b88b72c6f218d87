//! The archive's one pass, off the network's threads, its result kept by digest.

use crate::engine::Engine;
use crate::fetch::Staged;
use crate::http_client::Failure;
use crate::index::FileRef;
use crate::pipeline::store_failure;
use countersign_core::{Check, Dependency, Finding, ReasonCode};
use countersign_scan::malware::FileRules;
use countersign_scan::structure::listing::Listing;
use countersign_scan::structure::{self, Expected};
use countersign_scan::{configuration, dependency, licence, malware};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Results of another version of the scanner are not used.
pub(crate) fn scanner(rules: Option<&dyn FileRules>) -> String {
    let rules = rules.map_or("", FileRules::digest);
    format!("content/{}/6/{}/{rules}", env!("CARGO_PKG_VERSION"), malware::VERSION)
}

/// What the scan of an archive found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StructureResult {
    pub(crate) findings: Vec<Finding>,
    /// The archive's own check, and those of what was looked for in its files.
    pub(crate) checks: Vec<Check>,
    /// What the artifact declares to need.
    pub(crate) dependencies: Vec<Dependency>,
    /// What the artifact declares beside its name.
    #[serde(default)]
    pub(crate) listing: Option<Listing>,
}

impl Engine {
    /// The rules that are data; the first who asks waits until they are loaded.
    pub(crate) async fn rules(&self) -> Result<Option<Arc<dyn FileRules>>, String> {
        let engine = self.clone();
        let loaded = tokio::task::spawn_blocking(move || engine.inner.rules.get()).await;
        loaded.unwrap_or_else(|_| Err("the rules could not be loaded".to_owned()))
    }

    /// Opens the archive once and keeps what was found, with the manifest of its files.
    pub(crate) async fn scan_structure(
        &self,
        file: &Arc<FileRef>,
        staged: &Staged,
    ) -> Result<StructureResult, Failure> {
        let sha256 = staged.digests.sha256;
        // The name and version that the archive should declare are part of what is scanned for.
        let kind = format!("structure {} {}", file.purl(), file.file_name);
        let rules = match self.rules().await {
            Ok(rules) => rules,
            Err(because) => return Ok(not_done(&because)),
        };
        let scanner = scanner(rules.as_deref());
        let kept =
            self.inner.store.get_result(&sha256, &kind, &scanner).await.map_err(store_failure)?;
        if let Some(result) = kept.and_then(|json| serde_json::from_value(json).ok()) {
            return Ok(result);
        }
        let path = staged.path();
        let (file_name, purl) = (file.file_name.clone(), file.purl().clone());
        let scan = move || -> std::io::Result<structure::StructureReport> {
            let source = std::io::BufReader::with_capacity(256 * 1024, std::fs::File::open(path)?);
            let expected = Expected {
                name: purl.name().to_owned(),
                version: purl.version().unwrap_or("").to_owned(),
            };
            let limits = countersign_ecosystem::archive::Limits::default();
            Ok(structure::scan_archive_with(
                &file_name,
                purl.ecosystem(),
                Some(&expected),
                source,
                &limits,
                rules.as_deref(),
            ))
        };
        let permit = self.inner.scanners.acquire().await;
        let report = tokio::task::spawn_blocking(scan).await;
        drop(permit);
        let (result, manifest) = match report {
            Ok(Ok(report)) => {
                let manifest = serde_json::to_vec(&report.manifest).map_err(|e| {
                    Failure::new(
                        ReasonCode::Internal,
                        format!("the manifest cannot be written: {e}"),
                    )
                })?;
                let checks = std::iter::once(report.check).chain(report.content_checks).collect();
                let dependencies = dependency::declared(file.purl().ecosystem(), &report.metadata);
                let (findings, listing) = (report.findings, report.listing);
                let result = StructureResult { findings, checks, dependencies, listing };
                (result, manifest)
            }
            Ok(Err(e)) => return Ok(not_done(&format!("the archive cannot be read: {e}"))),
            Err(_) => return Ok(not_done("the scan ended unexpectedly")),
        };
        let json = serde_json::to_value(&result).map_err(|e| {
            Failure::new(ReasonCode::Internal, format!("a scan result cannot be written: {e}"))
        })?;
        let kept = self.inner.store.put_scan(&sha256, &kind, &scanner, &json, &manifest).await;
        kept.map_err(store_failure)?;
        if let Some(listing) = &result.listing {
            self.keep_listing(&sha256, listing).await?;
        }
        Ok(result)
    }
}

/// A scan that did not run is no result to keep: the next request tries again.
fn not_done(because: &str) -> StructureResult {
    let checks = [structure::CHECK, malware::CHECK, licence::CHECK, configuration::CHECK]
        .map(|name| Check::not_done(name, because));
    StructureResult {
        findings: Vec::new(),
        checks: checks.into(),
        dependencies: Vec::new(),
        listing: None,
    }
}
